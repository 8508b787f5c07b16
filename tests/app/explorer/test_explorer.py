import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr.app.explorer.explorer import Explorer
from eds_xr.app.pictures.drawing import Window
from eds_xr.app.pictures.worker import CancelledError, Job
from eds_xr.schema import EdsError

from .layers import FE_COUNTS, two_layers

BOX = [(10.2, 20.4), (30.3, 50.1)]
TRIANGLE = [(5.0, 5.0), (40.0, 8.0), (22.0, 60.0)]


@pytest.fixture
def explorer(grains: xr.DataArray) -> Explorer:
    return Explorer(grains)


def run(explorer: Explorer, **given: Any) -> dict[str, Any]:
    """Run the script that an explorer wrote."""
    names = {"image": explorer.image, **given}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(explorer.script.text(), "script", "exec"), names)
    return names


def whole(explorer: Explorer, screen: int = 500) -> Window:
    return Window(0, 0, *explorer.shape, screen, screen)


def test_explorer__shows_counts_and_images_that_ride_along(explorer: Explorer) -> None:
    assert list(explorer.channels) == ["counts", "haadf"]
    shown = explorer.draw("counts", whole(explorer), Job())
    np.testing.assert_array_equal(shown.values, explorer.image.sum("energy"))
    shown = explorer.draw("haadf", whole(explorer), Job())
    np.testing.assert_allclose(shown.values, explorer.image.haadf, rtol=1e-6)


def test_region_spectrum__is_that_of_its_pixels(explorer: Explorer) -> None:
    one = explorer.add_region("rectangle", BOX)
    assert (one.name, one.code) == ("A", "scribbles.rectangle('A', (10, 30), (20, 50))")
    found = explorer.region_spectrum("A", Job())
    expected = explorer.image[10:30, 20:50].sum(("y", "x"))
    np.testing.assert_array_equal(found.counts, expected)
    np.testing.assert_array_equal(found.variance, expected)
    assert found.n_pixels == 600


