import dask
import numpy as np
import pytest
import xarray as xr
from support.known import (
    LIGHT,
    angles_deg,
    as_components,
    correlation,
    largest_change,
    matched,
    product,
    simulated,
)

from eds_xr import store
from eds_xr.factorisation.mixing import remove_baseline
from eds_xr.factorisation.nmf import nmf, nmf_spread
from eds_xr.factorisation.rank import suggest_rank
from eds_xr.image.element_maps import element_map
from eds_xr.provenance import history
from eds_xr.schema import EdsError


@pytest.fixture(scope="module")
def pyrolite() -> tuple[xr.DataArray, xr.Dataset, xr.Dataset]:
    """A simulated pyrolite, its truth and its factorisation."""
    image, truth = simulated(96, 180, seed=3)
    return image, truth, nmf(image, 3).compute()


@pytest.fixture(scope="module")
def real_71gpa(published_71gpa) -> xr.DataArray:
    return store.open(published_71gpa).compute()


# -- nmf: what comes out -------------------------------------------------------------------------


def test_nmf__form_of_the_result(spectrum_image):
    result = nmf(spectrum_image, 2)
    assert result.scores.dims == ("y", "x", "component")
    assert result.loadings.dims == ("component", "energy")
    np.testing.assert_allclose(result.loadings.sum("energy"), 1)
    assert (result.loadings >= 0).all()
    assert (result.scores >= 0).all()
    assert result.scores.x.attrs["units"] == "nm"
    assert {"loss", "deviance", "iterations", "converged", "seed"} <= set(result.attrs)
    assert history(result)[-1]["step"] == "nmf"
    assert history(result)[-1]["n_components"] == 2


def test_nmf__keeps_all_counts(spectrum_image):
    # the likelihood is highest where the model has as many counts as the pixel
    scores = nmf(spectrum_image, 2).scores
    np.testing.assert_allclose(scores.sum("component"), spectrum_image.sum("energy"), rtol=1e-3)


def test_nmf__strongest_component_first(pyrolite):
    totals = pyrolite[2].scores.sum(("y", "x")).values
    assert (np.diff(totals) < 0).all()


def test_nmf__one_component_is_the_mean_spectrum(eager_image):
    total = eager_image.sum(("y", "x"))
    loading = nmf(eager_image, 1).loadings.isel(component=0)
    np.testing.assert_allclose(loading, total / total.sum(), rtol=1e-3, atol=1e-6)


def test_nmf__auto_takes_the_suggested_rank(eager_image):
    assert nmf(eager_image).sizes["component"] == suggest_rank(eager_image).attrs["suggested"] == 2


def test_nmf__scores_are_lazy(spectrum_image):
    assert nmf(spectrum_image, 2).scores.chunks is not None


def test_nmf__round_trips_through_zarr(eager_image, tmp_path):
    result = nmf(eager_image, 2)
    result.to_zarr(tmp_path / "r.zarr", zarr_format=3, consolidated=False)
    again = xr.open_zarr(tmp_path / "r.zarr", consolidated=False)
    xr.testing.assert_allclose(again.loadings, result.loadings)
    assert again.attrs["deviance"] == result.attrs["deviance"]


# -- nmf: chunks, schedulers, seeds --------------------------------------------------------------


@pytest.mark.parametrize("loss", ["poisson", "frobenius"])
def test_nmf__is_the_same_for_any_chunks(spectrum_image, eager_image, loss):
    found, expected = (nmf(i, 2, loss=loss).compute() for i in (spectrum_image, eager_image))
    assert largest_change(found.loadings, expected.loadings) < 1e-5
    assert largest_change(found.scores, expected.scores) < 1e-5


@pytest.mark.parametrize("chunk", [(96, 96), (17, 40), (1, 96)])
def test_nmf__is_the_same_for_any_chunks_of_a_larger_image(pyrolite, chunk):
    image, _, expected = pyrolite
    found = nmf(image.chunk(y=chunk[0], x=chunk[1]), 3).compute()
    assert largest_change(found.loadings, expected.loadings) < 1e-5
    assert largest_change(found.scores, expected.scores) < 1e-5


def test_nmf__is_the_same_on_one_thread(eager_image):
    threaded = nmf(eager_image, 2).compute()
    with dask.config.set(scheduler="synchronous"):
        xr.testing.assert_identical(nmf(eager_image, 2).compute(), threaded)


