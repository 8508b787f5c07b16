"""Compiled least squares on sparse blocks of counts, the counterpart of :mod:`poisson`.

The form of a block is described in :mod:`eds_xr.image.count_kernels`.
"""

from __future__ import annotations

import numba
import numpy as np

from eds_xr.image.count_kernels import settle

#: A fit ends when no amount moves by more than this share of the largest.
REST_SHARE = 1e-6


@numba.njit(cache=True, nogil=True)
def frobenius_scores(
    starts: np.ndarray,
    channel: np.ndarray,
    count: np.ndarray,
    loadings: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Set `scores` ``[pixel, component]`` in place to each pixel's non-negative least squares."""
    k = scores.shape[1]
    dense = loadings.astype(np.float64)
    gram = dense.T @ dense
    slope, w = np.empty(k, np.float64), np.empty(k, np.float64)
    step = 1 / (np.diag(gram) + 1e-30)
    for i in range(scores.shape[0]):
        w[:], slope[:] = scores[i], 0
        for t in range(starts[i], starts[i + 1]):
            for q in range(k):
                slope[q] -= count[t] * dense[channel[t], q]
        _add_product(gram, w, slope)
        settle(gram, slope, step, w, 0.0, REST_SHARE)
        scores[i] = w


@numba.njit(cache=True, nogil=True)
def frobenius_sums(
    starts: np.ndarray, channel: np.ndarray, count: np.ndarray, channels: int, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return ``X' W`` ``[channel, component]``, ``W' W`` and ``sum X**2`` of a block."""
    k = scores.shape[1]
    cross, gram, square = np.zeros((channels, k)), np.zeros((k, k)), 0.0
    for i in range(scores.shape[0]):
        for p in range(k):
            for q in range(k):
                gram[p, q] += np.float64(scores[i, p]) * scores[i, q]
        for t in range(starts[i], starts[i + 1]):
            x = np.float64(count[t])
            square += x * x
            for q in range(k):
                cross[channel[t], q] += x * scores[i, q]
    return cross, gram, square


@numba.njit(cache=True)
def frobenius_loadings(
    loadings: np.ndarray, cross: np.ndarray, gram: np.ndarray, fixed: np.ndarray
) -> np.ndarray:
    """Return the loadings ``[channel, component]`` of least squares; those `fixed` stay."""
    out = loadings.astype(np.float64)
    step = np.where(fixed, 0.0, 1 / (np.diag(gram) + 1e-30))
    for c in range(out.shape[0]):
        slope = -cross[c]
        _add_product(gram, out[c], slope)
        settle(gram, slope, step, out[c], 0.0, REST_SHARE)
    return out


@numba.njit(cache=True, nogil=True)
def _add_product(gram: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
    """Add ``gram @ vector`` to `out`."""
    for p in range(out.size):
        for q in range(out.size):
            out[p] += gram[p, q] * vector[q]
