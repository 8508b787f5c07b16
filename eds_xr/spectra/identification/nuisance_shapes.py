"""A spectrum made ready for identification: its background, sum peaks, and where models fail."""

from __future__ import annotations

import math

import numpy as np

from eds_xr.spectra.identification.channels import averaged, summed
from eds_xr.spectra.identification.likelihood_fit import Spectrum
from eds_xr.spectra.shapes.background import smooth_bumps
from eds_xr.spectra.shapes.families import Calibration, Shapes
from eds_xr.xray.detector import FWHM_PER_SIGMA, SILICON_EDGE_KEV
from eds_xr.xray.own_detector import TYPICAL, OwnDetector

#: What may be off at any place as wide as three peaks, as a share of the counts there; more where
#: photons are so soft that windows, ice and the foil itself absorb most of them [keV].
BACKGROUND_ERROR, _SOFT_KEV = 0.02, 0.4
#: Height of the step at the silicon edge that the dead layer of the detector leaves uncertain.
_DEAD_LAYER_STEP = 0.02
#: Photons that pile up unnoticed, the softer the more often [keV]: carbon, oxygen, all others.
_PILE_UP_KEV = (0.2, 0.4, 0.7, math.inf)
#: Fewer counts show no sum peaks.
_PILE_UP_COUNTS = 1e5


def make_spectrum(
    energy: np.ndarray, counts: np.ndarray, variance: np.ndarray, part: slice,
    starts: np.ndarray, calibration: Calibration, beam_kev: float,
    detector: OwnDetector = TYPICAL,
) -> Spectrum:  # fmt: skip
    """Return the channels `part` of a spectrum [energy], with all that is fitted but elements.

    `starts` are the first of the channels of `part` in each bin.
    """
    from scipy.ndimage import gaussian_filter1d

    excess = np.maximum(gaussian_filter1d(variance - counts, 4.0, mode="nearest"), 0)
    inside = energy[part]
    background = Shapes(inside, [], calibration, beam_kev, detector=detector).design
    smooth = np.hstack([background, sum_peaks(energy, counts)[part]])
    return Spectrum(
        summed(counts[part], starts),
        summed(excess[part], starts),
        summed(smooth, starts),
        averaged(places(inside, calibration), starts),
        averaged(bumps(inside, calibration, 1.0), starts),
    )


def sum_peaks(energy: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return what pile-up looks like [channel, kind], sum 1: the spectrum convolved with itself.

    Pulses of soft photons are too small for the detector's fast channel, which should reject
    sums: those with carbon and with oxygen have amounts of their own.
    """
    from scipy.signal import fftconvolve

    if counts.sum() < _PILE_UP_COUNTS:
        return np.zeros((energy.size, 0))
    positive = np.maximum(counts, 0) * (energy > _PILE_UP_KEV[0])
    step = (energy[-1] - energy[0]) / (energy.size - 1)
    axis = 2 * energy[0] + step * np.arange(2 * energy.size - 1)
    found = []
    for low, high in zip(_PILE_UP_KEV[:-1], _PILE_UP_KEV[1:], strict=True):
        one = positive * ((energy > low) & (energy <= high))
        other = positive if high < math.inf else one
        both = np.maximum(fftconvolve(one, other), 0)
        shape = np.interp(energy, axis, both)
        if shape.sum() > 0:
            found.append(shape / shape.sum())
    return np.array(found).reshape(-1, energy.size).T


def places(energy: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return where the model may be off [channel, place], in shares of it; one sd each."""
    from scipy.special import ndtr

    true = calibration.gain * energy + calibration.offset_kev
    error = BACKGROUND_ERROR * (1 + (_SOFT_KEV / np.maximum(true, _SOFT_KEV / 2)) ** 2)
    edge = true - SILICON_EDGE_KEV
    step_shape = ndtr(edge / calibration.sigma_kev(SILICON_EDGE_KEV))
    wide = error[:, None] * bumps(energy, calibration, 3.0)
    return np.column_stack([wide, _DEAD_LAYER_STEP * step_shape])


def bumps(energy: np.ndarray, calibration: Calibration, peaks: float) -> np.ndarray:
    """Return bumps [channel, place] everywhere, so many peaks wide; they add up to 1."""
    step = (energy[-1] - energy[0]) / (energy.size - 1)
    width = FWHM_PER_SIGMA * calibration.sigma_kev(np.maximum(energy, 0))
    along = np.cumsum(step / (peaks * width))
    return smooth_bumps(along, max(1, int(along[-1] - along[0]) + 1))
