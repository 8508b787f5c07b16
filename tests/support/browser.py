"""A page in a headless browser, and the hand that paints on a canvas in it.

Everything waits for what must come, however long a busy machine takes; nothing waits for a time.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

#: Far more than anything takes; the test has its own limit.
PATIENCE_MS = 240_000


class Screen:
    """A page, what it has asked for from other hosts, and the errors it has said."""

    def __init__(self, browser: Any, width: int = 1280, height: int = 800) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.strangers: list[str] = []
        self.errors: list[str] = []
        self.expects_errors = False
        self.canvas = ".eds-surface"  # where a page has several: the selector of one
        self.context.on("request", self._asked)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._said)

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the page; a server that ends before it would be an error of the page."""
        self.context.close()

    def check(self) -> None:
        """Fail if the page has asked another host, or said an error."""
        assert not self.strangers, f"asked for from elsewhere: {self.strangers}"
        assert self.expects_errors or not self.errors, self.errors

    def forget(self) -> None:
        """Forget what the page has said and asked for: the next test begins."""
        self.strangers.clear()
        self.errors.clear()
        self.expects_errors = False

    def _asked(self, request: Any) -> None:
        near = ("http://127.0.0.1:", "http://localhost:", "data:", "blob:", "about:")
        if not request.url.startswith(near):
            self.strangers.append(request.url)

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, url: str) -> None:
        """Open a page with a canvas, and wait until it shows an image."""
        self.page.goto(url)
        self.wait_for_surface()

    def wait_for_surface(self) -> None:
        """Wait until the canvas has its state and its size."""
        self.page.locator(self.canvas).first.wait_for()
        self.until_surface("s => s.size && s.view && s.key !== undefined && s.shape[0] > 1")

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until Python finds something true, while the page goes on; return it."""
        end = time.monotonic() + PATIENCE_MS / 1000
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never came true; the page said {self.errors}")

    def surface(self, code: str, given: Any = None) -> Any:
        """Return what a function of the surface, in JavaScript, returns."""
        return self.page.locator(self.canvas).first.evaluate(
            f"(e, given) => ({code})(e.surface, given)", given
        )

    def until_surface(self, code: str) -> None:
        """Wait until a function of the surface returns something true."""
        self.until(lambda: self.surface(f"s => Boolean(({code})(s))"))

    def at(self, y: float, x: float) -> tuple[float, float]:
        """Return where a place of the image [pixels] is on the page: x, y."""
        found = self.surface(
            """(s, [y, x]) => {
                const b = s.canvas.getBoundingClientRect(), v = s.view
                return [b.left + (x - v.x0) * v.scale, b.top + (y - v.y0) * v.scale]
            }""",
            [float(y), float(x)],
        )
        return found[0], found[1]

    def hover(self, y: float, x: float) -> None:
        """Move the pointer to a place of the image."""
        self.page.mouse.move(*self.at(y, x))

    def stroke(self, *places: tuple[float, float], steps: int = 5) -> None:
        """Draw through places of the image with the left button."""
        places_on_page = [self.at(*place) for place in places]
        self.page.mouse.move(*places_on_page[0])
        self.page.mouse.down()
        for place in places_on_page[1:]:
            self.page.mouse.move(*place, steps=steps)
        self.page.mouse.up()

    def click(self, y: float, x: float, **how: Any) -> None:
        """Click at a place of the image."""
        self.page.mouse.click(*self.at(y, x), **how)

    def key(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def colour(self, y: float, x: float) -> np.ndarray:
        """Return the colour that is seen at a place of the image [rgb]."""
        left, top = self.at(y, x)
        shot = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        return shot[int(top), int(left)].astype(int)

    def painted(self) -> np.ndarray:
        """Return the values painted in the browser [y, x]; 0 is none."""
        values = self.surface(
            """s => {
                const { h, w, values } = s.painted.levels[0]
                return [[h, w], [...values]]
            }"""
        )
        return np.array(values[1], np.uint8).reshape(values[0])
