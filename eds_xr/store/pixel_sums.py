"""Compiled sums of neighbouring pixels: NumPy in, NumPy out."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def add_pairs(out: np.ndarray, rows: np.ndarray, first: int, columns: int) -> None:
    """Add `rows` ``[row, x, energy]`` to `out`, two of them and `columns` pixels to one.

    `first` is the number of the first of `rows`, counted from the first that goes to `out`.
    """
    for i in range(rows.shape[0]):
        for x in range(rows.shape[1]):
            target, source = out[(first + i) // 2, x // columns], rows[i, x]
            for channel in range(source.size):
                target[channel] += source[channel]
