"""The explorer's widgets, and where they stand on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import panel as pn
import xarray as xr

from eds_xr.app.canvas.canvas import Canvas
from eds_xr.app.explorer import tables
from eds_xr.app.explorer.explorer import Explorer
from eds_xr.app.explorer.profile_figure import ProfileFigure
from eds_xr.app.serving.text import Text
from eds_xr.app.spectrum.panel import SpectrumPanel
from eds_xr.arguments import beam_energy_of
from eds_xr.schema import ENERGY
from eds_xr.xray.lines import principal_lines

TOOLS = {"Move": "pan", "Pick": "pick", "Box": "rectangle", "Polygon": "polygon", "Line": "line"}
TABS = ("regions", "subtract", "profile", "python")
RIGHT = 530
#: What is chosen, and outlives a page that is loaded again.
CHOICES = (
    "channel", "contrast", "brighten", "opacity", "element", "log", "mixture", "reference", "scale",
)  # fmt: skip
#: Regions that are listed; all are on the image.
MOST_LISTED = 16
HINT = "Draw a box, a polygon or a line on the image; Delete removes what is picked."


class Widgets:
    """All widgets of a page."""

    def __init__(
        self, explorer: Explorer, canvas: Canvas, spectrum: SpectrumPanel, profile: ProfileFigure,
        style: str,
    ) -> None:  # fmt: skip
        self.explorer, self.canvas = explorer, canvas
        self.on_remove: Callable[[str], Any] = lambda name: None
        self.style = [style]
        self._make()
        self._make_tables()
        self.figures = [
            pn.pane.Bokeh(one, sizing_mode="stretch_both", min_height=200)
            for one in spectrum.figures
        ]
        self.profile = pn.pane.Bokeh(profile.figure, sizing_mode="stretch_width")
        self.raw = [*self.figures, self.profile]
        self.offer_channels()
        self.offer_lines()
        self.offer_regions({})
        self.show_difference("")
        self._remember()

    def _remember(self) -> None:
        """Begin with what was chosen on the last page, and keep what is chosen on this one."""
        chosen = self.explorer.chosen
        for name in CHOICES:
            widget = getattr(self, name)
            if name in chosen and chosen[name] in getattr(widget, "options", [chosen[name]]):
                widget.value = chosen[name]
            widget.param.watch(lambda e, name=name: chosen.update({name: e.new}), "value")

    def _make(self) -> None:
        w, s = pn.widgets, self.style
        self.channel = w.Select(label="map", width=150, stylesheets=s, margin=(0, 6))
        self.contrast = w.RangeSlider(
            label="contrast", start=0, end=100, step=0.5, value=(0.5, 99.5),
            width=130, stylesheets=s, margin=(0, 10), show_value=True, tooltips=False, format="0.0",
        )  # fmt: skip
        self.brighten = w.Checkbox(label="log", stylesheets=s, margin=(17, 4, 0, 4))
        self.tool = w.RadioButtonGroup(
            options=TOOLS, value="pick", stylesheets=s, margin=(14, 4, 0, 4)
        )
        self.opacity = w.FloatSlider(
            label="phases", start=0, end=1, step=0.05, value=0.35, width=80, stylesheets=s,
            margin=(0, 8), visible=self.explorer.found.label is not None, show_value=False,
            tooltips=False,
        )  # fmt: skip
        self.element = w.TextInput(
            placeholder="element: Fe, then Enter", width=190, stylesheets=s, margin=(4, 6)
        )
        self.log = w.Checkbox(label="log", stylesheets=s, margin=(9, 8))
        self.mixture = w.Select(label="region", width=90, stylesheets=s, margin=(0, 6))
        self.reference = w.Select(label="less region", width=90, stylesheets=s, margin=(0, 6))
        self.scale = w.TextInput(
            label="by a line (Si_Ka), lines, or a share", value="", width=220, stylesheets=s,
            margin=(0, 6), placeholder="a line that only the second emits",
        )  # fmt: skip

    def _make_tables(self) -> None:
        options: dict[str, Any] = {
            "stylesheets": self.style, "sizing_mode": "stretch_width", "margin": (2, 8),
        }  # fmt: skip
        self._hint = Text("", **options)
        self._slots = [self._slot(place) for place in range(MOST_LISTED)]
        self.regions = pn.Column(*self._slots, self._hint, sizing_mode="stretch_width", margin=0)
        self.table = Text("", **options)
        self.script = Text("", **options)
        self.said = Text("", **options)
        self.pointed = Text("", **(options | {"sizing_mode": "fixed", "width": 200}))
        self.busy = Text("", **(options | {"sizing_mode": "fixed", "width": 110}))
        self.copied = pn.widgets.TextInput(value="", visible=False)
        self.copy = pn.widgets.Button(
            label="Copy", width=70, stylesheets=self.style, margin=(2, 8, 4, 8)
        )
        self.copy.js_on_click(
            args={"source": self.copied}, code="navigator.clipboard.writeText(source.value)"
        )

    def page(self, title: str) -> Any:
        """Return all of it: image and spectrum side by side, tables below the spectrum."""
        bar = pn.FlexBox(  # in a narrow cell of a notebook it takes two lines
            self.channel, self.contrast, self.brighten, self.opacity, self.tool,
            sizing_mode="stretch_width", margin=(2, 0), flex_wrap="wrap", gap="0 4px",
        )  # fmt: skip
        left = pn.Column(
            bar, self.canvas, pn.Row(self.pointed, self.busy, height=24, margin=0),
            sizing_mode="stretch_both", margin=0,
        )  # fmt: skip
        head = pn.Row(
            Text(title, stylesheets=self.style, margin=(6, 8), width=RIGHT - 270),
            pn.Spacer(sizing_mode="stretch_width"), self.element, self.log, height=36, margin=0,
            sizing_mode="stretch_width",
        )  # fmt: skip
        self.tabs = pn.Tabs(
            ("Regions", self._scrolled(self.regions)),
            ("Subtract", self._scrolled(
                pn.Row(self.mixture, self.reference, self.scale, margin=(4, 0)), self.table)),
            ("Profile", self._scrolled(self.profile)),
            ("Python", self._scrolled(self.copy, self.copied, self.script)),
            stylesheets=self.style, height=285, sizing_mode="stretch_width", margin=0,
            dynamic=False,
        )  # fmt: skip
        right = pn.Column(
            head, *self.figures, self.said, self.tabs, width=RIGHT, sizing_mode="stretch_height",
            margin=(0, 0, 0, 8),
        )  # fmt: skip
        return pn.Row(
            left, right, sizing_mode="stretch_both", margin=0, min_height=560,
            styles={"background": "#fff"},
        )  # fmt: skip

    def _scrolled(self, *parts: Any) -> Any:
        return pn.Column(*parts, height=250, scroll=True, sizing_mode="stretch_width", margin=0)

    # -- what changes -------------------------------------------------------------------------

    def offer_channels(self) -> None:
        """Offer the maps that there are now."""
        names = list(self.explorer.channels)
        kept = self.channel.value if self.channel.value in names else names[0]
        self.channel.param.update(options=names, value=kept)

    def offer_lines(self) -> None:
        """Propose a scale: the first line of the elements, unless one is given."""
        image = self.explorer.image
        low, high = (float(e) for e in image[ENERGY].values[[0, -1]])
        lines = principal_lines(
            self.explorer.elements, max(low, 0.7), high, beam_energy_of(image.attrs)
        )
        if lines and not self.scale.value:
            self.scale.placeholder = (
                f"a line that only the second emits, such as {next(iter(lines.values()))}"
            )

    def offer_regions(self, spectra: Mapping[str, xr.Dataset]) -> None:
        """List the regions, and offer them for a subtraction."""
        regions = list(self.explorer.regions.values())
        more = len(regions) - len(self._slots)
        hint = f"and {more} more" if more > 0 else HINT
        self._hint.object = f'<div class="note">{hint}</div>'
        self._hint.visible = more > 0 or not regions
        for place, row in enumerate(self._slots):
            row.visible = place < len(regions)
            if row.visible:
                one = regions[place]
                row[0].object = tables.region_row(one, spectra.get(one.name))
        names = list(self.explorer.regions)
        for number, one in enumerate((self.mixture, self.reference)):
            kept = one.value if one.value in names else None
            one.options = names if names else []
            free = [n for n in names if number == 0 or n != self.mixture.value]
            one.value = kept if kept in free else next(iter(free), None)

    def _slot(self, place: int) -> Any:
        """Return the row of the region at a place: what it holds, and a button that removes it.

        All are there from the beginning: what comes later, notebooks style from another host.
        """
        text = Text("", stylesheets=self.style, sizing_mode="stretch_width", margin=(4, 8))
        button = pn.widgets.Button(label="✕", width=28, stylesheets=self.style, margin=(1, 8))

        def clicked(_: Any) -> None:
            names = list(self.explorer.regions)
            if place < len(names):
                self.on_remove(names[place])

        button.on_click(clicked)
        return pn.Row(text, button, sizing_mode="stretch_width", margin=0, visible=False)

    def difference(self) -> tuple[str, str, Any]:
        """Return which regions are subtracted, and by what."""
        text = str(self.scale.value).strip()
        try:
            scale: Any = float(text)
        except ValueError:
            parts = [part.strip() for part in text.replace(";", ",").split(",") if part.strip()]
            scale = parts[0] if len(parts) == 1 else parts
        chosen = bool(text)
        return (self.mixture.value or "") if chosen else "", self.reference.value or "", scale

    def show_difference(self, html: str) -> None:
        """Show the table of a subtraction."""
        hint = "Two regions, and a line that only the second one emits."
        self.table.object = html or f'<div class="note">{hint}</div>'

    def show_script(self, text: str) -> None:
        """Show the Python of what was done."""
        self.script.object, self.copied.value = f"<pre>{escape(text)}</pre>", text

    def show_tab(self, name: str) -> None:
        """Show one of the tables."""
        if hasattr(self, "tabs"):
            self.tabs.active = TABS.index(name)

    def say(self, html: str) -> None:
        """Show a line below the spectrum."""
        self.said.object = html

    def pointer(self, text: str) -> None:
        """Show where the pointer is."""
        self.pointed.object = f'<span class="weak">{escape(text)}</span>'

    def progress(self, text: str) -> None:
        """Show how far a picture is."""
        self.busy.object = f'<span class="weak">{escape(text)}</span>'