def test_nmf__seed_repeats_and_matters(eager_image):
    first, again, other = (nmf(eager_image, 3, init="random", seed=s).loadings for s in (1, 1, 2))
    xr.testing.assert_identical(first, again)
    assert largest_change(other, first) > 1e-6


# -- nmf: unusual images -------------------------------------------------------------------------


def test_nmf__one_pixel(eager_image):
    pixel = eager_image.isel(y=[5], x=[5])
    result = nmf(pixel)
    np.testing.assert_allclose(product(result), pixel, atol=0.01)


def test_nmf__one_channel(eager_image):
    channel = eager_image.isel(energy=[17])
    np.testing.assert_allclose(nmf(channel).scores.squeeze(), channel.squeeze(), rtol=1e-3)


@pytest.mark.parametrize("dims", [("x",), ("frame", "y", "x")])
def test_nmf__of_a_line_scan_and_of_frames(eager_image, dims):
    image = eager_image.expand_dims(frame=[0, 1]) if "frame" in dims else eager_image.isel(y=5)
    result = nmf(image, 2).compute()
    assert result.scores.dims == (*dims, "component")
    assert float(result.scores.sum()) == pytest.approx(float(image.sum()), rel=1e-3)


def test_nmf__empty_pixels_and_channels(eager_image):
    image = eager_image.copy(deep=True)
    image[3:5] = 0
    image[:, :, 10:20] = 0
    result = nmf(image, 2).compute()
    assert (result.scores[3:5] == 0).all()
    assert (result.loadings[:, 10:20] == 0).all()
    assert np.isfinite(result.scores).all()
    assert np.isfinite(result.loadings).all()


@pytest.mark.parametrize("dtype", ["uint16", ">u2", "int64", "float32", "float64", "float16"])
def test_nmf__takes_any_numbers(eager_image, dtype):
    expected = nmf(eager_image, 2)
    found = nmf(eager_image.astype(dtype), 2)
    assert largest_change(found.loadings, expected.loadings) < 1e-5


def test_nmf__real_valued_counts_scale(eager_image):
    found, expected = nmf(eager_image * 2.5, 2).scores, nmf(eager_image, 2).scores
    assert float(found.sum()) == pytest.approx(2.5 * float(expected.sum()), rel=1e-3)


def test_nmf__full_range_of_the_dtype(eager_image):
    result = nmf(xr.full_like(eager_image, 255), 2)
    np.testing.assert_allclose(product(result), 255, rtol=1e-3)


def test_nmf__more_components_than_phases(eager_image):
    assert np.isfinite(nmf(eager_image, 20).scores).all()


def test_nmf__from_spectra_of_your_own(pyrolite):
    image, _, expected = pyrolite
    free = nmf(image, 3, mixing="free")
    again = nmf(image, 3, init=free.loadings * 7, mixing="free")
    assert again.attrs["deviance"] <= free.attrs["deviance"] * (1 + 1e-5)


# -- nmf: masks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [False, True])
def test_nmf__fits_the_pixels_of_a_mask(eager_image, lazy):
    mask = xr.ones_like(eager_image.isel(energy=0, drop=True), dtype=bool)
    mask[:, 8:] = False
    part = nmf(eager_image[:, :8], 1).loadings
    result = nmf(eager_image, 1, mask=mask.chunk(y=5).T if lazy else mask)
    np.testing.assert_allclose(result.loadings, part, atol=1e-6)
    assert result.scores.sizes["x"] == 15


def test_nmf__mask_may_differ_in_the_last_digit_of_its_coordinates(eager_image):
    mask = xr.ones_like(eager_image.isel(energy=0, drop=True), dtype=bool)
    moved = mask.assign_coords(x=mask.x * (1 + 1e-9))
    assert nmf(eager_image, 1, mask=moved).scores.sizes["x"] == 15


def bad_masks() -> dict[str, tuple[xr.DataArray, str]]:
    grid = xr.DataArray(np.ones((12, 15), bool), dims=("y", "x"))
    return {
        "other grid": (grid[1:], "pixels along 'y'"),
        "numbers": (grid.astype(int), "boolean"),
        "nowhere": (~grid, "no counts"),
        "one a phase": (grid.expand_dims(phase=["a"]), "one mask"),
    }


