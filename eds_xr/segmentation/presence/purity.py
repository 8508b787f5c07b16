"""Pixels in which one phase is all there is, and which phase a pixel has most of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.schema import PHASE, spatial_dims
from eds_xr.segmentation.presence.amounts import MOST_SIGMA, width_gathering
from eds_xr.segmentation.tiled_filters import map_planes
from eds_xr.workers import task_name

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
    found = [
        only_pixels(counts, present, [name], mean, pure_share) for name in present[PHASE].values
    ]
    result = xr.concat(found, dim=present[PHASE]).transpose(*present.dims)
    return result.rename("pure").assign_attrs(long_name="nothing but the phase")


def only_pixels(
    counts: xr.DataArray,
    present: xr.DataArray,
    phases: Sequence[str],
    mean: float,
    pure_share: float,
) -> xr.DataArray:
    """Return where just these phases are present, and every other as in :func:`pure_pixels`.

    Lazy: like `counts`.

    Returns
    -------
    DataArray of bool [*spatial]
    """
    asked = present[PHASE].isin(list(phases))
    others = present.sel({PHASE: ~asked}).any(PHASE).astype(np.uint8)
    near_others = map_planes(others, _grown_block, MARGIN) > 0
    here = present.sel({PHASE: asked}).all(PHASE) & ~near_others
    near = _smooth(counts * here, width_gathering(COUNTS_FOR_PURITY, mean, 1.0, MOST_SIGMA))
    total = near.sum(PHASE).where(here, 0.0).clip(min=0)
    share = near.sel({PHASE: ~asked}) / total.where(total > 0)
    weight, dims = total * (share < 0), spatial_dims(share)  # below zero there is only noise
    noise = ((weight * share**2).sum(dims) / weight.sum(dims).clip(min=1e-9)) ** 0.5
    most = (NOISE_SIGMA * noise).clip(min=pure_share)
    return here & ((share <= most) | ~(total > 0)).all(PHASE)


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
