"""How far a factorisation may be mixed otherwise, and still explain the counts."""
