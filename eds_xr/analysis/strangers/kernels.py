"""Sums over windows, and the windows that stand out one after the other: compiled, for one tile."""

from __future__ import annotations

import numba
import numpy as np

#: Squares of standardised sums count up to this many times their mean square: strangers are few.
_CLIP = 16.0


@numba.njit(cache=True, nogil=True)
def window_sums(values: np.ndarray, rows: np.ndarray, sums: np.ndarray) -> None:
    """Set `sums` [y, x] to those of `values` over the part of a window that is there.

    `rows` [row, (y, first x, last x)] are those of the window, from its middle.
    """
    height, width = values.shape
    running = np.zeros(width + 1, np.float64)
    sums[:] = 0
    for y in range(height):
        for x in range(width):
            running[x + 1] = running[x] + values[y, x]
        for row in range(len(rows)):
            at, first, last = y - rows[row, 0], rows[row, 1], rows[row, 2]
            if 0 <= at < height:
                for x in range(width):
                    low = min(max(x + first, 0), width)
                    sums[at, x] += running[min(max(x + last + 1, low), width)] - running[low]


@numba.njit(cache=True, nogil=True)
def mean_square(z: np.ndarray, most: float, upper: bool) -> float:
    """Return the mean of squares, none counted as more than `most`; of every third pixel.

    Without `upper` of what is below zero: it scatters as much as what would be above.
    """
    total, n = 0.0, 0
    for y in range(0, z.shape[0], 3):
        for x in range(0, z.shape[1], 3):
            if upper or z[y, x] < 0:
                total += min(z[y, x] ** 2, most)
                n += 1
    return total / max(n, 1)


@numba.njit(cache=True, nogil=True)
def scatter(z: np.ndarray, upper: bool) -> float:
    """Return by how much standardised sums scatter more than counts do, at least 1."""
    found = 1.0
    for _ in range(4):
        found = max(1.0, mean_square(z, _CLIP * found, upper))
    return found**0.5


@numba.njit(cache=True, nogil=True)
def as_normal(z: float, skewness: float) -> float:
    """Return standardised sums as normal ones: of few counts, they have a longer upper tail.

    Of Poisson's distribution of the same skewness, whose mean is its inverse square, the root of
    the deviance is normal.
    """
    if z <= 0 or skewness < 1e-6:
        return z
    ratio = z * skewness
    deviance = 2 / skewness**2 * ((1 + ratio) * np.log1p(ratio) - ratio)
    return np.sqrt(max(deviance, 0.0))


@numba.njit(cache=True, nogil=True)
def moment(weights: np.ndarray, own: np.ndarray, other: np.ndarray) -> float:
    """Return a cumulant of counts of the phases [phase], of the larger composition of two."""
    of_own, of_other = 1e-12, 0.0
    for p in range(weights.size):
        of_own += weights[p] * max(own[p], 0.0)
        of_other += weights[p] * other[p]
    return max(of_own, of_other)


@numba.njit(cache=True, nogil=True)
def standardise(
    sums: np.ndarray, own: np.ndarray, other: np.ndarray, second: np.ndarray, z: np.ndarray
) -> None:
    """Set `z` [y, x] to sums over their standard deviations.

    `own` and `other` [y, x, phase] are counts in the window, and as many of what is around.
    """
    for y in range(sums.shape[0]):
        for x in range(sums.shape[1]):
            z[y, x] = sums[y, x] / moment(second, own[y, x], other[y, x]) ** 0.5


@numba.njit(cache=True, nogil=True)
def normalise(
    z: np.ndarray, own: np.ndarray, other: np.ndarray, second: np.ndarray, third: np.ndarray
) -> None:
    """Replace standardised sums [y, x] by normal ones, in place."""
    for y in range(z.shape[0]):
        for x in range(z.shape[1]):
            variance = moment(second, own[y, x], other[y, x])
            skewness = moment(third, own[y, x], other[y, x]) / variance**1.5
            z[y, x] = as_normal(z[y, x], skewness)


