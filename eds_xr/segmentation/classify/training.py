"""Pixel classification: learn phases from painted pixels, then give every pixel probabilities.

classifier = train(features, scribbles)
probability = predict(classifier, features)
score_by_stroke(features, scribbles).recall     # how well, on strokes that were not learnt from
save(classifier, "minerals.skops")
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr.chunks import computed
from eds_xr.progress import progress
from eds_xr.provenance import package_version, with_step
from eds_xr.schema import (
    PHASE,
    EdsError,
    check_same_grid,
    phase_colors,
    phase_names,
    spatial_coords,
    spatial_dims,
)
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.classify.strokes import painted_pixels, stroke_numbers

FEATURE = "feature"
N_TREES = 200
#: Trees stop at leaves of this many painted pixels: votes become probabilities, and trees small.
MIN_LEAF_PIXELS = 5


def train(
    features: xr.DataArray,
    scribbles: xr.DataArray,
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
    features : DataArray [feature, y, x]
        From :func:`eds_xr.features.pixel_features`.
    scribbles : DataArray [y, x; integer label]
        0 is not painted; the names of the phases are in its CF flags.
    classifier : scikit-learn classifier, optional
        Cloned, then fitted; it needs ``predict_proba``. The default is a random forest of 200
        trees (Breiman, Machine Learning 45 (2001) 5).
    balanced : bool
        Whether phases count equally, however much of each is painted. A `classifier` with a
        ``class_weight`` keeps it; one that takes no weights of samples (a pipeline) has none.
    max_pixels_per_phase : int
        When more are painted, so many are drawn at random.
    seed : int
        Seeds that draw and the default forest.

    Raises
    ------
    EdsError
        When scribbles lie on another grid, fewer than two phases are painted, painted pixels
        have NaN features, or the classifier gives no probabilities.
    """
    import sklearn

    label, values, _ = training_pixels(features, scribbles, max_pixels_per_phase, seed)
    chosen = chosen_classifier(classifier, balanced, seed)
    with progress("training the classifier"):
        model = fitted_classifier(chosen, values, label, balanced)
    votes = getattr(model, "oob_decision_function_", None)
    right = np.nan if votes is None else (model.classes_[votes.argmax(axis=1)] == label).mean()
    phases = phase_names(scribbles)
    return PixelClassifier(
        model=model,
        features=tuple(str(name) for name in features[FEATURE].values),
        phases=tuple(phases),
        colors=tuple(phase_colors(scribbles)),
        n_painted=tuple(int((label == i).sum()) for i in range(1, len(phases) + 1)),
        out_of_bag_accuracy=float(right),
        seed=seed,
        scribbles=computed(scribbles),
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
    chosen = _features_by_name(classifier, features)
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
                model=type(classifier.model).__name__,
                n_painted=list(classifier.n_painted),
                seed=classifier.seed,
            ),
        },
    )


def check_features(features: xr.DataArray) -> None:
    """Raise unless `features` is ``(feature, *spatial)`` with named features."""
    if not isinstance(features, xr.DataArray) or FEATURE not in features.dims:
        found = getattr(features, "dims", type(features).__name__)
        raise EdsError(
            f"expected features with a dimension 'feature', found {found}; make them with "
            "eds_xr.features.pixel_features(channels)"
        )
    if FEATURE not in features.coords:
        raise EdsError("the features have no names; assign them as the coordinate 'feature'")
    if not spatial_dims(features):
        raise EdsError(f"the features have no pixels, found dimensions {features.dims}")


def training_pixels(
    features: xr.DataArray, scribbles: xr.DataArray, limit: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, features and strokes of the painted pixels, as many as are learnt from."""
    check_features(features)
    if not isinstance(scribbles, xr.DataArray):
        raise EdsError(
            f"expected scribbles as a DataArray, found {type(scribbles).__name__}; wrap an "
            "integer image with eds_xr.schema.label_array(values, like, phases)"
        )
    check_same_grid(features.isel({FEATURE: 0}, drop=True), scribbles, "the scribble image")
    where, label = painted_pixels(scribbles, tuple(phase_names(scribbles)), limit, seed)
    return label, _features_at(features, where), stroke_numbers(scribbles, where, label)


def _features_at(features: xr.DataArray, where: dict[str, np.ndarray]) -> np.ndarray:
    """Return the features of some pixels, ``(pixel, feature)``; one computation."""
    indexers = {dim: xr.DataArray(index, dims="pixel") for dim, index in where.items()}
    values = features.isel(indexers).transpose("pixel", FEATURE).values.astype(np.float32)
    if not np.isfinite(values).all():
        bad = features[FEATURE].values[~np.isfinite(values).all(0)]
        raise EdsError(
            f"painted pixels have NaN or infinite features ({', '.join(map(str, bad[:3]))}); "
            "fill the channels with da.fillna(0) before computing features"
        )
    return values


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


def _features_by_name(classifier: PixelClassifier, features: xr.DataArray) -> xr.DataArray:
    have = [str(name) for name in features[FEATURE].values]
    missing = [name for name in classifier.features if name not in set(have)]
    if missing:
        raise EdsError(
            f"{len(missing)} of the classifier's {len(classifier.features)} features are missing, "
            f"the first is {missing[0]!r}; compute features of the same channels, kinds and scales"
        )
    if len(set(have)) < len(have):
        raise EdsError("names of features must be unique")
    features = features.transpose(FEATURE, ...)
    if tuple(have) == classifier.features:
        return features
    position = {name: i for i, name in enumerate(have)}
    return features.isel({FEATURE: [position[name] for name in classifier.features]})
