"""Painting in a browser: the brush against Bokeh's own tool, overlays, training, smoothness.

    python tests/benchmarks/bench_painting.py

Needs Chromium and playwright. A trace's time is that from a pointer event to the end of the drawing
that shows it; of Bokeh's tool, to the end of its next painting. An overlay's is that from the
controller's change to the picture in the browser.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browser import Screen

from eds_xr.app.labeller.controller import Labeller
from eds_xr.app.labeller.view import LabellerView
from eds_xr.app.serving.server import serve
from eds_xr.segmentation.labelling import Session

Row = tuple[str, str, str]
STROKES = 12


def scene(side: int, n_channels: int = 3) -> xr.DataArray:
    """Return channels of three classes in discs, with noise [channel, y, x]."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    label = ((y // (side // 8) + x // (side // 8)) % 3).astype(int)
    means = random.uniform(20, 80, (3, n_channels))
    values = random.poisson(means[label]).astype(np.float32)
    names = [f"c{i}" for i in range(n_channels)]
    return xr.DataArray(np.moveaxis(values, -1, 0), {"channel": names}, ("channel", "y", "x"))


class Page:
    """A labeller's page, its view at hand."""

    def __init__(self, image: xr.DataArray) -> None:
        self.image, self.views = image, []

    def __call__(self) -> Any:
        labeller = Labeller(self.image, session=Session())
        labeller.add_class("class_3")
        self.views.append(LabellerView(labeller, Path.cwd()))
        return self.views[-1]


def paint(screen: Screen, labeller: Labeller, side: int) -> None:
    """Paint strokes of three classes in the browser."""
    block = side // 8
    for i in range(STROKES):
        row, column = divmod(2 * i, 8)
        screen.hover(side / 2, side / 2)
        screen.key(str((row + column) % 3 + 1))
        y, x = (row + 0.5) * block, (column + 0.25) * block
        screen.stroke((y, x), (y, x + block / 2), steps=12)
    screen.until(lambda: len(labeller.session.strokes) == STROKES)


def overlay_times(screen: Screen, view: Any) -> list[float]:
    """Return how long another overlay takes until the browser shows it [s]."""
    times = []
    for kind in ("uncertainty", "classes") * 3:
        drawn = screen.surface("s => s.layers.get('overlay').number = Math.random()")
        since = time.perf_counter()
        document = view._document
        document.add_next_tick_callback(lambda kind=kind: view.labeller.show(overlay=kind))
        screen.until(lambda drawn=drawn: screen.surface(
            "(s, n) => s.layers.get('overlay').number !== n && !s.asked", drawn))  # fmt: skip
        times.append(time.perf_counter() - since)
    return times


def labeller_rows(browser: Any, side: int) -> list[Row]:
    """Measure the labeller on an image of `side` x `side` pixels."""
    page = Page(scene(side))
    rows: list[Row] = []
    with serve(page, show=False, block=False) as server, Screen(browser) as screen:
        screen.open(server.opening_url())
        screen.until_surface("s => s.layers.size && s.classes.length === 3")
        view = page.views[-1]
        labeller = view.labeller
        screen.surface("s => { s.timings.length = 0 }")
        paint(screen, labeller, side)
        traces = np.array(screen.surface("s => s.timings"))
        rows.append((f"trace, {side} x {side}: median, worst [ms]",
                     f"{np.median(traces):.1f}, {traces.max():.1f}", "below 50"))  # fmt: skip
        screen.until(lambda: not labeller.learning.busy)
        since = time.perf_counter()
        screen.key("t")
        screen.until(lambda: screen.surface("s => s.layers.has('overlay') && !s.asked"))
        rows.append((f"Train to overlay, {side} x {side}, 3 channels [s]",
                     f"{time.perf_counter() - since:.2f}", "below 2 at 512"))  # fmt: skip
        screen.until(lambda: not labeller.learning.busy)
        screen.surface("""s => { const put = s.on_layer.bind(s)
            s.on_layer = m => { if (m.bytes !== undefined) m.number = 0; put(m) } }""")
        times = overlay_times(screen, view)
        rows.append((f"overlay, {side} x {side} [s]", f"{np.median(times):.3f}",
                     "0.15 at 512, 0.5 at 2048"))  # fmt: skip
        drawn = screen.surface("s => s.layers.get('overlay').number = Math.random()")
        since = time.perf_counter()
        view._document.add_next_tick_callback(lambda: labeller.set_parameter("smoothness", 2.0))
        screen.until(lambda: screen.surface(
            "(s, n) => s.layers.get('overlay').number !== n && !s.asked", drawn))  # fmt: skip
        rows.append((f"smoothness, {side} x {side} [s]", f"{time.perf_counter() - since:.2f}",
                     "below 1 at 512"))  # fmt: skip
    return rows


