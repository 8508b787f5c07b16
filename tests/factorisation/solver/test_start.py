"""Where the descent starts."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.factorisation.solver.start import hold_first, start_loadings
from eds_xr.schema import EdsError

RANDOM = np.random.default_rng(5)
TRUE = RANDOM.dirichlet(np.full(40, 0.3), 3)
BINNED = RANDOM.poisson(RANDOM.gamma(0.4, 3000, (300, 3)) @ TRUE)


@pytest.mark.parametrize("loss", ["poisson", "frobenius"])
@pytest.mark.parametrize("init", ["scaled", "random"])
@pytest.mark.parametrize("rank", [1, 3, 50])  # 50: more than there are channels
def test_start_loadings__are_spectra_without_zeros_and_repeat(loss, init, rank):
    found = start_loadings(BINNED, rank, loss=loss, init=init, seed=1)
    assert found.shape == (40, rank)
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-5)
    seen = BINNED.any(0)  # a channel that nobody counted may stay at zero
    assert (found[seen] > 0).all()
    again = start_loadings(BINNED, rank, loss=loss, init=init, seed=1)
    np.testing.assert_array_equal(found, again)


def test_start_loadings__scaled_start_is_near_the_truth():
    found = start_loadings(BINNED, 3, loss="poisson", init="scaled", seed=0).T
    length = np.linalg.norm(found, axis=1)[:, None] * np.linalg.norm(TRUE, axis=1)
    assert ((found @ TRUE.T / length).max(axis=0) > 0.9).all()


def test_start_loadings__more_channels_than_the_rough_start_takes():
    wide = RANDOM.poisson(5.0, (30, 700))
    found = start_loadings(wide, 2, loss="poisson", init="scaled", seed=0)
    assert found.shape == (700, 2)
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-5)


def test_start_loadings__given_spectra_are_brought_to_sum_one():
    given = xr.DataArray(5 * TRUE, dims=("component", "energy"))
    found = start_loadings(BINNED, 3, loss="poisson", init=given, seed=0)
    np.testing.assert_allclose(found, TRUE.T, rtol=1e-5)
    with pytest.raises(EdsError, match=r"init must be \[component: 2, energy: 40\]"):
        start_loadings(BINNED, 2, loss="poisson", init=given, seed=0)
    with pytest.raises(EdsError, match="init must be spectra: finite"):
        start_loadings(BINNED, 3, loss="poisson", init=given - 1, seed=0)


def test_hold_first__known_spectra_replace_those_most_like_them():
    start = np.ascontiguousarray(TRUE.T, np.float32)
    known = np.ascontiguousarray((0.9 * TRUE[[2]] + 0.1 / 40).T, np.float32)
    np.testing.assert_array_equal(hold_first(start, None), start)
    np.testing.assert_array_equal(hold_first(start, known), np.hstack([known, start[:, :2]]))
