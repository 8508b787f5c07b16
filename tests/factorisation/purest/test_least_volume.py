"""The turn to the purest components, on plain arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr.factorisation.purest.least_volume import even_rows, purest_turn
from eds_xr.factorisation.purest.ray_ends import Grid

RANDOM = np.random.default_rng(2)
#: Three spectra, each with channels that the others do not have.
SPECTRA = np.kron(np.eye(3), np.ones(20)) / 20
#: Most pixels are matrix (first); the others lie over it.
AMOUNTS = np.array([5000.0, 0, 0]) + np.zeros((400, 3))
AMOUNTS[:60, :2] = np.linspace([4000, 1000], [2000, 3000], 60)
AMOUNTS[60:100, [0, 2]] = np.linspace([4500, 500], [1500, 3500], 40)
AMOUNTS = RANDOM.poisson(AMOUNTS).astype(float)


@settings(max_examples=15, deadline=None)
@given(entries=st.lists(st.floats(0.02, 0.3), min_size=6, max_size=6))
def test_purest_turn__undoes_a_mixing(entries):
    mixing = np.eye(3)
    mixing[~np.eye(3, dtype=bool)] = entries
    mixing /= mixing.sum(1, keepdims=True)
    if np.linalg.cond(mixing) > 20:
        return
    turn, _ = purest_turn(AMOUNTS @ np.linalg.inv(mixing), mixing @ SPECTRA)
    found = turn @ mixing @ SPECTRA
    np.testing.assert_allclose(found.sum(1), 1)
    assert abs(found - SPECTRA).max() < 0.05 * SPECTRA.max()  # strongest first, as they are


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_purest_turn__takes_a_host_out_of_what_lies_in_it_everywhere(seed):
    random = np.random.default_rng(seed)
    amounts = np.zeros((500, 3))
    amounts[:, 0] = 2000.0  # a film, on it an oxide, on that here and there a metal
    amounts[:200, 1] = random.uniform(1000, 6000, 200)
    amounts[:80, 2] = random.uniform(0, 4000, 80)
    mixing = np.array([[1, 0, 0], [0, 1, 0], [0.1, 0.6, 0.3]])  # no pixel leads to the metal
    counts = random.poisson(amounts).astype(float) @ np.linalg.inv(mixing)
    found = purest_turn(counts, mixing @ SPECTRA)[0] @ mixing @ SPECTRA
    of = (found @ SPECTRA.T).argmax(1)
    assert sorted(of) == [0, 1, 2]
    assert abs(found - SPECTRA[of]).max() < 0.08 * SPECTRA.max()


def test_purest_turn__ends_at_one_flat_grain_that_shares_its_elements():
    random = np.random.default_rng(4)
    share = np.zeros((30, 30))
    share[4:10, 5:11] = 1.0  # 4 % of the pixels
    share[3, 5:11] = share[10, 5:11] = 0.5
    near = np.array([0.4 * SPECTRA[0] + 0.6 * SPECTRA[1], 0.3 * SPECTRA[0] + 0.7 * SPECTRA[1]])
    amounts = 4000 * np.stack([1 - share, share], -1).reshape(-1, 2)
    counts = random.poisson(amounts @ near)
    scores = counts @ np.linalg.pinv(near)
    grid = Grid(np.arange(900), (30, 30))
    turn, ends_at = purest_turn(scores, near, grid=grid)
    assert ends_at == ["pixels", "pixels"]
    assert abs(turn @ near - near).max() < 0.03 * near.max()


def test_purest_turn__piles_show_in_sums_where_noise_hides_them():
    random = np.random.default_rng(7)
    share = np.kron(random.random((9, 9)) < 0.4, np.ones((6, 6)))  # large grains side by side
    near = np.array([0.4 * SPECTRA[0] + 0.6 * SPECTRA[1], 0.3 * SPECTRA[0] + 0.7 * SPECTRA[1]])
    amounts = 60 * np.stack([1 - share, share], -1).reshape(-1, 2)
    scores = random.poisson(amounts @ near) @ np.linalg.pinv(near)
    turn, ends_at = purest_turn(scores, near, grid=Grid(np.arange(54**2), (54, 54)))
    assert ends_at == ["pixels", "pixels"]
    assert abs(turn @ near - near).max() < 0.1 * near.max()


def test_purest_turn__nothing_to_tell_of_one_component_or_no_counts():
    np.testing.assert_array_equal(purest_turn(AMOUNTS[:, :1], SPECTRA[:1])[0], [[1]])
    np.testing.assert_array_equal(purest_turn(np.zeros((9, 3)), SPECTRA)[0], np.eye(3))


@pytest.mark.parametrize("reach", ["auto", "spectra", "pixels"])
def test_purest_turn__keeps_the_product(reach):
    turn, _ = purest_turn(AMOUNTS, SPECTRA, reach=reach)
    turned = (AMOUNTS @ np.linalg.inv(turn)) @ (turn @ SPECTRA)
    np.testing.assert_allclose(turned, AMOUNTS @ SPECTRA, atol=1e-8)


def test_even_rows__only_those_with_counts_and_not_too_many():
    rows = np.ones((20_000, 2))
    rows[::2] = 0
    assert len(even_rows(rows)) == 5000
    assert even_rows(rows).all()
    assert even_rows(np.zeros((5, 2))).shape == (0, 2)
