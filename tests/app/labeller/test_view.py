"""The labeller in a real browser: from the first stroke to spectra, every key, a dead server."""

import numpy as np
import pytest

import eds_xr
from eds_xr.app.labeller.label import shared_views
from eds_xr.app.serving.server import serve
from eds_xr.segmentation import labelling, scribbles

pytestmark = pytest.mark.browser


@pytest.fixture
def store(scene, tmp_path):
    return eds_xr.save(scene[0], tmp_path / "map.zarr")


@pytest.fixture(scope="module")
def channels(scene):
    return eds_xr.element_maps(scene[0], ["Mg", "Si", "Ca", "Fe"])


@pytest.fixture
def opened(stage, store, channels):
    """Return the page of a labeller of a store, and the view behind it."""
    screen = stage.show(shared_views(eds_xr.open(store), channels=channels))
    screen.until_surface("s => s.layers.size && s.classes.length")
    return screen, stage.views[-1].labeller


def idle(labeller):
    return not labeller.learning.busy


@pytest.mark.slow
def test_loop__from_the_first_stroke_to_spectra(opened, scene, hand, tmp_path):
    screen, labeller = opened
    image, names, truth = scene
    page = screen.page
    page.get_by_role("button", name="+ class").click()
    screen.until_surface("s => s.classes.length === 3")
    for number, name in enumerate(names, 1):
        row = page.get_by_role("listbox", name="classes").locator(f'[data-id="class_{number}"]')
        row.get_by_text(f"class_{number}", exact=True).first.dblclick()
        page.get_by_role("textbox", name="name").fill(name)
        page.keyboard.press("Enter")
        screen.until(lambda name=name: name in labeller.session.class_names)
    for number, name in enumerate(names, 1):
        screen.hover(48, 48)
        screen.key(str(number))
        for start, stop in hand[name]:
            screen.stroke(start, stop, steps=3)
    count = sum(map(len, hand.values()))
    screen.until(lambda: len(labeller.session.strokes) == count)
    page.get_by_role("button", name="Train").click()
    screen.until(lambda: labeller.learning.part is not None and idle(labeller))
    assert (labeller.learning.part.label.values == truth).mean() > 0.9
    screen.until(lambda: "counts" in labeller.learning.spectra)
    screen.until_surface("s => s.layers.size === 2")
    page.get_by_role("combobox", name="save").select_option("masks")
    screen.until(lambda: "saved" in labeller.said)
    import xarray as xr

    phases = xr.open_zarr(tmp_path / "map.zarr.phases.zarr", consolidated=False)
    spectra = image.eds.sum_spectra(phases.present.astype(bool).compute())
    for value, name in enumerate(names, 1):
        expected = image.values[truth == value].mean(0)
        found = spectra.counts.sel(phase=name).values / int(spectra.n_pixels.sel(phase=name))
        likeness = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
        assert likeness > 0.97, name


@pytest.mark.slow
def test_phases__final_ones_of_the_whole_image(opened, scene, hand, tmp_path):
    screen, labeller = opened
    page, names = screen.page, scene[1]
    for old, new in zip(("class_1", "class_2"), names, strict=False):
        labeller.deliver(lambda old=old, new=new: labeller.rename_class(old, new))
    labeller.deliver(lambda: labeller.add_class(names[2]))
    screen.until_surface("s => s.classes.length === 3")
    screen.hover(48, 48)
    for number, name in enumerate(names, 1):
        screen.key(str(number))
        for start, stop in hand[name]:
            screen.stroke(start, stop, steps=2)
    screen.until(lambda: len(labeller.session.strokes) == sum(map(len, hand.values())))
    page.get_by_role("button", name="Phases", exact=True).click()
    page.get_by_role("button", name="Stop phases").click()
    screen.until(lambda: labeller.said == "stopped" and labeller.learning.segmented is None)
    page.get_by_role("button", name="Phases", exact=True).click()
    screen.until(lambda: labeller.learning.segmented is not None)
    screen.until_surface("s => s.layers.has('overlay') && s.layers.get('overlay').kind === 'rgba'")
    assert page.get_by_role("combobox", name="overlay").input_value() == "presence"
    found = labeller.learning.segmented
    assert (found.label.values == scene[2]).mean() > 0.9
    page.get_by_role("combobox", name="save").select_option("segmented")
    screen.until(lambda: "saved" in labeller.said)
    assert (tmp_path / "map.zarr.segmented.zarr").is_dir()
    page.get_by_role("button", name="Script").click()
    script = page.get_by_role("textbox", name="script")
    screen.until(lambda: "image.eds.segment(" in script.input_value())