@pytest.mark.parametrize("name", bad_masks())
def test_nmf__refuses_a_mask(eager_image, name):
    mask, message = bad_masks()[name]
    with pytest.raises(EdsError, match=message):
        nmf(eager_image.drop_vars(["x", "y"]), 2, mask=mask)


# -- nmf: errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image * 0, "no counts"),
        (lambda image: image.astype(float).where(image.x > 3), "NaN"),
        (lambda image: image.astype(float) / 0.0, "NaN or infinite"),
        (lambda image: image.astype("int16") - 1, "negative values"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered in divide")
def test_nmf__refuses_values(spectrum_image, scheduler, change, message):
    with dask.config.set(scheduler=scheduler), pytest.raises(EdsError, match=message):
        nmf(change(spectrum_image), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "between 1 and 64"),
        ({"n_components": 65}, "between 1 and 64"),
        ({"n_components": 2.0}, "number or 'auto'"),
        ({"n_components": "three"}, "number or 'auto'"),
        ({"loss": "gauss"}, "loss must be"),
        ({"init": "best"}, "init must be"),
        ({"seed": -1}, "seed"),
        ({"max_iter": 0}, "max_iter"),
    ],
)
def test_nmf__refuses_options(eager_image, options, message):
    with pytest.raises(EdsError, match=message):
        nmf(eager_image, **{"n_components": 2, **options})


def test_nmf__refuses_a_start_of_another_shape(eager_image):
    three = nmf(eager_image, 3).loadings
    with pytest.raises(EdsError, match=r"init must be \[component: 2, energy: 64\]"):
        nmf(eager_image, 2, init=three)
    with pytest.raises(EdsError, match="init must be spectra"):
        nmf(eager_image, 3, init=-three)


def test_nmf__refuses_too_many_channels():
    energy = np.arange(70_000.0)
    image = xr.DataArray(np.ones((1, 70_000), np.uint8), {"energy": energy}, ("x", "energy"))
    with pytest.raises(EdsError, match="at most 65535 channels"):
        nmf(image, 1)


def test_nmf__refuses_chunks_along_energy(eager_image):
    with pytest.raises(EdsError, match="energy has 2 chunks"):
        nmf(eager_image.chunk(energy=32), 2)


# -- science: a simulation, and the published map ------------------------------------------------


@pytest.mark.parametrize(
    ("size", "dose", "limits_deg"),
    [(128, 100, (1.0, 4.0, 6.0)), (96, 180, (0.6, 3.5, 10.0)), (96, 400, (0.4, 2.0, 12.0))],
)
def test_nmf__finds_the_phases_of_a_simulation(size, dose, limits_deg):
    # Ca-Pv is nowhere pure: NMF leaves some matrix in its loading, which subtraction takes out
    image, truth = simulated(size, dose, seed=2)
    result = nmf(image, 3)
    brg = matched(angles_deg(result.loadings, truth.loadings))[0]
    rotated = remove_baseline(result, brg, truth.mask.sel(phase="Brg"))
    angles = angles_deg(rotated.loadings, truth.loadings)
    components = matched(angles)
    assert (angles[components, [0, 1, 2]] < limits_deg).all()
    amounts = truth.amounts.isel(phase=[1, 2])
    for component, (_, amount) in zip(components[1:], amounts.groupby("phase"), strict=True):
        assert correlation(rotated.scores.sel(component=[component]), amount.squeeze()) > 0.9


def test_nmf__fits_as_well_as_the_truth(pyrolite):
    image, truth, result = pyrolite
    expected = (truth.expected * 1.0).transpose(..., "phase") @ truth.loadings
    deviance = float(
        2
        * (
            expected
            - image
            + image * np.log(image.where(image > 0, 1) / expected).where(image > 0, 0)
        ).sum()
    )
    assert result.attrs["deviance"] < deviance
    assert result.attrs["converged"]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(("init", "seeds"), [("scaled", 2), ("random", 3)])
