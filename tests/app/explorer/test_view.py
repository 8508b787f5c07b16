"""The explorer in a browser: what hand and keys do, against the truth of a simulated image."""

import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("panel", reason="the extra 'label' is not installed")

import eds_xr  # noqa: E402
from eds_xr.app.explore import Exploration  # noqa: E402
from eds_xr.app.explorer.view import ExplorerView  # noqa: E402
from eds_xr.app.serving import server as serving  # noqa: E402

from .layers import FE_COUNTS, two_layers  # noqa: E402

pytestmark = pytest.mark.browser


class Running(Exploration):
    """An exploration that keeps its pages."""

    def view(self) -> ExplorerView:
        one: ExplorerView = super().view()
        self.pages.append(one)
        return one


@pytest.fixture(scope="module")
def layers() -> xr.DataArray:
    return two_layers()


@pytest.fixture
def exploration(layers: xr.DataArray) -> Running:
    made = eds_xr.explore(layers, name="two layers")
    made.__class__ = Running
    made.pages = []
    return made


@pytest.fixture
def shown(exploration: Running, stage: Any) -> Any:
    """The page, its image there."""
    screen = stage.show(exploration.view)
    screen.until_surface("s => s.layers.has('image')")
    return screen


def take(screen: Any, name: str) -> None:
    """Take a tool in hand, and wait until it is."""
    tools = {"Pick": "pick", "Box": "rectangle", "Polygon": "polygon", "Line": "line"}
    screen.page.get_by_role("button", name=name, exact=True).click()
    screen.until_surface(f"s => s.tool === '{tools[name]}'")


def box(screen: Any, exploration: Running, *corners: tuple[float, float]) -> None:
    """Draw a box, and wait for its spectrum."""
    known = len(exploration.explorer.regions)
    take(screen, "Box")
    screen.stroke(*corners)
    screen.until(lambda: len(exploration.pages[-1].spectra) == known + 1)


def model(screen: Any, one: Any, code: str) -> Any:
    """Return what a function of a Bokeh model, in JavaScript, returns in the browser."""
    return screen.page.evaluate(
        f"id => ({code})(Bokeh.documents.map(d => d.get_model_by_id(id)).find(Boolean))", one.id
    )


def curves(screen: Any, exploration: Running) -> int:
    """Return how many spectra are drawn in the browser."""
    source = exploration.pages[-1].spectrum.spectra
    return int(model(screen, source, "m => m.get_column('xs').length"))


@pytest.mark.slow
def test_hover__spectrum_of_the_pixel(shown: Any, exploration: Running) -> None:
    page = exploration.pages[-1]
    shown.hover(7.5, 12.5)
    shown.until(lambda: page.pixel is not None)
    expected = exploration.explorer.image[7, 12]
    shown.until(lambda: page.pixel is not None and (page.pixel.counts == expected).all())
    total = int(expected.sum())
    shown.page.get_by_text(f"y 7, x 12: {total}").wait_for()


def test_image__is_seen_as_it_is(shown: Any, exploration: Running) -> None:
    """Half a film is darker than the whole film, and y points down."""
    shown.until(lambda: exploration.pages[-1].picture.done == 1)
    dark, bright = (
        np.mean([shown.colour(y + 0.5, x + 0.5)[0] for y, x in places])
        for places in ([(3, 4), (10, 10), (15, 5)], [(30, 30), (10, 35), (35, 5)])
    )
    assert bright - dark > 60


def test_subtraction__net_counts_of_the_truth(shown: Any, exploration: Running) -> None:
    box(shown, exploration, (0.2, 0.1), (19.9, 20.2))
    box(shown, exploration, (24.0, 24.0), (40.0, 40.0))
    shown.page.get_by_text("Subtract", exact=True).click()
    scale = shown.page.get_by_placeholder("a line that only the second emits")
    scale.fill("Si_Ka")
    scale.press("Enter")
    page = exploration.pages[-1]
    shown.until(lambda: page.difference is not None)
    found = page.difference
    assert abs(float(found.rest.scale) - 0.5) < 3 * float(found.rest.scale_variance) ** 0.5
    net, sd = found.lines.net.sel(line="Fe_Ka"), found.lines.variance.sel(line="Fe_Ka") ** 0.5
    assert abs(float(net) - 400 * FE_COUNTS) < 3 * float(sd)
    row = shown.page.locator("tr", has_text="Fe Kα")
    row.wait_for()
    ratio = float(found.signal_to_noise.sel(line="Fe_Ka"))
    assert row.inner_text().split()[2:] == [f"{float(net):.0f}", f"{float(sd):.0f}", f"{ratio:.1f}"]
    shown.until(lambda: curves(shown, exploration) == 4)  # all pixels, two regions, the difference
    # live: the reference is moved, and the difference follows
    before = found
    shown.page.locator("select").nth(2).select_option("A")
    shown.until(lambda: page.difference is None)
    shown.page.locator("select").nth(2).select_option("B")
    shown.until(lambda: page.difference is not None and page.difference is not before)


