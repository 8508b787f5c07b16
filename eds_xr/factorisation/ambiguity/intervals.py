"""Intervals of shares over all mixings that explain the counts as well, on plain arrays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eds_xr.factorisation.ambiguity.evidence import Evidence
from eds_xr.factorisation.ambiguity.search import Goal, Search

#: Ends are moved outwards by so many standard deviations of the share of a given mixing.
TWO_SIDED_95 = 1.96
#: Where the two values together are fewer standard deviations than this, their share is not looked
#: for: it may be anything.
SOMETHING = 2.0

Pair = tuple[int, int]


class Intervals(NamedTuple):
    """Shares ``first / (first + second)`` of pairs of values [component, pair]."""

    value: np.ndarray  # of the mixing that was given
    error: np.ndarray  # its standard deviation
    low: np.ndarray
    high: np.ndarray
    extremes: np.ndarray  # both ends before they are moved [component, pair, end]
    low_by: np.ndarray  # the condition that bounds it; -1 where none does
    high_by: np.ndarray


def share_intervals(evidence: Evidence, pairs: Sequence[Pair]) -> Intervals:
    """Return the least and the most of shares of two functionals, for each component."""
    size = len(evidence.spectra)
    given = np.eye(size)
    shape = (size, len(pairs), 2)
    value, error = np.zeros(shape[:2]), np.ones(shape[:2])
    extremes, moved = np.tile([0.0, 1.0], (*shape[:2], 1)), np.tile([0.0, 1.0], (*shape[:2], 1))
    by = np.full(shape, -1)
    goals, places = [], []
    for c, (n, pair) in itertools.product(range(size), enumerate(pairs)):
        least, most = (_goal(evidence, c, pair, sign) for sign in (-1.0, 1.0))
        value[c, n], error[c, n] = least.share(given), share_error(evidence, c, pair, given)
        if _is_something(evidence, c, pair):
            goals += [least, most]
            places += [(c, n, 0), (c, n, 1)]
    search = Search(evidence)
    ends = search.of_all(goals, search.kept(given))
    for goal, place, end in zip(goals, places, ends, strict=True):
        spread = share_error(evidence, goal.component, pairs[place[1]], end.turn)
        extremes[place] = goal.share(end.turn)
        moved[place] = np.clip(extremes[place] + goal.sign * TWO_SIDED_95 * spread, 0, 1)
        by[place] = end.weights.argmax() if end.weights.any() else -1
    return Intervals(value, error, moved[..., 0], moved[..., 1], extremes, by[..., 0], by[..., 1])


def share_error(evidence: Evidence, component: int, pair: Pair, turn: np.ndarray) -> float:
    """Return the standard deviation of a share of one mixing, first order; 1 at most."""
    goal = _goal(evidence, component, pair, 1.0)
    total, share = goal.total(turn), goal.share(turn)
    if not total > 0:
        return 1.0
    slope = np.array([1 - share, -share]) / total
    return min(1.0, _deviation(evidence, pair, turn[component], slope))


def _goal(evidence: Evidence, component: int, pair: Pair, sign: float) -> Goal:
    return Goal(component, evidence.values[pair[0]], evidence.values[pair[1]], sign)


def _is_something(evidence: Evidence, component: int, pair: Pair) -> bool:
    """Return whether a component has counts in either line, as given."""
    row = np.eye(len(evidence.spectra))[component]
    total = float(row @ evidence.values[list(pair)].sum(0))
    return total > SOMETHING * _deviation(evidence, pair, row, np.ones(2))


def _deviation(evidence: Evidence, pair: Pair, row: np.ndarray, slope: np.ndarray) -> float:
    """Return the standard deviation of a weighted sum of two values of a spectrum."""
    noise = evidence.value_noise[np.ix_(pair, pair)]
    variance = np.einsum("q,r,qrab,a,b->", slope, slope, noise, row, row)
    return float(np.sqrt(max(0.0, float(variance))))
