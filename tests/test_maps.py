import math

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr import simulate
from eds_xr.maps import element_map, element_maps, rebin, split_counts
from eds_xr.schema import EdsError
from eds_xr.xray_lines import line_windows_kev, window_weights

SHAPE = (40, 40, 1024)


def counts_image(values: np.ndarray, **coords: object) -> xr.DataArray:
    energy = 0.05 + 0.1 * np.arange(values.shape[-1])
    return xr.DataArray(values, {"energy": energy, **coords}, ("y", "x", "energy"), name="counts")


@pytest.fixture(scope="module")
def simulated() -> xr.DataArray:
    return simulate.spectrum_image(SHAPE, 300, seed=4)


# -- rebin ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(*(st.integers(1, 9) for _ in range(3))),
    factors=st.tuples(*(st.integers(1, 12) for _ in range(3))),
    chunk=st.integers(1, 9),
)
def test_rebin__loses_no_count(shape, factors, chunk):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    image = counts_image(values).chunk(y=chunk, x=chunk)
    binned = rebin(image, **dict(zip(("y", "x", "energy"), factors, strict=True)))
    assert binned.shape == tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))
    starts = [np.arange(0, n, f) for n, f in zip(shape, factors, strict=True)]
    expected = values.astype(np.int64)
    for axis, start in enumerate(starts):
        expected = np.add.reduceat(expected, start, axis=axis)
    np.testing.assert_array_equal(binned, expected)


def test_rebin__is_the_same_for_any_chunks(spectrum_image, eager_image):
    expected = rebin(eager_image, y=5, x=2, energy=3).compute()
    xr.testing.assert_identical(rebin(spectrum_image, y=5, x=2, energy=3).compute(), expected)


def test_rebin__does_not_overflow():
    binned = rebin(counts_image(np.full((4, 4, 4), 255, np.uint8)), y=4, x=4, energy=4)
    assert binned.dtype == np.uint16
    assert int(binned.squeeze()) == 64 * 255


@pytest.mark.parametrize("dtype", ["uint64", "int16", "float32"])
def test_rebin__keeps_wide_signed_and_real_numbers(dtype):
    binned = rebin(counts_image(np.ones((4, 4, 4), dtype)), y=4)
    assert binned.dtype == {"int16": "int64"}.get(dtype, dtype)
    assert (binned == 4).all()


def test_rebin__coordinates_are_centres_of_bins(eager_image):
    binned = rebin(eager_image, x=4, energy=2)
    np.testing.assert_allclose(binned.x, 1.5 * (1.5 + 4 * np.arange(4)))  # the last one part empty
    np.testing.assert_allclose(binned.energy, 0.1 + 0.2 * np.arange(32))
    assert binned.energy.attrs == eager_image.energy.attrs
    np.testing.assert_array_equal(binned.y, eager_image.y)


def test_rebin__averages_images_riding_along(eager_image):
    haadf = np.arange(180.0).reshape(12, 15)
    binned = rebin(eager_image.assign_coords(haadf=(("y", "x"), haadf)), y=2, x=5)
    np.testing.assert_allclose(binned.haadf, haadf.reshape(6, 2, 3, 5).mean((1, 3)))


def test_rebin__computes_nothing_until_asked(spectrum_image):
    with dask.config.set(scheduler=_refuse):
        binned = rebin(spectrum_image, y=2, energy=4)
    assert len(binned.chunksizes["energy"]) == 1


@pytest.mark.parametrize(
    ("factors", "message"),
    [({"z": 2}, "no dimension 'z'"), ({"y": 0}, "whole number"), ({"y": 1.5}, "whole number")],
)
def test_rebin__refuses(eager_image, factors, message):
    with pytest.raises(EdsError, match=message):
        rebin(eager_image, **factors)


# -- split_counts --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int64", ">u2"]),
    chunk=st.integers(1, 5),
    seed=st.integers(0, 2**63),
)
def test_split_counts__halves_add_up(dtype, chunk, seed):
    values = np.random.default_rng(1).integers(0, 256, (5, 4, 6)).astype(dtype)
    first, second = split_counts(counts_image(values).chunk(y=chunk, x=chunk), seed=seed)
    np.testing.assert_array_equal(first.values + second.values, values)
    assert first.values.min() >= 0
    assert second.values.min() >= 0


def test_split_counts__is_the_same_for_any_chunks(spectrum_image, eager_image):
    for found, expected in zip(
        split_counts(spectrum_image, seed=3), split_counts(eager_image, seed=3), strict=True
    ):
        xr.testing.assert_identical(found.compute(), expected.compute())


def test_split_counts__halves_of_poisson_counts_are_independent():
    counts = np.random.default_rng(2).poisson(6.0, (60, 60, 20)).astype(np.uint8)
    first, second = (half.values.astype(float) for half in split_counts(counts_image(counts)))
    error = np.sqrt(3 / counts.size)
    assert first.mean() == pytest.approx(3, abs=4 * error)
    assert first.var() == pytest.approx(3, rel=0.05)
    correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(counts.size)


def test_split_counts__holds_many_counts_in_a_voxel():
    first, _ = split_counts(counts_image(np.full((20, 20, 10), 60_000, np.uint16)))
    z = (first.values - 30_000.0) / np.sqrt(15_000)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert z.std() == pytest.approx(1, abs=0.1)


def test_split_counts__seeds_differ(eager_image):
    assert (split_counts(eager_image, seed=1)[0] != split_counts(eager_image, seed=2)[0]).any()


def test_split_counts__computes_nothing_until_asked(spectrum_image):
    with dask.config.set(scheduler=_refuse):
        first, _ = split_counts(spectrum_image)
    assert first.chunks is not None


def test_split_counts__refuses(eager_image):
    with pytest.raises(EdsError, match="only whole counts"):
        split_counts(eager_image * 1.0)
    with pytest.raises(EdsError, match="seed"):
        split_counts(eager_image, seed=-1)
    with pytest.raises(EdsError, match="negative values"):
        split_counts(eager_image.astype(np.int16) - 1)[0].compute()


# -- element maps --------------------------------------------------------------------------------


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


def test_element_map__of_an_element_takes_its_principal_line(eager_image):
    assert element_map(eager_image, "Ca").name == "Ca_Ka"


def test_element_map__computes_nothing_until_asked(simulated):
    with dask.config.set(scheduler=_refuse):
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


def _refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("computed too early")
