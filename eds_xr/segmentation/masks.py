"""Boolean masks from labels, thresholds and regions; their algebra is xarray's ``&``, ``|``, ``~``.

Also :func:`confident_pixels`, which paints scribbles where the scores leave no doubt.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.cluster.supervision import computes
from eds_xr.provenance import with_step
from eds_xr.schema import (
    ENERGY,
    PHASE,
    EdsError,
    check_one_of,
    check_same_grid,
    checked_labels,
    checked_mask,
    phase_names,
    spatial_coords,
    spatial_dims,
)
from eds_xr.segmentation.confident import commonest_ratio, confident_pixels, significance
from eds_xr.segmentation.morphology import erode, fill_holes, remove_small
from eds_xr.segmentation.roi_masks import from_rois
from eds_xr.workers import task_name

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

    Raises
    ------
    EdsError
        When it is no label image: counts, for example.
    """
    if ENERGY in getattr(label, "dims", ()):
        raise EdsError(
            "masks are made from labels, found a spectrum image; label its pixels first, e.g. "
            "image.eds.segment().label.eds.masks()"
        )
    label = checked_labels(label)
    if "flag_meanings" not in label.attrs:
        raise EdsError(
            "masks are made from labels with the names of their phases (attribute flag_meanings), "
            "found integers without; name labels with eds_xr.schema.label_array(values, like, "
            "phases), or compare a map with a value, e.g. counts > 30"
        )
    names = phase_names(label)
    values = xr.DataArray(
        np.arange(1, len(names) + 1, dtype=label.dtype), dims=PHASE, coords={PHASE: names}
    )
    masks = (values == label).rename("mask")
    return masks.assign_attrs(long_name="phase mask", history=label.attrs.get("history", []))


@computes
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


@computes
def inner_square(mask: xr.DataArray, *, pixels: int) -> xr.DataArray:
    """Return the square that lies most inside a mask, as an analyst would draw it.

    Computes: the mask, in one piece.

    Parameters
    ----------
    mask : DataArray of bool [y, x]
    pixels : int
        Its side; at most half of the image.

    Returns
    -------
    DataArray of bool [y, x]
    """
    from dask.delayed import delayed

    data = checked_mask(mask).transpose("y", "x").data
    side = min(pixels, *(n // 2 for n in data.shape))
    if mask.chunks is None:
        y, x = _square_corner(data, side)
    else:  # one worker looks at it, and says where
        y, x = delayed(_square_corner, pure=False)(data, side).compute()
    return from_rectangle(mask, y_pixels=(y, y + side), x_pixels=(x, x + side))


@computes
def tiles(mask: xr.DataArray, *, per_side: int = 4, min_share: float = 0.01) -> xr.DataArray:
    """Cut a mask into the parts that lie in each rectangle of a regular division of the image.

    Lazy, but for the sizes of the parts: one look at the mask.

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
    parts = _parts(mask, per_side)
    pixels = parts.sum(spatial_dims(mask)).values
    enough = pixels >= max(1, min_share * pixels.sum())
    if not enough.any():
        raise EdsError(
            "the mask is empty, nothing to cut into tiles: lower the threshold that made it"
        )
    return parts.isel({PHASE: enough}).rename("mask")


def pixels_of_tiles(mask: xr.DataArray, *, per_side: int = 4) -> xr.DataArray:
    """Return how many pixels of a mask lie in each rectangle that :func:`tiles` cuts it into.

    Lazy where the mask is.
    """
    return _parts(mask, per_side).sum(spatial_dims(mask))


def _parts(mask: xr.DataArray, per_side: int) -> xr.DataArray:
    """Return the part of a mask in each rectangle ``[phase, *spatial]``, empty ones too. Lazy."""
    dims = spatial_dims(checked_mask(mask))
    axes = [np.arange(n) * per_side // n for n in (mask.sizes[d] for d in dims)]
    places = list(itertools.product(*(np.unique(axis).tolist() for axis in axes)))
    parts = mask.drop_vars(PHASE, errors="ignore")
    for d, axis, number in zip(dims, axes, zip(*places, strict=True), strict=True):
        parts = parts & xr.DataArray(np.equal.outer(number, axis), dims=(PHASE, d))
    names = [",".join(map(str, place)) for place in places]
    return parts.transpose(PHASE, *mask.dims).assign_coords({PHASE: names})


def describe(masks: xr.DataArray) -> xr.Dataset:
    """Return size and share of every mask.

    Lazy: one pass.

    Returns
    -------
    Dataset
        ``n_pixels`` and ``fraction`` [1], over ``phase`` when the masks have it.
    """
    dims = spatial_dims(checked_mask(masks))
    n_pixels = masks.sum(dims, dtype=np.int64).assign_attrs(long_name="pixels in the mask")
    fraction = (n_pixels / math.prod(masks.sizes[d] for d in dims)).assign_attrs(
        long_name="share of the image", units="1"
    )
    return xr.Dataset({"n_pixels": n_pixels, "fraction": fraction})


@task_name("square inside a mask")
def _square_corner(mask: np.ndarray, side: int) -> tuple[int, int]:
    """Return the first pixel of the square of this side that lies most inside a mask."""
    from scipy.ndimage import uniform_filter

    values = mask.astype(float)
    # of squares equally full, the one whose surroundings are fullest too
    fill, around = (uniform_filter(values, n, mode="constant") for n in (side, 2 * side))
    centre = np.unravel_index(np.argmax(fill + 1e-3 * around), values.shape)
    y, x = (
        min(max(0, int(c) - side // 2), n - side) for c, n in zip(centre, values.shape, strict=True)
    )
    return y, x


def _check_pair(first: xr.DataArray, second: xr.DataArray) -> None:
    check_same_grid(checked_mask(first), checked_mask(second), "the second mask")


def _histogram(score: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and centres of the bins."""
    import dask.array as da

    values = da.asarray(score.data)
    low, high = (float(v) for v in da.compute(values.min(), values.max()))
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        raise EdsError(f"a threshold needs finite, varying values, found {low:g} to {high:g}")
    counts, edges = da.histogram(values, bins=HISTOGRAM_BINS, range=(low, high))
    return counts.compute(), (edges[1:] + edges[:-1]) / 2
