"""What is known of peaks only within limits: calibration, tails, escape, lines' weights and places.

Each is a parameter whose value is expected at 0 with a standard deviation of 1. `effect` says of
which kind its error is.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from eds_xr.spectra.shapes.families import Family
from eds_xr.spectra.shapes.peaks import (
    TAILS_KEV,
    Calibration,
    SpreadLines,
    change_by_tail,
    with_tails,
)
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
#: Edges of the detector's own layers [keV], silicon's and aluminium's, and the step that is left
#: of the background there when their thickness is not as modelled, relative.
LAYER_EDGES_KEV, LAYER_PRIOR = (1.839, 1.560), 0.02
#: How many parameters all spectra have in common beside those of single lines: gain, offset, noise,
#: two tails, escape peaks, two steps of the background.
COMMON = 8


@dataclass(frozen=True)
class KnownShapes:
    """Peaks for one set of parameters, and how they answer to these.

    ``peaks`` [channel, family]; ``common`` [parameter, channel, family] and ``own`` [channel,
    parameter] are changes by the parameters of all families, and by those of single lines, whose
    family is ``owner`` [parameter]; all for amounts of 1. The background is multiplied by
    ``factor`` [channel], which ``steps`` [channel, parameter] change.
    """

    peaks: np.ndarray
    factor: np.ndarray
    steps: np.ndarray
    common: np.ndarray
    own: np.ndarray
    owner: np.ndarray

    def design(self, background: np.ndarray) -> np.ndarray:
        """Return all shapes [channel, shape], given the terms of the background [channel, term]."""
        return np.hstack([self.peaks, background * self.factor[:, None]])

    def slopes(self, amounts: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Return changes of the counts [channel, parameter].

        At amounts [family], and counts of the background [channel].
        """
        steps = self.steps * (background / self.factor)[:, None]
        return np.hstack([(self.common @ amounts).T, steps, self.own * amounts[self.owner]])


