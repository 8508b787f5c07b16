"""Tests of skops' files of classifiers: never anything in them is run."""

import contextlib
import io
import json
import operator
import os
import shutil
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.classifier import PixelClassifier, load, save
from eds_xr.segmentation.classify.training import predict, train


def forest_in_a_pipeline() -> Any:
    """Return what is written in skops' form, and holds trees."""
    return make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0))


@pytest.mark.parametrize(
    "model", [HistGradientBoostingClassifier(max_iter=2), SVC(probability=True)], ids=["gbt", "svc"]
)
@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
def test_save__refuses_what_could_not_be_read(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path, model: Any
) -> None:
    classifier = train(features, scribbles, classifier=model)
    with pytest.raises(EdsError, match="could not be read again.*not among the types"):
        save(classifier, tmp_path / "a.skops")
    assert not list(tmp_path.iterdir())


class Hostile:
    """An object that skops makes by calling its class."""

    def __init__(self, path: str):
        self.path = path
        Path(path).write_text("code of the file was run")

    def __reduce__(self) -> Any:
        return Hostile, (self.path,)


def content_of(classifier: PixelClassifier) -> dict[str, Any]:
    return {"form": 1, "model": classifier.model}


def test_load__never_runs_what_is_in_the_file(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path
) -> None:
    mark, path = tmp_path / "mark", tmp_path / "hostile.skops"
    hostile = Hostile(str(mark))
    path.write_bytes(skops.io.dumps(content_of(train(features, scribbles)) | {"seed": hostile}))
    mark.unlink()
    with pytest.raises(EdsError, match=r"holds .*Hostile \(ConstructorFromReduceNode\)"):
        load(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "value",
    [os.system, operator.methodcaller("write_text", "x"), partial(print, "x"), [].append, np.sum],
    ids=["function", "methodcaller", "partial", "method", "ufunc"],
)
def test_load__refuses_functions(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "hostile.skops"
    path.write_bytes(skops.io.dumps({"form": 1, "model": None, "seed": value}))
    with pytest.raises(EdsError, match="not among the types"):
        load(path)


def rewritten(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Rewrite each member of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))
    return path


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("left_child", 10**9),
        ("right_child", -7),
        ("left_child", 0),
        ("feature", 10**6),
        ("left_child", 2),
    ],
)
def test_load__refuses_trees_that_lead_astray(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path, field: str, value: int
) -> None:
    path = save(train(features, scribbles, classifier=forest_in_a_pipeline()), tmp_path / "a.skops")

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith(".npy"):
            return content
        array = np.load(io.BytesIO(content))
        if array.dtype.names is None or array.size < 3:
            return content
        array[field][0] = value
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    with pytest.raises(EdsError, match="a tree of the classifier is damaged"):
        load(rewritten(path, change))


def test_load__refuses_fewer_features_than_the_trees_use(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path
) -> None:
    classifier = train(features, scribbles, classifier=forest_in_a_pipeline())
    classifier.model.steps[1][1].n_features_in_ = 1
    path = save(classifier, tmp_path / "a.skops")
    with pytest.raises(EdsError, match="a tree of the classifier is damaged"):
        load(path)


def test_load__refuses_endless_repetition(tmp_path: Path) -> None:
    """Lists of lists that name each other by number: thirty lines for a billion objects."""
    path = tmp_path / "bomb.skops"
    plain = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode"}
    node: dict[str, Any] = plain | {"__id__": 1, "content": []}
    for i in range(2, 32):
        node = plain | {"__id__": i, "content": [node, plain | {"__id__": i - 1, "content": []}]}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(node | {"protocol": 2}))
    with pytest.raises(EdsError, match="written in two ways"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"[1, 2]"])
def test_load__refuses_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.skops"
    path.write_bytes(content)
    with pytest.raises(EdsError, match="cannot be read as a pixel classifier"):
        load(path)
    with pytest.raises(EdsError, match="no pixel classifier can be read"):
        load(tmp_path / "none.skops")


def test_load__refuses_a_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eds_xr.segmentation.classify.safe_file.MAX_BYTES", 2**20)
    path = tmp_path / "bomb.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr("zeros.npy", bytes(2**21))
    with pytest.raises(EdsError, match="no pixel classifier is so large"):
        load(path)


@given(st.data())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_load__damage_is_an_error_or_harmless(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path, data: st.DataObject
) -> None:
    """A text of the schema replaced by another: never anything but a classifier or an EdsError."""
    path = tmp_path / "small.skops"
    if not path.exists():
        one = make_pipeline(StandardScaler(), DecisionTreeClassifier())
        save(train(features, scribbles, classifier=one), path)
    part = data.draw(st.sampled_from(["ListNode", "int", "sklearn", '"content"', ": 1", "numpy"]))
    other = data.draw(st.sampled_from(["DictNode", "str", "os", '"file"', ": -9", "builtins"]))
    damaged = tmp_path / "damaged.skops"
    shutil.copy(path, damaged)
    rewritten(damaged, lambda name, c: c.replace(part.encode(), other.encode(), 1))
    with contextlib.suppress(EdsError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert isinstance(load(damaged), PixelClassifier)


def test_load__later_form(features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path) -> None:
    path = tmp_path / "later.skops"
    path.write_bytes(skops.io.dumps(content_of(train(features, scribbles)) | {"form": 3}))
    with pytest.raises(EdsError, match="is of form 3, expected 2: update eds_xr"):
        load(path)
    path.write_bytes(skops.io.dumps(content_of(train(features, scribbles))))
    with pytest.raises(EdsError, match="is no whole pixel classifier: KeyError"):
        load(path)


def test_load__forests_of_the_first_form(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path
) -> None:
    """Forests had been skops' objects, too, and there was one painted image."""
    classifier, path = train(features, scribbles, seed=7), tmp_path / "old.skops"
    painted = scribbles.values
    plain = {
        "dims": ["y", "x"],
        "shape": list(painted.shape),
        "where": np.argwhere(painted > 0).astype(np.int32),
        "label": painted[painted > 0].astype(np.int32),
        "coords": {"x": {"values": features.x.values, "attrs": "{}"}},
        "attrs": json.dumps(scribbles.attrs),
    }
    content = {
        "form": 1, "model": classifier.model, "features": list(classifier.features),
        "n_painted": [18, 21], "out_of_bag_accuracy": 1.0, "seed": 7,
        "phases": ["matrix", "grain"], "colors": list(classifier.colors),
        "versions": {"eds_xr": "0.1.0"}, "scribbles": plain,
    }  # fmt: skip
    path.write_bytes(skops.io.dumps(content))
    again = load(path)
    np.testing.assert_array_equal(predict(again, features), predict(classifier, features))
    xr.testing.assert_identical(again.scribbles[0], scribbles)
    assert (again.seed, again.n_painted) == (7, (18, 21))
    renewed = load(save(again, tmp_path / "new.edsx"))
    np.testing.assert_array_equal(predict(renewed, features), predict(classifier, features))