def test_peak__click_gives_its_map(shown: Any, exploration: Running) -> None:
    shown.until(lambda: curves(shown, exploration) == 1)
    x, y = shown.page.evaluate(
        """e => {
            const find = (vs) => { for (const v of vs) {
                if (v.model.name === 'spectrum') return v
                const f = find(v.child_views || []); if (f) return f } }
            const v = find(Bokeh.index.roots || Object.values(Bokeh.index))
            const r = v.canvas_view.el.getBoundingClientRect(), b = v.frame.bbox
            return [r.x + v.frame.x_scale.compute(e), r.y + b.y + b.height * 0.8]
        }""",
        6.4,
    )
    shown.page.mouse.click(x, y)
    shown.page.get_by_text("map of Fe Kα").wait_for()
    page = exploration.pages[-1]
    expected = eds_xr.element_map(exploration.explorer.image, "Fe_Ka").values
    shown.until(
        lambda: (
            page.picture.done == 1
            and page.picture.values.shape == expected.shape
            and np.allclose(page.picture.values, expected, rtol=1e-5)
        )
    )
    assert page.widgets.channel.value == "Fe_Ka"


def test_element__typed_gives_its_lines_and_map(shown: Any, exploration: Running) -> None:
    typed = shown.page.get_by_placeholder("element: Fe, then Enter")
    typed.fill("fe")
    typed.press("Enter")
    page = exploration.pages[-1]
    shown.until(lambda: page.widgets.channel.value == "Fe_Ka fitted")
    expected = eds_xr.fitted_maps(exploration.explorer.image, ["Mg", "Si", "Fe"])
    expected = expected.net.sel(line="Fe_Ka").values
    shown.until(lambda: np.allclose(page.picture.values, expected, rtol=1e-4, atol=1e-3))
    shown.until(lambda: {"Fe Kα", "Fe Kβ"} <= set(page.spectrum.lines.data["text"]))
    assert expected[:20, :20].mean() > 10 * abs(expected[20:, 20:].mean())
    typed.fill("Xy")
    typed.press("Enter")
    shown.page.get_by_text("no chemical element 'Xy'").wait_for()


def test_line__with_its_profile(shown: Any, exploration: Running) -> None:
    take(shown, "Line")
    shown.stroke((10.5, 2.5), (10.5, 37.5))
    page = exploration.pages[-1]
    shown.until(lambda: len(page.profile.data.data["y"]) > 30)
    values = np.asarray(page.profile.data.data["y"])
    assert values[-10:].mean() > 1.5 * values[:10].mean()


def test_regions__picked_and_removed(shown: Any, exploration: Running) -> None:
    box(shown, exploration, (2, 2), (12, 12))
    take(shown, "Polygon")
    for place in ((20, 20), (30, 22), (25, 35)):
        shown.click(*place)
    shown.page.mouse.dblclick(*shown.at(22, 30))
    shown.until(lambda: len(exploration.explorer.regions) == 2)
    take(shown, "Pick")
    shown.click(2, 7)
    shown.until(lambda: exploration.pages[-1].selected == ["A"])
    shown.key("Delete")
    shown.until(lambda: list(exploration.explorer.regions) == ["B"])
    shown.until_surface("s => s.outlines.length === 1")
    shown.page.get_by_role("button", name="✕").click()
    shown.until(lambda: not exploration.explorer.regions)


def test_log__another_axis(shown: Any, exploration: Running) -> None:
    shown.page.locator("input[type=checkbox]").last.check()
    shown.until(lambda: exploration.pages[-1].spectrum.log)
    figure = exploration.pages[-1].spectrum.figures[1]
    code = "m => m.visible && m.y_range.start > 0 && m.y_range.end > 10 * m.y_range.start"
    shown.until(lambda: model(shown, figure, code))


def test_script__runs_and_gives_the_numbers_shown(shown: Any, exploration: Running) -> None:
    box(shown, exploration, (0.2, 0.1), (19.9, 20.2))
    box(shown, exploration, (24.0, 24.0), (40.0, 40.0))
    page = exploration.pages[-1]
    shown.page.get_by_text("Subtract", exact=True).click()
    scale = shown.page.get_by_placeholder("a line that only the second emits")
    scale.fill("0.5")
    scale.press("Enter")
    shown.until(lambda: page.difference is not None)
    shown.page.get_by_text("Python", exact=True).click()
    shown.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown.until(lambda: "signal_to_noise" in shown.page.locator("pre").inner_text())
    shown.page.get_by_role("button", name="Copy").click()
    shown.until(lambda: shown.page.evaluate("() => navigator.clipboard.readText()"))
    code = shown.page.evaluate("() => navigator.clipboard.readText()")
    names: dict[str, Any] = {"image": exploration.explorer.image}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "script", "exec"), names)
    xr.testing.assert_equal(names["rest"].counts, page.difference.rest.counts)
    np.testing.assert_allclose(names["signal_to_noise"], page.difference.signal_to_noise)


@pytest.mark.slow
def test_page__loaded_again_has_its_regions(shown: Any, exploration: Running) -> None:
    box(shown, exploration, (2, 2), (12, 12))
    pages = len(exploration.pages)
    shown.page.reload()
    shown.until(lambda: len(exploration.pages) > pages)
    shown.wait_for_surface()
    shown.until_surface("s => s.outlines.length === 1")
    shown.until(lambda: list(exploration.pages[-1].spectra) == ["A"])
    assert list(exploration.explorer.regions) == ["A"]


@pytest.mark.slow
def test_page__its_work_ends_when_it_is_closed(
    exploration: Running, screen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "KEPT_SECONDS", 0.01)
    with exploration.show(show=False) as running:
        screen.open(running.url)
        screen.until(lambda: exploration.pages)
        page = exploration.pages[-1]
        assert not page.screen.gone
        screen.page.goto("about:blank")
        screen.until(lambda: page.screen.gone)
        assert page.worker.submit("x", lambda job: 1, pytest.fail, pytest.fail).cancelled
