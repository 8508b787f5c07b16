"""Pixel classification: learn phases from painted pixels, then give every pixel probabilities.

classifier = train(features, scribbles)
probability = predict(classifier, features)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.provenance import with_step
from eds_xr.schema import (
    PHASE,
    EdsError,
    check_same_grid,
    phase_colors,
    phase_names,
    spatial_coords,
    spatial_dims,
)

FEATURE = "feature"
N_TREES = 200
#: Trees stop at leaves of this many painted pixels: votes become probabilities, and trees small.
MIN_LEAF_PIXELS = 5


@dataclass(frozen=True)
class PixelClassifier:
    """A fitted classifier and all that its use on other images needs.

    Attributes
    ----------
    model : scikit-learn classifier
        Its classes are label values: ``i`` is ``phases[i - 1]``.
    features : tuple of str
        Names of the features, in the model's order.
    phases, colors : tuple of str
        Name and colour of every phase, painted or not.
    n_painted : tuple of int
        Painted pixels of each phase that were learnt from.
    out_of_bag_accuracy : float
        Share of these pixels that the trees which did not see them get right; NaN when the model
        does not measure it. Neighbours in one stroke are not independent: it flatters.
    seed : int
        Seed of the choice of pixels and of the default model.
    """

    model: Any
    features: tuple[str, ...]
    phases: tuple[str, ...]
    colors: tuple[str, ...]
    n_painted: tuple[int, ...]
    out_of_bag_accuracy: float
    seed: int


def train(
    features: xr.DataArray,
    scribbles: xr.DataArray,
    *,
    classifier: Any = None,
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
        trees (Breiman, Machine Learning 45 (2001) 5), phases weighted to count equally.
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
    check_features(features)
    _check_scribbles(features, scribbles)
    phases = tuple(phase_names(scribbles))
    where, label = _painted_pixels(scribbles, phases, max_pixels_per_phase, seed)
    values = _features_at(features, where)
    model = _fitted(_default_forest(seed) if classifier is None else classifier, values, label)
    return PixelClassifier(
        model=model,
        features=tuple(str(name) for name in features[FEATURE].values),
        phases=phases,
        colors=tuple(phase_colors(scribbles)),
        n_painted=tuple(int((label == i).sum()) for i in range(1, len(phases) + 1)),
        out_of_bag_accuracy=_out_of_bag_accuracy(model, label),
        seed=seed,
    )


def predict(classifier: PixelClassifier, features: xr.DataArray) -> xr.DataArray:
    """Return the probability of every phase in every pixel.

    Lazy: tile by tile. Features are matched by name, so another image may have more of them, in
    another order.

    Parameters
    ----------
    classifier : PixelClassifier
        From :func:`train`.
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
    """
    check_features(features)
    chosen = _features_by_name(classifier, features)
    return xr.DataArray(
        _map_blocks(classifier, chosen),
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


def _check_scribbles(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    if not isinstance(scribbles, xr.DataArray):
        raise EdsError(
            f"expected scribbles as a DataArray, found {type(scribbles).__name__}; wrap an "
            "integer image with eds_xr.schema.label_array(values, like, phases)"
        )
    if scribbles.dtype.kind not in "iu":
        raise EdsError(f"scribbles must be integer labels (0 = none), found {scribbles.dtype}")
    check_same_grid(features.isel({FEATURE: 0}, drop=True), scribbles, "the scribble image")


def _painted_pixels(
    scribbles: xr.DataArray, phases: tuple[str, ...], limit: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the positions of painted pixels, at most `limit` a phase, and their labels."""
    dims = spatial_dims(scribbles)
    image = np.asarray(scribbles.transpose(*dims).values)
    if image.size and not 0 <= int(image.min()) <= int(image.max()) <= len(phases):
        raise EdsError(
            f"scribbles hold labels {image.min()} to {image.max()}, their flag_meanings name "
            f"{len(phases)} phases; name all with eds_xr.schema.label_array"
        )
    flat, rng = image.ravel(), np.random.default_rng(seed)
    parts = [np.flatnonzero(flat == i) for i in range(1, len(phases) + 1)]
    painted = [name for name, part in zip(phases, parts, strict=True) if part.size]
    if len(painted) < 2:
        raise EdsError(
            f"only {', '.join(painted) or 'nothing'} is painted; a classifier needs pixels of at "
            "least two phases"
        )
    chosen = np.sort(np.concatenate([_at_most(part, limit, rng) for part in parts]))
    where = dict(zip(dims, np.unravel_index(chosen, image.shape), strict=True))
    return where, flat[chosen]


def _at_most(pixels: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    return pixels if pixels.size <= limit else rng.choice(pixels, limit, replace=False)


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


def _default_forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        N_TREES,
        min_samples_leaf=MIN_LEAF_PIXELS,
        class_weight="balanced_subsample",
        oob_score=True,
        random_state=seed,
        n_jobs=-1,
    )


def _fitted(classifier: Any, values: np.ndarray, label: np.ndarray) -> Any:
    from sklearn.base import clone

    if not hasattr(classifier, "predict_proba"):
        raise EdsError(
            f"{type(classifier).__name__} gives no probabilities; choose a classifier with "
            "predict_proba, or wrap it in sklearn.calibration.CalibratedClassifierCV"
        )
    model = clone(classifier).fit(values, label)
    # Blocks are predicted in parallel already; threads would add up votes in varying order.
    if "n_jobs" in model.get_params(deep=False):
        model.set_params(n_jobs=1)
    return model


def _out_of_bag_accuracy(model: Any, label: np.ndarray) -> float:
    votes = getattr(model, "oob_decision_function_", None)
    if votes is None:
        return float("nan")
    return float((model.classes_[np.argmax(votes, axis=1)] == label).mean())


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


def _map_blocks(classifier: PixelClassifier, features: xr.DataArray) -> Any:
    import dask
    import dask.array as da

    array = da.asarray(features.data)
    array = array.rechunk({0: -1})
    return array.map_blocks(
        _predict_block,
        # Once in the graph, not once a block
        model=dask.delayed(classifier.model),  # type: ignore[attr-defined]
        n_phases=len(classifier.phases),
        chunks=((len(classifier.phases),), *array.chunks[1:]),
        meta=np.empty((0,) * array.ndim, np.float32),
    )


def _predict_block(block: np.ndarray, *, model: Any, n_phases: int) -> np.ndarray:
    """Probabilities ``(phase, ..., y, x)`` of a block of features ``(feature, ..., y, x)``."""
    pixels = block.reshape(block.shape[0], -1).T
    if not np.isfinite(pixels).all():
        raise EdsError("the features hold NaN or infinite values; use da.fillna(0) on the channels")
    result = np.zeros((n_phases, pixels.shape[0]), np.float32)
    result[np.asarray(model.classes_, int) - 1] = model.predict_proba(pixels).T
    return result.reshape(n_phases, *block.shape[1:])
