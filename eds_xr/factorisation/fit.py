"""One factorisation of counts that were read: start, binned image, full image, purest mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.chunks import FACTORS, as_chunked
from eds_xr.factorisation.bins import bin_size, binned
from eds_xr.factorisation.checkpoint import Checkpoint
from eds_xr.factorisation.fine_scores import smaller_bins, thinned_grid, unbiased_scores
from eds_xr.factorisation.one_read import MEMORY_SHARE, finest_grid, read_once
from eds_xr.factorisation.purest.continuum import line_channels
from eds_xr.factorisation.purest.least_volume import purest_turn
from eds_xr.factorisation.purest.ray_ends import Grid
from eds_xr.factorisation.rank_evidence import Evidence, choose_rank
from eds_xr.factorisation.solver.descent import DescentResult, descend, project_block
from eds_xr.factorisation.solver.loadings import as_table, check_loadings, unit_columns
from eds_xr.factorisation.solver.prior import NO_PRIOR, SmoothSparse
from eds_xr.factorisation.solver.start import hold_first, start_loadings
from eds_xr.image.blocks import Rows, Sparse, of_each_block, split_rows, weighted
from eds_xr.image.stored_sums import summed_pixels
from eds_xr.schema import COMPONENT, EdsError, check_one_of, check_spectrum_image, one_mask
from eds_xr.workers import memory, task_name

#: In how many blocks the coarse image is worked on.
COARSE_BLOCKS = 4
#: How much smaller the tolerance is on the coarse image, where steps are cheap.
ROUGH_TOL = 25
#: Steps on the scores alone, once the loadings are found: each spreads smoothness by a pixel.
SCORE_STEPS = 60
#: Pixels or bins, at most about, in which the purest mixture is sought.
MOST_SCORES = 100_000

OnStep = Callable[[int, float], None] | None


class NmfOptions(NamedTuple):
    """How to factorise: the options of :func:`eds_xr.nmf`."""

    loss: str = "poisson"
    weighting: str = "auto"
    mixing: str = "purest"
    init: str | xr.DataArray | xr.Dataset = "scaled"
    fixed: xr.DataArray | None = None
    mask: xr.DataArray | None = None
    smoothness: float = 0.0
    sparsity: float = 0.0
    tol: float = 5e-5
    max_iter: int = 60


class NmfTask(NamedTuple):
    """An image that was read once, ready to be factorised from any start."""

    image: xr.DataArray
    rows: Rows  # counts in bins of pixels, or in pixels
    fine: Rows | None  # in smaller bins, where these hold enough
    fitted: Rows  # what loadings are fitted to: the same, or weighted
    coarse: np.ndarray  # few large bins [bin, channel; counts]
    pixels: Rows | None  # where a prior shapes the scores
    rank: int
    evidence: Evidence | None  # for the rank, where the data chose it; that of suggest_rank
    recipe: NmfOptions
    start: str | xr.DataArray
    fixed: np.ndarray | None  # [channel, component], on the scale that the descent works on
    valid: np.ndarray | None  # [*spatial]; None means all
    root: np.ndarray | None  # of the mean spectrum, where that is divided out

    @property
    def weighted(self) -> bool:
        """Whether counts are divided by the roots of mean image and mean spectrum."""
        return self.root is not None

    @property
    def purest(self) -> bool:
        """Whether the purest mixture is chosen: among counts, with nothing held."""
        are_counts = self.recipe.loss == "poisson" or self.weighted
        return self.recipe.mixing == "purest" and are_counts and self.fixed is None

    @property
    def held(self) -> np.ndarray:
        """Which components stay as they are: the first ones ``[component; bool]``."""
        return np.arange(self.rank) < (0 if self.fixed is None else self.fixed.shape[1])


class NmfSolution(NamedTuple):
    """What came out."""

    loadings: np.ndarray  # [channel, component; sum 1]
    maps: np.ndarray | None  # scores [*spatial, component], where a prior shaped them
    fit: DescentResult
    ends_at: list[str] | None  # of each component, where the purest mixture was chosen


def prepare(image: xr.DataArray, n_components: int | str, recipe: NmfOptions) -> NmfTask:
    """Check everything, and read the image."""
    check_spectrum_image(image)
    valid = None if recipe.mask is None else one_mask(image, recipe.mask).values
    _check_recipe(recipe)
    if recipe.fixed is not None:
        check_loadings(recipe.fixed, image, "fixed spectra")
    start = recipe.init
    if isinstance(start, xr.Dataset):
        if "loadings" not in start:
            raise EdsError(f"expected an earlier result of nmf as init, found {list(start)}")
        start = start["loadings"]
        n_components = start.sizes[COMPONENT] if n_components == "auto" else n_components
    image = as_chunked(image)
    whole = recipe.weighting == "auto" and image.dtype.kind in "ui"
    weigh = recipe.loss == "frobenius" and (recipe.weighting == "poisson" or whole)
    in_bins = recipe.mixing == "purest" and (recipe.loss == "poisson" or weigh)
    shaped = bool(recipe.smoothness or recipe.sparsity)
    full, coarse, more = _read(image, valid, stored_sums=in_bins and not shaped)
    rank, evidence = choose_rank(n_components, image, coarse)
    if any(n < m for n, m in zip(full.shape, finest_grid(image.shape).bins, strict=True)):
        evidence = None  # suggest_rank looks at sums of fewer pixels
    fixed = None if recipe.fixed is None else _fixed_table(recipe.fixed, rank)
    rows = fitted = full
    if in_bins and more > 1:
        rows = fitted = binned(full, more, MEMORY_SHARE * memory(), coarse.sum(0) / full.pixels)
    root = np.sqrt(coarse.sum(0) / coarse.sum()) if weigh else None
    if root is not None:
        fitted = weighted(rows, _inverse(root))
        fixed = None if fixed is None else unit_columns(fixed * _inverse(root)[:, None])
    pixels = full if shaped else None
    fine = smaller_bins(full, more) if in_bins and more > 1 else None
    return NmfTask(
        image, rows, fine, fitted, coarse, pixels, rank, evidence, recipe, start, fixed, valid, root
    )


def solve(task: NmfTask, seed: int, on_step: OnStep, checkpoint: Path | None = None) -> NmfSolution:
    """Factorise what was read."""
    if seed < 0:
        raise EdsError(f"expected seed >= 0, found {seed!r}")
    fit = _descended(task, seed, on_step, _checkpoint(task, seed, checkpoint))
    order = np.argsort(-np.where(task.held, np.inf, fit.weights), kind="stable")  # strongest first
    table = np.ascontiguousarray(fit.loadings[:, order])  # kernels are compiled for one order
    if task.root is not None:
        table = unit_columns(table * task.root[:, None])
    ends_at = None
    if task.purest:
        scores, grid = _all_scores(task.rows, table)
        turn, ends_at = purest_turn(
            scores,
            table.T.astype(float),
            grid=grid,
            fine=unbiased_scores(task.fine, table, task.coarse.sum(0), MOST_SCORES),
            line_channels=line_channels(task.image),
        )
        table = unit_columns((turn @ table.T).T.clip(min=0))
    return NmfSolution(table, _maps(task, table), fit, ends_at)


def _descended(
    task: NmfTask, seed: int, on_step: OnStep, checkpoint: Checkpoint | None
) -> DescentResult:
    """Return where the descent ends: on few large bins first, then on all that was read."""
    recipe, done = task.recipe, None if checkpoint is None else checkpoint.read()
    if done is not None and (done.converged or done.iterations >= recipe.max_iter):
        return done
    lower = partial(descend, loss=recipe.loss, fixed=task.held)
    start = _start(task, seed) if done is None else done.loadings
    if done is None and not isinstance(recipe.init, xr.Dataset):
        tol, steps = recipe.tol / ROUGH_TOL, 3 * recipe.max_iter
        coarse = split_rows(task.coarse, COARSE_BLOCKS)
        coarse = coarse if task.root is None else weighted(coarse, _inverse(task.root))
        fit = lower(coarse, start, tol=tol, max_iter=steps)
        if fit.interrupted:
            return fit
        start = fit.loadings
    shaped = task.pixels is not None and recipe.mixing == "free"
    return lower(
        task.fitted,
        start,
        prior=_prior(task) if shaped else NO_PRIOR,
        on_step=on_step,
        keep=None if checkpoint is None else checkpoint.write,
        iterations=0 if done is None else done.iterations,
        tol=recipe.tol,
        max_iter=recipe.max_iter,
    )


def _checkpoint(task: NmfTask, seed: int, path: Path | None) -> Checkpoint | None:
    """Return the file of a descent, which may be longer or finer than the one before."""
    if path is None:
        return None
    recipe = task.recipe._replace(tol=0.0, max_iter=0, fixed=None, mask=None, init="")
    start = task.start if isinstance(task.start, str) else task.start.values
    of = (task.image.shape, task.rank, seed, f"{task.fitted.counts:.6e}", *recipe)
    valid = None if task.valid is None else np.packbits(task.valid)
    return Checkpoint(path, *of, start, task.fixed, valid)


def _check_recipe(recipe: NmfOptions) -> None:
    check_one_of(recipe.loss, ("poisson", "frobenius"), "loss")
    check_one_of(recipe.weighting, ("auto", "poisson", "none"), "weighting")
    check_one_of(recipe.mixing, ("purest", "free"), "mixing")
    if isinstance(recipe.init, str):
        check_one_of(recipe.init, ("scaled", "random"), "init")
    if recipe.max_iter < 1:
        raise EdsError(f"expected max_iter >= 1, found {recipe.max_iter!r}")
    if not (recipe.smoothness >= 0 and recipe.sparsity >= 0):
        raise EdsError(
            "expected smoothness >= 0 and sparsity >= 0, found "
            f"{recipe.smoothness!r} and {recipe.sparsity!r}"
        )
    if (recipe.smoothness or recipe.sparsity) and recipe.loss != "poisson":
        raise EdsError("smoothness and sparsity go with loss='poisson'")


def _fixed_table(fixed: xr.DataArray, rank: int) -> np.ndarray:
    count = fixed.sizes[COMPONENT]
    if count >= rank:
        raise EdsError(
            f"{count} fixed spectra leave none of {rank} components free; ask for more components, "
            "or use unmix when all are known"
        )
    return as_table(fixed)


def _read(
    image: xr.DataArray, valid: np.ndarray | None, *, stored_sums: bool
) -> tuple[Rows, np.ndarray, int]:
    """Return counts, a few large bins, and how many counts a side to sum for bins that hold enough.

    With `stored_sums` the counts may be sums of pixels already.
    """
    if valid is not None:  # a pixel without counts adds nothing to any sum
        image = image.where(xr.DataArray(valid, dims=image.dims[:-1]), 0)
    share = 1.0 if valid is None else np.count_nonzero(valid) / valid.size
    summed, size = summed_pixels(image, FACTORS[-1]) if stored_sums else (image, 1)
    full, coarse = read_once(summed)
    if size > (wanted := bin_size(image.shape[:-1], full.counts)):  # too coarse
        summed, size = summed_pixels(image, wanted)
        full, coarse = read_once(summed)
    return full, coarse, bin_size(image.shape[:-1], full.counts / share) // size


def _inverse(root: np.ndarray) -> np.ndarray:
    """Return 1 / root, and nothing for channels without counts."""
    return np.divide(1, root, out=np.zeros_like(root), where=root > 0)


def _start(task: NmfTask, seed: int) -> np.ndarray:
    """Return the first loadings, on the scale that the descent works on."""
    scaled = "poisson" if task.weighted else task.recipe.loss
    start = start_loadings(task.coarse, task.rank, loss=scaled, init=task.start, seed=seed)
    if task.root is not None:
        start = unit_columns(start * _inverse(task.root)[:, None])
    return hold_first(start, task.fixed)


def _prior(task: NmfTask) -> SmoothSparse:
    recipe, full = task.recipe, task.pixels
    assert full is not None
    valid = np.ones(full.shape, bool) if task.valid is None else task.valid
    mean = full.counts / np.count_nonzero(valid)
    return SmoothSparse(recipe.smoothness, recipe.sparsity, full.places, valid, mean)


def _maps(task: NmfTask, table: np.ndarray) -> np.ndarray | None:
    """Return the scores that a prior shapes, for loadings that stay."""
    if task.pixels is None:
        return None
    prior, stay = _prior(task), np.ones(task.rank, bool)
    fit = partial(descend, task.pixels, table, "poisson", fixed=stay, prior=prior)
    fit(tol=task.recipe.tol, max_iter=SCORE_STEPS)
    return prior.maps


def _all_scores(rows: Rows, table: np.ndarray) -> tuple[np.ndarray, Grid]:
    """Return the scores of all rows, evenly thinned, and where they lie."""
    from dask.base import compute

    every = -(-rows.pixels // MOST_SCORES)
    scores = np.concatenate(compute(*of_each_block(_few_scores_block, rows, table, every)))
    return scores, thinned_grid(rows, every)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("NMF scores")
def _few_scores_block(block: Sparse, table: np.ndarray, every: int) -> np.ndarray:
    return project_block(block, table, "poisson")[::every]
