"""Compiled least squares on sparse blocks of counts, the counterpart of :mod:`poisson`.

The form of a block is described there.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _nonnegative_least_squares(
    gram: np.ndarray, vector: np.ndarray, fixed: np.ndarray, out: np.ndarray
) -> None:
    """Minimise ``out' gram out / 2 - vector' out`` over ``out >= 0`` by coordinate descent.

    What is `fixed` stays as it is.
    """
    for _ in range(200):
        moved, largest = np.float64(0), np.float64(0)
        for q in range(out.size):
            if fixed[q]:
                continue
            gradient = vector[q]
            for p in range(out.size):
                gradient -= gram[q, p] * out[p]
            new = max(out[q] + gradient / (gram[q, q] + 1e-30), 0.0)
            moved = max(moved, abs(new - out[q]))
            largest = max(largest, new)
            out[q] = new
        if moved <= 1e-6 * largest:
            return


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
    vector, w, fixed = np.empty(k, np.float64), np.empty(k, np.float64), np.zeros(k, np.bool_)
    for i in range(scores.shape[0]):
        vector[:] = 0
        for t in range(starts[i], starts[i + 1]):
            for q in range(k):
                vector[q] += count[t] * dense[channel[t], q]
        w[:] = scores[i]
        _nonnegative_least_squares(gram, vector, fixed, w)
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
    for c in range(out.shape[0]):
        _nonnegative_least_squares(gram, cross[c], fixed, out[c])
    return out
