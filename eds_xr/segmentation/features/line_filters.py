"""Lines through a pixel in several directions: membrane projections and the linear Kuwahara filter.

As in Trainable Weka Segmentation: a line in a square patch, turned in even steps over half a turn.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numba
import numpy as np

ONE = np.float32(1)
Offsets = tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=8)
def line_offsets(patch: int, width: int, directions: int) -> tuple[Offsets, ...]:
    """Return the pixels (dy, dx) of a line of some pixels' width across a patch, a direction each.

    A line two pixels wide lies on the middle column and the one right of it, then it is turned.
    """
    half = patch // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    found = []
    for i in range(directions):
        angle = math.pi * i / directions
        across = np.floor(x * math.cos(angle) + y * math.sin(angle) + 0.5)
        along = np.abs(np.floor(y * math.cos(angle) - x * math.sin(angle) + 0.5))
        inside = (across >= 0) & (across < width) & (along <= half)
        found.append((y[inside], x[inside]))
    return tuple(found)


@numba.njit(cache=True, nogil=True)
def projections(planes: np.ndarray) -> np.ndarray:
    """Return mean, maximum, minimum, sum, standard deviation and median of ``[direction, y, x]``.

    The standard deviation is that of a sample; the median of an even number lies between the two
    in the middle. `planes` are sorted in place.
    """
    n, height, width = planes.shape
    out = np.zeros((6, height, width), np.float32)
    number, rest = np.float32(n), np.float32(n - 1)
    for y in range(height):
        mean, total, spread, median = out[0, y], out[3, y], out[4, y], out[5, y]
        for i in range(n):
            row = planes[i, y]
            for x in range(width):
                total[x] += row[x]
        mean[:] = total / number
        for i in range(n):
            row = planes[i, y]
            for x in range(width):
                spread[x] += (row[x] - mean[x]) * (row[x] - mean[x])
        spread[:] = np.sqrt(spread / rest)
        _sort_rows(planes, y)
        out[1, y], out[2, y] = planes[n - 1, y], planes[0, y]
        median[:] = (planes[(n - 1) // 2, y] + planes[n // 2, y]) * np.float32(0.5)
    return out


@numba.njit(cache=True, nogil=True)
def _sort_rows(planes: np.ndarray, y: int) -> None:
    """Sort each column of ``planes[:, y]``: exchanges of neighbours, in whole rows."""
    n, _, width = planes.shape
    for turn in range(n):
        for i in range(turn % 2, n - 1, 2):
            first, second = planes[i, y], planes[i + 1, y]
            for x in range(width):
                a, b = first[x], second[x]
                first[x] = a if a < b else b
                second[x] = b if a < b else a


@numba.njit(cache=True, nogil=True)
def line_moments(
    image: np.ndarray, dy: np.ndarray, dx: np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance along a line; smaller by `reach` on every side."""
    height, width = image.shape[0] - 2 * reach, image.shape[1] - 2 * reach
    mean = np.zeros((height, width), np.float32)
    variance = np.zeros((height, width), np.float32)
    number = np.float32(dy.size)
    for y in range(height):
        average, spread = mean[y], variance[y]
        for j in range(dy.size):
            row = image[y + reach + dy[j], reach + dx[j] :]
            for x in range(width):
                average[x] += row[x]
        average[:] = average / number
        for j in range(dy.size):
            row = image[y + reach + dy[j], reach + dx[j] :]
            for x in range(width):
                spread[x] += (row[x] - average[x]) * (row[x] - average[x])
        spread[:] = spread / number
    return mean, variance


@numba.njit(cache=True, nogil=True)
def take_least(
    criterion: np.ndarray,
    value: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray,
    least: np.ndarray,
    chosen: np.ndarray,
) -> None:
    """Set `chosen` to `value` where, along the line, `criterion` is below `least`; and `least`."""
    height, width = least.shape
    reach = (criterion.shape[0] - height) // 2
    for y in range(height):
        lowest, best = least[y], chosen[y]
        for j in range(dy.size):
            rank = criterion[y + reach + dy[j], reach + dx[j] :]
            row = value[y + reach + dy[j], reach + dx[j] :]
            for x in range(width):
                takes = np.float32(rank[x] < lowest[x])  # 0 or 1: a sum is vector code
                best[x] = takes * row[x] + (ONE - takes) * best[x]
                lowest[x] = min(rank[x], lowest[x])
