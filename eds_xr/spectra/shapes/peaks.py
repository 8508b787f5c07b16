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
#: Peaks are followed to so many standard deviations.
REACH_SIGMA = 6.0


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


def peak_counts(
    true: np.ndarray, groups: Sequence[tuple[Sequence[float], Sequence[float]]],
    calibration: Calibration,
) -> np.ndarray:  # fmt: skip
    """Return the counts [channel, group] of groups of lines (energies [keV], photons).

    `true` [channel; keV] is the true axis.
    """
    sizes = [len(energies) for energies, _ in groups]
    energies, photons = (
        np.concatenate([np.asarray(g[i], float) for g in groups] or [np.zeros(0)]) for i in range(2)
    )
    spread = SpreadLines(true, energies, calibration)
    column = np.repeat(np.arange(len(groups)), sizes)
    return with_tails(true, spread.sums(spread.counts(), photons, column, len(groups)), calibration)


def with_tails(true: np.ndarray, counts: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return counts [channel, column] of which shares have lost energy."""
    pairs = zip(calibration.tails, TAILS_KEV, strict=True)
    changes = [share * change_by_tail(true, counts, length) for share, length in pairs if share]
    return sum(changes, counts)


def change_by_tail(true: np.ndarray, counts: np.ndarray, length_kev: float) -> np.ndarray:
    """Return what changes when all counts [channel, column] lose energy, exponentially distributed.

    With this mean, to within what lies below the axis.
    """
    from scipy.signal import lfilter

    kept = length_kev / (length_kev + (true[-1] - true[0]) / (true.size - 1))
    lost = lfilter([1 - kept], [1, -kept], counts[::-1], axis=0)[::-1]
    return np.asarray(lost - counts)


class SpreadLines:
    """Single lines spread over channels by the detector; each has the channels near it."""

    def __init__(self, true: np.ndarray, energies: np.ndarray, calibration: Calibration) -> None:
        self.channels, self.noise_kev2 = true.size, calibration.noise_kev2
        self.energies, self.sigma = energies[:, None], calibration.sigma_kev(energies)[:, None]
        step = (true[-1] - true[0]) / (true.size - 1)
        reach = math.ceil(REACH_SIGMA * float(self.sigma.max(initial=0.0)) / step)
        nearest = np.round((energies - true[0]) / step).astype(int)[:, None]
        channel = nearest + np.arange(-reach, reach + 2)
        self.z = (true[0] + (channel - 0.5) * step - self.energies) / self.sigma
        self.inside = (channel[:, :-1] >= 0) & (channel[:, :-1] < true.size)
        self.line, _ = np.nonzero(self.inside)  # of each place that is on the axis, and its channel
        self.channel = channel[:, :-1][self.inside]
        self.height = np.exp(-(self.z**2) / 2) / math.sqrt(2 * math.pi)

    def counts(self) -> np.ndarray:
        """Return the share of each line's counts in its channels [line, near]."""
        from scipy.special import ndtr

        return np.diff(ndtr(self.z), axis=1)

    def by_offset(self) -> np.ndarray:
        """Return how these change with the offset of the axis; a line moved up is its opposite."""
        return np.diff(self.height / self.sigma, axis=1)

    def by_gain(self) -> np.ndarray:
        """Return how they change with the gain of the axis."""
        return np.diff(self.height * (self.z + self.energies / self.sigma), axis=1)

    def by_noise(self) -> np.ndarray:
        """Return how they change with the logarithm of the noise."""
        part = self.noise_kev2 / (2 * self.sigma**2)
        return np.diff(-self.z * self.height, axis=1) * part

    def sums(
        self, values: np.ndarray, photons: np.ndarray, column: np.ndarray, columns: int
    ) -> np.ndarray:
        """Return values [line, near] times photons, summed by column [channel, column].

        Lines of a negative column are left out.
        """
        place = self.channel * columns + column[self.line]
        weights = (values * photons[:, None])[self.inside]
        if column.min(initial=0) < 0:
            kept = column[self.line] >= 0
            place, weights = place[kept], weights[kept]
        total = np.bincount(place, weights, self.channels * columns)
        return total.reshape(self.channels, columns)
