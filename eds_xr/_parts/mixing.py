"""Turning scores and loadings within the ambiguity of a factorisation: helpers of ``nmf``."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from dask.base import compute
from dask.delayed import delayed

from eds_xr._parts.counts import boxes
from eds_xr.schema import COMPONENT, EdsError, spatial_dims


def check_component(scores: xr.DataArray, matrix: Any) -> None:
    """Raise unless `matrix` is the label of a component."""
    known = scores[COMPONENT].values.tolist()
    if matrix not in known:
        raise EdsError(f"matrix must be one of the components {known}, found {matrix!r}")


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
    scores = scores.transpose(*spatial_dims(scores), COMPONENT)
    if scores.chunks is None:
        rows = scores.values[keep]
    else:
        tiles = scores.data.rechunk({-1: -1})
        where = [keep[box] for box in boxes(tiles.chunks[:-1])]
        tasks = [
            delayed(_pick_block)(tile, inside)
            for tile, inside in zip(tiles.to_delayed().ravel(), where, strict=True)
            if inside.any()
        ]
        rows = np.concatenate(compute(*tasks))
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


def _pick_block(scores: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return scores[keep]
