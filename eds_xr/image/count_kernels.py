"""Sparse blocks of counts, and what is done with them whatever the loss: NumPy in, NumPy out.

A block is ``(starts, channels, counts)``: pixel ``i`` holds ``counts[t]`` in ``channels[t]`` for
``t`` in ``starts[i]:starts[i + 1]``. At a few counts a voxel this is some 3 bytes a count, ten to
a hundred times smaller than the dense block, and every sum over channels runs on it directly.
"""

from __future__ import annotations

import numba
import numpy as np

#: A non-negative fit rests when no amount moves by more than this, in standard deviations.
REST = 1e-3
MOST_SWEEPS = 1000


def compress(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sparse form of counts `rows` ``[pixel, channel]``.

    Counts come back in the smallest of uint8, uint16, uint32 and float32 that holds them.
    """
    per_word = 8 // rows.itemsize
    if over := rows.shape[1] % per_word:  # of whole words; with part of the channels, one copy
        words = np.zeros((rows.shape[0], rows.shape[1] + per_word - over), rows.dtype)
        words[:, : rows.shape[1]] = rows
        rows = words
    rows = np.ascontiguousarray(rows)
    found = np.count_nonzero(rows)
    starts, channel, count = _compress(rows, rows.view(np.uint64), found + per_word)
    count = count[:found]
    whole = rows.dtype.kind != "f" and count.max(initial=0) < 2**32
    kind = np.min_scalar_type(count.max(initial=0)) if whole else np.float32
    return starts, channel[:found], count.astype(kind, copy=False)


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

    Minimises ``(a - linear)' gram (a - linear)`` over ``a >= 0`` from the clipped linear fit;
    `gram` has ones on its diagonal.
    """
    pixels, k = amounts.shape
    slope, step = np.empty(k, np.float64), np.ones(k, np.float64)
    for i in range(pixels):
        own = amounts[i]
        slope[:] = 0
        for p in range(k):  # of the misfit, at the clipped amounts: gram @ (clipped - linear)
            if own[p] < 0:
                for q in range(k):
                    slope[q] -= gram[p, q] * own[p]
                own[p] = 0
        settle(gram, slope, step, own, REST, 0.0)


@numba.njit(cache=True, nogil=True)
def settle(
    gram: np.ndarray, slope: np.ndarray, step: np.ndarray, own: np.ndarray,
    rest: float, share: float,
) -> None:  # fmt: skip
    """Bring `own` ``[q]`` to its non-negative least squares by coordinate descent, in place.

    Each amount goes to its minimum for the others in turn, until none moves by more than `rest`,
    or by more than `share` of the largest. `slope` is the gradient of half the misfit whose
    curvature is `gram`, and follows each move: amounts that stay at zero cost nothing. `step` is
    one over the diagonal of `gram`, and zero for amounts that stay.
    """
    for _ in range(MOST_SWEEPS):
        moved, largest = 0.0, 0.0
        for p in range(own.size):
            if step[p] == 0:
                continue
            new = max(own[p] - slope[p] * step[p], 0.0)
            largest = max(largest, new)
            change = new - own[p]
            if change != 0:
                own[p] = new
                moved = max(moved, abs(change))
                for q in range(own.size):
                    slope[q] += gram[p, q] * change
        if moved <= max(rest, share * largest):
            break


@numba.njit(cache=True, nogil=True)
def halve(rows, first, seed):
    """Keep each count of `rows` ``[pixel, channel]`` with probability one half.

    ``first[pixel]`` is the absolute index of a row's first voxel: with `seed` it fixes the
    outcome, whatever block the row came in.
    """
    out = np.zeros_like(rows)
    key = _scramble(seed + np.uint64(0x9E3779B97F4A7C15))
    for i in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            left, kept = np.int64(rows[i, c]), 0
            if left == 0:
                continue
            state = _scramble(key ^ _scramble(first[i] + np.uint64(c)))
            while left > 0:
                state = _scramble(state + np.uint64(0x9E3779B97F4A7C15))
                bits = (
                    state
                    if left >= 64
                    else state & ((np.uint64(1) << np.uint64(left)) - np.uint64(1))
                )
                while bits:
                    bits &= bits - np.uint64(1)
                    kept += 1
                left -= 64
            out[i, c] = kept
    return out


@numba.njit(cache=True, nogil=True)
def _compress(rows, words, room):
    """Step over the words of eight bytes that are zero; most are."""
    pixels = rows.shape[0]
    per_word = rows.shape[1] // words.shape[1]
    starts = np.zeros(pixels + 1, np.int64)
    channel, count = np.empty(room, np.uint16), np.empty(room, rows.dtype)
    t = 0
    for i in range(pixels):
        for word in range(words.shape[1]):
            if words[i, word] != 0:
                for c in range(word * per_word, (word + 1) * per_word):
                    channel[t], count[t] = c, rows[i, c]  # overwritten by the next if zero
                    t += rows[i, c] != 0
        starts[i + 1] = t
    return starts, channel, count


def pixel_totals(starts: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the counts of each pixel."""
    totals = np.concatenate([[0.0], np.cumsum(count, dtype=np.float64)])
    return np.diff(totals[starts]).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def add_binned(starts, channel, count, target, binned):
    """Add each pixel's counts to row ``target[pixel]`` of `binned` ``[coarse pixel, channel]``."""
    for i in range(starts.size - 1):
        row = binned[target[i]]
        for t in range(starts[i], starts[i + 1]):
            row[channel[t]] += count[t]


@numba.njit(cache=True, nogil=True)
def add_pixels(starts, channel, count, pixel, target, sums):
    """Add the counts of ``pixel[i]`` to row ``target[i]`` of `sums` ``[bin, channel]``."""
    for i in range(pixel.size):
        row = sums[target[i]]
        for t in range(starts[pixel[i]], starts[pixel[i] + 1]):
            row[channel[t]] += count[t]


@numba.njit(cache=True, nogil=True)
def _scramble(value):
    """Return 64 random-looking bits of a number (the finaliser of splitmix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
