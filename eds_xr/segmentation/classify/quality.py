"""How good a classifier is: uncertainty, score by stroke, importance of features."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr.cluster.supervision import computes
from eds_xr.provenance import with_step
from eds_xr.schema import PHASE, EdsError
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.classify.painted import FEATURE, Images, painted_of
from eds_xr.segmentation.classify.strokes import stroke_folds
from eds_xr.segmentation.classify.training import chosen_classifier, fitted_classifier
from eds_xr.workers import task_name


@computes
def score_by_stroke(
    features: Images,
    scribbles: Images,
    *,
    classifier: Any = None,
    balanced: bool = True,
    folds: int = 5,
    max_pixels_per_phase: int = 2000,
    seed: int = 0,
) -> xr.Dataset:
    """Measure how well painted strokes are recognised by a classifier that was not shown them.

    Pixels of one stroke are alike, so strokes are left out whole: each is predicted by a
    classifier that was trained on the strokes of the other folds.

    Computes: as :func:`train`, once more for each fold.

    Parameters
    ----------
    features, scribbles, classifier, balanced, max_pixels_per_phase, seed
        As in :func:`train`.
    folds : int
        Parts into which the strokes of every phase are dealt; fewer when a phase has fewer strokes.

    Returns
    -------
    Dataset
        Over the painted phases: ``confusion`` [phase, predicted; pixels], ``recall`` [phase; 1],
        the share of a phase's painted pixels that are recognised, and ``n_strokes`` [phase].
        Attribute ``accuracy`` is the mean recall.

    Raises
    ------
    EdsError
        As in :func:`train`; and when a phase has a single stroke: nothing is left to test on.
    """
    painted = painted_of(features, scribbles, max_pixels_per_phase, seed)
    label, values, stroke = painted.label, painted.values, painted.stroke
    phases, of_label = painted.phases, np.unique(label)
    n_strokes = [int(stroke[label == i].max()) + 1 for i in of_label]
    names = [phases[i - 1] for i in of_label]
    folds = _possible_folds(folds, dict(zip(names, n_strokes, strict=True)))
    model, fold = chosen_classifier(classifier, balanced, seed), stroke_folds(label, stroke, folds)
    found = np.zeros_like(label)
    for k in range(folds):
        part = fitted_classifier(model, values[fold != k], label[fold != k], balanced)
        found[fold == k] = part.predict(values[fold == k])
    table = (label == of_label[:, None]).astype(int) @ (found[:, None] == of_label).astype(int)
    recall = np.diag(table) / table.sum(axis=1)
    step = with_step({}, "score_by_stroke", folds=folds, seed=seed)
    return xr.Dataset(
        {
            "confusion": ((PHASE, "predicted"), table, {"long_name": "pixels"}),
            "recall": (PHASE, recall, {"long_name": "share recognised", "units": "1"}),
            "n_strokes": (PHASE, n_strokes, {"long_name": "strokes"}),
        },
        coords={PHASE: names, "predicted": names},
        attrs={"accuracy": float(recall.mean()), **step},
    )


def feature_importance(classifier: PixelClassifier) -> xr.DataArray:
    """Return how much each feature contributes to the decisions of the trees.

    Their mean decrease of impurity, which favours features that vary finely; two features that
    say the same share it.

    Computes: nothing of the image.

    Returns
    -------
    DataArray [feature; 1]
        Sums to 1, the most important first.

    Raises
    ------
    EdsError
        When the model measures none.
    """
    values = getattr(classifier.model, "feature_importances_", None)
    if values is None:
        raise EdsError(
            f"{type(classifier.model).__name__} measures no importance of features; use "
            "sklearn.inspection.permutation_importance, or the default forest"
        )
    order = np.argsort(-values, kind="stable")
    return xr.DataArray(
        values[order],
        dims=FEATURE,
        coords={FEATURE: [classifier.features[i] for i in order]},
        name="importance",
        attrs={"long_name": "share in the decrease of impurity", "units": "1"},
    )


def uncertainty(probability: xr.DataArray) -> xr.DataArray:
    """Return 1 less the lead of the most probable phase over the next one ``[y, x; 0 to 1]``.

    Lazy: block by block.

    Parameters
    ----------
    probability : DataArray [phase, y, x]
    """
    lead = xr.apply_ufunc(
        _lead_block,
        probability if probability.chunks is None else probability.chunk({PHASE: -1}),
        input_core_dims=[[PHASE]],
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    lead.attrs = {"long_name": "uncertainty", "units": "1"}
    return lead.rename("uncertainty")


def _possible_folds(folds: int, n_strokes: dict[str, int]) -> int:
    few = [name for name, n in n_strokes.items() if n < 2]
    if few:
        raise EdsError(
            f"{', '.join(few)} has a single stroke; to test on strokes that were not learnt from, "
            "paint at least two of every phase, apart from each other"
        )
    if folds < 2:
        raise EdsError(f"folds must be 2 or more, found {folds}")
    return min(folds, *n_strokes.values())


@task_name("uncertainty")
def _lead_block(probability: np.ndarray) -> np.ndarray:
    """Return 1 less the lead of the largest over the second largest along the last axis."""
    if probability.shape[-1] < 2:
        return np.zeros(probability.shape[:-1], np.float32)
    largest = np.partition(probability, -2, axis=-1)
    return (1 - (largest[..., -1] - largest[..., -2])).astype(np.float32)
