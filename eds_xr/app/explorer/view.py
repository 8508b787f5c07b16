"""The explorer's page: widgets, and which of the explorer's methods they call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.app.canvas.canvas import Canvas
from eds_xr.app.explorer import tables
from eds_xr.app.explorer.curves import Shown, curves_of, marks_of, seen_range
from eds_xr.app.explorer.explorer import Difference, Explorer
from eds_xr.app.explorer.profile_figure import ProfileFigure
from eds_xr.app.explorer.widgets import Widgets
from eds_xr.app.pictures.drawing import Picture, Window
from eds_xr.app.pictures.greys import as_greys, limits
from eds_xr.app.pictures.worker import Job, Worker
from eds_xr.app.serving.screen import Screen
from eds_xr.app.spectrum.panel import SpectrumPanel
from eds_xr.axes import mean_step
from eds_xr.schema import ENERGY, EdsError, phase_colors, spatial_dims

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
MOST_LABELS = 2048


class ExplorerView:
    """One page of an explorer.

    Parameters
    ----------
    explorer : Explorer
    name : str
        Of what is explored.
    """

    def __init__(self, explorer: Explorer, name: str = "") -> None:
        self.explorer, self.name = explorer, name
        self.worker, self.screen = Worker(3), Screen()
        self.window = Window(0, 0, *explorer.shape)
        self.picture: Picture | None = None
        self.pixel: xr.Dataset | None = None
        self.whole: xr.Dataset | None = None
        self.spectra: dict[str, xr.Dataset] = {}
        self.left: dict[str, xr.DataArray] = {}
        self.difference: Difference | None = None
        self.selected: list[str] = []
        self.canvas = Canvas()
        unit = str(explorer.image[ENERGY].attrs.get("units", "keV"))
        self.spectrum, self.profile = SpectrumPanel(unit), ProfileFigure()
        self.widgets = Widgets(explorer, self.canvas, self.spectrum, self.profile, STYLE)
        self._connect()
        self._begin()

    def panel(self) -> Any:
        """Return what Panel shows."""
        page = self.widgets.page(tables.title(self.explorer.image, self.name))
        self.screen.raw = self.widgets.raw
        return page

    def close(self) -> None:
        """Cancel all work; the page is gone."""
        self.screen.gone = True
        self.worker.close()

    # -- beginning ----------------------------------------------------------------------------

    def _connect(self) -> None:
        w, canvas = self.widgets, self.canvas

        def on(kind: str, function: Callable[[dict[str, Any]], Any]) -> None:
            canvas.on(kind, lambda m: self.screen.later(lambda: function(m)))

        def watch(widget: Any, function: Callable[[Any], Any], name: str = "value") -> None:
            # Panel gives the lock of the document back before it calls
            widget.param.watch(lambda e: self.screen.later(lambda: function(e.new)), name)

        on("viewport", self._moved)
        on("pointer", self._pointed)
        on("drawn", self._drawn)
        on("remembered", self._remembered)
        on("selected", lambda m: setattr(self, "selected", list(m["ids"])))
        on("key", lambda m: self._remove(list(self.selected)))
        on("chosen", lambda m: "tool" in m and w.tool.param.update(value=m["tool"]))
        self.spectrum.on_click(lambda energy: self.screen.later(lambda: self._clicked(energy)))
        watch(w.channel, self._shown)
        watch(w.contrast, lambda _: self._grey(), "value_throttled")
        watch(w.brighten, lambda _: self._grey())
        watch(w.tool, lambda tool: canvas.set(tool=tool))
        watch(w.opacity, lambda opacity: canvas.style_layer("phases", opacity=opacity))
        watch(w.log, lambda log: setattr(self.spectrum, "log", log))
        watch(w.element, self._typed)
        w.on_remove = lambda name: self.screen.later(lambda: self._remove([name]))
        for one in (w.mixture, w.reference, w.scale):
            watch(one, lambda _: self._subtract())

    def _begin(self) -> None:
        image = self.explorer.image
        dims = spatial_dims(image)
        step = abs(mean_step(image[dims[0]].values)) if dims[0] in image.coords else 0.0
        unit = str(image[dims[0]].attrs.get("units", "")) if step else ""
        size = (step, unit) if unit else None
        self.canvas.set_image(self.explorer.shape, pixel_size=size, key=f"explore {self.name}")
        self.canvas.set(tool="pick", keys=["Delete", "Backspace"])
        self.spectrum.log = self.widgets.log.value
        self.spectrum.set_range(*(float(e) for e in image[ENERGY].values[[0, -1]]))
        self._show_picture()
        self._show_phases()
        self._submit("whole", self._read_whole, self._got_whole)
        self._regions_changed()  # a page that is loaded anew shows those drawn before

    # -- work off the event loop --------------------------------------------------------------

    def _submit(self, kind: str, work: Callable[[Job], Any], done: Callable[[Any], Any]) -> None:
        self.worker.submit(
            kind,
            work,
            lambda found: self.screen.later(lambda: done(found)),
            lambda error: self.screen.later(lambda: self._failed(error)),
        )

    def _failed(self, error: Exception) -> None:
        said = str(error) if isinstance(error, EdsError) else f"{type(error).__name__}: {error}"
        self.widgets.say(tables.messages([said], "failed"))

    # -- the image ----------------------------------------------------------------------------

    def _moved(self, m: dict[str, Any]) -> None:
        self.window = Window(*(m[n] for n in ("y0", "x0", "y1", "x1", "rows", "columns")))
        self._show_picture()

    def _shown(self, name: str) -> None:
        self.explorer.tell_channel(name)
        self._show_script()
        self._show_picture()
        self._show_profile()

    def _show_picture(self) -> None:
        name, window = self.widgets.channel.value, self.window

        def part(picture: Picture) -> None:
            self.screen.later(lambda: self._got_picture(picture))

        self._submit(
            "picture",
            lambda job: self.explorer.draw(name, window, job, part),
            self._got_picture,
        )

    def _got_picture(self, picture: Picture) -> None:
        self.picture = picture
        self.widgets.progress("" if picture.done >= 1 else f"reading, {picture.done:.0%}")
        self._grey()

    def _grey(self) -> None:
        if self.picture is None or not self.picture.values.size:
            return
        low, high = self.widgets.contrast.value
        dark, bright = limits(self.picture.values, low, high)
        greys = as_greys(self.picture.values, dark, bright, log=self.widgets.brighten.value)
        self.canvas.set_layer("image", greys, kind="grey", place=self.picture.place)
        self.canvas.order_layers(["image", "phases"])

    def _show_phases(self) -> None:
        label = self.explorer.found.label
        if label is None:
            return
        step = -(-max(self.explorer.shape) // MOST_LABELS)
        part = label.isel({d: slice(None, None, step) for d in label.dims})
        self._submit("phases", lambda job: part.values, lambda found: self._got_phases(found, step))

    def _got_phases(self, values: np.ndarray, step: int) -> None:
        label = self.explorer.found.label
        assert label is not None
        rows, columns = values.shape
        self.canvas.set_layer(
            "phases", values.astype(np.uint8), kind="labels",
            place=(0, 0, rows * step, columns * step), palette=["#00000000", *phase_colors(label)],
            opacity=self.widgets.opacity.value,
        )  # fmt: skip

    def _pointed(self, m: dict[str, Any]) -> None:
        y, x = m["y"], m["x"]
        self.widgets.pointer(tables.at_pointer(y, x, self._value(y, x), {}))
        self._submit("pixel", lambda job: self.explorer.pixel_spectrum(y, x), self._got_pixel)

    def _value(self, y: float, x: float) -> float | None:
        if self.picture is None or not self.picture.values.size:
            return None
        y0, x0, high, wide = self.picture.place
        rows, columns = self.picture.values.shape
        i, j = int((y - y0) / high * rows), int((x - x0) / wide * columns)
        inside = 0 <= i < rows and 0 <= j < columns and y >= y0 and x >= x0
        return float(self.picture.values[i, j]) if inside else None

    # -- spectra ------------------------------------------------------------------------------

    def _read_whole(self, job: Job) -> xr.Dataset:
        def part(spectrum: xr.Dataset, done: float) -> None:
            one = spectrum.isel(phase=0, missing_dims="ignore")
            self.screen.later(lambda: self._got_whole(one))

        return self.explorer.whole_spectrum(job, part)

    def _got_whole(self, spectrum: xr.Dataset) -> None:
        if self.whole is None:
            self.spectrum.set_range(*seen_range(spectrum.counts))
        self.whole = spectrum
        self._show_spectra()

    def _got_pixel(self, spectrum: xr.Dataset | None) -> None:
        self.pixel = spectrum
        self._show_spectra()

    def _show_spectra(self) -> None:
        rest = None if self.difference is None else self.difference.rest
        shown = Shown(self.whole, self.pixel, self.spectra, self.left, rest)
        colors = {name: one.color for name, one in self.explorer.regions.items()}
        self.spectrum.show(curves_of(shown, colors))
        self.spectrum.name(marks_of(self.explorer, self.widgets.element.value))

    def _clicked(self, energy: float) -> None:
        shown = self.spectra.get(next(iter(self.selected), "")) or self.whole
        if shown is None:
            return
        unit = str(self.explorer.image[ENERGY].attrs.get("units", "keV"))

        def chosen(found: tuple[str, Any]) -> None:
            self._choose(found[0])
            self.widgets.say(tables.peak(found[1], found[0], unit))

        self._submit("map", lambda job: self.explorer.map_peak(shown.counts, energy), chosen)

    def _typed(self, text: str) -> None:
        if not text.strip():
            return self._show_spectra()

        def chosen(name: str) -> None:
            self._choose(name)
            self.widgets.say(f"{name}: freed of overlaps with {len(self.explorer.elements) - 1} "
                             "other elements")  # fmt: skip
            self._show_spectra()
            self.widgets.offer_lines()
            self._subtract()

        self._submit("map", lambda job: self.explorer.map_element(text), chosen)

    def _choose(self, name: str) -> None:
        self.widgets.offer_channels()
        if self.widgets.channel.value == name:
            self._shown(name)
        self.widgets.channel.value = name

    # -- regions ------------------------------------------------------------------------------

    def _drawn(self, m: dict[str, Any]) -> None:
        self.canvas.acknowledge(m["id"])
        one = self.explorer.take_region(m)
        if one is None:
            return
        if m["kind"] == "line":
            self.widgets.show_tab("profile")
        self._regions_changed()
        self._show_profile(one.name)

    def _remembered(self, m: dict[str, Any]) -> None:
        self.explorer.take_outlines(m["outlines"])
        self._regions_changed()

    def _remove(self, names: list[str]) -> None:
        for name in names:
            self.explorer.remove_region(name)
            self.spectra.pop(name, None)
            self.left.pop(name, None)
        self.selected = []
        self._regions_changed()

    def _regions_changed(self) -> None:
        regions = self.explorer.regions
        self.canvas.set_outlines(
            [
                {"id": r.name, "kind": r.roi.kind, "points": r.roi.paths[0].tolist(),
                 "color": r.color, "width": r.roi.width_pixels, "text": r.name}
                for r in regions.values()
            ]
        )  # fmt: skip
        self.widgets.offer_regions(self.spectra)
        self._show_script()
        names = [n for n in regions if n not in self.spectra]
        self._show_spectra()
        if names:
            self._submit("regions", lambda job: self._read(names, job), self._got_regions)
        else:
            self._subtract()

    def _read(self, names: list[str], job: Job) -> dict[str, Any]:
        found = {}
        for name in names:
            if name in self.explorer.regions:
                one = self.explorer.region_spectrum(name, job)
                left = None
                if self.explorer.found.spectra is not None:
                    left = self.explorer.unexplained(one)
                found[name] = (one, left)
        return found

    def _got_regions(self, found: dict[str, Any]) -> None:
        for name, (spectrum, left) in found.items():
            if name in self.explorer.regions:
                self.spectra[name] = spectrum
                if left is not None:
                    self.left[name] = left
        self.widgets.offer_regions(self.spectra)
        self._show_spectra()
        self._subtract()

    def _subtract(self) -> None:
        mixture, reference, scale = self.widgets.difference()
        self.difference = None
        if not (mixture in self.spectra and reference in self.spectra) or mixture == reference:
            self.worker.cancel("difference")
            self.widgets.show_difference("")
            self._show_spectra()
            return

        def done(found: Difference) -> None:
            self.difference = found
            self.widgets.show_difference(tables.difference(found, mixture, reference))
            self._show_spectra()
            self._show_script()

        self._submit(
            "difference", lambda job: self.explorer.subtract(mixture, reference, scale, job), done
        )

    def _show_profile(self, name: str = "") -> None:
        lines = [r for r in self.explorer.regions.values() if r.roi.kind == "line"]
        if not lines or (name and name != lines[-1].name):
            return
        one, channel = lines[-1], self.widgets.channel.value

        def done(found: xr.Dataset) -> None:
            self.profile.show(found, one.color, channel)
            self._show_script()

        self._submit("profile", lambda job: self.explorer.profile(channel, one.name), done)

    def _show_script(self) -> None:
        self.widgets.show_script(self.explorer.script.text())
