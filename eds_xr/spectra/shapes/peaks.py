"""Peaks as a detector counts them, integrated over channels, and how they answer to changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eds_xr.xray.detector import FANO_KEV

#: Mean energies that counts in the tail of a peak have lost [keV]: charge lost near the entrance
#: of the crystal. Two lengths stand for what differs from detector to detector.
TAILS_KEV = (0.06, 0.25)
#: Peaks are followed to so many standard deviations, tails to so many of their lengths.
_REACH_SIGMA, _REACH_TAIL = 6.0, 5.0


@dataclass(frozen=True)
class Calibration:
    """What turns the nominal energy axis into the true one, and the shape of the peaks.

    ``true = gain * nominal + offset_kev``; ``sigma^2 = noise_kev2 + fano_kev * energy``.

    Attributes
    ----------
    gain, offset_kev, noise_kev2, fano_kev : float
    source : str
        ``"given"``, ``"fitted"``, or why it is nominal.
    covariance : tuple of float
        Row by row, the covariance of gain, offset [keV] and the logarithm of the noise, or of
        these and the tails; empty when the first three are exact, and the tails are not known.
    tails : tuple of float
        Share of each peak's counts that has lost energy, by the lengths `TAILS_KEV`.
    """

    gain: float = 1.0
    offset_kev: float = 0.0
    noise_kev2: float = 6.6e-4
    fano_kev: float = FANO_KEV
    source: str = "given"
    covariance: tuple[float, ...] = ()
    tails: tuple[float, ...] = (0.0, 0.0)

    def sigma_kev(self, energy_kev: np.ndarray | float) -> np.ndarray:
        """Return the standard deviation of a peak [keV]."""
        return np.sqrt(self.noise_kev2 + self.fano_kev * np.asarray(energy_kev))


@dataclass(frozen=True)
class Peaks:
    """Single lines: energies [keV] and photons, each of one column of a design matrix."""

    energies_kev: np.ndarray
    photons: np.ndarray
    column: np.ndarray
    columns: int

    @staticmethod
    def of(groups: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Peaks:
        """Return the lines of groups of (energies, photons), a column each."""
        sizes = [len(energies) for energies, _ in groups]
        energies, photons = (
            np.concatenate([np.asarray(g[i], float) for g in groups] or [np.zeros(0)])
            for i in range(2)
        )
        return Peaks(energies, photons, np.repeat(np.arange(len(groups)), sizes), len(groups))

    def counts(self, true: np.ndarray, calibration: Calibration) -> np.ndarray:
        """Return the counts of each column [channel, column] on a true axis [channel; keV]."""
        found = self._main(true, calibration)[0]
        for share, length in zip(calibration.tails, TAILS_KEV, strict=True):
            if share:
                found += share * self.tail(true, calibration, length)
        return found

    def slopes(self, true: np.ndarray, calibration: Calibration) -> PeakSlopes:
        """Return how the counts of each column change with the calibration.

        Of the peaks without their tails, whose share is too small to matter.
        """
        return PeakSlopes(*self._main(true, calibration)[1:])

    def tail(self, true: np.ndarray, calibration: Calibration, length_kev: float) -> np.ndarray:
        """Return what changes when all counts of a peak lose energy [channel, column].

        Exponentially distributed, with this mean: the distribution of a normal variable less an
        exponential one, less that of the normal variable.
        """
        from scipy.special import log_ndtr

        sigma = calibration.sigma_kev(self.energies_kev)[:, None]
        ratio = sigma / length_kev
        lowest = -_REACH_SIGMA - _REACH_TAIL / ratio.min() if ratio.size else 0.0
        channel, z = self._edges(true, sigma, lowest)
        lost = np.exp(ratio * z + ratio**2 / 2 + log_ndtr(-z - ratio))
        return self._gathered(true.size, channel, np.diff(lost, axis=1) * self.photons[:, None])

    def _main(self, true: np.ndarray, calibration: Calibration) -> tuple[np.ndarray, ...]:
        from scipy.special import ndtr

        sigma = calibration.sigma_kev(self.energies_kev)[:, None]
        channel, z = self._edges(true, sigma, -_REACH_SIGMA)
        height = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        by_width = -z * height
        noise = calibration.noise_kev2 / (2 * sigma**2)
        energy = z * sigma + self.energies_kev[:, None]
        offset = height / sigma
        parts = (ndtr(z), offset, offset * energy, by_width * noise)
        return tuple(
            self._gathered(true.size, channel, np.diff(part, axis=1) * self.photons[:, None])
            for part in parts
        )

    def _edges(
        self, true: np.ndarray, sigma: np.ndarray, lowest: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the channels near each line, and the distances of their edges in sigmas."""
        step = (true[-1] - true[0]) / (true.size - 1)
        widest = float(sigma.max()) if sigma.size else 0.0
        below, above = math.floor(lowest * widest / step), math.ceil(_REACH_SIGMA * widest / step)
        nearest = np.round((self.energies_kev - true[0]) / step).astype(int)[:, None]
        channel = nearest + np.arange(below, above + 2)
        edges = true[0] + (channel - 0.5) * step
        return channel[:, :-1], (edges - self.energies_kev[:, None]) / sigma

    def _gathered(self, channels: int, channel: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return values [line, channel near it] summed by column [channel, column]."""
        inside = (channel >= 0) & (channel < channels)
        place = channel * self.columns + self.column[:, None]
        total = np.bincount(place[inside], values[inside], channels * self.columns)
        return total.reshape(channels, self.columns)


@dataclass(frozen=True)
class PeakSlopes:
    """Changes of counts [channel, column] by the axis' offset and gain, and by the noise.

    A line moved up by an energy is an axis moved down by it: ``-offset``.
    """

    offset: np.ndarray
    gain: np.ndarray
    noise: np.ndarray
