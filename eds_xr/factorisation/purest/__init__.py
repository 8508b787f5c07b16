"""The turn of a factorisation to its purest components."""
