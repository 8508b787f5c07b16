"""Amounts of shapes in a spectrum: weighted least squares and Poisson likelihood."""

from __future__ import annotations

import numpy as np

#: Added to each channel for the logarithm's sake; 0.03 counts under a peak.
PSEUDO_COUNT = 1e-3
#: Shapes that coincide share their counts: added to the diagonal for columns of one length.
_RIDGE = 1e-10


def model_variance(design: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the given variance, freed of its own noise by a fit of the same shapes.

    As the amounts of the shapes, and as a variance of each channel that is above zero.
    """
    from scipy.optimize import nnls

    modelled = smooth_variance(variance)
    for _ in range(3):
        weight = 1 / np.sqrt(modelled)
        amounts, _ = nnls(design * weight[:, None], variance * weight)
        modelled = np.maximum(design @ amounts, least_variance(variance))
    return amounts, modelled


def weighted_least_squares(
    design: np.ndarray, values: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return amounts and their covariance."""
    weight = 1 / np.sqrt(variance)
    unit = design * weight[:, None]
    length = np.linalg.norm(unit, axis=0)
    unit /= length  # columns of one length: better conditioned
    inverse = np.linalg.inv(unit.T @ unit + _RIDGE * np.eye(length.size))
    amounts = inverse @ (unit.T @ (values * weight))
    return amounts / length, inverse / np.outer(length, length)


def amount_weights(design: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the weight of each channel in the amounts of :func:`weighted_least_squares`.

    As [shape, channel]: ``weights @ values`` are the amounts, whatever the values.
    """
    weight = 1 / np.sqrt(variance)
    unit = design * weight[:, None]
    length = np.linalg.norm(unit, axis=0)
    unit /= length
    inverse = np.linalg.inv(unit.T @ unit + _RIDGE * np.eye(length.size))
    found: np.ndarray = (inverse @ unit.T) * weight / length[:, None]
    return found


def poisson_likelihood(design: np.ndarray, counts: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the amounts of greatest likelihood.

    Newton's method, steps shortened so that every channel's expected counts stay above zero;
    amounts may be negative. Each channel is taken to hold `PSEUDO_COUNT` more than it does,
    which keeps the logarithm of what is expected finite where nothing was counted.

    Parameters
    ----------
    design : ndarray [channel, shape]
    counts : ndarray [channel]
    start : ndarray [shape]
        Amounts that are not negative.
    """
    length = design.sum(axis=0)
    unit, seen = design / length, counts + PSEUDO_COUNT
    amounts = np.maximum(start * length, 0.1)  # every shape there: nothing expected is zero
    expected = unit @ amounts
    for _ in range(100):
        slope = unit.T @ (1 - seen / expected)
        curvature = (unit * (seen / expected**2)[:, None]).T @ unit
        step = -np.linalg.solve(curvature, slope)
        if -slope @ step < 1e-8:  # twice what the logarithm of the likelihood can still gain
            break
        amounts = amounts + step * _step_size(seen, expected, unit @ step, float(slope @ step))
        expected = unit @ amounts
    return amounts / length


def _step_size(seen: np.ndarray, expected: np.ndarray, change: np.ndarray, slope: float) -> float:
    """Return the part of a step that keeps what is expected positive, and makes it likelier."""
    fall = float((change / expected).min())
    size = min(1.0, -0.95 / fall) if fall < 0 else 1.0
    for _ in range(30):
        trial = change * size
        worse = (trial - seen * np.log1p(trial / expected)).sum()
        if worse <= 1e-4 * size * slope:
            break
        size /= 2
    return size


def smooth_variance(variance: np.ndarray) -> np.ndarray:
    """Return the variance of channels as their neighbours have it, never zero."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(variance.astype(float), 4.0, mode="nearest")
    return np.maximum(smooth, least_variance(smooth))


def least_variance(variance: np.ndarray) -> float:
    """Return what no channel is below: few counts say little about where there are none."""
    return max(0.02 * float(variance.mean()), 1 / variance.size)
