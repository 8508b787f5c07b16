"""The canvas: what it sends, and in a browser what hand, keys and Python do to it."""

import numpy as np
import pytest

pytest.importorskip("panel", reason="the extra 'label' is not installed")

from eds_xr.app.canvas.canvas import Canvas  # noqa: E402
from eds_xr.schema import EdsError  # noqa: E402
from eds_xr.segmentation.rois import Roi, add_pixels  # noqa: E402

SHAPE = (80, 100)
CLASSES = [
    {"id": "a", "value": 1, "name": "a", "color": "#4477aa"},
    {"id": "b", "value": 2, "name": "b", "color": "#ee6677"},
]


class Sent(Canvas):
    """A canvas that notes what it sends."""

    def __init__(self, **params):
        self.sent = []
        super().__init__(**params)

    def _send_msg(self, data):
        self.sent.append(data)


def stroke(name, **more):
    return {"id": name, "kind": "line", "points": [[1.0, 2.0]], "width": 3, "class": "a"} | more


def test_set_layer__sends_one_layer_alone():
    canvas = Sent()
    canvas.set_image((4, 5))
    canvas.set_layer("counts", np.zeros((4, 5)), kind="grey")
    canvas.sent.clear()
    canvas.set_layer("labels", np.ones((2, 2)), kind="labels", place=(0, 1, 2, 2))
    canvas.style_layer("counts", opacity=0.5)
    assert [m.get("name") for m in canvas.sent] == ["labels", "counts"]
    assert "bytes" not in canvas.sent[1]
    assert canvas.sent[0]["bytes"] == bytes([1, 1, 1, 1])
    assert [layer["name"] for layer in canvas.layers] == ["counts", "labels"]


def test_set_strokes__sends_only_what_is_new():
    canvas = Sent()
    canvas.set_strokes([stroke("1"), stroke("2")])
    canvas.set_strokes([stroke("2"), stroke("3"), stroke("1", width=5)])
    message = canvas.sent[-1]
    assert message["order"] == ["2", "3", "1"]
    assert [s["id"] for s in message["changed"]] == ["3", "1"]


def test_ready__a_new_view_gets_all():
    canvas = Sent()
    canvas.set_image((4, 5), pixel_size=(2.0, "nm"), key="map.zarr")
    canvas.set_layer("counts", np.zeros((4, 5)), kind="grey")
    canvas.set_strokes([stroke("1")])
    canvas.sent.clear()
    canvas._handle_msg({"type": "ready"})
    kinds = [m["type"] for m in canvas.sent]
    assert kinds[0] == "begin"
    assert kinds[-1] == "setup"
    assert {"layer", "strokes", "outlines", "stroke_style"} <= set(kinds)
    assert canvas.sent[-1]["pixelSize"] == {"size": 2.0, "unit": "nm"}


def test_chosen__python_follows_and_does_not_answer():
    canvas = Sent()
    canvas._handle_msg({"type": "chosen", "tool": "eraser", "width": 9})
    assert (canvas.tool, canvas.width_pixels, canvas.sent) == ("eraser", 9.0, [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.set(colour="red"), "the canvas knows"),
        (lambda c: c.set(tool="spoon"), "a tool must be one of"),
        (lambda c: c.set_layer("x", np.zeros((2, 2)), kind="blue"), "the kind of a layer"),
    ],
)
def test_errors__say_what_is_known(change, said):
    with pytest.raises(EdsError, match=said):
        change(Sent())


