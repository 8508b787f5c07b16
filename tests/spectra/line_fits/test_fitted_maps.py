"""Maps of fitted lines are the fits of their sums, pixel by pixel."""

import math
import shutil

import dask
import numpy as np
import pytest
import xarray as xr
from support.images import counts_image, refuse

import eds_xr
from eds_xr import simulate
from eds_xr.image.element_maps import element_map
from eds_xr.image.rebin import rebin
from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.fitted_maps import fitted_maps
from eds_xr.spectra.line_fits.pixel_model import pixel_model
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.spectra.shapes.linear_fit import model_variance, weighted_least_squares

FITTED = ["Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Hf"]


STRAY = ["Cu", "Lu", "U", "Ga"]


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
    shapes = pixel_model(part, FITTED, STRAY, None, None).shapes
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
    with dask.config.set(scheduler=refuse):
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
    # shapes are learned anew, to a small part of what they leave open
    assert (abs(binned.net - expected.net) < 0.01 * expected.variance**0.5).all()
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
        ({"elements": ["Zr"], "stray": ["Pt"], "range_kev": (2.02, 2.4)}, "coincide in this range"),
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
