"""Elements that a spectrum may hold: what each would look like, and how far that is known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eds_xr.spectra.shapes.families import Calibration, Family, Shapes, families_seen
from eds_xr.xray.detector import detector_efficiency as efficiency
from eds_xr.xray.lines import EMISSION_UNCERTAINTY, components, emission_per_atom, family

#: Largest factor between the real and the tabulated ratio of two families of an element (K to L,
#: L to M): tables, and absorption of the softer one.
FAMILY_RATIO = 4.0
#: What a peak may differ from its tabulated shape by, as standard deviations: place [keV],
#: relative width, and share of its counts in a tail towards low energy.
PLACE_KEV, WIDTH, TAIL = 0.005, 0.03, 0.01
#: The same of the place of each line beside the others of its family [keV]: tables differ by a few
#: eV, and chemistry moves lines. Kb of high-spin Fe has a satellite 13 eV below, a third of it.
LINE_PLACE_KEV = 0.003
#: The same of the share of escape peaks, which are not there in simulations.
ESCAPE = 0.5
#: Mean length of that tail [keV].
_TAIL_KEV = 0.1
#: A line of less than this share of its family has no uncertainty of its own.
_LEAST_SHARE = 0.005


@dataclass(frozen=True)
class Candidate:
    """An element, as the spectrum would show it.

    Attributes
    ----------
    element : str
    shapes : ndarray [channel, family]
        Counts of each family, sum 1 over all energies.
    corners : ndarray [family, corner]
        Amounts of the families at the limits of what their ratios can be: each mixture of
        corners with positive shares is possible, no other is.
    lines : tuple of (str, int, float)
        Each line in range with its family and its share of the family's counts.
    peaks : ndarray [channel, line]
        Counts of each of these lines, when the family has one.
    doubts : ndarray [family, doubt, channel]
        What a family of one count may differ from its shape by, a standard deviation each.
    """

    element: str
    shapes: np.ndarray
    corners: np.ndarray
    lines: tuple[tuple[str, int, float], ...]
    peaks: np.ndarray
    doubts: tuple[np.ndarray, ...]


def make_candidates(
    elements: Sequence[str], energy: np.ndarray, calibration: Calibration, beam_kev: float,
    line_place_kev: float = LINE_PLACE_KEV,
) -> list[Candidate]:  # fmt: skip
    """Return the elements of which the energy axis sees a line, as it would see them."""
    seen = families_seen(elements, energy, beam_kev, escape=True)
    groups = [_parts(f, beam_kev) for f in seen]
    flat = [part for parts in groups for part in parts]
    all_shapes = Shapes(energy, flat, calibration, beam_kev)
    columns = np.split(all_shapes.design[:, : len(flat)], np.cumsum([len(g) for g in groups]), 1)
    true = all_shapes.true
    found = []
    for element in dict.fromkeys(f.element for f in seen):
        mine = [i for i, f in enumerate(seen) if f.element == element]
        lines, peaks = [], []
        for k, i in enumerate(mine):
            for part, column in zip(groups[i], columns[i].T, strict=True):
                if part.groups and true[0] <= part.energies_kev[0] <= true[-1]:
                    lines += [(name, k, share) for name, share in part.groups.items()]
                    peaks.append(column)
        if lines:
            found.append(
                Candidate(
                    element,
                    np.stack([columns[i].sum(1) for i in mine], axis=1),
                    _corners(
                        np.array([_emitted(seen[i].element, seen[i].shell, beam_kev) for i in mine])
                    ),
                    tuple(lines),
                    np.stack(peaks, axis=1),
                    tuple(
                        _doubts(seen[i], groups[i], columns[i], true, calibration, line_place_kev)
                        for i in mine
                    ),
                )
            )
    return found


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
def _emitted(element: str, shell: str, beam_kev: float) -> float:
    """Return the counts of a family an atom, in units of their own."""
    lines = family(element, shell, beam_kev)
    photons = [emission_per_atom(x.name, beam_kev) for x in lines]
    return float(photons @ efficiency([x.energy_kev for x in lines]))


def _corners(expected: np.ndarray) -> np.ndarray:
    """Return the corners of the cone of amounts whose ratios are within `FAMILY_RATIO`."""
    if expected.size == 1:
        return np.ones((1, 1))
    factors = [f for f in itertools.product((1.0, FAMILY_RATIO), repeat=expected.size)]
    corners = expected[:, None] * np.array([f for f in factors if len(set(f)) > 1]).T
    return corners / corners.sum(axis=0)


def _doubts(
    whole: Family, parts: Sequence[Family], columns: np.ndarray, true: np.ndarray,
    calibration: Calibration, line_place_kev: float,
) -> np.ndarray:  # fmt: skip
    """Return the differences [doubt, channel] of one standard deviation: see `Candidate`."""
    step = (true[-1] - true[0]) / (true.size - 1)
    shape = columns.sum(axis=1)
    slope = np.gradient(shape, step)
    spread = sum(
        float(calibration.sigma_kev(p.energies_kev[0])) ** 2
        * np.gradient(np.gradient(c, step), step)
        for p, c in zip(parts, columns.T, strict=True)
    )
    found = [PLACE_KEV * slope, WIDTH * spread, TAIL * (_tail(shape, step) - shape)]
    for part, column in zip(parts, columns.T, strict=True):
        if not part.groups:
            found.append(ESCAPE * column)
        elif len(whole.groups) > 1 and sum(part.groups.values()) > _LEAST_SHARE:
            found.append(EMISSION_UNCERTAINTY[whole.shell] * column)
            if line_place_kev:
                found.append(line_place_kev * np.gradient(column, step))
    return np.stack(found)


def _tail(shape: np.ndarray, step_kev: float) -> np.ndarray:
    """Return a shape whose counts have lost energy, exponentially distributed."""
    from scipy.signal import lfilter

    kept = np.exp(-step_kev / _TAIL_KEV)
    return lfilter([1 - kept], [1, -kept], shape[::-1])[::-1]
