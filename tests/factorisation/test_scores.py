"""Scores of known loadings."""

import dask
import numpy as np
import pytest
import xarray as xr
from support.images import refuse

from eds_xr.factorisation.scores import lazy_scores


@pytest.fixture
def loadings(eager_image):
    half = eager_image.isel(x=slice(8)), eager_image.isel(x=slice(8, None))
    spectra = xr.concat([part.sum(("y", "x"), dtype=float) for part in half], "component")
    return spectra.assign_coords(component=["left", "right"])


@pytest.mark.parametrize("loss", ["poisson", "frobenius"])
def test_lazy_scores__form_and_laziness(spectrum_image, loadings, loss):
    with dask.config.set(scheduler=refuse):
        scores = lazy_scores(spectrum_image, loadings, loss)
    assert scores.dims == ("y", "x", "component")
    assert scores.component.values.tolist() == ["left", "right"]
    assert scores.attrs["units"] == "counts"
    assert (scores.compute() >= 0).all()


def test_lazy_scores__of_poisson_hold_all_counts(spectrum_image, loadings):
    scores = lazy_scores(spectrum_image, loadings, "poisson")
    np.testing.assert_allclose(
        scores.sum("component"), spectrum_image.sum("energy", dtype=float), rtol=1e-5
    )


def test_lazy_scores__of_mixtures_without_noise_are_the_amounts(loadings, eager_image):
    amounts = np.random.default_rng(0).uniform(100, 900, (6, 5, 2))
    unit = loadings / loadings.sum("energy")
    image = xr.DataArray(amounts @ unit.values, {"energy": unit.energy}, ("y", "x", "energy"))
    for loss in ("poisson", "frobenius"):
        np.testing.assert_allclose(lazy_scores(image, loadings, loss), amounts, rtol=2e-3)
