"""The labeller without its view."""

import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr.app.labeller import files
from eds_xr.app.labeller.controller import Labeller
from eds_xr.app.pictures.drawing import Window
from eds_xr.schema import EdsError
from eds_xr.segmentation import labelling
from eds_xr.segmentation.labelling.autosave import Autosave


def message(number, path, phase, **more):
    return {
        "id": f"stroke {number}", "kind": "line", "points": [list(p) for p in path],
        "width_pixels": 3, "class": phase, "erase": False,
    } | more  # fmt: skip


@pytest.fixture
def labeller(scene):
    image, names, _ = scene
    made = Labeller(image, channels=eds_xr.element_maps(image, ["Mg", "Si", "Ca", "Fe"]))
    for old, new in zip(("class_1", "class_2"), names, strict=False):
        made.rename_class(old, new)
    made.add_class(names[2])
    yield made
    made.close()


def paint(labeller, hand, number=0):
    for phase, paths in hand.items():
        for path in paths:
            number += 1
            labeller.draw_stroke(message(number, path, phase))


def test_train__finds_the_phases_that_are_there(labeller, scene, hand):
    _, names, truth = scene
    paint(labeller, hand)
    labeller.train()
    labeller.wait()
    part = labeller.learning.part
    assert part.place == (0, 0, *truth.shape)
    assert (part.label.values == truth).mean() > 0.9
    assert labeller.learning.spectra.phase.values.tolist() == names
    assert labeller.learning.importance.size
    assert labeller.session.classifier is not None


def test_train__equals_the_stages_called_one_by_one(labeller, scene, hand):
    image, *_ = scene
    paint(labeller, hand)
    labeller.train()
    labeller.wait()
    channels = eds_xr.element_maps(image, ["Mg", "Si", "Ca", "Fe"]).rename(line="channel")
    session = labeller.session
    features = labelling.features_of(session, channels)
    trained = labelling.train_session(session, features)
    probability = labelling.probabilities_of(trained, features)
    np.testing.assert_array_equal(labeller.learning.part.probability, probability)
    label = eds_xr.graph_cut.smooth(probability, smoothness=1.0)
    np.testing.assert_array_equal(labeller.learning.part.label, label)
    spectra = image.eds.sum_spectra(label.eds.masks())
    np.testing.assert_array_equal(labeller.learning.spectra.counts, spectra.counts)


def test_train__again_is_stop(labeller, hand):
    paint(labeller, hand)
    labeller.train()
    labeller.train()
    labeller.wait()
    assert labeller.said == "stopped"
    assert labeller.learning.part is None
    assert not {"training", "labels"} & set(labeller.learning.busy)


@pytest.mark.slow
def test_find_phases__is_segment_with_the_strokes(labeller, scene, hand):
    image, names, truth = scene
    paint(labeller, hand)
    labeller.find_phases()
    assert labeller.learning.busy == ["phases"] or "phases" in labeller.learning.busy
    labeller.wait()
    found = labeller.learning.segmented
    expected = image.eds.segment(labelling.scribbles_of(labeller.session))
    np.testing.assert_array_equal(found.present, expected.present)
    assert found.phase.values.tolist() == names
    assert (found.label.values == truth).mean() > 0.9
    assert labeller.learning.times_read > 1
    assert labeller.overlay == "presence"
    layer = labeller.overlay_layer()
    assert layer.kind == "rgba"
    colors = {c.name: list(bytes.fromhex(c.color[1:])) for c in labeller.session.classes}
    seen = found.present.values
    for number, name in enumerate(names):
        alone = seen[number] & (seen.sum(0) == 1)
        assert (layer.values[alone] == [*colors[name], 255]).all()
    assert (layer.values[seen.sum(0) == 0, 3] == 0).all()
    both = np.argwhere(seen[0] & seen[1] & (seen.sum(0) == 2))
    mean = (np.array(colors[names[0]]) + colors[names[1]]) / 2
    assert all(abs(layer.values[y, x, :3] - mean).max() <= 0.5 for y, x in both)


def test_find_phases__again_is_stop(labeller, hand):
    paint(labeller, hand)
    labeller.find_phases()
    labeller.find_phases()
    labeller.wait()
    assert labeller.said == "stopped"
    assert labeller.learning.segmented is None
    assert "phases" not in labeller.learning.busy


def test_find_phases__says_what_is_missing(labeller):
    labeller.find_phases()
    labeller.wait()
    assert labeller.learning.segmented is None
    assert "paint" in labeller.said or "scribbles" in labeller.said


