"""What is known of peaks only within limits: calibration, tails, escape, lines' weights and places.

Each is a parameter whose value is expected at 0 with a standard deviation of 1. `effect` says of
which kind its error is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eds_xr.spectra.shapes.families import Family
from eds_xr.spectra.shapes.peaks import TAILS_KEV, Calibration, Peaks
from eds_xr.xray.detector import SILICON_EDGE_KEV, SILICON_KA_KEV, escape_fraction
from eds_xr.xray.lines import family

#: Where errors of net counts come from. ``counting``: the scatter of the counts. ``calibration``:
#: energy axis and resolution. ``line_weights``: shares of lines in their families. ``shape``:
#: places of lines, tails, escape peaks, misfit. ``background``: what its model cannot follow.
EFFECTS = ("counting", "calibration", "line_weights", "shape", "background")
#: What is expected of gain, offset [keV] and the logarithm of the noise before a spectrum is
#: seen, as standard deviations. It holds what the peaks at hand cannot tell.
CALIBRATION_PRIOR = (0.003, 0.02, 0.5)
#: The same of the share of counts in tails of the lengths `TAILS_KEV`, and of escape peaks over
#: what the detector's physics gives: maps are recorded with and without.
TAIL_PRIOR, ESCAPE_PRIOR = (0.01, 0.005), 0.5
#: Chemical bonds and what detectors do to soft lines move places beyond what tables doubt [keV].
PLACE_PRIOR_KEV = 0.0015
#: A foil absorbs its own lines unlike where an edge lies between them (Zn Lb1 above, La below):
#: half of 50 ug/cm2, 100 nm of 5 g/cm3, on the way out at 20 degrees [g/cm^2].
FOIL_G_CM2 = 7.3e-5
#: Lines of which the axis holds less than this share of their family are as tabulated.
_LEAST_SHARE = 0.004


@dataclass(frozen=True)
class KnownShapes:
    """Peaks for one set of parameters, and how they answer to these.

    ``peaks`` [channel, family]; ``common`` [parameter, channel, family] and ``own`` [channel,
    parameter] are changes by the parameters of all families, and by those of single lines, whose
    family is ``owner`` [parameter]; all for amounts of 1.
    """

    families: list[Family]
    calibration: Calibration
    peaks: np.ndarray
    common: np.ndarray
    own: np.ndarray
    owner: np.ndarray

    def slopes(self, amounts: np.ndarray) -> np.ndarray:
        """Return changes of the counts [channel, parameter] at amounts [family]."""
        return np.hstack([(self.common @ amounts).T, self.own * amounts[self.owner]])


class WeakKnowledge:
    """The parameters, for families on an energy axis [channel; keV].

    With `escape`, escape peaks are expected, and their counts are among those of the lines.
    """

    def __init__(
        self, energy: np.ndarray, families: Sequence[Family], calibration: Calibration,
        beam_kev: float, *, escape: bool = False,
    ) -> None:  # fmt: skip
        self.energy, self.families, self.calibration = energy, list(families), calibration
        self.escape = escape
        self.groups = [(i, name) for i, f in enumerate(families) for name in f.groups]
        group = {place: g for g, place in enumerate(self.groups)}
        self.line_group = np.array(
            [group[i, name] for i, f in enumerate(families) for name in f.names], dtype=int
        )
        self.energies = np.array([e for f in families for e in f.energies_kev])
        self.photons = np.array([p for f in families for p in f.photons])
        self.member = np.zeros((len(self.groups), len(families)))
        self.member[np.arange(len(self.groups)), [i for i, _ in self.groups]] = 1
        self.lost = escape_fraction(self.energies)
        doubts = _doubts(families, beam_kev)
        self.weight_sd = np.array([doubts[name][0] for _, name in self.groups])
        self.place_sd = np.array([doubts[name][1] for _, name in self.groups])
        here = self._lines(np.zeros(6), np.zeros(len(self.groups)), np.zeros(len(self.groups)))[0]
        seen = here.counts(self._true(calibration), calibration).sum(axis=0)
        self.free = np.flatnonzero(seen > _LEAST_SHARE)
        self.effects = np.array(
            ["calibration"] * 3 + ["shape"] * 3
            + ["line_weights"] * self.free.size + ["shape"] * self.free.size
        )  # fmt: skip

    def at(self, x: np.ndarray) -> KnownShapes:
        """Return the shapes for a value of each parameter."""
        calibration = self._calibration(x)
        weight, place = (np.zeros(len(self.groups)) for _ in range(2))
        weight[self.free], place[self.free] = np.split(x[6:], 2)
        lines, escaped = self._lines(x, weight, place)
        true = self._true(calibration)
        counts, slopes = lines.counts(true, calibration), lines.slopes(true, calibration)
        tails = [
            sd * lines.tail(true, calibration, length)
            for sd, length in zip(TAIL_PRIOR, TAILS_KEV, strict=True)
        ]
        bare = replace(calibration, tails=(0.0, 0.0))
        axis = (slopes.gain, slopes.offset, slopes.noise)
        common = [sd * part for sd, part in zip(CALIBRATION_PRIOR, axis, strict=True)]
        common += [*tails, ESCAPE_PRIOR * escaped.counts(true, bare)]
        free, sd = self.free, self.place_sd
        own = np.hstack(
            [counts[:, free] * self.weight_sd[free], -slopes.offset[:, free] * sd[free]]
        )
        owner = np.array([self.groups[g][0] for g in free], dtype=int)
        return KnownShapes(
            self._families(lines, x, weight),
            calibration,
            counts @ self.member,
            np.stack(common) @ self.member,
            own,
            np.tile(owner, 2),
        )

    @property
    def of_lines(self) -> tuple[np.ndarray, list[str]]:
        """The parameters of single lines, and the names of these."""
        names = [self.groups[g][1] for g in self.free]
        return np.arange(6, self.effects.size), [*names, *names]

    def net_slopes(self, x: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Return the relative changes of named lines' shares of their families [line, parameter].

        With the family's amount held.
        """
        known = {name: g for g, (_, name) in enumerate(self.groups)}
        found = np.zeros((len(names), x.size))
        for row, name in zip(found, names, strict=True):
            g = known[name]
            row[6 : 6 + self.free.size][self.free == g] = self.weight_sd[g]
            if not self.escape:
                row[5] = (
                    -ESCAPE_PRIOR * self._mean_lost(g) / (1 - self._escape(x) * self._mean_lost(g))
                )
        return found

    def _true(self, calibration: Calibration) -> np.ndarray:
        return calibration.gain * self.energy + calibration.offset_kev

    def _calibration(self, x: np.ndarray) -> Calibration:
        gain, offset, noise = (x[:3] * CALIBRATION_PRIOR).tolist()
        old = self.calibration
        return replace(
            old,
            gain=old.gain + gain,
            offset_kev=old.offset_kev + offset,
            noise_kev2=old.noise_kev2 * math.exp(noise),
            tails=tuple((np.array(old.tails) + x[3:5] * TAIL_PRIOR).tolist()),
        )

    def _escape(self, x: np.ndarray) -> float:
        """Return the share of escape peaks over what is expected of silicon."""
        return float(self.escape) + ESCAPE_PRIOR * float(x[5])

    def _mean_lost(self, group: int) -> float:
        mine = self.line_group == group
        return float(self.lost[mine] @ self.photons[mine] / max(self.photons[mine].sum(), 1e-300))

    def _lines(self, x: np.ndarray, weight: np.ndarray, place: np.ndarray) -> tuple[Peaks, Peaks]:
        """Return all lines with their escape peaks, a column a group, and what one escape moves."""
        energies = self.energies + (self.place_sd * place)[self.line_group]
        photons = self.photons * np.exp(self.weight_sd * weight)[self.line_group]
        some = self.energies > SILICON_EDGE_KEV
        lost, share = photons * self.lost, self._escape(x)
        group, columns = self.line_group, len(self.groups)
        both = np.append(energies, energies[some] - SILICON_KA_KEV), np.append(group, group[some])
        moved = np.append(-lost, lost[some])
        made = np.append(photons, np.zeros(some.sum())) + share * moved
        return tuple(Peaks(both[0], p, both[1], columns) for p in (made, moved))

    def _families(self, lines: Peaks, x: np.ndarray, weight: np.ndarray) -> list[Family]:
        """Return the families as these parameters have them."""
        found, share = [], self._escape(x)
        family_of = np.array([i for i, _ in self.groups], dtype=int)[lines.column]
        for i, old in enumerate(self.families):
            mine = family_of == i
            groups = {}
            for g, (j, name) in enumerate(self.groups):
                if i == j:
                    kept = 1.0 if self.escape else 1 - share * self._mean_lost(g)
                    groups[name] = old.groups[name] * math.exp(self.weight_sd[g] * weight[g]) * kept
            names = tuple(self.groups[g][1] for g in lines.column[mine])
            energies, photons = lines.energies_kev[mine].tolist(), lines.photons[mine].tolist()
            found.append(
                replace(
                    old, energies_kev=tuple(energies), photons=tuple(photons), groups=groups,
                    names=names,
                )
            )  # fmt: skip
        return found


def _doubts(families: Sequence[Family], beam_kev: float) -> dict[str, tuple[float, float]]:
    """Return relative uncertainty of weight and uncertainty of place [keV] of each named line."""
    found = {}
    for f in families:
        lines = family(f.element, f.shell, beam_kev)
        absorbed = _absorption(f.element, np.array([line.energy_kev for line in lines]))
        for line, sd in zip(lines, (absorbed - absorbed[0]).tolist(), strict=True):
            place = math.hypot(line.energy_uncertainty_kev, PLACE_PRIOR_KEV)
            found[line.name] = math.hypot(line.weight_uncertainty, sd), place
    return found


def _absorption(element: str, energy_kev: np.ndarray) -> np.ndarray:
    """Return the optical depth of a foil of the element for its own lines [line]."""
    import xraydb

    ev = 1000 * np.clip(energy_kev, 0.1, None)  # the tables begin there
    return FOIL_G_CM2 * np.asarray(xraydb.mu_elam(element, ev))
