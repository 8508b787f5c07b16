"""Solve for the amounts of line families, and for the calibration that the peaks ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from eds_xr._parts.given import attribute_number
from eds_xr._parts.line_shapes import Calibration, Family, Shapes
from eds_xr.xray_lines import peak_sigma_kev

#: Range of a fit when none is given [keV]; below, the detector's noise, its cut-off and the tail
#: of oxygen rule.
FIT_RANGE_KEV = (0.7, 12.5)
#: What is expected of gain, offset [keV] and the logarithm of the noise before a spectrum is
#: seen, as standard deviations. It holds what the peaks at hand cannot tell.
CALIBRATION_PRIOR = (0.003, 0.02, 0.5)
#: A calibration counts as found when the peaks place the energy axis this well somewhere [keV].
CALIBRATION_NEEDED_KEV = 0.003
#: Added to each channel for the logarithm's sake; 0.03 counts under a peak.
PSEUDO_COUNT = 1e-3


def beam_kev(spectra: xr.Dataset) -> float:
    """Return the beam energy that the attributes give [keV]."""
    return attribute_number(spectra.attrs, "beam_energy_kev", 200.0)


def resolution_ev(spectra: xr.Dataset) -> float:
    """Return the full width at half maximum at Mn Ka that the attributes give [eV]."""
    return attribute_number(spectra.attrs, "energy_resolution_mnka_ev", 130.0)


def find_calibration(
    energy: np.ndarray, counts: np.ndarray, variance: np.ndarray, families: Sequence[Family],
    beam_kev: float, resolution_mnka_ev: float,
) -> Calibration:  # fmt: skip
    """Return the calibration of a spectrum [energy]; see :func:`eds_xr.line_fit.calibrate`."""
    modelled = smooth_variance(variance)
    nominal = float(peak_sigma_kev(0.0, resolution_mnka_ev) ** 2)

    def trial(x: np.ndarray) -> Calibration:
        gain, offset, noise = (x * CALIBRATION_PRIOR).tolist()
        return Calibration(1 + gain, offset, nominal * math.exp(noise), source="fitted")

    def misfit(x: np.ndarray) -> np.ndarray:
        design = Shapes(energy, families, trial(x), beam_kev).design
        amounts, _ = weighted_least_squares(design, counts, modelled)
        return (counts - design @ amounts) / np.sqrt(modelled)

    found, covariance = _least_squares(misfit)
    if _placed_within_kev(energy, covariance) > CALIBRATION_NEEDED_KEV:
        return Calibration(noise_kev2=nominal, source="nominal: too few counts to tell")
    return trial(found)


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
    inverse = np.linalg.inv(unit.T @ unit)
    amounts = inverse @ (unit.T @ (values * weight))
    return amounts / length, inverse / np.outer(length, length)


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
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(variance.astype(float), 4.0, mode="nearest")
    return np.maximum(smooth, least_variance(smooth))


def least_variance(variance: np.ndarray) -> float:
    """Return what no channel is below: few counts say little about where there are none."""
    return max(0.02 * float(variance.mean()), 1 / variance.size)


def _least_squares(misfit: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return three parameters, expected to be 0 +- 1, and their covariance (Gauss-Newton)."""
    x, small = np.zeros(3), 1e-3 * np.eye(3)
    for _ in range(8):
        slope = np.stack([(misfit(x + h) - misfit(x - h)) / 2e-3 for h in small], axis=1)
        covariance = np.linalg.inv(slope.T @ slope + np.eye(3))
        step = -covariance @ (slope.T @ misfit(x) + x)
        x = x + step / max(1.0, float(np.abs(step).max()))  # one standard deviation at most
        if np.abs(step).max() < 1e-3:
            break
    return x, covariance


def _placed_within_kev(energy: np.ndarray, covariance: np.ndarray) -> float:
    """Return the standard deviation of the energy axis where it is known best [keV]."""
    slope = np.stack([energy, np.ones_like(energy)], axis=1) * CALIBRATION_PRIOR[:2]
    return float(np.sqrt(((slope @ covariance[:2, :2]) * slope).sum(axis=1).min()))
