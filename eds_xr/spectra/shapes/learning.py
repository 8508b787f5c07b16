"""Weak knowledge made sharper by spectra: one set of parameters for all of them.

Amounts of families and background terms differ from spectrum to spectrum; what is known of peaks
only within limits is common to them. Both are fitted together: least squares with the limits as
observations of their own, by Gauss and Newton's method. The amounts are eliminated from each
spectrum's equations (G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973) 413), so that few
parameters are left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from eds_xr.spectra.shapes.families import Family
from eds_xr.spectra.shapes.linear_fit import smooth_variance, weighted_least_squares
from eds_xr.spectra.shapes.peaks import Calibration
from eds_xr.spectra.shapes.weak_knowledge import (
    CALIBRATION_PRIOR,
    COMMON,
    EFFECTS,
    TAIL_PRIOR,
    KnownShapes,
    WeakKnowledge,
)

#: What one standard deviation of the parameters of a calibration is worth.
_UNITS = (*CALIBRATION_PRIOR, *TAIL_PRIOR)
_MOST_STEPS = 20
#: Steps end when they are less than this part of the standard deviation of what is found.
_CONVERGED = 0.03
#: One standard deviation of a parameter changes spectra by at least so much, as a chi-square.
_LEAST_FELT = 0.03
#: A parameter is this many standard deviations off at most: the spectrum is of something else.
MOST_OFF = 4.0


@dataclass(frozen=True)
class Learned:
    """The parameters found.

    ``information`` [parameter, parameter] is what the spectra say of them, in units of what was
    known before; ``given`` [parameter, parameter] is the covariance of those that are not looked
    for.
    """

    weak: WeakKnowledge
    x: np.ndarray
    shapes: KnownShapes
    information: np.ndarray
    looked_for: np.ndarray
    given: np.ndarray

    @cached_property
    def families(self) -> list[Family]:
        """The families as found."""
        return self.weak.families_at(self.x)

    @cached_property
    def background_factor(self) -> np.ndarray:
        """What the background is multiplied by [channel]."""
        return self.weak.background_factor(self.x)

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration, with its covariance."""
        found = self.weak.calibration_at(self.x)
        if not self.looked_for[:3].all():
            return found
        covariance = self._found[:5, :5] * np.outer(_UNITS, _UNITS)
        return replace(found, covariance=tuple(covariance.ravel().tolist()))

    def told(self) -> dict[str, float]:
        """Return what differs from the tables, in standard deviations of what these leave open."""
        pairs = zip(self.weak.parameters, self.x.tolist(), strict=True)
        return {name: round(value, 5) for name, value in pairs if abs(value) > 1e-4}

    @cached_property
    def modes(self) -> dict[str, np.ndarray]:
        """Return independent errors of the parameters [parameter, mode], a standard deviation each.

        By effect. What the spectra say of the parameters scatters with the counts: this scatter
        counts as calibration as far as that takes part in it, else as counting. What was known
        before lacks something, too; each parameter's lack is of its own effect.
        """
        free, inverse = np.flatnonzero(self.looked_for), self._found
        data = inverse - inverse @ inverse
        effects = self.weak.effects[free]
        axis = effects == "calibration"
        found = {effect: [inverse[:, effects == effect]] for effect in EFFECTS}
        by_axis = data[:, axis] @ np.linalg.pinv(data[np.ix_(axis, axis)], hermitian=True)
        explained = by_axis @ data[axis]
        found["calibration"].append(_root(explained))
        found["counting"].append(_root(data - explained))
        whole = {e: np.zeros((self.x.size, sum(p.shape[1] for p in found[e]))) for e in EFFECTS}
        for effect, parts in found.items():
            whole[effect][free] = np.hstack(parts)
        whole["calibration"] = np.hstack([whole["calibration"], _root(self.given)])
        return whole

    @cached_property
    def _found(self) -> np.ndarray:
        """The covariance of the parameters that are looked for."""
        free = np.flatnonzero(self.looked_for)
        return np.linalg.inv(self.information[np.ix_(free, free)] + np.eye(free.size))


