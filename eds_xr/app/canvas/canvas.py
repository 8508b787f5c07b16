"""The drawing surface as a Panel component: its state in Python, its pixels in the browser.

    canvas = Canvas()
    canvas.set_image((512, 512), pixel_size=(4.0, "nm"))
    canvas.set_layer("counts", grey, kind="grey")
    canvas.on("drawn", lambda message: canvas.acknowledge(message["id"]))

Pixel (i, j) covers i to i + 1 and j to j + 1; y points down. Python holds the whole state: each
view asks for it when it appears, and then gets what changes, one layer or one stroke at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import panel as pn

from eds_xr.schema import EdsError, check_one_of

HERE = Path(__file__).parent
LAYER_KINDS = ("grey", "labels", "rgba")
TOOLS = ("pan", "pick", "brush", "eraser", "polygon", "rectangle", "line")
#: What a view may choose by itself; Python follows.
CHOSEN = ("tool", "width", "active")

#: Of this process: a page that comes back learns by it that another one serves it now.
LAUNCH = token_hex(8)

Message = dict[str, Any]


def scripts(*more: Path) -> str:
    """Return the surface's code, and `more`, as one module without imports."""
    files = [HERE / name for name in ("raster.js", "surface.js", "drawing.js")]
    return "\n".join(path.read_text(encoding="utf-8") for path in (*files, *more))


def styles(*more: Path) -> list[str]:
    """Return the surface's style sheet, and `more`."""
    return [path.read_text(encoding="utf-8") for path in (HERE / "canvas.css", *more)]


