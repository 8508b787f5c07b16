"""Spectra of phases: sums over masks, subtraction, line fits, identification."""