def test_nmf__finds_the_phases_of_the_real_map(real_71gpa, init, seeds):
    light = real_71gpa.sel(energy=LIGHT)
    calcium, magnesium = (element_map(real_71gpa, e, background=False) for e in ("Ca", "Mg"))
    for seed in range(seeds):
        result = nmf(light, 3, init=init, seed=seed).compute()
        assert correlation(result.scores, calcium) >= 0.98
        assert correlation(result.scores, magnesium) >= 0.97
        core = calcium < calcium.quantile(0.3)
        assert remove_baseline(result, 0, core).attrs["rotation_residual"] <= 1e-6


@pytest.mark.network
def test_nmf__least_squares_loses_the_weak_phase_of_the_real_map(real_71gpa):
    result = nmf(real_71gpa.sel(energy=LIGHT), 3, loss="frobenius", weighting="none").compute()
    assert correlation(result.scores, element_map(real_71gpa, "Ca", background=False)) < 0.6


# -- what is known beforehand --------------------------------------------------------------------


def test_nmf__fixed_spectra_stay_and_come_first(assemblage):
    image, truth = assemblage
    known = as_components(truth.loadings.sel(phase=["Fp"]))
    found = nmf(image, 3, fixed=known)
    assert found.component.values[0] == "Fp"
    np.testing.assert_allclose(found.loadings[0], known[0], rtol=1e-5, atol=1e-8)
    scores = found.scores.sel(component="Fp").values
    share = truth.share.sel(phase="Fp").values
    assert np.corrcoef(scores.ravel(), share.ravel())[0, 1] > 0.8


def test_nmf__fixed_spectra_leave_something_to_find(assemblage):
    image, truth = assemblage
    with pytest.raises(EdsError, match="use unmix when all are known"):
        nmf(image, 3, fixed=as_components(truth.loadings))
    with pytest.raises(EdsError, match="fixed spectra and image have different energy axes"):
        nmf(image, 3, fixed=as_components(truth.loadings)[:1, :500])


def test_nmf__goes_on_from_an_earlier_result(assemblage):
    image, _ = assemblage
    first = nmf(image, 3, tol=1e-3, mixing="free")
    second = nmf(image, init=first, mixing="free")
    assert second.sizes["component"] == 3
    assert second.attrs["deviance"] <= first.attrs["deviance"]


def test_nmf__purest_is_the_default_and_nearer_to_the_truth(pyrolite):
    image, truth, purest = pyrolite
    free = nmf(image, 3, mixing="free")
    found, mixed = (angles_deg(r.loadings, truth.loadings).min(0) for r in (purest, free))
    assert found[0] < 1
    assert found[0] < mixed[0] / 3
    assert np.median(found) < np.median(mixed)


def test_nmf__interruption_returns_the_last_complete_state(assemblage, monkeypatch):
    from eds_xr.factorisation.solver import descent

    image, _ = assemblage
    original, calls = descent._sweep, iter(range(100))

    def sweep(*args):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(descent, "_sweep", sweep)
    found = nmf(image, 3, mixing="free")
    assert found.attrs["interrupted"] == 1
    assert np.isfinite(found.loadings).all()


# -- weighted least squares, and several starts ---------------------------------------------------


def test_nmf__weighting_makes_least_squares_find_the_phases(pyrolite):
    image, truth, _ = pyrolite
    good, poor = (
        angles_deg(nmf(image, 3, loss="frobenius", weighting=w).loadings, truth.loadings)
        for w in ("poisson", "none")
    )
    good, poor = (a[matched(a), range(3)] for a in (good, poor))
    assert (good < 6).all()
    assert np.median(poor) > 3 * np.median(good)


def test_nmf__least_squares_are_weighted_for_counts_only(eager_image):
    counts, weighted = (
        nmf(eager_image, 2, loss="frobenius", **o).loadings for o in ({}, {"weighting": "poisson"})
    )
    xr.testing.assert_identical(counts, weighted)
    signal = eager_image.astype(float)
    plain, none = (
        nmf(signal, 2, loss="frobenius", **o).loadings for o in ({}, {"weighting": "none"})
    )
    xr.testing.assert_identical(plain, none)
    assert largest_change(plain, counts) > 1e-3


@pytest.mark.network
def test_nmf__weighted_least_squares_find_the_weak_phase_of_the_real_map(real_71gpa):
    result = nmf(real_71gpa.sel(energy=LIGHT), 3, loss="frobenius").compute()
    calcium = element_map(real_71gpa, "Ca", background=False)
    assert correlation(result.scores, calcium) > 0.98


