"""Spectra in a Bokeh figure, their lines named, for the apps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    LinearScale,
    PanTool,
    Range1d,
    ResetTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure

LAYOUT = (Path(__file__).parent / "layout.js").read_text(encoding="utf-8")
#: Part of the height that names of lines take.
ROOM = 0.22
INK, GRID, MARK = "#333333", "#eeeeee", "#888888"
#: Less than half a pixel of any screen: more points would only be sent.
MOST_POINTS = 8192


class Curve(NamedTuple):
    """A spectrum that is drawn: values for each energy."""

    name: str
    color: str
    energy: np.ndarray
    values: np.ndarray
    width: float = 1.2
    alpha: float = 1.0


class Mark(NamedTuple):
    """A line that is named: where, what, and how strong it is among its like."""

    energy: float
    text: str
    color: str = INK
    weight: float = 1.0


class SpectrumPanel:
    """Spectra, one or many, linear or logarithmic; names of lines never cover each other.

    Two figures, of which one is seen, share all they show: Bokeh cannot change the kind of an axis.

    Parameters
    ----------
    unit : str
        Of the energy axis, ``"keV"`` or ``"eV"``.
    counts : str
        What the other axis says.
    """

    def __init__(self, unit: str = "keV", counts: str = "counts per pixel and channel") -> None:
        self.energies = Range1d(0, 1)
        self.spectra = ColumnDataSource({n: [] for n in ("xs", "ys", "color", "width", "alpha")})
        self.lines = ColumnDataSource({n: [] for n in ("energy", "text", "color", "weight")})
        self._clicked: list[Callable[[float], None]] = []
        self._bounds: tuple[float, float] | None = None
        what = "energy loss" if unit == "eV" else "energy"
        self.figures = [self._figure(log, f"{what} ({unit})", counts) for log in (False, True)]
        self.log = False

    @property
    def log(self) -> bool:
        """Whether counts are on a logarithmic axis."""
        return bool(self.figures[1].visible)

    @log.setter
    def log(self, log: bool) -> None:
        linear, logarithmic = self.figures
        linear.visible, logarithmic.visible = not log, log

    def show(self, curves: Sequence[Curve]) -> None:
        """Draw these spectra in place of those before."""
        steps = [_steps(curve) for curve in curves]
        self.spectra.data = {
            "xs": [x for x, _ in steps],
            "ys": [y for _, y in steps],
            "color": [c.color for c in curves],
            "width": [c.width for c in curves],
            "alpha": [c.alpha for c in curves],
        }
        if curves and self._bounds is None:
            self.set_range(float(curves[0].energy[0]), float(curves[0].energy[-1]))

    def set_range(self, low: float, high: float) -> None:
        """Set which energies are seen, now and after a reset."""
        self._bounds = (low, high)
        self.energies.update(start=low, end=high, reset_start=low, reset_end=high)

    def name(self, marks: Sequence[Mark]) -> None:
        """Name these lines in place of those before."""
        self.lines.data = {
            "energy": [m.energy for m in marks],
            "text": [m.text for m in marks],
            "color": [m.color for m in marks],
            "weight": [m.weight for m in marks],
        }

    def label_counts(self, text: str) -> None:
        """Say what the axis of counts is."""
        for one in self.figures:
            one.yaxis[0].axis_label = text

    def on_click(self, function: Callable[[float], None]) -> None:
        """Call a function with the energy that is clicked at."""
        self._clicked.append(function)

    def _figure(self, log: bool, energy: str, counts: str) -> Any:
        kind = {"y_axis_type": "log"} if log else {}
        one = figure(
            x_range=self.energies, y_range=Range1d(0.1 if log else 0, 1), tools=[],
            sizing_mode="stretch_both", min_height=160, toolbar_location=None,
            x_axis_label=energy, y_axis_label=counts, name="spectrum_log" if log else "spectrum",
            output_backend="canvas", **kind,
        )  # fmt: skip
        dress(one)
        labels = ColumnDataSource({n: [] for n in ("x", "energy", "text", "color")})
        one.extra_y_ranges = {"names": Range1d(0, 1)}
        one.extra_y_scales = {"names": LinearScale()}  # by default as of counts, logarithmic
        self._draw(one, labels)
        wheel = WheelZoomTool(dimensions="width")
        one.add_tools(PanTool(dimensions="width"), wheel, ResetTool(), _crosshair())
        one.toolbar.active_scroll = wheel
        one.on_event("tap", self._tapped)
        one.js_on_event("doubletap", CustomJS(args={"r": self.energies}, code="r.reset()"))
        layout = CustomJS(
            args={"figure": one, "spectra": self.spectra, "lines": self.lines, "labels": labels,
                  "log": log, "room": ROOM},
            code=LAYOUT,
        )  # fmt: skip
        for model, change in (
            (self.energies, "start"), (self.energies, "end"), (self.spectra, "data"),
            (self.lines, "data"), (one, "inner_width"), (one, "inner_height"), (one, "visible"),
        ):  # fmt: skip
            model.js_on_change(change, layout)
        return one

    def _draw(self, one: Any, labels: ColumnDataSource) -> None:
        one.multi_line(
            "xs", "ys", source=self.spectra, line_color="color", line_width="width",
            line_alpha="alpha", line_join="round",
        )  # fmt: skip
        on_names = {"source": labels, "y_range_name": "names"}
        one.segment("energy", 0, "energy", 0.8, line_color="color", line_alpha=0.25, **on_names)
        one.segment("energy", 0.8, "x", 0.85, line_color="color", line_alpha=0.25, **on_names)
        one.text(
            "x", 0.86, "text", text_color="color", text_font_size="10px", angle=np.pi / 2,
            text_baseline="middle", text_align="left", **on_names,
        )  # fmt: skip

    def _tapped(self, event: Any) -> None:
        for function in self._clicked:
            function(float(event.x))


def _steps(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Return the outline of a histogram; of a long one, the highest of neighbouring channels."""
    energy, values = np.asarray(curve.energy, float), np.asarray(curve.values, float)
    many = -(-energy.size // MOST_POINTS)
    if many > 1:
        whole = energy.size // many * many
        energy = energy[:whole].reshape(-1, many).mean(1)
        values = values[:whole].reshape(-1, many).max(1)
    if energy.size < 2:
        return energy, values
    half = np.diff(energy) / 2
    edges = np.concatenate([[energy[0] - half[0]], energy[:-1] + half, [energy[-1] + half[-1]]])
    return np.repeat(edges, 2)[1:-1], np.repeat(values, 2)


def dress(one: Any) -> None:
    """Set quiet axes: thin ticks, small type, hardly any grid."""
    one.grid.grid_line_color = GRID
    one.xgrid.grid_line_color = None
    one.outline_line_color = None
    one.border_fill_color = one.background_fill_color = None
    one.min_border = 4
    for axis in (*one.xaxis, *one.yaxis):
        axis.axis_label_text_font_style, axis.axis_label_text_font_size = "normal", "11px"
        axis.major_label_text_font_size, axis.axis_line_color = "10px", "#999999"
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.major_tick_in, axis.major_tick_out, axis.minor_tick_out = 0, 4, 0
        axis.major_tick_line_color, axis.axis_label_standoff = "#999999", 4


def _crosshair() -> CrosshairTool:
    return CrosshairTool(overlay=Span(dimension="height", line_color=MARK, line_width=0.7))
