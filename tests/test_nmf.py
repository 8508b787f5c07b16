import itertools

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from eds_xr import simulate, store
from eds_xr.maps import element_map
from eds_xr.nmf import move_shares, nmf, project, remove_baseline, suggest_rank
from eds_xr.provenance import history
from eds_xr.schema import EdsError

LIGHT = slice(0.3, 4.4)  # keV: no rare earth's L lines, which are to be quantified
PHASES = simulate.PYROLITE_71GPA
SILICA = simulate.Phase("St", {"O": 2, "Si": 1}, 0.1, (10.0, 25.0), 0.6)


def simulated(size: int, dose: float, seed: int, phases=PHASES) -> tuple[xr.DataArray, xr.Dataset]:
    shape = (size, size, 1024)
    image = simulate.spectrum_image(shape, dose, seed=seed, phases=phases).sel(energy=LIGHT)
    truth = simulate.truth(shape, dose, seed=seed, phases=phases).sel(energy=LIGHT)
    return image.compute(), truth.compute()


def angles_deg(loadings: xr.DataArray, truth: xr.DataArray) -> np.ndarray:
    """Angles [component, phase] between spectra."""
    found, true = (a / np.linalg.norm(a, axis=1)[:, None] for a in (loadings.values, truth.values))
    return np.degrees(np.arccos(np.clip(found @ true.T, -1, 1)))


def matched(angles: np.ndarray) -> list[int]:
    """The component of each phase, one to one."""
    phases = range(angles.shape[1])
    orders = itertools.permutations(range(angles.shape[0]))
    return list(min(orders, key=lambda order: sum(angles[order[p], p] for p in phases)))


def largest_change(one: xr.DataArray, other: xr.DataArray) -> float:
    return float(abs(one - other).max() / abs(other).max())


def product(result: xr.Dataset) -> xr.DataArray:
    return result.scores.astype(float) @ result.loadings


def correlation(scores: xr.DataArray, element: xr.DataArray) -> float:
    """Best correlation of any score map with an element's, both smoothed over 3 x 3 pixels."""
    there = uniform_filter(element.values.astype(float), 3).ravel()
    maps = (
        uniform_filter(w.values.astype(float), 3).ravel() for _, w in scores.groupby("component")
    )
    return max(abs(np.corrcoef(w, there)[0, 1]) for w in maps)


@pytest.fixture(scope="module")
def pyrolite() -> tuple[xr.DataArray, xr.Dataset, xr.Dataset]:
    """A simulated pyrolite, its truth and its factorisation."""
    image, truth = simulated(96, 180, seed=3)
    return image, truth, nmf(image, 3).compute()


@pytest.fixture(scope="module")
def real_71gpa(sample, tmp_path_factory) -> xr.DataArray:
    folder = tmp_path_factory.mktemp("nmf")
    return store.open(store.convert(sample("71GPa"), folder / "71GPa.zarr")).compute()


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
    again = nmf(image, 3, init=expected.loadings * 7)
    assert again.attrs["deviance"] <= expected.attrs["deviance"] * (1 + 1e-5)


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


# -- project -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["poisson", "frobenius"])
def test_project__gives_the_scores_of_the_fit(eager_image, loss):
    result = nmf(eager_image, 2, loss=loss)
    scores = project(eager_image, result.loadings * [[3], [0.1]], loss=loss)
    xr.testing.assert_allclose(scores, result.scores, rtol=1e-4)


def test_project__finds_known_amounts():
    truth = simulate.phase_spectra(PHASES, 0.3 + 0.02 * np.arange(205))
    loadings = truth.loadings.rename(phase="component")
    random = np.random.default_rng(7)
    amounts = random.uniform(300, 600, (40, 40, 3))  # far from zero, so without bias
    counts = random.poisson(amounts @ loadings.values).astype(np.uint8)
    image = xr.DataArray(counts, {"energy": loadings.energy}, ("y", "x", "energy"))
    error = project(image, loadings).values - amounts
    assert (abs(error.mean((0, 1))) < 4 * error.std((0, 1)) / 40).all()
    assert (error.std((0, 1)) < 100).all()


