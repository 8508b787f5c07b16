"""What the intervals of an analysis really hold: it is carried out again on simulated images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import xarray as xr

from eds_xr.analysis.analyse import analysed, factors_of_lines, quantified
from eds_xr.analysis.any_sample.tree import plain
from eds_xr.analysis.recipe import Recipe
from eds_xr.analysis.self_check.bootstrap import ImageModel, image_model
from eds_xr.analysis.self_check.coverage import WAYS, Drawn, coverage, drawn, widened
from eds_xr.cluster.supervision import computes
from eds_xr.progress import track, warn
from eds_xr.provenance import history, with_step
from eds_xr.schema import ELEMENT, PHASE, EdsError, spatial_dims, texts_of
from eds_xr.workers import cluster, task_name

#: The group of the tree that holds what is found.
COVERAGE = "coverage"
#: With fewer simulations nothing can be said of 95 %.
LEAST_DRAWS = 5


@computes
def check(
    tree: xr.DataTree, *, draws: int = 20, seed: int = 0, binned: int | None = None
) -> xr.DataTree:
    """Find what the intervals of an analysis really hold, and widen those that hold too little.

    Computes: the whole road `draws` times, on images of at most 128 x 128 pixels; minutes. On a
    cluster each worker takes one image, otherwise they come one after another. An interruption
    keeps what is done.

    Images are drawn from the model that was fitted to this very image: the phases' fitted spectra,
    their counts place by place, Poisson's law (a parametric bootstrap; B. Efron and R. J.
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6). Each is analysed by the recipe
    that was given, its open choices open: identification, the number of phases, their places, what
    is subtracted. As the truth of such an image is known, it is counted how often each 95 %
    interval holds it.

    What all draws have in common is not seen: errors of k-factors, of tabulated lines and of the
    detector's model, phases that vary in composition, and what the image has beside the model
    (the group ``check``, and strangers, tell of that).

    Parameters
    ----------
    tree : DataTree
        From :func:`eds_xr.analyse`, with its compositions.
    draws : int
        Images, 5 or more; 20 tell 95 % from 70 %, 100 from 88 %.
    seed : int
    binned : int, optional
        Pixels a side that are taken together; default leaves at most 128 x 128. All counts stay,
        but pixels hold more of them than the image's: errors of the choice of pixels come out
        somewhat smaller.

    Returns
    -------
    DataTree
        As `tree`, with the group ``coverage`` [way, phase, element]: ``covered``, the share of the
        95 % intervals that hold the truth, with its binomial ``covered_sd``; ``bias`` and
        ``bias_sd`` of the atomic fraction; ``spread``, the standard deviation of the draws over
        that stated; ``draws``, in how many the number was given; ``failed`` where misses are too
        many for chance (1 %); ``widening``. Numbers that failed have larger errors in
        ``composition`` and ``refined_composition``, as the effect ``simulation``, and a ``doubt``
        that says so; so do the warnings.

    Raises
    ------
    EdsError
        For a tree without compositions, too few draws, or `binned` that is no number of pixels.

    Examples
    --------
    >>> from eds_xr import analyse, simulate
    >>> tree = analyse(simulate.spectrum_image((48, 48, 1024), 200.0))      # doctest: +SKIP
    >>> check(tree)["coverage"].covered                                     # doctest: +SKIP
    """
    if COVERAGE in tree.children:
        raise EdsError(
            "these intervals are checked already, and those that failed are widened; check the "
            "tree of eds_xr.analyse"
        )
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < LEAST_DRAWS:
        raise EdsError(f"draws must be a number of {LEAST_DRAWS} or more, found {draws!r}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise EdsError(f"seed must be 0 or more, found {seed!r}")
    if "composition" not in tree.children:
        raise EdsError(
            "expected an analysis with compositions, found none to check; the tree's warnings say "
            "why there is none"
        )
    model, recipe = image_model(tree, binned), _recipe_of(tree)
    known = model.lines.sel({PHASE: tree["composition"].to_dataset()[PHASE].values})
    truth = quantified(known, factors_of_lines(recipe), recipe)
    made = _draws(tree, model, truth, recipe, int(draws), int(seed))
    found = coverage(made, truth)
    return _with_coverage(tree, found, draws=len(made), seed=int(seed), binned=model.binned)


def _recipe_of(tree: xr.DataTree) -> Recipe:
    """Return the recipe that was given, without what belongs to the image alone."""
    given = [str(s["recipe"]) for s in history(tree) if s.get("step") == "analyse"]
    if not given:
        raise EdsError("the tree's history has no step analyse: there is no recipe to go by")
    recipe = Recipe.from_toml(given[-1], source="the recipe of the analysis")
    done = Recipe.from_toml(str(tree.attrs["recipe"]), source="the recipe of the analysis")
    if recipe.segmentation.scribbles is not None:  # painted on the image's own pixels
        recipe = replace(done, segmentation=replace(done.segmentation, scribbles=None))
    if recipe.quantification.k_factors is not None:
        recipe = replace(recipe, quantification=done.quantification)
    return replace(recipe, instrument=replace(recipe.instrument, hole=None, hole_scale=None))


def _draws(
    tree: xr.DataTree, model: ImageModel, truth: xr.Dataset, recipe: Recipe, draws: int, seed: int
) -> list[Drawn]:
    """Return what the road makes of each image; fewer after an interruption."""
    present = _present_of(model, tree)
    made: dict[int, Drawn] = {}
    try:
        many = _each(model, present, truth, recipe, [(seed, i) for i in range(draws)])
        for i, one in track(many, "simulations of the image", total=draws):
            made[i] = one
    except KeyboardInterrupt:
        if len(made) < LEAST_DRAWS:
            raise
        warn(f"interrupted after {len(made)} of {draws} simulations, which are what is told of")
    return [made[i] for i in sorted(made)]


def _each(
    model: ImageModel, present: xr.DataArray, truth: xr.Dataset, recipe: Recipe,
    seeds: list[tuple[int, int]],
) -> Iterator[tuple[int, Drawn]]:  # fmt: skip
    """Yield the number of each image and what becomes of it, in the order in which they end."""
    client = cluster()
    if client is None:
        for i, one in enumerate(seeds):
            yield i, _one_draw(model, present, truth, recipe, one)
        return
    from dask.delayed import delayed
    from distributed import as_completed

    parts = [delayed(v, traverse=False) for v in (model, present, truth, recipe)]
    late = delayed(_one_draw_alone)
    futures = client.compute([late(*parts, one) for one in seeds])
    order = {f.key: i for i, f in enumerate(futures)}
    for future in as_completed(futures):
        yield order[future.key], future.result()


@task_name("simulation and its analysis")
def _one_draw_alone(
    model: ImageModel, present: xr.DataArray, truth: xr.Dataset, recipe: Recipe,
    seed: tuple[int, int],
) -> Drawn:  # fmt: skip
    """Analyse one drawn image in the worker's thread: it must not wait for other workers."""
    import dask

    with dask.config.set(scheduler="synchronous"):
        return _one_draw(model, present, truth, recipe, seed)


