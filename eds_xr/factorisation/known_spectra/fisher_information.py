"""What follows when one side of a factorisation is known: loadings for scores, errors of scores."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import xarray as xr
from dask.base import compute, persist

from eds_xr.factorisation.one_read import counts_fit
from eds_xr.factorisation.solver import poisson
from eds_xr.image.blocks import Sparse, add_delayed, compress_block
from eds_xr.workers import calls, task_name


def known_scores_loadings(image: xr.DataArray, scores: xr.DataArray, max_iter: int) -> np.ndarray:
    """Return the loadings ``[channel, component; sum 1]`` of greatest likelihood for given scores.

    The likelihood is concave, and every channel is on its own: Newton's method, a few sums.
    """
    import dask.array as da

    weights = da.asarray(scores.data).rechunk((*image.data.chunks[:-1], -1))
    tiles = zip(image.data.to_delayed().ravel(), weights.to_delayed().ravel(), strict=True)
    blocks = calls(_pair_block, tiles)
    if counts_fit(image):  # else they are read anew for every step
        blocks = persist(*blocks)
    sums = calls(_least_squares_block, [(b, image.shape[-1]) for b in blocks])
    ((cross, gram),) = compute(add_delayed(sums))
    # positive loadings near those of weighted least squares
    linear = cross @ np.linalg.pinv(gram, rcond=1e-9, hermitian=True)
    loadings = np.maximum(linear, 1e-3 * cross.sum(axis=1, keepdims=True) / gram.sum())
    free: np.ndarray = np.zeros(loadings.shape[1], bool)
    for _ in range(max_iter):
        table = np.ascontiguousarray(loadings, dtype=np.float32)
        sums = calls(_sums_block, [(b, table) for b in blocks])
        ((curvature, weight, _),) = compute(add_delayed(sums))
        loadings = poisson.poisson_loadings(table, curvature, weight, free)
    return loadings / np.maximum(loadings.sum(0), np.finfo(float).tiny)


def fisher_covariance(block: Sparse, loadings: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Return the covariance of the amounts ``[pixel, p, q]``: the inverse of the information.

    In pixels without counts variances are infinite and covariances zero.
    """
    information = _information(*block, loadings, amounts)
    k = information.shape[-1]
    # a component with no information of its own must not spoil the others
    scale = np.sqrt(np.maximum(np.einsum("ijj->ij", information), 1e-12))
    scaled = information / (scale[:, :, None] * scale[:, None, :]) + 1e-6 * np.eye(k)
    covariance = np.linalg.inv(scaled) / (scale[:, :, None] * scale[:, None, :])
    covariance[block[0][1:] == block[0][:-1]] = np.diag(np.full(k, np.inf))
    return covariance.astype(np.float32)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("counts and scores")
def _pair_block(block: np.ndarray, scores: np.ndarray) -> tuple[Sparse, np.ndarray]:
    table = scores.reshape(-1, scores.shape[-1])
    return compress_block(block), np.ascontiguousarray(table, dtype=np.float32)


@task_name("least squares of spectra")
def _least_squares_block(
    pair: tuple[Sparse, np.ndarray], channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``X' V W`` and ``W' V W`` with each pixel weighted by the inverse of its counts."""
    (starts, channel, count), scores = pair
    pixel = np.repeat(np.arange(len(scores)), np.diff(starts))
    weighted = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1)
    cross = [
        np.bincount(channel, weights=count * column[pixel], minlength=channels)
        for column in weighted.T.astype(float)
    ]
    return np.stack(cross, axis=1), weighted.T.astype(float) @ scores.astype(float)


@task_name("sums for spectra")
def _sums_block(pair: tuple[Sparse, np.ndarray], loadings: np.ndarray) -> Any:
    block, scores = pair
    return poisson.poisson_step(*block, loadings, scores, 0)  # no step: the scores stay


@numba.njit(cache=True, nogil=True)
def _information(
    starts: np.ndarray,
    channel: np.ndarray,
    count: np.ndarray,
    loadings: np.ndarray,
    scores: np.ndarray,
) -> np.ndarray:
    """Return ``sum_c x_c h_cp h_cq / s_c**2`` of every pixel ``[pixel, p, q]``."""
    pixels, k = scores.shape
    out = np.zeros((pixels, k, k))
    for i in range(pixels):
        for t in range(starts[i], starts[i + 1]):
            c, s = channel[t], 1e-12
            for q in range(k):
                s += scores[i, q] * loadings[c, q]
            for p in range(k):
                for q in range(k):
                    out[i, p, q] += count[t] * loadings[c, p] * loadings[c, q] / s**2
    return out
