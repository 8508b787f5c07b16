import math
import shutil

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import eds_xr
from eds_xr import simulate
from eds_xr.image.element_maps import element_map, element_maps
from eds_xr.image.rebin import rebin
from eds_xr.image.split import hold_out, split_counts
from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.fitted_maps import fitted_maps
from eds_xr.spectra.shapes.families import Calibration, Shapes, families_seen
from eds_xr.spectra.shapes.linear_fit import model_variance, weighted_least_squares
from eds_xr.xray.lines import family
from eds_xr.xray.windows import line_windows_kev, window_weights

SHAPE = (40, 40, 1024)
FITTED = ["Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf"]
STRAY = ["Cu", "Lu", "U", "Ga"]


def counts_image(values: np.ndarray, **coords: object) -> xr.DataArray:
    energy = 0.05 + 0.1 * np.arange(values.shape[-1])
    return xr.DataArray(values, {"energy": energy, **coords}, ("y", "x", "energy"), name="counts")


@pytest.fixture(scope="module")
def simulated() -> xr.DataArray:
    return simulate.spectrum_image(SHAPE, 300, seed=4)


# -- rebin ---------------------------------------------------------------------------------------


@settings(max_examples=30)
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


@settings(max_examples=30)
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


# -- fitted maps ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded() -> xr.DataArray:
    """A simulated image with several overlaps and few counts: Sm under Nd, Hf under Cu."""
    return simulate.spectrum_image((24, 24, 2048), 150, seed=2).persist()


@pytest.fixture(scope="module")
def fitted(recorded) -> xr.Dataset:
    return fitted_maps(recorded, FITTED, stray=STRAY).compute()


def test_fitted_maps__sums_over_a_mask_are_the_fit_of_its_spectrum(recorded, fitted):
    mask = recorded.sum("energy") > 150
    part = recorded.sel(energy=slice(0.7, 12.5))
    energy = part.energy.values
    calibration = Calibration(
        **{k.removeprefix("calibration_"): v for k, v in fitted.attrs.items() if "calibration" in k}
    )
    shapes = Shapes(energy, families_seen(FITTED + STRAY, energy, 200.0), calibration, 200.0)
    _, variance = model_variance(shapes.design, part.sum(("y", "x")).values.astype(float))
    spectrum = part.where(mask, 0).sum(("y", "x")).values.astype(float)
    amounts, _ = weighted_least_squares(shapes.design, spectrum, variance)
    shares = {n: a * w for f, a in zip(shapes.families, amounts, strict=False)
              for n, w in f.groups.items()}  # fmt: skip
    total = fitted.net.astype(float).where(mask).sum(("y", "x"))
    scatter = np.sqrt(fitted.variance.where(mask).sum(("y", "x")))
    for line in fitted.line.values:
        assert float(total.sel(line=line)) == pytest.approx(
            shares[line], abs=1e-3 * float(scatter.sel(line=line))
        )


def test_fitted_maps__variance_of_a_sum_is_true():
    pulls = []
    for seed in range(12):  # of an image whose truth is known: all matrix, without Nd
        phases = simulate.without(simulate.PYROLITE_71GPA[:1], "Nd")
        image = simulate.spectrum_image((12, 12, 2048), 100, seed=seed, phases=phases)
        found = fitted_maps(image, ["Nd", "Sm", "Mg", "Al", "Si", "Ca", "Fe"], stray=STRAY,
                            calibration=Calibration(noise_kev2=1.0e-3 * 0.66),
                            lines=["Nd_La"]).compute()  # fmt: skip
        net, variance = (found[n].values.ravel().astype(float) for n in ("net", "variance"))
        pulls.append(net.sum() / math.sqrt(variance.sum()))
        assert np.var(net) == pytest.approx(variance.mean(), rel=0.6)
    assert abs(np.mean(pulls)) < 3 / math.sqrt(len(pulls))
    assert 0.5 < np.std(pulls) < 1.6


