"""A pen on the canvas: what it draws, what palm and fingers do meanwhile; as Chromium tells it."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("panel", reason="the extra 'label' is not installed")

from eds_xr.app.canvas.canvas import Canvas  # noqa: E402

pytestmark = pytest.mark.browser

SHAPE = (80, 100)


class Hand:
    """A pen and fingers on the canvas, at places of the image."""

    def __init__(self, screen: Any) -> None:
        self.screen = screen
        self.cdp = screen.context.new_cdp_session(screen.page)

    def pen(self, kind: str, place: tuple[float, float], force: float = 0.5, **more: Any) -> None:
        x, y = self.screen.at(*place)
        given = {"button": "left", "buttons": 1, "force": force, "clickCount": 1} | more
        if kind == "mouseReleased":
            given |= {"buttons": 0, "force": 0}
        self.cdp.send(
            "Input.dispatchMouseEvent",
            {"type": kind, "x": x, "y": y, "pointerType": "pen", **given},
        )

    def draw(self, *places: tuple[float, float], force: float = 0.5) -> None:
        self.pen("mousePressed", places[0], force)
        for place in places[1:]:
            self.pen("mouseMoved", place, force)
        self.pen("mouseReleased", places[-1])

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """Put fingers down at places of the page, move them, or lift them."""
        at = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        self.cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})


class Shown:
    screen: Any

    def __init__(self) -> None:
        self.canvas, self.drawn = Canvas(), list[dict[str, Any]]()
        self.canvas.set_image(SHAPE)
        self.canvas.set_layer("map", np.zeros(SHAPE), kind="grey")
        self.canvas.set(tool="brush", width=3)
        self.canvas.on("drawn", self.take)

    def take(self, message: dict[str, Any]) -> None:
        self.drawn.append(message)
        self.canvas.acknowledge(message["id"])

    def panel(self) -> Any:
        return self.canvas

    def close(self) -> None:
        pass


@pytest.fixture
def shown(stage: Any) -> Any:
    page = Shown()
    page.screen = stage.show(lambda: page)
    page.screen.page.evaluate(
        """() => {
            window.seen = []
            for (const name of ["pointerdown", "pointermove", "pointerup"])
                addEventListener(name, e => seen.push([name, e.pointerType, e.pressure]), true)
        }"""
    )
    return page


def seen(shown: Any, name: str) -> list[Any]:
    return [
        [kind, force]
        for told, kind, force in shown.screen.page.evaluate("() => seen")
        if told == name
    ]


@pytest.mark.parametrize("force", [0.05, 0.5, 1.0])
def test_pen__draws_however_lightly(shown: Any, force: float) -> None:
    hand = Hand(shown.screen)
    hand.draw((20, 20), (24, 30), (30, 40), force=force)
    shown.screen.until(lambda: len(shown.drawn) == 1)
    told = shown.drawn[0]
    np.testing.assert_allclose(told["points"][0], (20, 20), atol=0.2)
    np.testing.assert_allclose(told["points"][-1], (30, 40), atol=0.2)
    assert (told["kind"], told["width_pixels"], told["erase"]) == ("line", 3, False)
    ((kind, pressure),) = seen(shown, "pointerdown")
    assert kind == "pen"
    assert pressure == pytest.approx(force)


def test_pen__above_the_canvas_draws_nothing(shown: Any) -> None:
    hand = Hand(shown.screen)
    for place in ((20, 20), (30, 30), (40, 40)):
        hand.pen("mouseMoved", place, force=0, button="none", buttons=0)
    assert {kind for kind, _ in seen(shown, "pointermove")} == {"pen"}
    hand.draw((50, 50), (50, 60))
    shown.screen.until(lambda: len(shown.drawn) == 1)
    assert np.asarray(shown.drawn[0]["points"]).min() > 49


def test_palm__after_the_pen_does_nothing(shown: Any) -> None:
    screen, hand = shown.screen, Hand(shown.screen)
    view, palm = screen.surface("s => s.view"), screen.at(60, 70)
    hand.pen("mousePressed", (20, 20))
    hand.touch("touchStart", palm)
    hand.touch("touchMove", (palm[0] + 50, palm[1] + 40))
    hand.pen("mouseMoved", (20, 40))
    hand.touch("touchEnd")
    hand.pen("mouseMoved", (20, 50))
    hand.pen("mouseReleased", (20, 50))
    screen.until(lambda: len(shown.drawn) == 1)
    points = np.asarray(shown.drawn[0]["points"])
    np.testing.assert_allclose(points[:, 0], 20, atol=0.2)
    np.testing.assert_allclose(points[[0, -1], 1], (20, 50), atol=0.2)
    assert screen.surface("s => s.view") == view
    assert {kind for kind, _ in seen(shown, "pointerdown")} == {"pen", "touch"}


@pytest.mark.parametrize("pen_before", [False, True])
def test_palm__before_the_pen_leaves_no_trace(shown: Any, pen_before: bool) -> None:
    screen, hand = shown.screen, Hand(shown.screen)
    if pen_before:
        hand.draw((70, 20), (70, 30))
        screen.until(lambda: len(shown.drawn) == 1)
    known, view = len(shown.drawn), screen.surface("s => s.view")
    palm, start, stop = (screen.at(*place) for place in ((60, 70), (20, 20), (20, 40)))
    hand.touch("touchStart", palm)
    hand.touch("touchMove", (palm[0] + 9, palm[1] + 5))
    hand.touch("touchMove", (palm[0] + 12, palm[1] + 8))
    assert screen.surface("s => s.live && s.live.touch")
    given = {"button": "left", "pointerType": "pen", "force": 0.5, "clickCount": 1}
    for kind, (x, y) in (("mousePressed", start), ("mouseMoved", stop), ("mouseReleased", stop)):
        buttons = 0 if kind == "mouseReleased" else 1
        hand.cdp.send(
            "Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "buttons": buttons} | given
        )
    hand.touch("touchEnd")
    screen.until(lambda: len(shown.drawn) == known + 1)
    assert screen.surface("s => s.view") == view
    assert screen.surface("s => s.pending.size + (s.live ? 1 : 0)") in (0, 1)
    screen.until_surface("s => s.pending.size === 0 && !s.live")
    assert len(shown.drawn) == known + 1


def test_touch__moves_the_image_once_there_is_a_pen(shown: Any) -> None:
    screen, hand = shown.screen, Hand(shown.screen)
    at = screen.at(40, 50)
    hand.touch("touchStart", at)
    hand.touch("touchMove", (at[0] + 40, at[1]))
    hand.touch("touchEnd")
    screen.until(lambda: len(shown.drawn) == 1)  # a finger draws where there is no pen
    hand.draw((20, 20), (20, 30))
    screen.until(lambda: len(shown.drawn) == 2)
    before = screen.surface("s => s.view")
    hand.touch("touchStart", at)
    hand.touch("touchMove", (at[0] + 40, at[1] - 20))
    hand.touch("touchEnd")
    screen.until(lambda: screen.surface("s => s.view") != before)
    after = screen.surface("s => s.view")
    assert (before["x0"] - after["x0"]) * after["scale"] == pytest.approx(40, abs=0.6)
    assert (after["y0"] - before["y0"]) * after["scale"] == pytest.approx(20, abs=0.6)
    hand.draw((20, 20), (25, 30))
    screen.until(lambda: len(shown.drawn) == 3)


def test_pen__its_other_end_erases(shown: Any) -> None:
    """Chromium's protocol has no such end: the event is made in the page."""
    screen = shown.screen
    places = [screen.at(30, 30), screen.at(30, 50)]
    screen.surface(
        """(s, [[x0, y0], [x1, y1]]) => {
            const tell = (name, x, y, buttons) => s.canvas.dispatchEvent(new PointerEvent(name, {
                pointerId: 77, pointerType: "pen", button: name === "pointermove" ? -1 : 5, buttons,
                clientX: x, clientY: y, bubbles: true, pressure: buttons ? 0.4 : 0,
            }))
            tell("pointerdown", x0, y0, 32)
            tell("pointermove", x1, y1, 32)
            tell("pointerup", x1, y1, 0)
        }""",
        places,
    )
    screen.until(lambda: len(shown.drawn) == 1)
    assert shown.drawn[0]["erase"]
    assert shown.drawn[0]["tool"] == "eraser"
    screen.until_surface("s => s.tool === 'brush'")
