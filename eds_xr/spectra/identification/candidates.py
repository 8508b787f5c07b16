"""Elements that a spectrum may hold: what each would look like, and how far that is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from eds_xr.spectra.identification.channels import summed
from eds_xr.spectra.shapes.families import Calibration, Family, Shapes, families_seen
from eds_xr.xray.elements import STRAY_LINES
from eds_xr.xray.lines import XrayLine, components, emission_per_atom, family
from eds_xr.xray.own_detector import TYPICAL, OwnDetector

#: Largest factor between the real and the tabulated ratio of two families of an element (K to L,
#: L to M): tables, and absorption of the softer one.
FAMILY_RATIO = 4.0
#: Softer lines [keV] may nearly be missing beside harder ones, as what lies above absorbs them. So
#: may all but the hardest of grid, holder and pole piece, where X-rays excite thick metal.
_SOFT_KEV, _SOFT_LEFT = 1.3, 0.02
#: M lines below that are at most so many times as strong as tables say: absorption only takes.
_SOFT_M_MOST = 2.0
#: What the peaks of a family may differ from those of the others by, as standard deviations: place
#: [keV], relative width, and share of its counts in a tail towards low energy.
PLACE_KEV, WIDTH, TAIL = 0.002, 0.015, 0.005
#: Softer photons [keV] are absorbed where charge is lost, at the front: their tail is less known.
_LOSING_KEV = 1.5
#: Chemistry moves lines beside the others of their family by this [keV], whatever tables say. Kb of
#: high-spin Fe has a satellite 13 eV below, a third of it.
LINE_PLACE_KEV = 0.003
#: The same of the share of escape peaks, which are not there in simulations.
ESCAPE = 0.5
#: Lines that tables lack, satellites: share of the family's counts that may be at any place
#: between its lines, a standard deviation.
UNKNOWN_LINES = {"K": 0.0005, "L": 0.003, "M": 0.015}
#: They are looked for so far below the softest and above the hardest line, in energies of it.
_BEYOND = (0.93, 1.07)
#: Mean length of the tail [keV].
_TAIL_KEV = 0.1
#: A line of less than this share of its family has no uncertainty of its own.
_LEAST_SHARE = 0.002
#: Columns of `Candidate.changes` that all elements share, and that each family has of its own.
SHARED, OWN = [0, 1, 2, 3], [0, 3, 4]


@dataclass(frozen=True)
class _Channels:
    """The axis [channel] that shapes are made on, and the bins in which they are summed."""

    true: np.ndarray
    starts: np.ndarray
    calibration: Calibration

    @property
    def step(self) -> float:
        return float((self.true[-1] - self.true[0]) / (self.true.size - 1))


@dataclass(frozen=True)
class _SeenFamily:
    """A family with the parts it is made of, each with its counts in each channel."""

    whole: Family
    parts: tuple[Family, ...]
    lines: tuple[XrayLine, ...]
    columns: np.ndarray
    channels: _Channels

    def sums(self) -> np.ndarray:
        """Return the counts of each part in each bin [bin, part]."""
        return summed(self.columns, self.channels.starts)

    def changes(self) -> np.ndarray:
        """Return what its shape does when detector or axis do [change, bin]: see `Candidate`."""
        step, cal = self.channels.step, self.channels.calibration
        shape = self.columns.sum(axis=1)
        slope = np.gradient(shape, step)
        spread = np.zeros_like(shape)
        for part, column in zip(self.parts, self.columns.T, strict=True):
            curved = np.gradient(np.gradient(column, step), step)
            spread += float(cal.sigma_kev(part.energies_kev[0])) ** 2 * curved
        noise = np.gradient(slope, step) / 2 * cal.noise_kev2
        tailed = _tail(shape, step) - shape
        found = [-slope, -slope * self.channels.true, noise, tailed, spread]
        return summed(np.stack(found, axis=1), self.channels.starts).T

    def own_doubts(self) -> np.ndarray:
        """Return standard deviations of the family's place, tail and width."""
        tail = TAIL * (1 + (_LOSING_KEV / self.lines[0].energy_kev) ** 2)
        return np.array([PLACE_KEV, tail, WIDTH])

    def doubts(self) -> np.ndarray:
        """Return the differences of one standard deviation of each line [doubt, bin]."""
        known = {line.name: line for line in self.lines}
        found = [np.zeros(self.channels.true.size)]
        for part, column in zip(self.parts, self.columns.T, strict=True):
            if not part.groups:
                found.append(ESCAPE * column)
                continue
            line = known[next(iter(part.groups))]
            if len(self.whole.groups) > 1 and line.weight > _LEAST_SHARE:
                found.append(line.weight_uncertainty * column)
                off = np.hypot(line.energy_uncertainty_kev, LINE_PLACE_KEV)
                found.append(off * np.gradient(column, self.channels.step))
        return summed(np.stack(found, axis=1), self.channels.starts).T

    def unknown(self) -> np.ndarray:
        """Return how many of its counts may be in a peak at each bin that no table has."""
        energies = np.array([e for p in self.parts if p.groups for e in p.energies_kev])
        true, cal = self.channels.true, self.channels.calibration
        low, high = energies.min() * _BEYOND[0], energies.max() * _BEYOND[1]
        height = self.channels.step / (np.sqrt(2 * np.pi) * cal.sigma_kev(np.maximum(true, 0)))
        there = np.where((true >= low) & (true <= high), height, 0.0)
        seen = float(sum(self.whole.groups.values()))
        return summed(UNKNOWN_LINES[self.whole.shell] * seen * there, self.channels.starts)


