"""Sparse blocks of counts, and what is done with them whatever the loss: NumPy in, NumPy out.

A block is ``(starts, channels, counts)``: pixel ``i`` holds ``counts[t]`` in ``channels[t]`` for
``t`` in ``starts[i]:starts[i + 1]``. At a few counts a voxel this is some 3 bytes a count, ten to
a hundred times smaller than the dense block, and every sum over channels runs on it directly.
"""

import numba
import numpy as np


def compress(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sparse form of counts `rows` ``[pixel, channel]``.

    Counts come back in the smallest of uint8, uint16, uint32 and float32 that holds them.
    """
    per_word = 8 // rows.itemsize
    rows = np.ascontiguousarray(rows)
    if rows.shape[1] % per_word:
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % per_word)))
    found = np.count_nonzero(rows)
    starts, channel, count = _compress(rows, rows.view(np.uint64), found + per_word)
    count = count[:found]
    whole = rows.dtype.kind != "f" and count.max(initial=0) < 2**32
    kind = np.min_scalar_type(count.max(initial=0)) if whole else np.float32
    return starts, channel[:found], count.astype(kind, copy=False)


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
    pixel: np.ndarray = totals[starts[1:]] - totals[starts[:-1]]
    return pixel.astype(np.float32)


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
