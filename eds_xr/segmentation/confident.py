"""Scribbles of the pixels whose scores leave no doubt, and significance of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.chunks import computed
from eds_xr.cluster.supervision import computes
from eds_xr.provenance import with_step
from eds_xr.schema import (
    COMPONENT,
    EdsError,
    check_one_of,
    check_same_grid,
    checked_mask,
    label_array,
    spatial_dims,
)
from eds_xr.segmentation.tiled_filters import map_planes
from eds_xr.workers import calls, task_name

#: Name of the class of pixels that are confidently none of the factorised phases.
OTHER = "other"
#: Counts that smoothing should gather: fractions of phases are then known to about 0.7 %.
COUNTS_SMOOTHED = 5000.0
#: Spreads count as no smaller than this share of a pixel: what is fainter does no harm.
MIN_SPREAD = 0.002
#: Statistics are taken from at most this many pixels, on a regular grid.
MAX_SAMPLE_PIXELS = 2**20


@computes
def confident_pixels(
    scores: xr.DataArray,
    *,
    phases: Sequence[str] | None = None,
    matrix: str | int | None = None,
    smoothing_pixels: float | None = None,
    inside: float = 1.5,
    outside: float = 4.0,
) -> xr.DataArray:
    """Paint the pixels of which the scores leave no doubt, as scribbles.

    Scores are smoothed and divided by their sum, which takes the thickness out. A component's
    baseline in the matrix is the commonest of its values, with its robust spread. A pixel is
    *matrix* when every other component is within `inside` spreads of its baseline, to both sides;
    it is a *grain* when exactly one other component is more than `outside` spreads above; it is
    ``other`` when none is, but one is that far below: an object that no component describes.
    Smoothing blurs bright grains over their rims, so a grain must also be above `inside` when
    smoothed by half the width.

    Computes: baselines, from at most a million pixels; the labels stay lazy.

    Parameters
    ----------
    scores : DataArray [y, x, component; counts]
        From ``da.eds.nmf()``; at least two components. Noise may reach
        below zero, as it does when the matrix's share has been taken out.
    phases : sequence of str, optional
        Names of the components, by default their coordinate.
    matrix : str or int, optional
        The component that surrounds the others; by default that of most counts.
    smoothing_pixels : float, optional
        Standard deviation of the Gaussian [pixels]. By default as wide as gathers 5000 counts,
        between 1 and 4.
    inside, outside : float
        The two limits [spreads of the baseline].

    Returns
    -------
    DataArray [y, x; uint8 label]
        The phases in the order of the components, then ``other``; 0 is not painted.

    Raises
    ------
    EdsError
        When the scores are no counts or hold NaN, or the matrix is not among the phases.
    """
    scores, names = _named_scores(scores, phases)
    if not 0 < inside < outside:
        raise EdsError(f"expected 0 < inside < outside, found {inside} and {outside}")
    sample = _sample(scores)
    mean = sample.mean(spatial_dims(scores)).values
    index = _matrix_index(names, mean, matrix)
    width = _smoothing_width(float(mean.sum())) if smoothing_pixels is None else smoothing_pixels
    wide, narrow = (_fractions(scores, w) for w in (width, width / 2))
    known = [_baselines(shares, index) for shares in (wide, narrow)]
    values = xr.apply_ufunc(
        _confident_block,
        wide,
        narrow,
        kwargs={"matrix": index, "inside": inside, "outside": outside, "known": known},
        input_core_dims=[[COMPONENT], [COMPONENT]],
        dask="parallelized",
        output_dtypes=[np.uint8],
    )
    label = label_array(values.data, values, [*names, OTHER])
    label.attrs |= with_step(
        {"history": scores.attrs.get("history", [])},
        "confident_pixels",
        matrix=names[index],
        smoothing_pixels=width,
        inside=inside,
        outside=outside,
    )
    return label


def smoothed_shares(scores: xr.DataArray, smoothing_pixels: float | None = None) -> xr.DataArray:
    """Return each component's share of the smoothed scores of a pixel. Lazy, but for the mean."""
    scores, _ = _named_scores(scores, None)
    if smoothing_pixels is None:
        smoothing_pixels = _smoothing_width(float(_sample(scores).mean(spatial_dims(scores)).sum()))
    return _fractions(scores, smoothing_pixels)


def commonest(values: np.ndarray) -> float:
    """Return the commonest of noisy values: the median of their densest quarter."""
    start, quarter, ordered = _densest_quarter(values)
    return float(np.median(ordered[start : start + quarter + 1]))