class WeakKnowledge:
    """The parameters, for families on an energy axis [channel; keV].

    First `COMMON`, then the weights of named lines, then their places. With `escape`, escape peaks
    are expected, and their counts are among those of the lines.
    """

    def __init__(
        self, energy: np.ndarray, families: Sequence[Family], calibration: Calibration,
        beam_kev: float, *, escape: bool = False,
    ) -> None:  # fmt: skip
        self.energy, self.families, self.calibration = energy, list(families), calibration
        self.escape = escape
        self.names = [name for f in families for name in f.groups]
        number = {name: g for g, name in enumerate(self.names)}
        group = np.array([number[n] for f in families for n in f.names], dtype=int)
        family_of = np.repeat(np.arange(len(families)), [len(f.names) for f in families])
        self.group_family = np.repeat(np.arange(len(families)), [len(f.groups) for f in families])
        own = np.array([e for f in families for e in f.energies_kev])
        photons, lost = np.array([p for f in families for p in f.photons]), escape_fraction(own)
        some = np.flatnonzero(own > SILICON_EDGE_KEV)
        # each line, then the escape peaks of those that have one
        self.energies = np.append(own, own[some] - SILICON_KA_KEV)
        self.group = np.append(group, group[some])
        self.family_of = np.append(family_of, family_of[some])
        self.photons = np.append(photons, np.zeros(some.size))
        self.escaping = np.append(-photons * lost, (photons * lost)[some])
        size = len(self.names)
        total = np.bincount(group, photons, size)
        self.lost = np.bincount(group, photons * lost, size) / np.maximum(total, 1e-300)
        doubts: dict[str, tuple[float, float]] = {}
        for f in families:
            doubts |= _doubts(f.element, f.shell, beam_kev)
        self.weight_sd, self.place_sd = np.array([doubts[n] for n in self.names]).reshape(-1, 2).T
        self.weights = self.places = np.arange(size)

    def only(self, parameters: np.ndarray) -> WeakKnowledge:
        """Return the same with only some of the parameters of single lines [parameter; bool]."""
        weights, places = np.split(parameters[COMMON:], [self.weights.size])
        made = copy.copy(self)
        made.weights, made.places = self.weights[weights], self.places[places]
        return made

    @property
    def effects(self) -> np.ndarray:
        """The effect that each parameter belongs to [parameter]."""
        numbers = (3, 3, 2, self.weights.size, self.places.size)
        kinds = ["calibration", "shape", "background", "line_weights", "shape"]
        return np.repeat(kinds, numbers)

    @property
    def of_lines(self) -> list[str]:
        """The named line of each parameter after the common ones."""
        return [self.names[g] for g in (*self.weights, *self.places)]

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters."""
        tails = [f"tail of {1000 * length:.0f} eV" for length in TAILS_KEV]
        weights = [f"weight of {self.names[g]}" for g in self.weights]
        places = [f"energy of {self.names[g]}" for g in self.places]
        steps = [f"step of the background at {edge} keV" for edge in LAYER_EDGES_KEV]
        return ["gain", "offset", "noise", *tails, "escape peaks", *steps, *weights, *places]

    def told(self, values: Mapping[str, float]) -> np.ndarray:
        """Return the parameters that values by name give; 0 for those of the calibration.

        These are in the calibration that comes with them.
        """
        known = [values.get(name, 0.0) for name in self.parameters]
        return np.array([0.0] * 5 + known[5:])

    def at(self, x: np.ndarray) -> KnownShapes:
        """Return the shapes for a value of each parameter."""
        calibration, photons, energies = self.calibration_at(x), *self._lines(x)
        true = calibration.gain * self.energy + calibration.offset_kev
        spread = SpreadLines(true, energies, calibration)
        counts, moved, size = spread.counts(), spread.by_offset(), len(self.families)
        by_axis = [
            sd * spread.sums(part, photons, self.family_of, size)
            for sd, part in zip(
                CALIBRATION_PRIOR, (spread.by_gain(), moved, spread.by_noise()), strict=True
            )
        ]
        peaks = spread.sums(counts, photons, self.family_of, size)
        by_tail = [
            sd * change_by_tail(true, peaks, length)
            for sd, length in zip(TAIL_PRIOR, TAILS_KEV, strict=True)
        ]
        escaped = ESCAPE_PRIOR * spread.sums(counts, self.escaping, self.family_of, size)
        weights = spread.sums(counts, photons, self._column(self.weights), self.weights.size)
        places = spread.sums(moved, photons, self._column(self.places), self.places.size)
        own = [
            with_tails(true, weights, calibration) * self.weight_sd[self.weights],
            -places * self.place_sd[self.places],
        ]
        steps = self._steps(true, calibration)
        return KnownShapes(
            with_tails(true, peaks, calibration),
            1 + steps @ x[6:COMMON],
            steps,
            np.stack([*by_axis, *by_tail, escaped]),
            np.hstack(own),
            self.group_family[np.append(self.weights, self.places)],
        )

    def calibration_at(self, x: np.ndarray) -> Calibration:
        """Return the calibration for a value of each parameter."""
        gain, offset, noise = (x[:3] * CALIBRATION_PRIOR).tolist()
        old = self.calibration
        return replace(
            old,
            gain=old.gain + gain,
            offset_kev=old.offset_kev + offset,
            noise_kev2=old.noise_kev2 * math.exp(noise),
            tails=tuple((np.array(old.tails) + x[3:5] * TAIL_PRIOR).tolist()),
        )

    def families_at(self, x: np.ndarray) -> list[Family]:
        """Return the families for a value of each parameter, escape peaks among their lines."""
        photons, energies = self._lines(x)
        kept = 1 - (0.0 if self.escape else self._escape(x)) * self.lost
        factor = kept * np.exp(self._of_groups(x)[0])
        found = []
        for i, old in enumerate(self.families):
            mine = self.family_of == i
            names = tuple(self.names[g] for g in self.group[mine])
            groups = {
                n: old.groups[n] * float(f)
                for n, f, j in zip(self.names, factor, self.group_family, strict=True)
                if i == j
            }
            lines = tuple(energies[mine].tolist()), tuple(photons[mine].tolist())
            found.append(Family(old.element, old.shell, *lines, groups, names))
        return found

    def net_slopes(self, x: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Return the relative changes of named lines' shares of their families [line, parameter].

        With the family's amount held.
        """
        found = np.zeros((len(names), x.size))
        for row, g in zip(found, (self.names.index(n) for n in names), strict=True):
            row[COMMON : COMMON + self.weights.size][self.weights == g] = self.weight_sd[g]
            if not self.escape:
                row[5] = -ESCAPE_PRIOR * self.lost[g] / (1 - self._escape(x) * self.lost[g])
        return found

    def background_factor(self, x: np.ndarray) -> np.ndarray:
        """Return what the background is multiplied by [channel]."""
        calibration = self.calibration_at(x)
        true = calibration.gain * self.energy + calibration.offset_kev
        return np.asarray(1 + self._steps(true, calibration) @ x[6:COMMON])

    def _steps(self, true: np.ndarray, calibration: Calibration) -> np.ndarray:
        """Return steps at the edges of the detector's layers [channel, edge], relative."""
        from scipy.special import ndtr

        edges = np.array(LAYER_EDGES_KEV)
        return np.asarray(
            LAYER_PRIOR * ndtr((true[:, None] - edges) / calibration.sigma_kev(edges))
        )

    def _escape(self, x: np.ndarray) -> float:
        """Return the share of escape peaks over what is expected of silicon."""
        return float(self.escape) + ESCAPE_PRIOR * float(x[5])

    def _of_groups(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logarithms of weights over those tabulated, and shifts [keV], of named lines."""
        weight, place = np.zeros(len(self.names)), np.zeros(len(self.names))
        weights, places = np.split(x[COMMON:], [self.weights.size])
        weight[self.weights] = weights * self.weight_sd[self.weights]
        place[self.places] = places * self.place_sd[self.places]
        return weight, place

    def _lines(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return photons and energies of all lines and escape peaks."""
        weight, place = self._of_groups(x)
        photons = self.photons + self._escape(x) * self.escaping
        return photons * np.exp(weight)[self.group], self.energies + place[self.group]

    def _column(self, groups: np.ndarray) -> np.ndarray:
        """Return the place of each line's group among some; -1 where it is not one of them."""
        place = np.full(len(self.names), -1)
        place[groups] = np.arange(groups.size)
        return place[self.group]


@lru_cache(maxsize=1024)
def _doubts(element: str, shell: str, beam_kev: float) -> dict[str, tuple[float, float]]:
    """Return relative uncertainty of weight and uncertainty of place [keV] of each named line."""
    lines = family(element, shell, beam_kev)
    absorbed = _absorption(element, np.array([line.energy_kev for line in lines]))
    return {
        line.name: (
            math.hypot(line.weight_uncertainty, sd),
            math.hypot(line.energy_uncertainty_kev, PLACE_PRIOR_KEV),
        )
        for line, sd in zip(lines, (absorbed - absorbed[0]).tolist(), strict=True)
    }


def _absorption(element: str, energy_kev: np.ndarray) -> np.ndarray:
    """Return the optical depth of a foil of the element for its own lines [line]."""
    import xraydb

    ev = 1000 * np.clip(energy_kev, 0.1, None)  # the tables begin there
    return FOIL_G_CM2 * np.asarray(xraydb.mu_elam(element, ev))