BOKEH = """() => {
    window.times = []
    const stroke = CanvasRenderingContext2D.prototype.stroke
    CanvasRenderingContext2D.prototype.stroke = function (...given) {
        stroke.apply(this, given)
        window.drawn = performance.now()
    }
    window.addEventListener('pointermove', e => {
        const { since, drawn } = window
        if (since && drawn > since) window.times.push(drawn - since)
        window.since = e.timeStamp
    }, true)
}"""
FRAME = """() => {
    const find = views => { for (const v of views) {
        if (v.model.type === 'Figure') return v
        const inner = find(v.child_views || [])
        if (inner) return inner } }
    const found = window.Bokeh && Bokeh.index && find([...Bokeh.index])
    if (!found || !found.el.clientWidth) return null
    const b = found.el.getBoundingClientRect()
    return [b.left, b.top, b.width, b.height]
}"""


def bokeh_rows(browser: Any, side: int) -> list[Row]:
    """Measure Bokeh's FreehandDrawTool on the same image."""
    import panel as pn
    from bokeh.models import ColumnDataSource, FreehandDrawTool, Range1d
    from bokeh.plotting import figure

    class Figure:
        def panel(self) -> Any:
            one = figure(width=740, height=740, x_range=Range1d(0, side),
                         y_range=Range1d(side, 0), tools=[], toolbar_location=None)  # fmt: skip
            one.image([scene(side).values[0]], x=0, y=0, dw=side, dh=side)
            source = ColumnDataSource({"xs": [], "ys": []})
            lines = one.multi_line("xs", "ys", source=source, line_width=8)
            tool = FreehandDrawTool(renderers=[lines])
            one.add_tools(tool)
            one.toolbar.active_drag = tool
            return pn.pane.Bokeh(one)

        def close(self) -> None:
            pass

    with serve(Figure, show=False, block=False) as server, Screen(browser) as screen:
        screen.page.goto(server.opening_url())
        left, top, wide, high = screen.until(lambda: screen.page.evaluate(FRAME))
        screen.page.evaluate(BOKEH)
        mouse = screen.page.mouse
        for i in range(STROKES):
            y = top + high * (i + 1) / (STROKES + 2)
            mouse.move(left + 0.2 * wide, y)
            mouse.down()
            mouse.move(left + 0.7 * wide, y, steps=12)
            mouse.up()
        times = np.array(screen.page.evaluate("() => window.times"))
    return [(f"trace of Bokeh's tool, {side} x {side}: median, worst [ms]",
             f"{np.median(times):.1f}, {times.max():.1f}", "for comparison")]  # fmt: skip


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 2048])
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    path = os.environ.get("EDS_XR_CHROMIUM") or shutil.which("chromium")
    rows: list[Row] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for side in args.sides:
            rows += labeller_rows(browser, side)
            rows += bokeh_rows(browser, side)
        browser.close()
    for name, measured, goal in rows:
        print(f"{name:62} {measured:>16}   {goal}")


if __name__ == "__main__":
    main()
