"""Which candidate elements a spectrum holds: forward selection, exchange and elimination."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from eds_xr.spectra.identification.candidates import Candidate
from eds_xr.spectra.identification.likelihood_fit import RIDGE, LikelihoodFit, Spectrum, fit

#: Evidence (twice the log likelihood ratio) that needs no fit of its own.
PLENTY = 100.0
#: A candidate of which the fit can do all but this share already adds nothing.
_NEW = 2e-3
#: Gains below this are not worth an exact number: that of the best corner is taken.
_NOTABLE = 2.0
#: The strongest family of an element stands this many standard deviations above all that is open.
VISIBLE = 2.5
#: Candidates tried with a fit of their own before the search ends.
_MOST_TRIALS = 4


class Surroundings:
    """What candidates would add to a fit, or to it without one of its elements: second order."""

    def __init__(
        self,
        fitted: LikelihoodFit,
        corners: np.ndarray,
        block: tuple[slice, ...],
        counts: np.ndarray,
    ) -> None:
        free = fitted.columns.shape[1]
        both = np.hstack([fitted.columns, corners]) / np.sqrt(fitted.mean)[:, None]
        self.length = np.maximum(np.linalg.norm(both, axis=0), 1e-300)
        both /= self.length
        self.both = both[:, :free]
        self.values = counts / np.sqrt(fitted.mean)
        self.mean, self.held = fitted.mean, fitted.held
        self.gram = both.T @ both
        self.gram[np.arange(free), np.arange(free)] += fitted.held / self.length[:free] ** 2 + 1e-8
        self.pull = both.T @ self.values
        self.owner, self.block, self.free = fitted.owner, block, free
        self._known: dict[int | None, np.ndarray] = {}

    def gains(self, without: int | None = None) -> np.ndarray:
        """Return by how much the deviance would fall with each candidate.

        With `without`, in a fit that lacks its element of that number: what the element itself
        then gains is the evidence for it, and what others gain tells whether they could replace it.
        """
        if without not in self._known:
            self._known[without] = self._gains(without, self.block)
        return self._known[without].copy()

    def own_gain(self, without: int, one: int) -> float:
        """Return the same of one candidate only."""
        if without in self._known:
            return float(self._known[without][one])
        return float(self._gains(without, (self.block[one],))[0])

    def _gains(self, without: int | None, blocks: Sequence[slice]) -> np.ndarray:
        from scipy.linalg import solve_triangular

        kept = np.flatnonzero(self.owner != (-2 if without is None else without))
        root = np.linalg.cholesky(self.gram[np.ix_(kept, kept)])
        first = blocks[0].start
        new = slice(self.free + first, self.free + blocks[-1].stop)
        known = np.column_stack([self.gram[kept, new], self.pull[kept]])
        done = solve_triangular(root, known, lower=True)
        gram = self.gram[new, new] - done[:, :-1].T @ done[:, :-1]
        gram[np.diag_indices_from(gram)] += RIDGE
        pull = self.pull[new] - done[:, :-1].T @ done[:, -1]
        parts = [slice(b.start - first, b.stop - first) for b in blocks]
        return np.array([_gain(gram[b, b], pull[b]) for b in parts])

    def amounts(
        self, shapes: np.ndarray, without: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return amounts of shapes [bin, family], of either sign, and their two variances.

        With all that the fit may do, doubts included; and from counting alone.
        """
        free = self.owner != (-2 if without is None else without)
        amounts, whole = self._solve(shapes, np.flatnonzero(free))
        _, counting = self._solve(shapes, np.flatnonzero(free & (self.held == 0)))
        return amounts, whole, counting

    def _solve(self, shapes: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from scipy.linalg import cho_factor, cho_solve

        columns = shapes / np.sqrt(self.mean)[:, None]
        cross = self.both[:, kept].T @ columns
        known = cho_factor(self.gram[np.ix_(kept, kept)], lower=True)
        gram = columns.T @ columns - cross.T @ cho_solve(known, cross)
        pull = columns.T @ self.values - cross.T @ cho_solve(known, self.pull[kept])
        covariance = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
        return covariance @ pull, np.maximum(np.diag(covariance), 1e-300)


def _gain(gram: np.ndarray, pull: np.ndarray) -> float:
    """Return by how much columns of positive amounts lower a sum of squares."""
    from scipy.optimize import nnls

    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    # nothing that the fit cannot do already, or nothing of positive amounts
    if scale.max() < _NEW or pull.max() <= 0:
        return 0.0
    gram, pull = gram / np.outer(scale, scale), pull / scale
    alone = float(pull.max()) ** 2
    if scale.size == 1 or alone < _NOTABLE:
        return alone
    root = np.linalg.cholesky(gram + 1e-8 * np.eye(scale.size))
    amounts, _ = nnls(root.T, np.linalg.solve(root, pull))
    return float(pull @ amounts)


class Search:
    """The candidates, and how a fit is judged by them."""

    def __init__(
        self, spectrum: Spectrum, candidates: Sequence[Candidate], odds: np.ndarray, chance: float
    ) -> None:
        self.spectrum, self.candidates = spectrum, candidates
        self.names = [c.element for c in candidates]
        self.log_odds, self.chance = np.log(odds), chance
        self.corners = np.hstack([c.shapes @ c.corners for c in candidates])
        stops = np.cumsum([c.corners.shape[1] for c in candidates]).tolist()
        self.block = tuple(slice(a, b) for a, b in zip([0, *stops[:-1]], stops, strict=True))
        self.size = np.array([c.shapes.shape[1] for c in candidates])
        heights = (c.shapes / np.maximum(c.shapes.max(axis=0), 1e-300) for c in candidates)
        near = [height.max(axis=1) > 0.02 for height in heights]
        self.window = np.stack(near).astype(float)  # [candidate, bin]: 1 near its lines, else 0
        # the rounds of a search ask for the same fits again; their starts are kept with them, so
        # that no other has their id
        self._fits: dict[
            tuple[tuple[int, ...], int], tuple[LikelihoodFit | None, LikelihoodFit]
        ] = {}
        self._around: tuple[LikelihoodFit, Surroundings] | None = None

    def fit(self, chosen: Sequence[int], start: LikelihoodFit | None = None) -> LikelihoodFit:
        """Fit some of the candidates."""
        key = tuple(chosen), id(start)
        if key not in self._fits:
            made = fit(self.spectrum, [self.candidates[i] for i in chosen], start)
            self._fits[key] = start, made
        return self._fits[key][1]

    def around(self, fitted: LikelihoodFit) -> Surroundings:
        """Return what candidates would add to a fit."""
        if self._around is None or self._around[0] is not fitted:
            made = Surroundings(fitted, self.corners, self.block, self.spectrum.counts)
            self._around = fitted, made
        return self._around[1]

    def misfit(self, fitted: LikelihoodFit, gains: np.ndarray) -> np.ndarray:
        """Return for each candidate how many times the noise the misfit at its lines is.

        At least 1; what the candidate itself would mend does not count.
        """
        squares = (self.spectrum.counts + self.spectrum.excess - fitted.mean) ** 2 / fitted.mean
        channels = self.window.sum(axis=1) - self.size
        return np.maximum(1.0, (self.window @ squares - gains) / np.maximum(channels, 1))

    def improbable(self, evidence: np.ndarray) -> np.ndarray:
        """Return whether noise alone would hardly ever give as much evidence."""
        return chance_of_noise(evidence, self.size) < self.chance


def chance_of_noise(evidence: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Return the chance that noise gains as much deviance with an element that is not there.

    The bound of Perlman (Ann. Math. Stat. 40 (1969) 549) for amounts in any cone: half of
    chi-squared with as many degrees of freedom as families, half with one less.
    """
    from scipy.special import gammaincc

    half = np.maximum(evidence, 0) / 2
    more = gammaincc(families / 2, half)
    less = np.where(families > 1, gammaincc(np.maximum(families - 1, 1) / 2, half), evidence <= 0)
    return (more + less) / 2


def select(search: Search, chosen: Sequence[int] = ()) -> tuple[list[int], LikelihoodFit]:
    """Return the candidates that the spectrum holds, and their fit."""
    found = list(chosen)
    fitted = search.fit(found)
    for _ in range(3):
        before = set(found)
        found, fitted = _add(search, found, fitted)
        found, fitted = _exchange(search, found, fitted)
        found, fitted = _remove(search, found, fitted)
        if set(found) == before:
            break
    return found, fitted


def evidence(search: Search, found: Sequence[int], fitted: LikelihoodFit) -> np.ndarray:
    """Return the evidence for each element found: deviance gained by it, over the misfit there.

    From the curvature at the fit; where that is weak, from a fit without the element.
    """
    around = search.around(fitted)
    worse = search.misfit(fitted, np.zeros(len(search.candidates)))
    values = np.array([around.own_gain(k, i) / worse[i] for k, i in enumerate(found)])
    for k, i in enumerate(found):
        if values[k] < PLENTY:
            rest = search.fit([*found[:k], *found[k + 1 :]], fitted)
            values[k] = (rest.deviance - fitted.deviance) / worse[i]
    return values


def _visible(around: Surroundings, one: Candidate, k: int) -> bool:
    """Return whether a family of an element is seen alone: no sum of hints makes an element."""
    amounts, whole, _ = around.amounts(one.shapes, k)
    return bool((amounts / np.sqrt(whole)).max() > VISIBLE)


def _add(
    search: Search, found: list[int], fitted: LikelihoodFit
) -> tuple[list[int], LikelihoodFit]:
    """Add the most probable candidate as long as one is improbable to be noise."""
    while True:
        gains = search.around(fitted).gains()
        gains[found] = 0
        scaled = gains / search.misfit(fitted, gains)
        order = np.argsort(-(scaled / 2 + search.log_odds), kind="stable")
        trials = [i for i in order.tolist() if search.improbable(scaled)[i]][:_MOST_TRIALS]
        for i in trials:
            tried = search.fit([*found, i], fitted)
            gain = np.zeros(gains.size)
            worse = search.misfit(tried, gain)[i]
            gain[i] = (fitted.deviance - tried.deviance) / worse
            if search.improbable(gain)[i]:
                found, fitted = [*found, i], tried
                break
        else:
            return found, fitted


def _exchange(
    search: Search, found: list[int], fitted: LikelihoodFit
) -> tuple[list[int], LikelihoodFit]:
    """Exchange elements for others that explain their peaks better.

    What another mends elsewhere does not count: it can be added for that.
    """
    around = search.around(fitted)
    beside = around.gains()
    worse = search.misfit(fitted, np.zeros(len(search.candidates)))
    for k in range(len(found) - 1, -1, -1):
        score = (around.gains(k) - beside) / worse[found[k]] / 2 + search.log_odds
        score[[i for i in found if i != found[k]]] = -math.inf
        best = int(np.argmax(score))
        if best == found[k]:
            continue
        swapped = [*found[:k], best, *found[k + 1 :]]
        tried = search.fit(swapped, fitted)
        better = (fitted.deviance - tried.deviance - beside[best]) / worse[found[k]] / 2
        if better + search.log_odds[best] - search.log_odds[found[k]] > 0.1:
            found, fitted = swapped, tried
            around = search.around(fitted)
            beside = around.gains()
    return found, fitted


def _remove(
    search: Search, found: list[int], fitted: LikelihoodFit
) -> tuple[list[int], LikelihoodFit]:
    """Remove elements, weakest first, that noise could stand for or of which no line is seen.

    What was needed before another was removed is needed still.
    """
    needed: set[int] = set()
    while True:
        around = search.around(fitted)
        worse = search.misfit(fitted, np.zeros(len(search.candidates)))
        values = np.array([around.own_gain(k, i) / worse[i] for k, i in enumerate(found)])
        for k in np.argsort(values).tolist():
            i, others = found[k], [*found[:k], *found[k + 1 :]]
            if values[k] >= PLENTY or i in needed:
                continue
            rest = search.fit(others, fitted)
            gain = np.array([(rest.deviance - fitted.deviance) / worse[i]])
            noise = chance_of_noise(gain, search.size[[i]])[0] >= search.chance
            if noise or not _visible(around, search.candidates[i], k):
                found, fitted = others, rest
                break
            needed.add(i)
        else:
            return found, fitted
