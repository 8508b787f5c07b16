"""Verdicts on elements: found or not, evidence, net counts, and aliases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eds_xr.spectra.identification.candidates import Candidate
from eds_xr.spectra.identification.likelihood_fit import LikelihoodFit
from eds_xr.spectra.identification.search import PLENTY, VISIBLE, Search, chance_of_noise, evidence

#: An element that is not found is an alias when others give this share of the counts at its line;
#: each that gives the lesser share is named.
_EXPLAINED, _NAMED = 0.5, 0.1
#: Rivals of a weak element: how many are tried, how alike (cosine) one of their lines of at least
#: this share of its family must be to its telling line.
_MOST_RIVALS, _ALIKE, _STRONG = 4, 0.25, 0.2


@dataclass(frozen=True)
class Finding:
    """What one spectrum says of one element; see :func:`eds_xr.identify`."""

    verdict: str
    evidence: float = math.nan
    sigma: float = math.nan
    chance: float = math.nan
    line: str = ""
    net: float = math.nan
    variance: float = math.nan
    systematic: float = math.nan
    detection_limit: float = math.nan
    misfit: float = math.nan
    alias: tuple[str, ...] = ()
    replaced: Mapping[str, float] | None = None


class Reading:
    """The verdict on each element, read from the last fit."""

    def __init__(
        self, search: Search, found: Sequence[int], fitted: LikelihoodFit, false_alarm: float
    ) -> None:
        self.search, self.found, self.false_alarm = search, found, false_alarm
        self.names = [c.element for c in search.candidates]
        self.fitted, self.mean = fitted, fitted.mean
        self.around = search.around(fitted)
        self.beside = self.around.gains()
        self.instead = [self.around.gains(k) for k in range(len(found))]
        self.misfit = search.misfit(fitted, np.zeros(len(self.names)))
        self.evidence = evidence(search, found, fitted)

    def findings(self, asked: Sequence[str]) -> dict[str, Finding]:
        """Return what is said of each element found or asked for."""
        result = {self.names[i]: self._found(k, i) for k, i in enumerate(self.found)}
        for element in asked:
            if element not in self.names:
                result[element] = Finding("out of range")
            elif element not in result:
                result[element] = self._missing(self.names.index(element))
        return result

    def _found(self, k: int, i: int) -> Finding:
        weak = self.evidence[k] < PLENTY
        ratio = self._replaced_weak(k, i) if weak else self._replaced_strong(k, i)
        ratio[[j for j in self.found if j != i]] = math.nan
        least = math.log(self.false_alarm)
        close = [j for j in np.argsort(-ratio, kind="stable") if ratio[j] > least and j != i]
        return self._finding(
            "found",
            i,
            self.evidence[k],
            without=k,
            alias=tuple(self.names[j] for j in close),
            replaced=dict(zip(self.names, ratio.tolist(), strict=True)),
        )

    def _replaced_strong(self, k: int, i: int) -> np.ndarray:
        """Return the log likelihood ratio of each candidate in the place of one, second order."""
        new = self.instead[k] - self.beside  # not what a candidate mends elsewhere
        return (new - new[i]) / self.misfit[i] / 2

    def _replaced_weak(self, k: int, i: int) -> np.ndarray:
        """Return the same by fits of those with a line at the same place; few counts need that."""
        ratio = np.full(len(self.names), -self.evidence[k] / 2)
        ratio[i] = 0.0
        for j in self._rivals(k, i):
            swapped = [*self.found[:k], j, *self.found[k + 1 :]]
            lost = self.search.fit(swapped, self.fitted).deviance - self.fitted.deviance
            ratio[j] = -(lost + self.beside[j]) / self.misfit[i] / 2
        return ratio

    def _rivals(self, k: int, i: int) -> list[int]:
        """Return the candidates with a strong line most like the telling one of an element."""
        peak = self._peak(i, k)
        alike = np.zeros(len(self.names))
        for j, one in enumerate(self.search.candidates):
            strong = [n for n, (_, _, share) in enumerate(one.lines) if share > _STRONG]
            if j not in self.found and strong:
                others = one.peaks[:, strong]
                length = np.linalg.norm(others, axis=0) * np.linalg.norm(peak)
                alike[j] = (peak @ others / length).max()
        order = np.argsort(-alike, kind="stable")[:_MOST_RIVALS]
        return [j for j in order.tolist() if alike[j] > _ALIKE]

    def _peak(self, i: int, without: int | None) -> np.ndarray:
        """Return the counts of the telling line in each channel."""
        name, _, _ = self._line(i, without)
        one = self.search.candidates[i]
        return one.peaks[:, [line[0] for line in one.lines].index(name)]

    def _missing(self, i: int) -> Finding:
        peak = self._peak(i, None)
        shares = {}
        for j, amounts in zip(self.found, self.fitted.amounts, strict=True):
            counts = self.search.candidates[j].shapes @ amounts
            shares[self.names[j]] = float(peak @ (counts / self.mean) / peak.sum())
        explained = sum(shares.values()) >= _EXPLAINED
        others = sorted((e for e in shares if shares[e] >= _NAMED), key=lambda e: -shares[e])
        return self._finding(
            "alias" if explained else "not found",
            i,
            self.beside[i] / self.misfit[i],
            alias=tuple(others) if explained else (),
        )

    def _line(self, i: int, without: int | None) -> tuple[str, float, tuple[float, float, float]]:
        """Return the telling line, its share of its family; the family's amount and variances."""
        one = self.search.candidates[i]
        amounts, whole, counting = self.around.amounts(one.shapes, without)
        name, family, share = _telling_line(one, amounts, np.sqrt(whole))
        return name, share, (float(amounts[family]), float(whole[family]), float(counting[family]))

    def _finding(
        self, verdict: str, i: int, gain: float, *, without: int | None = None,
        alias: tuple[str, ...] = (), replaced: Mapping[str, float] | None = None,
    ) -> Finding:  # fmt: skip
        from scipy.special import ndtri

        name, share, (amount, whole, counting) = self._line(i, without)
        variance = share**2 * counting
        missing = verdict != "found"
        chance = float(chance_of_noise(np.array(gain), self.search.size[i]))
        return Finding(
            verdict,
            evidence=gain / 2,
            sigma=float(max(0.0, -ndtri(chance))) if chance > 1e-290 else math.sqrt(gain),
            chance=float(-np.expm1(len(self.names) * np.log1p(-min(chance, 1 - 1e-12)))),
            line=name,
            net=share * amount,
            variance=variance,
            systematic=math.sqrt(max(0.0, share**2 * whole - variance)),
            detection_limit=2.71 + 3.29 * math.sqrt(variance) if missing else math.nan,
            misfit=float(self.misfit[i]),
            alias=alias,
            replaced=replaced,
        )


def _telling_line(
    one: Candidate, amounts: np.ndarray, spread: np.ndarray
) -> tuple[str, int, float]:
    """Return the line by which the element is best seen, or best would be.

    Of families half as telling as the best, the hardest: the least absorbed.
    """
    clear, expected = amounts / spread, one.corners.mean(axis=1) / spread
    seen = clear.max() > VISIBLE
    worth = clear if seen else expected
    least = max(worth.max() / 2, VISIBLE) if seen else worth.max() / 2
    within = [line for line in one.lines if worth[line[1]] >= least]
    family = min(line[1] for line in within or one.lines)
    return max((x for x in one.lines if x[1] == family), key=lambda line: line[2])
