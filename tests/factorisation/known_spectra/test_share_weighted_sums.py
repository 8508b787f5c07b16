"""Sums of a map weighted by the shares of phases."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from support.held import Held

from eds_xr.factorisation.known_spectra import share_weighted_sums as weighted
from eds_xr.factorisation.known_spectra.share_weighted_sums import share_weighted_sums
from eds_xr.image.blocks import compress_block
from eds_xr.image.split import half_block

RANDOM = np.random.default_rng(4)
TABLE = np.ascontiguousarray(RANDOM.dirichlet(np.full(25, 0.4), 2).T, np.float32)
AMOUNTS = np.where(np.arange(24) < 9, [[90.0]], [[5.0]])[:, :, None] * [1.0, 0.0] + [0, 30.0]
COUNTS = RANDOM.poisson((AMOUNTS + np.zeros((20, 24, 2))) @ TABLE.T).astype(np.uint16)


def sums(counts, inside=None, window=1, seed=0, **chunks):
    image = xr.DataArray(counts, dims=("y", "x", "energy")).chunk(chunks or {"y": 20})
    inside = np.ones(counts.shape[:2], bool) if inside is None else inside
    return share_weighted_sums(image, TABLE, xr.DataArray(inside, dims=("y", "x")), window, seed)


@pytest.mark.parametrize("window", [1, 3])
def test_share_weighted_sums__add_up_to_all_counts(window):
    found, covariance, shares = sums(COUNTS, window=window)
    assert shares.sum() == pytest.approx(20 * 24)
    np.testing.assert_allclose(found.sum(0), COUNTS.sum((0, 1)))
    # variances and covariances of shares that add up to one add up to the variance of the counts
    np.testing.assert_allclose(covariance.sum((0, 1)), COUNTS.sum((0, 1)))
    np.testing.assert_array_equal(covariance, covariance.transpose(1, 0, 2))


def test_share_weighted_sums__only_of_pixels_inside():
    inside = np.zeros((20, 24), bool)
    inside[3:9, 4:20] = True
    found, _, shares = sums(COUNTS, inside)
    assert shares.sum() == pytest.approx(6 * 16)
    np.testing.assert_allclose(found.sum(0), COUNTS[3:9, 4:20].sum((0, 1)))


def test_share_weighted_sums__do_not_depend_on_chunks():
    expected = sums(COUNTS, window=3, seed=7)
    for found, one in zip(sums(COUNTS, window=3, seed=7, y=7, x=5), expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-5)


def test_share_weighted_sums__few_chunks_are_in_memory_at_once():
    """In one pass the halves of most chunks waited for the shares of their neighbours."""
    lazy = da.random.default_rng(1).poisson(3.0, (96, 96, 25), chunks=(8, 8, 25))
    image = xr.DataArray(lazy.astype(np.uint8), dims=("y", "x", "energy"))
    inside = xr.DataArray(da.ones((96, 96), bool, chunks=8), dims=("y", "x"))
    with dask.config.set(scheduler="synchronous"), Held() as held:
        share_weighted_sums(image, TABLE, inside, 3, 0)
    shares = 96 * 96 * 2 * 2 * 4  # of two halves and phases, in float32
    assert held.most < 4 * shares  # as they are averaged; those halves were nine times as much


def test_share_weighted_sums__seeds_split_the_counts_anew():
    first, second = sums(COUNTS, seed=0)[0], sums(COUNTS, seed=1)[0]
    assert not np.allclose(first, second)
    np.testing.assert_allclose(first, second, rtol=0.3, atol=30)


@pytest.mark.parametrize("most", [1, 700, 2**24])
def test_halves__are_the_same_in_slabs(monkeypatch, most):
    monkeypatch.setattr(weighted, "DENSE_BYTES", most)
    block = np.random.default_rng(0).poisson(3, (7, 5, 12)).astype(np.uint16)
    box, shape = (slice(14, 21), slice(5, 10)), (30, 10, 12)
    half = half_block(block, box, shape, 3)
    along = [np.arange(side.start, side.stop) for side in box]
    found = weighted._halves(block, along, shape, 3)
    for one, dense in zip(found, (half, block - half), strict=True):
        for mine, whole in zip(one, compress_block(dense), strict=True):
            np.testing.assert_array_equal(mine, whole)
            assert mine.dtype == whole.dtype
