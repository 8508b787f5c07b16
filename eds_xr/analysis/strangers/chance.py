"""The chance of a sum of weighted counts, far out in its tail.

Counts are Poisson's, so their weighted sum is compound Poisson: its cumulant generating function is
known, and the saddlepoint (R. Lugannani and S. Rice, Adv. Appl. Prob. 12 (1980) 475) gives the
chance of a rare sum to a few per cent, where a normal distribution is wrong by orders of magnitude.
"""

from __future__ import annotations

import numpy as np

#: Exponents beyond this are no chance any more.
_MOST_EXPONENT = 60.0
_STEPS = 60


def log_chance(
    sums: np.ndarray, amounts: np.ndarray, spectra: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the logarithm of the chance of sums as far out as these, or farther [window].

    Within a factor of two: sums are taken to jump by half a typical weight, between those of plain
    counts, which jump by one, and those of many different weights.

    Parameters
    ----------
    sums : ndarray [window]
        Weighted counts less their mean; below zero the lower tail is asked for.
    amounts : ndarray [window, phase; counts]
        Expected, not negative.
    spectra : ndarray [phase, channel; sum 1]
    weights : ndarray [channel]
    """
    used = np.abs(weights) > 1e-4 * np.abs(weights).max()
    rate, side = amounts @ spectra[:, used], np.where(sums < 0, -1.0, 1.0)
    found = np.empty(sums.size)
    for sign in (-1.0, 1.0):
        of = side == sign
        found[of] = _upper(np.abs(sums[of]), rate[of], sign * weights[used])
    return found


def as_sigma(log_p: np.ndarray) -> np.ndarray:
    """Return how many standard deviations of a normal distribution have this (one-sided) chance."""
    from scipy.special import log_ndtr, ndtri_exp

    least = float(log_ndtr(-_MOST_EXPONENT))
    return -ndtri_exp(np.clip(log_p, least, -1e-12))


def _upper(x: np.ndarray, rate: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the logarithm of the chance of at least `x` above the mean [window]."""
    from scipy.special import erfcx

    if not x.size:
        return x
    s = _saddlepoint(x, rate, weights)
    tilted = rate * np.exp(np.minimum(s[:, None] * weights, _MOST_EXPONENT))
    second = tilted @ weights**2
    cumulant = tilted.sum(1) - rate.sum(1) - s * (rate @ weights)
    w = np.sqrt(np.maximum(2 * (s * x - cumulant), 1e-12))
    # counts come one by one
    jump = (tilted @ np.abs(weights) ** 3) / np.maximum(second, 1e-300) / 2
    u = np.maximum(-np.expm1(-s * jump) / jump * np.sqrt(second), 1e-12)
    mills = np.sqrt(np.pi / 2) * erfcx(w / np.sqrt(2))
    tail = np.maximum(mills + 1 / u - 1 / w, 0.1 * mills)
    return np.minimum(-(w**2) / 2 - np.log(np.sqrt(2 * np.pi)) + np.log(tail), np.log(0.5))


def _saddlepoint(x: np.ndarray, rate: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the tilt at which the mean is `x` above what it was [window], by bisection."""
    low, high = np.zeros(x.size), np.full(x.size, _MOST_EXPONENT / np.abs(weights).max())
    for _ in range(_STEPS):
        s = (low + high) / 2
        exponent = np.minimum(s[:, None] * weights, _MOST_EXPONENT)
        above = (rate * weights * np.expm1(exponent)).sum(1) > x
        high, low = np.where(above, s, high), np.where(above, low, s)
    return (low + high) / 2
