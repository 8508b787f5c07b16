"""Small regions removed, holes filled and masks eroded, of any size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from eds_xr.schema import EdsError, checked_mask
from eds_xr.segmentation.tiled_filters import map_planes, plane_dims
from eds_xr.workers import task_name


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
        kwargs={"axes": len(dims)} | options,
        input_core_dims=[dims],
        output_core_dims=[dims],
        dask="parallelized",
        output_dtypes=[bool],
        keep_attrs=True,
    ).transpose(*mask.dims)


@task_name("eroded masks")
def _erode_block(mask: np.ndarray, *, axes: int, pixels: int) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    offsets = np.meshgrid(*[np.arange(-pixels, pixels + 1)] * axes, indexing="ij")
    disk = np.sum(np.square(offsets), axis=0) <= pixels**2
    disk = disk.reshape((1,) * (mask.ndim - axes) + disk.shape)
    return binary_erosion(mask, structure=disk, border_value=1)


@task_name("masks without small parts")
def _remove_small_block(masks: np.ndarray, *, axes: int, min_pixels: int) -> np.ndarray:
    from scipy.ndimage import label

    def large(mask: np.ndarray) -> np.ndarray:
        regions, _ = label(mask, structure=np.ones((3,) * mask.ndim))
        return mask & (np.bincount(regions.ravel()) >= min_pixels)[regions]

    return _image_by_image(large, masks, axes)


@task_name("masks without holes")
def _fill_holes_block(masks: np.ndarray, *, axes: int, max_pixels: int) -> np.ndarray:
    from scipy.ndimage import label

    def filled(mask: np.ndarray) -> np.ndarray:
        gaps, _ = label(np.pad(~mask, 1, constant_values=True))  # the border joins the open ones
        size = np.bincount(gaps.ravel())
        size[[0, gaps.flat[0]]] = max_pixels + 1
        inner = gaps[(slice(1, -1),) * mask.ndim]
        return mask | (size <= max_pixels)[inner]

    return _image_by_image(filled, masks, axes)


def _image_by_image(
    function: Callable[[np.ndarray], np.ndarray], masks: np.ndarray, axes: int
) -> np.ndarray:
    found: np.ndarray = np.empty_like(masks)
    for index in np.ndindex(masks.shape[: masks.ndim - axes]):
        found[index] = function(masks[index])
    return found
