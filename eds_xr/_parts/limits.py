"""Limits and intervals of normal estimates; NumPy in, NumPy out, element by element."""

from __future__ import annotations

import numpy as np


def limit_sigma(value: np.ndarray, sd: np.ndarray, confidence: float) -> np.ndarray:
    """Return how many sd the upper limit of what cannot be negative lies above its estimate.

    A normal estimate and a flat prior at and above zero: ``1 - Phi(z) = (1 - confidence)
    Phi(value / sd)``. Hence z exceeds the usual one-sided quantile, and ``value + z sd`` zero.
    """
    from scipy.special import log_ndtr, ndtri_exp  # in logarithms: far below zero Phi underflows

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-ndtri_exp(np.log1p(-confidence) + log_ndtr(value / sd)))


def upper_limit(value: np.ndarray, sd: np.ndarray, confidence: float) -> np.ndarray:
    """Return the one-sided upper limit of what cannot be negative; never below zero."""
    value, sd = np.broadcast_arrays(np.asarray(value, float), np.asarray(sd, float))
    with np.errstate(invalid="ignore"):
        limit = value + limit_sigma(value, sd, confidence) * sd
    return np.where(sd > 0, limit, np.maximum(value, 0.0 * sd))


def ratio_interval(
    a: np.ndarray, b: np.ndarray, variances: tuple[np.ndarray, np.ndarray, np.ndarray],
    sigma: np.ndarray | float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return Fieller's interval of a / b, exact for normal a and b.

    All D with ``(a - D b)^2 <= sigma^2 Var(a - D b)``: a quadratic inequality. `variances` are
    those of a and of b, and their covariance. Where b is not significant the interval has no
    upper end; its lower end then takes into account that D is not negative.
    """
    of_a, of_b, of_both = variances
    square = np.asarray(b**2 - sigma**2 * of_b)
    middle = a * b - sigma**2 * of_both
    root = middle**2 - square * (a**2 - sigma**2 * of_a)
    bounded, everywhere = square > 0, (square <= 0) & (root < 0)
    spread = np.sqrt(np.maximum(root, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (middle - spread) / square, (middle + spread) / square
    # b not significant: all below `high` and all above `low`, for the square is negative
    open_end = np.where(everywhere | ~(high < 0), -np.inf, low)
    return np.where(bounded, low, open_end), np.where(bounded, high, np.inf)


def quantile(confidence: float) -> float:
    """Return how many sd lie on each side of a two-sided interval."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + 0.5 * confidence))
