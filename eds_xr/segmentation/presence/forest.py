"""The forest that tells which phases are present, and what it sees of each pixel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT, PHASE, label_array, phase_colors, phase_names, spatial_dims
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.classify.painted import FEATURE
from eds_xr.segmentation.classify.training import random_trees, train
from eds_xr.segmentation.features.stack import pixel_features
from eds_xr.segmentation.presence.evidence import draft_presence
from eds_xr.segmentation.presence.rehearsal import draft_shares, drawn_amounts
from eds_xr.segmentation.tiled_filters import TILE_PIXELS
from eds_xr.workers import here, task_name

#: Standard deviations of the Gaussians [pixels], beside the pixel itself: boundaries are where
#: single pixels put them, faint grains show over some ten.
SIGMAS = (0.5, 1.0, 1.5, 2.0, 3.0)
#: Weka's scales of these.
_SCALES = tuple(sigma / 0.4 for sigma in SIGMAS)
#: What joins the names of the phases of a combination.
AND = "+"
#: A forest learns from so many pixels, and has so many trees.
LEARNT_PIXELS, N_TREES = 20_000, 60
#: Of rare combinations so many, if there are; small images are drawn up to so many times.
RARE_PIXELS, MOST_DRAWS = 500, 4
#: Combinations beyond this many, the rarest, are not learnt.
MOST_CLASSES = 100
#: Painted pixels weigh this share of those that are rehearsed; none counts more often than so. Of
#: twenty strokes a few end beyond a boundary: at a quarter they cost a rare phase 0.2 of its
#: overlap with the truth, at a twelfth 0.02, at a fiftieth nothing.
PAINTED_WEIGHT, MOST_REPEATS = 0.02, 20
#: Shares are of at least this many counts.
LEAST_COUNTS = 0.5


class Learnt(NamedTuple):
    """A forest, and what it has learnt from.

    Attributes
    ----------
    classifier : PixelClassifier or None
        None where all pixels hold the same phases.
    sets : ndarray of bool [class, phase]
        Its classes are combinations of phases.
    weights : ndarray [class]
        How many times more frequent classes are in the image than among what was learnt from.
    n_learnt : ndarray [phase]
        Pixels with the phase that were learnt from.
    """

    classifier: PixelClassifier | None
    sets: np.ndarray
    weights: np.ndarray
    n_learnt: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of the learnt pixels that trees which did not see them recognise."""
        return 1.0 if self.classifier is None else self.classifier.out_of_bag_accuracy


def share_features(counts: xr.DataArray) -> xr.DataArray:
    """Return the features of amounts: shares of the pixel's counts, and the counts, at each scale.

    Lazy: tile by tile.

    Parameters
    ----------
    counts : DataArray [*spatial, component; counts]

    Returns
    -------
    DataArray [feature, *spatial; float32]
    """
    names = [str(name) for name in counts[COMPONENT].values]
    held = counts.assign_coords({COMPONENT: names})
    total = held.sum(COMPONENT).expand_dims({COMPONENT: ["counts"]})
    stack = xr.concat([held.astype(np.float32), total.astype(np.float32)], dim=COMPONENT)
    if stack.chunks is not None:
        stack = stack.chunk({COMPONENT: -1})
    features = pixel_features(
        stack, kinds=("intensity", "gaussian"), scales=_SCALES, tile_pixels=TILE_PIXELS
    )
    data = features.data.map_blocks(_shares_block, len(names), dtype=np.float32)
    kinds = ["", *(f"_{sigma:g}" for sigma in SIGMAS)]
    shown = [*(f"{name} share" for name in names), "counts"]
    told = [f"{name}{kind}" for name in shown for kind in kinds]
    return features.copy(data=data).assign_coords({FEATURE: told})


def rehearsed_forest(
    windows: np.ndarray,
    noise: np.ndarray,
    names: list[str],
    level: float,
    seed: int,
    painted: tuple[xr.DataArray, xr.DataArray] | None = None,
) -> Learnt:
    """Return the forest that has learnt presence on a rehearsal of the image.

    Parameters
    ----------
    windows : ndarray [window, y, x, component; counts]
    noise : ndarray [component, component, component]
    names : list of str
        Of the components.
    level : float
        Share of the counts from which a phase is present.
    seed : int
    painted : (DataArray [feature, *spatial], DataArray [*spatial; integer label]), optional
        Features and scribbles of the image itself, to be learnt from, too.
    """
    random = np.random.default_rng(seed)
    shares = draft_shares(windows, draft_presence(windows, noise, level), level)
    draws = int(np.clip(LEARNT_PIXELS * windows.shape[-1] / windows.size, 1, MOST_DRAWS))
    drawn = [drawn_amounts(shares, windows, noise, random) for _ in range(draws)]
    sets, code = np.unique((shares > 0).reshape(-1, len(names)), axis=0, return_inverse=True)
    common = np.sort(np.argsort(-np.bincount(code.ravel()), kind="stable")[:MOST_CLASSES])
    label = np.zeros(len(sets), np.uint8)
    label[common] = np.arange(1, common.size + 1)
    chosen = _some_of_each(np.tile(label[code.ravel()], draws), random)
    learnt, there = (np.bincount(a, minlength=common.size + 1)[1:] for a in
                     (chosen, np.tile(label[code.ravel()], draws)))  # fmt: skip
    sets = sets[common]
    if len(sets) == 1 and painted is None:
        return Learnt(None, sets, np.ones(1), learnt @ sets)
    dims = [f"axis_{i}" for i in range(windows.ndim - 1)]
    stack = np.concatenate(drawn).astype(np.float32)
    rehearsed = xr.DataArray(stack, {COMPONENT: names}, (*dims, COMPONENT))
    classes = [AND.join(np.array(names)[row]) for row in sets]
    strokes = [label_array(chosen.reshape(stack.shape[:-1]), rehearsed, classes)]
    features = [share_features(rehearsed).compute(**here())]
    if painted is not None:
        of_strokes, own = _repeated(*painted)
        features, strokes = [*features, of_strokes], [*strokes, own]
    forest = train(
        features, strokes, classifier=random_trees(N_TREES, False, seed), balanced=False,
        max_pixels_per_phase=LEARNT_PIXELS, seed=seed,
    )  # fmt: skip
    return _with_painted(Learnt(forest, sets, there / learnt, learnt @ sets), names)


