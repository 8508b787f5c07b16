"""Upper limits and intervals of ratios hold as often as they say."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr.composition.limits import (
    as_text,
    limit_sigma,
    limits_of,
    quantile,
    ratio_interval,
    upper_limit,
)


def covered(a, b, variances, truth, confidence):
    low, high = ratio_interval(a, b, variances, quantile(confidence))
    return np.mean((low <= truth) & (truth <= high))


@pytest.mark.parametrize("significance", [30.0, 4.0, 1.5])
@pytest.mark.parametrize("correlation", [0.0, -0.6])
@pytest.mark.parametrize("truth", [0.0, 0.05, 2.0])
def test_interval__covers_as_often_as_it_says(significance, correlation, truth):
    """68 +- 4 % and 95 +- 2 %, however insignificant the divisor is."""
    sd_b, b = 1 / significance, 1.0
    sd_a = 0.2
    both = correlation * sd_a * sd_b
    table = [[sd_a**2, both], [both, sd_b**2]]
    draws = np.random.default_rng(0).multivariate_normal([truth * b, b], table, 20_000)
    variances = tuple(np.full(len(draws), v) for v in (sd_a**2, sd_b**2, both))
    for confidence, tolerance in ((0.68, 0.04), (0.95, 0.02)):
        found = covered(*draws.T, variances, truth, confidence)
        # an interval without an end holds more than its share of what is no ratio at all
        above = 0.33 if significance < 4 else tolerance
        assert confidence - tolerance < found < confidence + above


def test_interval__first_order_where_errors_are_small():
    a, b = np.array([2.0]), np.array([1.0])
    low, high = ratio_interval(a, b, (np.array([1e-6]), np.array([1e-6]), np.zeros(1)), 1.0)
    assert high[0] - 2 == pytest.approx(np.sqrt(5e-6), rel=0.01)
    assert 2 - low[0] == pytest.approx(np.sqrt(5e-6), rel=0.01)


def test_interval__no_upper_end_without_a_significant_divisor():
    low, high = ratio_interval(
        np.array([5.0, 0.1]), np.array([1.0, 0.1]), (np.ones(2), np.ones(2), np.zeros(2)), 1.96
    )
    assert np.isinf(high).all()
    assert low[0] > 0  # much over little: it is large
    assert low[1] < 0  # little over little: it can be anything


def test_upper_limit__holds_at_least_as_often_and_is_never_negative():
    rng = np.random.default_rng(3)
    for truth in (0.0, 0.1, 1.0):
        a = rng.normal(truth, 0.3, 20_000)
        b = rng.normal(1, 0.1, 20_000)
        sigma = limit_sigma(a, np.full(a.size, 0.3), 0.95)
        limit = ratio_interval(
            a, b, (np.full(a.size, 0.09), np.full(a.size, 0.01), np.zeros(a.size)), sigma
        )[1]
        assert (limit >= truth).mean() >= 0.945
        assert (limit > 0).all()


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("truth", [0.0, 0.3, 1.0, 2.0, 5.0])
def test_upper_limit__holds_at_least_as_often_as_it_says(truth, confidence):
    draws = np.random.default_rng(0).normal(truth, 1, 20_000)
    share = (upper_limit(draws, np.ones(draws.size), confidence) >= truth).mean()
    assert share > confidence - 0.005
    if truth == 5:  # far from zero it is the usual one-sided limit
        assert share < confidence + 0.005


@settings(max_examples=200)
@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e3), st.floats(0.5, 0.999))
def test_upper_limit__is_above_the_value_and_never_negative(value, sd, confidence):
    limit = float(upper_limit(np.array(value), np.array(sd), confidence))
    assert limit >= max(value, 0)
    assert np.isfinite(limit)


def test_upper_limit__is_the_posteriors_quantile():
    value, sd = -0.7, 1.3
    limit = float(upper_limit(np.array(value), np.array(sd), 0.95))
    grid = np.linspace(0, 20, 2_000_001)
    posterior = np.exp(-0.5 * ((grid - value) / sd) ** 2)
    below = np.cumsum(posterior) / posterior.sum()
    assert limit == pytest.approx(grid[np.searchsorted(below, 0.95)], abs=1e-4)


@pytest.mark.parametrize(("coverage", "sigma"), [(0.6826895, 1.0), (0.9544997, 2.0), (0.0, 0.0)])
def test_quantile__of_the_normal_distribution(coverage, sigma):
    assert quantile(coverage) == pytest.approx(sigma, abs=1e-6)


def test_limits_of__counts_by_chance_few_have_the_noise_of_a_blank():
    """Counts of 1 +- 1 above a background of some hundreds: the blank's error is 20."""
    values = {"net": 1.0, "variance": 1.0, "critical_level": 1.645 * 20}
    lines = xr.Dataset({n: ("line", [v]) for n, v in values.items()})
    found = limits_of(lines, "net", 0.95)
    assert not found.detected.item()
    assert found.upper_limit.item() == pytest.approx(upper_limit(1.0, 20.0, 0.95))


def test_limits_of__takes_the_datasets_own():
    own = {"q": 1.0, "q_variance": 1.0, "q_detected": True, "q_upper_limit": 7.5}
    found = limits_of(xr.Dataset(own), "q", 0.95)
    assert found.upper_limit == 7.5
    assert found.detected


def test_as_text__detected_below_and_open():
    part = {
        "q": [3.0, 0.1, 5.0, 5.0], "q_variance": [0.01, 0.25, 9.0, 9.0],
        "q_detected": [True, False, True, False],
        "q_upper_limit": [3.2, 1.03, np.inf, np.inf], "q_lower_limit": [2.8, -1, 1.29, 1.29],
    }  # fmt: skip
    data = xr.Dataset({name: ("element", values) for name, values in part.items()})
    assert as_text(data, "q", 0.95, 1.0).values.tolist() == ["3.00(10)", "< 1.1", "> 1.2", "-"]
    assert as_text(data, "q", 0.95, 100.0).values.tolist()[:2] == ["300(10)", "< 110"]
