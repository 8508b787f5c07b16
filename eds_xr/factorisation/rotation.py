"""Turning scores and loadings within the ambiguity of a factorisation: helpers of ``mixing``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.image.blocks import boxes
from eds_xr.schema import COMPONENT, ENERGY, EdsError, spatial_dims
from eds_xr.workers import task_name

#: Scores are summed over at least so many pixels that no more bins than this remain.
MOST_BINS = 2**18
#: Counts that a bin should hold, and bins that should remain.
COUNTS_PER_BIN, FEWEST_BINS = 2000.0, 256


def check_component(scores: xr.DataArray, matrix: Any) -> None:
    """Raise unless `matrix` is the label of a component."""
    known = scores[COMPONENT].values.tolist()
    if matrix not in known:
        raise EdsError(f"matrix must be one of the components {known}, found {matrix!r}")


def check_factors(result: xr.Dataset) -> None:
    """Raise unless `result` holds scores and loadings of the same components."""
    if not (isinstance(result, xr.Dataset) and {"scores", "loadings"} <= set(result.data_vars)):
        raise EdsError("expected a factorisation: a Dataset with scores and loadings, from nmf()")
    scores, loadings = result["scores"].dims, result["loadings"].dims
    if COMPONENT not in scores or set(loadings) != {COMPONENT, ENERGY}:
        raise EdsError(
            "expected scores [*spatial, component] and loadings [component, energy], found "
            f"{scores} and {loadings}"
        )


def binned_scores(scores: xr.DataArray) -> np.ndarray:
    """Return scores summed over square bins ``[bin, component]``, see :func:`binned_maps`."""
    sums = binned_maps(scores)
    return sums.reshape(-1, sums.shape[-1])


def binned_maps(scores: xr.DataArray) -> np.ndarray:
    """Return scores summed over square bins ``[*bins, component]``: their noise falls, not more.

    Computes once through the scores. Bins are of whole powers of two, aligned to the image; what
    is left over at its ends is left out.
    """
    dims = spatial_dims(scores)
    shape = [scores.sizes[d] for d in dims]
    side = 1
    while math.prod(-(-n // side) for n in shape) > MOST_BINS:
        side *= 2
    table = scores.astype(float).chunk({COMPONENT: -1}) if scores.chunks else scores.astype(float)
    window = {d: min(side, n) for d, n in zip(dims, shape, strict=True)}
    sums = table.coarsen(window, boundary="trim").sum().values if side > 1 else table.values
    if not np.isfinite(sums).all():
        raise EdsError("the scores hold NaN or infinite values; use da.fillna(0)")
    return gathered_bins(sums, COUNTS_PER_BIN, FEWEST_BINS)


def turned_scores(scores: xr.DataArray, change: np.ndarray) -> xr.DataArray:
    """Return ``scores @ change``. Lazy."""
    if scores.chunks is not None:
        scores = scores.chunk({COMPONENT: -1})
    turned = xr.apply_ufunc(
        _turn_block,
        scores.drop_vars(COMPONENT, errors="ignore"),
        kwargs={"change": change},
        input_core_dims=[[COMPONENT]],
        output_core_dims=[[COMPONENT]],
        dask="parallelized",
        output_dtypes=[scores.dtype],
    )
    return turned.assign_attrs(scores.attrs)


def thinned(core: np.ndarray, most: int) -> np.ndarray:
    """Return `core` with every n-th of its pixels left, so that no more than `most` remain."""
    found = np.flatnonzero(core)
    if not found.size:
        raise EdsError("the core is empty: no pixel of pure matrix to take the baseline from")
    thin = np.zeros(core.shape, bool)
    thin.flat[found[:: -(-found.size // most)]] = True
    return thin


def pick(scores: xr.DataArray, keep: np.ndarray) -> xr.DataArray:
    """Return the scores of the pixels in `keep`; chunks without any are never computed."""
    from dask.base import compute

    scores = scores.transpose(*spatial_dims(scores), COMPONENT)
    if scores.chunks is None:
        rows = scores.values[keep]
    else:
        tiles = scores.data.rechunk({-1: -1})
        places = zip(tiles.to_delayed().ravel(), boxes(tiles.chunks[:-1]), strict=True)
        few = [tile[keep[box]] for tile, box in places if keep[box].any()]
        rows = np.concatenate(compute(*few))
    return xr.DataArray(
        rows.astype(float), {COMPONENT: scores[COMPONENT].values}, ("pixel", COMPONENT)
    )


def matrix_shares(pure: xr.DataArray, matrix: Any) -> xr.DataArray:
    """Return the median ratio of each score to the matrix's, zero for the matrix itself."""
    base = pure.sel({COMPONENT: matrix}, drop=True)
    if not bool((base > 0).any()):
        raise EdsError(
            f"component {matrix} has no counts in the core: is it the matrix phase, and the "
            "core where that is pure?"
        )
    ratio = (pure / base).where(base > 0).median("pixel")
    return ratio.where(ratio[COMPONENT] != matrix, 0.0)


def turn(
    scores: xr.DataArray, matrix: Any, shares: xr.DataArray, total: xr.DataArray
) -> xr.DataArray:
    """Return scores without the matrix's shares, for loadings divided by `total`."""
    base = scores.sel({COMPONENT: matrix}, drop=True)
    rotated = (scores - shares.astype(scores.dtype) * base) * total.astype(scores.dtype)
    return rotated.transpose(*scores.dims).assign_attrs(scores.attrs)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def gathered_bins(sums: np.ndarray, each: float, fewest: int) -> np.ndarray:
    """Return sums over bins ``[*bins, any]`` that hold `each` on average, while enough remain."""
    while sums.sum() < each * math.prod(sums.shape[:-1]):
        halved = halved_maps(sums)
        if math.prod(halved.shape[:-1]) < fewest:
            break
        sums = halved
    return sums


def halved_maps(sums: np.ndarray) -> np.ndarray:
    """Return sums over two neighbours along each axis but the last, where there are two."""
    for axis, size in enumerate(sums.shape[:-1]):
        if size > 1:
            even = np.take(sums, range(0, size - 1, 2), axis)
            sums = even + np.take(sums, range(1, size, 2), axis)
    return sums


@task_name("scores of the mixture")
def _turn_block(scores: np.ndarray, *, change: np.ndarray) -> np.ndarray:
    return (scores.astype(float) @ change).astype(scores.dtype)
