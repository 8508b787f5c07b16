"""Poisson fit of candidate elements, background and doubts about the model to one spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eds_xr.spectra.identification.candidates import SHARED, Candidate

#: What axis and detector may differ from the calibration by, for all peaks alike, as standard
#: deviations: place [keV], gain, noise (relative variance), share of counts in a tail.
AXIS_DOUBT = (0.005, 0.001, 0.1, 0.015)
#: What may be off at any place as wide as a peak, as a share of the counts there.
_PEAK_ERROR = 0.005
#: Doubts that change the fit by less than this many standard deviations are left out.
_LEAST_DOUBT = 0.5
#: A mean is no lower than this share of peaks and background, whatever the doubts take away.
_LEAST_MEAN = 0.2
_MOST_STEPS = 15
#: What is added to the squares of columns of unit length. Doubts may hold all but a millionth of a
#: column; what is left is rounding then, and squares made of rounding errors may be negative.
RIDGE = 1e-6
#: A fit ends when a step changes its deviance by less.
_CONVERGED = 0.05


@dataclass(frozen=True)
class Spectrum:
    """What is fitted.

    Attributes
    ----------
    counts : ndarray [bin]
    excess : ndarray [bin]
        Variance beyond the mean's. A difference of spectra scatters more than its counts say: the
        excess is added to counts and model, and the sum scatters as Poisson's law has it.
    smooth : ndarray [bin, term]
        What is there without elements: background and sum peaks, of positive amounts.
    places : ndarray [bin, place]
        Where the model may be off, in shares of it; a standard deviation each.
    bumps : ndarray [bin, place]
        Places as wide as a peak, where lines may be that no table has.
    axis : (float, float, float, float)
        What axis and detector may be off by, see `AXIS_DOUBT`.
    """

    counts: np.ndarray
    excess: np.ndarray
    smooth: np.ndarray
    places: np.ndarray
    bumps: np.ndarray
    axis: tuple[float, float, float, float] = AXIS_DOUBT


@dataclass(frozen=True)
class Point:
    """Mean [channel], the part of it without doubts and excess, and amounts of each element."""

    mean: np.ndarray
    certain: np.ndarray
    amounts: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class LikelihoodFit:
    """A fit, and what it was free to do.

    ``columns`` [channel, free parameter] are what the last step of least squares was free to do,
    ``held`` is 1 for doubts, which are expected to be 0 +- 1; ``owner`` tells which element a
    column belongs to (-1: none). ``deviance`` includes the penalty of the doubts. ``axis`` is by
    how much axis and detector depart from the calibration.
    """

    chosen: tuple[Candidate, ...]
    point: Point
    deviance: float
    columns: np.ndarray
    held: np.ndarray
    owner: np.ndarray
    axis: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean [channel]."""
        return self.point.mean

    @property
    def amounts(self) -> tuple[np.ndarray, ...]:
        """Amounts of the families of each element."""
        return self.point.amounts


def fit(
    spectrum: Spectrum, chosen: Sequence[Candidate], start: LikelihoodFit | None = None
) -> LikelihoodFit:
    """Fit elements to a spectrum: maximum likelihood, by iterated least squares.

    Amounts of elements and background are not negative; elements stay within the cone of their
    corners. Doubts are held by their standard deviations. `start` is a fit of similar elements.
    """
    peaks = [(c.shapes @ c.corners).T for c in chosen]
    columns = np.vstack([*peaks, spectrum.smooth.T])
    sizes = [len(x) for x in (*peaks, spectrum.smooth.T)]
    owner = np.repeat([*range(len(chosen)), -1], sizes)
    doubtful = _doubtful(spectrum, chosen)
    here = _start(spectrum, chosen, start)
    before = np.inf
    for _ in range(_MOST_STEPS):
        doubts, doubted, shared = doubtful.at(here)
        positive, free = _solve(spectrum.counts, columns, doubts, here.mean)
        here = _point(spectrum, chosen, positive @ columns, free @ doubts, positive)
        deviance = _deviance(spectrum.counts + spectrum.excess, here.mean) + float(free @ free)
        if abs(before - deviance) < _CONVERGED:
            break
        before = deviance
    used = positive > 0
    return LikelihoodFit(
        chosen=tuple(chosen),
        point=here,
        deviance=deviance,
        columns=np.vstack([columns[used], doubts]).T,
        held=np.append(np.zeros(used.sum()), np.ones(free.size)),
        owner=np.append(owner[used], doubted),
        axis=_spread(free, shared) * spectrum.axis,
    )


