"""Counts that known spectra leave unexplained."""

import dask
import numpy as np
import pytest
import xarray as xr
from dask.base import is_dask_collection
from scipy.stats import norm
from support.known import PHASES

from eds_xr import simulate
from eds_xr.factorisation.known_spectra.unexplained import unexplained
from eds_xr.factorisation.nmf import nmf
from eds_xr.schema import EdsError

ENERGY = 0.3 + 0.02 * np.arange(405)
#: Where a stranger is, and of how many counts: a peak of Cr K alpha.
SIDE, COUNTS, CR_KEV = 60, 12, 5.41


@pytest.fixture(scope="module")
def mixture() -> tuple[xr.DataArray, xr.DataArray, np.ndarray]:
    """An image of known spectra, these, and which pixels hold a stranger."""
    spectra = simulate.phase_spectra(PHASES, ENERGY).loadings.rename(phase="phase")
    random = np.random.default_rng(8)
    amounts = random.uniform(0, 120, (SIDE, SIDE, len(PHASES)))
    mean = amounts @ spectra.transpose("phase", "energy").values
    strange = np.zeros((SIDE, SIDE), bool)
    strange[20:30, 40:45] = True
    peak = norm.pdf(ENERGY, CR_KEV, 0.06)
    mean[strange] += COUNTS * peak / peak.sum()
    coords = {"energy": ("energy", ENERGY, {"units": "keV"})}
    counts = random.poisson(mean).astype(np.uint16)
    return xr.DataArray(counts, coords, ("y", "x", "energy"), name="counts"), spectra, strange


def test_unexplained__strangers_and_where_they_emit(mixture):
    image, spectra, strange = mixture
    found = unexplained(image, spectra).compute()
    seen = found.significance.values > 3
    assert seen[strange].mean() > 0.9
    inside = strange & seen
    assert (abs(found.excess_energy.values[inside] - CR_KEV) < 0.13).mean() > 0.95
    # a band of one width at half maximum holds 76 % of a peak in its middle
    assert 0.6 * COUNTS < found.excess.values[strange].mean() < 1.1 * COUNTS
    assert found.excess_energy.attrs["units"] == "keV"


def test_unexplained__by_chance_no_more_often_than_it_says(mixture):
    image, spectra, strange = mixture
    sigma = unexplained(image, spectra).significance.values[~strange]
    for least in (1.0, 2.0, 3.0):
        expected = norm.sf(least) * sigma.size
        assert (sigma > least).sum() < expected + 4 * expected**0.5 + 1
    assert (sigma > 1).mean() > 0.02  # and it is not far more careful than it says


def test_unexplained__a_phase_that_is_left_out_is_strange(mixture):
    image, spectra, _ = mixture
    whole = unexplained(image, spectra).significance
    without = unexplained(image, spectra.isel(phase=slice(0, -1))).significance
    assert float((without > 3).mean()) > 5 * float((whole > 3).mean())


def test_unexplained__eager_equals_lazy_in_any_chunks(spectrum_image, eager_image):
    spectra = nmf(eager_image, 2).loadings.rename(component="phase")
    with dask.config.set(scheduler=_refuse):
        lazy = unexplained(spectrum_image, spectra)
    assert is_dask_collection(lazy.significance)
    xr.testing.assert_identical(lazy.compute(), unexplained(eager_image, spectra).compute())


def test_unexplained__pixels_without_counts(eager_image):
    spectra = nmf(eager_image, 2).loadings.rename(component="phase")
    found = unexplained(eager_image.where(eager_image.y != eager_image.y[0], 0), spectra)
    assert (found.significance.isel(y=0) == 0).all()
    assert np.isfinite(found.excess).all()


def test_unexplained__of_an_axis_in_ev(eager_image):
    spectra = nmf(eager_image, 2).loadings.rename(component="phase")
    axis = eager_image.energy.copy(data=np.arange(64.0)).assign_attrs(units="eV")
    found = unexplained(
        eager_image.assign_coords(energy=axis), spectra.assign_coords(energy=axis)
    ).compute()
    assert found.excess_energy.attrs["units"] == "eV"
    assert ((found.excess_energy >= 3.5) & (found.excess_energy <= 60)).all()


def test_unexplained__refuses_other_energies(mixture):
    image, spectra, _ = mixture
    with pytest.raises(EdsError, match="different energy axes"):
        unexplained(image, spectra.isel(energy=slice(5, None)))


def _refuse(*args, **kwargs):
    raise AssertionError("something was computed")