def test_project__is_the_same_for_any_chunks(spectrum_image, eager_image):
    loadings = nmf(eager_image, 2).loadings
    found = project(spectrum_image, loadings).compute()
    xr.testing.assert_identical(found, project(eager_image, loadings).compute())


def test_project__computes_nothing_until_asked(spectrum_image):
    loadings = nmf(spectrum_image, 2).loadings
    with dask.config.set(scheduler=_refuse):
        scores = project(spectrum_image, loadings)
    assert scores.dtype == np.float32


def test_project__refuses(eager_image):
    loadings = nmf(eager_image, 2).loadings
    for bad, message in (
        (loadings[:, 1:], "different energy axes"),
        (loadings.assign_coords(energy=loadings.energy + 0.1), "different energy axes"),
        (loadings[0], r"must be \[component, energy\]"),
        (loadings * 0, "loadings must be spectra"),
    ):
        with pytest.raises(EdsError, match=message):
            project(eager_image, bad)
    with pytest.raises(EdsError, match="loss must be"):
        project(eager_image, loadings, loss="l1")


# -- suggest_rank --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phases", "dose"),
    [
        (PHASES[:1], 400),
        (PHASES[:2], 100),
        (PHASES[::2], 100),
        (PHASES, 100),
        (PHASES, 400),
        ((*PHASES, SILICA), 180),
    ],
)
def test_suggest_rank__counts_the_phases(phases, dose):
    image, _ = simulated(96, dose, seed=5, phases=phases)
    assert suggest_rank(image).attrs["suggested"] == len(phases)


def test_suggest_rank__noise_stays_below_the_edge():
    energy = np.arange(200.0)
    rates = np.random.default_rng(1).gamma(1.0, 0.3, 200)
    counts = np.random.default_rng(2).poisson(rates, (64, 64, 200)).astype(np.uint8)
    rank = suggest_rank(xr.DataArray(counts, {"energy": energy}, ("y", "x", "energy")))
    assert rank.attrs["suggested"] == 1
    assert rank.eigenvalue[1] < 1.05


def test_suggest_rank__is_the_same_for_any_chunks(spectrum_image, eager_image):
    xr.testing.assert_identical(suggest_rank(spectrum_image), suggest_rank(eager_image))


def test_suggest_rank__does_not_depend_on_how_many_are_shown(eager_image):
    few, many = suggest_rank(eager_image, max_rank=1), suggest_rank(eager_image)
    assert few.sizes["component"] == 1
    assert few.attrs == many.attrs


# -- remove_baseline, move_shares ----------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000), matrix=st.integers(0, 2), chunk=st.integers(2, 8))
def test_remove_baseline__keeps_the_product(seed, matrix, chunk):
    random = np.random.default_rng(seed)
    scores = random.gamma(0.7, 100, (8, 8, 3)).astype(np.float32)
    loadings = random.gamma(0.5, size=(3, 20))
    result = xr.Dataset(
        {
            "scores": (("y", "x", "component"), scores),
            "loadings": (("component", "energy"), loadings / loadings.sum(1)[:, None]),
        },
        {"component": range(3)},
    ).chunk(y=chunk)
    core = xr.DataArray(random.random((8, 8)) < 0.5, dims=("y", "x"))
    core[0, 0] = True
    rotated = remove_baseline(result, matrix, core)
    assert largest_change(product(rotated), product(result)) < 1e-6
    assert rotated.attrs["rotation_residual"] < 1e-6
    np.testing.assert_allclose(rotated.loadings.sum("energy"), 1)


def test_remove_baseline__leaves_no_matrix_in_the_other_scores(pyrolite):
    _, truth, result = pyrolite
    brg = matched(angles_deg(result.loadings, truth.loadings))[0]
    core = truth.mask.sel(phase="Brg")
    before, after = (
        r.scores.where(core).median(("y", "x")).drop_sel(component=brg)
        for r in (result, remove_baseline(result, brg, core))
    )
    assert (abs(after) < 0.5).all()
    assert before.max() > 1


