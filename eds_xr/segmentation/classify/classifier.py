"""A trained pixel classifier, to a file and back."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import EdsError, label_array, spatial_coords, spatial_dims
from eds_xr.segmentation.classify.safe_file import read_model, write_model

#: Of the content of a file; files of later forms are refused.
FILE_FORM = 1
#: A painted image of more pixels is refused.
MAX_PIXELS = 2**31


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
        does not measure it. Neighbours in one stroke are not independent, so it flatters:
        :func:`score_by_stroke` does not.
    seed : int
        Seed of the choice of pixels and of the default model.
    scribbles : DataArray [y, x; integer label]
        What was painted.
    versions : dict of str
        Of eds_xr and scikit-learn, when it was trained.
    """

    model: Any
    features: tuple[str, ...]
    phases: tuple[str, ...]
    colors: tuple[str, ...]
    n_painted: tuple[int, ...]
    out_of_bag_accuracy: float
    seed: int
    scribbles: xr.DataArray = field(repr=False)
    versions: dict[str, str] = field(repr=False)


def save(
    classifier: PixelClassifier, path: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a classifier to one file: model, features, scribbles, phases, colours, seed, versions.

    Computes: at once. The file (skops' form) appears whole or not at all.

    Raises
    ------
    EdsError
        When there is a file (without `overwrite`), or the model is of a type that :func:`load`
        would not read.
    """
    content = {
        "form": FILE_FORM,
        "model": classifier.model,
        "features": list(classifier.features),
        "n_painted": list(classifier.n_painted),
        "out_of_bag_accuracy": classifier.out_of_bag_accuracy,
        "seed": classifier.seed,
        "phases": list(classifier.phases),
        "colors": list(classifier.colors),
        "versions": dict(classifier.versions),
        "scribbles": _as_plain(classifier.scribbles),
    }
    return write_model(content, path, overwrite=overwrite)


def load(path: str | os.PathLike[str]) -> PixelClassifier:
    """Read a classifier that :func:`save` wrote.

    Nothing of the file is ever run: only the types of a fixed list are made, and trees whose
    indices lead astray are refused. So a file from a stranger does no harm.

    Computes: at once.

    Raises
    ------
    EdsError
        When it is no such file, damaged, of a later form, or holds any other type.
    """
    content = read_model(path)
    if content.get("form") != FILE_FORM:
        raise EdsError(
            f"{path} is of form {content.get('form')}, expected {FILE_FORM}: update eds_xr"
        )
    try:
        return PixelClassifier(
            model=content["model"],
            features=tuple(map(str, content["features"])),
            phases=tuple(map(str, content["phases"])),
            colors=tuple(map(str, content["colors"])),
            n_painted=tuple(map(int, content["n_painted"])),
            out_of_bag_accuracy=float(content["out_of_bag_accuracy"]),
            seed=int(content["seed"]),
            scribbles=_as_scribbles(content),
            versions={str(k): str(v) for k, v in content["versions"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, MemoryError) as error:
        raise EdsError(f"{path} is no whole pixel classifier: {error!r}") from error


def _as_plain(scribbles: xr.DataArray) -> dict[str, Any]:
    """Return scribbles as the few pixels that are painted, and their grid."""
    dims = spatial_dims(scribbles)
    values = scribbles.transpose(*dims).values
    where = np.argwhere(values > 0)
    coords = {
        str(d): {"values": np.asarray(c.values, float), "attrs": json.dumps(dict(c.attrs))}
        for d, c in spatial_coords(scribbles).items()
    }
    return {
        "dims": list(dims),
        "shape": list(values.shape),
        "where": where.astype(np.int32),
        "label": values[tuple(where.T)].astype(np.int32),
        "coords": coords,
        "attrs": json.dumps(scribbles.attrs),
    }


def _as_scribbles(content: dict[str, Any]) -> xr.DataArray:
    plain = content["scribbles"]
    shape, where = tuple(map(int, plain["shape"])), np.asarray(plain["where"], int)
    if math.prod(shape) > MAX_PIXELS or (where < 0).any() or (where >= shape).any():
        raise ValueError(f"scribbles on {shape} pixels")
    values = np.zeros(shape, np.uint8)
    values[tuple(where.T)] = plain["label"]
    coords = {
        d: (d, np.asarray(c["values"], float), json.loads(c["attrs"]))
        for d, c in plain["coords"].items()
    }
    grid = xr.DataArray(values, dims=plain["dims"], coords=coords)
    label = label_array(values, grid, content["phases"], content["colors"])
    return label.assign_attrs(json.loads(plain["attrs"]))
