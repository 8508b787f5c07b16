"""The mixings with the least and the most of a share, by linear programmes in turn.

The conditions of :class:`Evidence` are no linear ones, as every row of ``T`` bears on all of
``inv(T)``. From a mixing ``T`` to ``(I + E) T`` they change by what is linear in ``E``, for small
steps: a linear programme finds the best one within a trusted range, which grows where the linear
programme was right and shrinks where it was not (sequential linear programming: R. Fletcher and
E. Sainz de la Maza, Math. Program. 43 (1989) 235).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eds_xr.factorisation.ambiguity.evidence import Evidence

#: Conditions are kept when so many standard deviations below zero still pass as noise.
TOLERANCE = 3.5
#: What a standard deviation of a broken condition weighs against a share of 1.
PENALTY = 10.0
#: A mixing passes when no condition is broken by more than this [standard deviations].
BROKEN = 0.03
#: And between two mixings by no more than this: conditions are curved.
BROKEN_ON_THE_WAY = 1.0
#: The first trusted range of a step, the largest and the least.
FIRST_RANGE, LARGEST_RANGE, LEAST_RANGE = 0.2, 1.0, 1e-3
#: Steps of one search, and conditions at first in a linear programme, for each component.
MOST_STEPS, AT_FIRST = 40, 40
#: How many other starts each search has, and how often.
STARTS, AGAIN = 4, 1
#: A search ends when the share changes by less than this.
SMALL = 2e-4


class Goal(NamedTuple):
    """The share ``first / (first + second)`` of a component: its least, or its most."""

    component: int
    first: np.ndarray  # [component]: value of each spectrum
    second: np.ndarray
    sign: float  # 1: the most, -1: the least

    def share(self, turn: np.ndarray) -> float:
        """Return the share for a mixing; values below zero are none.

        Where there is nothing of either, it may be anything: as far as is looked for.
        """
        total = self.total(turn)
        first = max(0.0, float(turn[self.component] @ self.first))
        return first / total if total > 0 else float(self.sign > 0)

    def total(self, turn: np.ndarray) -> float:
        """Return the sum of both values."""
        row = turn[self.component]
        return max(0.0, float(row @ self.first)) + max(0.0, float(row @ self.second))

    def gained(self, turn: np.ndarray) -> float:
        """Return what is to be made large."""
        return self.sign * self.share(turn)

    def is_reached(self, turn: np.ndarray) -> bool:
        """Return whether there is no more to gain."""
        return self.gained(turn) >= float(self.sign > 0)

    def slope(self, turn: np.ndarray) -> np.ndarray:
        """Return what is gained for each step of the component's row [component]."""
        share = self.share(turn)
        gain = turn @ ((1 - share) * self.first - share * self.second)
        total = turn[self.component] @ (self.first + self.second)
        return np.asarray(self.sign * gain / max(float(total), 1e-9))


class Mixing(NamedTuple):
    """A mixing, and how it keeps the conditions."""

    turn: np.ndarray  # [component, component]
    left: np.ndarray  # [condition]: how far above what passes [standard deviations]
    slope: np.ndarray  # [condition, component]: how that changes by steps of its column or row

    @property
    def broken(self) -> float:
        """By how many standard deviations the worst condition is broken."""
        return max(0.0, -float(self.left.min()))


class End(NamedTuple):
    """Where a search ended: what is gained, the mixing, the weight of each condition there."""

    gained: float
    turn: np.ndarray
    weights: np.ndarray


