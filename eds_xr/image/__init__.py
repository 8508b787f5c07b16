"""Spectrum images: sums of pixels, splits, maps, and the walk over their blocks."""
