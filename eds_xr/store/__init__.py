"""Zarr stores: converted from vendor files, saved, opened lazily."""

from eds_xr.store.conversion import convert, info
from eds_xr.store.opening import open, original_metadata
from eds_xr.store.saving import save

__all__ = ["convert", "info", "open", "original_metadata", "save"]