@pytest.mark.parametrize("slab", [1, 10**6, 10**9])
def test_region_spectrum__in_slabs_of_any_size(
    explorer: Explorer, slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eds_xr.app.explorer.regions.SLAB_BYTES", slab)
    explorer.image = explorer.image.chunk({"y": 7, "x": 33})
    explorer.add_region("polygon", TRIANGLE)
    mask = eds_xr.masks.from_rois(explorer.image, [explorer.regions["A"].roi])
    expected = explorer.image.eds.sum_spectra(mask).compute()
    found = explorer.region_spectrum("A", Job())
    xr.testing.assert_equal(found.drop_vars("phase"), expected.isel(phase=0, drop=True))


def test_region_spectrum__ends_when_cancelled(explorer: Explorer) -> None:
    explorer.add_region("rectangle", BOX)
    job = Job()
    job.cancel()
    with pytest.raises(CancelledError):
        explorer.region_spectrum("A", job)


def test_add_region__within_the_image_and_never_empty(explorer: Explorer) -> None:
    assert explorer.add_region("rectangle", [(-5, -5), (200, 300)]).code.endswith(
        "(0, 64), (0, 80))"
    )
    assert explorer.add_region("rectangle", [(3.1, 3.1), (3.2, 3.2)]).code.endswith(
        "(3, 4), (3, 4))"
    )
    for name, pixels in (("A", 64 * 80), ("B", 1)):
        assert explorer.region_spectrum(name, Job()).n_pixels == pixels


def test_take_region__the_same_message_twice_is_one(explorer: Explorer) -> None:
    message = {"id": "one", "kind": "rectangle", "points": BOX}
    assert explorer.take_region(message) == explorer.regions["A"]
    assert explorer.take_region(message) is None
    explorer.remove_region("A")
    assert explorer.take_region(message) is None
    assert not explorer.regions


def test_take_outlines__regions_of_a_page_whose_server_is_another(explorer: Explorer) -> None:
    kept = explorer.add_region("rectangle", BOX)
    outlines = [
        {"id": name, "kind": kind, "points": points, "color": "#112233", "width": 1.0}
        for name, kind, points in (
            ("C", "rectangle", kept.roi.paths[0].tolist()),  # the one that is there
            ("A", "polygon", TRIANGLE),  # its name is taken
            ("F", "line", [[1.0, 2.0], [10.0, 12.0]]),
        )
    ]
    for _ in range(2):
        explorer.take_outlines(outlines)
        assert list(explorer.regions) == ["A", "B", "F"]
    assert explorer.regions["A"] == kept
    assert explorer.regions["B"].roi.kind == "polygon"
    assert explorer.regions["F"].color == "#112233"
    assert "scribbles.line('F'" in explorer.script.text()


def test_add_region__names_come_again_when_they_are_free(explorer: Explorer) -> None:
    colors = [explorer.add_region("rectangle", BOX).color for _ in range(3)]
    assert len(set(colors)) == 3
    explorer.remove_region("B")
    one = explorer.add_region("polygon", TRIANGLE)
    assert (one.name, one.color) == ("B", colors[1])
    assert list(explorer.regions) == ["A", "C", "B"]


def test_pixel_spectrum__under_a_point(explorer: Explorer) -> None:
    found = explorer.pixel_spectrum(3.9, 70.1)
    assert found is not None
    np.testing.assert_array_equal(found.counts, explorer.image[3, 70])
    assert [explorer.pixel_spectrum(*p) for p in ((-0.1, 0), (0, 80), (64, 0))] == [None] * 3


def test_whole_spectrum__all_counts(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eds_xr.app.explorer.regions.SLAB_BYTES", 10**6)
    shown: list[float] = []
    found = explorer.whole_spectrum(Job(), lambda spectrum, done: shown.append(done))
    np.testing.assert_array_equal(found.counts, explorer.image.sum(("y", "x")))
    assert found.n_pixels == 64 * 80
    assert shown == sorted(shown)
    assert 0 < shown[0] < 1


@pytest.mark.parametrize("shift", [0.0, 0.04, -0.04])
def test_map_peak__of_a_known_line(explorer: Explorer, shift: float) -> None:
    total = explorer.whole_spectrum(Job()).counts
    name, peak = explorer.map_peak(total, 1.740 + shift)
    assert name == peak.line == "Si_Ka"
    shown = explorer.draw(name, whole(explorer), Job())
    expected = eds_xr.element_map(explorer.image, "Si_Ka")
    np.testing.assert_allclose(shown.values, expected, rtol=1e-6)


def test_map_peak__of_no_known_line(grains: xr.DataArray) -> None:
    explorer = Explorer(grains, elements=["Mg"])
    name, peak = explorer.map_peak(explorer.whole_spectrum(Job()).counts, 1.74)
    assert peak.line == ""
    assert peak.others[0] == "Si_Ka"
    assert name.endswith("keV")
    shown = explorer.draw(name, whole(explorer), Job())
    inside = grains.sel(energy=slice(round(peak.low, 4), round(peak.high, 4)))
    np.testing.assert_array_equal(shown.values, inside.sum("energy"))


def test_map_peak__an_axis_in_ev(grains: xr.DataArray) -> None:
    axis = (grains.energy * 1000).assign_attrs(units="eV")
    explorer = Explorer(grains.assign_coords(energy=axis), elements=[])
    name, peak = explorer.map_peak(explorer.whole_spectrum(Job()).counts, 1740.0)
    assert name.endswith("eV")
    assert abs(peak.energy - 1740) < 30
    with pytest.raises(EdsError, match="keV"):
        explorer.map_element("Si")


def test_map_element__freed_of_overlaps(grains: xr.DataArray) -> None:
    explorer = Explorer(grains, elements=["Mg", "Ca", "Fe"])
    name = explorer.map_element(" si ")
    assert explorer.elements == ["Mg", "Ca", "Fe", "Si"]
    shown = explorer.draw(name, whole(explorer), Job())
    fitted = eds_xr.fitted_maps(grains, ["Mg", "Ca", "Fe", "Si"]).net.sel(line="Si_Ka")
    np.testing.assert_allclose(shown.values, fitted, rtol=1e-5)


def test_map_element__refuses_what_is_none(explorer: Explorer) -> None:
    for text in ("Xx", "", "iron"):
        with pytest.raises(EdsError, match="element"):
            explorer.map_element(text)
    assert "fitted" not in explorer.script.text()


def test_profile__of_a_map_along_a_line(explorer: Explorer) -> None:
    explorer.map_line("Mg_Ka")
    explorer.add_region("line", [(20.5, 3.5), (20.5, 60.5)], width_pixels=5)
    found = explorer.profile("Mg_Ka", "A")
    rows = eds_xr.element_map(explorer.image, "Mg_Ka").values[18:23, 3:61]
    np.testing.assert_allclose(found["mean"].values[0], rows.mean(0), rtol=1e-4)
    assert found.attrs["errors"] == "counting"


def test_subtract__what_is_left_is_the_grain(explorer: Explorer) -> None:
    """The truth is made here: a film of one recipe everywhere, another phase on it in a square."""
    image = two_layers()
    explorer = Explorer(image)
    explorer.add_region("rectangle", [(0, 0), (20, 20)])
    explorer.add_region("rectangle", [(24, 24), (40, 40)])
    found = explorer.subtract("A", "B", "Si_Ka", Job())
    assert found.warnings == ()
    assert abs(float(found.rest.scale) - 0.5) < 3 * float(found.rest.scale_variance) ** 0.5
    assert found.lines is not None
    net, sd = found.lines.net.sel(line="Fe_Ka"), found.lines.variance.sel(line="Fe_Ka") ** 0.5
    assert abs(float(net) - 400 * FE_COUNTS) < 3 * float(sd)
    ratio = found.signal_to_noise
    assert ratio is not None
    assert float(ratio.sel(line="Fe_Ka")) > 20


def test_subtract__warns_on_the_page(explorer: Explorer) -> None:
    explorer.add_region("rectangle", [(0, 0), (20, 20)])
    explorer.add_region("rectangle", [(24, 24), (40, 40)])
    found = explorer.subtract("A", "B", 0.9999, Job())
    told = found.rest.attrs["warnings"]
    assert set(told) <= set(found.warnings)


def test_subtract__the_same_region(explorer: Explorer) -> None:
    explorer.add_region("rectangle", BOX)
    with pytest.raises(EdsError, match="choose two"):
        explorer.subtract("A", "A", 0.5, Job())


def test_script__runs_and_gives_the_same_numbers(tmp_path: Path) -> None:
    eds_xr.save(two_layers(), tmp_path / "scan.zarr")
    explorer = Explorer(eds_xr.open(tmp_path / "scan.zarr"))
    explorer.map_line("Si_Ka")
    explorer.map_window(1.1, 1.4)
    explorer.map_element("Fe")
    explorer.tell_channel("counts")
    explorer.add_region("polygon", [(1, 1), (19, 2), (15, 18)])
    explorer.add_region("rectangle", [(24, 24), (40, 40)])
    explorer.add_region("line", [(3.5, 3.5), (30.5, 33.5)], width_pixels=3)
    found = explorer.subtract("A", "B", "Si_Ka", Job())
    explorer.profile("Si_Ka", "C")
    explorer.profile("counts", "C")
    code = explorer.script.text()
    assert str(tmp_path / "scan.zarr") in code
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "script", "exec"), names)
    for name in "ABC":
        mine = explorer.region_spectrum(name, Job()).drop_vars("phase")
        xr.testing.assert_equal(mine, names["spectra"].sel(phase=name, drop=True))
    xr.testing.assert_equal(found.rest.counts, names["rest"].counts)
    assert found.lines is not None
    np.testing.assert_allclose(found.lines.net, names["lines"].net, rtol=1e-6)
    np.testing.assert_allclose(found.signal_to_noise, names["signal_to_noise"], rtol=1e-6)
    for channel, variable in (("Si_Ka", "si_ka"), ("Fe_Ka fitted", "fe_ka_fitted")):
        shown = explorer.draw(channel, whole(explorer), Job())
        np.testing.assert_allclose(shown.values, names[variable], rtol=1e-5, atol=1e-4)


