"""Amounts and refined spectra of phases whose spectra are known."""
