"""The thickness that balances charges, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr.composition.film.charge_balance import (
    THICKEST_KG_M2,
    Balance,
    balanced_thickness,
)

#: Two cations and an anion that a film absorbs most.
CHARGES = np.array([2.0, 3.0, -2.0])
DEPTH_PER_MASS = np.array([150.0, 60.0, 2500.0])


def film(emitted):
    """Return the counts that leave films: amounts, each absorbed by a law of its own."""

    def amounts_at(thickness, which):
        depth = thickness[:, None] * DEPTH_PER_MASS
        safe = np.where(depth > 0, depth, 1.0)
        return emitted[which] * np.where(depth > 0, safe / -np.expm1(-safe), 1.0)

    return amounts_at


@given(
    st.lists(st.floats(0.1, 3), min_size=2, max_size=2),
    st.floats(1e-6, 9e-3),
)
def test_balanced_thickness__is_the_films_own(cations, thickness):
    atoms = np.array([*cations, (2 * cations[0] + 3 * cations[1]) / 2])
    depth = thickness * DEPTH_PER_MASS
    emitted = (atoms * -np.expm1(-depth) / depth)[None]
    found = balanced_thickness(film(emitted), CHARGES, emitted)
    assert found.shape == (1,)
    assert float(found[0]) == pytest.approx(thickness, rel=1e-9)


def test_balanced_thickness__brute_force():
    rng = np.random.default_rng(2)
    emitted = rng.uniform(0.2, 3, (200, 3))
    found = balanced_thickness(film(emitted), CHARGES, emitted)
    grid = np.linspace(0, THICKEST_KG_M2, 4001)
    amounts = np.stack([film(emitted)(np.full(200, t), np.arange(200)) for t in grid])
    signs = np.sign(amounts @ CHARGES)
    changes = np.diff(signs, axis=0) != 0
    first = np.where(changes.any(0), changes.argmax(0), -1)
    assert 20 < (first < 0).sum() < 180
    np.testing.assert_array_equal(np.isnan(found), first < 0)
    inside = first >= 0
    assert (found[inside] >= grid[first[inside]]).all()
    assert (found[inside] <= grid[first[inside] + 1]).all()


def test_balanced_thickness__the_thinnest_of_several():
    """A sum of charges that vanishes at 1, 3 and 4e-4 kg/m2."""

    def amounts_at(thickness, which):
        t = 1e4 * thickness
        return np.stack([1 + 0.02 * (t - 1) * (t - 3) * (t - 4), np.ones_like(t)], axis=-1)

    found = balanced_thickness(amounts_at, np.array([1.0, -1.0]), np.ones((1, 2)))
    assert float(found[0]) == pytest.approx(1e-4, rel=1e-9)


def test_balanced_thickness__balanced_at_once():
    emitted = np.array([[1.0, 2.0, 4.0]])
    assert balanced_thickness(film(emitted), CHARGES, emitted)[0] == 0


@pytest.mark.parametrize(
    "emitted", [[1.0, 1.0, 9.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [np.nan, 1.0, 1.0]]
)
def test_balanced_thickness__none(emitted):
    emitted = np.array([emitted, [1.0, 1.0, 1.5]])
    found = balanced_thickness(film(emitted), CHARGES, emitted)
    assert np.isnan(found[0])
    assert found[1] > 0  # one bad spectrum does not stop the others


def test_balanced_thickness__any_shape():
    rng = np.random.default_rng(1)
    emitted = rng.uniform(0.5, 1, (12, 3))
    flat = balanced_thickness(film(emitted), CHARGES, emitted)
    grid = balanced_thickness(film(emitted), CHARGES, emitted.reshape(3, 4, 3))
    np.testing.assert_array_equal(grid, flat.reshape(3, 4))
    one = balanced_thickness(film(emitted), CHARGES, emitted[0])
    assert one.shape == ()
    assert float(one) == pytest.approx(flat[0], nan_ok=True)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_balance__is_the_implicit_function(seed):
    """Changes of amounts and charges, thickness following, against the equation solved anew."""
    rng = np.random.default_rng(seed)
    atoms = rng.uniform(0.2, 2, 3)
    atoms[2] = (2 * atoms[0] + 3 * atoms[1]) / 2
    thickness = rng.uniform(5e-5, 2e-3)
    depth = thickness * DEPTH_PER_MASS
    emitted = (atoms * -np.expm1(-depth) / depth)[None]

    def solved(counts, charges):
        found = balanced_thickness(film(counts), charges, counts)
        return float(found[0]), film(counts)(found, np.array([0]))[0]

    h = 1e-6
    rise = film(emitted)(np.array([thickness * (1 + h)]), np.array([0]))
    fall = film(emitted)(np.array([thickness * (1 - h)]), np.array([0]))
    balance = Balance((rise - fall) / (2 * h * thickness), CHARGES)
    change = np.concatenate([np.diag(atoms), np.zeros((3, 1))], axis=1)[None]
    unbalanced = np.array([[0.0, 0.0, 0.0, atoms[1]]])  # the second cation's charge, by 1
    by_thickness = balance.thickness_by(change, unbalanced)
    by_amounts = balance.amounts_by(change, by_thickness)
    for i in range(4):
        ends = []
        for sign in (1, -1):
            counts, charges = emitted.copy(), CHARGES.copy()
            if i < 3:
                counts[0, i] *= 1 + sign * h
            else:
                charges[1] += sign * h
            ends.append(solved(counts, charges))
        slope = (ends[0][0] - ends[1][0]) / (2 * h)
        assert by_thickness[0, i] == pytest.approx(slope, rel=1e-4)
        slopes = (ends[0][1] - ends[1][1]) / (2 * h)
        np.testing.assert_allclose(by_amounts[0, :, i], slopes, rtol=1e-4, atol=1e-4)
