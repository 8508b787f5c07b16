"""Non-negative matrix factorisation of counts.

The image ``X[pixel, energy]`` is modelled as ``W H``: scores (counts a pixel) times loadings
(spectra that sum to 1). The image is read once: what stays are its non-zero counts, a few bytes
each, and a spatially binned copy on which the start is found and refined before the full image.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.cluster.supervision import computes
from eds_xr.factorisation.fit import NmfOptions, NmfSolution, NmfTask, prepare, solve
from eds_xr.factorisation.scores import lazy_scores, named_scores
from eds_xr.factorisation.solver.loadings import as_loadings
from eds_xr.progress import counting
from eds_xr.schema import COMPONENT, EdsError

#: Dimension of :func:`nmf_spread`: one fit a seed.
SEED = "seed"


@computes
def nmf(
    image: xr.DataArray,
    n_components: int | str = "auto",
    *,
    loss: str = "poisson",
    weighting: str = "auto",
    mixing: str = "purest",
    init: str | xr.DataArray | xr.Dataset = "scaled",
    fixed: xr.DataArray | None = None,
    mask: xr.DataArray | None = None,
    smoothness: float = 0.0,
    sparsity: float = 0.0,
    seed: int = 0,
    tol: float = 5e-5,
    max_iter: int = 60,
    checkpoint: str | os.PathLike[str] | None = None,
) -> xr.Dataset:
    """Factorise a spectrum image into scores and loadings.

    Computes: reads `image` once (or its sums of pixels, where its store holds them: see
    :func:`eds_xr.convert`) and iterates on its non-zero counts, which stay with the workers. The
    scores of the result are lazy.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
        Select a range of energy first to fit on part of the spectrum,
        ``image.sel(energy=slice(0.3, 4.4))``.
    n_components : int or "auto"
        Number of components; "auto" takes all that are no noise, the ``possible`` ones of
        :func:`eds_xr.suggest_rank`: thickness and background may be among them, see
        :func:`eds_xr.component_kinds`.
    loss : {"poisson", "frobenius"}
        "poisson" is the likelihood of counts (Kullback-Leibler divergence). "frobenius" is least
        squares.
    weighting : {"auto", "poisson", "none"}
        Of the frobenius loss. "poisson" divides by the roots of mean image and mean spectrum
        first (Keenan & Kotula 2004, Surf. Interface Anal. 36, 203); "none" is for signals that
        are not counts, as on counts it loses weak phases. "auto" is "poisson" for integers.
    mixing : {"purest", "free"}
        ``W H`` stays nearly the same when components mix. "purest" fits the loadings to bins of
        some hundred counts, where noise misleads them less, and chooses among nearly equal
        solutions the one with the purest pixels, as :func:`eds_xr.purest` does (nothing fixed);
        "free" fits every pixel for itself and leaves the loadings where the descent ended, at
        the greatest likelihood. Signals that are not counts are always fitted so.
    init : {"scaled", "random"}, DataArray [component, energy] or Dataset
        Start of the loadings: a factorisation of the binned image with Poisson scaling, chance,
        or spectra of your own. Without weighting the scaled start is not scaled. An earlier
        result goes on where it ended (warm restart).
    fixed : DataArray [component, energy], optional
        Known spectra that stay as they are; they are the first components of the result, under
        their own names. For all components known see :func:`eds_xr.unmix`.
    mask : DataArray of bool [*spatial], optional
        Pixels to fit on; scores are given for all.
    smoothness, sparsity : float
        Weights of two terms added to half the deviance (Poisson loss)::

            smoothness / (2 m) * sum over neighbours i, j of |w_i - w_j|**2
                + sparsity * sum over pixels i, components q of log(1 + w_iq)

        where ``w_i`` are a pixel's scores in counts and ``m`` is the mean number of counts a
        pixel. At 1 a difference between neighbours weighs as much as one between a pixel and its
        counts, and a component must explain about one count to be worth having. The score maps
        are then held in memory (4 bytes a pixel and component).
    seed : int
        Seed of whatever is random.
    tol : float
        The fit ends when a step lowers the deviance by less than this fraction. A lower deviance
        is not a truer loading: further steps fit the noise and let components mix.
    max_iter : int
        Largest number of steps on the full image; the binned one takes up to three times that.
    checkpoint : path, optional
        Small file on this machine that holds the state after every step on the full image. Where
        it exists, of the same image and options, the fit goes on from there: of a run that was
        killed, or whose cluster was lost, one step is repeated at most. A fit that ends removes
        it, an interrupted one keeps it.

    Returns
    -------
    Dataset
        ``scores`` [*spatial, component; counts], lazy; ``loadings`` [component, energy; sum 1],
        strongest component first; attributes ``loss``, ``deviance`` (of what the loadings
        were fitted to, before the choice among mixtures, penalties included; for the frobenius
        loss the sum of squares), ``iterations``,
        ``converged``, ``interrupted``, ``seed``, and of the purest mixture ``ends_at``, as of
        :func:`eds_xr.purest`. Scores are of the same loss, those of a weighted
        fit of the Poisson loss that it approximates. After Ctrl-C the last complete state is
        returned, ``interrupted`` is 1.

    Raises
    ------
    EdsError
        For an image without energy axis, NaN or negative values, no counts at all, a mask on
        another grid, a number of components that the image cannot hold, a start of another
        shape, or a checkpoint of another fit.

    Notes
    -----
    Each step solves the scores of every pixel by Newton's method and takes one step of Newton's
    on every channel of the loadings, each with a length that cannot overshoot. Where steps become
    small they gain momentum, as mixing of components changes the deviance little.
    """
    recipe = NmfOptions(
        loss, weighting, mixing, init, fixed, mask, smoothness, sparsity, tol, max_iter
    )
    place = None if checkpoint is None else Path(checkpoint).expanduser()
    return nmf_of_task(prepare(image, n_components, recipe), seed, place)


def nmf_of_task(task: NmfTask, seed: int, checkpoint: Path | None = None) -> xr.Dataset:
    """Return what :func:`nmf` does of an image that was read."""
    with counting("NMF") as on_step:
        solution = solve(task, seed, on_step, checkpoint)
    if checkpoint is not None and not solution.fit.interrupted:
        checkpoint.unlink(missing_ok=True)
    return _result(task, solution, "nmf", seed)


@computes
def nmf_spread(
    image: xr.DataArray,
    n_components: int | str = "auto",
    *,
    seeds: int | Sequence[int] = 5,
    **options: Any,
) -> xr.Dataset:
    """Factorise from several random starts, and tell how far the results differ.

    Computes: reads `image` once for all of them.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    n_components : int or "auto"
    seeds : int or sequence of int
        How many starts, or their seeds.
    **options
        Those of :func:`nmf`; `init` is "random" unless given.

    Returns
    -------
    Dataset
        As of :func:`nmf` for the start that ended lowest, and over ``seed``: ``deviance``
        [seed], ``angle_deg`` [seed, component] between each loading and its counterpart of the
        lowest; ``loadings_std`` [component, energy] is the standard deviation over the starts.

    Raises
    ------
    EdsError
        As :func:`nmf`, and for no seeds at all.
    """
    numbers = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not numbers:
        raise EdsError("expected at least one seed, found none")
    unknown = sorted(set(options) - set(NmfOptions._fields))
    if unknown:
        raise EdsError(
            f"nmf has no option {', '.join(unknown)}; it has {', '.join(NmfOptions._fields)}"
        )
    task = prepare(image, n_components, NmfOptions(**{"init": "random", **options}))
    found: list[NmfSolution] = []
    with counting("NMF") as on_step:
        for seed in numbers:
            found.append(solve(task, seed, on_step))
            if found[-1].fit.interrupted:
                break
    best = min(range(len(found)), key=lambda i: found[i].fit.deviance)
    result = _result(task, found[best], "nmf_spread", numbers[best])
    return result.assign(_spread(result["loadings"], found, numbers))


def _result(task: NmfTask, solution: NmfSolution, step: str, seed: int) -> xr.Dataset:
    recipe, image = task.recipe, task.image
    spectra = as_loadings(solution.loadings, image, recipe.fixed)
    told = {k: v for k, v in recipe._asdict().items() if k not in ("init", "fixed", "mask")}
    fit = solution.fit
    ends = {} if solution.ends_at is None else {"ends_at": solution.ends_at}
    return xr.Dataset(
        {"scores": _scores(task, solution, spectra), "loadings": spectra},
        attrs=provenance.with_step(image.attrs, step, n_components=task.rank, **told, seed=seed)
        | {
            "loss": recipe.loss,
            "seed": seed,
            "deviance": fit.deviance,
            "iterations": fit.iterations,
            "converged": int(fit.converged),
            "interrupted": int(fit.interrupted),
        }
        | ends,
    )


def _scores(task: NmfTask, solution: NmfSolution, spectra: xr.DataArray) -> xr.DataArray:
    """Return the scores of the fit, lazily; those that a prior shaped are at hand."""
    plain = lazy_scores(task.image, spectra, "poisson" if task.weighted else task.recipe.loss)
    if solution.maps is None:
        return plain
    import dask.array as da

    shaped = plain.copy(data=da.from_array(solution.maps, chunks=plain.chunks))
    if task.valid is None:
        return shaped
    where = xr.DataArray(task.valid, dims=plain.dims[:-1])
    return named_scores(xr.where(where, shaped, plain, keep_attrs=False), spectra)


def _spread(
    loadings: xr.DataArray, found: list[NmfSolution], seeds: list[int]
) -> dict[str, xr.DataArray]:
    """Return how far the loadings of several starts are from those of the best."""
    best = loadings.values
    matched = np.stack([_in_order_of(best, s.loadings.T.astype(float)) for s in found])
    apart = np.linalg.norm(_unit(matched) - _unit(best), axis=2)  # arccos is blind near zero
    each = {SEED: seeds[: len(found)]}
    return {
        "deviance": xr.DataArray([s.fit.deviance for s in found], coords=each, dims=SEED),
        "angle_deg": xr.DataArray(
            np.degrees(2 * np.arcsin(apart / 2)),
            coords=each | {COMPONENT: loadings[COMPONENT]},
            dims=(SEED, COMPONENT),
            attrs={"units": "degree", "long_name": "angle to the loading of the best start"},
        ),
        "loadings_std": loadings.copy(data=matched.std(axis=0)).assign_attrs(
            long_name="standard deviation of the loading over starts"
        ),
    }


def _unit(spectra: np.ndarray) -> np.ndarray:
    return spectra / np.linalg.norm(spectra, axis=-1, keepdims=True)


def _in_order_of(best: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Return spectra ``[component, channel]`` in the order of those they are most like."""
    from scipy.optimize import linear_sum_assignment

    _, order = linear_sum_assignment(-_unit(best) @ _unit(spectra).T)
    return spectra[order]
