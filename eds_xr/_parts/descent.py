"""The descent of :mod:`eds_xr.nmf`: scores of every block, then the loadings, and again.

Counts and scores stay with the workers; only sums over pixels come back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from dask.base import compute, persist
from dask.delayed import delayed

from eds_xr._parts.counts import Rows, Sparse, groups

#: Steps that lower the deviance by less than this fraction creep: further on, the quickest
#: way down is a guide to the next one. Before that, it leads into poor minima.
CREEP = 1e-3
TINY = 1e-12


class Fit(NamedTuple):
    """Where a descent ended."""

    loadings: np.ndarray  # [channel, component; sum 1], float32
    weights: np.ndarray  # [component]: how much each explains
    deviance: float
    iterations: int
    converged: bool


def descend(rows: Rows, loadings: np.ndarray, loss: str, *, tol: float, max_iter: int) -> Fit:
    """Lower the deviance until a plain step lowers it by less than the fraction `tol`.

    Along the mixing of components the deviance is nearly flat and plain steps creep. Where they
    do, each goes on in the direction of the last one (Nesterov 1983), and starts anew from the
    best loadings when that stops helping (O'Donoghue & Candes 2015, Found. Comput. Math. 15, 715).
    """
    step, update = _LOSSES[loss]
    scores: Sequence[Any] = [None] * len(rows.blocks)
    trial = best = loadings
    weights, lowest, run, converged, iteration = loadings.sum(0), np.inf, 0, False, 0
    while not converged and iteration < max_iter:
        iteration += 1
        scores, sums = _sweep(rows, scores, trial, step)
        new, sizes, deviance = update(trial, sums, rows.counts)
        gain = (lowest - deviance) / max(abs(deviance), TINY)
        converged = gain < tol and run == 0
        creeps = tol <= gain < CREEP
        ahead = _extrapolate(new, best, run / (run + 3)) if creeps else None
        if deviance < lowest:
            best, weights, lowest = new, sizes, deviance
        trial, run = (best, 0) if ahead is None else (ahead, run + 1)
    return Fit(best, weights, lowest, iteration, converged)


def unit_columns(table: np.ndarray) -> np.ndarray:
    """Return non-negative columns brought to sum 1, as the kernels take them."""
    table = np.asarray(table, float)
    total = table.sum(0)
    return np.ascontiguousarray(table / np.where(total > 0, total, 1), dtype=np.float32)


def _sweep(
    rows: Rows, scores: Sequence[Any], loadings: np.ndarray, step: Callable[..., Any]
) -> tuple[Sequence[Any], tuple[Any, ...]]:
    """Solve all scores for the loadings and return them with the sums over pixels."""
    table = delayed(loadings)
    done = [
        delayed(step, nout=2)(block, w, table) for block, w in zip(rows.blocks, scores, strict=True)
    ]
    sums = [d[1] for d in done]
    while len(sums) > 1:
        sums = [delayed(_add)(group) for group in groups(sums, 16)]
    *kept, total = persist(*(d[0] for d in done), sums[0])
    (found,) = compute(total)
    return kept, found


def _extrapolate(new: np.ndarray, old: np.ndarray, factor: float) -> np.ndarray:
    """Return `new` moved on by `factor` of the way from `old`, nothing by more than half down."""
    return unit_columns(np.maximum(new + factor * (new - old), 0.5 * new))


def _add(parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(sum(values[1:], values[0]) for values in zip(*parts, strict=True))


def _poisson_update(
    loadings: np.ndarray, sums: Any, counts: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return better loadings, the counts of each component, and the deviance before the step."""
    from eds_xr._parts import poisson

    numerator, weights, likelihood, curvature = sums
    new = poisson.poisson_loadings(loadings, numerator, weights, curvature)
    return unit_columns(new), weights, float(2 * (likelihood + weights.sum() - counts))


def _frobenius_update(
    loadings: np.ndarray, sums: Any, counts: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """As :func:`_poisson_update`, for least squares."""
    from eds_xr._parts import poisson

    cross, gram, square = sums
    table = loadings.astype(float)
    error = square - 2 * (cross * table).sum() + (gram * (table.T @ table)).sum()
    new = poisson.frobenius_loadings(loadings, cross, gram)
    return unit_columns(new), np.sqrt(np.diag(gram)), float(error)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def project_block(block: Sparse, loadings: np.ndarray, loss: str) -> np.ndarray:
    """Return the scores ``[pixel, component]`` of a block for loadings that stay."""
    from eds_xr._parts import poisson

    scores = _even_scores(block, loadings.shape[1])
    if loss == "poisson":
        poisson.poisson_scores(*block, loadings, scores, 30)
    else:
        poisson.frobenius_scores(*block, loadings, scores)
    return scores


def _even_scores(block: Sparse, components: int) -> np.ndarray:
    """Return the start of a block's scores: each pixel's counts in equal shares."""
    totals = np.concatenate([[0.0], np.cumsum(block[2], dtype=np.float64)])
    pixel = totals[block[0][1:]] - totals[block[0][:-1]]
    return np.repeat(pixel[:, None] / components, components, axis=1).astype(np.float32)


def _poisson_step_block(block: Sparse, scores: np.ndarray | None, loadings: np.ndarray) -> Any:
    from eds_xr._parts import poisson

    first = scores is None
    w = _even_scores(block, loadings.shape[1]) if scores is None else scores.copy()
    poisson.poisson_scores(*block, loadings, w, 8 if first else 2)
    return w, poisson.poisson_sums(*block, loadings, w)


def _frobenius_step_block(block: Sparse, scores: np.ndarray | None, loadings: np.ndarray) -> Any:
    from eds_xr._parts import poisson

    w = _even_scores(block, loadings.shape[1]) if scores is None else scores.copy()
    poisson.frobenius_scores(*block, loadings, w)
    return w, poisson.frobenius_sums(*block, loadings.shape[0], w)


_LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "poisson": (_poisson_step_block, _poisson_update),
    "frobenius": (_frobenius_step_block, _frobenius_update),
}
