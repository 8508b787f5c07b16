"""The forward model of a spectrum: line families, background, pile-up, calibration."""
