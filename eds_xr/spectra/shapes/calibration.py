"""Energy axis and resolution of a spectrum, found from the spectrum itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from eds_xr.spectra.shapes.families import Calibration, Family, Shapes
from eds_xr.spectra.shapes.linear_fit import smooth_variance, weighted_least_squares
from eds_xr.xray.detector import peak_sigma_kev

#: Range of a fit when none is given [keV]; below, the detector's noise, its cut-off and the tail
#: of oxygen rule.
FIT_RANGE_KEV = (0.7, 12.5)
#: What is expected of gain, offset [keV] and the logarithm of the noise before a spectrum is
#: seen, as standard deviations. It holds what the peaks at hand cannot tell.
CALIBRATION_PRIOR = (0.003, 0.02, 0.5)
#: A calibration counts as found when the peaks place the energy axis this well somewhere [keV].
CALIBRATION_NEEDED_KEV = 0.003


def find_calibration(
    energy: np.ndarray, counts: np.ndarray, variance: np.ndarray, families: Sequence[Family],
    beam_kev: float, resolution_mnka_ev: float,
) -> Calibration:  # fmt: skip
    """Return the calibration of a spectrum [energy]; see :func:`eds_xr.calibrate`."""
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
    slope = np.stack([energy, np.ones_like(energy)], axis=1) * CALIBRATION_PRIOR[:2]
    placed_within_kev = np.sqrt(((slope @ covariance[:2, :2]) * slope).sum(axis=1).min())
    if placed_within_kev > CALIBRATION_NEEDED_KEV:
        return Calibration(noise_kev2=nominal, source="nominal: too few counts to tell")
    return trial(found)


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