@numba.njit(cache=True, nogil=True)
def peaks_of(
    z: np.ndarray, own: np.ndarray, other: np.ndarray, second: np.ndarray, third: np.ndarray,
    spread: float, least: float, upper: bool, lower: bool, found: np.ndarray,
) -> int:  # fmt: skip
    """Write the extrema of `z` over `spread` beyond `least` to `found` [n, (y, x, score)].

    Maxima with `upper`, minima with `lower`. Returns how many there are; what finds no room is
    left out.
    """
    height, width = z.shape
    n = 0
    for y in range(height):
        for x in range(width):
            value = z[y, x] / spread
            if not ((upper and value > least) or (lower and value < -least)):
                continue
            size, top = abs(z[y, x]), True
            for yy in range(max(y - 1, 0), min(y + 2, height)):
                for xx in range(max(x - 1, 0), min(x + 2, width)):
                    top &= not z[yy, xx] * np.sign(value) > size
            if not top:
                continue
            score = -value
            if value > 0:
                variance = moment(second, own[y, x], other[y, x])
                score = as_normal(value, moment(third, own[y, x], other[y, x]) / variance**1.5)
            if score > least and n < len(found):
                found[n, 0], found[n, 1], found[n, 2] = y, x, score
                n += 1
    return n


@numba.njit(cache=True, nogil=True)
def pick(
    response: np.ndarray, amounts: np.ndarray, near: np.ndarray, second: np.ndarray,
    third: np.ndarray, upper: np.ndarray, lower: np.ndarray, spread: np.ndarray,
    candidates: np.ndarray, offsets: np.ndarray, ends: np.ndarray, least: float,
    sums: np.ndarray, held: np.ndarray, places: np.ndarray,
) -> int:  # fmt: skip
    """Take the candidates that stand out, one after the other, each without pixels taken before.

    Parameters
    ----------
    response : ndarray [response, y, x]
    amounts : ndarray [phase, y, x; counts]
    near : ndarray [phase, y, x]
        Shares of the counts around.
    second, third : ndarray [response, phase]
        Cumulants of the response of a count of each phase.
    upper, lower : ndarray of bool [response]
        Whether too much, and too little, of it counts.
    spread : ndarray [response, window]
        What the standard deviations of counts are multiplied by.
    candidates : ndarray [n, (response, window, y, x)]
        The most significant first.
    offsets, ends : ndarray
        Pixels of the windows, from their middles [pixel, (y, x)], and where each window's end.
    sums : ndarray [n, response]
        Written: the responses of what is taken.
    held : ndarray [n, phase]
        Written: expected counts of the phases there.
    places : ndarray [n, (candidate, score)]
        Written.
    """
    phases, height, width = amounts.shape
    taken = np.zeros((height, width), np.bool_)
    own, other = np.empty(phases), np.empty(phases)
    n = 0
    for c in range(len(candidates)):
        f, s, y, x = candidates[c]
        own[:] = 0
        pixels, r = 0, 0.0
        for i in range(ends[s], ends[s + 1]):
            yy, xx = y + offsets[i, 0], x + offsets[i, 1]
            if 0 <= yy < height and 0 <= xx < width and not taken[yy, xx]:
                pixels, r = pixels + 1, r + response[f, yy, xx]
                for p in range(phases):
                    own[p] += amounts[p, yy, xx]
        if pixels == 0:
            continue
        total = 0.0
        for p in range(phases):
            total += own[p]
        for p in range(phases):
            own[p], other[p] = max(own[p], 0.0), max(total, 0.0) * near[p, y, x]
        if moment(second[f], other, other) > moment(second[f], own, own):
            own[:] = other
        v, t = moment(second[f], own, own), moment(third[f], own, own)
        z = r / (v**0.5 * spread[f, s])
        score = as_normal(z, t / v**1.5) if z > 0 else -z
        if score < least or not (upper[f] if z > 0 else lower[f]):
            continue
        places[n, 0], places[n, 1] = c, score
        held[n] = own
        sums[n] = 0
        for i in range(ends[s], ends[s + 1]):
            yy, xx = y + offsets[i, 0], x + offsets[i, 1]
            if 0 <= yy < height and 0 <= xx < width and not taken[yy, xx]:
                taken[yy, xx] = True
                for g in range(len(response)):
                    sums[n, g] += response[g, yy, xx]
        n += 1
        if n == len(places):
            break
    return n
