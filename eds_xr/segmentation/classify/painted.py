"""What is learnt from: labels, features and strokes of the painted pixels of one or more images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.schema import EdsError, check_same_grid, phase_colors, phase_names, spatial_dims
from eds_xr.segmentation.classify.strokes import painted_pixels, stroke_numbers

FEATURE = "feature"
#: An image, or several of one kind.
Images = xr.DataArray | Sequence[xr.DataArray]


class Painted(NamedTuple):
    """The painted pixels that are learnt from, of all images together.

    Attributes
    ----------
    label : ndarray [pixel]
        ``i`` is ``phases[i - 1]``.
    values : ndarray of float32 [pixel, feature]
    stroke : ndarray of int [pixel]
        Which stroke of its phase a pixel belongs to.
    features, phases, colors : tuple of str
        Names of the features; phases of all images, and their colours.
    """

    label: np.ndarray
    values: np.ndarray
    stroke: np.ndarray
    features: tuple[str, ...]
    phases: tuple[str, ...]
    colors: tuple[str, ...]


def painted_of(features: Images, scribbles: Images, limit: int, seed: int) -> Painted:
    """Return the painted pixels, at most `limit` a phase in all images together."""
    pairs = image_pairs(features, scribbles)
    colors: dict[str, str] = {}
    for _, one in pairs:
        for phase, color in zip(phase_names(one), phase_colors(one), strict=True):
            colors.setdefault(phase, color)
    names = tuple(str(name) for name in pairs[0][0][FEATURE].values)
    phases = tuple(colors)
    strokes = [one for _, one in pairs]
    places, labels = painted_pixels(strokes, phases, limit, seed)
    values = [
        _features_at(with_features(one, names), where)
        for (one, _), where, label in zip(pairs, places, labels, strict=True)
        if label.size
    ]
    stroke = stroke_numbers(strokes, places, labels, phases)
    return Painted(
        np.concatenate(labels), np.concatenate(values), stroke, names, phases,
        tuple(colors.values()),
    )  # fmt: skip


def image_pairs(features: Images, scribbles: Images) -> list[tuple[xr.DataArray, xr.DataArray]]:
    """Return features and scribbles of each image, checked."""
    several = [isinstance(given, list | tuple) for given in (features, scribbles)]
    lists = [list(given) if isinstance(given, list | tuple) else [given]
             for given in (features, scribbles)]  # fmt: skip
    if several[0] != several[1] or len(lists[0]) != len(lists[1]) or not lists[0]:
        raise EdsError(
            f"features of {len(lists[0])} images and scribbles of {len(lists[1])}: give one of "
            "each, or two lists with one of each for every image"
        )
    pairs = list(zip(*lists, strict=True))
    for i, (of_image, painted) in enumerate(pairs, 1):
        check_features(of_image)
        which = f" of image {i}" if several[0] else ""
        if not isinstance(painted, xr.DataArray):
            raise EdsError(
                f"expected scribbles{which} as a DataArray, found {type(painted).__name__}; wrap "
                "an integer image with eds_xr.schema.label_array(values, like, phases)"
            )
        grid = of_image.isel({FEATURE: 0}, drop=True)
        check_same_grid(grid, painted, f"the scribble image{which}")
    return pairs


def check_features(features: Any) -> None:
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


def with_features(features: xr.DataArray, names: Sequence[str]) -> xr.DataArray:
    """Return the features of these names, in this order; raise where one is missing."""
    have = [str(name) for name in features[FEATURE].values]
    missing = [name for name in names if name not in set(have)]
    if missing:
        raise EdsError(
            f"{len(missing)} of the classifier's {len(names)} features are missing, "
            f"the first is {missing[0]!r}; compute features of the same channels, kinds and scales"
        )
    if len(set(have)) < len(have):
        raise EdsError("names of features must be unique")
    features = features.transpose(FEATURE, ...)
    if have == list(names):
        return features
    position = {name: i for i, name in enumerate(have)}
    return features.isel({FEATURE: [position[name] for name in names]})


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
