"""Where the energy axis of a spectrum lies, looked for without knowing its elements."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eds_xr.spectra.identification.candidates import make_candidates
from eds_xr.spectra.identification.channels import bin_starts, summed
from eds_xr.spectra.shapes.families import Calibration, Shapes
from eds_xr.xray.detector import peak_sigma_kev
from eds_xr.xray.elements import SELDOM
from eds_xr.xray.own_detector import TYPICAL, OwnDetector

#: How much more likely an element is before the spectrum is seen when it is expected, or known to
#: come from microscope and preparation. It decides between elements that the data cannot tell.
PRIOR_ODDS = 10.0
#: How much less likely is an element that few samples are made of, unless it is expected.
SELDOM_ODDS = 1 / 30
#: The same of carbon, which no spectrum of an electron microscope lacks; M lines of Rh, Pd and Ag
#: stand at its place.
CARBON_ODDS = 1e4

#: How far the axis is looked for: true energy less that of the axis at zero [keV], and gain.
OFFSETS_KEV, GAINS = np.arange(-3, 4) * 0.016, 1 + np.arange(-3, 4) * 0.004
#: Before a spectrum is seen its axis is expected to be right within this [keV, gain], though it may
#: be far off: both have the distribution of Cauchy.
_EXPECTED = (0.005, 0.001)
#: Error of peaks and background, as a share of the counts; chi-squared that an element has to gain.
_MODEL_ERROR, _PRICE = 0.03, 25.0
#: Elements that place the axis, at most: on all axes tried, and on those looked at closely.
_FEW_ELEMENTS, _MOST_ELEMENTS = 6, 12
#: How many of the best places are looked at more closely, how far apart [keV], and how closely: in
#: steps of the first.
_CLOSER, _APART_KEV, _STEPS = 3, 0.03, (0.5, 0.25, 0.125)
#: An axis is not looked at when its score is worse than the best by this.
_HOPELESS = 300.0
#: Another axis is as good when its score is worse by less than this, and it lies so far off [keV].
_AS_GOOD, _ELSEWHERE_KEV = 8.0, 0.03
#: Chi-squared for each bin on an axis that is right, at most, with such an error of the model.
_MOST_CHI2, _COARSE_ERROR = 1.5, 0.1


@dataclass(frozen=True)
class Axis:
    """An axis and the elements that place it.

    ``score``: chi-squared that their fit leaves, with their price and that of the axis; ``chi2``:
    what it leaves for each bin; ``lines_kev``: between these stand most counts of their lines.
    """

    gain: float
    offset_kev: float
    score: float
    elements: tuple[int, ...]
    chi2: float
    lines_kev: tuple[float, float]

    def off_kev(self, other: Axis) -> float:
        """Return by how much two axes differ where lines are, at most [keV]."""
        gain, offset = self.gain - other.gain, self.offset_kev - other.offset_kev
        return max(abs(gain * energy + offset) for energy in self.lines_kev)


@dataclass(frozen=True)
class Pattern:
    """What is looked for: bins of the true energy, by their edges, and what fills them.

    ``columns`` [bin, column] of background and elements, ``owner`` [column] is the number of the
    element (-1: background), ``log_odds`` [element].
    """

    edges: np.ndarray
    columns: np.ndarray
    owner: np.ndarray
    log_odds: np.ndarray


def make_pattern(
    elements: Sequence[str], likely: Collection[str], range_kev: tuple[float, float],
    resolution_mnka_ev: float, beam_kev: float, detector: OwnDetector = TYPICAL,
) -> tuple[Pattern, list[str]]:  # fmt: skip
    """Return what the elements look like between two energies, and those that are seen."""
    step = 0.01
    energy = np.arange(*range_kev, step)
    starts = bin_starts(energy, resolution_mnka_ev)
    nominal = Calibration(noise_kev2=float(peak_sigma_kev(0.0, resolution_mnka_ev) ** 2))
    candidates = make_candidates(elements, energy, starts, nominal, beam_kev, detector)
    smooth = summed(Shapes(energy, [], nominal, beam_kev, detector=detector).design, starts)
    parts = [smooth / smooth.sum(axis=0), *(c.shapes @ c.corners for c in candidates)]
    pattern = Pattern(
        np.append(energy[starts], energy[-1] + step) - step / 2,
        np.hstack(parts),
        np.repeat(np.arange(-1, len(candidates)), [p.shape[1] for p in parts]),
        np.log(prior_odds([c.element for c in candidates], likely)),
    )
    return pattern, [c.element for c in candidates]


def prior_odds(elements: Sequence[str], likely: Collection[str]) -> np.ndarray:
    """Return how much more likely than others each element is before the spectrum is seen."""
    odds = [
        PRIOR_ODDS if element in likely else SELDOM_ODDS if element in SELDOM else 1.0
        for element in elements
    ]
    return np.where(np.array(elements) == "C", CARBON_ODDS, odds)


class AxisSearch:
    """Fits of elements to a spectrum on axes that differ from the one that it came with.

    Bins and shapes stand on the true energy, the counts are moved; bins where they have moved
    off do not count.
    """

    def __init__(
        self, energy: np.ndarray, counts: np.ndarray, variance: np.ndarray, pattern: Pattern
    ) -> None:
        from scipy.interpolate import PchipInterpolator

        step = (energy[-1] - energy[0]) / (energy.size - 1)
        self.edges = np.append(energy - step / 2, energy[-1] + step / 2)
        # smooth within channels: constant density there would widen peaks of coarse channels
        below = np.cumsum(np.stack([counts, variance], axis=1), axis=0)
        below = np.vstack([np.zeros((1, 2)), below])
        self.below = PchipInterpolator(self.edges, below)
        self.pattern = pattern

    def find(self) -> list[Axis]:
        """Return axes that fit well, best first: local optima, looked at closely."""
        grid = [[self.at(g, o, _FEW_ELEMENTS) for o in OFFSETS_KEV] for g in GAINS]
        score = np.array([[x.score for x in row] for row in grid])
        best: list[Axis] = []
        for i, j in sorted(np.ndindex(score.shape), key=lambda place: score[place]):
            far = all(grid[i][j].off_kev(x) > _APART_KEV for x in best)
            if far and len(best) < _CLOSER and score[i, j] < score.min() + _HOPELESS:
                best.append(grid[i][j])
        return sorted((self._closer(x) for x in best), key=lambda x: x.score)

    def doubt(self, found: Sequence[Axis]) -> str:
        """Return why the best of the axes found is not to be believed, "" where it is."""
        best = found[0]
        far = abs(best.offset_kev) > OFFSETS_KEV[-1] or abs(best.gain - 1) > GAINS[-1] - 1
        if not best.elements:
            return "no peak stands out"
        if far or best.chi2 > _MOST_CHI2:
            return (
                f"no elements fit its peaks within {1000 * OFFSETS_KEV[-1]:.0f} eV and "
                f"{100 * (GAINS[-1] - 1):.1f} % of the axis that it came with"
            )
        others = [x for x in found[1:] if x.score < best.score + _AS_GOOD]
        if any(best.off_kev(x) > _ELSEWHERE_KEV for x in others):
            return "elements fit its few peaks on more than one axis"
        return ""

    def _closer(self, axis: Axis) -> Axis:
        """Return the best axis near one."""
        axis = self.at(axis.gain, axis.offset_kev)
        for part in _STEPS:
            wide = part * (GAINS[1] - GAINS[0]), part * (OFFSETS_KEV[1] - OFFSETS_KEV[0])
            around = [
                self.at(axis.gain + i * wide[0], axis.offset_kev + j * wide[1])
                for i, j in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, -1), (-1, 1))
            ]
            axis = min([axis, *around], key=lambda x: x.score)
        return axis

    def at(self, gain: float, offset_kev: float, most: int = _MOST_ELEMENTS) -> Axis:
        """Fit elements on an axis, the strongest first, until none explains much more."""
        columns, values, level = self._weighted(gain, offset_kev)
        gram, pull = columns.T @ columns, columns.T @ values
        owner, log_odds = self.pattern.owner, self.pattern.log_odds
        chosen: list[int] = []
        while True:
            known = np.isin(owner, [-1, *chosen])
            active = np.flatnonzero(known)
            amounts, gains = _fit(gram, pull, active)
            worth = np.where(known, 0.0, gains + 2 * np.append(log_odds, 0)[owner])
            best = int(np.argmax(worth))
            if worth[best] < _PRICE or len(chosen) == most:
                break
            chosen.append(int(owner[best]))
        left = values @ values - amounts @ (
            2 * pull[active] - gram[np.ix_(active, active)] @ amounts
        )
        off = np.array([offset_kev, gain - 1]) / _EXPECTED
        expected = 2 * float(np.log1p(off**2).sum())
        price = _PRICE * len(chosen) - 2 * float(log_odds[chosen].sum())
        price += int((columns == 0).all(axis=1).sum())  # each bin off the axis as if it fitted
        return Axis(
            gain,
            offset_kev,
            float(left) + price + expected,
            tuple(chosen),
            _misfit(values - columns[:, active] @ amounts, level),
            self._most_lines_kev(active[owner[active] >= 0], amounts[owner[active] >= 0]),
        )

    def _most_lines_kev(self, columns: np.ndarray, amounts: np.ndarray) -> tuple[float, float]:
        edges = self.pattern.edges
        counts = np.cumsum(self.pattern.columns[:, columns] @ amounts)
        low, high = (int(np.searchsorted(counts, q * counts[-1])) for q in (0.1, 0.9))
        return float(edges[low]), float(edges[high])

    def _weighted(
        self, gain: float, offset_kev: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return columns and counts, both over the errors of the counts, and their variance."""
        at = np.clip((self.pattern.edges - offset_kev) / gain, self.edges[0], self.edges[-1])
        counts, variance = np.diff(self.below(at), axis=0).T
        level = np.convolve(np.pad(variance, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid") + 1
        first, last = gain * self.edges[[0, -1]] + offset_kev
        seen = (self.pattern.edges[:-1] >= first) & (self.pattern.edges[1:] <= last)
        weight = np.where(seen, 1 / np.sqrt(level + (_MODEL_ERROR * level) ** 2), 0.0)
        return self.pattern.columns * weight[:, None], counts * weight, level


def shifted(calibration: Calibration, axis: np.ndarray) -> Calibration:
    """Return a calibration moved by what a fit says of the axis: see `LikelihoodFit.axis`."""
    shift, gain, noise = axis[:3].tolist()
    return replace(
        calibration,
        gain=calibration.gain * (1 - gain),
        offset_kev=calibration.offset_kev * (1 - gain) - shift,
        noise_kev2=calibration.noise_kev2 * float(np.clip(1 + noise, 0.5, 2.0)),
    )


def _misfit(left: np.ndarray, level: np.ndarray) -> float:
    """Return chi-squared a bin of what a fit leaves, with the error of a coarse model."""
    return float(np.mean(left**2 * (1 + _MODEL_ERROR**2 * level) / (1 + _COARSE_ERROR**2 * level)))


def _fit(gram: np.ndarray, pull: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positive amounts of active columns, and by how much each other one lowers the sum."""
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    unit = gram[active] / np.outer(scale[active], scale)
    root = np.linalg.cholesky(unit[:, active] + 1e-8 * np.eye(active.size))
    aim = solve_triangular(root, pull[active] / scale[active], lower=True)
    amounts, _ = nnls(root.T, aim)
    left = pull / scale - amounts @ unit
    used = np.flatnonzero(amounts > 0)
    part = np.linalg.cholesky(unit[np.ix_(used, active[used])] + 1e-8 * np.eye(used.size))
    known = solve_triangular(part, unit[used], lower=True)
    own = 1 - (known**2).sum(axis=0)
    gains = np.where(left > 0, left, 0) ** 2 / np.maximum(own, 1e-2)
    return amounts / scale[active], gains