@pytest.mark.slow
def test_keys__each_does_what_the_help_says(opened, hand, scene):
    screen, labeller = opened
    page = screen.page
    a, b = labeller.session.class_names
    (first, second, third, *_) = scene[1]
    screen.hover(48, 48)
    screen.key("?")
    page.get_by_role("dialog").wait_for()
    assert "Ctrl+Z" in page.get_by_role("dialog").inner_text()
    screen.key("?")
    page.get_by_role("dialog").wait_for(state="hidden")
    for number, name in ((1, first), (2, second)):
        screen.key(str(number))
        for start, stop in hand[name]:
            screen.stroke(start, stop, steps=2)
    count = len(hand[first]) + len(hand[second])
    screen.until(lambda: len(labeller.session.strokes) == count)
    screen.key("Control+z")
    screen.until(lambda: len(labeller.session.strokes) == count - 1)
    screen.until(lambda: screen.surface("s => s.strokes.length") == count - 1)
    screen.key("Control+y")
    screen.until(lambda: len(labeller.session.strokes) == count)
    screen.key("Control+z", "Control+Shift+z")
    screen.until(lambda: labeller.painting.history.future == ())
    screen.until(lambda: screen.surface("s => s.strokes.length") == count)
    screen.key("v")
    (y, x), _ = hand[first][0]
    screen.click(y, x)
    screen.until(lambda: screen.surface("s => s.selected.size") == 1)
    screen.key("Delete")
    screen.until(lambda: len(labeller.session.strokes) == count - 1)
    screen.key("t")
    screen.until(lambda: labeller.learning.part is not None and idle(labeller))
    screen.until_surface("s => s.layers.has('overlay') && s.layers.get('overlay').visible")
    screen.key("o")
    screen.until_surface("s => !s.layers.get('overlay').visible")
    screen.key("o", "i")
    screen.until_surface("s => !s.layers.get('overlay').visible && !s.strokeStyle.visible")
    screen.key("i", "u")
    screen.until(lambda: labeller.overlay == "uncertainty")
    screen.until_surface("s => s.layers.get('overlay').visible && s.strokeStyle.visible")
    for key, tool in zip("bepRlvh", ("brush", "eraser", "polygon", "", "line", "pick", "pan"),
                         strict=True):  # fmt: skip
        screen.key(key)
        if tool:
            screen.until_surface(f"s => s.tool === '{tool}'")
    screen.key("r", ">", ">", "<")
    screen.until_surface("s => s.tool === 'rectangle' && s.width === 6")


def test_classes__added_recoloured_merged_and_deleted(opened, hand, scene):
    screen, labeller = opened
    page = screen.page
    screen.hover(48, 48)
    screen.stroke(*hand[scene[1][0]][0])
    screen.until(lambda: len(labeller.session.strokes) == 1)
    page.get_by_role("button", name="+ overlap").click()
    page.get_by_role("button", name="Add", exact=True).click()
    screen.until(lambda: "class_1+class_2" in labeller.session.class_names)
    page.get_by_label("colour of class_1", exact=True).fill("#ff0000")
    screen.until(lambda: labeller.session.classes[0].color == "#ff0000")
    (y, x), _ = hand[scene[1][0]][0]
    screen.hover(90, 90)
    screen.until(lambda: screen.colour(y, x + 0.5)[0] > 200)
    more = page.get_by_role("combobox", name="more of class_1", exact=True)
    more.select_option("into class_2")
    screen.until(lambda: labeller.session.class_names == ("class_2",))
    assert labeller.session.strokes[0].roi.phase == "class_2"
    page.get_by_role("button", name="undo").click()
    screen.until(lambda: len(labeller.session.class_names) == 3)
    page.get_by_role("combobox", name="more of class_2", exact=True).select_option("delete")
    screen.until(lambda: labeller.session.class_names == ("class_1",))


def test_files__strokes_are_saved_and_loaded(opened, hand, scene, tmp_path):
    screen, labeller = opened
    page = screen.page
    for path in hand[scene[1][0]]:
        screen.stroke(*path)
    screen.until(lambda: len(labeller.session.strokes) == len(hand[scene[1][0]]))
    painted = labelling.scribbles_of(labeller.session).values
    for what in ("session", "rois", "labels"):
        page.get_by_role("combobox", name="save").select_option(what)
        screen.until(lambda: "saved" in labeller.said)
        labeller.said = ""
    files = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
    assert {"map.zarr.edsx", "map.zarr.strokes.zip", "map.zarr.labels.tif"} <= files
    read = scribbles.read(tmp_path / "map.zarr.strokes.zip", labeller.image)
    np.testing.assert_array_equal(read, painted)
    page.get_by_role("combobox", name="more of class_1").select_option("delete")
    screen.until(lambda: not labeller.session.strokes)
    page.get_by_label("file", exact=True).set_input_files(tmp_path / "map.zarr.edsx")
    screen.until(lambda: len(labeller.session.strokes) == len(hand[scene[1][0]]))
    damaged = tmp_path / "bad.edsx"
    damaged.write_bytes(b"no session")
    page.get_by_label("file", exact=True).set_input_files(damaged)
    screen.until(lambda: "was not read" in labeller.said or "bad" in labeller.said)
    page.get_by_role("button", name="Script").click()
    script = page.get_by_role("textbox", name="script")
    screen.until(lambda: "train_session" in script.input_value())


@pytest.mark.slow
def test_server_killed__nothing_is_lost(screen, store, scene, hand):
    """Strokes drawn while there is no server come to the next one; the earlier ones are on disk."""
    screen.expects_errors = True
    image = eds_xr.open(store)
    views = []
    pages = shared_views(image)

    def view():
        views.append(pages())
        return views[-1]

    name = scene[1][0]
    first = serve(view, show=False, block=False, token="token-of-both-servers")
    port = first.port
    try:
        screen.open(first.opening_url())
        screen.until_surface("s => s.classes.length && s.layers.size")
        screen.stroke(*hand[name][0])
        screen.until(lambda: len(views[-1].labeller.session.strokes) == 1)
        screen.until_surface("s => s.pending.size === 0")
    finally:
        first.stop()
    screen.stroke(*hand[name][1])
    screen.stroke(*hand[name][2])
    screen.until_surface("s => s.pending.size === 2")
    before = screen.painted()
    with serve(view, show=False, block=False, port=port, token="token-of-both-servers"):
        screen.until(lambda: len(views) > 1 and len(views[-1].labeller.session.strokes) == 3)
        screen.wait_for_surface()
        screen.until_surface("s => s.pending.size === 0 && s.strokes.length === 3")
        np.testing.assert_array_equal(screen.painted(), before)
        np.testing.assert_array_equal(
            labelling.scribbles_of(views[-1].labeller.session).values > 0, before > 0
        )
        screen.close()