@dataclass(frozen=True)
class Candidate:
    """An element, as the spectrum would show it.

    Attributes
    ----------
    element : str
    shapes : ndarray [bin, family]
        Counts of each family, sum 1 over all energies.
    corners : ndarray [family, corner]
        Amounts of the families at the limits of what their ratios can be: each mixture of
        corners with positive shares is possible, no other is.
    lines : tuple of (str, int, float)
        Each line in range with its family and its share of the family's counts.
    peaks : ndarray [bin, line]
        Counts of each of these lines, when the family has one.
    """

    element: str
    shapes: np.ndarray
    corners: np.ndarray
    lines: tuple[tuple[str, int, float], ...]
    peaks: np.ndarray
    seen: tuple[_SeenFamily, ...]

    @cached_property
    def changes(self) -> np.ndarray:
        """What a family of one count does [family, change, bin] when all its lines change alike.

        Place by one keV, place by its own energy, noise by its whole variance, all counts into the
        tail, width by its whole.
        """
        return np.stack([one.changes() for one in self.seen])

    @cached_property
    def doubts(self) -> tuple[np.ndarray, ...]:
        """What a family of one count may differ from its shape by [doubt, bin], one sd each."""
        return tuple(
            np.vstack([one.own_doubts()[:, None] * change[OWN], one.doubts()])
            for change, one in zip(self.changes, self.seen, strict=True)
        )

    @cached_property
    def unknown(self) -> np.ndarray:
        """Counts that lines in no table may add [bin, family]: one sd of a peak at its top."""
        return np.stack([one.unknown() for one in self.seen], axis=1)


def make_candidates(
    elements: Sequence[str], energy: np.ndarray, starts: np.ndarray, calibration: Calibration,
    beam_kev: float, detector: OwnDetector = TYPICAL,
) -> list[Candidate]:  # fmt: skip
    """Return the elements of which the energy axis sees a line, as it would see them.

    `starts` are the first channels of the bins.
    """
    seen = families_seen(elements, energy, beam_kev, escape=True, detector=detector)
    groups = [_parts(f, beam_kev) for f in seen]
    flat = [part for parts in groups for part in parts]
    all_shapes = Shapes(energy, flat, calibration, beam_kev, detector=detector)
    columns = np.split(all_shapes.design[:, : len(flat)], np.cumsum([len(g) for g in groups]), 1)
    channels = _Channels(all_shapes.true, starts, calibration)
    families = [
        _SeenFamily(f, tuple(g), family(f.element, f.shell, beam_kev), c, channels)
        for f, g, c in zip(seen, groups, columns, strict=False)
    ]
    made = (
        _candidate(tuple(f for f in families if f.whole.element == element), beam_kev, detector)
        for element in dict.fromkeys(f.element for f in seen)
    )
    return [one for one in made if one.lines]


