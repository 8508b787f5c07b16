"""Tests of files of sessions: the same comes back, damage is an error, nothing is run."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from eds_xr import classify, labelling, scribbles
from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.plain_archive import packed, unpacked
from eds_xr.segmentation.labelling import Session, read_session, scribbles_of, write_session
from eds_xr.segmentation.labelling import session_file as module

LIKE = xr.DataArray(
    np.zeros((9, 12, 2)),
    {"y": ("y", 0.3 * np.arange(9), {"units": "nm"}), "x": 7 + np.arange(12) / 3},
    ("y", "x", "energy"),
)
FEATURES = xr.DataArray(
    np.stack([np.arange(108.0).reshape(9, 12), np.ones((9, 12))]).astype(np.float32),
    {"feature": ["a:intensity", "b:intensity"], "y": LIKE.y, "x": LIKE.x},
    ("feature", "y", "x"),
)


def session(*, classifier: Any = None) -> Session:
    made = labelling.add_image(Session(), "scan \u03b1.zarr", LIKE)
    made = labelling.add_image(made, "s3://bucket/other.zarr", LIKE.isel(y=slice(5)))
    for name in ("matrix", "grain \u03b2", "matrix+grain \u03b2"):
        made = labelling.add_class(made, name)
    hole = tuple(np.array([(a, a), (a, b), (b, b), (b, a)], float) for a, b in ((1, 8), (3, 5)))
    for image, roi in (
        (0, scribbles.line("matrix", [(0.25, 0.1), (8.7, 11.3)], width_pixels=2.5)),
        (0, scribbles.rectangle("grain_\u03b2", (2, 4), (3, 9))),
        (1, scribbles.Roi("matrix+grain_\u03b2", "polygon", hole, color="#010203")),
        (0, scribbles.eraser([(3.5, 5.5)], width_pixels=3)),
        (1, scribbles.points("matrix", [(0.5, 0.5)])),
        (0, scribbles.oval("grain_\u03b2", (5, 8), (5, 9))),
    ):
        made = labelling.add_stroke(made, roi, made.images[image].name)
    made = labelling.set_parameter(made, "channels", ("Fe_Ka", "haadf"))
    made = labelling.set_parameter(made, "smoothness", 0.1)
    if classifier is None:
        return made
    features, drawn = FEATURES, scribbles_of(made, made.images[0].name)
    return labelling.set_classifier(
        made, classify.train(features, drawn, classifier=classifier, seed=2)
    )


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(4, random_state=0)


def test_write_session__and_read_give_the_same(tmp_path: Path) -> None:
    one, path = session(), tmp_path / "strokes.edsx"
    again = read_session(write_session(one, path))
    assert again == one
    assert again.classifier is None
    for image in one.images:
        xr.testing.assert_identical(scribbles_of(again, image.name), scribbles_of(one, image.name))
    assert write_session(again, tmp_path / "b.edsx").read_bytes() == path.read_bytes()
    with pytest.raises(EdsError, match="exists; use overwrite=True"):
        write_session(one, path)
    write_session(labelling.remove_strokes(one, [1]), path, overwrite=True)
    assert len(read_session(path).strokes) == 5
    assert read_session(write_session(Session(), tmp_path / "empty.edsx")) == Session()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.edsx", "empty.edsx", "strokes.edsx"]


@pytest.mark.parametrize("model", [forest(), LogisticRegression()], ids=["forest", "other"])
def test_write_session__with_its_classifier(tmp_path: Path, model: Any) -> None:
    one = session(classifier=model)
    again = read_session(write_session(one, tmp_path / "strokes.edsx"))
    assert again == one
    assert again.classifier is not None
    assert one.classifier is not None
    np.testing.assert_array_equal(
        classify.predict(again.classifier, FEATURES), classify.predict(one.classifier, FEATURES)
    )


def test_read_session__refuses_other_and_later_files(tmp_path: Path) -> None:
    path = write_session(session(), tmp_path / "strokes.edsx")
    found = unpacked(path.read_bytes(), kind="session", form=1)
    path.write_bytes(packed(found.header | {"form": 2}, found.arrays))
    with pytest.raises(EdsError, match=r"strokes.edsx was not read: it is of form 2.*update eds_x"):
        read_session(path)
    trained = session(classifier=forest()).classifier
    assert trained is not None
    classify.save(trained, tmp_path / "classifier.edsx")
    with pytest.raises(EdsError, match="it is a pixel classifier, expected a session"):
        read_session(tmp_path / "classifier.edsx")
    path.write_bytes(b"PK nothing")
    with pytest.raises(EdsError, match="it is damaged, or no session"):
        read_session(path)
    with pytest.raises(EdsError, match="no session can be read from .*none.edsx"):
        read_session(tmp_path / "none.edsx")


@pytest.mark.parametrize(
    "change",
    [
        {"classes": [["matrix", "red"]]}, {"classes": [["matrix"]]}, {"classes": None},
        {"parameters": {"no_such": 1}}, {"parameters": {"n_trees": 10**9}}, {"images": []},
        {"strokes": [[1, "a", "matrix", "line", 1.0, "", [99]]]},
        {"strokes": [["1", "a", "matrix", "line", 1.0, "", [1]]]},
        {"strokes": []}, {"images": [{"name": "a", "shape": [-1, 5]}]},
        {"images": [{"name": "a", "dims": ["y", "x"], "shape": [2**40, 2**40], "coords": {}}]},
    ],
    ids=str,
)  # fmt: skip
def test_read_session__refuses_headers_that_do_not_fit(tmp_path: Path, change: Any) -> None:
    path = write_session(session(), tmp_path / "strokes.edsx")
    found = unpacked(path.read_bytes(), kind="session", form=1)
    path.write_bytes(packed(found.header | change, found.arrays))
    with pytest.raises(EdsError, match="strokes.edsx (was not read|is no whole session)"):
        read_session(path)


def test_read_session__is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_session(session(), tmp_path / "strokes.edsx")
    monkeypatch.setattr(module, "MAX_STROKES", 5)
    with pytest.raises(EdsError, match="it holds 6 strokes of"):
        read_session(path)


def test_read_session__refuses_points_that_are_no_numbers(tmp_path: Path) -> None:
    path = write_session(session(), tmp_path / "strokes.edsx")
    found = unpacked(path.read_bytes(), kind="session", form=1)
    found.arrays["points"][0] = np.nan
    path.write_bytes(packed(found.header, found.arrays))
    with pytest.raises(EdsError, match="NaN or infinite coordinates"):
        read_session(path)


VALUES = st.sampled_from(
    [None, -1, 0, 10**12, 1.5, "", "a", [], {}, True, [[1, 2]], float("1e308")]
)


@given(st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_read_session__damage_is_an_error_or_a_session(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes or values changed: never anything but a session that paints, or an EdsError."""
    kept, path = tmp_path / "kept.edsx", tmp_path / "damaged.edsx"
    if not kept.exists():
        write_session(session(classifier=forest()), kept)
    if data.draw(st.booleans()):
        damaged = bytearray(kept.read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))
    else:
        found = unpacked(kept.read_bytes(), kind="session", form=1)
        place: Any = found.header
        while isinstance(place, dict | list) and place:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
                place[key] = data.draw(VALUES)
                break
            place = place[key]
        path.write_bytes(packed(found.header, found.arrays, found.files))
    with contextlib.suppress(EdsError):
        again = read_session(path)
        assert isinstance(again, Session)
        for image in again.images:
            if image.grid.size < 10**6 and again.classes:
                scribbles_of(again, image.name)
        assert replace(again, classifier=None) == again