@computes
def significance(
    scores: xr.DataArray, core: xr.DataArray, *, smoothing_pixels: float | None = None
) -> xr.DataArray:
    """Return how far each component stands above its level in a core, in standard deviations.

    Scores are smoothed and divided by their sum, so thickness cancels; level and spread are the
    median and 1.4826 times the median absolute deviation in the core. What is not there scatters
    about 0 with a spread of 1: ``significance(scores, core) > 6`` is a mask of grains.

    Computes: the core, where the matrix is pure, of which at most about a million pixels on a
    regular grid come here; the map stays lazy.

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
    check_same_grid(scores, checked_mask(core), "the core")
    shares = smoothed_shares(scores, smoothing_pixels)
    inside = _values_inside(shares, core)
    if not len(inside):
        raise EdsError(
            "the core is empty: no pixel of pure matrix to compare with; give a mask of pixels "
            "where the matrix is alone, or lower its threshold"
        )
    level = np.median(inside, axis=0)
    spread = 1.4826 * np.median(np.abs(inside - level), axis=0)
    result = (shares - level.astype(np.float32)) / np.maximum(spread, 1e-6).astype(np.float32)
    return result.rename("significance").assign_attrs(
        long_name="standard deviations above the core"
    )


@computes
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

    Computes: the pixels inside, of which at most about a million come here.

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
    check_same_grid(scores, checked_mask(inside), "the mask")
    shares = smoothed_shares(scores, smoothing_pixels)
    values = _values_inside(shares, inside).astype(float)
    own = list(scores["component"].values).index(component)
    values = values[values[:, own] > 0]
    if not len(values):
        raise EdsError(
            f"the mask holds no pixel with counts of {component}: its ratio to the others is not "
            "known there; give a mask in which it is present"
        )
    ratio = np.array([commonest(column / values[:, own]) for column in values.T])
    ratio[own] = 0
    return xr.DataArray(ratio, dims="component", coords={"component": scores["component"]})


def _named_scores(
    scores: xr.DataArray, phases: Sequence[str] | None
) -> tuple[xr.DataArray, list[str]]:
    if not isinstance(scores, xr.DataArray) or COMPONENT not in scores.dims:
        found = getattr(scores, "dims", type(scores).__name__)
        raise EdsError(f"expected scores with a dimension 'component', found {found}")
    n = scores.sizes[COMPONENT]
    if n < 2:
        raise EdsError(
            f"scores of a matrix and its grains have at least two components, found {n}; "
            "factorise with n_components=2 or more"
        )
    if phases is None:
        known = COMPONENT in scores.coords
        phases = [str(c) for c in scores[COMPONENT].values] if known else []
        phases = phases or [f"phase_{i + 1}" for i in range(n)]
    if len(phases) != n or len(set(phases)) < n:
        raise EdsError(f"expected {n} different names of phases, found {list(phases)}")
    scores = scores.transpose(..., COMPONENT).astype(np.float32)
    return scores.chunk({COMPONENT: -1}) if scores.chunks is not None else scores, list(phases)


def _sample(image: xr.DataArray) -> xr.DataArray:
    """Return pixels on a regular grid, computed, few enough for statistics in memory."""
    dims = spatial_dims(image)
    excess = math.prod(image.sizes[d] for d in dims) / MAX_SAMPLE_PIXELS
    step = math.ceil(excess ** (1 / len(dims))) if excess > 1 else 1
    sample = computed(image.isel({d: slice(None, None, step) for d in dims}))
    if not np.isfinite(sample).all():
        raise EdsError("the scores hold NaN or infinite values; use da.fillna(0)")
    return sample


def _values_inside(maps: xr.DataArray, mask: xr.DataArray) -> np.ndarray:
    """Return values ``[pixel, component]`` inside a mask, few enough for statistics in memory.

    In the order of chunks: for medians and the like.
    """
    from dask.base import compute

    dims = spatial_dims(maps)
    excess = int(mask.sum()) / MAX_SAMPLE_PIXELS
    step = math.ceil(excess ** (1 / len(dims))) if excess > 1 else 1
    grid = {d: slice(None, None, step) for d in dims}
    found = maps.transpose(*dims, COMPONENT).isel(grid)
    where = mask.transpose(*dims).isel(grid)
    if found.chunks is None:
        return np.asarray(found.values[where.values])
    tiles = found.data.rechunk({len(dims): -1})
    kept = where.chunk(dict(zip(dims, tiles.chunks, strict=False))).data
    pairs = zip(tiles.to_delayed().ravel(), kept.to_delayed().ravel(), strict=True)
    return np.concatenate(compute(*calls(_inside_block, pairs)))


def _matrix_index(names: list[str], mean: np.ndarray, matrix: str | int | None) -> int:
    if matrix is None:
        return int(mean.argmax())
    if isinstance(matrix, str):
        check_one_of(matrix, names, "matrix")
        return names.index(matrix)
    if not 0 <= matrix < len(names):
        raise EdsError(f"matrix must be 0 to {len(names) - 1}, found {matrix}")
    return matrix


def _smoothing_width(counts: float) -> float:
    """Return the Gaussian that averages over enough pixels: 4 pi sigma^2 of them."""
    if counts <= 0:
        raise EdsError(
            f"scores must be counts, found a mean sum of {counts:g} a pixel; take them from "
            "da.eds.nmf(), unscaled"
        )
    return min(4.0, max(1.0, math.sqrt(COUNTS_SMOOTHED / (4 * math.pi * counts))))


def _fractions(scores: xr.DataArray, width: float) -> xr.DataArray:
    ordered = scores.transpose(COMPONENT, *spatial_dims(scores))
    shares = map_planes(ordered, _shares_block, int(4 * width + 0.5), sigma=width)
    return shares.transpose(*scores.dims)


def _baselines(fraction: xr.DataArray, matrix: int) -> np.ndarray:
    """Return commonest value and spread of the fractions of all but the matrix [2, component]."""
    others = np.delete(np.arange(fraction.sizes[COMPONENT]), matrix)
    sample = _sample(fraction.isel({COMPONENT: others})).values.reshape(-1, others.size)
    return np.array([_baseline(column) for column in sample.T], np.float32).T


def _baseline(values: np.ndarray) -> tuple[float, float]:
    """Return median and 1.4826 MAD within 3 spreads, from the densest quarter of the values on."""
    start, quarter, ordered = _densest_quarter(values)
    low, high = ordered[start], ordered[start + quarter]
    centre, spread = (low + high) / 2, (high - low) / 2
    for _ in range(20):
        near = ordered[np.abs(ordered - centre) <= 3 * spread]
        if near.size == 0:
            break
        centre = float(np.median(near))
        previous, spread = spread, 1.4826 * float(np.median(np.abs(near - centre)))
        if abs(spread - previous) <= 1e-6 * previous:
            break
    return centre, max(spread, MIN_SPREAD)


def _densest_quarter(values: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Return first index and length of the quarter of the sorted values that is densest."""
    ordered = np.sort(values.astype(float))
    quarter = min(max(1, ordered.size // 4), ordered.size - 1)
    start = int(np.argmin(ordered[quarter:] - ordered[: ordered.size - quarter]))
    return start, quarter, ordered


@task_name("confident pixels")
def _confident_block(
    wide: np.ndarray, narrow: np.ndarray, *, matrix: int, inside: float, outside: float,
    known: list[np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Labels ``(..., y, x)`` of smoothed shares ``(..., y, x, component)``."""
    # in spreads of the baseline of each component but the matrix
    wide, narrow = (
        (np.delete(shares, matrix, axis=-1) - centre) / spread
        for shares, (centre, spread) in zip((wide, narrow), known, strict=True)
    )
    n_phases = wide.shape[-1] + 1
    labels = np.delete(np.arange(1, n_phases + 1), matrix).astype(np.uint8)
    above = wide > outside
    grain = (above.sum(-1) == 1) & (above & (narrow > inside)).any(-1)
    result = np.where(grain, labels[above.argmax(-1)], np.uint8(0))
    result[(np.abs(wide) < inside).all(-1)] = matrix + 1
    result[(wide < -outside).any(-1) & ~above.any(-1)] = n_phases + 1
    return result.astype(np.uint8)


@task_name("smoothed shares")
def _shares_block(scores: np.ndarray, *, axes: int, sigma: float) -> np.ndarray:
    """Return each component's share of smoothed scores ``[component, ...]``."""
    from scipy.ndimage import gaussian_filter

    smoothed = gaussian_filter(scores, sigma, mode="reflect", axes=tuple(range(-axes, 0)))
    return np.asarray(smoothed / np.maximum(smoothed.sum(0), np.float32(1e-6)))


@task_name("pixels inside a mask")
def _inside_block(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return values[inside]
