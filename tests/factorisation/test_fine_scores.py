"""Scores in small bins, without bias."""

import numpy as np

from eds_xr.factorisation.fine_scores import END_COUNTS, smaller_bins, unbiased_scores
from eds_xr.image.blocks import split_rows

#: Two spectra that share half of their channels.
SPECTRA = np.array([[0.5, 0.3, 0.2, 0.0], [0.0, 0.2, 0.3, 0.5]])


def test_unbiased_scores__of_what_is_absent_are_zero_on_average():
    random = np.random.default_rng(1)
    amounts = np.zeros((4000, 2))
    amounts[:2000, 0] = amounts[2000:, 1] = 6.0
    counts = random.poisson(amounts @ SPECTRA)
    found = unbiased_scores(split_rows(counts, 3), SPECTRA.T, counts.sum(0), 10**6)
    assert found is not None
    scores, grid = found
    assert grid.shape == (4000,)
    absent = np.concatenate([scores[:2000, 1], scores[2000:, 0]])
    assert abs(absent.mean()) < 4 * absent.std() / 4000**0.5
    assert (absent < 0).mean() > 0.2  # as a bound at zero would not allow
    np.testing.assert_allclose(scores.mean(0), amounts.mean(0), rtol=0.05)


def test_unbiased_scores__evenly_thinned_and_none_of_nothing():
    assert unbiased_scores(None, SPECTRA.T, np.ones(4), 10) is None
    rows = split_rows(np.ones((100, 4), int), 1)
    found = unbiased_scores(rows, SPECTRA.T, np.full(4, 100), 25)
    assert found is not None
    assert len(found[0]) == 25
    assert found[1].places.tolist() == list(range(0, 100, 4))


def test_smaller_bins__where_they_hold_enough_counts():
    many = split_rows(np.full((4096, 4), END_COUNTS), 2)
    assert smaller_bins(many, 4) is many
    assert smaller_bins(many, 1) is None
    few = split_rows(np.ones((4096, 4), int), 2)
    assert smaller_bins(few, 2) is None
