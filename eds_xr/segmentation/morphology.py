"""Small regions removed, holes filled and masks eroded, of any size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from eds_xr.schema import EdsError, checked_mask
from eds_xr.segmentation.tiled_filters import map_planes, plane_dims


def remove_small(mask: xr.DataArray, *, min_pixels: int) -> xr.DataArray:
    """Remove regions of fewer than `min_pixels` pixels, connected by edges or corners.

    Lazy: image by image, as a region may reach anywhere. One image must fit in memory.
    """
    return _region_by_region(mask, _remove_small_block, min_pixels=min_pixels)


def fill_holes(mask: xr.DataArray, *, max_pixels: int) -> xr.DataArray:
    """Add holes of at most `max_pixels` pixels: what the mask encloses, connected by edges.

    Lazy: as :func:`remove_small`. A gap that reaches the border of the image is no hole.
    """
    return _region_by_region(mask, _fill_holes_block, max_pixels=max_pixels)


def erode(mask: xr.DataArray, *, pixels: int) -> xr.DataArray:
    """Remove pixels that are within `pixels` of a pixel outside the mask.

    Lazy: tile by tile, with margins. Beyond the border of the image the mask is taken to go on.
    """
    if pixels < 0:
        raise EdsError(f"pixels must be 0 or more, found {pixels}")
    return map_planes(checked_mask(mask), _erode_block, pixels, pixels=pixels)


def _region_by_region(
    mask: xr.DataArray, block: Callable[..., np.ndarray], **options: int
) -> xr.DataArray:
    """Apply a function to whole images, one by one. Lazy."""
    dims = plane_dims(checked_mask(mask))
    whole = mask.chunk(dict.fromkeys(dims, -1)) if mask.chunks is not None else mask
    return xr.apply_ufunc(
        block,
        whole,
        kwargs=options,
        input_core_dims=[dims],
        output_core_dims=[dims],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[bool],
        keep_attrs=True,
    ).transpose(*mask.dims)


def _erode_block(mask: np.ndarray, *, axes: int, pixels: int) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    offsets = np.meshgrid(*[np.arange(-pixels, pixels + 1)] * axes, indexing="ij")
    disk = np.sum(np.square(offsets), axis=0) <= pixels**2
    disk = disk.reshape((1,) * (mask.ndim - axes) + disk.shape)
    return binary_erosion(mask, structure=disk, border_value=1)


def _remove_small_block(mask: np.ndarray, *, min_pixels: int) -> np.ndarray:
    from scipy.ndimage import label

    regions, _ = label(mask, structure=np.ones((3,) * mask.ndim))
    return mask & (np.bincount(regions.ravel()) >= min_pixels)[regions]


def _fill_holes_block(mask: np.ndarray, *, max_pixels: int) -> np.ndarray:
    from scipy.ndimage import label

    gaps, _ = label(np.pad(~mask, 1, constant_values=True))  # the border joins the open ones
    size = np.bincount(gaps.ravel())
    size[[0, gaps.flat[0]]] = max_pixels + 1
    inner = gaps[(slice(1, -1),) * mask.ndim]
    return mask | (size <= max_pixels)[inner]
