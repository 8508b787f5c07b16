"""What known spectra tell: scores, amounts, and loadings for known scores."""

import dask
import numpy as np
import pytest
import xarray as xr
from support.known import PHASES

from eds_xr import simulate
from eds_xr.factorisation.known_spectra.unmix import extend_loadings, project, unmix
from eds_xr.factorisation.nmf import nmf
from eds_xr.schema import EdsError


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["poisson", "frobenius"])
def test_project__gives_the_scores_of_the_fit(eager_image, loss):
    result = nmf(eager_image, 2, loss=loss, weighting="none")
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


def _refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("computed too early")


def test_unmix__finds_the_amounts_with_errors_that_are_right(assemblage):
    """Away from the bound at zero, which pushes what is not there up and the rest down."""
    _, truth = assemblage
    known = truth.loadings.sel(phase=["Brg", "Fp"])
    amounts = np.random.default_rng(4).uniform(60, 200, size=(60, 60, 2))
    counts = np.random.default_rng(5).poisson(amounts @ known.values)
    image = xr.DataArray(
        counts.astype("u1"), dims=("y", "x", "energy"), coords={"energy": known.energy}
    ).chunk(y=20)
    found = unmix(image, known)
    assert found.amounts.chunks is not None
    pulls = ((found.amounts - amounts) / found.variance**0.5).values
    assert abs(pulls.mean()) < 0.05
    assert 0.95 < pulls.std() < 1.05


def test_unmix__does_not_depend_on_chunks(assemblage):
    image, truth = assemblage
    whole = unmix(image, truth.loadings).compute()
    cut = unmix(image.chunk(y=17, x=29), truth.loadings).compute()
    np.testing.assert_allclose(cut.amounts, whole.amounts, rtol=1e-5, atol=1e-4)


def test_unmix__takes_spectra_of_masks_and_refuses_others(assemblage):
    image, truth = assemblage
    spectra = xr.Dataset({"counts": truth.loadings * 1e5, "variance": truth.loadings * 1e5})
    np.testing.assert_allclose(
        unmix(image, spectra).amounts, unmix(image, truth.loadings).amounts, rtol=1e-4, atol=1e-3
    )
    with pytest.raises(EdsError, match=r"must be \[phase, energy\]"):
        unmix(image, truth.loadings.rename(phase="component"))


def test_unmix__covariance_is_that_of_the_errors(assemblage):
    _, truth = assemblage
    known = truth.loadings.sel(phase=["Brg", "Fp"])
    amounts = np.random.default_rng(6).uniform(100, 200, size=(50, 50, 2))
    counts = np.random.default_rng(7).poisson(amounts @ known.values)
    image = xr.DataArray(counts.astype("u1"), {"energy": known.energy}, ("y", "x", "energy"))
    found = unmix(image.chunk(y=20), known).compute()
    error = found.amounts.values - amounts
    distance = np.einsum(
        "yxp,yxp->yx", error, np.linalg.solve(found.covariance, error[..., None])[..., 0]
    )
    assert distance.mean() == pytest.approx(2, abs=0.1)  # chi-squared of two amounts
    assert found.covariance.dims == ("y", "x", "phase", "phase_other")
    np.testing.assert_array_equal(found.variance, np.einsum("yxpp->yxp", found.covariance.values))
    assert (found.covariance.sel(phase="Brg", phase_other="Fp") < 0).all()


def test_unmix__at_the_bound_amounts_scatter_less_than_their_error(assemblage):
    _, truth = assemblage
    known = truth.loadings.sel(phase=["Brg", "Fp"])
    counts = np.random.default_rng(8).poisson(200 * known.sel(phase="Brg").values, (60, 60, 1024))
    image = xr.DataArray(counts.astype("u1"), {"energy": known.energy}, ("y", "x", "energy"))
    found = unmix(image, known).compute()
    nothing = (found.amounts / found.variance**0.5).sel(phase="Fp")
    assert float((nothing == 0).mean()) == pytest.approx(0.5, abs=0.1)
    assert float(nothing.std()) < 0.75
    assert float(nothing.mean()) == pytest.approx((2 * np.pi) ** -0.5, abs=0.1)
    np.testing.assert_allclose(found.amounts.sum("phase"), image.sum("energy"), rtol=1e-4)


def test_unmix__computes_nothing_until_asked_and_knows_nothing_of_empty_pixels(assemblage):
    image, truth = assemblage
    with dask.config.set(scheduler=_refuse):
        found = unmix(image, truth.loadings)
    empty = unmix(image.isel(y=[0], x=[0]) * np.uint8(0), truth.loadings).compute()
    assert np.isinf(empty.variance).all()
    assert float(empty.amounts.sum()) == 0
    assert found.covariance.chunks is not None


def test_extend_loadings__from_part_of_the_energies_to_all(assemblage):
    image, truth = assemblage
    part = nmf(image.sel(energy=slice(0.3, 4.4)), 3, mixing="free")
    whole = extend_loadings(image, part)
    assert whole.dims == ("component", "energy")
    np.testing.assert_allclose(whole.sum("energy"), 1)
    inside = whole.sel(energy=slice(0.3, 4.4))
    inside = inside / inside.sum("energy")
    np.testing.assert_allclose(inside, part.loadings, atol=2e-3)
    # the phase with most Fe is the one with most Mg for its Si, though Fe was not fitted
    fe, mg, si = (
        whole.sel(energy=slice(e - 0.1, e + 0.1)).sum("energy").values for e in (6.4, 1.25, 1.74)
    )
    assert fe.argmax() == (mg / (mg + si)).argmax()
    assert fe.max() > 2 * np.median(fe)


def test_unmix__spectra_that_are_none_and_attributes(eager_image):
    spectra = _two_means(eager_image)
    with pytest.raises(EdsError, match="expected spectra"):
        unmix(eager_image, spectra.values)
    with pytest.raises(EdsError, match="expected spectra"):
        unmix(eager_image, spectra.isel(phase=[]))
    with pytest.raises(EdsError, match="the spectra lack"):
        unmix(eager_image, xr.Dataset({"variance": spectra}))
    found = unmix(eager_image.assign_attrs(units="counts", long_name="X-rays"), spectra)
    assert not {"units", "long_name"} & set(found.attrs)
    assert all({"long_name", "units"} <= set(v.attrs) for v in found.data_vars.values())


def _two_means(image):
    means = [image.isel(x=part).mean(("y", "x")) for part in (slice(0, 5), slice(10, 15))]
    return xr.concat(means, "phase")
