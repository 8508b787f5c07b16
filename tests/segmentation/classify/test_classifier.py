"""Tests of files of classifiers: they come back the same; forests need no scikit-learn."""

import contextlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from eds_xr.schema import EdsError, label_array
from eds_xr.segmentation.classify.classifier import PixelClassifier, load, save
from eds_xr.segmentation.classify.plain_archive import packed, unpacked
from eds_xr.segmentation.classify.quality import feature_importance
from eds_xr.segmentation.classify.training import predict, train
from eds_xr.segmentation.classify.trees import Trees

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
    again = load(save(classifier, tmp_path / "minerals.edsx"))
    for name in ("features", "phases", "colors", "n_painted", "seed", "versions"):
        assert getattr(again, name) == getattr(classifier, name)
    np.testing.assert_equal(again.out_of_bag_accuracy, classifier.out_of_bag_accuracy)
    assert again.versions["scikit-learn"] == sklearn.__version__
    xr.testing.assert_identical(again.scribbles[0], classifier.scribbles[0])
    np.testing.assert_array_equal(predict(again, features), predict(classifier, features))


def test_save__whole_or_not_at_all(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path
) -> None:
    classifier, path = train(features, scribbles), tmp_path / "a.edsx"
    save(classifier, path)
    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        save(classifier, path)
    save(classifier, path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.edsx"]


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_load__a_forest_is_arrays_with_scikit_learns_votes(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path, kind: Any
) -> None:
    classifier = train(features, scribbles, classifier=kind(30, random_state=1))
    again = load(save(classifier, tmp_path / "a.edsx"))
    assert isinstance(again.model, Trees)
    pixels = features.values.reshape(3, -1).T
    expected = classifier.model.predict_proba(pixels)
    np.testing.assert_array_equal(again.model.predict_proba(pixels), expected)  # NumPy
    found = predict(again, features).values.reshape(2, -1).T  # compiled
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    xr.testing.assert_identical(feature_importance(again), feature_importance(classifier))
    assert predict(again, features).history == predict(classifier, features).history
    second = save(again, tmp_path / "b.edsx").read_bytes()
    assert second == (tmp_path / "a.edsx").read_bytes()


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("sklearn", "skops", "dask_ml"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import numpy as np
import xarray as xr
from eds_xr import classify

features = xr.load_dataarray(sys.argv[2])
found = classify.predict(classify.load(sys.argv[1]), features)
np.save(sys.argv[3], found.values)
print([name for name in sys.modules if name.split(".")[0] == "sklearn"])
"""


@pytest.mark.slow
def test_load__and_predict_a_forest_without_scikit_learn(
    features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path
) -> None:
    classifier = train(features, scribbles)
    path = save(classifier, tmp_path / "a.edsx")
    features.to_netcdf(tmp_path / "features.nc", engine="h5netcdf")
    found = tmp_path / "found.npy"
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, path, tmp_path / "features.nc", found],
        capture_output=True, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    np.testing.assert_array_equal(np.load(found), predict(classifier, features))


def content(path: Path) -> Any:
    return unpacked(path.read_bytes(), kind="pixel classifier", form=1)


@pytest.fixture
def small(features: xr.DataArray, scribbles: xr.DataArray, tmp_path: Path) -> Path:
    forest = RandomForestClassifier(3, min_samples_leaf=3, random_state=0)
    return save(train(features, scribbles, classifier=forest), tmp_path / "small.edsx")


@pytest.mark.parametrize(
    ("name", "value"),
    [("left", 10**6), ("right", -7), ("left", 0), ("right", 1), ("feature", 3), ("feature", -1)],
)
def test_load__refuses_trees_that_lead_astray(small: Path, name: str, value: int) -> None:
    found = content(small)
    found.arrays[name][0] = value
    small.write_bytes(packed(found.header, found.arrays))
    with pytest.raises(EdsError, match="small.edsx was not read: a tree of the classifier is dam"):
        load(small)


def test_load__refuses_arrays_and_names_that_do_not_fit(small: Path) -> None:
    found = content(small)
    for name in ("votes", "threshold", "root", "left", "classes_", "scribbles/0/where"):
        rest = {n: a for n, a in found.arrays.items() if n != name}
        small.write_bytes(packed(found.header, rest))
        with pytest.raises(EdsError, match="is no whole pixel classifier"):
            load(small)
    for name, value in (("features", ["a"]), ("phases", ["matrix"]), ("scribbles", 3)):
        small.write_bytes(packed(found.header | {name: value}, found.arrays))
        with pytest.raises(EdsError, match="was not read"):
            load(small)
    shorter = found.arrays | {"votes": found.arrays["votes"][1:]}
    small.write_bytes(packed(found.header, shorter))
    with pytest.raises(EdsError, match="its votes are not those of its classes"):
        load(small)


def test_load__later_form_and_other_kinds(small: Path) -> None:
    found = content(small)
    small.write_bytes(packed(found.header | {"form": 2}, found.arrays))
    with pytest.raises(EdsError, match="it is of form 2, expected 1: update eds_xr"):
        load(small)
    small.write_bytes(packed({"kind": "session", "form": 1}, {}))
    with pytest.raises(EdsError, match="it is a session, expected a pixel classifier"):
        load(small)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_load__damage_is_an_error_or_harmless(
    features: xr.DataArray, small: Path, data: st.DataObject
) -> None:
    """Bytes or values changed: never anything but a classifier that predicts, or an EdsError."""
    kept = small.with_name("kept")
    if not kept.exists():
        kept.write_bytes(small.read_bytes())
    if data.draw(st.booleans()):
        damaged = bytearray(kept.read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        small.write_bytes(bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))
    else:
        found = content(kept)
        array = found.arrays[data.draw(st.sampled_from(sorted(found.arrays)))].ravel()
        least = 0 if array.dtype == np.uint8 else -1
        values = st.sampled_from([least, 0, 1, 2, 5, 200, 255 if least == 0 else 2**31 - 1])
        array[data.draw(st.integers(0, array.size - 1))] = data.draw(values)
        small.write_bytes(packed(found.header, found.arrays))
    with contextlib.suppress(EdsError):
        again = load(small)
        assert isinstance(again, PixelClassifier)
        if set(again.features) <= set(features.feature.values):
            predict(again, features).compute()


def test_load__needs_no_more_memory_than_the_file(small: Path) -> None:
    """An array that claims to be larger than what is there."""
    with zipfile.ZipFile(small) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    longer = members["votes.npy"].replace(b", 2), }" + 9 * b" ", 9 * b"9" + b", 2), }")
    assert len(longer) == len(members["votes.npy"])
    assert longer != members["votes.npy"]
    with zipfile.ZipFile(small, "w") as archive:
        for name, text in (members | {"votes.npy": longer}).items():
            archive.writestr(name, text)
    with pytest.raises(EdsError, match="an array is not whole"):
        load(small)
