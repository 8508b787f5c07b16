import numpy as np
import xarray as xr

from eds_xr.app.explorer.curves import Shown, curves_of, marks_of, seen_range
from eds_xr.app.explorer.explorer import Explorer


def spectrum(values: list[float], pixels: float) -> xr.Dataset:
    energy = ("energy", np.arange(len(values)) * 0.5, {"units": "keV"})
    return xr.Dataset({"counts": ("energy", values), "n_pixels": pixels}, {"energy": energy})


def test_curves_of__means_of_a_pixel_in_the_regions_colours() -> None:
    shown = Shown(
        spectrum([10, 20], 10), spectrum([1, 2], 1), {"A": spectrum([6, 9], 3)}, {},
        spectrum([3, 0], 3),
    )  # fmt: skip
    found = {c.name: c for c in curves_of(shown, {"A": "#4477aa"})}
    assert {n: c.values.tolist() for n, c in found.items()} == {
        "all pixels": [1, 2], "A": [2, 3], "difference": [1, 0],
    }  # fmt: skip
    assert found["A"].color == "#4477aa"


def test_curves_of__the_pixel_where_there_are_no_regions() -> None:
    shown = Shown(None, spectrum([1, 2], 1), {}, {}, None)
    assert [c.name for c in curves_of(shown, {})] == ["pixel"]


def test_curves_of__what_is_unexplained_of_a_region() -> None:
    one = spectrum([6, 9], 3)
    shown = Shown(None, None, {"A": one}, {"A": one.counts - 3}, None)
    assert curves_of(shown, {"A": "#4477aa"})[1].values.tolist() == [1, 2]


def test_seen_range__ends_where_the_counts_end() -> None:
    energy = np.arange(2000) * 0.01
    counts = xr.DataArray(np.where(energy < 8, 100, 0), {"energy": energy}, ("energy",))
    low, high = seen_range(counts)
    assert low == 0
    assert 8 < high < 9
    assert seen_range(counts * 0) == (0, energy[-1])


def test_marks_of__the_element_that_is_typed(grains: xr.DataArray) -> None:
    explorer = Explorer(grains, elements=["Mg", "Fe"])
    assert {m.text for m in marks_of(explorer, "")} == {"Mg Kα", "Fe Kα"}
    typed = {m.text: m for m in marks_of(explorer, "fe")}
    assert {"Mg Kα", "Fe Kα", "Fe Kβ", "Fe Lα"} <= set(typed)
    assert typed["Fe Kβ"].color != typed["Mg Kα"].color
    assert all(-0.2 < m.energy < 10.04 for m in typed.values())
