"""Compiled: sums and fits of the spectra of single pixels. Imports numba, so import it late.

The form of a block of counts is described in :mod:`sparse`.
"""

from __future__ import annotations

import numba
import numpy as np

#: A non-negative fit rests when no amount moves by more than this, in standard deviations.
REST = 1e-3
MOST_SWEEPS = 1000


@numba.njit(cache=True, nogil=True)
def weighted_sums(
    starts: np.ndarray,
    channel: np.ndarray,
    count: np.ndarray,
    table: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add each pixel's counts times the rows of `table` ``[channel, q]`` to `sums` ``[pixel, q]``.

    In float64: whole numbers stay exact below 2**53.
    """
    for i in range(sums.shape[0]):
        own = sums[i]
        for t in range(starts[i], starts[i + 1]):
            row, x = table[channel[t]], np.float64(count[t])
            for q in range(own.size):
                own[q] += x * row[q]


@numba.njit(cache=True, nogil=True)
def nonnegative(gram: np.ndarray, amounts: np.ndarray) -> None:
    """Replace `amounts` ``[pixel, q]`` of a linear fit by those of a non-negative one, in place.

    Minimises ``(a - linear)' gram (a - linear)`` over ``a >= 0``; `gram` has ones on its diagonal.
    Coordinate descent from the clipped linear fit: each amount in turn goes to its minimum for
    the others, until all rest.
    """
    pixels, k = amounts.shape
    slope = np.empty(k, np.float64)
    for i in range(pixels):
        own = amounts[i]
        slope[:] = 0
        for p in range(k):  # of the misfit, at the clipped amounts: gram @ (clipped - linear)
            if own[p] < 0:
                for q in range(k):
                    slope[q] -= gram[p, q] * own[p]
                own[p] = 0
        for _ in range(MOST_SWEEPS):
            moved = 0.0
            for p in range(k):
                new = max(own[p] - slope[p], 0.0)
                change = new - own[p]
                if change != 0:
                    own[p] = new
                    moved = max(moved, abs(change))
                    for q in range(k):
                        slope[q] += gram[p, q] * change
            if moved < REST:
                break