class Canvas(pn.custom.JSComponent):
    """An image with layers on which one paints, draws and picks.

    Messages of the browser, each given to the functions registered with :meth:`on`:

    ``drawn``
        ``id, kind ("line", "polygon", "rectangle"), tool, points [[y, x], ...], width_pixels,
        class, erase``. A view sends a stroke again until its id is acknowledged, or among the
        strokes.
    ``viewport``
        ``y0, x0, y1, x1`` [pixels] and ``rows, columns`` of the screen, once it has settled.
    ``pointer``, ``picked``
        ``y, x`` [pixels].
    ``selected``
        ``ids`` of strokes and outlines.
    ``chosen``
        Some of ``tool, width, active``: chosen in the browser, by key or button.
    ``remembered``
        ``outlines`` that a server before this one has shown.
    ``key``
        ``key``, one of those asked for with ``set(keys=...)``.
    """

    _esm = scripts(HERE / "component.js")
    _stylesheets = styles()

    def __init__(self, **params: Any) -> None:
        self._state: Message = {
            "shape": [1, 1], "pixelSize": None, "tool": "pan", "width": 3, "color": "#4477aa",
            "classes": [], "active": None, "keys": [], "key": "", "served": False, "editable": True,
            "launch": LAUNCH,
        }  # fmt: skip
        self._layers: dict[str, Message] = {}
        self._strokes: dict[str, Message] = {}
        self._stroke_style: Message = {"opacity": 0.8, "visible": True}
        self._outlines: list[Message] = []
        self._listeners: dict[str, list[Callable[[Message], Any]]] = {}
        super().__init__(**{"sizing_mode": "stretch_both", **params})

    # -- what the browser says ----------------------------------------------------------------

    def on(self, kind: str, function: Callable[[Message], Any]) -> None:
        """Call `function` with every message of a kind."""
        self._listeners.setdefault(kind, []).append(function)

    def _handle_msg(self, data: Message) -> None:
        kind = data.get("type", "")
        if kind == "ready":
            for message in self.messages():
                self._send_msg(message)
        elif kind == "ping":
            self._send_msg({"type": "pong"})
        elif kind == "chosen":
            self._state.update({k: data[k] for k in CHOSEN if k in data})
        for function in self._listeners.get(kind, []):
            function(data)

    def messages(self) -> list[Message]:
        """Return what a new view needs to show all."""
        served = pn.state.curdoc is not None and pn.state.curdoc.session_context is not None
        return [
            {"type": "begin", "key": self._state["key"]},
            *({"type": "layer", **layer} for layer in self._layers.values()),
            {"type": "stroke_style", **self._stroke_style},
            self._strokes_message(self._strokes.values()),
            {"type": "outlines", "outlines": self._outlines},
            {"type": "setup", **self._state, "served": served, "complete": True},
        ]

    # -- what it shows ------------------------------------------------------------------------

    def set_image(
        self, shape: Sequence[int], *, pixel_size: tuple[float, str] | None = None, key: str = ""
    ) -> None:
        """Set rows and columns of the image, the length of a pixel, and a name for its strokes.

        Strokes that were not acknowledged are kept in the browser under `key`.
        """
        size = None if pixel_size is None else {"size": pixel_size[0], "unit": pixel_size[1]}
        self._state.update(shape=[int(n) for n in shape], pixelSize=size, key=key)
        self._send_msg({"type": "setup", **self._state})

    def set(self, **state: Any) -> None:
        """Set any of ``tool, width, color, classes, active, keys, editable``.

        Classes are ``{"id", "value", "name", "color"}``; value 1 to 255 is that of their pixels.
        """
        unknown = set(state) - set(self._state)
        if unknown:
            raise EdsError(f"the canvas knows {', '.join(self._state)}, not {', '.join(unknown)}")
        if "tool" in state:
            check_one_of(state["tool"], TOOLS, "a tool")
        self._state.update(state)
        self._send_msg({"type": "set", **state})

    @property
    def tool(self) -> str:
        """The tool in hand."""
        return str(self._state["tool"])

    @property
    def width_pixels(self) -> float:
        """The width of the brush [pixels]."""
        return float(self._state["width"])

    @property
    def active(self) -> Any:
        """The id of the class that is painted."""
        return self._state["active"]

    @property
    def layers(self) -> list[Message]:
        """The layers, from below to above, without their bytes."""
        return [{k: v for k, v in x.items() if k != "bytes"} for x in self._layers.values()]

    def set_layer(
        self, name: str, values: np.ndarray, *, kind: str,
        place: tuple[float, float, float, float] | None = None, palette: Sequence[str] = (),
        opacity: float = 1.0, visible: bool = True, blend: str = "source-over",
    ) -> None:  # fmt: skip
        """Show a layer, or replace its picture; the others are not sent again.

        Parameters
        ----------
        name : str
            A new one comes on top of the others.
        values : ndarray of uint8 [row, column], of kind "rgba" [row, column, 4]
        kind : {"grey", "labels", "rgba"}
            Of "labels", 0 is clear.
        place : tuple of float
            y0, x0, height and width in the image [pixels]; by default the whole image.
        palette : sequence of str
            ``"#rrggbb"`` or ``"#rrggbbaa"`` for each value; without, values are greys.
        opacity, visible, blend
            How it lies on those below.
        """
        check_one_of(kind, LAYER_KINDS, "the kind of a layer")
        values = np.ascontiguousarray(values, np.uint8)
        height, width = self._state["shape"]
        y0, x0, high, wide = place or (0, 0, height, width)
        self._layers[name] = {
            "name": name, "kind": kind, "y0": y0, "x0": x0, "height_px": high, "width_px": wide,
            "rows": values.shape[0], "columns": values.shape[1], "bytes": values.tobytes(),
            "palette": list(palette), "opacity": opacity, "visible": visible, "blend": blend,
        }  # fmt: skip
        self._send_msg({"type": "layer", **self._layers[name]})

    def style_layer(self, name: str, **style: Any) -> None:
        """Set ``opacity, visible`` or ``blend`` of a layer; its picture is not sent again."""
        if name in self._layers:
            self._layers[name].update(style)
            self._send_msg({"type": "layer", "name": name, **style})

    def remove_layer(self, name: str) -> None:
        """Take a layer away."""
        if self._layers.pop(name, None) is not None:
            self._send_msg({"type": "remove_layer", "name": name})

    def order_layers(self, names: Sequence[str]) -> None:
        """Put layers in an order, from below to above; those not named stay beneath."""
        rest = [name for name in self._layers if name not in names]
        self._layers = {n: self._layers[n] for n in (*rest, *names) if n in self._layers}
        self._send_msg({"type": "order", "names": list(self._layers)})

    # -- strokes and outlines -----------------------------------------------------------------

    def set_strokes(self, strokes: Iterable[Message]) -> None:
        """Set the painted strokes in their order; only new or changed ones are sent.

        Each is ``{"id", "kind", "points", "width", "class", "erase"}``; of a kind "line" it is
        painted with its width, a "polygon" or "rectangle" is filled. Later ones cover earlier ones.
        """
        new = {stroke["id"]: stroke for stroke in strokes}
        changed = [s for name, s in new.items() if self._strokes.get(name) != s]
        self._strokes = new
        self._send_msg(self._strokes_message(changed))

    def _strokes_message(self, changed: Iterable[Message]) -> Message:
        return {"type": "strokes", "order": list(self._strokes), "changed": list(changed)}

    def acknowledge(self, stroke_id: str) -> None:
        """Tell the views that a stroke is kept, or not wanted: they forget their copy of it."""
        self._send_msg({"type": "acknowledge", "id": stroke_id})

    def style_strokes(self, *, opacity: float | None = None, visible: bool | None = None) -> None:
        """Set how painted strokes lie on the image."""
        style = {"opacity": opacity, "visible": visible}
        self._stroke_style.update({k: v for k, v in style.items() if v is not None})
        self._send_msg({"type": "stroke_style", **self._stroke_style})

    def set_outlines(self, outlines: Sequence[Message]) -> None:
        """Set lines shown over the image: regions, a line profile, a mark.

        Each is ``{"id", "kind", "points", "color"}``, of a kind "polygon", "rectangle", "line" or
        "point", and may have ``width`` [pixels], ``dash`` and ``text``.
        """
        self._outlines = list(outlines)
        self._send_msg({"type": "outlines", "outlines": self._outlines})

    def select_ids(self, ids: Sequence[str]) -> None:
        """Select strokes and outlines."""
        self._send_msg({"type": "selected", "ids": list(ids)})

    def show_part(self, y0: float, x0: float, y1: float, x1: float) -> None:
        """Show a part of the image [pixels]."""
        self._send_msg({"type": "show", "y0": y0, "x0": x0, "y1": y1, "x1": x1})
