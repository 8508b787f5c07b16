"""Where pixels end along a ray: piles of pure pixels, and grains within a matrix."""

import numpy as np
import pytest

from eds_xr.factorisation.purest.ray_ends import Grid, lies_in_several_places, ray_end

RANDOM = np.random.default_rng(3)
MATRIX, BOUNDARY = np.zeros(400), RANDOM.uniform(0, 0.6, 60)


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.08])
def test_ray_end__pixels_as_pure_as_the_phase_pile_up(noise):
    shares = np.concatenate([MATRIX, BOUNDARY, np.full(100, 0.6)])
    found = ray_end(RANDOM.normal(shares, noise), np.full(shares.size, noise), 1.0)
    assert found.piled
    assert found.share == pytest.approx(0.6, abs=0.02 + noise / 4)


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.08])
def test_ray_end__grains_within_the_matrix_do_not(noise):
    depths = RANDOM.uniform(0.3, 0.7, 160) * np.sqrt(RANDOM.uniform(0, 1, 160))
    shares = np.concatenate([MATRIX, depths])
    found = ray_end(RANDOM.normal(shares, noise), np.full(shares.size, noise), 1.0)
    assert not found.piled


def test_lies_in_several_places__two_grains_may_agree_by_chance():
    image = np.zeros((40, 40), bool)
    grid = Grid(np.arange(1600), (40, 40))
    for number, start in enumerate([2, 12, 22, 32], start=1):
        image[5:10, start : start + 5] = True
        assert lies_in_several_places(image.ravel(), grid) == (number > 2)


@pytest.mark.parametrize("place", [np.s_[10:13], np.s_[5:20, 5:20]])
def test_lies_in_several_places__a_layer_and_a_large_grain_are_enough(place):
    image = np.zeros((40, 40), bool)
    image[place] = True
    assert lies_in_several_places(image.ravel(), Grid(np.arange(1600), (40, 40)))


def test_lies_in_several_places__of_thinned_pixels():
    image = np.zeros((60, 60), bool)
    image[20:32, 20:32] = True  # one grain stays one
    places = np.arange(0, 3600, 3)
    assert not lies_in_several_places(image.ravel()[places], Grid(places, (60, 60)))