class Search:
    """Mixings that the evidence allows.

    ``granted`` [condition] is what each condition may be below zero: noise, or what the first
    mixing cannot keep, either.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        size = len(evidence.spectra)
        self.off = ~np.eye(size, dtype=bool)
        of_bins = np.full((len(evidence.bins.rows), size), TOLERANCE)
        of_limits = np.where(evidence.applies, TOLERANCE, np.inf)
        self.granted = np.concatenate([of_bins, of_limits]).ravel()
        self.found: list[np.ndarray] = []
        self.solved = 0

    def at(self, turn: np.ndarray) -> Mixing:
        """Return how a mixing keeps the conditions."""
        left, slopes, start = [], [], 0
        for conditions, sign, directions in (
            (self.evidence.bins, -1.0, np.linalg.inv(turn)),
            (self.evidence.limits, 1.0, turn.T),
        ):
            values, spread, both = conditions.at(directions)
            granted = self.granted[start : start + values.size].reshape(values.shape)
            start += values.size
            left.append((values / spread + granted).ravel())
            by = values[:, None, :] / spread[:, :, None]
            by = sign * (by - (values / spread**3)[:, :, None] * both)
            own = np.arange(len(turn))
            by[:, own, own] = 0.0  # no step changes the scale of a component
            slopes.append(by.reshape(-1, len(turn)))
        return Mixing(turn, np.concatenate(left), np.concatenate(slopes))

    def _by_step(self, now: Mixing, chosen: np.ndarray) -> np.ndarray:
        """Return how some conditions change by each entry of a step [condition, entry]."""
        size = len(now.turn)
        of_bins = chosen < size * len(self.evidence.bins.rows)
        slope = np.zeros((len(chosen), size, size))
        number, own = np.arange(len(chosen)), chosen % size
        slope[number[of_bins], :, own[of_bins]] = now.slope[chosen[of_bins]]
        slope[number[~of_bins], own[~of_bins], :] = now.slope[chosen[~of_bins]]
        return slope[:, self.off]

    def _after(self, now: Mixing, step: np.ndarray) -> np.ndarray:
        """Return what is left of each condition after a step, were all linear [condition]."""
        change = np.zeros(self.off.shape)
        change[self.off] = step
        bins = len(self.evidence.bins.rows)
        slope = now.slope.reshape(-1, *self.off.shape)
        by_bins = np.einsum("idc,cd->id", slope[:bins], change)
        by_limits = np.einsum("idc,dc->id", slope[bins:], change)
        return now.left + np.concatenate([by_bins, by_limits]).ravel()

    def best(self, goal: Goal, start: np.ndarray) -> End:
        """Return where a search from one start ends."""
        now, reach, small = self.at(start), FIRST_RANGE, 0
        merit = goal.gained(start) - PENALTY * now.broken
        weights = np.zeros(len(now.left))
        for _ in range(MOST_STEPS):
            if goal.is_reached(now.turn) and now.broken < BROKEN:
                break
            slope = np.zeros(self.off.shape)
            slope[goal.component] = goal.slope(now.turn)
            step, weights = self._step(now, slope[self.off], reach)
            after = self.at(self._moved(now.turn, step))
            gain = goal.gained(after.turn) - PENALTY * after.broken - merit
            if gain > 0 and self._hang_together(now, step, after):
                right = gain > 0.5 * (slope[self.off] @ step)
                reach = min(LARGEST_RANGE, 2 * reach) if right else reach
                now, merit = after, merit + gain
                if now.broken < BROKEN:
                    self.found.append(now.turn)
            else:
                reach = min(reach, abs(step).max()) / 4
            small = small + 1 if abs(gain) < SMALL else 0
            if reach < LEAST_RANGE or (small >= 2 and now.broken < BROKEN):
                break
        kept = now.broken < BROKEN
        return End(goal.gained(now.turn) if kept else -np.inf, now.turn, weights)

    def kept(self, start: np.ndarray) -> np.ndarray:
        """Return the mixing near a start that keeps the conditions, and grant what it cannot."""
        now, reach = self.at(start), FIRST_RANGE
        for _ in range(MOST_STEPS):
            if now.broken < BROKEN or reach < LEAST_RANGE:
                break
            step, _ = self._step(now, np.zeros(int(self.off.sum())), reach, each=True)
            after = self.at(self._moved(now.turn, step))
            if _total(after) < _total(now):
                now = after
            else:
                reach /= 4
        self.granted = self.granted + np.maximum(0.0, -now.left)
        self.found.append(now.turn)
        return now.turn

    def _hang_together(self, now: Mixing, step: np.ndarray, after: Mixing) -> bool:
        """Return whether the way between two mixings is allowed, too.

        Otherwise components may have changed places: that is no other mixing.
        """
        if not np.linalg.det(after.turn) * np.linalg.det(now.turn) > 0:
            return False
        midway = self.at(self._moved(now.turn, step / 2))
        return midway.broken < max(now.broken, after.broken) + BROKEN_ON_THE_WAY

    def _moved(self, turn: np.ndarray, step: np.ndarray) -> np.ndarray:
        change = np.eye(len(turn))
        change[self.off] = step
        moved = change @ turn
        return moved / (moved @ self.evidence.spectra.sum(1))[:, None]

    def _step(
        self, now: Mixing, gain: np.ndarray, reach: float, *, each: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the best step of what is linear, and the weight of each condition in it.

        Conditions are taken up as they turn out to be broken.
        """
        from scipy.optimize import linprog

        length = np.sqrt((now.slope**2).sum(1)) + 1e-12
        at_risk = np.flatnonzero(now.left < reach * abs(now.slope).sum(1))
        most = AT_FIRST * len(now.turn)
        order = at_risk[np.argsort((now.left / length)[at_risk])[:most]]
        used = np.zeros(len(now.left), bool)
        used[order] = True
        for _ in range(8):
            chosen = np.flatnonzero(used)
            slack = -np.eye(len(chosen)) if each else -np.ones((len(chosen), 1))
            table = np.hstack([-self._by_step(now, chosen), slack])
            cost = np.concatenate([-gain, np.full(slack.shape[1], PENALTY)])
            bounds = [(-reach, reach)] * len(gain) + [(0, None)] * slack.shape[1]
            done = linprog(cost, table, now.left[chosen], bounds=bounds, method="highs-ds")
            self.solved += 1
            if done.x is None:
                return np.zeros(len(gain)), np.zeros(len(used))
            step = done.x[: len(gain)]
            slack_left = 0.0 if each else done.x[-1]
            after = self._after(now, step)
            missed = np.flatnonzero((after + slack_left < -0.01) & ~used)
            if not len(missed):
                break
            worst = np.argsort(after[missed])[:most]
            used[missed[worst]] = True
        weights = np.zeros(len(used))
        weights[chosen] = -done.ineqlin.marginals
        return step, weights

    def of_all(self, goals: list[Goal], start: np.ndarray) -> list[End]:
        """Return the best end of each goal: from the start, then from what all have found.

        Mixings that are allowed are no convex set: from one start a search may end where another
        goes on.
        """
        nothing = np.zeros(len(self.granted))
        ends = [End(goal.gained(start), start, nothing) for goal in goals]
        ends = [
            max(end, self.best(goal, start), key=lambda e: e.gained)
            for end, goal in zip(ends, goals, strict=True)
        ]
        if not goals:
            return ends
        for _ in range(AGAIN):
            starts = _apart(np.array([end.turn for end in ends]), STARTS)
            for i, goal in enumerate(goals):
                known = max(self.found, key=goal.gained)
                for other in [known, *starts]:
                    ends[i] = max(ends[i], self.best(goal, other), key=lambda end: end.gained)
        return ends


def _apart(turns: np.ndarray, number: int) -> list[np.ndarray]:
    """Return so many mixings that lie far from one another."""
    points = turns.reshape(len(turns), -1)
    points = points / np.maximum(points.std(0), 1e-9)
    chosen = [0]
    away = ((points - points[0]) ** 2).sum(1)
    while len(chosen) < min(number, len(turns)):
        chosen.append(int(away.argmax()))
        away = np.minimum(away, ((points - points[chosen[-1]]) ** 2).sum(1))
    return [turns[i] for i in chosen]


def _total(mixing: Mixing) -> float:
    return float(np.maximum(0, -mixing.left).sum())