class Page:
    """A canvas with grey noise, whose strokes Python keeps."""

    keep = True

    def __init__(self):
        self.canvas = canvas = Canvas()
        self.strokes, self.heard = [], []
        canvas.set_image(SHAPE, pixel_size=(4.0, "nm"), key="noise")
        grey = np.random.default_rng(0).integers(90, 110, SHAPE)
        canvas.set_layer("counts", grey, kind="grey")
        canvas.set(tool="brush", width=5, classes=CLASSES, active="a", keys=["Ctrl+z", "t"])
        canvas.on("drawn", self.drawn)
        for kind in ("viewport", "picked", "selected", "chosen", "key", "pointer"):
            canvas.on(kind, self.heard.append)

    def drawn(self, m):
        if not self.keep or m["id"] in {s["id"] for s in self.strokes}:
            return
        self.strokes.append(
            stroke(m["id"], kind=m["kind"], points=m["points"], width=m["width_pixels"])
            | {"class": m["class"], "erase": m["erase"]}
        )
        self.canvas.set_strokes(self.strokes)

    def said(self, kind):
        return [m for m in self.heard if m["type"] == kind]

    def painted(self):
        """Return the values that Python paints [y, x]."""
        values = np.zeros(SHAPE, np.uint8)
        for s in self.strokes:
            mask = np.zeros(SHAPE, bool)
            add_pixels(Roi("x", s["kind"], (np.array(s["points"]),), s["width"]), mask)
            values[mask] = {"a": 1, "b": 2, None: 0}[s["class"]]
        return values

    def panel(self):
        return self.canvas

    def close(self):
        pass


@pytest.fixture
def shown(stage):
    screen = stage.show(Page)
    screen.until_surface("s => s.layers.size === 1 && s.classes.length === 2")
    return screen, stage.views[-1]


@pytest.mark.slow
@pytest.mark.browser
def test_tools__draw_the_pixels_that_python_paints(shown):
    screen, page = shown
    screen.stroke((20, 20), (40, 60), (22, 80))
    screen.key("2", "r")
    screen.stroke((50, 10), (70, 30))
    screen.key("l")
    screen.stroke((60, 40), (75, 90))
    screen.key("p")
    for corner in ((45, 60), (45, 90), (70, 75)):
        screen.click(*corner)
    screen.key("Enter", "e")
    screen.stroke((18, 45), (60, 45))
    screen.until(lambda: len(page.strokes) == 5)
    assert [s["kind"] for s in page.strokes] == ["line", "rectangle", "line", "polygon", "line"]
    assert [s["class"] for s in page.strokes] == ["a", "b", "b", "b", None]
    screen.until(lambda: not screen.surface("s => s.pending.size"))
    expected = page.painted()
    assert set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(screen.painted(), expected)
    blue = screen.colour(20.5, 20.5)
    assert blue[2] > blue[0] + 30  # what is painted is seen


@pytest.mark.browser
def test_key_then_stroke__has_the_new_class_and_width(shown):
    screen, page = shown
    screen.hover(10, 10)
    for i in range(8):
        screen.key("12"[i % 2], ">" if i % 2 else "<")
        screen.stroke((10 + 8 * i, 20), (10 + 8 * i, 60), steps=2)
    screen.until(lambda: len(page.strokes) == 8)
    assert [s["class"] for s in page.strokes] == ["a", "b"] * 4
    assert [s["width"] for s in page.strokes] == [4, 5] * 4


@pytest.mark.browser
def test_stroke__released_outside_the_canvas_is_kept(shown):
    screen, page = shown
    left, top = screen.at(40, 50)
    screen.page.mouse.move(left, top)
    screen.page.mouse.down()
    screen.page.mouse.move(left, -200, steps=4)
    screen.page.mouse.up()
    screen.stroke((60, 20), (60, 40))
    screen.until(lambda: len(page.strokes) == 2)
    assert page.strokes[0]["points"][-1][0] < 0
    np.testing.assert_array_equal(screen.painted(), page.painted())