def test_fitted_maps__are_free_of_overlaps_where_windows_are_not():
    """Ca-Pv without Sm: the Lb line of Nd lies in the window of Sm La."""
    phases = simulate.without(simulate.PYROLITE_71GPA[2:], "Sm")
    image = simulate.spectrum_image((24, 24, 2048), 150, seed=2, phases=phases)
    found = fitted_maps(image, FITTED, stray=STRAY, lines=["Sm_La"]).compute()
    windows = element_map(image, "Sm_La")
    pulls = [float(m.sum()) / math.sqrt(v.sum()) for m, v in
             ((found.net, found.variance), (windows, windows.variance))]  # fmt: skip
    assert abs(pulls[0]) < 3 < 5 < pulls[1]


def test_fitted_maps__phases_of_other_backgrounds_are_not_mistaken_for_lines():
    """Mean counts, no noise: of Al there is none, and a second phase absorbs soft X-rays."""
    energy = -0.2 + 0.01 * np.arange(2048)
    phases = simulate.without(simulate.PYROLITE_71GPA[:1], "Al")
    mean = 180 * simulate.phase_spectra(phases, energy).loadings.values[0]
    absorbed = mean * np.exp(-0.15 * np.maximum(energy, 0.1) ** -2.5)
    image = counts_image(np.stack([mean, mean, mean, absorbed])[None])
    image = image.assign_coords(energy=energy)
    found = fitted_maps(image, FITTED, stray=STRAY, lines=["Al_Ka"])
    mask_of_10_000 = 100 * found.net / np.sqrt(found.variance)
    assert float(abs(mask_of_10_000).max()) < 1.5
    assert float(absorbed.sum() / mean.sum()) < 0.95


@pytest.mark.parametrize("nonnegative", [False, True])
def test_fitted_maps__are_the_same_for_any_chunks(recorded, nonnegative):
    given = {"calibration": Calibration(), "nonnegative": nonnegative}
    some = recorded.isel(y=slice(12), x=slice(10))
    expected = fitted_maps(some.chunk(y=-1, x=-1), FITTED, stray=STRAY, **given).compute()
    found = fitted_maps(some.chunk(y=5, x=7), FITTED, stray=STRAY, **given).compute()
    xr.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    eager = fitted_maps(some.compute(), FITTED, stray=STRAY, **given)
    assert eager.chunks
    xr.testing.assert_allclose(eager.compute(), expected, rtol=1e-4, atol=1e-4)


def test_fitted_maps__without_negative_amounts_are_nearer_the_truth(recorded, fitted):
    """Hardly any Nd or Hf in a pixel: nearly all that the maps show is noise."""
    found = fitted_maps(recorded, FITTED, stray=STRAY, nonnegative=True).compute()
    assert float(found.net.min()) >= 0
    for line in ("Nd_La", "Hf_La"):
        linear = fitted.net.sel(line=line)
        assert float(linear.min()) < 0
        mean = float(linear.mean())
        errors = [float(((m.net.sel(line=line) - mean) ** 2).mean()) for m in (found, fitted)]
        assert errors[0] < 0.7 * errors[1]
    strong = (m.net.sel(line="Si_Ka").mean() for m in (found, fitted))
    np.testing.assert_allclose(*strong, rtol=0.05)


def test_fitted_maps__non_negative_amounts_are_those_of_scipy(recorded):
    from scipy.optimize import nnls

    from eds_xr.spectra.line_fits.pixel_model import pixel_model

    some = recorded.isel(y=slice(3), x=slice(4))
    found = fitted_maps(some, FITTED, stray=STRAY, calibration=Calibration(), nonnegative=True)
    part = some.sel(energy=slice(0.7, 12.5))
    model = pixel_model(part, FITTED, STRAY, None, Calibration())
    weight = 1 / np.sqrt(model.variance)
    for y, x in np.ndindex(3, 4):
        amounts, _ = nnls(model.positive * weight[:, None], part[y, x].values * weight)
        expected = amounts[model.columns] * model.shares
        np.testing.assert_allclose(found.net[:, y, x], expected, atol=0.02)


