"""Components that lie in others everywhere, from shares of a film, an oxide and a metal."""

import numpy as np

from eds_xr.factorisation.purest.hosts_of_rays import hosts_of

RANDOM = np.random.default_rng(8)
SIGMA = np.full((400, 3), 0.02)


def shares(oxide: np.ndarray, metal: np.ndarray) -> np.ndarray:
    return np.stack([1 - oxide - metal, oxide, metal], -1)


def test_hosts_of__metal_on_an_oxide():
    oxide, metal = np.zeros((2, 400))
    oxide[:150] = RANDOM.uniform(0.3, 0.9, 150)
    metal[:60] = (1 - oxide[:60]) * RANDOM.uniform(0, 1, 60)
    table = shares(oxide, metal)
    assert hosts_of(table, SIGMA, 2, [1], piled=False) == [1]
    assert hosts_of(table, SIGMA, 1, [2], piled=False) == []
    assert hosts_of(table, SIGMA, 2, [1], piled=True) == []  # it may be a layer between two


def test_hosts_of__grains_that_overlap_by_chance_are_none():
    oxide = np.where(np.arange(400) % 4 == 0, 0.4, 0.0)
    metal = np.zeros(400)
    metal[:80] = RANDOM.uniform(0, 0.6, 80)
    assert hosts_of(shares(oxide, metal), SIGMA, 2, [1], piled=False) == []


def test_hosts_of__what_the_richest_pixels_hold_less_than_nothing_of():
    metal = np.zeros(400)
    metal[:60] = np.linspace(0.1, 2.0, 60)
    oxide = np.where(metal > 0, 0.5 - 0.8 * metal, 0.3)
    for piled in (False, True):
        assert hosts_of(shares(oxide, metal), SIGMA, 2, [1], piled=piled) == [1]


def test_hosts_of__few_pixels_tell_nothing():
    metal = np.zeros(400)
    metal[:5] = 0.5
    assert hosts_of(shares(np.full(400, 0.3), metal), SIGMA, 2, [1], piled=False) == []
