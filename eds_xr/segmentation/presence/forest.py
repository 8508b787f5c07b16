"""The forest that tells which phases are present, and what it sees of each pixel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT, PHASE, label_array, spatial_dims
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.classify.training import FEATURE, train
from eds_xr.segmentation.features.stack import pixel_features
from eds_xr.segmentation.presence.evidence import draft_presence
from eds_xr.segmentation.presence.rehearsal import draft_shares, drawn_amounts

#: Standard deviations of the Gaussians [pixels], beside the pixel itself: boundaries are where
#: single pixels put them, faint grains show over some ten.
SIGMAS = (0.5, 1.0, 1.5, 2.0, 3.0)
#: Weka's scales of these.
_SCALES = tuple(sigma / 0.4 for sigma in SIGMAS)
#: What joins the names of the phases of a combination.
AND = "+"
#: A forest learns from so many pixels, and has so many trees.
LEARNT_PIXELS, N_TREES = 20_000, 60
#: Combinations beyond this many, the rarest, are not learnt.
MOST_CLASSES = 100
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
    n_learnt : ndarray [phase]
        Pixels with the phase that were learnt from.
    """

    classifier: PixelClassifier | None
    sets: np.ndarray
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
    features = pixel_features(stack, kinds=("intensity", "gaussian"), scales=_SCALES)
    data = features.data.map_blocks(_shares_block, len(names), dtype=np.float32)
    kinds = ["", *(f"_{sigma:g}" for sigma in SIGMAS)]
    shown = [*(f"{name} share" for name in names), "counts"]
    told = [f"{name}{kind}" for name in shown for kind in kinds]
    return features.copy(data=data).assign_coords({FEATURE: told})


def rehearsed_forest(
    windows: np.ndarray, noise: np.ndarray, names: list[str], level: float, seed: int
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
    """
    random = np.random.default_rng(seed)
    shares = draft_shares(windows, draft_presence(windows, noise, level), level)
    drawn = drawn_amounts(shares, windows, noise, random).astype(np.float32)
    sets, code = np.unique((shares > 0).reshape(-1, len(names)), axis=0, return_inverse=True)
    common = np.sort(np.argsort(-np.bincount(code.ravel()), kind="stable")[:MOST_CLASSES])
    label = np.zeros(len(sets), np.uint8)
    label[common] = np.arange(1, common.size + 1)
    painted = np.zeros(code.size, np.uint8)
    chosen = random.permutation(code.size)[:LEARNT_PIXELS]
    painted[chosen] = label[code.ravel()[chosen]]
    classes = [AND.join(np.array(names)[row]) for row in sets[common]]
    dims = [f"axis_{i}" for i in range(drawn.ndim - 1)]
    rehearsed = xr.DataArray(drawn, {COMPONENT: names}, (*dims, COMPONENT))
    strokes = label_array(painted.reshape(drawn.shape[:-1]), rehearsed, classes)
    n_learnt = np.bincount(painted, minlength=common.size + 1)[1:] @ sets[common]
    if common.size == 1:
        return Learnt(None, sets, n_learnt)
    forest = train(
        share_features(rehearsed).compute(), strokes, classifier=_trees(seed), balanced=False,
        max_pixels_per_phase=LEARNT_PIXELS, seed=seed,
    )  # fmt: skip
    return Learnt(forest, sets[common], n_learnt)


def phase_sums(of_class: xr.DataArray, sets: np.ndarray, names: list[str]) -> xr.DataArray:
    """Return the probability of each phase: the sum over the classes that hold it.

    Lazy.

    Parameters
    ----------
    of_class : DataArray [phase, *spatial]
        Probabilities of the classes.
    sets : ndarray of bool [class, phase]
    names : list of str

    Returns
    -------
    DataArray [phase, *spatial; float32]
    """
    values = xr.apply_ufunc(
        _sums_block,
        of_class.drop_vars(PHASE),
        kwargs={"table": sets.T.astype(np.float32)},
        input_core_dims=[[PHASE]],
        output_core_dims=[["one"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"one": len(names)}},
    )
    values = values.rename(one=PHASE).transpose(PHASE, *spatial_dims(of_class))
    return values.assign_coords({PHASE: names}).assign_attrs(of_class.attrs).rename("probability")


def _trees(seed: int) -> Any:
    """Return extremely randomised trees: as good as a random forest here, in a tenth of the time.

    Geurts, Ernst & Wehenkel, Machine Learning 63 (2006) 3, doi:10.1007/s10994-006-6226-1.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(
        N_TREES, min_samples_leaf=5, bootstrap=True, oob_score=True, random_state=seed, n_jobs=-1
    )


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _shares_block(block: np.ndarray, phases: int) -> np.ndarray:
    """Return ``[feature, ...]`` of channels' Gaussians: shares in place of all but the last's."""
    kinds = len(block) // (phases + 1)
    parts = block.reshape(phases + 1, kinds, *block.shape[1:]).copy()
    parts[:-1] /= np.maximum(parts[-1], np.float32(LEAST_COUNTS))
    return parts.reshape(block.shape)


def _sums_block(block: np.ndarray, *, table: np.ndarray) -> np.ndarray:
    return np.asarray((block @ table.T).clip(0, 1).astype(np.float32))
