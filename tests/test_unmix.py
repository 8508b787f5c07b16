"""What known spectra tell: scores, amounts, and loadings for known scores."""

import dask
import numpy as np
import pytest
import xarray as xr
from known import PHASES

from eds_xr import simulate
from eds_xr.nmf import nmf
from eds_xr.schema import EdsError
from eds_xr.unmix import extend_loadings, project, unmix

# -- project -------------------------------------------------------------------------------------


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


# -- unmix ----


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


def test_extend_loadings__from_part_of_the_energies_to_all(assemblage):
    image, truth = assemblage
    part = nmf(image.sel(energy=slice(0.3, 4.4)), 3, mixing="free")
    whole = extend_loadings(part, image)
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
