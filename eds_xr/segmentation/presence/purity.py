"""Pixels in which one phase is all there is, and which phase a pixel has most of."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import PHASE, spatial_dims
from eds_xr.segmentation.presence.amounts import MOST_SIGMA, width_gathering
from eds_xr.segmentation.tiled_filters import (
    in_tiles,
    inside_margins,
    map_planes,
    plane_dims,
    with_margins,
)
from eds_xr.workers import here, task_name

#: Nothing else is present so near [pixels]: grains' rims are thinner than "present" asks for.
MARGIN = 2
#: Shares that noise alone brings so many of its deviations above zero are no reason to leave out:
#: what is left would be chosen by its noise, and hold too little of everything else (olivines that
#: differ by a tenth of their Mg lost 1.2 to 2.8 % of each other).
NOISE_SIGMA = 2.5
#: Shares of what else there may be are averages over so many counts.
COUNTS_FOR_PURITY, COUNTS_FOR_LABEL = 20_000.0, 200.0


def pure_pixels(
    counts: xr.DataArray, present: xr.DataArray, mean: float, pure_share: float
) -> xr.DataArray:
    """Return where a phase is present and every other gives less than `pure_share` of the counts.

    No other phase is present within 2 pixels, and the mean share of each, among such pixels
    nearby, is below, or within noise: no pixel tells a share of 0.02 by itself.

    Lazy: like `counts`.

    Parameters
    ----------
    counts : DataArray [*spatial, phase; counts]
        Amounts of the phases, without bias.
    present : DataArray of bool [phase, *spatial]
    mean : float
        Counts of a pixel, on average.
    pure_share : float
    """
    asked = np.eye(present.sizes[PHASE], dtype=bool)
    found = only_pixels(counts, present, asked, mean, pure_share)
    result = found.rename(asked=PHASE).assign_coords({PHASE: present[PHASE]})
    return result.rename("pure").assign_attrs(long_name="nothing but the phase")


def only_pixels(
    counts: xr.DataArray, present: xr.DataArray, asked: np.ndarray, mean: float, pure_share: float
) -> xr.DataArray:
    """Return where just some phases are present, and every other as in :func:`pure_pixels`.

    Lazy: like `counts`. Two looks at each tile: what noise makes of shares, all over the image;
    then, pixel by pixel.

    Parameters
    ----------
    asked : ndarray of bool [asked, phase]
        Combinations of phases.

    Returns
    -------
    DataArray of bool [asked, *spatial]
    """
    import dask.array as da

    dims, planes = spatial_dims(present), len(plane_dims(present))
    sigma = width_gathering(COUNTS_FOR_PURITY, mean, 1.0, MOST_SIGMA)
    margin = int(4 * sigma + 0.5) + MARGIN
    tiles = [in_tiles(a.transpose(PHASE, *dims)) for a in (counts, present)]
    wide = [with_margins(a.data, margin, planes) for a in tiles]
    chunks = tiles[0].data.chunks[1:]
    meta: np.ndarray = np.empty((0,) * (len(dims) + 1))
    known = {"asked": asked, "sigma": sigma, "margin": margin, "planes": planes}
    sums = da.map_blocks(
        _noise_block, *wide, **known, dtype=float, meta=meta,
        chunks=((2 * asked.size,), *((1,) * len(sizes) for sizes in chunks)),
    ).sum(tuple(range(1, 1 + len(dims))), keepdims=True)  # fmt: skip
    # sums go beside the tiles: to an array among the options Dask gives a random name each time
    found = da.map_blocks(
        _only_block, *wide, sums, **known, pure_share=pure_share, dtype=bool,
        chunks=((len(asked),), *chunks), meta=meta.astype(bool),
    )  # fmt: skip
    if counts.chunks is None and present.chunks is None:
        found = found.compute(**here())
    coords = {d: present[d] for d in dims if d in present.coords}
    return xr.DataArray(found, coords, ("asked", *dims))


def alone_pixels(present: xr.DataArray) -> xr.DataArray:
    """Return where a phase is present and no other within 2 pixels ``[phase, *spatial]``. Lazy."""
    wide = map_planes(present.astype(np.uint8), _grown_block, MARGIN) > 0
    return present & (wide.sum(PHASE) - wide == 0)


def most_of(counts: xr.DataArray, present: xr.DataArray, mean: float) -> xr.DataArray:
    """Return the number (from 1) of the phase that a pixel has most of; 0 where it has no counts.

    Among present ones, if any. Lazy: like `counts`.

    Parameters
    ----------
    counts : DataArray [*spatial, phase; counts]
    present : DataArray of bool [phase, *spatial]
    mean : float
        Counts of a pixel, on average.
    """
    sigma = width_gathering(COUNTS_FOR_LABEL, mean, 0.7, MOST_SIGMA)
    near = _smooth(counts, sigma)
    ranked = near.where(present | ~present.any(PHASE), -np.inf)
    some = counts.sum(PHASE) > 0.5
    return ((ranked.argmax(PHASE) + 1) * some).astype(np.uint8)


def _smooth(counts: xr.DataArray, sigma: float) -> xr.DataArray:
    ordered = counts.transpose(*spatial_dims(counts), ...)
    return map_planes(ordered, _smoothed_block, int(4 * sigma + 0.5), sigma=sigma)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("margins of the phases")
def _grown_block(image: np.ndarray, *, axes: int) -> np.ndarray:
    from scipy.ndimage import maximum_filter

    return maximum_filter(image, 2 * MARGIN + 1, axes=tuple(range(-axes, 0)))


@task_name("smoothed amounts")
def _smoothed_block(image: np.ndarray, *, axes: int, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, sigma, axes=tuple(range(-axes, 0)))


@task_name("noise of shares")
def _noise_block(
    counts: np.ndarray, present: np.ndarray, *, asked: np.ndarray, sigma: float, margin: int,
    planes: int, block_info: Any,
) -> np.ndarray:  # fmt: skip
    """Return sums of weights, and of weights times squares of shares below zero, of a tile."""
    inner = inside_margins(counts, block_info[0], margin, planes)
    found: np.ndarray = np.zeros((2, *asked.shape))
    for number, phases in enumerate(asked):
        _, total, share = _shares(counts, present, phases, sigma, planes)
        total, share = total[inner[1:]], share[inner]
        # below zero there is only noise
        weight = np.where(share < 0, total, 0)
        axes = tuple(range(1, share.ndim))
        found[0, number, ~phases] = weight.sum(axes, dtype=float)
        found[1, number, ~phases] = (weight * np.where(share < 0, share, 0) ** 2).sum(
            axes, dtype=float
        )
    return found.reshape(-1, *(1,) * (counts.ndim - 1))


@task_name("pure pixels")
def _only_block(
    counts: np.ndarray, present: np.ndarray, sums: np.ndarray, *, asked: np.ndarray, sigma: float,
    margin: int, planes: int, pure_share: float, block_info: Any,
) -> np.ndarray:  # fmt: skip
    """Return where just the asked phases are in a tile ``[asked, *spatial; bool]``."""
    inner = inside_margins(counts, block_info[0], margin, planes)
    weight, squares = sums.reshape(2, *asked.shape)
    most = (NOISE_SIGMA * np.sqrt(squares / weight.clip(min=1e-9))).clip(min=pure_share)
    found: np.ndarray = np.empty((len(asked), *counts[inner].shape[1:]), bool)
    for number, phases in enumerate(asked):
        where, total, share = _shares(counts, present, phases, sigma, planes)
        limit = most[number][~phases].reshape(-1, *(1,) * (share.ndim - 1))
        only = where & ((share <= limit) | ~(total > 0)).all(0)
        found[number] = only[inner[1:]]
    return found


def _shares(
    counts: np.ndarray, present: np.ndarray, phases: np.ndarray, sigma: float, planes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where just some phases are, the counts there, and the shares of the others nearby."""
    others = present[~phases].any(0).astype(np.uint8)
    where = present[phases].all(0) & (_grown_block(others, axes=planes) == 0)
    near = _smoothed_block(counts * where, axes=planes, sigma=sigma)
    total = np.where(where, near.sum(0), 0).clip(min=0)
    share = near[~phases] / np.where(total > 0, total, np.nan)
    return where, total, share
