"""Sums over discs, and the discs that stand out one after the other: compiled, for one tile."""

from __future__ import annotations

import numba
import numpy as np

#: Squares of standardised sums count up to this many times their mean square: strangers are few.
_CLIP = 16.0


@numba.njit(cache=True, nogil=True)
def disc_sums(values: np.ndarray, half_widths: np.ndarray, sums: np.ndarray) -> None:
    """Set `sums` [y, x] to those of `values` over the part of a disc that is there."""
    height, width = values.shape
    reach = half_widths.size // 2
    running = np.zeros(width + 1, np.float64)
    sums[:] = 0
    for y in range(height):
        for x in range(width):
            running[x + 1] = running[x] + values[y, x]
        for row in range(half_widths.size):
            at, half = y - (row - reach), half_widths[row]
            if 0 <= at < height:
                for x in range(width):
                    sums[at, x] += running[min(x + half + 1, width)] - running[max(x - half, 0)]


@numba.njit(cache=True, nogil=True)
def mean_square(z: np.ndarray, most: float) -> float:
    """Return the mean of squares, none counted as more than `most`; of every third pixel."""
    total, n = 0.0, 0
    for y in range(0, z.shape[0], 3):
        for x in range(0, z.shape[1], 3):
            total += min(z[y, x] ** 2, most)
            n += 1
    return total / max(n, 1)


@numba.njit(cache=True, nogil=True)
def scatter(z: np.ndarray) -> float:
    """Return by how much standardised sums scatter more than counts do, at least 1."""
    found = 1.0
    for _ in range(4):
        found = max(1.0, mean_square(z, _CLIP * found))
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
def peaks_of(
    z: np.ndarray, second: np.ndarray, third: np.ndarray, least: float, lower: bool,
    found: np.ndarray,
) -> int:  # fmt: skip
    """Write the local maxima of `z` [y, x] above `least` to `found` [n, (y, x, score)].

    `second` and `third` [y, x] are the cumulants of the sums. With `lower` minima count, too.
    Returns how many there are; what finds no room is left out.
    """
    height, width = z.shape
    n = 0
    for y in range(height):
        for x in range(width):
            value = z[y, x]
            if not (value > least or (lower and value < -least)):
                continue
            size, top = abs(value), True
            for yy in range(max(y - 1, 0), min(y + 2, height)):
                for xx in range(max(x - 1, 0), min(x + 2, width)):
                    top &= not z[yy, xx] * np.sign(value) > size
            if not top:
                continue
            score = size
            if value > 0:
                score = as_normal(value, third[y, x] / max(second[y, x], 1e-30) ** 1.5)
            if score > least and n < len(found):
                found[n, 0], found[n, 1], found[n, 2] = y, x, score
                n += 1
    return n


@numba.njit(cache=True, nogil=True)
def pick(
    response: np.ndarray, amounts: np.ndarray, near: np.ndarray, second: np.ndarray,
    third: np.ndarray, spread: np.ndarray, candidates: np.ndarray, discs: np.ndarray,
    ends: np.ndarray, least: float, sums: np.ndarray, held: np.ndarray, places: np.ndarray,
) -> int:  # fmt: skip
    """Take the candidates that stand out, one after the other, each without pixels taken before.

    Parameters
    ----------
    response : ndarray [family, y, x]
    amounts : ndarray [phase, y, x; counts]
    near : ndarray [phase, y, x]
        Shares of the counts around.
    second, third : ndarray [family, phase]
        Cumulants of the response of a count of each phase.
    spread : ndarray [family, disc]
        What the standard deviations of counts are multiplied by.
    candidates : ndarray [n, (family, disc, y, x)]
        The most significant first.
    discs, ends : ndarray
        Pixels of the discs from their centres [pixel, (y, x)], and where each disc's end.
    sums : ndarray [n, family]
        Written: the responses of what is taken.
    held : ndarray [n, phase]
        Written: expected counts of the phases there.
    places : ndarray [n, (candidate, pixels, mean y, mean x, score)]
        Written.
    """
    phases, height, width = amounts.shape
    taken = np.zeros((height, width), np.bool_)
    own, other = np.empty(phases), np.empty(phases)
    n = 0
    for c in range(len(candidates)):
        f, s, y, x = candidates[c]
        own[:] = 0
        pixels, r, ys, xs = 0, 0.0, 0.0, 0.0
        for i in range(ends[s], ends[s + 1]):
            yy, xx = y + discs[i, 0], x + discs[i, 1]
            if 0 <= yy < height and 0 <= xx < width and not taken[yy, xx]:
                pixels, r, ys, xs = pixels + 1, r + response[f, yy, xx], ys + yy, xs + xx
                for p in range(phases):
                    own[p] += amounts[p, yy, xx]
        if pixels == 0:
            continue
        total, v_own, v_other = 0.0, 0.0, 0.0
        for p in range(phases):
            total += own[p]
        for p in range(phases):
            own[p] = max(own[p], 0.0)
            other[p] = max(total, 0.0) * near[p, y, x]
            v_own += own[p] * second[f, p]
            v_other += other[p] * second[f, p]
        if v_other > v_own:
            own[:] = other
        v, t = max(v_own, v_other, 1e-12), 0.0
        for p in range(phases):
            t += own[p] * third[f, p]
        z = r / (v**0.5 * spread[f, s])
        score = as_normal(z, t / v**1.5) if z > 0 else -z
        if score < least:
            continue
        places[n, 0], places[n, 1], places[n, 4] = c, pixels, score
        places[n, 2], places[n, 3] = ys / pixels, xs / pixels
        held[n] = own
        sums[n] = 0
        for i in range(ends[s], ends[s + 1]):
            yy, xx = y + discs[i, 0], x + discs[i, 1]
            if 0 <= yy < height and 0 <= xx < width and not taken[yy, xx]:
                taken[yy, xx] = True
                for g in range(len(response)):
                    sums[n, g] += response[g, yy, xx]
        n += 1
        if n == len(places):
            break
    return n
