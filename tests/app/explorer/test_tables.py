import xarray as xr

from eds_xr.app.explorer import tables
from eds_xr.app.explorer.explorer import Difference
from eds_xr.app.explorer.peaks import Peak
from eds_xr.app.explorer.regions import region


def difference(**more: xr.DataArray) -> Difference:
    rest = xr.Dataset({"scale": 0.5, "scale_variance": 1e-4, "n_pixels": 9})
    lines = xr.Dataset(
        {"net": ("line", [120.0, 3.0]), "variance": ("line", [100.0, 4.0])},
        {"line": ["Fe_Ka", "Al_Ka"]},
    )
    return Difference(rest, lines.assign(more), ("too <much>",))


def test_difference__net_counts_and_signal_to_noise() -> None:
    html = tables.difference(difference(), "A", "B")
    assert "A less 0.5000 ± 0.0100 of B, 9 pixels" in html
    assert "<tr><td>Fe Kα</td><td>120</td><td>10</td><td>12.0</td></tr>" in html
    assert '<tr class="weak"><td>Al Kα</td>' in html
    assert "too &lt;much&gt;" in html


def test_difference__lines_that_are_zero_by_choice() -> None:
    html = tables.difference(difference(assumed=xr.DataArray([False, True], dims="line")), "A", "B")
    assert html.count("zero by choice") == 1


def test_difference__without_elements() -> None:
    html = tables.difference(difference()._replace(lines=None), "A", "B")
    assert "Type elements" in html


def test_texts__no_markup_of_names_is_markup() -> None:
    image = xr.DataArray([[[1]]], dims=("y", "x", "energy"))
    assert "<script>" not in tables.title(image, "<script>")
    one = region("<b>", "rectangle", [(0, 0), (2, 3)], "#4477aa", (9, 9))
    assert "<b><b>" not in tables.region_row(one, None)
    assert "<i>" not in tables.messages(["<i>"])
    assert "<i>" not in tables.peak(Peak(1, 0, 2, "", ()), "<i>", "keV")


def test_region_row__pixels_and_counts() -> None:
    one = region("A", "rectangle", [(0, 0), (2, 3)], "#4477aa", (9, 9))
    spectrum = xr.Dataset({"counts": ("energy", [6.0, 6.0]), "n_pixels": 6})
    assert "6 pixels, 2 counts each" in tables.region_row(one, spectrum)
