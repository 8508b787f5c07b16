"""Net counts of lines, as maps."""

import math

import dask
import numpy as np
import pytest
import xarray as xr
from support.images import counts_image, refuse

from eds_xr import simulate
from eds_xr.image.element_maps import element_map, element_maps
from eds_xr.schema import EdsError
from eds_xr.xray.windows import line_windows_kev, window_weights

SHAPE = (40, 40, 1024)


def _shifted(image: xr.DataArray) -> xr.DataArray:
    """Return an image with a channel in each background window of Ca Ka: they are 0.1 keV wide."""
    energy = image.energy.copy(data=image.energy - 0.01)
    return image.assign_coords(energy=energy)


@pytest.fixture
def spectrum_image(spectrum_image: xr.DataArray) -> xr.DataArray:
    return _shifted(spectrum_image)


@pytest.fixture
def eager_image(eager_image: xr.DataArray) -> xr.DataArray:
    return _shifted(eager_image)


@pytest.fixture(scope="module")
def simulated() -> xr.DataArray:
    return simulate.spectrum_image(SHAPE, 300, seed=4)


def test_element_map__net_counts_of_a_known_peak():
    energy = 0.005 + 0.01 * np.arange(800)
    fwhm = 0.108  # at Ca Ka, for 130 eV at Mn Ka; the window holds 98 % of a Gaussian
    shape = np.exp(-4 * math.log(2) * ((energy - 3.691) / fwhm) ** 2)
    expected = 20 * shape / shape.sum() + (0.5 - 0.03 * energy)
    counts = np.random.default_rng(5).poisson(expected, (30, 30, 800)).astype(np.uint8)
    image = xr.DataArray(counts, {"energy": energy}, ("y", "x", "energy"))
    net = element_map(image, "Ca_Ka")
    error = math.sqrt(float(net.variance.sum()))
    assert float(net.sum()) == pytest.approx(900 * 20 * 0.98, abs=3 * error)
    assert float(net.variance.mean()) == pytest.approx(float(net.var()), rel=0.1)


def test_element_map__equals_the_truth_within_errors(simulated):
    truth = simulate.truth(SHAPE, 300, seed=4)
    expected = xr.dot(truth.expected, truth.loadings, dim="phase").compute()
    for line in ("Ca_Ka", "Mg_Ka", "Fe_Ka"):
        net = element_map(simulated, line).compute()
        weights = window_weights(simulated.energy.values, line)
        pull = (net - expected @ xr.DataArray(weights, dims="energy")) / np.sqrt(
            expected @ xr.DataArray(weights**2, dims="energy")
        )
        assert abs(float(pull.mean())) < 4 / math.sqrt(pull.size)
        assert float(pull.std()) == pytest.approx(1, abs=0.1)


def test_element_map__of_an_absent_element_is_zero_within_errors():
    phases = simulate.without(simulate.PYROLITE_71GPA, "Fe")
    net = element_map(simulate.spectrum_image(SHAPE, 300, seed=4, phases=phases), "Fe_Ka")
    error = math.sqrt(float(net.variance.sum()))
    assert abs(float(net.sum())) < 4 * error


def test_element_map__is_the_same_for_any_chunks(spectrum_image, eager_image):
    found = element_map(spectrum_image, "Ca_Ka").compute()
    xr.testing.assert_allclose(found, element_map(eager_image, "Ca_Ka").compute(), rtol=1e-5)


def test_element_map__without_background_sums_the_window(eager_image):
    gross = element_map(eager_image, "Ca_Ka", background=False)
    low, high = line_windows_kev("Ca_Ka")[0]
    inside = (eager_image.energy >= low) & (eager_image.energy <= high)
    np.testing.assert_array_equal(gross, eager_image[..., inside.values].sum("energy"))
    np.testing.assert_array_equal(gross.variance, gross)
    assert gross.dtype == np.int64


def test_element_map__of_large_counts_is_exact():
    values = np.full((2, 2, 80), 2**31 + 1, np.uint32)
    gross = element_map(counts_image(values), "Ca_Ka", background=False).values
    channels = gross[0, 0] // (2**31 + 1)
    assert channels > 0
    np.testing.assert_array_equal(gross, channels * (2**31 + 1))


@pytest.mark.parametrize("background", [True, False])
def test_element_map__of_real_counts(eager_image, background):
    real = element_map(eager_image.astype(np.float64), "Ca_Ka", background=background)
    whole = element_map(eager_image, "Ca_Ka", background=background)
    np.testing.assert_allclose(real, whole, rtol=1e-6, atol=1e-4)
    assert real.dtype == np.float32


def test_element_map__refuses_what_are_not_counts(eager_image):
    with pytest.raises(EdsError, match="negative values"):
        element_map(eager_image.astype(np.int16) - 1, "Ca_Ka").compute()
    with pytest.raises(EdsError, match="NaN"):
        element_map(eager_image.where(eager_image > 0), "Ca_Ka").compute()


def test_element_map__keeps_images_riding_along(simulated):
    assert element_map(simulated, "Ca").haadf.dims == ("y", "x")


def test_element_map__of_an_element_takes_its_principal_line(eager_image):
    assert element_map(eager_image, "Ca").name == "Ca_Ka"


def test_element_map__computes_nothing_until_asked(simulated):
    with dask.config.set(scheduler=refuse):
        element_map(simulated, "Ca")
        element_maps(simulated, ["Ca", "Fe"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Xx", "no chemical element"),
        ("Ca_Zz", "no line"),
        ("Ag_Ka", "energy axis covers"),
        ("H", "no principal line"),
    ],
)
def test_element_map__refuses(eager_image, line, message):
    with pytest.raises(EdsError, match=message):
        element_map(eager_image, line)


def test_element_map__needs_kev(eager_image):
    in_ev = eager_image.assign_coords(energy=eager_image.energy * 1000)
    in_ev.energy.attrs["units"] = "eV"
    with pytest.raises(EdsError, match="keV"):
        element_map(in_ev, "Ca")


def test_element_maps__stacks_the_maps(simulated):
    lines = ["Ca_Ka", "Fe_Ka", "Mg_Ka"]
    maps = element_maps(simulated, lines).compute()
    assert maps.line.values.tolist() == lines
    for line in lines:
        one = element_map(simulated, line)
        np.testing.assert_allclose(maps.sel(line=line), one, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(maps.variance.sel(line=line), one.variance, rtol=1e-5)


@pytest.mark.parametrize("lines", [[], "Ca"])
def test_element_maps__needs_a_list_of_lines(eager_image, lines):
    with pytest.raises(EdsError, match="list of lines"):
        element_maps(eager_image, lines)


def test_element_maps__of_the_elements_that_the_file_names():
    energy = ("energy", np.arange(0.1, 9, 0.01), {"units": "keV"})
    image = xr.DataArray(
        np.ones((3, 4, 890), np.uint8), {"energy": energy}, ("y", "x", "energy"),
        attrs={"elements": ["Mg", "Li", "Nd"], "beam_energy_kev": 200.0},
    )  # fmt: skip
    maps = element_maps(image)
    assert maps.line.values.tolist() == ["Mg_Ka", "Nd_La"]  # Li has no line on the axis
    xr.testing.assert_identical(maps, element_maps(image, ["Mg", "Nd"]))
    with pytest.raises(EdsError, match="the file names no elements"):
        element_maps(image.assign_attrs(elements=[]))
