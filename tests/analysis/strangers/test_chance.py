"""The chance of rare sums, against Poisson's distribution and against drawing."""

import numpy as np
import pytest
from scipy.stats import norm, poisson

from eds_xr.analysis.strangers.chance import as_sigma, log_chance
from eds_xr.analysis.strangers.kernels import as_normal


@pytest.mark.parametrize("mean", [0.01, 0.3, 3.0, 40.0])
@pytest.mark.parametrize("sigma", [3.0, 6.0, 9.0])
def test_log_chance__of_a_plain_count__is_poissons(mean, sigma):
    count = np.ceil(mean + sigma * np.sqrt(mean) + 1)
    found = log_chance(np.array([count - mean]), np.array([[mean]]), np.ones((1, 1)), np.ones(1))
    assert found[0] == pytest.approx(poisson.logsf(count - 1, mean), abs=np.log(2))


def test_log_chance__of_too_few__is_poissons():
    found = log_chance(np.array([-25.0]), np.array([[40.0]]), np.ones((1, 1)), np.ones(1))
    assert found[0] == pytest.approx(poisson.logcdf(15, 40.0), abs=np.log(2))


@pytest.mark.parametrize("mean", [2.0, 20.0])
def test_log_chance__of_weighted_counts__is_nearly_that_drawn(mean):
    """Far out, too: drawn with more counts where weights are large, each weighed by its ratio."""
    weights = np.concatenate([np.exp(-(np.linspace(-2, 2, 15) ** 2)), -0.2 * np.ones(30)])
    spectrum = np.ones(45) / 45
    rng = np.random.default_rng(1)
    tilt = {2.0: 2.5, 20.0: 1.5}[mean]
    rate, tilted = mean * spectrum, mean * spectrum * np.exp(tilt * weights)
    counts = rng.poisson(tilted, (400_000, 45))
    sums = counts @ weights - rate @ weights
    log_ratio = -tilt * (counts @ weights) + tilted.sum() - rate.sum()
    for x in np.quantile(sums, [0.3, 0.6, 0.9]):
        drawn = np.exp(log_ratio)[sums >= x].sum() / len(sums)
        found = log_chance(np.array([x]), np.array([[mean]]), spectrum[None], weights)[0]
        assert -0.1 < found - np.log(drawn) < np.log(2.2)
    assert found < np.log(1e-4)


def test_as_sigma__is_that_of_the_normal_distribution():
    np.testing.assert_allclose(as_sigma(norm.logsf([1.0, 5.0, 20.0, 37.0])), [1, 5, 20, 37])


def test_as_normal__of_few_counts():
    mean = np.array([0.5, 5.0, 200.0])
    count = np.array([6.0, 20.0, 280.0])
    z = [as_normal((n - m) / m**0.5, m**-0.5) for n, m in zip(count, mean, strict=True)]
    # half a count, as counts are whole
    np.testing.assert_allclose(z, norm.isf(poisson.sf(count - 1, mean)), atol=0.35)
    assert as_normal(-3.0, 1.0) == -3.0
