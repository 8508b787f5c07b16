import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.known import (
    LIGHT,
    PHASES,
    SILICA,
    angles_deg,
    largest_change,
    matched,
    product,
    simulated,
)

from eds_xr import store
from eds_xr.factorisation.mixing import mixing_uncertainty, move_shares, purest, remove_baseline
from eds_xr.factorisation.nmf import nmf
from eds_xr.schema import EdsError


@pytest.fixture(scope="module")
def real_71gpa(published_71gpa) -> xr.DataArray:
    return store.open(published_71gpa).compute()


@pytest.fixture(scope="module")
def pyrolite() -> tuple[xr.DataArray, xr.Dataset, xr.Dataset]:
    """A simulated pyrolite, its truth and its factorisation."""
    image, truth = simulated(96, 180, seed=3)
    return image, truth, nmf(image, 3, mixing="free").compute()


# -- remove_baseline, move_shares ----------------------------------------------------------------


@settings(max_examples=15)
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


# -- purest --------------------------------------------------------------------------------------


def sheared(truth: xr.Dataset, change: np.ndarray, seed: int = 0) -> xr.Dataset:
    """A factorisation that mixes the phases of a truth, its scores as noisy as of counts."""
    expected = truth.expected.transpose(..., "phase").values.astype(float)
    scores = np.random.default_rng(seed).normal(expected, np.sqrt(expected + 1))
    back = np.linalg.inv(change)
    numbers = {"component": np.arange(len(change)), "energy": truth.energy}
    return xr.Dataset(
        {
            "scores": (("y", "x", "component"), scores @ back),
            "loadings": (("component", "energy"), change @ truth.loadings.values),
        },
        numbers,
    )


MIXED = np.array([[1.3, -0.25, -0.05], [0.2, 0.8, 0.0], [0.3, 0.1, 0.6]])


@pytest.fixture(scope="module")
def mixed() -> tuple[xr.Dataset, xr.Dataset]:
    truth = simulated(96, 180, seed=31)[1]
    return truth, sheared(truth, MIXED)


@pytest.mark.parametrize("reach", ["auto", "spectra", "pixels"])
def test_purest__keeps_the_product(mixed, reach):
    found = purest(mixed[1], reach=reach)
    assert largest_change(product(found), product(mixed[1])) < 1e-6
    assert found.attrs["rotation_residual"] < 1e-6
    np.testing.assert_allclose(found.loadings.sum("energy"), 1)


def test_purest__undoes_a_mixing(mixed):
    truth, result = mixed
    before, after = (angles_deg(r.loadings, truth.loadings) for r in (result, purest(result)))
    assert before[matched(before), range(3)].max() > 8
    assert after[matched(after), range(3)].max() < 3


@pytest.mark.parametrize("order", [[1, 0, 2], [2, 1, 0], [1, 2, 0]])
def test_purest__does_not_depend_on_the_order_of_components(mixed, order):
    found, expected = purest(mixed[1].isel(component=order)), purest(mixed[1])
    np.testing.assert_allclose(found.loadings, expected.loadings, atol=1e-6)
    assert (found.component == [0, 1, 2]).all()


@settings(max_examples=15)
@given(st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6))
def test_purest__does_not_depend_on_the_mixing_it_starts_from(mixed, entries):
    change = np.eye(3)
    change[~np.eye(3, dtype=bool)] = entries
    change /= change.sum(1, keepdims=True)
    found = purest(sheared(mixed[0], change))
    expected = purest(mixed[1])
    assert angles_deg(found.loadings, expected.loadings).diagonal().max() < 1.5


@pytest.mark.parametrize("chunk", [(96, 96, 3), (17, 40, 3), (50, 96, 1)])
def test_purest__eager_equals_lazy_for_any_chunks(mixed, chunk):
    lazy = purest(mixed[1].chunk(dict(zip(("y", "x", "component"), chunk, strict=True))))
    assert lazy.scores.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), purest(mixed[1]), rtol=1e-6)


def test_purest__strongest_component_first(mixed):
    assert (np.diff(purest(mixed[1]).scores.sum(("y", "x"))) < 0).all()


