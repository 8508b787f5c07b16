"""Grains and counts of a simulation, block by block."""

import numpy as np
import pytest

from eds_xr.samples.grains import (
    RUN,
    GrainRecipe,
    amounts_block,
    counts_block,
    haadf_block,
    place_grains,
)

GRAINS = (np.array([[10.0, 12.0, 6.0, 3.0, 0.0, 0.5]]),)
RECIPE = GrainRecipe(7, 150, GRAINS, np.array([40.0, 20.0]), np.eye(2).repeat(3, 1) / 3, np.ones(2))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_place_grains__cover_the_share_that_was_asked(share):
    covered = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        listed = place_grains(random, (200, 200), share, (3.0, 8.0), 1.0)
        assert ((listed[:, 2:4] >= 3) & (listed[:, 2:4] <= 8)).all()
        amounts = amounts_block(np.arange(200), np.arange(200), (listed,))
        covered.append((amounts[1] > 0).mean())
    assert np.mean(covered) == pytest.approx(share, rel=0.2)


def test_amounts_block__one_grain_is_an_ellipse_of_its_depth():
    amounts = amounts_block(np.arange(30), np.arange(40), GRAINS)
    np.testing.assert_allclose(amounts.sum(0), 1, rtol=1e-6)
    grain = amounts[1]
    assert grain.max() == grain[10, 12] == 0.5
    y, x = np.nonzero(grain)
    assert (y.min(), y.max()) == (5, 15)  # the rim itself has nothing
    assert (x.min(), x.max()) == (10, 14)
    np.testing.assert_array_equal(grain[:21], grain[20::-1])


def test_amounts_block__where_grains_fill_the_thickness_no_matrix_is_left():
    deep = np.array([[10.0, 10.0, 9.0, 9.0, 0.0, 0.9]])
    amounts = amounts_block(np.arange(20), np.arange(20), (deep, deep))
    np.testing.assert_allclose(amounts[:, 10, 10], [0, 0.5, 0.5], atol=1e-7)


def test_blocks__do_not_depend_on_where_they_are_cut():
    rows, columns = np.arange(12), np.arange(150)
    whole = counts_block(rows, columns, RECIPE, "u2")
    bright = haadf_block(rows, columns, RECIPE)
    for cut in (1, RUN - 1, RUN, 100):
        parts = [counts_block(rows, c, RECIPE, "u2") for c in (columns[:cut], columns[cut:])]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
        part = haadf_block(rows[3:5], columns[cut:], RECIPE)
        np.testing.assert_array_equal(part, bright[3:5, cut:])


def test_counts_block__channels_are_those_of_the_phases():
    far = counts_block(np.arange(25, 45), np.arange(150), RECIPE, "u2").astype(float)
    assert far[..., 3:].sum() == 0  # matrix alone
    assert far.sum(2).mean() == pytest.approx(40, abs=5 * np.sqrt(40 / 3000))
