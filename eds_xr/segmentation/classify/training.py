"""Pixel classification: learn phases from painted pixels, then give every pixel probabilities.

classifier = train(features, scribbles)
probability = predict(classifier, features)
score_by_stroke(features, scribbles).recall     # how well, on strokes that were not learnt from
save(classifier, "minerals.edsx")
classifier = train([features, others], [scribbles, painted])                 # of two images
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr.chunks import computed
from eds_xr.cluster.supervision import computes
from eds_xr.progress import progress
from eds_xr.provenance import package_version, with_step
from eds_xr.schema import PHASE, EdsError, spatial_coords
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.classify.painted import (
    Images,
    check_features,
    image_pairs,
    painted_of,
    with_features,
)
from eds_xr.segmentation.classify.trees import Trees

N_TREES = 200
#: Trees stop at leaves of this many painted pixels: votes become probabilities, and trees small.
MIN_LEAF_PIXELS = 5
#: With fewer trees some pixel is in the bags of all of them.
LEAST_TREES_OUT_OF_BAG = 20


@computes
def train(
    features: Images,
    scribbles: Images,
    *,
    classifier: Any = None,
    balanced: bool = True,
    max_pixels_per_phase: int = 2000,
    seed: int = 0,
) -> PixelClassifier:
    """Fit a classifier to the features of painted pixels.

    Computes: the scribbles, and the features of the tiles that hold painted pixels. Memory is
    bounded by `max_pixels_per_phase`. The result depends on neither chunks nor workers.

    Parameters
    ----------
    features : DataArray [feature, y, x], or a list of them
        From :func:`eds_xr.features.pixel_features`; of one image, or of each of several. They are
        matched by name.
    scribbles : DataArray [y, x; integer label], or a list of them
        0 is not painted; the names of the phases are in its CF flags. Phases of several images
        are matched by name, too: the classifier knows all of them.
    classifier : scikit-learn classifier, optional
        Cloned, then fitted; it needs ``predict_proba``. The default is a random forest of 200
        trees (Breiman, Machine Learning 45 (2001) 5).
    balanced : bool
        Whether phases count equally, however much of each is painted. A `classifier` with a
        ``class_weight`` keeps it; one that takes no weights of samples (a pipeline) has none.
    max_pixels_per_phase : int
        When more are painted, in all images together, so many are drawn at random.
    seed : int
        Seeds that draw and the default forest.

    Raises
    ------
    EdsError
        When scribbles lie on another grid, fewer than two phases are painted, painted pixels
        have NaN features, or the classifier gives no probabilities.
    """
    import sklearn

    painted = painted_of(features, scribbles, max_pixels_per_phase, seed)
    label = painted.label
    chosen = chosen_classifier(classifier, balanced, seed)
    with progress("training the classifier"):
        model = fitted_classifier(chosen, painted.values, label, balanced)
    votes = getattr(model, "oob_decision_function_", None)
    right = np.nan if votes is None else (model.classes_[votes.argmax(axis=1)] == label).mean()
    return PixelClassifier(
        model=model,
        features=painted.features,
        phases=painted.phases,
        colors=painted.colors,
        n_painted=tuple(int((label == i).sum()) for i in range(1, len(painted.phases) + 1)),
        out_of_bag_accuracy=float(right),
        seed=seed,
        scribbles=tuple(computed(one) for _, one in image_pairs(features, scribbles)),
        versions={"eds_xr": package_version(), "scikit-learn": sklearn.__version__},
    )


def predict(classifier: PixelClassifier, features: xr.DataArray) -> xr.DataArray:
    """Return the probability of every phase in every pixel.

    Lazy: tile by tile. Features are matched by name, so another image may have more of them, in
    another order.

    Parameters
    ----------
    classifier : PixelClassifier
        From :func:`train` or :func:`load`.
    features : DataArray [feature, y, x]
        Of this image or of another one of the same kind.

    Returns
    -------
    DataArray [phase, y, x; float32]
        Sums to 1 over ``phase``. A phase that was never painted has probability 0.

    Raises
    ------
    EdsError
        When features are missing; and, once computed, when features are NaN.

    Notes
    -----
    Forests are compiled: their probabilities are scikit-learn's to the last bit of float32.
    """
    from eds_xr.segmentation.classify.probabilities import probabilities

    check_features(features)
    chosen = with_features(features, classifier.features)
    return xr.DataArray(
        probabilities(classifier.model, chosen.data, len(classifier.phases)),
        dims=(PHASE, *chosen.dims[1:]),
        coords={PHASE: list(classifier.phases), **spatial_coords(chosen)},
        name="probability",
        attrs={
            "long_name": "probability of the phase",
            "units": "1",
            **with_step(
                {"history": features.attrs.get("history", [])},
                "predict",
                model=_kind(classifier.model),
                n_painted=list(classifier.n_painted),
                seed=classifier.seed,
            ),
        },
    )


def chosen_classifier(classifier: Any, balanced: bool, seed: int) -> Any:
    """Return the classifier to fit: that given, or the default forest."""
    from sklearn.ensemble import RandomForestClassifier

    if classifier is None:
        return RandomForestClassifier(
            N_TREES,
            min_samples_leaf=MIN_LEAF_PIXELS,
            class_weight="balanced_subsample" if balanced else None,
            oob_score=True,
            random_state=seed,
            n_jobs=-1,
        )
    if not hasattr(classifier, "predict_proba"):
        raise EdsError(
            f"{type(classifier).__name__} gives no probabilities; choose a classifier with "
            "predict_proba, or wrap it in sklearn.calibration.CalibratedClassifierCV"
        )
    return classifier


def random_trees(n_trees: int, balanced: bool, seed: int) -> Any:
    """Return extremely randomised trees: as good as a random forest, in a fraction of its time.

    Geurts, Ernst & Wehenkel, Machine Learning 63 (2006) 3, doi:10.1007/s10994-006-6226-1.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(
        n_trees,
        min_samples_leaf=MIN_LEAF_PIXELS,
        bootstrap=True,
        class_weight="balanced_subsample" if balanced else None,
        oob_score=n_trees >= LEAST_TREES_OUT_OF_BAG,
        random_state=seed,
        n_jobs=-1,
    )


def fitted_classifier(
    classifier: Any, values: np.ndarray, label: np.ndarray, balanced: bool
) -> Any:
    """Return a copy of the classifier, fitted; phases of equal weight if `balanced`."""
    from sklearn.base import clone
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.validation import has_fit_parameter

    model = clone(classifier)
    own = model.get_params(deep=False).get("class_weight") is not None
    if balanced and not own and has_fit_parameter(model, "sample_weight"):
        model.fit(values, label, sample_weight=compute_sample_weight("balanced", label))
    else:
        model.fit(values, label)
    # Blocks are predicted in parallel already; threads would add up votes in varying order.
    if "n_jobs" in model.get_params(deep=False):
        model.set_params(n_jobs=1)
    return model


def _kind(model: Any) -> str:
    return model.kind if isinstance(model, Trees) else type(model).__name__
