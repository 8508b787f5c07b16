"""Shares of a whole: values, slopes, covariances."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.makers.lines import lines_of

from eds_xr.composition.fractions import (
    atoms_of,
    by_error,
    check_composition,
    diagonal,
    propagated,
    shares,
    systematic_covariance,
    systematic_deviation,
)
from eds_xr.composition.quantify import quantify
from eds_xr.schema import EdsError

AMOUNTS = arrays(float, 4, elements=st.floats(0.1, 10))


@given(AMOUNTS, st.floats(0.01, 100))
def test_shares__do_not_depend_on_the_scale_and_their_slopes_leave_the_sum(amounts, scale):
    one, slope = shares(amounts, np.eye(4), np.ones(4))
    np.testing.assert_allclose(shares(scale * amounts, np.eye(4), np.ones(4))[0], one)
    assert one.sum() == pytest.approx(1)
    np.testing.assert_allclose(slope.sum(0), 0, atol=1e-9)  # what sums to 1 stays so
    np.testing.assert_allclose(slope @ amounts, 0, atol=1e-9)  # Euler: of degree zero


@given(AMOUNTS)
def test_shares__slopes_are_the_derivatives(amounts):
    parts, whole = np.array([[1.0, 2, 0, 0], [0, 0, 3, 1]]), np.array([1.0, 1, 2, 0.5])
    _, slope = shares(amounts, parts, whole)
    step = 1e-6 * np.eye(4)
    high, low = (shares(amounts + s * step, parts, whole)[0] for s in (1, -1))
    np.testing.assert_allclose(slope.T, (high - low) / 2e-6, atol=1e-5)


def test_shares__of_nothing_are_unknown_there_alone():
    found, _ = shares(np.array([[0.0, 0.0], [1.0, 3.0]]), np.eye(2), np.ones(2))
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], [0.25, 0.75])


def test_propagated__meets_monte_carlo():
    rng = np.random.default_rng(0)
    table = np.array([[4.0, 1.0], [1.0, 2.0]])
    slope = np.array([[1.0, -1.0], [0.5, 2.0]])
    draws = rng.multivariate_normal([0, 0], table, 100_000) @ slope.T
    np.testing.assert_allclose(propagated(slope, table), np.cov(draws.T), rtol=0.03)
    assert diagonal(np.array([[-1e-20, 0], [0, 2.0]])).tolist() == [0.0, 2.0]


def test_systematic_covariance__from_the_factors_where_nothing_else_is_there():
    table = xr.Dataset(
        {"k": ("line", [1.0, 1.3]), "standard_deviation": ("line", [0.05, 0.1])},
        {"line": ["Si_Ka", "Fe_Ka"]},
    )
    made = quantify(lines_of([300.0, 200.0], names=["Si_Ka", "Fe_Ka"]), table)
    whole = systematic_covariance(made, "atomic_fraction")
    bare = made.drop_vars([n for n in made if "systematic_" in n or n.endswith("by_error")])
    np.testing.assert_allclose(systematic_covariance(bare, "atomic_fraction"), whole)
    slope = by_error(made, "atomic_fraction")
    np.testing.assert_allclose(slope @ slope.T, whole)
    sd = systematic_deviation(made, "atomic_fraction")
    np.testing.assert_allclose(sd, np.sqrt(np.diag(whole)))
    assert systematic_deviation(bare.drop_vars("systematic"), "atomic_fraction") is None


def test_atoms_of__needs_several_elements_with_covariance():
    made = quantify(lines_of([300.0, 200.0], names=["Si_Ka", "Fe_Ka"]))
    names, values, spreads = atoms_of(made)
    assert names == ["Si", "Fe"]
    assert values.sum() == pytest.approx(1)
    assert set(spreads) == {"", "systematic_"}
    with pytest.raises(EdsError, match="expected a composition with covariance"):
        check_composition(made[["atomic_fraction"]])
    with pytest.raises(EdsError, match="found one: choose no element"):
        check_composition(made.sel(element="Si"))
