"""The labeller in a browser: a Panel component around the canvas, and spectra beside it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import panel as pn
import xarray as xr

from eds_xr.app.canvas.canvas import Canvas, scripts, styles
from eds_xr.app.labeller import files
from eds_xr.app.labeller.controller import Labeller
from eds_xr.app.pictures.drawing import Window
from eds_xr.app.spectrum.panel import Curve, Mark, SpectrumPanel
from eds_xr.arguments import beam_energy_of
from eds_xr.axes import mean_step
from eds_xr.schema import ENERGY, PHASE, EdsError, spatial_dims, texts_of
from eds_xr.xray.elements import element_names
from eds_xr.xray.lines import line_energy_kev, principal_lines

HERE = Path(__file__).parent
#: Keys that Python hears of; the browser does the others by itself.
KEYS = ("Ctrl+z", "Ctrl+y", "Ctrl+Z", "Delete", "Backspace", "t", "o", "i", "u")
#: Of the view in a notebook, and of its spectra [pixels].
HEIGHT, SPECTRA_WIDTH = 640, 320
MOST_FEATURES = 5

Message = dict[str, Any]


class LabellerCanvas(Canvas):
    """The canvas with tools, classes, strokes and training around it."""

    _esm = scripts(HERE / "labeller.js")
    _stylesheets = styles(HERE / "labeller.css")


class LabellerView:
    """One page or cell that shows a labeller.

    Parameters
    ----------
    labeller : Labeller
    folder : path
        Where files are saved.
    """

    def __init__(self, labeller: Labeller, folder: Path) -> None:
        self.labeller, self.folder = labeller, folder
        self.canvas = LabellerCanvas()
        self.spectra: SpectrumPanel | None = None
        self._hidden = False
        self._selected: list[str] = []
        self._panel: Any = None
        self._actions = self._all_actions()
        self._document: Any = None
        labeller.on_change(self._changed)
        self.canvas.set_image(
            labeller.shape, pixel_size=pixel_size(labeller.image), key=labeller.painting.name
        )
        self.canvas.set(tool="brush", keys=list(KEYS), active=labeller.active, width=5)
        for kind, function in self._heard().items():
            self.canvas.on(kind, function)
        self._show_session()
        labeller.draw_picture()
        labeller.resume()

    def panel(self) -> Any:
        """Return what Panel shows."""
        if self._panel is None:
            parts: list[Any] = [self.canvas]
            if ENERGY in self.labeller.image.dims:
                unit = str(self.labeller.image[ENERGY].attrs.get("units", "keV"))
                self.spectra = SpectrumPanel(unit)
                column = pn.Column(
                    *(pn.pane.Bokeh(f, sizing_mode="stretch_both") for f in self.spectra.figures),
                    width=SPECTRA_WIDTH, sizing_mode="stretch_height", margin=0,
                )  # fmt: skip
                parts.append(column)
                self._show_spectra()
            document = pn.state.curdoc
            served = document is not None and document.session_context is not None
            self._document = document if served else None
            size: dict[str, Any] = (
                {"sizing_mode": "stretch_both", "styles": {"height": "100vh"}}
                if served
                else {"sizing_mode": "stretch_width", "height": HEIGHT}
            )
            self._panel = pn.Row(*parts, margin=0, **size)
            self.labeller.poke = deliverer()
            self.labeller.drain()
        return self._panel

    def close(self) -> None:
        """Leave the labeller; with its last page its work ends, and the session is written."""
        if self.labeller.off_change(self._changed) == 0:
            self.labeller.close()

    # -- from the browser -----------------------------------------------------------------------

    def _heard(self) -> dict[str, Callable[[Message], Any]]:
        """Return what is done with each kind of message."""
        return {
            "ready": lambda m: self._send_state(),
            "drawn": self._drawn,
            "viewport": lambda m: self.labeller.look_at(
                Window(m["y0"], m["x0"], m["y1"], m["x1"], int(m["rows"]), int(m["columns"]))
            ),
            "pointer": lambda m: self.canvas._send_msg(
                {"type": "pointed", "text": self.labeller.said_of(m["y"], m["x"])}
            ),
            "selected": lambda m: self._selected.__setitem__(slice(None), m["ids"]),
            "chosen": lambda m: self.labeller.choose(m["active"]) if "active" in m else None,
            "key": lambda m: self._do(m["key"]),
            "action": lambda m: self._do(m["name"], m),
        }

    def _drawn(self, message: Message) -> None:
        try:
            self.labeller.draw_stroke(message)
        except EdsError as error:
            self._fail(error)
        self.canvas.acknowledge(message["id"])

    def _do(self, name: str, message: Message | None = None) -> None:
        """Do what a key or a button asks for; what goes wrong is said."""
        try:
            self._actions[name](message or {})
        except EdsError as error:
            self._fail(error)

    def _all_actions(self) -> dict[str, Callable[[Message], Any]]:
        """Return what keys and buttons do."""
        one = self.labeller
        actions: dict[str, Callable[[Message], Any]] = {
            "undo": lambda m: one.undo(),
            "redo": lambda m: one.redo(),
            "train": lambda m: one.train(),
            "phases": lambda m: one.find_phases(),
            "live": lambda m: one.set_live(bool(m["live"])),
            "score": lambda m: one.learning.measure(),
            "parameter": lambda m: one.set_parameter(m["parameter"], m["value"]),
            "log": lambda m: self._show_log(bool(m["log"])),
            "add_class": lambda m: self._add_class(m.get("class", "")),
            "rename_class": lambda m: one.rename_class(m["class"], m["to"]),
            "recolour_class": lambda m: one.recolour_class(m["class"], m["color"]),
            "merge_classes": lambda m: one.merge_classes(m["class"], m["into"]),
            "delete_class": lambda m: one.delete_class(m["class"]),
            "delete_strokes": lambda m: one.delete_strokes(m.get("ids", self._selected)),
            "show": self._show,
            "overlay": lambda m: one.show(shown=not one.overlay_shown),
            "alone": lambda m: self._show_alone(),
            "unsure": lambda m: self._show_uncertainty(),
            "script": lambda m: self.canvas._send_msg({"type": "script", "text": one.script()}),
            "save": lambda m: one.say(f"saved {files.save(one, m['what'], self.folder)}"),
            "load": lambda m: one.say(
                "loaded " + files.load(one, str(m["name_of_file"]), bytes(m["bytes"]))
            ),
        }
        keys = {
            "Ctrl+z": "undo", "Ctrl+y": "redo", "Ctrl+Z": "redo", "Delete": "delete_strokes",
            "Backspace": "delete_strokes", "t": "train", "o": "overlay", "i": "alone",
            "u": "unsure",
        }  # fmt: skip
        return actions | {key: actions[name] for key, name in keys.items()}

    def _add_class(self, name: str) -> None:
        self.labeller.add_class(name)
        self.canvas.set(active=self.labeller.active)

    def _show(self, m: Message) -> None:
        """Show another map or overlay; an overlay "none" is hidden, and comes back as it was."""
        overlay = m.get("overlay")
        self.labeller.show(
            channel=m.get("channel"),
            contrast=None if "contrast" not in m else (m["contrast"][0], m["contrast"][1]),
            overlay=None if overlay == "none" else overlay,
            opacity=m.get("opacity"),
            shown=False if overlay == "none" else None,
        )

    def _show_alone(self) -> None:
        """Hide strokes and overlay, or show them again."""
        self._hidden = not self._hidden
        self.canvas.style_strokes(visible=not self._hidden)
        self.canvas.style_layer("overlay", visible=self._overlay_seen)

    def _show_log(self, log: bool) -> None:
        if self.spectra is not None:
            self.spectra.log = log

    def _show_uncertainty(self) -> None:
        one = self.labeller
        one.show(overlay="classes" if one.overlay == "uncertainty" else "uncertainty")

    # -- to the browser -------------------------------------------------------------------------

    @property
    def _overlay_seen(self) -> bool:
        return self.labeller.overlay_shown and not self._hidden

    def _changed(self, what: str) -> None:
        """Show what has changed, when this page may be changed."""
        if self._document is None or pn.state.curdoc is self._document:
            self._show_change(what)
        elif self._document.session_context is not None:  # not closed meanwhile
            self._document.add_next_tick_callback(lambda: self._show_change(what))

    def _show_change(self, what: str) -> None:
        if what == "session":
            self._show_session()
        elif what == "picture" and self.labeller.picture is not None:
            self._show_picture()
        elif what in ("labels", "segmented", "shown"):
            self._show_overlay(what != "shown")
        elif what == "spectra":
            self._show_spectra()
        self._send_state()

    def _show_session(self) -> None:
        painting = self.labeller.painting
        self.canvas.set(classes=painting.classes)
        if self.canvas.active not in self.labeller.session.class_names:
            self.canvas.set(active=self.labeller.active)
        self.canvas.set_strokes(painting.strokes_shown())

    def _show_picture(self) -> None:
        picture = self.labeller.picture
        assert picture is not None
        self.canvas.set_layer("map", self.labeller.greys(), kind="grey", place=picture.place)
        self.canvas.order_layers(["map", "overlay"])

    def _show_overlay(self, new: bool) -> None:
        one = self.labeller
        shown = (one.overlay, one.active if one.overlay == "probability" else None)
        if not new and shown == getattr(self, "_overlay", None):
            self.canvas.style_layer("overlay", opacity=one.opacity, visible=self._overlay_seen)
            return
        self._overlay = shown
        layer = one.overlay_layer()
        if layer is None:
            self.canvas.remove_layer("overlay")
        else:
            self.canvas.set_layer(
                "overlay", **layer.as_arguments(), opacity=one.opacity, visible=self._overlay_seen
            )

    def _show_spectra(self) -> None:
        found = self.labeller.learning.spectra
        if self.spectra is None or PHASE not in found:
            return
        colors = {c.name: c.color for c in self.labeller.session.classes}
        curves = []
        for name in found[PHASE].values:
            one = found.sel({PHASE: name})
            values = one["counts"].values / max(int(one["n_pixels"]), 1)
            color = colors.get(str(name), "#bbbbbb")
            curves.append(Curve(str(name), color, found[ENERGY].values, values))
        self.spectra.show(curves)
        self.spectra.name(line_names(self.labeller.image))

    def _send_state(self) -> None:
        self.canvas._send_msg({"type": "state", **self._state()})

    def _state(self) -> Message:
        """Return all that the page shows around the canvas."""
        one = self.labeller
        strokes = self.labeller.painting.strokes_shown()
        number = {c.name: 0 for c in one.session.classes}
        for stroke in strokes:
            if stroke["class"]:
                number[stroke["class"]] += 1
        p = one.session.parameters
        autosave = one.painting.autosave
        trouble = "" if autosave is None or autosave.error is None else str(autosave.error)
        learnt = list(p.channels) or [name for name, m in one.maps.items() if m.learnt]
        return {
            "classes": [{**c, "strokes": number[c["name"]]} for c in one.painting.classes],
            "strokes": [
                {"id": s["id"], "number": s["number"], "class": s["class"], "text": _told(s)}
                for s in strokes
            ],
            "channels": list(one.maps), "channel": one.channel, "contrast": list(one.contrast),
            "overlay": one.overlay, "overlay_shown": self._overlay_seen, "opacity": one.opacity,
            "can_undo": one.painting.history.can_undo, "can_redo": one.painting.history.can_redo,
            "busy": [kind for kind in one.learning.busy if kind != "preparing"],
            "times_read": one.learning.times_read,
            "live": one.live, "said": trouble or one.said,
            "error": bool(trouble or one.learning.error),
            "log": None if self.spectra is None else self.spectra.log,
            "learnable": list(one.maps), "learnt": learnt,
            "parameters": {
                "kinds": list(p.kinds), "scales": list(p.scales), "n_trees": p.n_trees,
                "seed": p.seed, "balanced": p.balanced, "smoothness": float(p.smoothness),
            },
            "score": _score_rows(one.learning.score),
            "importance": _importance_rows(one.learning.importance),
        }  # fmt: skip

    def _fail(self, error: EdsError) -> None:
        self.labeller.learning.error = str(error)
        self.labeller.say(str(error))


def pixel_size(image: xr.DataArray) -> tuple[float, str] | None:
    """Return the length of a pixel and its unit, where the image has positions."""
    dim = spatial_dims(image)[-1]
    if dim not in image.coords or image.sizes[dim] < 2:
        return None
    return mean_step(image[dim].values), str(image[dim].attrs.get("units", "px"))


def line_names(image: xr.DataArray) -> list[Mark]:
    """Return the names of the principal lines of the elements that the file names."""
    elements = element_names(texts_of(image.attrs, "elements"))
    if not elements or image[ENERGY].attrs.get("units", "keV") != "keV":
        return []
    low, high = (float(e) for e in image[ENERGY].values[[0, -1]])
    lines = principal_lines(elements, low, high, beam_energy_of(image.attrs)).values()
    return [Mark(line_energy_kev(line), line.replace("_", " ")) for line in lines]


def deliverer() -> Callable[[Callable[[], None]], None]:
    """Return what calls a function, from a thread, in the event loop of this server or kernel."""
    from tornado.ioloop import IOLoop

    loop = IOLoop.current()

    def deliver(function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.add_callback(function)

    return deliver


def _told(stroke: Message) -> str:
    if stroke["kind"] != "line":
        return str(stroke["kind"])
    return f"line, {stroke['width']:g} px wide"


def _score_rows(score: xr.Dataset | None) -> list[Message] | None:
    if score is None:
        return None
    return [
        {"name": str(name), "recall": float(recall), "strokes": int(n)}
        for name, recall, n in zip(
            score[PHASE].values, score["recall"].values, score["n_strokes"].values, strict=True
        )
    ]


def _importance_rows(importance: xr.DataArray | None) -> list[Message]:
    if importance is None:
        return []
    few = importance[:MOST_FEATURES]
    return [
        {"name": str(name), "share": float(share)}
        for name, share in zip(few["feature"].values, few.values, strict=True)
    ]