def test_purest__leaves_one_component_alone(eager_image):
    result = nmf(eager_image, 1).compute()
    xr.testing.assert_allclose(purest(result).loadings, result.loadings)


def test_purest__pixels_leave_matrix_in_grains_that_are_nowhere_pure(mixed):
    truth = mixed[0]
    angles = {
        reach: angles_deg(purest(mixed[1], reach=reach).loadings, truth.loadings)
        for reach in ("pixels", "spectra")
    }
    assert angles["pixels"][0, 0] < 0.5
    assert angles["pixels"][1:, 1:].min(0).min() > 8
    assert angles["spectra"][1:, 1:].min(0).max() < 3


@pytest.mark.parametrize(
    ("phases", "dose", "limit_deg"),
    [(PHASES, 60, 8), (PHASES, 180, 4), ((*PHASES, SILICA), 180, 5)],
)
def test_purest__comes_close_to_the_truth_of_a_simulation(phases, dose, limit_deg):
    image, truth = simulated(128, dose, seed=21, phases=phases)
    found = purest(nmf(image, len(phases), mixing="free"))
    angles = angles_deg(found.loadings, truth.loadings)
    angles = angles[matched(angles), range(len(phases))]
    assert angles[0] < 1
    assert angles.max() < limit_deg


def test_purest__refuses(eager_image):
    result = nmf(eager_image, 2).compute()
    with pytest.raises(EdsError, match="reach must be"):
        purest(result, reach="stars")
    with pytest.raises(EdsError, match="scores and loadings"):
        purest(result.drop_vars("loadings"))
    with pytest.raises(EdsError, match="NaN"):
        purest(result.assign(scores=result.scores.where(result.scores.x > 3)))


# -- mixing_uncertainty --------------------------------------------------------------------------


def test_mixing_uncertainty__of_grains_that_are_nowhere_pure(mixed):
    span = mixing_uncertainty(purest(mixed[1], reach="pixels"))
    assert (span.low <= 0).all()
    assert (span.high >= 0).all()
    assert (np.diag(span.low) == 0).all()
    assert (np.diag(span.high) == 0).all()
    # as pure as pixels are, a third of the grains' loadings may still be the matrix's
    assert (span.high.sel(component=[1, 2], component_other=0) > 0.25).all()
    # no grain can be given to the matrix: there are pixels without
    assert (abs(span.low.sel(component=0)) < 0.02).all()


def test_mixing_uncertainty__is_used_up_by_the_purest(mixed):
    span = mixing_uncertainty(purest(mixed[1]))
    assert span.high.sel(component_other=0).max() < 0.05
    assert span.low.sel(component_other=0).min() < -0.2


def test_mixing_uncertainty__eager_equals_lazy(mixed):
    lazy = mixing_uncertainty(mixed[1].chunk(y=17, x=40))
    xr.testing.assert_allclose(lazy, mixing_uncertainty(mixed[1]))


# -- the published map ---------------------------------------------------------------------------


@pytest.mark.network
def test_purest__matrix_of_the_real_map_is_the_mask_s(real_71gpa):
    light = real_71gpa.sel(energy=LIGHT)
    found = purest(nmf(light, 3, mixing="free")).compute()
    share = found.scores / found.scores.sum("component")
    core = (abs(share.sel(component=[1, 2])) < 0.02).all("component")
    masked = light.where(core, 0).sum(("y", "x"))
    mg, si = slice(1.19, 1.31), slice(1.68, 1.80)
    ratios = [
        float(s.sel(energy=mg).sum() / s.sel(energy=si).sum()) for s in (found.loadings[0], masked)
    ]
    assert ratios[0] == pytest.approx(ratios[1], rel=0.05)
    calcium = int(found.loadings.sel(energy=slice(3.6, 3.8)).sum("energy").argmax("component"))
    grains = share.where(share.sel(component=calcium) > 0.2)
    assert abs(float(grains.sel(component=3 - calcium).median())) < 0.06  # no Fp in most Ca-Pv


def _refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("computed too early")