def _candidate(seen: tuple[_SeenFamily, ...], beam_kev: float, detector: OwnDetector) -> Candidate:
    lines, peaks, shapes = [], [], []
    true = seen[0].channels.true
    for k, one in enumerate(seen):
        sums = one.sums()
        shapes.append(sums.sum(axis=1))
        for part, column in zip(one.parts, sums.T, strict=True):
            if part.groups and true[0] <= part.energies_kev[0] <= true[-1]:
                lines += [(name, k, share) for name, share in part.groups.items()]
                peaks.append(column)
    emitted = np.array([_emitted(f.whole.element, f.whole.shell, beam_kev, detector) for f in seen])
    below = math.inf if seen[0].whole.element in STRAY_LINES else _SOFT_KEV
    energies = np.array([f.lines[0].energy_kev for f in seen])
    soft_m = (energies < _SOFT_KEV) & (np.array([f.whole.shell for f in seen]) == "M")
    least = np.where(energies < min(below, energies.max()), _SOFT_LEFT, 1.0)
    most = np.where(soft_m & (energies < energies.max()), _SOFT_M_MOST, FAMILY_RATIO)
    return Candidate(
        seen[0].whole.element,
        np.stack(shapes, axis=1),
        _corners(emitted, least, most),
        tuple(lines),
        np.stack(peaks, axis=1) if peaks else np.zeros((len(shapes[0]), 0)),
        seen,
    )


def _parts(whole: Family, beam_kev: float) -> list[Family]:
    """Return each named line of a family with its share, then its escape peaks as one without."""
    lines = family(whole.element, whole.shell, beam_kev)
    place = np.array([line.name for line in lines for _ in components(line.name, beam_kev)])
    own = place.size  # escape peaks follow the lines
    energies, photons = (np.array(x[:own]) for x in (whole.energies_kev, whole.photons))
    found = []
    for name, share in whole.groups.items():
        parts = tuple(energies[place == name]), tuple(photons[place == name])
        found.append(Family(whole.element, whole.shell, *parts, {name: share}))
    if own < len(whole.photons):
        escape = whole.energies_kev[own:], whole.photons[own:]
        found.append(Family(whole.element, whole.shell, *escape, {}))
    return found


@lru_cache(maxsize=1024)
def _emitted(element: str, shell: str, beam_kev: float, detector: OwnDetector) -> float:
    """Return the counts of a family an atom, in units of their own."""
    lines = family(element, shell, beam_kev)
    photons = [emission_per_atom(x.name, beam_kev) for x in lines]
    return float(photons @ detector.efficiency([x.energy_kev for x in lines]))


def _corners(expected: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Return the corners of the cone of amounts that are `least` to `most` times as expected."""
    if expected.size == 1:
        return np.ones((1, 1))
    factors = np.array(list(itertools.product(*zip(least, most, strict=True))))
    corners = expected[:, None] * factors[np.ptp(factors, axis=1) > 0].T
    return corners / corners.sum(axis=0)


def _tail(shape: np.ndarray, step_kev: float) -> np.ndarray:
    """Return a shape whose counts have lost energy, exponentially distributed."""
    from scipy.signal import lfilter

    kept = np.exp(-step_kev / _TAIL_KEV)
    return lfilter([1 - kept], [1, -kept], shape[::-1])[::-1]