def learn(
    weak: WeakKnowledge,
    background: np.ndarray,
    spectra: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    look_for_calibration: bool,
) -> Learned:
    """Fit the parameters to spectra (counts, variance) [channel], background [channel, term].

    A given calibration is kept as it is, with its covariance.
    """
    spectra = [(counts, smooth_variance(variance)) for counts, variance in spectra]
    x, looked_for, given = np.zeros(COMMON), np.ones(COMMON, dtype=bool), np.zeros((COMMON,) * 2)
    if look_for_calibration:  # first alone: lines must not take the place of their neighbours
        total = [tuple(np.sum(part, axis=0) for part in zip(*spectra, strict=True))]
        bare = weak.only(np.arange(weak.effects.size) < COMMON)
        x = _descend(bare, background, total, x, bare.effects == "calibration")[0]
    else:
        known = math.isqrt(len(weak.calibration.covariance))
        units = _UNITS[:known]
        covariance = np.reshape(weak.calibration.covariance, (known, known))
        given[:known, :known] = covariance / np.outer(units, units)
        looked_for[: max(3, known)] = False
    weak = weak.only(_felt(weak, x, background, spectra))
    more = weak.effects.size - COMMON
    looked_for = np.append(looked_for, np.ones(more, dtype=bool))
    x = np.append(x, np.zeros(more))
    x, shapes, information = _descend(weak, background, spectra, x, looked_for)
    return Learned(weak, x, shapes, information, looked_for, np.pad(given, (0, more)))


def _felt(
    weak: WeakKnowledge, common: np.ndarray, background: np.ndarray,
    spectra: Sequence[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:  # fmt: skip
    """Return which parameters change a spectrum by something beside the scatter of its counts."""
    shapes = weak.at(np.append(common, np.zeros(weak.effects.size - COMMON)))
    design, felt = shapes.design(background), np.zeros(weak.effects.size)
    for counts, variance in spectra:
        amounts, _ = weighted_least_squares(design, counts, variance)
        slopes = _slopes(shapes, design, amounts)
        felt += (slopes**2 / variance[:, None]).sum(axis=0)
    return (felt > _LEAST_FELT) | (np.arange(felt.size) < COMMON)


def _descend(
    weak: WeakKnowledge, background: np.ndarray, spectra: Sequence[tuple[np.ndarray, np.ndarray]],
    x: np.ndarray, free: np.ndarray,
) -> tuple[np.ndarray, KnownShapes, np.ndarray]:  # fmt: skip
    last = np.zeros(x.size)
    for _ in range(_MOST_STEPS):
        shapes = weak.at(x)
        information, pull = np.zeros((x.size, x.size)), np.zeros(x.size)
        for counts, variance in spectra:
            more, towards = _what_it_says(shapes, background, counts, variance)
            information, pull = information + more, pull + towards
        step = _step(information, pull, x, free)
        step *= np.where(step * last < 0, 0.5, 1.0)  # where little is there, they would swing
        last = step / max(1.0, float(np.abs(step).max(initial=0.0)))
        x = np.clip(x + last, -MOST_OFF, MOST_OFF)
        if last @ information @ last + last @ last < _CONVERGED**2:
            break
    return x, shapes, information


def _step(information: np.ndarray, pull: np.ndarray, x: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return the step of the free parameters, without those that are held at a limit."""
    moving = free.copy()
    while True:
        step = np.zeros(x.size)
        inner = information[np.ix_(moving, moving)] + np.eye(int(moving.sum()))
        step[moving] = np.linalg.solve(inner, (pull - x)[moving])
        held = (np.abs(x) >= MOST_OFF) & (step * x > 0)
        if not held.any():
            return step
        moving &= ~held


def _what_it_says(
    shapes: KnownShapes, background: np.ndarray, counts: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a spectrum says of the parameters, its amounts eliminated: matrix and right side.

    A spectrum that is fitted worse than its counts scatter says less, by how much worse.
    """
    design = shapes.design(background)
    amounts, covariance = weighted_least_squares(design, counts, variance)
    slopes = _slopes(shapes, design, amounts)
    left = slopes + design @ response(design, slopes, variance, covariance)
    rest = counts - design @ amounts
    misfit = float((rest**2 / variance).sum()) / max(1, counts.size - design.shape[1])
    said = (left / variance[:, None]).T @ np.column_stack([left, rest]) / max(1.0, misfit)
    return said[:, :-1], said[:, -1]


def _slopes(shapes: KnownShapes, design: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    families = shapes.peaks.shape[1]
    return shapes.slopes(amounts[:families], design[:, families:] @ amounts[families:])


def response(
    design: np.ndarray, slopes: np.ndarray, variance: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """Return how fitted amounts follow parameters [shape, parameter].

    `slopes` [channel, parameter] are what the parameters do to the expected counts, `covariance`
    that of the amounts.
    """
    return -covariance @ (design.T @ (slopes / variance[:, None]))


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return a root of a covariance [parameter, mode], without modes that are next to nothing."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = values > 1e-12 * max(float(values.max(initial=0.0)), 1e-12)
    return vectors[:, kept] * np.sqrt(values[kept])
