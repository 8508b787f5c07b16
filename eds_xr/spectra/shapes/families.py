"""Shapes that a spectrum is made of: line families and background, as columns of counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from eds_xr.schema import EdsError
from eds_xr.spectra.shapes.background import flexible_background
from eds_xr.spectra.shapes.peaks import Calibration as Calibration
from eds_xr.spectra.shapes.peaks import peak_counts
from eds_xr.xray.detector import (
    FWHM_PER_SIGMA,
    SILICON_EDGE_KEV,
    SILICON_KA_KEV,
    escape_fraction,
    peak_sigma_kev,
)
from eds_xr.xray.lines import FAMILIES, components, family, line_energy_kev
from eds_xr.xray.own_detector import TYPICAL, OwnDetector

#: Families of which the range holds less than this share of the photons are left out.
LEAST_SHARE = 0.002
#: Shapes more alike than this (cosine) cannot be told apart.
MOST_ALIKE = 0.99


@dataclass(frozen=True)
class Family:
    """All lines of a shell of an element, as the detector counts them.

    ``photons`` of the single lines add up to 1; ``groups`` gives the share of a named line;
    ``names`` tells the named line of each single line.
    """

    element: str
    shell: str
    energies_kev: tuple[float, ...]
    photons: tuple[float, ...]
    groups: dict[str, float]
    names: tuple[str, ...] = ()


def families_seen(
    elements: Sequence[str], energy: np.ndarray, beam_kev: float, *, escape: bool = False,
    detector: OwnDetector = TYPICAL,
) -> list[Family]:  # fmt: skip
    """Return the families of which an energy axis sees something, be it the tail of a peak.

    With `escape`, each line has its escape peak, whose counts are among those of the line.
    """
    detector.check_covers(float(energy[0]), float(energy[-1]))
    found = []
    for element in dict.fromkeys(elements):
        for shell in FAMILIES:
            if family(element, shell, beam_kev):
                made = _detected(element, shell, beam_kev, detector)
                if _share_seen(made, float(energy[0]), float(energy[-1])) > LEAST_SHARE:
                    found.append(
                        _with_escape(element, shell, beam_kev, detector) if escape else made
                    )
    return found


def places_of_lines(families: Sequence[Family]) -> dict[str, tuple[int, float]]:
    """Return for each line its family's number and its share of the family."""
    return {name: (i, w) for i, f in enumerate(families) for name, w in f.groups.items()}


class Shapes:
    """The design matrix: a column of counts per channel for each family and background term."""

    def __init__(
        self,
        energy: np.ndarray,
        families: Sequence[Family],
        calibration: Calibration,
        beam_kev: float,
        *,
        background: np.ndarray | None = None,
        detector: OwnDetector = TYPICAL,
    ) -> None:
        self.detector = detector
        self.families, self.calibration = families, calibration
        self.energy, self.beam_kev = energy, beam_kev
        self.true = calibration.gain * energy + calibration.offset_kev
        if background is None:  # too smooth to notice the calibration
            background = flexible_background(tuple(energy.tolist()), beam_kev, detector)
        self.design = np.hstack([_family_shapes(self.true, families, calibration), background])

    @cached_property
    def one_more(self) -> np.ndarray:
        """A peak at each channel, height 1 [channel, centre]."""
        return self.gaussians(self.true)

    def gaussians(self, centres: np.ndarray) -> np.ndarray:
        """Return a peak at each energy [keV], height 1 [channel, centre]."""
        sigma = self.calibration.sigma_kev(np.maximum(centres, 0))
        square = ((self.true[:, None] - centres) / sigma) ** 2
        return np.where(square < 36, np.exp(-np.minimum(square, 36) / 2), 0.0)

    def peaks(self, families: Sequence[Family]) -> np.ndarray:
        """Return the counts of other families on the same axis [channel, family]."""
        return _family_shapes(self.true, families, self.calibration)

    def window(self, line: str) -> np.ndarray:
        """Return which channels lie within one full width at half maximum of a line."""
        centre = line_energy_kev(line)
        fwhm = FWHM_PER_SIGMA * self.calibration.sigma_kev(centre)
        return np.abs(self.true - centre) <= fwhm

    def check_separable(self, columns: Iterable[int]) -> None:
        """Raise when a family of `columns` looks like another, or there are too few channels."""
        channels, shapes = self.design.shape
        if channels <= shapes:
            raise EdsError(
                f"{channels} channels cannot tell {len(self.families)} families of lines and the "
                "background apart: widen range_kev, or leave elements out"
            )
        peaks = self.design[:, : len(self.families)]
        unit = peaks / np.linalg.norm(peaks, axis=0)
        wanted = set(columns)
        for i, j in np.argwhere(np.triu(unit.T @ unit, 1) > MOST_ALIKE).tolist():
            if wanted.isdisjoint((i, j)):
                continue  # neither is asked for: together they are as good as one
            a, b = self.families[i], self.families[j]
            raise EdsError(
                f"the {a.shell} lines of {a.element} and the {b.shell} lines of {b.element} "
                "coincide in this range: leave one element out, or widen range_kev to a family "
                "that differs"
            )


@lru_cache(maxsize=1024)
def _detected(element: str, shell: str, beam_kev: float, detector: OwnDetector) -> Family:
    """Return a family as the detector counts it: weights times efficiency, sum 1."""
    parts = [
        (line.name, part)
        for line in family(element, shell, beam_kev)
        for part in components(line.name, beam_kev)
    ]
    energies = np.array([part.energy_kev for _, part in parts])
    seen = np.array([part.weight for _, part in parts]) * detector.efficiency(energies)
    seen /= max(seen.sum(), np.finfo(float).tiny)
    groups: dict[str, float] = {}
    for (name, _), share in zip(parts, seen.tolist(), strict=True):
        groups[name] = groups.get(name, 0.0) + share
    names = tuple(name for name, _ in parts)
    return Family(element, shell, tuple(energies.tolist()), tuple(seen.tolist()), groups, names)


@lru_cache(maxsize=1024)
def _with_escape(element: str, shell: str, beam_kev: float, detector: OwnDetector) -> Family:
    """Return a detected family that gives part of each line's counts to its escape peak."""
    made = _detected(element, shell, beam_kev, detector)
    energies, photons = np.array(made.energies_kev), np.array(made.photons)
    lost = photons * escape_fraction(energies)
    some = energies > SILICON_EDGE_KEV
    energies = np.append(energies, energies[some] - SILICON_KA_KEV)
    photons = np.append(photons - lost, lost[some])
    names = (*made.names, *np.array(made.names)[some].tolist())
    return replace(
        made, energies_kev=tuple(energies.tolist()), photons=tuple(photons.tolist()), names=names
    )


def _share_seen(family: Family, low: float, high: float) -> float:
    from scipy.special import ndtr

    centres = np.array(family.energies_kev)
    sigma = peak_sigma_kev(centres)
    return float((ndtr((high - centres) / sigma) - ndtr((low - centres) / sigma)) @ family.photons)


def _family_shapes(
    true: np.ndarray, families: Sequence[Family], calibration: Calibration
) -> np.ndarray:
    """Return each family's counts [channel, family]."""
    return peak_counts(true, [(f.energies_kev, f.photons) for f in families], calibration)