def test_fitted_maps__computes_only_the_sum_until_asked(recorded, monkeypatch):
    total = np.asarray(recorded.sel(energy=slice(0.7, 12.5)).sum(("y", "x")), float)
    monkeypatch.setattr("eds_xr.spectra.line_fits.pixel_model.sum_spectrum", lambda part: total)
    with dask.config.set(scheduler=_refuse):
        maps = fitted_maps(recorded, FITTED, stray=STRAY)
    assert maps.net.dims == maps.variance.dims == ("line", "y", "x")
    assert maps.net.dtype == maps.variance.dtype == np.float32


def test_fitted_maps__takes_stored_sums_for_the_sum(tmp_path, write_hspy, recorded):
    """Nothing but the sums is needed for the model: the counts may be out of reach."""
    axes = [
        {"name": "y", "scale": 1.0, "offset": 0.0, "units": "nm", "navigate": True},
        {"name": "x", "scale": 1.0, "offset": 0.0, "units": "nm", "navigate": True},
        {"name": "Energy", "scale": 0.01, "offset": -0.2, "units": "keV", "navigate": False},
    ]
    path = write_hspy(tmp_path / "map.hspy", {"EDX": (recorded.values, axes)})
    store = eds_xr.convert(path, tmp_path / "map.zarr", pyramid=True)
    found = fitted_maps(eds_xr.open(store), FITTED, stray=STRAY)
    expected = fitted_maps(eds_xr.open(store).compute(), FITTED, stray=STRAY)
    np.testing.assert_allclose(found.net, expected.net, rtol=1e-5)
    shutil.rmtree(store / "counts" / "c")
    again = fitted_maps(eds_xr.open(store), FITTED, stray=STRAY)
    assert again.attrs["calibration_gain"] == found.attrs["calibration_gain"]


def test_fitted_maps__of_rebinned_pixels_are_sums(recorded, fitted):
    given = Calibration(
        **{k.removeprefix("calibration_"): v for k, v in fitted.attrs.items() if "calibration" in k}
    )
    binned = fitted_maps(rebin(recorded, y=4, x=4), FITTED, stray=STRAY, calibration=given)
    expected = fitted[["net", "variance"]].coarsen(y=4, x=4).sum()
    np.testing.assert_allclose(binned.net, expected.net, atol=0.01)
    np.testing.assert_allclose(binned.variance, expected.variance, rtol=1e-3)


def test_fitted_maps__says_what_it_did(fitted):
    step = eds_xr.history(fitted)[-1]
    assert (step["step"], step["nonnegative"], step["stray"]) == ("fitted_maps", False, STRAY)
    assert fitted.attrs["calibration_source"].startswith(("fitted", "nominal"))
    assert fitted.element.values.tolist() == FITTED
    assert fitted.attrs["left_out"] == []


def test_fitted_maps__warns_of_elements_it_leaves_out(recorded):
    with pytest.warns(eds_xr.LeftOutWarning, match=r"no results for O, .*\(O_Ka at 0.52 keV"):
        found = fitted_maps(recorded, ["O", *FITTED], stray=STRAY)
    assert found.attrs["left_out"] == ["O"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"elements": []}, "no elements to fit"),
        ({"elements": ["Xx"]}, "no chemical element"),
        ({"elements": ["Mg"], "lines": ["Fe_Ka"]}, "not among those fitted"),
        ({"elements": ["Mg"], "lines": "Mg_Ka"}, "list of lines"),
        ({"elements": ["Mg"], "range_kev": (1.2, 1.3)}, "widen range_kev"),
        ({"elements": ["Zr"], "stray": ["Pt"]}, "coincide in this range"),
        ({"elements": ["Ag"], "range_kev": (5.0, 12.0)}, "principal line"),
    ],
)
def test_fitted_maps__refuses(recorded, given, message):
    with pytest.raises(EdsError, match=message):
        fitted_maps(recorded, **given)


def test_fitted_maps__refuses_what_are_not_counts(recorded):
    with pytest.raises(EdsError, match="holds no counts"):
        fitted_maps(recorded * np.uint8(0), FITTED)
    holes = recorded.astype(np.float32).where(recorded.x > 0)
    with pytest.raises(EdsError, match="not finite"):
        fitted_maps(holes, FITTED)


# -- hold out ------------------------------------------------------------------------------------