def _spread(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return the first values where they are there, 0 elsewhere."""
    found = np.zeros(there.size)
    found[there] = values[: there.sum()]
    return found


def _start(spectrum: Spectrum, chosen: Sequence[Candidate], start: LikelihoodFit | None) -> Point:
    """Return where a fit begins: elements that `start` lacks have no amounts yet."""
    if start is None:
        mean = first_mean(spectrum)
        return Point(
            mean, mean - spectrum.excess, tuple(np.zeros(c.shapes.shape[1]) for c in chosen)
        )
    known = {c.element: a for c, a in zip(start.chosen, start.amounts, strict=True)}
    amounts = tuple(known.get(c.element, np.zeros(c.shapes.shape[1])) for c in chosen)
    return Point(start.mean, start.point.certain, amounts)


def _point(
    spectrum: Spectrum, chosen: Sequence[Candidate], certain: np.ndarray, doubted: np.ndarray,
    positive: np.ndarray,
) -> Point:  # fmt: skip
    mean = np.maximum(certain + doubted, _LEAST_MEAN * certain) + spectrum.excess
    parts = np.split(positive, np.cumsum([c.corners.shape[1] for c in chosen]))
    amounts = tuple(c.corners @ part for c, part in zip(chosen, parts[:-1], strict=True))
    return Point(np.maximum(mean, 1e-6), certain, amounts)


def first_mean(spectrum: Spectrum) -> np.ndarray:
    """Return a guess of the mean, smoothed counts."""
    from scipy.ndimage import gaussian_filter1d

    total = np.maximum(spectrum.counts + spectrum.excess, 0)
    smooth = gaussian_filter1d(total, 4.0, mode="nearest")
    return np.maximum(smooth, 0.05 * max(float(total.mean()), 1.0))


def _solve(
    counts: np.ndarray, columns: np.ndarray, doubts: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return one step of least squares: positive amounts of columns, free ones of doubts.

    Both stand row by row here [column, bin].
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    weight = 1 / np.sqrt(mean)
    n = len(columns)
    both = np.vstack([columns, doubts])
    both *= weight
    length = np.maximum(np.linalg.norm(both[:n], axis=1), 1e-300)
    both[:n] /= length[:, None]
    gram, pull = both @ both.T, both @ (counts * weight)
    inner = gram[n:, n:]
    inner[np.diag_indices_from(inner)] += 1
    root = np.linalg.cholesky(inner)
    known = np.column_stack([gram[n:, :n], pull[n:]])
    cross = solve_triangular(root, known, lower=True, check_finite=False)
    rest = gram[:n, :n] - cross[:, :n].T @ cross[:, :n]
    turn = np.linalg.cholesky(rest + RIDGE * np.eye(n))
    aim = solve_triangular(turn, pull[:n] - cross[:, :n].T @ cross[:, n], lower=True)
    amounts, _ = nnls(turn.T, aim, maxiter=50 * n)
    left = cross[:, n] - cross[:, :n] @ amounts
    free = solve_triangular(root, left, trans="T", lower=True, check_finite=False)
    return amounts / length, free


@dataclass(frozen=True)
class _Doubtful:
    """What a fit may do beside its columns, for amounts of 1; one row each [..., bin].

    ``changes`` [family, change, bin] and ``unknown`` [family, bin] of all families of the elements;
    ``rows`` are bumps, then places, then what each family may differ by: ``family`` [doubt] of the
    last, and the element ``owner`` [row] (-1: all).
    """

    axis: np.ndarray
    changes: np.ndarray
    unknown: np.ndarray
    rows: np.ndarray
    squares: np.ndarray
    ends: tuple[int, int]
    family: np.ndarray
    owner: np.ndarray

    def at(self, here: Point) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what changes the fit by more than little [doubt, bin], whose it is (-1: all).

        And which changes of the axis are among it, as the first of all.
        """
        values, inverse = np.concatenate([np.zeros(0), *here.amounts]), 1 / here.mean
        shared = self.axis[:, None] * np.tensordot(values, self.changes, 1)
        errors = np.hypot(_PEAK_ERROR * here.certain, values @ self.unknown)
        bumps, places = self.ends
        felt = _LEAST_DOUBT**2 < np.concatenate(
            [
                shared**2 @ inverse,
                self.squares[:bumps] @ (errors**2 * inverse),
                self.squares[bumps:places] @ (here.certain**2 * inverse),
                values[self.family] ** 2 * (self.squares[places:] @ inverse),
            ]
        )
        on_axis, there = felt[: len(shared)], felt[len(shared) :]
        rows = np.vstack([shared[on_axis], self.rows[there]])
        first = int(on_axis.sum())
        one, two = first + int(there[:bumps].sum()), first + int(there[:places].sum())
        rows[first:one] *= errors
        rows[one:two] *= here.certain
        rows[two:] *= values[self.family[there[places:]], None]
        return rows, np.append(np.full(first, -1), self.owner[there]), on_axis


def _doubtful(spectrum: Spectrum, chosen: Sequence[Candidate]) -> _Doubtful:
    """Return what a fit of elements may do beside its columns."""
    bins = spectrum.counts.size
    doubts = [rows for one in chosen for rows in one.doubts]
    sizes = [len(rows) for rows in doubts]
    element = np.repeat(np.arange(len(chosen)), [len(one.doubts) for one in chosen])
    rows = np.vstack([spectrum.bumps.T, spectrum.places.T, *doubts])
    ends = spectrum.bumps.shape[1], spectrum.bumps.shape[1] + spectrum.places.shape[1]
    family = np.repeat(np.arange(len(doubts)), sizes)
    return _Doubtful(
        np.array(spectrum.axis),
        np.concatenate([np.zeros((0, len(SHARED), bins)), *(c.changes[:, SHARED] for c in chosen)]),
        np.vstack([np.zeros((0, bins)), *(c.unknown.T for c in chosen)]),
        rows,
        rows**2,
        ends,
        family,
        np.append(np.full(ends[1], -1), element[family]),
    )


def _deviance(counts: np.ndarray, mean: np.ndarray) -> float:
    from scipy.special import xlogy

    counts = np.maximum(counts, 0)
    return float(2 * (mean - counts + xlogy(counts, counts / mean)).sum())
