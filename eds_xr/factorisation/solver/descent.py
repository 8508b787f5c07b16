"""The descent of :mod:`eds_xr.nmf`: scores of every block, then the loadings, and again.

Counts and scores stay with the workers; only sums over pixels come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from itertools import repeat
from operator import getitem
from typing import Any, NamedTuple

import numpy as np

from eds_xr.factorisation.solver.loadings import unit_columns
from eds_xr.factorisation.solver.prior import NO_PRIOR, Bound, Prior
from eds_xr.image.blocks import Rows, Sparse, add_delayed, add_sums, groups
from eds_xr.workers import calls, in_threads, task_name

#: Steps that lower the deviance by less than this fraction creep: further on, the quickest
#: way down is a guide to the next one. Before that, it leads into poor minima.
CREEP = 1e-3
#: Newton steps on the scores between two on the loadings: more at first, then they follow.
FIRST_STEPS, STEPS = 4, 2
#: Share of a pixel's counts that every component has at first: from zero there is no way back.
LEAST_SHARE = 0.02
TINY = 1e-12


class DescentResult(NamedTuple):
    """Where a descent ended."""

    loadings: np.ndarray  # [channel, component; sum 1], float32
    weights: np.ndarray  # [component]: how much each explains
    deviance: float  # infinite when interrupted before anything was known
    iterations: int
    converged: bool
    interrupted: bool = False


def descend(
    rows: Rows,
    loadings: np.ndarray,
    loss: str,
    *,
    tol: float,
    max_iter: int,
    fixed: np.ndarray | None = None,
    prior: Prior = NO_PRIOR,
    on_step: Callable[[int, float], None] | None = None,
    keep: Callable[[DescentResult], None] | None = None,
    iterations: int = 0,
) -> DescentResult:
    """Lower the deviance until a plain step lowers it by less than the fraction `tol`.

    Along the mixing of components the deviance is nearly flat and plain steps creep. Where they
    do, each goes on in the direction of the last one (Nesterov 1983), and starts anew from the
    best loadings when that stops helping (O'Donoghue & Candes 2015, Found. Comput. Math. 15, 715).

    The loadings of components marked in `fixed` [component; bool] stay. What `prior` wants of the
    scores adds to the deviance (Poisson loss). `on_step` takes the number of the iteration and the
    lowest deviance so far, `keep` where it stands; `iterations` were done before, in a run that was
    lost. An interruption (from the keyboard, or of a cluster's work) ends the
    descent with the best loadings found.
    """
    walk = _Descent(rows, loadings, loss, fixed, prior)
    walk.iteration = iterations
    try:
        while walk.iteration < max_iter and not walk.converged:
            walk.go_on(tol)
            if on_step is not None:
                on_step(walk.iteration, walk.lowest)
            if keep is not None:
                keep(walk.fit())
    except (KeyboardInterrupt, CancelledError):
        return walk.fit(interrupted=True)
    return walk.fit()


class _Descent:
    """The state of a descent between two steps."""

    def __init__(
        self,
        rows: Rows,
        loadings: np.ndarray,
        loss: str,
        fixed: np.ndarray | None,
        prior: Prior,
    ) -> None:
        self._rows, self._prior, (self._step, self._update) = rows, prior, _LOSSES[loss]
        self._fixed = np.zeros(loadings.shape[1], bool) if fixed is None else np.asarray(fixed)
        self._scores: Sequence[Any] = [None] * len(rows.blocks)
        self._trial = self._best = loadings
        self._weights, self._run = loadings.sum(0), 0
        self.lowest, self.iteration, self.converged = np.inf, 0, False

    def go_on(self, tol: float) -> None:
        """Solve the scores for the trial loadings, and find the next ones."""
        bounds = self._prior.quadratic_bounds()
        scores, sums = _sweep(self._rows, self._scores, self._trial, bounds, self._step)
        new, sizes, deviance = self._update(self._trial, sums, self._rows.counts, self._fixed)
        deviance += self._prior.update(scores)
        gain = (self.lowest - deviance) / max(abs(deviance), TINY)
        ahead = None
        if tol <= gain < CREEP:  # go on as in the last step, nothing by more than half down
            moved = new + (self._run + 2) / (self._run + 5) * (new - self._best)
            ahead = np.where(self._fixed, self._best, unit_columns(np.maximum(moved, 0.5 * new)))
        self.converged = gain < tol and (self._run == 0 or gain >= 0)
        if deviance < self.lowest:
            self._best, self._weights, self.lowest = new, sizes, deviance
        self._trial, self._run = (self._best, 0) if ahead is None else (ahead, self._run + 1)
        self._scores, self.iteration = scores, self.iteration + 1

    def fit(self, *, interrupted: bool = False) -> DescentResult:
        """Return the best so far."""
        return DescentResult(
            self._best, self._weights, self.lowest, self.iteration, self.converged, interrupted
        )


def _sweep(
    rows: Rows,
    scores: Sequence[Any],
    loadings: np.ndarray,
    bounds: Iterable[Bound | None],
    step: Callable[..., Any],
) -> tuple[Sequence[Any], Any]:
    """Solve all scores for the loadings and return them with the sums over pixels."""
    if isinstance(rows.blocks[0], tuple):  # in this process
        kept, total = [], None
        for w, sums in in_threads(step, rows.blocks, scores, repeat(loadings), bounds):
            kept.append(w)
            total = sums if total is None else add_sums((total, sums))
        return kept, total
    from dask.base import compute, persist
    from dask.delayed import delayed

    table = delayed(loadings)  # at the workers, or still to be read
    done = calls(step, zip(rows.blocks, scores, repeat(table), bounds, strict=False))
    solved = calls(getitem, [(one, 0) for one in done])
    sums = calls(_add_sums_of_steps, [(list(some),) for some in groups(done, 16)])
    *kept, total = persist(*solved, add_delayed(sums))
    return kept, compute(total)[0]


def _poisson_update(
    loadings: np.ndarray, sums: Any, counts: float, fixed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return better loadings, the counts of each component, and the deviance before the step."""
    from eds_xr.factorisation.solver import poisson

    curvature, weights, likelihood, bounded = sums
    # columns of sum 1 balance the weights at the maximum; a prior shifts that balance
    balance = poisson.explained(loadings, curvature) if bounded else weights
    new = unit_columns(poisson.poisson_loadings(loadings, curvature, balance, fixed))
    new = np.where(fixed, loadings, new)
    return new, weights, float(2 * (likelihood + weights.sum() - counts))


def _frobenius_update(
    loadings: np.ndarray, sums: Any, counts: float, fixed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """As :func:`_poisson_update`, for least squares."""
    from eds_xr.factorisation.solver import least_squares

    cross, gram, square = sums
    table = loadings.astype(float)
    error = square - 2 * (cross * table).sum() + (gram * (table.T @ table)).sum()
    new = unit_columns(least_squares.frobenius_loadings(loadings, cross, gram, fixed))
    return np.where(fixed, loadings, new), np.sqrt(np.diag(gram)), float(error)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("NMF scores")
def project_block(block: Sparse, loadings: np.ndarray, loss: str) -> np.ndarray:
    """Return the scores ``[pixel, component]`` of a block for loadings that stay."""
    from eds_xr.factorisation.solver import least_squares, poisson

    scores = _first_scores_block(block, loadings)
    if loss == "poisson":
        poisson.poisson_scores(*block, loadings, scores, 30)
        scores = _of_all_counts(block, scores)  # of all scales the likeliest
    else:
        least_squares.frobenius_scores(*block, loadings, scores)
    return scores


@task_name("NMF scores")
def _first_scores_block(block: Sparse, loadings: np.ndarray) -> np.ndarray:
    """Return the start of a block's scores: weighted least squares, each at least a trace.

    The weights are those of an even mixture, so that all pixels share one linear map.
    """
    from eds_xr.factorisation.solver import poisson
    from eds_xr.image import count_kernels

    table = loadings.astype(float)
    scaled = table / np.maximum(table.mean(axis=1), 1e-9)[:, None]
    linear = np.linalg.pinv(table.T @ scaled, rcond=1e-6, hermitian=True) @ scaled.T
    scores = np.empty((block[0].size - 1, table.shape[1]), np.float32)
    poisson.linear_scores(*block, linear.astype(np.float32), scores)
    total = count_kernels.pixel_totals(block[0], block[2])[:, None]
    return _of_all_counts(block, np.maximum(scores, LEAST_SHARE * total))


def _of_all_counts(block: Sparse, scores: np.ndarray) -> np.ndarray:
    """Return scores scaled to add up to the counts of their pixel."""
    from eds_xr.image import count_kernels

    total = count_kernels.pixel_totals(block[0], block[2])[:, None]
    return scores * (total / np.maximum(scores.sum(axis=1, keepdims=True), TINY))


@task_name("sums of spectra")
def _add_sums_of_steps(steps: Sequence[tuple[np.ndarray, tuple[Any, ...]]]) -> tuple[Any, ...]:
    return add_sums([sums for _, sums in steps])


@task_name("NMF step")
def _poisson_step_block(
    block: Sparse, scores: np.ndarray | None, loadings: np.ndarray, bound: Bound | None
) -> Any:
    from eds_xr.factorisation.solver import poisson

    w = _first_scores_block(block, loadings) if scores is None else scores.copy()
    steps = FIRST_STEPS if scores is None else STEPS
    sums = poisson.poisson_step(*block, loadings, w, steps, *(bound or ()))
    return w, (*sums, bound is not None)


@task_name("NMF step")
def _frobenius_step_block(
    block: Sparse, scores: np.ndarray | None, loadings: np.ndarray, bound: Bound | None
) -> Any:
    from eds_xr.factorisation.solver import least_squares

    w = _first_scores_block(block, loadings) if scores is None else scores.copy()
    least_squares.frobenius_scores(*block, loadings, w)
    return w, least_squares.frobenius_sums(*block, loadings.shape[0], w)


_LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "poisson": (_poisson_step_block, _poisson_update),
    "frobenius": (_frobenius_step_block, _frobenius_update),
}