@pytest.mark.slow
def test_find_phases__its_script_does_the_same(labeller, scene, hand, tmp_path, monkeypatch):
    paint(labeller, hand)
    labeller.train()
    labeller.wait()
    assert "segment(" not in labeller.script()
    labeller.find_phases()
    labeller.wait()
    monkeypatch.chdir(tmp_path)
    labelling.write_session(labeller.session, tmp_path / "session.edsx")
    monkeypatch.setattr(eds_xr, "open", lambda name: scene[0])
    channels = eds_xr.element_maps(scene[0], ["Mg", "Si", "Ca", "Fe"]).rename(line="channel")
    names = {"channels": channels}
    exec(compile(labeller.script(), "script", "exec"), names)
    np.testing.assert_array_equal(names["segmented"].present, labeller.learning.segmented.present)


@pytest.mark.slow
def test_find_phases__is_saved_beside_the_image(labeller, hand, tmp_path):
    with pytest.raises(EdsError, match="press Phases first"):
        files.save(labeller, "segmented", tmp_path)
    paint(labeller, hand)
    labeller.find_phases()
    labeller.wait()
    written = files.save(labeller, "segmented", tmp_path)
    assert written.name == "image.segmented.zarr"
    read = xr.open_zarr(written, consolidated=False)
    np.testing.assert_array_equal(read.present, labeller.learning.segmented.present)
    np.testing.assert_array_equal(read.label, labeller.learning.segmented.label)


def test_live__each_stroke_trains_and_the_last_wins(labeller, hand, scene):
    paint(labeller, {name: paths[:2] for name, paths in hand.items()})
    labeller.set_live(True)
    paint(labeller, {name: paths[2:] for name, paths in hand.items()}, number=100)
    labeller.wait()
    assert (labeller.learning.part.label.values == scene[2]).mean() > 0.85
    painted = labeller.session.classifier.scribbles[0]
    expected = labelling.scribbles_of(labeller.session)
    np.testing.assert_array_equal(painted, expected)


def test_train__with_one_class_says_what_to_do(labeller, hand):
    name = next(iter(hand))
    paint(labeller, {name: hand[name]})
    labeller.train()
    labeller.wait()
    assert "paint the others, too" in labeller.said
    assert labeller.learning.part is None


def test_smoothness__labels_again_without_training(labeller, hand):
    paint(labeller, hand)
    labeller.train()
    labeller.wait()
    classifier, before = labeller.session.classifier, labeller.learning.part
    for value in (0.0, 2.0, 4.0):  # the last move counts
        labeller.set_parameter("smoothness", value)
    labeller.wait()
    after = labeller.learning.part
    assert labeller.session.classifier is classifier
    np.testing.assert_array_equal(after.probability, before.probability)
    expected = eds_xr.graph_cut.smooth(before.probability, smoothness=4.0)
    np.testing.assert_array_equal(after.label, expected)


def test_labels__of_what_is_seen_come_first(labeller, hand):
    paint(labeller, hand)
    labeller.look_at(Window(10, 20, 40, 60))
    places = []
    labeller.on_change(
        lambda what: places.append(labeller.learning.part.place) if what == "labels" else None
    )
    labeller.train()
    labeller.wait()
    assert places == [(10, 20, 40, 60), (0, 0, 96, 96)]


def test_look_at__where_not_all_is_kept_only_that_is_labelled(labeller, hand, monkeypatch):
    monkeypatch.setattr("eds_xr.app.labeller.steps.KEPT_BYTES", 1000)
    paint(labeller, hand)
    labeller.look_at(Window(0, 0, 30, 30))
    labeller.train()
    labeller.wait()
    assert labeller.learning.part.place == (0, 0, 30, 30)
    labeller.look_at(Window(50, 40, 90, 80))
    labeller.wait()
    assert labeller.learning.part.place == (50, 40, 90, 80)


def test_measure__scores_strokes(labeller, hand):
    paint(labeller, hand)
    labeller.learning.measure()
    labeller.wait()
    assert labeller.learning.score.recall.mean() > 0.7


def test_draw_stroke__the_same_one_twice_is_one(labeller, hand):
    path = next(iter(hand.values()))[0]
    name = labeller.session.class_names[0]
    labeller.draw_stroke(message(1, path, name))
    labeller.draw_stroke(message(1, path, name))
    labeller.draw_stroke(message(2, path, name, again=True))  # of a browser, to another process
    assert len(labeller.session.strokes) == 1
    labeller.draw_stroke(message(3, path, name))
    assert len(labeller.session.strokes) == 2


def test_draw_stroke__on_its_way_while_its_class_is_renamed(labeller, hand):
    path = next(iter(hand.values()))[0]
    old = labeller.session.class_names[0]
    labeller.rename_class(old, "oxide")
    labeller.draw_stroke(message(1, path, old))
    assert labeller.session.strokes[0].roi.phase == "oxide"


