"""Figures: what they show, as far as axes can tell; no display needed."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from eds_xr.analysis.deep_mantle import figures as study_figures
from eds_xr.composition import minerals
from eds_xr.composition.partition import partition_coefficients
from eds_xr.composition.quantify import quantify
from eds_xr.report import figures
from eds_xr.schema import EdsError


@pytest.fixture
def axes():
    return Figure().add_subplot()


@pytest.fixture
def image():
    coords = {d: (d, 2.0 * np.arange(40), {"units": "nm"}) for d in ("y", "x")}
    values = np.arange(1600.0).reshape(40, 40)
    return xr.DataArray(values, dims=("y", "x"), coords=coords, attrs={"units": "counts"})


@pytest.fixture
def spectra():
    energy = np.arange(0.1, 8.0, 0.01)
    values = np.stack([np.exp(-energy), np.exp(-energy / 2)])
    coords = {"phase": ["Brg", "Fp"], "energy": energy}
    return xr.DataArray(values, dims=("phase", "energy"), coords=coords, attrs={"units": "counts"})


def test_draw_image__has_a_round_scale_bar(axes, image):
    figures.draw_image(axes, image, title="score")
    assert axes.get_title() == "score"
    assert [t.get_text() for t in axes.texts] == ["20 nm"]
    (bar,) = axes.patches
    assert bar.get_width() == pytest.approx(10)  # pixels of 2 nm


def test_draw_image__colour_bar_has_units(axes, image):
    figures.draw_image(axes, image)
    assert axes.figure.axes[1].get_xlabel() == "counts"


def test_draw_mask__title_gives_the_share(axes, image):
    figures.draw_mask(axes, image >= 1200, title="pure")
    assert axes.get_title() == "pure, 25.0 %"


def test_draw_spectra__axes_have_units_and_lines_are_named(axes, spectra):
    figures.draw_spectra(axes, spectra, lines=["Mg_Ka", "Fe_Ka", "Cu_Ka"])
    assert axes.get_xlabel() == "energy (keV)"
    assert axes.get_ylabel() == "counts"
    assert {t.get_text() for t in axes.texts} == {"Mg Kα", "Fe Kα"}  # Cu lies outside
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["Brg", "Fp"]


# -- tables --------------------------------------------------------------------------------------


def composition(phases=("Brg", "Fp"), elements=("Mg", "Si", "Nd")):
    net = np.tile([30000.0, 20000.0, *[900.0] * (len(elements) - 3), 5.0], (len(phases), 1))
    names = [f"{e}_{'La' if e in ('Nd', 'Sm') else 'Ka'}" for e in elements]
    values = xr.DataArray(net, {"phase": list(phases), "line": names}, ("phase", "line"))
    return quantify(xr.Dataset({"net": values, "variance": values + 400}))


def words(axes):
    return [t.get_text() for t in axes.texts]


def test_draw_table__has_errors_limits_and_units():
    axes = Figure(figsize=(4, 3)).add_axes((0.05, 0.05, 0.9, 0.8))
    figures.draw_table(axes, composition(), title="(a) composition")
    shown = words(axes)
    assert axes.get_title(loc="left") == "(a) composition"
    assert {"at%", "Brg", "Fp", "Mg", "Si", "Nd"} <= set(shown)
    assert [w for w in shown if w.endswith(")") and "." in w]  # 13.4(2), cut at its point
    assert "< 0" in shown
    assert "not included: systematic" in " ".join(shown).lower()
    assert "upper limit at 95\N{NO-BREAK SPACE}% confidence" in " ".join(shown)
    assert len(axes.lines) == 3  # the rules


def test_draw_table__numbers_meet_at_the_point():
    axes = Figure(figsize=(4, 3)).add_axes((0.05, 0.05, 0.9, 0.8))
    figures.draw_table(axes, composition(("Brg",)))
    right = {t.get_position()[0] for t in axes.texts if t.get_ha() == "right"}
    after = {t.get_position()[0] for t in axes.texts if t.get_text().startswith(".")}
    assert right == after
    assert len(right) == 1


def test_draw_table__stays_within_its_axes():
    figure = Figure(figsize=(4, 2.5))
    axes = figure.add_axes((0.05, 0.05, 0.9, 0.8))
    figures.draw_table(axes, minerals.oxides(composition(("Brg", "Fp", "Ca-Pv"))))
    figure.canvas.draw()
    frame = axes.get_window_extent()
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.x0 >= frame.x0 - 1, text
        assert box.x1 <= frame.x1 + 1, text
        assert box.y0 >= frame.y0 - 1, text
    assert "SiO$_{2}$" in words(axes)


def test_draw_table__of_one_phase_and_of_lines():
    axes = Figure(figsize=(4, 3)).add_axes((0, 0, 1, 1))
    figures.draw_table(axes, composition().sel(phase="Fp"), quantity="weight_fraction")
    assert {"wt%", "Fp"} <= set(words(axes))


def test_draw_table__refuses_what_nobody_can_read():
    axes = Figure(figsize=(1.2, 1)).add_axes((0, 0, 1, 1))
    many = composition([f"region {i}" for i in range(9)])
    with pytest.raises(EdsError, match=r"a table of 3 rows and 9 columns would need type of"):
        figures.draw_table(axes, many)
    with pytest.raises(EdsError, match="a table has elements and phases, found"):
        figures.draw_table(axes, many.expand_dims("sample"))


def test_table_1__both_tables():
    made = composition()
    coefficients = partition_coefficients(made, "Fp", reference="Brg").expand_dims("phase")
    figure = study_figures.table_1(made, coefficients)
    left, right = figure.axes
    assert left.get_title(loc="left") == "(a) Composition without oxygen"
    assert right.get_title(loc="left") == "(b) Partition coefficients against Brg"
    assert "Fp" in words(right)


def test_draw_table__of_one_number_a_phase_is_an_error():
    ratio = xr.DataArray([0.5, 0.6], {"phase": ["a", "b"]})
    with pytest.raises(EdsError, match="a table has elements and phases"):
        figures.draw_table(
            Figure().subplots(), xr.Dataset({"ratio": ratio, "variance": 0.01 * ratio})
        )