def _one_draw(
    model: ImageModel, present: xr.DataArray, truth: xr.Dataset, recipe: Recipe,
    seed: tuple[int, int],
) -> Drawn:  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = analysed(model.draw(seed), recipe, _silent)
        except EdsError:  # a draw of which the road makes nothing gives no number
            tree = xr.DataTree()
        return drawn(tree, present, truth)


def _silent(message: str) -> None:
    """Tell nobody."""


def _present_of(model: ImageModel, tree: xr.DataTree) -> xr.DataArray:
    """Return where the phases of the model are, by its amounts ``[phase, *spatial; bool]``."""
    names = tree["segmentation"].to_dataset()[PHASE].values.tolist()
    amounts = model.amounts.sel({PHASE: [n for n in names if n in model.amounts[PHASE].values]})
    dims = spatial_dims(model.amounts)
    return (amounts > 0).transpose(PHASE, *dims)


def _with_coverage(tree: xr.DataTree, found: xr.Dataset, **told: int) -> xr.DataTree:
    """Return a tree with its coverage, intervals that hold, and warnings of those that did not."""
    groups = {n: node.to_dataset() for n, node in tree.children.items()}
    for way in (w for w in WAYS if w in groups):
        groups[way] = plain(widened(groups[way], found.sel({"way": way}, drop=True)))
    found = found.assign_attrs(told)
    groups[COVERAGE] = plain(found)
    made = xr.DataTree.from_dict(groups)
    attrs = with_step({str(k): v for k, v in tree.attrs.items()}, "check", **told)
    warned = [*texts_of(tree.attrs, "warnings"), *said(found)]
    made.attrs = {**attrs, "warnings": list(dict.fromkeys(warned))}
    return made


def said(found: xr.Dataset) -> list[str]:
    """Say which intervals failed, a phase and a way at a time, and what few draws give."""
    notes, drawn_images = [], int(found.attrs.get("draws", found["draws"].max()))
    for phase in found[PHASE].values.tolist():
        given = int(found["draws"].sel({PHASE: phase, "way": WAYS[0]}).max())
        if 2 * given < drawn_images:
            notes.append(
                f"{phase}: {given} of {drawn_images} simulations of this image give it a "
                "composition: that it has one is chance"
            )
        for way in found["way"].values.tolist():
            one = found.sel({"way": way, PHASE: phase})
            names = one[ELEMENT].values[one.failed.values].tolist()
            if names:
                worst = float(one.sel({ELEMENT: names}).covered.min())
                notes.append(
                    f"{phase}: in simulations of this image 95 % intervals of {', '.join(names)} "
                    f"({way.replace('_', ' ')}) hold the truth in {100 * worst:.0f} %, or little "
                    "more; they are widened"
                )
    return notes
