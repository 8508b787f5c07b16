"""Masks: which pixels are meant. Boolean images; their algebra is xarray's ``&``, ``|`` and ``~``.

Also :func:`confident_pixels`, which paints scribbles where the scores leave no doubt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from eds_xr._parts.confident import commonest, confident_pixels, smoothed_shares
from eds_xr._parts.planes import map_planes, plane_dims
from eds_xr._parts.roi_masks import from_rois
from eds_xr.provenance import with_step
from eds_xr.schema import (
    PHASE,
    EdsError,
    check_one_of,
    check_same_grid,
    checked_labels,
    phase_names,
    spatial_coords,
    spatial_dims,
)

__all__ = [
    "commonest_ratio",
    "confident_pixels",
    "describe",
    "erode",
    "exclude",
    "fill_holes",
    "from_labels",
    "from_rectangle",
    "from_rois",
    "inner_square",
    "overlap",
    "remove_small",
    "significance",
    "threshold",
    "tiles",
]

HISTOGRAM_BINS = 512


def from_labels(label: xr.DataArray) -> xr.DataArray:
    """Return the mask of every phase of a label image.

    Lazy: as lazy as `label`.

    Parameters
    ----------
    label : DataArray [y, x; integer label]
        0 is no phase; CF flags name the phases. Others, and negative ones, are refused.

    Returns
    -------
    DataArray [phase, y, x; bool]
    """
    label = checked_labels(label)
    names = phase_names(label)
    values = xr.DataArray(
        np.arange(1, len(names) + 1, dtype=label.dtype), dims=PHASE, coords={PHASE: names}
    )
    masks = (values == label).rename("mask")
    return masks.assign_attrs(long_name="phase mask", history=label.attrs.get("history", []))


def threshold(score: xr.DataArray, *, method: str = "otsu") -> xr.DataArray:
    """Return where a score map is above a threshold that its histogram gives.

    Computes: a histogram (of 512 bins) blockwise, twice through the data; the mask stays lazy.
    Noisy counts have no gap in their histogram: smooth the map first.

    Parameters
    ----------
    score : DataArray [y, x]
    method : {"otsu", "isodata"}
        As in :mod:`skimage.filters`. For a threshold of your own, write ``score > 30``.

    Returns
    -------
    DataArray [y, x; bool]
        Attribute ``threshold`` is the value used.
    """
    from skimage import filters

    check_one_of(method, ("otsu", "isodata"), "method")
    find: Callable[..., Any] = getattr(filters, f"threshold_{method}")
    value = float(find(hist=_histogram(score)))
    step = with_step(score.attrs, "threshold", method=method, value=value)
    attrs = {"long_name": f"above {value:.4g}", "threshold": value, "history": step["history"]}
    return (score > value).assign_attrs(attrs)


def significance(
    scores: xr.DataArray, core: xr.DataArray, *, smoothing_pixels: float | None = None
) -> xr.DataArray:
    """Return how far each component stands above its level in a core, in standard deviations.

    Scores are smoothed and divided by their sum, so thickness cancels; level and spread are the
    median and 1.4826 times the median absolute deviation in the core. What is not there scatters
    about 0 with a spread of 1: ``significance(scores, core) > 6`` is a mask of grains.

    Computes: the core, where the matrix is pure; the map stays lazy.

    Parameters
    ----------
    scores : DataArray [y, x, component; counts]
    core : DataArray of bool [y, x]
    smoothing_pixels : float, optional
        Standard deviation of the Gaussian [pixels]; by default as in :func:`confident_pixels`.

    Returns
    -------
    DataArray [y, x, component]

    Raises
    ------
    EdsError
        When the core is empty or lies on another grid.
    """
    check_same_grid(scores, _checked_mask(core), "the core")
    shares = smoothed_shares(scores, smoothing_pixels)
    inside = shares.values[core.transpose(*spatial_dims(scores)).values]
    if not len(inside):
        raise EdsError("the core is empty: no pixel of pure matrix to compare with")
    level = np.median(inside, axis=0)
    spread = 1.4826 * np.median(np.abs(inside - level), axis=0)
    result = (shares - level.astype(np.float32)) / np.maximum(spread, 1e-6).astype(np.float32)
    return result.rename("significance").assign_attrs(
        long_name="standard deviations above the core"
    )


def commonest_ratio(
    scores: xr.DataArray,
    component: str | int,
    inside: xr.DataArray,
    *,
    smoothing_pixels: float | None = None,
) -> xr.DataArray:
    """Return the commonest ratio of every score to that of one component, where that is strong.

    Where a grain stands alone, the other scores in it are a fixed ratio of its own; where another
    grain overlaps, they are more. The commonest ratio (median about the densest quarter of the
    values) is the former, even when overlaps are frequent.

    Computes: the pixels inside.

    Parameters
    ----------
    scores : DataArray [y, x, component; counts]
    component : label of a component
    inside : DataArray of bool [y, x]
        Where the component is strong.
    smoothing_pixels : float, optional
        As in :func:`significance`.

    Returns
    -------
    DataArray [component]
        0 for the component itself.
    """
    check_same_grid(scores, _checked_mask(inside), "the mask")
    shares = smoothed_shares(scores, smoothing_pixels)
    values = shares.values[inside.transpose(*spatial_dims(scores)).values].astype(float)
    own = list(scores["component"].values).index(component)
    values = values[values[:, own] > 0]
    if not len(values):
        raise EdsError(f"no pixel inside in which {component} is positive")
    ratio = np.array([commonest(column / values[:, own]) for column in values.T])
    ratio[own] = 0
    return xr.DataArray(ratio, dims="component", coords={"component": scores["component"]})


def overlap(first: xr.DataArray, second: xr.DataArray) -> xr.DataArray:
    """Return the pixels of both masks: ``first & second``, refused when the grids differ.

    Lazy. (xarray's own ``&`` crops silently to the coordinates that two images share.)
    """
    _check_pair(first, second)
    return first & second


def exclude(first: xr.DataArray, second: xr.DataArray) -> xr.DataArray:
    """Return the pixels of `first` that are not in `second`, refused when the grids differ.

    Lazy.
    """
    _check_pair(first, second)
    return first & ~second


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
    return map_planes(_checked_mask(mask), _erode_block, pixels, pixels=pixels)


def from_rectangle(
    image: xr.DataArray, *, y_pixels: tuple[int, int], x_pixels: tuple[int, int]
) -> xr.DataArray:
    """Return the mask of a rectangle: first row or column, and the one after the last [pixels].

    Computes: the mask, in memory.

    Examples
    --------
    >>> image = xr.DataArray(np.zeros((4, 5)), dims=("y", "x"))
    >>> int(from_rectangle(image, y_pixels=(1, 3), x_pixels=(0, 5)).sum())
    10
    """
    ranges = {"y": y_pixels, "x": x_pixels}
    inside = xr.DataArray(True)
    for dim, (start, stop) in ranges.items():
        size = image.sizes.get(dim, 0)
        if not 0 <= start < stop <= size:
            raise EdsError(f"{dim}_pixels must rise within 0 to {size}, found {(start, stop)}")
        index = np.arange(size)
        inside = inside & xr.DataArray((index >= start) & (index < stop), dims=dim)
    coords = {d: c for d, c in spatial_coords(image).items() if d in ranges}
    step = with_step({}, "from_rectangle", y_pixels=list(y_pixels), x_pixels=list(x_pixels))
    return inside.assign_coords(coords).rename("mask").assign_attrs(step)


def inner_square(mask: xr.DataArray, *, pixels: int) -> xr.DataArray:
    """Return the square that lies most inside a mask, as an analyst would draw it.

    Computes: the mask.

    Parameters
    ----------
    mask : DataArray of bool [y, x]
    pixels : int
        Its side; at most half of the image.

    Returns
    -------
    DataArray of bool [y, x]
    """
    from scipy.ndimage import uniform_filter

    values = _checked_mask(mask).transpose("y", "x").values.astype(float)
    side = min(pixels, *(n // 2 for n in values.shape))
    # of squares equally full, the one whose surroundings are fullest too
    fill, around = (uniform_filter(values, n, mode="constant") for n in (side, 2 * side))
    centre = np.unravel_index(np.argmax(fill + 1e-3 * around), values.shape)
    y, x = (
        min(max(0, int(c) - side // 2), n - side) for c, n in zip(centre, values.shape, strict=True)
    )
    return from_rectangle(mask, y_pixels=(y, y + side), x_pixels=(x, x + side))


def tiles(mask: xr.DataArray, *, per_side: int = 4, min_share: float = 0.01) -> xr.DataArray:
    """Cut a mask into the parts that lie in each rectangle of a regular division of the image.

    Lazy, but for the sizes of the parts.

    Parameters
    ----------
    mask : DataArray of bool [y, x]
    per_side : int
        Rectangles along each dimension.
    min_share : float
        Parts that hold less than this share of the mask are left out.

    Returns
    -------
    DataArray of bool [phase, y, x]
        ``phase`` names the rectangle, ``"2,0"``.
    """
    dims = spatial_dims(_checked_mask(mask))
    axes = [np.arange(mask.sizes[d]) * per_side // mask.sizes[d] for d in dims]
    index = np.meshgrid(*axes, indexing="ij")
    places = np.unique(np.stack([i.ravel() for i in index]), axis=1).T
    parts = {
        ",".join(map(str, place)): mask
        & xr.DataArray(
            np.all([i == p for i, p in zip(index, place, strict=True)], axis=0), dims=dims
        )
        for place in places.tolist()
    }
    least = max(1, min_share * int(mask.sum()))
    kept = {name: part for name, part in parts.items() if int(part.sum()) >= least}
    if not kept:
        raise EdsError("the mask is empty: there is nothing to cut into tiles")
    names = xr.DataArray(list(kept), dims=PHASE, name=PHASE)
    return xr.concat(kept.values(), dim=names, coords="minimal", compat="override").rename("mask")


def describe(masks: xr.DataArray) -> xr.Dataset:
    """Return size and share of every mask.

    Lazy: one pass.

    Returns
    -------
    Dataset
        ``n_pixels`` and ``fraction`` [1], over ``phase`` when the masks have it.
    """
    dims = spatial_dims(_checked_mask(masks))
    n_pixels = masks.sum(dims, dtype=np.int64).assign_attrs(long_name="pixels in the mask")
    fraction = (n_pixels / math.prod(masks.sizes[d] for d in dims)).assign_attrs(
        long_name="share of the image", units="1"
    )
    return xr.Dataset({"n_pixels": n_pixels, "fraction": fraction})


def _region_by_region(
    mask: xr.DataArray, block: Callable[..., np.ndarray], **options: int
) -> xr.DataArray:
    """Apply a function to whole images, one by one. Lazy."""
    dims = plane_dims(_checked_mask(mask))
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


def _checked_mask(mask: xr.DataArray) -> xr.DataArray:
    if not isinstance(mask, xr.DataArray) or mask.dtype != bool:
        found = getattr(mask, "dtype", type(mask).__name__)
        raise EdsError(f"expected a boolean mask (DataArray), found {found}; compare first")
    return mask


def _check_pair(first: xr.DataArray, second: xr.DataArray) -> None:
    check_same_grid(_checked_mask(first), _checked_mask(second), "the second mask")


def _histogram(score: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and centres of the bins."""
    import dask.array as da

    values = da.asarray(score.data)
    low, high = (float(v) for v in da.compute(values.min(), values.max()))
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        raise EdsError(f"a threshold needs finite, varying values, found {low:g} to {high:g}")
    counts, edges = da.histogram(values, bins=HISTOGRAM_BINS, range=(low, high))
    return counts.compute(), (edges[1:] + edges[:-1]) / 2


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
