"""The labeller without its view: what is painted, what is learnt, what is shown.

Everything that a person can do is a method; a view calls them and draws what `changed` names. Tests
and scripts need no browser.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.app.labeller.learning import Learning
from eds_xr.app.labeller.maps import Given, maps_of
from eds_xr.app.labeller.overlays import OVERLAYS, Layer, overlay_of, presence_layer
from eds_xr.app.labeller.painting import Message, Painting
from eds_xr.app.labeller.script import script_of
from eds_xr.app.pictures.channel import shape_of
from eds_xr.app.pictures.drawing import Cache, Picture, Window, draw
from eds_xr.app.pictures.greys import as_greys, limits
from eds_xr.app.pictures.worker import Job, Worker
from eds_xr.schema import EdsError, check_one_of, spatial_dims
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.labelling import Session
from eds_xr.segmentation.labelling.autosave import Autosave

#: How far an overlay covers what lies under it.
OPACITY = 1 / 3


class Labeller:
    """Classes painted on an image, and what a classifier makes of them.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts], or channels [channel, y, x]
    channels : DataArray, NMF Dataset or mapping of str to DataArray, optional
        What is learnt from, see :func:`maps_of`.
    name : str
        Of the image in the session.
    session : Session, optional
        To go on with.
    others : mapping of str to (DataArray, channels)
        Further images of the session: what is painted there is learnt from, too.
    autosave : Autosave, optional
        Closed with the labeller.

    Attributes
    ----------
    painting, learning
        The session and its edits; training and its results.
    channel, contrast, overlay, opacity, live
        What is shown, and whether each stroke trains.
    """

    def __init__(
        self, image: xr.DataArray, *, channels: Given | None = None, name: str = "image",
        session: Session | None = None, autosave: Autosave | None = None,
        others: Mapping[str, tuple[xr.DataArray, Given | None]] | None = None,
    ) -> None:  # fmt: skip
        self.image, self.shape = image, shape_of(_pixels(image))
        self.maps = maps_of(image, channels)
        self._listeners: list[Callable[[str], None]] = []
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.poke: Callable[[Callable[[], None]], None] = lambda drain: None
        self.painting = Painting(
            image, name, session or Session(), autosave=autosave, changed=self._edited
        )
        self.learning = Learning(
            image, self.maps, self.painting,
            others={n: maps_of(*one) for n, one in (others or {}).items()},
            deliver=self.deliver, changed=self._tell,
            factors=channels if isinstance(channels, xr.Dataset) else None,
        )  # fmt: skip
        self._drawing, self._cache = Worker(threads=1), Cache()
        self.channel = next(iter(self.maps))
        self.contrast = (0.5, 99.5)
        self.overlay, self.opacity, self.overlay_shown = "classes", OPACITY, True
        self.live = False
        self.active: str | None = self.session.class_names[0]
        self.window = Window(0, 0, *self.shape)
        self.picture: Picture | None = None
        self.said = ""
        self.closed = False

    @property
    def session(self) -> Session:
        """What is painted and chosen."""
        return self.painting.session

    def on_change(self, function: Callable[[str], None]) -> None:
        """Call `function` with what has changed.

        "session", "labels", "segmented", "spectra", "quality", "picture", "shown", "busy", "said".
        """
        self._listeners.append(function)

    def off_change(self, function: Callable[[str], None]) -> int:
        """Tell `function` no more; return how many are still told."""
        if function in self._listeners:
            self._listeners.remove(function)
        return len(self._listeners)

    # -- strokes and classes --------------------------------------------------------------------

    def draw_stroke(self, message: Message) -> None:
        """Take a stroke of a canvas; the same one twice is one."""
        if self.painting.draw(message) and self.live:
            self.learning.train()

    def delete_strokes(self, ids: Iterable[str]) -> None:
        """Delete strokes by the ids of the canvas."""
        self.painting.delete_strokes(ids)
        self._learn_live()

    def undo(self) -> None:
        """Take the last edit back."""
        self.painting.undo()
        self._learn_live()

    def redo(self) -> None:
        """Do again what was taken back."""
        self.painting.redo()
        self._learn_live()

    def add_class(self, name: str = "", color: str | None = None) -> None:
        """Add a class, and paint it from now on; ``A+B`` holds both."""
        self.choose(self.painting.add_class(name, color))

    def rename_class(self, name: str, to: str) -> None:
        """Rename a class; what is labelled keeps to it when it is trained again."""
        self.painting.rename_class(name, to)
        self._stale()

    def recolour_class(self, name: str, color: str) -> None:
        """Give a class another colour."""
        self.painting.recolour_class(name, color)
        self._tell("labels")

    def merge_classes(self, name: str, into: str) -> None:
        """Make one class of two."""
        self.painting.merge_classes(name, into)
        self._stale()

    def delete_class(self, name: str) -> None:
        """Delete a class and its strokes."""
        self.painting.delete_class(name)
        self._stale()

    def choose(self, name: str | None) -> None:
        """Choose the class that is painted, and whose probability is shown."""
        if name is not None and name not in self.session.class_names:
            raise EdsError(f"there is no class {name!r}")
        self.active = name
        self._tell("shown")

    # -- training -------------------------------------------------------------------------------

    def train(self) -> None:
        """Train and label; while that goes on, stop it."""
        if {"training", "labels"} & set(self.learning.busy):
            self.learning.stop("training", "labels")
            self.say("stopped")
        else:
            self.say("")
            self.learning.train()

    def find_phases(self) -> None:
        """Find the final phases, and show them; while that goes on, stop it."""
        going = "phases" in self.learning.busy
        self.say("stopped" if going else "")
        return self.learning.stop("phases") if going else self.learning.find_phases()

    def set_parameter(self, name: str, value: Any) -> None:
        """Change a choice of training or smoothing; another smoothness labels at once."""
        self.painting.set_parameter(name, value)
        if name == "smoothness":
            self.learning.smooth()
        else:
            self._learn_live()
        self._tell("session")

    def set_live(self, live: bool) -> None:
        """Train after each stroke, or only when asked."""
        self.live = live
        self._learn_live()
        self._tell("shown")

    # -- what is shown --------------------------------------------------------------------------

    def show(
        self, *, channel: str | None = None, contrast: tuple[float, float] | None = None,
        overlay: str | None = None, opacity: float | None = None, shown: bool | None = None,
    ) -> None:  # fmt: skip
        """Choose the map, its shares of black and white pixels [%], and what lies over it."""
        if channel is not None:
            check_one_of(channel, self.maps, "a channel")
            self.channel = channel
        if contrast is not None:
            low, high = contrast
            if not 0 <= low < high <= 100:
                raise EdsError(f"contrast is two shares of pixels, 0 to 100, found {contrast}")
            self.contrast = (low, high)
        if overlay is not None:
            check_one_of(overlay, OVERLAYS, "an overlay")
            self.overlay, self.overlay_shown = overlay, True
        if opacity is not None:
            self.opacity = min(max(opacity, 0.0), 1.0)
        if shown is not None:
            self.overlay_shown = shown
        self._tell("shown")
        if channel is not None:
            self.draw_picture()
        elif contrast is not None:
            self._tell("picture")

    def look_at(self, window: Window) -> None:
        """Say which part of the image is seen, and on how much of a screen."""
        self.window = window
        self.learning.look_at(
            (int(window.y0), int(window.x0), int(np.ceil(window.y1)), int(np.ceil(window.x1)))
        )
        if self.picture is None or not self._holds(self.picture, window):
            self.draw_picture()

    def draw_picture(self) -> None:
        """Compute the picture of what is seen."""
        shown, window = self.maps[self.channel].shown, self._generous(self.window)

        def take(picture: Picture) -> None:
            def put() -> None:
                self.picture = picture
                self._tell("picture")

            self.deliver(put)

        def work(job: Job) -> Picture:
            return draw(shown, window, job, self._cache, take)

        def failed(error: Exception) -> None:
            self.deliver(lambda: self.say(str(error)))

        self._drawing.submit("picture", work, take, failed)

    def greys(self) -> np.ndarray:
        """Return the picture as greys [row, column; uint8]."""
        assert self.picture is not None
        values = self.picture.values
        return as_greys(values, *limits(values, *self.contrast))

    def overlay_layer(self) -> Layer | None:
        """Return what lies over the image."""
        colors = {c.name: c.color for c in self.session.classes}
        if self.overlay == "presence":
            found = self.learning.segmented
            return None if found is None else presence_layer(found, colors)
        if self.learning.part is None:
            return None
        return overlay_of(self.learning.part, self.overlay, colors, self.active)

    def said_of(self, y: float, x: float) -> str:
        """Return what is known of a place: position, value, class."""
        row, column = int(np.floor(y)), int(np.floor(x))
        if not (0 <= row < self.shape[0] and 0 <= column < self.shape[1]):
            return ""
        texts = [f"y {row}, x {column}"]
        if self.picture is not None:
            y0, x0, _, _ = self.picture.place
            at = int((row - y0) // self.picture.factor), int((column - x0) // self.picture.factor)
            if all(0 <= i < n for i, n in zip(at, self.picture.values.shape, strict=True)):
                texts.append(f"{self.channel} {self.picture.values[at]:.4g}")
        part = self.learning.part
        if part is not None:
            y0, x0, y1, x1 = part.place
            if y0 <= row < y1 and x0 <= column < x1:
                shares = part.probability.values[:, row - y0, column - x0]
                names = part.probability["phase"].values
                texts += [f"{names[i]} {shares[i]:.0%}" for i in np.argsort(-shares)[:2]]
        return "   ".join(texts)

    def script(self) -> str:
        """Return Python that does the same."""
        found = self.learning.segmented is not None
        return script_of(self.session, self.painting.name, self.maps, segmented=found)

    def say(self, text: str) -> None:
        """Say something to the user."""
        self.said = text
        self._tell("said")

    # -- life -----------------------------------------------------------------------------------

    def load(self, session: Session) -> None:
        """Take a session in place of this one; its classifier labels at once."""
        self.painting.load(session, self.image)
        self.learning.forget()
        self.resume()

    def resume(self) -> None:
        """Label with a classifier that is there already."""
        classifier: PixelClassifier | None = self.session.classifier
        if classifier is not None:
            self.learning.label()
        elif self.session.strokes:
            self.learning.sum_spectra()

    def wait(self) -> None:
        """Return when nothing is computed any more, and all results are taken."""
        while True:
            self.learning.wait()
            self._drawing.wait()
            if self._waiting.empty():
                return
            self.drain()

    def deliver(self, function: Callable[[], None]) -> None:
        """Have a function called in the event loop, from a thread; `poke` wakes the loop."""
        self._waiting.put(function)
        self.poke(self.drain)

    def drain(self) -> None:
        """Call what waits; in the thread of the event loop."""
        with suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()()

    def wait_for_picture(self) -> None:
        """Return when the picture of the map is there, in the thread of the event loop."""
        if self.picture is None:
            self.picture = draw(
                self.maps[self.channel].shown, self._generous(self.window), Job(), self._cache
            )

    def close(self) -> None:
        """Cancel all work, and write what is left to write."""
        self.closed = True
        self.learning.close()
        self._drawing.close()
        self.painting.close()

    def _tell(self, what: str) -> None:
        if what == "error":
            self.say(self.learning.error)
            return
        if what == "segmented":
            self.overlay, self.overlay_shown = "presence", True
        for function in list(self._listeners):
            function(what)

    def _edited(self) -> None:
        if self.active not in self.session.class_names:
            self.active = next(iter(self.session.class_names), None)
        if self.learning.part is None and self.session.strokes_on(self.painting.name):
            self.learning.prepare()
            self.learning.sum_spectra()
        self._tell("session")

    def _learn_live(self) -> None:
        if self.live:
            self.learning.train()

    def _stale(self) -> None:
        """Classes are others now: train again, or take what is labelled away."""
        trained = self.learning.part is not None
        self.learning.forget()
        if trained:
            self.learning.train()

    def _generous(self, window: Window) -> Window:
        """Return a window with a margin, or the whole of an image that fits into one picture."""
        if max(self.shape) <= 2048:
            whole = max(self.shape)
            return Window(0, 0, *self.shape, rows=whole, columns=whole)
        high, wide = (window.y1 - window.y0) / 4, (window.x1 - window.x0) / 4
        return Window(
            window.y0 - high, window.x0 - wide, window.y1 + high, window.x1 + wide,
            int(window.rows * 1.5), int(window.columns * 1.5),
        )  # fmt: skip

    def _holds(self, picture: Picture, window: Window) -> bool:
        """Return whether a picture shows a window, fine enough."""
        if max(self.shape) <= 2048:
            return True
        y0, x0, high, wide = picture.place
        inside = (
            y0 <= max(window.y0, 0) and x0 <= max(window.x0, 0)
            and y0 + high >= min(window.y1, self.shape[0])
            and x0 + wide >= min(window.x1, self.shape[1])
        )  # fmt: skip
        wish = (window.y1 - window.y0) / max(window.rows, 1)
        return inside and picture.factor <= max(1.0, 1.5 * wish) and picture.factor * 4 > wish


def _pixels(image: xr.DataArray) -> xr.DataArray:
    dims = spatial_dims(image)
    return image.isel({d: 0 for d in image.dims if d not in dims}, drop=True)
