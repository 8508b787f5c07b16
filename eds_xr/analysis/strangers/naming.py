"""Which elements a region has too much or too little of, by all their families at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eds_xr.analysis.strangers.responses import Responses
from eds_xr.xray.elements import SELDOM

#: An element is named where the fit improves by the square of so many standard deviations, at
#: most so many.
NAMED_SIGMA, MOST_NAMED = 5.0, 6
#: Beside the strongest, an element is named if it improves the fit by this share as much.
LEAST_BESIDE = 0.03
#: Elements that few samples are made of improve it by so much more: odds of 1 to 20.
SELDOM_COST = 2 * np.log(20.0)
#: Others that improve it by less than this less may be it: odds of 1 to 20.
ALIAS_COST, MOST_ALIASES = 2 * np.log(20.0), 3
#: Largest factor between the real and the tabulated ratio of two families of an element.
FAMILY_RATIO = 4.0
#: Elements that are looked at more closely, by how well a family of theirs fits alone.
_TRIED = 12


class Named(NamedTuple):
    """An element that explains responses.

    Attributes
    ----------
    element : str
    aliases : tuple of str
        What it may be, too.
    counts, variance : dict of int to float
        Of its families, by their number: below zero where counts are missing.
    """

    element: str
    aliases: tuple[str, ...]
    counts: dict[int, float]
    variance: dict[int, float]

    @property
    def sure(self) -> list[int]:
        """The families that stand out, or the one that does most: others have noise to add."""
        sigma = {f: abs(n) / self.variance[f] ** 0.5 for f, n in self.counts.items()}
        return [f for f, z in sigma.items() if z > 2 or z == max(sigma.values())]

    @property
    def total(self) -> float:
        """Counts of the families that stand out."""
        return sum(self.counts[f] for f in self.sure)

    @property
    def sd(self) -> float:
        """Standard deviation of these, nearly."""
        return float(np.sqrt(sum(self.variance[f] for f in self.sure)))


def named(
    sums: np.ndarray, amounts: np.ndarray, spread: float, responses: Responses
) -> list[Named]:
    """Return the elements that explain the responses of a region, the most significant first.

    One after the other is taken that improves the fit most, all its families together; none but
    those of elements that the phases hold may be missing.
    """
    fit = _Fit(sums, amounts, spread, responses)
    chosen: list[str] = []
    aliases: dict[str, tuple[str, ...]] = {}
    first = 0.0
    while len(chosen) < MOST_NAMED:
        gains = fit.gains(chosen)
        best = max(gains, key=lambda e: gains[e])
        first = max(first, gains[best])
        if chosen and gains[best] < max(NAMED_SIGMA**2, LEAST_BESIDE * first):
            break
        near = [e for e in gains if e != best and gains[e] > gains[best] - ALIAS_COST]
        after = fit.gains([*chosen, best]) if near else {}
        # what the best leaves nothing of is another name for it
        same = [e for e in near if after.get(e, 0.0) < 0.5 * gains[e]]
        aliases[best] = tuple(sorted(same, key=lambda e: -gains[e])[: MOST_ALIASES - 1])
        chosen.append(best)
    counts, variance = fit.solved(chosen)
    return [
        Named(
            e, aliases[e], {f: counts[f] for f in responses.of_element[e]},
            {f: variance[f] for f in responses.of_element[e]},
        )
        for e in chosen
    ]  # fmt: skip


class _Fit:
    """Responses in units in which they scatter independently, and what families are in them."""

    def __init__(
        self, sums: np.ndarray, amounts: np.ndarray, spread: float, responses: Responses
    ) -> None:
        self.responses = responses
        covariance = responses.covariance(amounts @ responses.spectra) * spread**2
        # what is in excess scatters, too: by its counts, as the strongest alone would have them
        of = responses.chosen.size
        top = int(np.abs(sums[:of] / np.sqrt(np.diag(covariance)[:of])).argmax())
        excess = responses.templates[:, responses.chosen[top]] * abs(float(sums[top]))
        covariance = covariance + responses.covariance(excess)
        scale = np.sqrt(np.diag(covariance))
        scaled = covariance / np.outer(scale, scale) + 1e-6 * np.eye(scale.size)
        lower = np.linalg.cholesky(scaled)
        self.rest = np.linalg.solve(lower, sums / scale)
        self.columns = np.linalg.solve(lower, responses.cross / scale[:, None])

    def gains(self, chosen: list[str]) -> dict[str, float]:
        """Return by how much each other element improves the fit with those chosen."""
        base, signed = self._of(chosen), self._signed(chosen)
        fitted = _fitted(base, self.rest, signed)
        left = self.rest - base @ fitted
        before = float(left @ left)
        q, _ = np.linalg.qr(base[:, signed | (fitted > 0)])
        columns = self.columns[:, : len(self.responses.families)]
        columns = columns - q @ (q.T @ columns)
        single = (columns.T @ left) / np.maximum(np.linalg.norm(columns, axis=0), 1e-9)
        single = np.where(self.responses.of_phases, np.abs(single), single.clip(0))
        score: dict[str, float] = {}
        for f, one in enumerate(self.responses.families):
            if one.element not in chosen:
                score[one.element] = max(score.get(one.element, 0.0), float(single[f]))
        tried = sorted(score, key=lambda e: -score[e])[:_TRIED]
        found = {}
        for e in tried:
            both = self._of([*chosen, e])
            left = self.rest - both @ _fitted(both, self.rest, self._signed([*chosen, e]))
            gain = before - float(left @ left)
            found[e] = gain - (SELDOM_COST if e in SELDOM else 0.0)
        return found

    def solved(self, chosen: list[str]) -> tuple[dict[int, float], dict[int, float]]:
        """Return counts and variance of each family of the elements chosen."""
        columns = self._of(chosen)
        parts = _fitted(columns, self.rest, self._signed(chosen))
        covariance = np.linalg.pinv(columns.T @ columns)
        counts, variance, first = {}, {}, 0
        for e in chosen:
            ways = self._ways(e)
            of = slice(first, first + ways.shape[1])
            first = of.stop
            found = zip(
                self.responses.of_element[e], ways @ parts[of],
                np.diag(ways @ covariance[of, of] @ ways.T), strict=True,
            )  # fmt: skip
            for f, n, v in found:
                counts[f], variance[f] = float(n), float(v)
        return counts, variance

    def _of(self, elements: list[str]) -> np.ndarray:
        """Return the columns of elements, then of the phases."""
        parts = [self.columns[:, self.responses.of_element[e]] @ self._ways(e) for e in elements]
        return np.hstack([*parts, self.columns[:, len(self.responses.families) :]])

    def _signed(self, elements: list[str]) -> np.ndarray:
        """Return which columns may be below zero: no phase may."""
        signed = [self.responses.of_phases[f] for e in elements for f in
                  self.responses.of_element[e]]  # fmt: skip
        phases = self.columns.shape[1] - len(self.responses.families)
        return np.array([*signed, *[False] * phases], bool)

    def _ways(self, element: str) -> np.ndarray:
        """Return amounts of an element's families [family, way] that add up to all it may have.

        Of the family that tells most as much as it has; of the others at most `FAMILY_RATIO` times
        as much as is expected beside it. What phases hold of an element varies as it likes.
        """
        of = self.responses.of_element[element]
        ways = np.eye(len(of))
        if self.responses.of_phases[of[0]]:
            return ways
        emitted = self.responses.emitted[of]
        main = int((emitted * np.linalg.norm(self.columns[:, of], axis=0)).argmax())
        most = FAMILY_RATIO * emitted / max(float(emitted[main]), 1e-300)
        ways *= np.where(np.arange(len(of)) == main, 1.0, most)
        ways[main] = 1.0
        return ways


def _fitted(columns: np.ndarray, rest: np.ndarray, signed: np.ndarray) -> np.ndarray:
    """Return the least squares of columns, those not signed not below zero."""
    from scipy.optimize import lsq_linear

    low = np.where(signed, -np.inf, 0.0)
    length = np.maximum(np.linalg.norm(columns, axis=0), 1e-9)
    found = lsq_linear(columns / length, rest, (low, np.full(low.size, np.inf)), method="bvls")
    return np.asarray(found.x / length)
