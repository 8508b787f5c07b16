"""A trained pixel classifier, to a file and back.

Forests are written as plain arrays (a zip of JSON and NumPy arrays), which are read without
scikit-learn and by any version of it. Other models are scikit-learn's own objects, in skops' form.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from eds_xr.atomic_write import written_file
from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.plain_archive import (
    Archive,
    bytes_of,
    is_archive,
    packed,
    unpacked,
)
from eds_xr.segmentation.classify.plain_scribbles import scribbles_from, scribbles_to
from eds_xr.segmentation.classify.trees import Trees, is_forest, trees_of

#: Of files of forests; those of later forms are refused.
KIND, FORM = "pixel classifier", 1
#: Of skops' files.
SKOPS_FORM = 2


@dataclass(frozen=True)
class PixelClassifier:
    """A fitted classifier and all that its use on other images needs.

    Attributes
    ----------
    model : scikit-learn classifier, or Trees
        Its classes are label values: ``i`` is ``phases[i - 1]``. A forest that was read from a
        file is an array of trees.
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
    scribbles : tuple of DataArray [y, x; integer label]
        What was painted on each image.
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
    scribbles: tuple[xr.DataArray, ...] = field(repr=False)
    versions: dict[str, str] = field(repr=False)


def save(
    classifier: PixelClassifier, path: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a classifier to one file: model, features, scribbles, phases, colours, seed, versions.

    Computes: at once. The file appears whole or not at all. A forest is written as plain arrays,
    which later versions read, too, and without scikit-learn; any other model in skops' form, for
    the same versions of scikit-learn and skops.

    Raises
    ------
    EdsError
        When there is a file (without `overwrite`), or the model is of a type that :func:`load`
        would not read.
    """
    content, target = classifier_bytes(classifier), Path(path)
    with written_file(target, overwrite=overwrite) as partial:
        partial.write_bytes(content)
    return target


def load(path: str | os.PathLike[str]) -> PixelClassifier:
    """Read a classifier that :func:`save` wrote.

    Nothing of the file is ever run: forests are numbers, of other models only the types of a fixed
    list are made, and trees whose indices lead astray are refused. So a file from a stranger does
    no harm.

    Computes: at once.

    Raises
    ------
    EdsError
        When it is no such file, damaged, of a later form, or holds any other type.
    """
    return classifier_from(bytes_of(path, KIND), str(path))


def classifier_bytes(classifier: PixelClassifier) -> bytes:
    """Return the content of a classifier's file."""
    model = classifier.model
    painted = [scribbles_to(part) for part in classifier.scribbles]
    header = {
        "kind": KIND,
        "form": FORM,
        "features": list(classifier.features),
        "n_painted": list(classifier.n_painted),
        "out_of_bag_accuracy": _or_none(classifier.out_of_bag_accuracy),
        "seed": classifier.seed,
        "phases": list(classifier.phases),
        "colors": list(classifier.colors),
        "versions": dict(classifier.versions),
        "scribbles": [part.header for part in painted],
    }
    if not (isinstance(model, Trees) or is_forest(model)):
        from eds_xr.segmentation.classify.safe_file import model_bytes

        content = {**header, "form": SKOPS_FORM, "model": model}
        return model_bytes(content | {"painted": [part.arrays for part in painted]})
    trees = model if isinstance(model, Trees) else trees_of(model)
    arrays = {name: getattr(trees, name) for name in _TREE_ARRAYS}
    for i, part in enumerate(painted):
        arrays |= {f"scribbles/{i}/{name}": array for name, array in part.arrays.items()}
    return packed(header | {"model": trees.kind}, arrays)


def classifier_from(content: bytes, name: str) -> PixelClassifier:
    """Return the classifier of a file's content; `name` is what errors call the file."""
    if is_archive(content):
        try:
            return _classifier_of_trees(unpacked(content, kind=KIND, form=FORM))
        except EdsError as error:
            raise EdsError(f"{name} was not read: {error}") from error
    from eds_xr.segmentation.classify.safe_file import model_from

    found = model_from(content, name)
    form = found.get("form")
    if form not in (1, SKOPS_FORM):
        raise EdsError(f"{name} is of form {form}, expected {SKOPS_FORM}: update eds_xr")
    try:
        if form == 1:
            found |= _of_form_1(found["scribbles"])
        return _classifier(found, found["model"], found["painted"])
    except _UNREADABLE as error:
        raise EdsError(f"{name} is no whole pixel classifier: {error!r}") from error


_UNREADABLE = (
    EdsError, KeyError, TypeError, ValueError, AttributeError, IndexError, MemoryError,
    OverflowError,
)  # fmt: skip
_TREE_ARRAYS = (
    "root", "left", "right", "feature", "threshold", "votes", "classes_", "feature_importances_",
)  # fmt: skip


def _classifier_of_trees(found: Archive) -> PixelClassifier:
    try:
        trees = Trees(**{n: found.arrays[n] for n in _TREE_ARRAYS}, kind=str(found.header["model"]))
        count = len(found.header["scribbles"])
        painted = [
            {
                n.split("/", 2)[2]: array
                for n, array in found.arrays.items()
                if n.startswith(f"scribbles/{i}/")
            }
            for i in range(count)
        ]
        made = _classifier(found.header, trees, painted)
        if trees.n_features_in_ != len(made.features) or trees.classes_.max() > len(made.phases):
            raise ValueError("features or phases without a name")
    except EdsError:
        raise
    except _UNREADABLE as error:
        raise EdsError(f"it is no whole pixel classifier: {error!r}") from error
    return made


def _classifier(header: dict[str, Any], model: Any, painted: list[Any]) -> PixelClassifier:
    phases, colors = (tuple(map(str, header[name])) for name in ("phases", "colors"))
    right = header["out_of_bag_accuracy"]
    return PixelClassifier(
        model=model,
        features=tuple(map(str, header["features"])),
        phases=phases,
        colors=colors,
        n_painted=tuple(map(int, header["n_painted"])),
        out_of_bag_accuracy=math.nan if right is None else float(right),
        seed=int(header["seed"]),
        scribbles=tuple(
            scribbles_from(one, arrays, phases, colors)
            for one, arrays in zip(header["scribbles"], painted, strict=True)
        ),
        versions={str(k): str(v) for k, v in header["versions"].items()},
    )


def _of_form_1(scribbles: dict[str, Any]) -> dict[str, Any]:
    """Return scribbles of skops' first form, on one image, as they are written now."""
    coords = scribbles["coords"]
    header = scribbles | {"coords": {d: c["attrs"] for d, c in coords.items()}}
    arrays = scribbles | {f"coord_{d}": c["values"] for d, c in coords.items()}
    return {"scribbles": [header], "painted": [arrays]}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
