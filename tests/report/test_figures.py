"""Figures: what they show, as far as axes can tell; no display needed."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from support.drawn import composition, words

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


def test_draw_table__of_one_phase_and_of_lines():
    axes = Figure(figsize=(4, 3)).add_axes((0, 0, 1, 1))
    figures.draw_table(axes, composition().sel(phase="Fp"), quantity="weight_fraction")
    assert {"wt%", "Fp"} <= set(words(axes))


def test_draw_table__of_one_number_a_phase_is_an_error():
    ratio = xr.DataArray([0.5, 0.6], {"phase": ["a", "b"]})
    with pytest.raises(EdsError, match="a table has elements and phases"):
        figures.draw_table(
            Figure().subplots(), xr.Dataset({"ratio": ratio, "variance": 0.01 * ratio})
        )
