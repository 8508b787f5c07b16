"""The channels of a spectrum that identification uses: where they start, and their bins."""

from __future__ import annotations

import numpy as np

from eds_xr.xray.detector import FWHM_PER_SIGMA, peak_sigma_kev

#: No photon of less energy is told from the detector's noise [keV].
_LOWEST_KEV = 0.1
#: The detector's noise peak stands below this energy, the valley behind it, what it counts [keV].
_NOISE_BELOW_KEV, _VALLEY_KEV, _COUNTED_KEV = 0.12, 0.2, (0.3, 1.0)
#: Counts begin where they exceed this share of the least that follow.
_BEGUN = 0.1
#: The threshold of the detector is as wide as this: what it cuts away is not modelled [keV].
_THRESHOLD_KEV = 0.04
#: Bins in a full width at half maximum: 2 % of the information is lost, and most of the work.
_BINS_IN_A_PEAK = 4.0


def detector_start_kev(energy: np.ndarray, counts: np.ndarray) -> float:
    """Return the energy at which the detector starts to count photons [keV].

    Above the noise peak at zero, where there is one; above the threshold, where one cuts the
    spectrum off; otherwise where the axis begins.
    """
    step = (energy[-1] - energy[0]) / (energy.size - 1)
    above = np.flatnonzero((energy >= _COUNTED_KEV[0]) & (energy <= _COUNTED_KEV[1]))
    below = np.flatnonzero((energy >= -_NOISE_BELOW_KEV) & (energy <= _COUNTED_KEV[0]))
    if not above.size or not below.size:
        return float(max(energy[0], _LOWEST_KEV))
    width = max(1, round(0.03 / step))
    smooth = np.convolve(counts, np.ones(width) / width, mode="same")
    noise = below[energy[below] <= _NOISE_BELOW_KEV]
    first = below[0]
    if noise.size:
        first = noise[int(np.argmax(smooth[noise]))]
        near = int(np.searchsorted(energy, _VALLEY_KEV))
        lowest = first + int(np.argmin(smooth[first:near]))
        if smooth[first] > 2 * smooth[lowest] + 5 * np.sqrt(smooth[first] / width):
            first = lowest  # the valley behind a peak of noise
    level = _BEGUN * float(smooth[above].min())
    begun = first + int(np.argmax(smooth[first : above[0] + 1] >= level))
    start = float(energy[begun])
    if begun > 0 and start > energy[0] + 2 * step:
        start += _THRESHOLD_KEV
    return max(start, _LOWEST_KEV)


def bin_starts(energy: np.ndarray, resolution_mnka_ev: float) -> np.ndarray:
    """Return the first channel of each bin, a quarter of a peak wide: sums are Poisson's, too."""
    step = (energy[-1] - energy[0]) / (energy.size - 1)
    fwhm = FWHM_PER_SIGMA * peak_sigma_kev(np.maximum(energy, 0), resolution_mnka_ev)
    wide = np.maximum(1, (fwhm / _BINS_IN_A_PEAK / step).astype(int))
    starts = [0]
    while starts[-1] + wide[starts[-1]] < energy.size:
        starts.append(starts[-1] + int(wide[starts[-1]]))
    return np.array(starts)


def summed(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the sums of values [channel, ...] in bins."""
    return np.add.reduceat(values, starts, axis=0)


def averaged(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the means of values [channel, ...] in bins."""
    wide = np.diff(np.append(starts, len(values)))
    return summed(values, starts) / wide.reshape(-1, *[1] * (values.ndim - 1))