@pytest.mark.browser
def test_strokes__not_acknowledged_stay_and_come_again(shown):
    screen, page = shown
    page.keep = False
    screen.stroke((20, 20), (20, 60))
    screen.until(lambda: screen.surface("s => s.pending.size") == 1)
    before = screen.painted()
    assert before.any()
    page.keep = True
    screen.page.reload()  # Python has forgotten all, the browser has not
    screen.wait_for_surface()
    screen.until_surface("s => s.classes.length === 2 && s.pending.size === 0")
    np.testing.assert_array_equal(screen.painted(), before)
    screen.page.reload()
    screen.wait_for_surface()
    screen.until_surface("s => s.classes.length === 2")
    assert not screen.painted().any()  # and once it is kept, the browser forgets it


@pytest.mark.browser
def test_view__zooms_to_the_pointer_pans_and_fits(shown):
    screen, page = shown
    fitted = screen.surface("s => s.view")
    here = screen.at(20, 30)
    screen.page.mouse.move(*here)
    screen.page.mouse.wheel(0, -400)
    screen.until(lambda: screen.surface("s => s.view.scale") > 2 * fitted["scale"])
    np.testing.assert_allclose(screen.at(20, 30), here, atol=0.1 * fitted["scale"])
    screen.page.mouse.down(button="middle")
    screen.page.mouse.move(here[0] + 50, here[1] + 30, steps=3)
    screen.page.mouse.up(button="middle")
    np.testing.assert_allclose(screen.at(20, 30), [here[0] + 50, here[1] + 30], atol=1)
    screen.page.keyboard.down(" ")
    screen.stroke((20, 30), (25, 30))
    screen.page.keyboard.up(" ")
    assert not page.strokes
    screen.key("f")
    assert screen.surface("s => s.view") == fitted
    wide = screen.surface("s => s.size[1] / s.view.scale")
    screen.until(lambda: [m for m in page.said("viewport") if m["x1"] - m["x0"] == wide])
    assert len(page.said("viewport")) < 8  # told when it has settled, not at every step


@pytest.mark.browser
def test_select__clicks_pick_strokes(shown):
    screen, page = shown
    screen.stroke((20, 20), (20, 60))
    screen.stroke((50, 20), (50, 60))
    screen.until(lambda: len(page.strokes) == 2)
    screen.key("v")
    screen.click(20, 40)
    screen.until(lambda: page.said("selected"))
    screen.page.keyboard.down("Shift")
    screen.click(50, 40)
    screen.page.keyboard.up("Shift")
    ids = [s["id"] for s in page.strokes]
    screen.until(lambda: set(page.said("selected")[-1]["ids"]) == set(ids))
    screen.click(70, 80)
    screen.until(lambda: page.said("selected")[-1]["ids"] == [])
    screen.until(lambda: page.said("picked")[-1]["y"] == pytest.approx(70, abs=0.5))


@pytest.mark.browser
def test_keys__only_while_the_pointer_is_over_the_canvas(shown):
    screen, page = shown
    screen.hover(40, 50)
    screen.key("t", "Control+z", "x")
    screen.until(lambda: len(page.said("key")) == 2)
    assert [m["key"] for m in page.said("key")] == ["t", "Ctrl+z"]
    screen.page.evaluate("document.body.style.paddingTop = '200px'")
    screen.page.mouse.move(5, 5)
    screen.until(lambda: not screen.surface("s => s.root.matches(':hover')"))
    screen.key("t", "e")
    screen.hover(40, 50)
    screen.key("t")
    screen.until(lambda: len(page.said("key")) == 3)
    assert page.canvas.tool == "brush"


@pytest.mark.browser
def test_layers__lie_over_each_other(shown):
    screen, page = shown
    labels = np.zeros((10, 10))
    labels[2:5, 2:5] = 1
    page.canvas.set_layer(
        "labels", labels, kind="labels", place=(40, 50, 20, 20), palette=["#000000", "#ff0000"]
    )
    screen.until_surface("s => s.layers.size === 2")
    screen.until(lambda: screen.colour(46, 56)[0] == 255)
    assert screen.colour(53, 63)[0] < 120  # a clear pixel of the layer
    page.canvas.style_layer("labels", visible=False)
    screen.until(lambda: screen.colour(46, 56)[0] < 120)