def test_remove_baseline__is_lazy_but_for_the_core(eager_image):
    result = nmf(eager_image.chunk(y=4, x=5), 2)
    core = xr.zeros_like(eager_image.isel(energy=0, drop=True), dtype=bool)
    core[0, 0] = True
    seen: list[int] = []
    watched = xr.apply_ufunc(
        lambda block: (seen.append(1), block)[1],
        result.scores,
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    seen.clear()  # a trial block on which Dask finds out the type
    rotated = remove_baseline(result.assign(scores=watched), 0, core)
    assert rotated.scores.chunks == result.scores.chunks
    assert len(seen) == 1


def test_remove_baseline__eager_equals_lazy(eager_image):
    result = nmf(eager_image, 2)
    core = eager_image.sum("energy") > 30
    xr.testing.assert_allclose(
        remove_baseline(result.compute(), 0, core), remove_baseline(result, 0, core).compute()
    )


def test_remove_baseline__refuses(eager_image):
    result = nmf(eager_image, 2).compute()
    core = eager_image.sum("energy") > 30
    for matrix, bad, message in (
        (0, core & False, "core is empty"),
        (0, core[1:], "the core has 11 pixels|the mask has 11 pixels"),
        (0, core.astype(int), "boolean"),
        (0, core.expand_dims(phase=["a"]), "one a phase"),
        (7, core, "one of the components"),
    ):
        with pytest.raises(EdsError, match=message):
            remove_baseline(result, matrix, bad)
    nothing = result.assign(scores=result.scores * 0)
    with pytest.raises(EdsError, match="no counts in the core"):
        remove_baseline(nothing, 0, core)


def test_move_shares__keeps_the_product_and_computes_nothing(spectrum_image):
    result = nmf(spectrum_image, 2)
    shares = xr.DataArray([0.0, 0.1], {"component": [0, 1]})
    with dask.config.set(scheduler=_refuse):
        moved = move_shares(result, 0, shares)
    assert largest_change(product(moved), product(result)) < 1e-6
    assert moved.attrs["rotation_residual"] < 1e-6
    with pytest.raises(EdsError, match="must be zero"):
        move_shares(result, 1, shares)


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
@pytest.mark.parametrize("init", ["scaled", "random"])
def test_nmf__finds_the_phases_of_the_real_map(real_71gpa, init):
    light = real_71gpa.sel(energy=LIGHT)
    calcium, magnesium = (element_map(real_71gpa, e, background=False) for e in ("Ca", "Mg"))
    for seed in range(5):
        result = nmf(light, 3, init=init, seed=seed).compute()
        assert correlation(result.scores, calcium) >= 0.98
        assert correlation(result.scores, magnesium) >= 0.97
        core = calcium < calcium.quantile(0.3)
        assert remove_baseline(result, 0, core).attrs["rotation_residual"] <= 1e-6


@pytest.mark.network
def test_nmf__least_squares_loses_the_weak_phase_of_the_real_map(real_71gpa):
    result = nmf(real_71gpa.sel(energy=LIGHT), 3, loss="frobenius").compute()
    assert correlation(result.scores, element_map(real_71gpa, "Ca", background=False)) < 0.6


@pytest.mark.network
def test_suggest_rank__is_clear_on_the_71gpa_map(real_71gpa):
    rank = suggest_rank(real_71gpa.sel(energy=LIGHT))
    assert rank.attrs["suggested"] == 3
    assert rank.attrs["clear"]
    assert rank.eigenvalue[2] / rank.eigenvalue[3] >= 10


@pytest.mark.network
def test_suggest_rank__is_not_a_clear_3_on_the_88gpa_map(sample, tmp_path):
    image = store.open(store.convert(sample("88GPa"), tmp_path / "88GPa.zarr"))
    rank = suggest_rank(image.sel(energy=LIGHT))
    assert not (rank.attrs["suggested"] == 3 and rank.attrs["clear"])


def _refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("computed too early")
