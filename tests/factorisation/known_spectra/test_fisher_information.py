"""What follows when one side of a factorisation is known."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from support.held import Held

from eds_xr.factorisation import one_read
from eds_xr.factorisation.known_spectra.fisher_information import (
    fisher_covariance,
    known_scores_loadings,
)
from eds_xr.image.blocks import compress_block

RANDOM = np.random.default_rng(3)
LOADINGS = RANDOM.dirichlet(np.full(30, 0.5), 2)  # [component, channel]


def test_fisher_covariance__is_the_inverse_of_the_dense_information():
    amounts = RANDOM.uniform(50, 100, (6, 2))
    counts = RANDOM.poisson(amounts @ LOADINGS).astype(np.uint16)
    block = compress_block(counts)
    found = fisher_covariance(block, LOADINGS.T.astype("f4"), amounts.astype("f4"))
    for row, amount, covariance in zip(counts, amounts, found, strict=True):
        weight = row / (amount @ LOADINGS) ** 2
        information = (LOADINGS * weight) @ LOADINGS.T
        np.testing.assert_allclose(covariance, np.linalg.inv(information), rtol=1e-3)


def test_fisher_covariance__nothing_is_known_of_empty_pixels():
    block = compress_block(np.zeros((2, 30), np.uint8))
    found = fisher_covariance(block, LOADINGS.T.astype("f4"), np.ones((2, 2), "f4"))
    np.testing.assert_array_equal(found, [np.diag([np.inf, np.inf])] * 2)


def test_known_scores_loadings__the_same_where_the_counts_do_not_fit(monkeypatch):
    counts = da.random.default_rng(1).poisson(3.0, (32, 32, 30), chunks=(8, 8, 30))
    image = xr.DataArray(counts.astype(np.uint8), dims=("y", "x", "energy"))
    scores = xr.DataArray(RANDOM.gamma(1.0, 45, (32, 32, 2)), dims=("y", "x", "component"))
    kept = known_scores_loadings(image, scores, 8)
    monkeypatch.setattr(one_read, "MEMORY_SHARE", 0.0)
    with dask.config.set(scheduler="synchronous"), Held() as held:
        found = known_scores_loadings(image, scores, 8)
    np.testing.assert_array_equal(found, kept)
    assert held.most < 2 * counts.size  # of all, two bytes tell the channel, one the count


@pytest.mark.parametrize("chunk", [40, 11])
def test_known_scores_loadings__are_those_that_made_the_counts(chunk):
    scores = RANDOM.gamma(1.0, 2000, (40, 40, 2))
    counts = RANDOM.poisson(scores @ LOADINGS)
    image = xr.DataArray(counts, dims=("y", "x", "energy")).chunk(y=chunk, x=chunk)
    given = xr.DataArray(scores, dims=("y", "x", "component"))
    found = known_scores_loadings(image, given, 8).T
    np.testing.assert_allclose(found.sum(1), 1)
    rows = scores.reshape(-1, 2)
    information = np.einsum("ip,iq,ic->cpq", rows, rows, 1 / (rows @ LOADINGS))
    error = np.sqrt(np.einsum("cpp->pc", np.linalg.inv(information)))  # the bound of Cramer and Rao
    pull = (found - LOADINGS) / error
    assert abs(pull).max() < 5
    assert 0.6 < pull.std() < 1.4
