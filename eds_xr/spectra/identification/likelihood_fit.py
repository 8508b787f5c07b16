"""Poisson fit of candidate elements, background and doubts about the model to one spectrum."""

from __future__ import annotations

import itertools
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
    peaks = [c.shapes @ c.corners for c in chosen]
    columns = np.hstack([*peaks, spectrum.smooth])
    owner = np.repeat([*range(len(chosen)), -1], [x.shape[1] for x in [*peaks, spectrum.smooth]])
    here = _start(spectrum, chosen, start)
    before = np.inf
    for _ in range(_MOST_STEPS):
        doubts, doubted, shared = _doubts(spectrum, chosen, here)
        positive, free = _solve(spectrum.counts, columns, doubts, here.mean)
        here = _point(spectrum, chosen, columns @ positive, doubts @ free, positive)
        deviance = _deviance(spectrum.counts + spectrum.excess, here.mean) + float(free @ free)
        if abs(before - deviance) < _CONVERGED:
            break
        before = deviance
    used = positive > 0
    return LikelihoodFit(
        chosen=tuple(chosen),
        point=here,
        deviance=deviance,
        columns=np.hstack([columns[:, used], doubts]),
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
    """Return one step of least squares: positive amounts of columns, free ones of doubts."""
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    weight = 1 / np.sqrt(mean)
    n = columns.shape[1]
    both = np.hstack([columns, doubts]) * weight[:, None]
    length = np.maximum(np.linalg.norm(both[:, :n], axis=0), 1e-300)
    both[:, :n] /= length
    gram, pull = both.T @ both, both.T @ (counts * weight)
    root = np.linalg.cholesky(gram[n:, n:] + np.eye(doubts.shape[1]))
    cross = solve_triangular(root, np.column_stack([gram[n:, :n], pull[n:]]), lower=True)
    rest = gram[:n, :n] - cross[:, :n].T @ cross[:, :n]
    turn = np.linalg.cholesky(rest + RIDGE * np.eye(n))
    aim = solve_triangular(turn, pull[:n] - cross[:, :n].T @ cross[:, n], lower=True)
    amounts, _ = nnls(turn.T, aim, maxiter=50 * n)
    free = solve_triangular(root.T, cross[:, n] - cross[:, :n] @ amounts)
    return amounts / length, free


def _doubts(
    spectrum: Spectrum, chosen: Sequence[Candidate], here: Point
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the fit may do beside its columns [bin, doubt], whose it is (-1: all).

    And which changes of the axis are among it, as the first of all.
    """
    shared, unknown = np.zeros((len(spectrum.axis), here.mean.size)), np.zeros_like(here.mean)
    own: list[list[np.ndarray]] = []
    for one, values in zip(chosen, here.amounts, strict=True):
        shared += np.tensordot(values, one.changes[:, SHARED], 1)
        unknown += one.unknown @ values
        there = [amount * d for amount, d in zip(values, one.doubts, strict=True) if amount > 0]
        own.append(there)
    errors = np.hypot(_PEAK_ERROR * here.certain, unknown)
    parts = [
        np.array(spectrum.axis)[:, None] * shared,
        errors * spectrum.bumps.T,
        here.certain * spectrum.places.T,
    ]
    rows = np.vstack([*parts, *itertools.chain(*own)])
    sizes = [sum(len(x) for x in parts), *(sum(len(x) for x in there) for there in own)]
    owner = np.repeat([-1, *range(len(chosen))], sizes)
    felt = np.einsum("ij,ij,j->i", rows, rows, 1 / here.mean) > _LEAST_DOUBT**2
    return rows[felt].T, owner[felt], felt[: len(spectrum.axis)]


def _deviance(counts: np.ndarray, mean: np.ndarray) -> float:
    from scipy.special import xlogy

    counts = np.maximum(counts, 0)
    return float(2 * (mean - counts + xlogy(counts, counts / mean)).sum())