def test_undo__leaves_choices_and_classifier(labeller, hand):
    paint(labeller, hand)
    labeller.train()
    labeller.wait()
    labeller.set_parameter("smoothness", 3.0)
    labeller.undo()
    assert len(labeller.session.strokes) == sum(map(len, hand.values())) - 1
    assert labeller.session.parameters.smoothness == 3.0
    assert labeller.session.classifier is not None
    labeller.redo()
    assert len(labeller.session.strokes) == sum(map(len, hand.values()))


def test_classes__overlap_merge_delete(labeller, hand):
    a, b, c = labeller.session.class_names
    labeller.add_class(f"{a}+{b}")
    assert labeller.active == f"{a}+{b}"
    paint(labeller, hand)
    labeller.merge_classes(c, a)
    labeller.wait()
    assert labeller.session.class_names == (a, b, f"{a}+{b}")
    assert {s.roi.phase for s in labeller.session.strokes} == {a, b}
    labeller.delete_class(b)
    assert labeller.session.class_names == (a,)
    assert labeller.active == a


def test_said_of__place_value_and_class(labeller, hand):
    paint(labeller, hand)
    labeller.draw_picture()
    labeller.train()
    labeller.wait()
    told = labeller.said_of(20.7, 30.2)
    assert told.startswith("y 20, x 30")
    assert labeller.channel in told
    assert "%" in told
    assert labeller.said_of(-1, 5) == ""


def test_overlay__of_each_kind(labeller, hand):
    paint(labeller, hand)
    labeller.train()
    labeller.wait()
    part = labeller.learning.part
    np.testing.assert_array_equal(labeller.overlay_layer().values, part.label)
    labeller.show(overlay="uncertainty")
    np.testing.assert_allclose(labeller.overlay_layer().values / 255, part.uncertainty, atol=0.01)
    labeller.show(overlay="probability")
    shares = part.probability.sel(phase=labeller.active)
    np.testing.assert_allclose(labeller.overlay_layer().values / 255, shares, atol=0.01)
    with pytest.raises(EdsError, match="an overlay must be one of"):
        labeller.show(overlay="fog")


def test_close__writes_the_session_and_ends_the_work(scene, hand, tmp_path):
    image, names, _ = scene
    autosave = Autosave("map.zarr", folder=tmp_path)
    labeller = Labeller(image, channels=eds_xr.element_maps(image, ["Mg", "Si"]), autosave=autosave)
    labeller.draw_stroke(message(1, hand[names[0]][0], "class_1"))
    labeller.train()
    labeller.close()
    recovered = Autosave("map.zarr", folder=tmp_path).recover()
    assert recovered.strokes == labeller.session.strokes


def test_script__does_the_same(labeller, scene, hand, tmp_path):
    image, *_ = scene
    store = eds_xr.save(image, tmp_path / "map.zarr")
    opened = eds_xr.open(store)
    again = Labeller(opened, name=str(store), session=None)
    for old, new in zip(("class_1", "class_2"), hand, strict=False):
        again.rename_class(old, new)
    again.add_class(list(hand)[2])
    again.set_parameter("channels", ["Mg_Ka", "Si_Ka", "Ca_Ka"])
    paint(again, hand)
    again.train()
    again.wait()
    file = labelling.write_session(again.session, tmp_path / "session.edsx")
    text = again.script().replace("session.edsx", str(file))
    found = {}
    exec(text, found)
    np.testing.assert_array_equal(found["label"], again.learning.part.label)
    np.testing.assert_array_equal(found["spectra"].counts, again.learning.spectra.counts)
    again.close()


def test_others__strokes_on_further_images_are_learnt_from(scene, hand):
    image, names, _ = scene
    elements = ["Mg", "Si", "Ca", "Fe"]
    first = Labeller(image, channels=eds_xr.element_maps(image, elements), name="first")
    first.rename_class("class_1", names[0])
    first.rename_class("class_2", names[1])
    paint(first, {names[0]: hand[names[0]]})
    second = Labeller(
        image, channels=eds_xr.element_maps(image, elements), name="second",
        session=first.session, others={"first": (image, eds_xr.element_maps(image, elements))},
    )  # fmt: skip
    paint(second, {names[1]: hand[names[1]]})
    second.train()
    second.wait()
    assert second.learning.part.label.values.max() == 2
    alone = Labeller(image, name="third", session=second.session)
    alone.train()
    alone.wait()
    assert "others=" in alone.said
    for one in (first, second, alone):
        one.close()