def test_hold_out__no_count_is_left_in_the_windows(simulated):
    choose, quantify = hold_out(simulated, ["Nd", "U"])
    assert quantify is simulated
    assert choose.dtype == simulated.dtype
    assert choose.chunks == simulated.chunks
    spectrum, full = choose.sum(("y", "x")).compute(), simulated.sum(("y", "x")).compute()
    inside = np.zeros(spectrum.size, bool)
    for element, shell in (("Nd", "L"), ("U", "M")):  # of their principal lines
        for line in (x for x in family(element, shell) if x.weight > 0.01):
            _, (low, _), (_, high) = line_windows_kev(line.name)
            inside |= ((spectrum.energy >= low) & (spectrum.energy <= high)).values
    assert 100 < inside.sum() < spectrum.size / 2
    assert full.values[inside].sum() > 0
    assert spectrum.values[inside].sum() == 0
    np.testing.assert_array_equal(spectrum.values[~inside], full.values[~inside])


def test_hold_out__of_a_line_takes_its_family(simulated):
    one, family_l, element, family_m = (
        hold_out(simulated, [what])[0].sum(("y", "x")).compute()
        for what in ("Nd_La", "Nd_Lb1", "Nd", "Nd_Ma")
    )
    xr.testing.assert_equal(one, family_l)
    xr.testing.assert_equal(one, element)
    at_m = int(np.argmin(abs(one.energy.values - 0.98)))  # Nd Ma
    assert int(one[at_m]) > 0
    assert int(family_m[at_m]) == 0


def test_hold_out__halves_are_those_of_split_counts(simulated):
    for found, expected in zip(
        hold_out(simulated, "half", seed=3), split_counts(simulated, seed=3), strict=True
    ):
        xr.testing.assert_identical(found.compute(), expected.compute())


def test_hold_out__is_the_same_for_any_chunks(spectrum_image, eager_image):
    for what in (["Ca"], "half"):
        for found, expected in zip(
            hold_out(spectrum_image, what), hold_out(eager_image, what), strict=True
        ):
            xr.testing.assert_identical(found.compute(), expected.compute())


def test_hold_out__computes_nothing_until_asked(simulated):
    with dask.config.set(scheduler=_refuse):
        hold_out(simulated, ["Nd"])
        hold_out(simulated, "half")


def test_hold_out__frees_net_counts_of_selection_bias():
    """Every pixel alike: whichever are chosen, their Nd per pixel is that of all."""
    matrix = simulate.PYROLITE_71GPA[:1]
    image = simulate.spectrum_image((64, 64, 1024), 150, seed=8, phases=matrix).persist()

    def excess(choose: xr.DataArray, quantify: xr.DataArray) -> float:
        """Net Nd of the tenth of the pixels that look richest in it, less the mean's, in sigma."""
        window = element_map(choose, "Nd_La", background=False)
        score = (window + 1e-3 * choose.sum("energy")).compute()
        mask = score > score.quantile(0.9)
        net = element_map(quantify, "Nd_La").compute()
        share = float(mask.mean())
        rest = float(net.where(mask).sum()) - share * float(net.sum())
        return rest / math.sqrt(float(net.variance.where(mask).sum()) * (1 - share))

    assert excess(image, image) > 10  # chosen and measured on the same counts
    assert abs(excess(*hold_out(image, ["Nd"]))) < 3
    assert abs(excess(*hold_out(image, "half", seed=1))) < 3


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ([], "found none"),
        ("Nd", "'half'"),
        (["Xx"], "no chemical element"),
        (["Nd_Zz"], "no line"),
        (["Ag_Ka"], "no line between"),
        (["He"], "no principal line"),
        (5, "must be a list"),
        ([None], "expected elements or lines"),
    ],
)
def test_hold_out__refuses(eager_image, what, message):
    with pytest.raises(EdsError, match=message):
        hold_out(eager_image, what)


def test_hold_out__refuses_to_hold_out_everything(eager_image):
    with pytest.raises(EdsError, match="no channel is left"):
        hold_out(eager_image.sel(energy=slice(3.6, 3.8)), ["Ca"])


def _refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("computed too early")
