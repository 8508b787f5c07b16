"""Spectrum images to try: published ones, fetched and verified, and simulated ones."""

from eds_xr.samples.published import available, cache_folder, fetch

__all__ = ["available", "cache_folder", "fetch"]
