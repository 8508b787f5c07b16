"""Tests of eds_xr.classify."""

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
import sklearn
import skops.io
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import label as connected
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from eds_xr.provenance import history
from eds_xr.schema import EdsError, label_array
from eds_xr.segmentation.classify.classifier import PixelClassifier, load, save
from eds_xr.segmentation.classify.forest import compiled, is_forest
from eds_xr.segmentation.classify.quality import feature_importance, score_by_stroke
from eds_xr.segmentation.classify.training import predict, train

SHAPE = (24, 30)


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests short."""
    monkeypatch.setattr("eds_xr.segmentation.classify.training.N_TREES", 40)


@pytest.fixture
def features() -> xr.DataArray:
    """Two features that tell left from right, and one of noise."""
    rng = np.random.default_rng(0)
    side = np.where(np.arange(SHAPE[1]) < 15, -1.0, 1.0) * np.ones(SHAPE)
    values = np.stack([side, -side, 0 * side]) + 0.3 * rng.standard_normal((3, *SHAPE))
    return xr.DataArray(
        values.astype(np.float32),
        dims=("feature", "y", "x"),
        coords={"feature": ["Fp:a", "Fp:b", "Fp:noise"], "x": np.arange(SHAPE[1]) * 1.7},
    )


@pytest.fixture
def scribbles(features: xr.DataArray) -> xr.DataArray:
    values = np.zeros(SHAPE, np.uint8)
    values[5:8, 2:8] = 1
    values[12:15, 20:27] = 2
    return label_array(values, features, ["matrix", "grain"])


def test_train__learns_and_says_how_well(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles)
    assert classifier.phases == ("matrix", "grain")
    assert classifier.n_painted == (18, 21)
    assert classifier.out_of_bag_accuracy == 1.0
    probability = predict(classifier, features)
    truth = np.where(np.arange(30) < 15, 1, 2) * np.ones(SHAPE, int)
    assert ((probability.argmax("phase") + 1) == truth).mean() > 0.99


def test_predict__form(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    probability = predict(train(features, scribbles), features)
    assert probability.dims == ("phase", "y", "x")
    assert probability.dtype == np.float32
    assert list(probability.phase.values) == ["matrix", "grain"]
    np.testing.assert_array_equal(probability.x, features.x)
    np.testing.assert_allclose(probability.sum("phase"), 1, rtol=1e-6)


def test_train__same_for_any_chunks_and_workers(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    eager = predict(train(features, scribbles, seed=3), features)
    chunked = features.chunk(feature=2, y=7, x=11)
    lazy = predict(train(chunked, scribbles.chunk(y=5), seed=3), chunked)
    np.testing.assert_array_equal(lazy, eager)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), eager)


def test_train__seed_matters(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    first, second = (predict(train(features, scribbles, seed=s), features) for s in (0, 1))
    assert not np.array_equal(first, second)


def test_train__computes_only_painted_tiles(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    def only_painted(block: np.ndarray, block_info: dict) -> np.ndarray:
        row = block_info[0]["array-location"][1][0]
        assert 4 <= row < 16, f"rows from {row} on are not painted"
        return block

    chunked = features.chunk(y=4)
    watched = chunked.copy(
        data=chunked.data.map_blocks(only_painted, meta=np.empty((0, 0, 0), np.float32))
    )
    assert train(watched, scribbles).n_painted == (18, 21)
    predict(train(features, scribbles), watched)  # and nothing here


def test_train__bounded_draw_is_seeded(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles, max_pixels_per_phase=10)
    assert classifier.n_painted == (10, 10)
    again = train(features.chunk(y=5), scribbles, max_pixels_per_phase=10)
    np.testing.assert_array_equal(predict(classifier, features), predict(again, features))


def test_train__unpainted_phase_has_probability_zero(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    named = label_array(2 * (scribbles == 2) + (scribbles == 1), features, ["m", "g", "h"])
    probability = predict(train(features, named), features)
    assert float(probability.sel(phase="h").max()) == 0
    np.testing.assert_allclose(probability.sum("phase"), 1, rtol=1e-6)


def test_train__takes_any_classifier(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    given = LogisticRegression()
    classifier = train(features, scribbles, classifier=given)
    assert not hasattr(given, "coef_")  # a clone was fitted
    assert np.isnan(classifier.out_of_bag_accuracy)
    assert predict(classifier, features).shape == (2, *SHAPE)


def test_predict__matches_features_by_name(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles)
    more = xr.concat(
        [features.isel(feature=[0]).assign_coords(feature=["new"]), features], "feature"
    )
    shuffled = more.isel(feature=[2, 0, 3, 1])
    np.testing.assert_array_equal(predict(classifier, shuffled), predict(classifier, features))
    with pytest.raises(EdsError, match="1 of the classifier's 3 features are missing.*'Fp:a'"):
        predict(classifier, features.isel(feature=[1, 2]))


def test_predict__line_scan(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles)
    line = predict(classifier, features.isel(y=3, drop=True))
    np.testing.assert_array_equal(line, predict(classifier, features).isel(y=3))


def test_train__refuses_wrong_scribbles(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    with pytest.raises(EdsError, match="only matrix is painted"):
        train(features, scribbles.where(scribbles == 1, 0))
    with pytest.raises(EdsError, match="nothing is painted in the scribbles"):
        train(features, 0 * scribbles)
    with pytest.raises(EdsError, match="the scribble image has 20 pixels along 'x'"):
        train(features, scribbles.isel(x=slice(20)))
    with pytest.raises(EdsError, match="the scribble image lies elsewhere along 'x'"):
        train(features, scribbles.assign_coords(x=scribbles.x + 5))
    with pytest.raises(EdsError, match="integer labels"):
        train(features, scribbles.astype(float))
    with pytest.raises(EdsError, match="hold labels 0 to 4, their flag_meanings name 2"):
        train(features, 2 * scribbles.assign_attrs(scribbles.attrs), seed=0)


def test_train__refuses_nan_and_odd_classifiers(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    with pytest.raises(EdsError, match=r"painted pixels have NaN or infinite features \(Fp:b"):
        train(features.where(features.feature != "Fp:b"), scribbles)
    with pytest.raises(EdsError, match="RidgeClassifier gives no probabilities"):
        train(features, scribbles, classifier=RidgeClassifier())
    with pytest.raises(EdsError, match="with a dimension 'feature'"):
        train(features.rename(feature="channel"), scribbles)
    with pytest.raises(EdsError, match="no names"):
        train(features.drop_vars("feature"), scribbles)


def test_predict__refuses_nan_when_computed(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    probability = predict(train(features, scribbles), features.where(features.x > 2))
    with pytest.raises(EdsError, match="features hold NaN"):
        probability.compute()


def test_train__balances_phases(features: xr.DataArray) -> None:
    rare = label_array(np.zeros(SHAPE, np.uint8), features, ["matrix", "grain"])
    rare[:, :12] = 1
    rare[3:7, 14:24] = 2
    blurred = features.isel(feature=[2])  # noise: only the shares of the phases decide
    plain = predict(train(blurred, rare, balanced=False), blurred).sel(phase="grain").mean()
    equal = predict(train(blurred, rare), blurred).sel(phase="grain").mean()
    assert float(equal) > float(plain) + 0.1


def test_train__pipeline_without_weights(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    probability = predict(train(features, scribbles, classifier=pipeline), features)
    model = train(features, scribbles, classifier=pipeline).model
    expected = model.predict_proba(features.stack(pixel=("y", "x")).values.T)[:, 1]
    np.testing.assert_allclose(
        probability.sel(phase="grain").values.ravel(), expected.astype(np.float32), rtol=1e-6
    )


def test_predict__is_lazy_and_float32(features: xr.DataArray, scribbles: xr.DataArray) -> None:
    classifier = train(features, scribbles)
    seen: list[int] = []

    def watched(block: np.ndarray) -> np.ndarray:
        seen.append(block.size)
        return block

    data = features.chunk(y=10).data.map_blocks(watched, meta=np.empty((0, 0, 0), np.float32))
    probability = predict(classifier, features.copy(data=data))
    assert not seen
    assert probability.chunks == ((2,), (10, 10, 4), (30,))
    probability.isel(y=slice(10)).compute()
    assert seen == [3 * 10 * 30]


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(20, random_state=0),
        RandomForestClassifier(20, max_leaf_nodes=7, random_state=0),
        ExtraTreesClassifier(20, random_state=1, min_samples_leaf=3),
        DecisionTreeClassifier(random_state=2),
        ExtraTreeClassifier(random_state=2),
    ],
    ids=lambda m: type(m).__name__,
)
@pytest.mark.parametrize("n_pixels", [1, 63, 64, 1000])
def test_compiled__equals_scikit_learn(model: Any, n_pixels: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 9)).astype(np.float32)
    label = np.digitize(values[:, 0] + 0.5 * rng.normal(size=300), [-0.5, 0.5]) + 1
    model = clone(model).fit(values, label)
    assert is_forest(model)
    pixels = rng.normal(size=(n_pixels, 9)).astype(np.float32)
    found = compiled(model).predict_proba(pixels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, model.predict_proba(pixels).astype(np.float32))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_compiled__equals_scikit_learn_at_thresholds(seed: int) -> None:
    """Few distinct values: thresholds halfway between float32 neighbours, pixels upon them."""
    rng = np.random.default_rng(seed)
    near = np.float32(10.0 ** rng.integers(-30, 30))
    grid = near * (1 + np.arange(6, dtype=np.float32) * np.finfo(np.float32).eps)
    values = rng.choice(grid, (80, 3))
    model = RandomForestClassifier(5, random_state=0).fit(values, rng.integers(1, 4, 80))
    pixels = rng.choice(np.append(grid, [0, -near]).astype(np.float32), (200, 3))
    expected = model.predict_proba(pixels).astype(np.float32)
    np.testing.assert_array_equal(compiled(model).predict_proba(pixels), expected)


def test_compiled__smooth_images_take_the_short_way() -> None:
    """Blocks whose pixels all go one way, and trees of a single leaf."""
    x = np.linspace(0, 1, 500, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    for label in (1 + (x[:, 0] > 0.5), 1 + (np.arange(500) == 3)):
        model = RandomForestClassifier(10, random_state=0, min_samples_leaf=40).fit(x, label)
        expected = model.predict_proba(x).astype(np.float32)
        np.testing.assert_array_equal(compiled(model).predict_proba(x), expected)


def test_is_forest__not_what_predicts_in_another_way() -> None:
    class Contrary(RandomForestClassifier):
        def predict_proba(self, X: Any) -> Any:
            return 1 - super().predict_proba(X)

    values = np.arange(20, dtype=np.float32)[:, None]
    assert not is_forest(Contrary(3).fit(values, values[:, 0] > 9))
    assert not is_forest(LogisticRegression().fit(values, values[:, 0] > 9))
    two = np.stack([values[:, 0] > 9, values[:, 0] > 4], axis=1)
    assert not is_forest(RandomForestClassifier(3).fit(values, two))


def strokes(features: xr.DataArray, *, on_matrix: int = 4, on_grain: int = 3) -> xr.DataArray:
    values = np.zeros(SHAPE, np.uint8)
    for i in range(on_matrix):
        values[1 + 5 * i : 3 + 5 * i, 2:9] = 1
    for i in range(on_grain):
        values[2 + 6 * i : 4 + 6 * i, 18 + i : 27] = 2
    return label_array(values, features, ["matrix", "grain", "never"])


def test_score_by_stroke__form(features: xr.DataArray) -> None:
    score = score_by_stroke(features, strokes(features))
    assert list(score.phase.values) == list(score.predicted.values) == ["matrix", "grain"]
    np.testing.assert_array_equal(score.n_strokes, [4, 3])
    np.testing.assert_array_equal(score.confusion.sum("predicted"), [56, 48])
    assert score.attrs["accuracy"] == pytest.approx(float(score.recall.mean()))
    assert score.attrs["accuracy"] > 0.95
    assert history(score)[-1]["folds"] == 3


def test_score_by_stroke__is_not_flattered(features: xr.DataArray) -> None:
    """Strokes differ, but say nothing of their phase: only their own pixels remember it."""
    painted = strokes(features)
    number, _ = connected(painted.values)
    own = np.random.default_rng(1).normal(size=number.max() + 1)[number]
    alone = features.isel(feature=[0]).copy(data=own[None].astype(np.float32))
    inside = train(alone, painted).out_of_bag_accuracy
    assert score_by_stroke(alone, painted).attrs["accuracy"] < 0.7 < 0.99 < inside


def test_score_by_stroke__same_for_any_chunks(features: xr.DataArray) -> None:
    eager = score_by_stroke(features, strokes(features), seed=2)
    lazy = score_by_stroke(features.chunk(y=7), strokes(features).chunk(x=11), seed=2)
    xr.testing.assert_identical(lazy, eager)


def test_score_by_stroke__any_classifier(features: xr.DataArray) -> None:
    score = score_by_stroke(features, strokes(features), classifier=LogisticRegression(), folds=2)
    assert score.attrs["accuracy"] > 0.95


def test_score_by_stroke__needs_strokes(features: xr.DataArray) -> None:
    with pytest.raises(EdsError, match="grain has a single stroke.*paint at least two"):
        score_by_stroke(features, strokes(features, on_grain=1))
    with pytest.raises(EdsError, match="folds must be 2 or more, found 1"):
        score_by_stroke(features, strokes(features), folds=1)


def test_feature_importance__most_important_first(
    features: xr.DataArray, scribbles: xr.DataArray
) -> None:
    importance = feature_importance(train(features, scribbles))
    assert importance.dims == ("feature",)
    assert float(importance.sum()) == pytest.approx(1)
    assert importance.feature.values[-1] == "Fp:noise"
    assert (importance.diff("feature") <= 0).all()
    with pytest.raises(EdsError, match="LogisticRegression measures no importance"):
        feature_importance(train(features, scribbles, classifier=LogisticRegression()))


MODELS = [
    None,
    ExtraTreesClassifier(5, random_state=0),
    DecisionTreeClassifier(random_state=0),
    make_pipeline(StandardScaler(), PCA(2), LogisticRegression()),
    LinearDiscriminantAnalysis(),
    GaussianNB(),
    MLPClassifier((4,), max_iter=20, random_state=0),
    CalibratedClassifierCV(DecisionTreeClassifier(random_state=0), cv=2),
    VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], voting="soft"),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_save__and_load_give_the_same(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path, model: Any
) -> None:
    named = label_array(scribbles, features, ["matrix", "grain", "void"], ["#123456", "#abcdef"])
    classifier = train(features, named, classifier=model, seed=7)
    again = load(save(classifier, tmp_path / "minerals.skops"))
    for name in ("features", "phases", "colors", "n_painted", "seed", "versions"):
        assert getattr(again, name) == getattr(classifier, name)
    np.testing.assert_equal(again.out_of_bag_accuracy, classifier.out_of_bag_accuracy)
    assert again.versions["scikit-learn"] == sklearn.__version__
    xr.testing.assert_identical(again.scribbles, classifier.scribbles)
    np.testing.assert_array_equal(predict(again, features), predict(classifier, features))


def test_save__whole_or_not_at_all(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path
) -> None:
    classifier, path = train(features, scribbles), tmp_path / "a.skops"
    save(classifier, path)
    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        save(classifier, path)
    save(classifier, path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.skops"]


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
    [("left_child", 10**9), ("right_child", -7), ("left_child", 0), ("feature", 10**6)],
)
def test_load__refuses_trees_that_lead_astray(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path, field: str, value: int
) -> None:
    path = save(train(features, scribbles), tmp_path / "a.skops")

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
    classifier = train(features, scribbles)
    classifier.model.n_features_in_ = 1
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
        save(train(features, scribbles, classifier=DecisionTreeClassifier()), path)
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
    path.write_bytes(skops.io.dumps(content_of(train(features, scribbles)) | {"form": 2}))
    with pytest.raises(EdsError, match="is of form 2, expected 1: update eds_xr"):
        load(path)
    path.write_bytes(skops.io.dumps(content_of(train(features, scribbles))))
    with pytest.raises(EdsError, match="is no whole pixel classifier: KeyError"):
        load(path)