@pytest.mark.slow
def test_nmf_spread__of_several_starts(assemblage):
    image, _ = assemblage
    result = nmf_spread(image, 3, seeds=4)
    assert result.deviance.dims == ("seed",)
    assert float(result.deviance.min()) == result.attrs["deviance"]
    best = int(result.deviance.argmin("seed"))
    assert result.attrs["seed"] == int(result.seed[best])
    np.testing.assert_allclose(result.angle_deg.isel(seed=best), 0, atol=0.01)
    assert (result.loadings_std >= 0).all()
    assert float(result.loadings_std.max()) > 0
    alone = nmf(image, 3, init="random", seed=result.attrs["seed"])
    xr.testing.assert_identical(result.loadings, alone.loadings)
    xr.testing.assert_equal(result.scores.compute(), alone.scores.compute())


@pytest.mark.slow
def test_nmf_spread__tells_what_the_starts_do_not_agree_on(assemblage):
    image, _ = assemblage
    sure, unsure = (nmf_spread(image, n, seeds=[3, 4]) for n in (3, 6))
    assert float(sure.angle_deg.max()) < 25
    assert float(unsure.angle_deg.max()) > 30


def test_nmf_spread__reads_the_image_once(eager_image, monkeypatch):
    from eds_xr.factorisation import fit

    read, calls = fit.read_once, []
    monkeypatch.setattr(fit, "read_once", lambda image: calls.append(1) or read(image))
    nmf_spread(eager_image, 2, seeds=3)
    assert calls == [1]


def test_nmf_spread__keeps_what_was_done_before_an_interruption(assemblage, monkeypatch):
    from eds_xr.factorisation import fit

    original, calls = fit.descend, iter(range(100))

    def descend(*args, **kwargs):
        fit = original(*args, **kwargs)
        return fit._replace(interrupted=next(calls) == 3)  # the second start

    monkeypatch.setattr(fit, "descend", descend)
    result = nmf_spread(assemblage[0], 3, seeds=5)
    assert result.sizes["seed"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seeds": []}, "at least one seed"), ({"colour": 1}, "no option colour")],
)
def test_nmf_spread__refuses(eager_image, options, message):
    with pytest.raises(EdsError, match=message):
        nmf_spread(eager_image, 2, **options)


# -- stored sums of pixels -----------------------------------------------------------------------


@pytest.mark.slow
def test_nmf__reads_the_sums_of_pixels_that_a_store_holds(tmp_path, write_hspy):
    image, _ = simulated(72, 60, seed=3)
    step = {"scale": 1.0, "offset": 0.0, "units": "nm"}
    energy = {"scale": 0.01, "offset": float(image.energy[0]), "units": "keV"}
    axes = [{"name": n, **(energy if n == "Energy" else step)} for n in ("y", "x", "Energy")]
    file = write_hspy(tmp_path / "map.hspy", {"EDX": (image.values, axes)})
    store.convert(file, tmp_path / "plain.zarr")
    path = store.convert(file, tmp_path / "with.zarr", pyramid=True)
    expected = nmf(store.open(tmp_path / "plain.zarr"), 3)
    found = nmf(store.open(path), 3)
    assert largest_change(found.loadings, expected.loadings) < 1e-5
    assert largest_change(found.scores, expected.scores) < 1e-4
    part = slice(0.5, 3.0)
    found, expected = (
        nmf(store.open(p).sel(energy=part), 3) for p in (path, tmp_path / "plain.zarr")
    )
    assert largest_change(found.loadings, expected.loadings) < 1e-5
    xr.testing.assert_identical(
        suggest_rank(store.open(path)), suggest_rank(store.open(tmp_path / "plain.zarr"))
    )
    for chunk in (path / "counts" / "c").rglob("*"):  # the pixels themselves are not read
        if chunk.is_file():
            chunk.unlink()
    nmf(store.open(path), 3)
    with pytest.raises(EdsError, match="missing"):  # nor are sums taken for an image that changed
        nmf(store.open(path) + 0, 3)
    with pytest.raises(EdsError, match="missing"):
        nmf(store.open(path).isel(y=slice(1, None)), 3)
    with pytest.raises(EdsError, match="missing"):
        nmf(store.open(path), 3, mixing="free")