def _with_painted(learnt: Learnt, names: list[str]) -> Learnt:
    """Return what was learnt with the classes that only strokes have: as frequent as any."""
    assert learnt.classifier is not None
    more = learnt.classifier.phases[len(learnt.sets) :]
    if not more:
        return learnt
    sets = np.array([[name in one.split(AND) for name in names] for one in more])
    weights = np.append(learnt.weights, np.full(len(more), learnt.weights.max()))
    return learnt._replace(sets=np.vstack([learnt.sets, sets]), weights=weights)


def _repeated(features: xr.DataArray, scribbles: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the painted pixels, so often that together they weigh something in a rehearsal."""
    label = scribbles.transpose(*spatial_dims(scribbles)).values
    where = np.nonzero(label)
    indexers = {d: xr.DataArray(i, dims="pixel")
                for d, i in zip(spatial_dims(scribbles), where, strict=True)}  # fmt: skip
    values = features.isel(indexers).transpose(FEATURE, "pixel").values
    times = int(np.clip(PAINTED_WEIGHT * LEARNT_PIXELS / where[0].size, 1, MOST_REPEATS))
    tiled = xr.DataArray(
        np.tile(values, times), {FEATURE: features[FEATURE].values}, (FEATURE, "pixel")
    )
    names, colors = phase_names(scribbles), phase_colors(scribbles)
    return tiled, label_array(np.tile(label[where], times), tiled, names, colors)


def phase_sums(
    of_class: xr.DataArray, sets: np.ndarray, names: list[str], weights: np.ndarray | None = None
) -> xr.DataArray:
    """Return the probability of each phase: the sum over the classes that hold it.

    Lazy.

    Parameters
    ----------
    of_class : DataArray [phase, *spatial]
        Probabilities of the classes.
    sets : ndarray of bool [class, phase]
    names : list of str
    weights : ndarray [class], optional
        How many times more frequent classes are than where they were learnt.

    Returns
    -------
    DataArray [phase, *spatial; float32]
    """
    weights = np.ones(len(sets)) if weights is None else weights / weights.max()
    values = xr.apply_ufunc(
        _sums_block,
        of_class.drop_vars(PHASE),
        kwargs={"table": sets.astype(np.float32), "weights": weights.astype(np.float32)},
        input_core_dims=[[PHASE]],
        output_core_dims=[["one"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"one": len(names)}},
    )
    values = values.rename(one=PHASE).transpose(PHASE, *spatial_dims(of_class))
    return values.assign_coords({PHASE: names}).assign_attrs(of_class.attrs).rename("probability")


def _some_of_each(label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return labels of the pixels to learn from, 0 elsewhere: more of the rare than by chance."""
    kept = np.zeros_like(label)
    for i in range(1, int(label.max()) + 1):
        pixels = np.flatnonzero(label == i)
        share = round(LEARNT_PIXELS * pixels.size / label.size)
        few = random.permutation(pixels)[: max(RARE_PIXELS, share)]
        kept[few] = i
    return kept


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("shares of the phases")
def _shares_block(block: np.ndarray, phases: int) -> np.ndarray:
    """Return ``[feature, ...]`` of channels' Gaussians: shares in place of all but the last's."""
    kinds = len(block) // (phases + 1)
    parts = block.reshape(phases + 1, kinds, *block.shape[1:]).copy()
    parts[:-1] /= np.maximum(parts[-1], np.float32(LEAST_COUNTS))
    return parts.reshape(block.shape)


@task_name("probabilities of the phases")
def _sums_block(block: np.ndarray, *, table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ``[..., phase]`` of probabilities of classes ``[..., class]``."""
    weighted = block * weights
    total = np.maximum(weighted.sum(-1, keepdims=True), np.float32(1e-12))
    return np.asarray((weighted @ table / total).clip(0, 1).astype(np.float32))
