"""Compiled: sums of the rows of a block over groups of pixels. Imports numba, so import it late."""

from __future__ import annotations

import numba
import numpy as np


def masked_sums(rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the sum of the rows of each mask, exact for integers.

    A pixel is read once, however many masks it is in: first into the sum of its combination of
    masks, of which there are few, then combinations add up to masks.

    Parameters
    ----------
    rows : ndarray [pixel, channel; counts]
    masks : ndarray of bool [pixel, mask]

    Returns
    -------
    ndarray of int64, or float64 where `rows` has floats [mask, channel; counts]
    """
    floats = rows.dtype.kind == "f"
    # contiguous, of a dtype that numba knows
    rows = np.ascontiguousarray(rows, np.float64 if floats else rows.dtype.newbyteorder("="))
    combinations, group = _combinations(masks)
    dtype = _dtype_of_sums(rows)
    sums = np.zeros((len(combinations), rows.shape[1]), dtype)
    total = np.zeros((masks.shape[1], rows.shape[1]), dtype)
    _add_rows(rows, group, sums)
    _add_groups(sums, combinations, total)
    return total.astype(np.float64 if floats else np.int64)


def _combinations(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the combinations [group, mask] that occur, and each pixel's; -1 for no mask."""
    bits = np.ascontiguousarray(np.packbits(masks, axis=1))
    keys = bits.view(np.dtype((np.void, bits.shape[1]))).ravel()
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return masks[first], np.where(masks.any(axis=1), group.reshape(-1), -1)


def _dtype_of_sums(rows: np.ndarray) -> np.dtype:
    """Return the fastest dtype that cannot overflow."""
    if rows.dtype.kind == "f":
        return np.dtype(np.float64)
    largest = int(np.iinfo(rows.dtype).max) * len(rows)
    return np.dtype(np.uint32 if rows.dtype.kind == "u" and largest < 2**32 else np.int64)


@numba.njit(nogil=True, cache=True)
def _add_rows(rows: np.ndarray, group: np.ndarray, sums: np.ndarray) -> None:
    for i in range(rows.shape[0]):
        g = group[i]
        if g >= 0:
            for c in range(rows.shape[1]):
                sums[g, c] += rows[i, c]


@numba.njit(nogil=True, cache=True)
def _add_groups(sums: np.ndarray, combinations: np.ndarray, total: np.ndarray) -> None:
    """Add up in whole numbers; a matrix product of floats would round large ones."""
    for g in range(sums.shape[0]):
        for mask in range(combinations.shape[1]):
            if combinations[g, mask]:
                for c in range(sums.shape[1]):
                    total[mask, c] += sums[g, c]
