"""Spectra of phases as combinations of weighted sums of a whole map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eds_xr.schema import EdsError


class Refined(NamedTuple):
    """Refined spectra; every channel's counts, over phases, add up to those of the map."""

    counts: np.ndarray  # [phase, channel]
    covariance: np.ndarray  # [phase, phase_other, channel], of counting
    common: np.ndarray  # [mode, phase, channel]: independent errors that all channels share
    misfit: np.ndarray  # [phase]: of the given spectra about the refined ones, per channel


def refine(
    sums: np.ndarray, spread: np.ndarray, given: np.ndarray, noise: np.ndarray | None,
    shared: np.ndarray, names: Sequence[object],
) -> Refined:  # fmt: skip
    """Return the combinations of `sums` [phase, channel] that are nearest to `given` spectra.

    `spread` [phase, phase_other, channel] is the covariance of the sums, `noise` [phase, channel]
    the variance of the given spectra (None when they are exact), and `shared` [mode, phase,
    channel] the errors that their channels share.
    """
    mixing, solve = _mixing(sums, spread, given, exact=noise is None)
    size = _sizes(mixing, names)
    left = given - mixing @ sums
    moves = [*_moves_of_chance(left, solve), *(change @ solve for change in shared)]
    final = size[:, None] * mixing
    common = [_moved(mixing, size, move) @ sums for move in moves]
    covariance = np.einsum("pa,abc,qb->pqc", final, spread, final, optimize=True)
    return Refined(
        final @ sums,
        covariance,
        np.array(common).reshape(-1, *given.shape),
        _misfit(left, noise),
    )


def _mixing(
    sums: np.ndarray, spread: np.ndarray, given: np.ndarray, *, exact: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``T`` [phase, sum] of least squares ``given = T sums``, and what solves for it.

    Each channel is weighted by the inverse of all its counts. Noise of the sums that is not in
    the given spectra, too, adds to their squares, and is taken out of these.
    """
    weighted = sums * _weights(sums)
    square = weighted @ sums.T
    if exact:
        square = square - (spread * _weights(sums)).sum(axis=2)
    if not np.linalg.cond(square) < 1e10:
        raise EdsError(
            "the map does not tell these spectra apart: two are alike, or one of the phases is "
            "nowhere; leave one out"
        )
    solve = np.linalg.solve(square, weighted).T  # [channel, sum]
    return given @ solve, solve


def _weights(sums: np.ndarray) -> np.ndarray:
    total = sums.sum(axis=0)
    return np.where(total > 0, 1 / np.maximum(total, 1e-300), 0.0)


def _sizes(mixing: np.ndarray, names: Sequence[object]) -> np.ndarray:
    """Return the factor of each phase with which all together make up the whole map."""
    size = np.linalg.solve(mixing.T, np.ones(len(mixing)))
    if not (size > 0).all():
        none = ", ".join(str(n) for n, amount in zip(names, size, strict=True) if not amount > 0)
        raise EdsError(f"the map holds nothing of {none}: leave it out of the spectra")
    return np.asarray(size)


def _moves_of_chance(left: np.ndarray, solve: np.ndarray) -> list[np.ndarray]:
    """Return the independent errors of the mixing that the scatter of the fit makes.

    From the residuals themselves, channel by channel (White, Econometrica 48 (1980) 817): whatever
    makes the given spectra differ from the refined ones, chance or not, is in it.
    """
    phases = len(left)
    freedom = left.shape[1] / max(1, left.shape[1] - phases)
    scatter = np.einsum("pc,qc,ca,cb->paqb", left, left, solve, solve, optimize=True) * freedom
    values, vectors = np.linalg.eigh(scatter.reshape(phases**2, phases**2))
    return [
        (np.sqrt(value) * vector).reshape(phases, phases)
        for value, vector in zip(values, vectors.T, strict=True)
        if value > 1e-9 * values[-1]
    ]


def _moved(mixing: np.ndarray, size: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Return how the scaled mixing changes when the mixing moves, all counts staying the same."""
    resized = -np.linalg.solve(mixing.T, move.T @ size)
    return np.asarray(resized[:, None] * mixing + size[:, None] * move)


def _misfit(left: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    if noise is None:
        return np.full(len(left), np.nan)
    return np.array([(r[v > 0] ** 2 / v[v > 0]).mean() for r, v in zip(left, noise, strict=True)])
