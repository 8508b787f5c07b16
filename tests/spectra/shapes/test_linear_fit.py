"""What ``fit_lines`` can fit beside families on a flexible background, and what it leaves."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from support.line_spectra import (
    ELEMENTS,
    METHODS,
    STRAY,
    TRUE_AXIS,
    as_spectra,
    draw,
    mean_counts,
    only_amounts,
)

from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.shapes.linear_fit import (
    poisson_likelihood,
    smooth_variance,
    weighted_least_squares,
)

# -- Poisson's likelihood ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("n_counts", [300, 3000])
def test_fit_lines__likelihood_is_unbiased_where_counts_are_few(n_counts):
    mean = mean_counts(n_counts)
    options = {"stray": STRAY, "calibration": TRUE_AXIS, "method": "poisson"}
    true = fit_lines(as_spectra(mean), ELEMENTS, **options).net
    draws = xr.concat([draw(mean, s).counts for s in range(60)], "draw")
    with only_amounts():
        found = fit_lines(as_spectra(draws), ELEMENTS, **options)
    scatter = found.net.std("draw")
    bias = (found.net.mean("draw") - true) / scatter
    assert np.abs(bias).max() < 0.5  # of 30 means, each +- 0.13
    assert abs(float(bias.mean())) < 0.1
    stated = found.variance.mean("draw") ** 0.5
    assert 0.85 < float((scatter / stated).mean()) < 1.05


def test_fit_lines__likelihood_meets_least_squares_where_counts_are_many():
    spectra = draw(mean_counts(1e6), 0)
    a, b = (fit_lines(spectra, ELEMENTS, stray=STRAY, method=m) for m in METHODS)
    assert (abs(a.net - b.net) < 0.1 * a.variance**0.5).all()
    assert float(b.reduced_chi2.max()) < 1.2


def test_fit_lines__likelihood_is_the_greatest():
    spectra = draw(mean_counts(3e4).isel(phase=0), 3)
    logs = {}
    for method in METHODS:
        lines = fit_lines(spectra, ELEMENTS, stray=STRAY, calibration=TRUE_AXIS, method=method)
        counts = spectra.counts.sel(energy=lines.energy)
        assert float(lines.model.min()) > 0
        logs[method] = float((counts * np.log(lines.model) - lines.model).sum())
    assert logs["poisson"] > logs["least_squares"]
    assert float(lines.model.sum()) == pytest.approx(float(counts.sum()), abs=2)


def test_fit_lines__likelihood_expects_no_negative_counts():
    for seed in range(5):
        spectra = draw(mean_counts(100), seed)
        lines = fit_lines(spectra, ELEMENTS, stray=STRAY, calibration=TRUE_AXIS, method="poisson")
        assert float(lines.model.min()) > 0
        assert float(lines.net.min()) < 0  # amounts may be negative, so they are not biased


@pytest.mark.parametrize("change", ["scaled", "subtracted", "negative"])
def test_fit_lines__likelihood_refuses_what_are_no_counts(change):
    spectra = draw(mean_counts(1e4).isel(phase=0), 0)
    made = {
        "scaled": as_spectra(2 * spectra.counts, 4 * spectra.counts),
        "subtracted": as_spectra(spectra.counts - 1, spectra.counts + 1),
        "negative": as_spectra(-spectra.counts, spectra.counts),
    }
    with pytest.raises(EdsError, match='use method="least_squares"'):
        fit_lines(made[change], ELEMENTS, method="poisson")


# -- backgrounds ---------------------------------------------------------------------------------


# -- escape and sum peaks ------------------------------------------------------------------------


# -- what is left --------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000))
def test_weighted_least_squares__is_the_textbook_solution(seed):
    rng = np.random.default_rng(seed)
    design, variance = rng.random((30, 4)) * [1, 1e-6, 1e3, 1], rng.uniform(0.5, 50, 30)
    values = rng.normal(size=30)
    amounts, covariance = weighted_least_squares(design, values, variance)
    expected = np.linalg.inv(design.T @ (design / variance[:, None]))
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(covariance / size, expected / size, atol=1e-5)
    gradient = design.T @ ((values - design @ amounts) / variance)
    np.testing.assert_allclose(gradient / np.linalg.norm(design, axis=0), 0, atol=1e-8)


@given(level=st.floats(0.5, 1e4))
def test_poisson_likelihood__of_exact_counts_is_the_truth(level):
    design = np.stack([np.ones(50), np.exp(-0.5 * ((np.arange(50) - 25) / 3) ** 2)], axis=1)
    found = poisson_likelihood(design, level * design @ [1.0, 5.0], np.array([level, level]))
    np.testing.assert_allclose(found, [level + 1e-3, 5 * level], rtol=1e-3)


@given(st.lists(st.integers(0, 3), min_size=20, max_size=60))
def test_smooth_variance__is_nowhere_zero(counts):
    found = smooth_variance(np.array(counts))
    assert (found > 0).all()
    assert found.sum() <= sum(counts) * 2.5 + 1.1  # edges are repeated, nothing else is added
