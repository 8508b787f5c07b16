"""Sum peaks: two photons that the detector counts as one, at the sum of their energies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np

from eds_xr.spectra.shapes.families import Family, Shapes, families_seen
from eds_xr.xray.own_detector import TYPICAL, OwnDetector

#: Families that may pile up: those with this share of the counts in peaks, at most so many.
LEAST_SHARE, MOST_FAMILIES = 0.01, 8
#: Lines of less than this share of their family are left out of the sums.
LEAST_LINE = 0.005
#: A detector counts no photons below [keV].
LOWEST_KEV = 0.2


class SumPeaks:
    """Shapes of all sum peaks; their counts are fitted, how they are shared out is not.

    With ``N_i`` photons of each line, coincidences come as ``N_i N_j`` (half of that for
    ``i = j``): one shape of one free amount follows from the amounts of the families. A line
    below the fitted range (O Ka) meets each of the others as ``N_i``, and is a shape of its own:
    pile-up rejection hardly sees so small a pulse, so its coincidences are the most frequent.
    """

    def __init__(self, shapes: Shapes, low: Sequence[Family], amounts: np.ndarray) -> None:
        self.strong = strong_families(amounts[: len(shapes.families)])
        families = [shapes.families[i] for i in self.strong]
        pairs = combinations_with_replacement(range(len(families)), 2)
        self.pairs = np.array(list(pairs), dtype=int).reshape(-1, 2)
        self.peaks = shapes.peaks([_sum_of(families[i], families[j]) for i, j in self.pairs])
        self.with_low = [shapes.peaks([_sum_of(f, other) for f in families]) for other in low]

    def columns(self, amounts: np.ndarray) -> np.ndarray:
        """Return the shapes [channel, shape] that a spectrum's amounts ask for, sum 1."""
        here = np.maximum(amounts[self.strong], 0)
        first, second = self.pairs.T
        met = here[first] * here[second] / np.where(first == second, 2, 1)
        found = np.stack([self.peaks @ met, *(low @ here for low in self.with_low)], axis=1)
        total = found.sum(axis=0)
        return found[:, total > 0] / total[total > 0]


def families_below(
    elements: Sequence[str], energy: np.ndarray, beam_kev: float, *, detector: OwnDetector = TYPICAL
) -> list[Family]:
    """Return the families whose lines all lie below an energy axis, where a detector sees them."""
    axis = np.arange(LOWEST_KEV, float(energy[0]), 0.01)
    if axis.size < 2:
        return []
    # a table that begins with the fit is held below it: these photons only add up there
    seen = families_seen(elements, axis, beam_kev, detector=detector.held())
    return [f for f in seen if max(f.energies_kev) < energy[0]]


def strong_families(amounts: np.ndarray) -> list[int]:
    """Return the families with a share of the counts worth a coincidence, strongest first."""
    total = float(np.maximum(amounts, 0).sum())
    order = np.argsort(-amounts)[:MOST_FAMILIES]
    return [int(i) for i in order if amounts[i] > LEAST_SHARE * total]


def _sum_of(first: Family, second: Family) -> Family:
    parts = [
        [(e, p) for e, p in zip(f.energies_kev, f.photons, strict=True) if p > LEAST_LINE]
        for f in (first, second)
    ]
    sums = [(a + b, p * q) for a, p in parts[0] for b, q in parts[1]]
    energies, photons = zip(*sums, strict=True)
    return Family(f"{first.element}+{second.element}", "sum", energies, photons, {})