def test_script__forgets_what_was_taken_back(explorer: Explorer) -> None:
    before = explorer.script.text()
    explorer.add_region("rectangle", BOX)
    explorer.add_region("rectangle", [(24, 24), (40, 40)])
    explorer.subtract("A", "B", 0.3, Job())
    explorer.remove_region("A")
    explorer.remove_region("B")
    assert explorer.script.text() == before


def test_result__a_segmentation(explorer: Explorer) -> None:
    phases = explorer.image.eds.segment(n_components=3)
    with_result = Explorer(explorer.image, phases)
    names = phases.phase.values.tolist()
    assert {f"present: {n}" for n in names} <= set(with_result.channels)
    assert {"uncertainty", "residual", "strangers"} <= set(with_result.channels)
    name = f"probability: {names[0]}"
    shown = with_result.draw(name, whole(with_result), Job())
    np.testing.assert_allclose(shown.values, phases.probability.isel(phase=0), rtol=1e-6)
    with_result.tell_channel(name)
    with_result.tell_channel("strangers")
    ran = run(with_result, result=phases)
    shown = with_result.draw("strangers", whole(with_result), Job())
    np.testing.assert_allclose(shown.values, ran["strangers"], rtol=1e-4, atol=1e-4)


def test_result__a_factorisation_shows_a_stranger(grains: xr.DataArray) -> None:
    factors = grains.eds.nmf(3, max_iter=30)
    strange = grains.copy(deep=True)
    chromium = int(np.argmin(abs(strange.energy.values - 5.415)))
    strange[40:44, 10:14, chromium - 2 : chromium + 3] += 6
    explorer = Explorer(strange, factors)
    shown = explorer.draw("strangers", whole(explorer), Job()).values
    inside = np.zeros(shown.shape, bool)
    inside[40:44, 10:14] = True
    assert shown[inside].min() > 4
    assert (shown[~inside] > 4).mean() < 1e-3
    explorer.add_region("rectangle", [(40, 10), (44, 14)])
    rest = explorer.unexplained(explorer.region_spectrum("A", Job()))
    near = rest.sel(energy=slice(5.25, 5.6)).sum()
    assert abs(float(near) - 16 * 30) < 60
    assert {"score: 0", "score: 1", "score: 2"} <= set(explorer.channels)


def test_result__of_something_else(grains: xr.DataArray) -> None:
    with pytest.raises(EdsError, match="segment, nmf or analyse"):
        Explorer(grains, xr.Dataset({"a": 1}))
    other = grains.isel(y=slice(0, 10)).eds.nmf(2, max_iter=3)
    with pytest.raises(EdsError, match="result"):
        Explorer(grains, other)


def test_explorer__refuses_what_is_no_image(grains: xr.DataArray) -> None:
    with pytest.raises(EdsError, match="plot_profile"):
        Explorer(grains.isel(y=0))
    with pytest.raises(EdsError, match="spectrum image"):
        Explorer(xr.Dataset())
