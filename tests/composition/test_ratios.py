"""Ratios of elements, with what the errors of both have in common."""

import numpy as np
import pytest
import xarray as xr
from support.makers.lines import lines_of as made_lines

from eds_xr import k_factors as kf
from eds_xr.composition.quantify import quantify
from eds_xr.composition.ratios import ratio
from eds_xr.schema import EdsError

NAMES = ["Mg_Ka", "Si_Ka", "Fe_Ka"]
K = {"Mg_Ka": 1.1, "Si_Ka": 1.0, "Fe_Ka": 1.3}


def lines_of(net, covariance=None, names=NAMES):
    return made_lines(net, covariance, names)


def table_of(k, relative):
    return kf.k_factors(k, {n: v * r for (n, v), r in zip(k.items(), relative, strict=True)})


def test_ratio__variance_meets_monte_carlo():
    rng = np.random.default_rng(1)
    net = np.array([3000.0, 2500.0, 400.0])
    covariance = np.array([[3200.0, -900, 0], [-900, 2700, 400], [0, 400, 700]])
    expected = ratio(quantify(lines_of(net, covariance)), "Fe", other="Si")
    draws = rng.multivariate_normal(net, covariance, 20_000)
    many = quantify(lines_of(draws, np.broadcast_to(covariance, (20_000, 3, 3))))
    values = ratio(many, "Fe", other="Si").ratio
    assert float(values.std()) == pytest.approx(float(expected.variance) ** 0.5, rel=0.03)
    assert float(values.mean()) == pytest.approx(float(expected.ratio), rel=0.01)


def test_ratio__does_not_depend_on_the_other_elements():
    covariance = np.diag([300.0, 200, 100, 50.0]) + 7
    lines = lines_of([300.0, 200, 100, 50], covariance, ["Mg_Ka", "Si_Ka", "Fe_Ka", "Ca_Ka"])
    all_four = ratio(quantify(lines), "Fe", other="Si")
    two = ratio(quantify(lines, exclude=("Mg", "Ca")), "Fe", other="Si")
    own = ["ratio", "variance", "systematic_variance", "effect_variance"]
    xr.testing.assert_allclose(all_four[own], two[own])


def test_ratio__has_the_errors_of_two_k_factors():
    lines, relative = lines_of([300.0, 200.0, 100.0]), (0.3, 0.1, 0.05)
    found = ratio(quantify(lines, table_of(K, relative)), "Fe", other="Si")
    spread = float(found.systematic_variance) ** 0.5
    assert spread == pytest.approx(float(found.ratio) * np.hypot(0.1, 0.05))


def test_ratio__of_an_element_to_itself_is_certain():
    one = ratio(quantify(lines_of([300.0, 200.0, 100.0])), "Si", other="Si")
    assert float(one.ratio) == 1
    assert float(one.variance) == pytest.approx(0, abs=1e-18)


def test_ratio__to_nothing_is_unknown():
    lines = lines_of([[300.0, 200.0, 0.0], [300.0, 200.0, 30.0]], np.stack([np.eye(3)] * 2))
    found = ratio(quantify(lines), "Si", other="Fe").ratio
    assert np.isnan(found).values.tolist() == [True, False]


def test_ratio__errors():
    with pytest.raises(EdsError, match="Ca is not in the composition"):
        ratio(quantify(lines_of([300.0, 200.0, 100.0])), "Ca", other="Si")
