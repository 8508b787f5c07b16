"""Turning scores within the ambiguity of a factorisation."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.factorisation import rotation
from eds_xr.schema import EdsError


def scores_of(values, chunk=None):
    dims = ("y", "x", "component")[-values.ndim :]
    scores = xr.DataArray(values, {"component": np.arange(values.shape[-1])}, dims)
    return scores if chunk is None else scores.chunk({d: chunk for d in dims[:-1]})


@given(height=st.integers(1, 40), width=st.integers(1, 40), mean=st.sampled_from([1, 100, 5000]))
def test_binned_scores__hold_counts_enough_or_are_few(height, width, mean):
    values = np.random.default_rng(height).poisson(mean, (height, width, 2)).astype("f4")
    found = rotation.binned_scores(scores_of(values))
    enough = found.sum() >= rotation.COUNTS_PER_BIN * len(found)
    assert enough or len(found) < 4 * rotation.FEWEST_BINS + height + width  # odd ends are cut
    assert found.sum() <= values.sum()
    if len(found) == height * width:
        np.testing.assert_array_equal(found, values.reshape(-1, 2))


def test_binned_scores__are_the_same_for_any_chunks():
    values = np.random.default_rng(0).poisson(3.0, (70, 90, 2)).astype("f4")
    expected = rotation.binned_scores(scores_of(values))
    assert len(expected) < 70 * 90
    np.testing.assert_allclose(rotation.binned_scores(scores_of(values, 13)), expected)


def test_binned_scores__refuses_what_is_not_finite():
    with pytest.raises(EdsError, match="the scores hold NaN"):
        rotation.binned_scores(scores_of(np.full((3, 3, 2), np.nan)))


@pytest.mark.parametrize("chunk", [None, 4])
def test_turned_scores__are_a_product(chunk):
    values = np.random.default_rng(1).normal(size=(9, 7, 3)).astype("f4")
    change = np.array([[1, 0.5, 0], [0, 1, 0], [0.2, 0, 1]])
    found = rotation.turned_scores(scores_of(values, chunk), change)
    assert (found.chunks is None) == (chunk is None)
    np.testing.assert_allclose(found, values @ change, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32


@given(inside=st.integers(1, 400), most=st.integers(1, 400))
def test_thinned__keeps_no_more_than_asked_evenly(inside, most):
    core = np.zeros((20, 20), bool)
    core.flat[np.random.default_rng(inside).permutation(400)[:inside]] = True
    thin = rotation.thinned(core, most)
    assert not (thin & ~core).any()
    assert min(inside, most) / 2 <= thin.sum() <= most


def test_thinned__refuses_an_empty_core():
    with pytest.raises(EdsError, match="the core is empty"):
        rotation.thinned(np.zeros((3, 3), bool), 5)


@pytest.mark.parametrize("chunk", [None, 4])
def test_pick__computes_only_chunks_with_pixels_in_them(chunk):
    values = np.random.default_rng(2).normal(size=(8, 8, 2))
    values[4:] = np.nan
    keep = np.zeros((8, 8), bool)
    keep[1, 2] = keep[3, 7] = True
    found = rotation.pick(scores_of(values, chunk), keep)
    np.testing.assert_array_equal(found, values[[1, 3], [2, 7]])


def test_matrix_shares__medians_of_ratios_where_there_is_matrix():
    pure = scores_of(np.array([[10.0, 1.0], [20.0, 4.0], [10.0, 3.0], [0.0, 99.0]])).rename(
        x="pixel"
    )
    found = rotation.matrix_shares(pure, 0)
    np.testing.assert_allclose(found, [0, 0.2])
    with pytest.raises(EdsError, match="component 0 has no counts in the core"):
        rotation.matrix_shares(pure.isel(pixel=[3]), 0)


def test_check_factors__says_what_is_expected():
    for wrong in (xr.DataArray(0), xr.Dataset(), xr.Dataset({"scores": 0})):
        with pytest.raises(EdsError, match="expected a factorisation"):
            rotation.check_factors(wrong)
    flat = xr.Dataset({"scores": ("y", [1.0]), "loadings": ("energy", [1.0])})
    with pytest.raises(EdsError, match=r"expected scores \[\*spatial, component\]"):
        rotation.check_factors(flat)
