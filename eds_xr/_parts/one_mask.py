"""A mask of pixels as the factorisation takes it."""

from __future__ import annotations

import xarray as xr

from eds_xr.schema import PHASE, EdsError, check_masks, check_same_grid, spatial_dims


def one_mask(image: xr.DataArray, mask: xr.DataArray, what: str) -> xr.DataArray:
    """Return a mask in the order of the image's dimensions, bare of coordinates, checked."""
    check_masks(image, mask)
    check_same_grid(image, mask, what)
    if PHASE in mask.dims:
        raise EdsError(f"{what} must be one mask, found one a phase; use mask.sel(phase=...)")
    dims = spatial_dims(image)
    return xr.DataArray(mask.transpose(*dims).data, dims=dims)
