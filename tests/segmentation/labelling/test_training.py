"""Tests of training on a session."""

import numpy as np
import pytest
import xarray as xr

from eds_xr import labelling, scribbles
from eds_xr.schema import EdsError
from eds_xr.segmentation.classify.trees import Trees
from eds_xr.segmentation.labelling import Session

SIZE = 40


def channels(seed: int = 0) -> xr.DataArray:
    """Return two channels: grain b in the upper half, c in the left half, both where they meet."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    maps = np.stack([y < SIZE // 2, x < SIZE // 2]) * 20.0 + 5
    return xr.DataArray(
        rng.poisson(maps).astype(np.float32), {"channel": ["b map", "c map"]}, ("channel", "y", "x")
    )


def session_on(*images: str) -> Session:
    """Return a session with strokes in every quarter of each image."""
    made = Session()
    for name in ("m", "b", "c", "b+c"):
        made = labelling.add_class(made, name)
    for image in images:
        made = labelling.add_image(made, image, channels()[0])
        for name, y, x in (("m", 30, 30), ("b", 8, 30), ("c", 30, 8), ("b+c", 8, 8)):
            for dy in (-4, 4):
                roi = scribbles.line(name, [(y + dy, x - 5), (y + dy, x + 5)], width_pixels=3)
                made = labelling.add_stroke(made, roi, image)
    return labelling.set_parameter(made, "n_trees", 50)


def truth() -> np.ndarray:
    """Return presence of b and c."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.stack([y < SIZE // 2, x < SIZE // 2])


def test_train_session__phases_and_their_overlap() -> None:
    session = session_on("map")
    features = labelling.features_of(session, channels())
    trained = labelling.train_session(session, features)
    assert session.classifier is None
    found = labelling.phases_of(trained, labelling.probabilities_of(trained, features))
    assert found.phase.values.tolist() == ["m", "b", "c"]
    assert (found.present.sel(phase=["b", "c"]).values == truth()).mean() > 0.97
    assert (found.present.sel(phase="m").values == ~truth().any(0)).mean() > 0.97
    assert found.label.attrs["flag_colors"].split()[1:] == [c.color for c in session.classes[:3]]
    assert found.attrs["out_of_bag_accuracy"] > 0.95
    score = labelling.score_session(session, features)
    assert float(score.accuracy) > 0.95


def test_train_session__follows_its_parameters() -> None:
    session = labelling.set_parameter(session_on("map"), "channels", ("c map",))
    session = labelling.set_parameter(session, "kinds", ("gaussian",))
    session = labelling.set_parameter(session, "scales", (1.0, 8.0))
    features = labelling.features_of(session, channels())
    assert features.feature.values.tolist() == ["c map:gaussian_1", "c map:gaussian_8"]
    trained = labelling.train_session(session, features)
    assert trained.classifier is not None
    assert len(trained.classifier.model.estimators_) == 50
    rough = labelling.set_parameter(trained, "smoothness", 0.0)
    probability = labelling.probabilities_of(rough, features).persist()
    smooth = labelling.set_parameter(trained, "smoothness", 20.0)
    borders = [
        int((labelling.phases_of(one, probability).label.diff("x") != 0).sum())
        for one in (rough, smooth)
    ]
    assert borders[0] > 2 * borders[1]
    with pytest.raises(EdsError, match="no channel 'd map'; channels are b map, c map"):
        labelling.features_of(labelling.set_parameter(session, "channels", ["d map"]), channels())


def test_train_session__on_several_images(tmp_path) -> None:
    session = session_on("one", "two")
    features = {
        n: labelling.features_of(session, channels(i)) for i, n in enumerate(("one", "two"))
    }
    trained = labelling.train_session(session, features)
    assert trained.classifier is not None
    assert len(trained.classifier.scribbles) == 2
    third = labelling.features_of(session, channels(7))
    path = labelling.write_session(trained, tmp_path / "strokes.edsx")
    again = labelling.read_session(path)
    assert again.classifier is not None
    assert isinstance(again.classifier.model, Trees)
    for one in (trained, again):
        found = labelling.phases_of(one, labelling.probabilities_of(one, third))
        assert (found.present.sel(phase=["b", "c"]).values == truth()).mean() > 0.97
    alone = labelling.remove_strokes(session, [s.number for s in session.strokes_on("two")])
    with pytest.raises(EdsError, match=r"which image\? there are 'one', 'two'"):
        labelling.train_session(alone, features["one"])
    assert labelling.train_session(alone, {"one": features["one"]}).classifier is not None
    with pytest.raises(EdsError, match="'two' is painted, but its features are not given"):
        labelling.train_session(session, {"one": features["one"]})


def test_train_session__refuses_what_cannot_be_learnt() -> None:
    session = session_on("map")
    features = labelling.features_of(session, channels())
    with pytest.raises(EdsError, match="has no strokes: paint at least two classes"):
        labelling.train_session(labelling.remove_strokes(session, range(1, 9)), features)
    with pytest.raises(EdsError, match="only m is painted"):
        labelling.train_session(labelling.remove_strokes(session, range(3, 9)), features)
    for ask in (labelling.probabilities_of, labelling.phases_of):
        with pytest.raises(EdsError, match="has no classifier yet"):
            ask(session, features)
    with pytest.raises(EdsError, match="the image given as 'map' has 30 pixels"):
        labelling.train_session(session, features.isel(x=slice(30)))
