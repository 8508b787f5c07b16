"""Pages whose connection breaks off in the middle of a message come back with all that was done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("panel", reason="the extra 'label' is not installed")

from support.cutting import CuttingProxy, through  # noqa: E402

import eds_xr  # noqa: E402
from eds_xr.app.explore import Exploration  # noqa: E402
from eds_xr.app.explorer.explorer import Explorer  # noqa: E402
from eds_xr.app.explorer.view import ExplorerView  # noqa: E402
from eds_xr.app.labeller.label import shared_views  # noqa: E402
from eds_xr.app.serving import server as serving  # noqa: E402
from eds_xr.app.serving.server import Served, serve  # noqa: E402
from eds_xr.segmentation import labelling  # noqa: E402

pytestmark = pytest.mark.browser

CONNECTION = Path(serving.__file__).with_name("connection.js")
SHAPE = (300, 400)
#: How much of a message comes before it is cut: nothing, nearly all, a part.
SHARES = (0.0, 0.99999, 0.4)
#: In the image, and what it is seen with.
SEEN = "s => [s.view.y0, s.view.x0, s.view.scale, s.width]"


def image() -> xr.DataArray:
    """Return an image whose maps are large messages."""
    counts = np.random.default_rng(3).poisson(0.4, (*SHAPE, 24)).astype(np.uint8)
    energy = ("energy", 0.4 + 0.2 * np.arange(24), {"units": "keV"})
    return xr.DataArray(counts, {"energy": energy}, ("y", "x", "energy"), attrs={"elements": []})


def until_renewed(screen: Any, times: int, layer: str) -> None:
    """Wait until a page has connected anew so many times, and shows its map again."""
    screen.until(lambda: screen.page.evaluate("() => window.edsConnection.renewed") == times)
    screen.page.locator(".eds-connection").wait_for(state="detached")
    until_shown(screen, layer)


def until_shown(screen: Any, layer: str) -> None:
    screen.wait_for_surface()
    screen.until_surface(f"s => s.served && s.layers.has('{layer}')")


@pytest.fixture
def screen(screen: Any) -> Any:
    """A page that waits a twentieth of the usual times before it asks a lost server again."""
    waits = re.search(r"WAITS_MS = (\[.*?\])", CONNECTION.read_text())
    assert waits is not None
    screen.context.add_init_script(
        f"""(() => {{
            const plain = window.setTimeout, long = {waits[1]}
            window.setTimeout = (act, ms, ...given) =>
                plain(act, long.includes(ms) ? ms / 20 : ms, ...given)
        }})()"""
    )
    return screen


class Pages:
    """An exploration, and its pages."""

    def __init__(self, found: Exploration) -> None:
        self.found, self.views = found, list[ExplorerView]()

    def __call__(self) -> ExplorerView:
        self.views.append(self.found.view())
        return self.views[-1]

    @property
    def explorer(self) -> Explorer:
        return self.found.explorer


@pytest.fixture
def pages() -> Pages:
    return Pages(eds_xr.explore(image(), name="cut"))


@pytest.fixture
def served(pages: Pages) -> Iterator[Served]:
    with serve(pages, show=False, block=False) as running:
        yield running


@pytest.fixture
def proxy(served: Served) -> Iterator[CuttingProxy]:
    with CuttingProxy(served.port) as between:
        yield between


def map_bytes(canvas: Any, layer: str) -> int:
    return len(canvas._layers[layer]["bytes"])


def draw_box(screen: Any, explorer: Explorer, y: float, x: float) -> None:
    known = len(explorer.regions)
    screen.page.get_by_role("button", name="Box", exact=True).click()
    screen.until_surface("s => s.tool === 'rectangle'")
    screen.stroke((y, x), (y + 6, x + 6))
    screen.until(lambda: len(explorer.regions) == known + 1)


@pytest.mark.slow
def test_explorer__cut_in_the_middle_of_a_map(
    screen: Any, pages: Pages, served: Served, proxy: CuttingProxy
) -> None:
    screen.expects_errors = True  # of the connection that is cut
    screen.open(through(served.url, proxy))
    until_shown(screen, "image")
    view = pages.views[-1]
    screen.surface("s => s.show(20, 30, 220, 280)")
    seen = screen.surface(SEEN)
    typed = screen.page.get_by_placeholder("element: Fe, then Enter")
    for number, share in enumerate(SHARES, 1):
        draw_box(screen, pages.explorer, 30.0 + 8 * number, 40.0 + 7 * number)
        typed.click()
        typed.press_sequentially("M")
        proxy.cut_within(int(share * map_bytes(view.canvas, "image")))
        view.screen.later(view._grey)
        until_renewed(screen, number, "image")
        assert proxy.cuts == number
        screen.until_surface(f"s => s.outlines.length === {number} && s.tool === 'rectangle'")
        screen.until(lambda number=number: typed.input_value() == "M" * number)
        np.testing.assert_allclose(screen.surface(SEEN), seen)
        screen.hover(50.5 + number, 60.5)
        screen.page.get_by_text(f"y {50 + number}, x 60").wait_for()
    assert len(pages.explorer.regions) == len(SHARES)
    assert len(pages.views) == 1, "the page came back, it was not loaded again"
    typed.fill("mg")
    typed.press("Enter")
    screen.until(lambda: "Mg_Ka fitted" in pages.explorer.channels)


@pytest.mark.slow
def test_labeller__cut_in_the_middle_of_a_map(screen: Any, tmp_path: Any) -> None:
    screen.expects_errors = True
    image_ = image()
    maps = {"low": image_[..., :8].sum("energy"), "high": image_[..., 8:].sum("energy")}
    views: list[Any] = []
    open_page = shared_views(image_, channels=maps, folder=tmp_path)

    def page() -> Any:
        views.append(open_page())
        return views[-1]

    with serve(page, show=False, block=False) as served, CuttingProxy(served.port) as proxy:
        screen.open(through(served.url, proxy))
        until_shown(screen, "map")
        view = views[-1]
        labeller = view.labeller
        screen.surface("s => s.show(20, 30, 220, 280)")
        screen.hover(100, 100)
        screen.key("2", "b", ">", ">")
        seen = screen.surface(SEEN)
        for number, share in enumerate(SHARES, 1):
            y, x = 30.5 + 8 * number, 40.5 + 7 * number
            proxy.cut_within(int(share * map_bytes(view.canvas, "map")))
            labeller.deliver(lambda: labeller._tell("picture"))
            screen.stroke((y, x), (y + 3, x + 3))  # while the connection breaks
            until_renewed(screen, number, "map")
            assert proxy.cuts == number
            screen.until(lambda number=number: len(labeller.session.strokes) == number)
            screen.until_surface(f"s => s.pending.size === 0 && s.strokes.length === {number}")
            screen.until_surface("s => s.tool === 'brush' && s.active === 'class_2'")
            np.testing.assert_allclose(screen.surface(SEEN), seen)
        assert len(views) == 1, "the page came back, it was not loaded again"
        assert (labelling.scribbles_of(labeller.session).values > 0).sum() > 10 * len(SHARES)
        screen.close()


@pytest.mark.slow
def test_explorer__loaded_again_where_no_connection_helps(
    screen: Any, pages: Pages, served: Served, proxy: CuttingProxy
) -> None:
    screen.expects_errors = True
    screen.open(through(served.url, proxy))
    until_shown(screen, "image")
    draw_box(screen, pages.explorer, 30, 40)
    boxes = screen.page.locator("input[type=checkbox]")  # of the map and of the spectra: log
    boxes.first.check()
    boxes.last.check()
    screen.until(lambda: pages.views[-1].widgets.brighten.value and pages.views[-1].spectrum.log)
    screen.surface("s => s.show(20, 30, 220, 280)")
    seen = screen.surface(SEEN)
    proxy.refuse(3)
    screen.page.evaluate("() => edsConnection.renew()")
    screen.until(lambda: len(pages.views) == 2)
    until_shown(screen, "image")
    screen.until_surface("s => s.outlines.length === 1 && s.tool === 'rectangle'")
    np.testing.assert_allclose(screen.surface(SEEN), seen)
    assert boxes.first.is_checked()
    assert boxes.last.is_checked()
    assert pages.views[-1].spectrum.log
    draw_box(screen, pages.explorer, 130, 140)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.9])
def test_page__cut_while_it_is_loaded(
    screen: Any, pages: Pages, served: Served, proxy: CuttingProxy, share: float
) -> None:
    screen.expects_errors = True
    proxy.cut_within(int(share * 20_000), binary=False)
    screen.page.goto(through(served.url, proxy))
    screen.until(lambda: proxy.cuts == 1)
    until_shown(screen, "image")
    draw_box(screen, pages.explorer, 30, 40)


@pytest.mark.slow
def test_explorer__server_killed_and_started_again(screen: Any) -> None:
    """Another process knows nothing of the regions: the page has them, and what it shows."""
    screen.expects_errors = True
    secret = "token-of-both-servers"
    first = Pages(eds_xr.explore(image(), name="killed"))
    server = serve(first, show=False, block=False, token=secret)
    try:
        screen.open(server.url)
        until_shown(screen, "image")
        draw_box(screen, first.explorer, 30, 40)
        draw_box(screen, first.explorer, 130, 140)
        first.explorer.remove_region("A")
        first.views[-1].screen.later(first.views[-1]._regions_changed)
        screen.until_surface("s => s.outlines.length === 1")
        screen.surface("s => s.show(20, 30, 220, 280)")
        seen = screen.surface(SEEN)
    finally:
        server.stop()
    screen.page.locator(".eds-connection").wait_for()
    second = Pages(eds_xr.explore(image(), name="killed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eds_xr.app.canvas.canvas.LAUNCH", "another process")
        with serve(second, show=False, block=False, port=server.port, token=secret):
            screen.until(lambda: second.views)
            until_renewed(screen, 1, "image")
            screen.until(lambda: list(second.explorer.regions) == ["B"])
            screen.until_surface("s => s.outlines.length === 1")
            np.testing.assert_allclose(screen.surface(SEEN), seen)
            one, other = (p.explorer.regions["B"] for p in (first, second))
            assert one == other
            screen.close()


@pytest.mark.slow
def test_page__says_that_another_token_is_asked_for(screen: Any) -> None:
    screen.expects_errors = True
    first = Pages(eds_xr.explore(image(), name="refused"))
    with serve(first, show=False, block=False) as server:
        screen.open(server.url)
        until_shown(screen, "image")
    second = Pages(eds_xr.explore(image(), name="refused"))
    with serve(second, show=False, block=False, port=server.port) as again:
        screen.page.get_by_text("open the address that it has printed").wait_for()
        assert not second.views
        other = screen.context.new_page()
        other.goto(again.opening_url())
        until_renewed(screen, 1, "image")
        draw_box(screen, second.explorer, 30, 40)
        screen.close()
