"""Kernels of the Poisson likelihood are those of dense formulas."""

import numpy as np
import pytest
from scipy.optimize import minimize
from support.known import even_scores, poisson_rows

from eds_xr.factorisation.solver import poisson
from eds_xr.image import count_kernels


def half_deviance(w, row, loadings):
    model = np.maximum(loadings @ w, 1e-12)
    return model.sum() - (row * np.log(model)).sum()


def solved(rows: np.ndarray, loadings: np.ndarray, steps: int = 50) -> np.ndarray:
    scores = even_scores(rows)
    poisson.poisson_scores(*count_kernels.compress(rows), loadings, scores, steps)
    return scores


def test_poisson_scores__are_the_maximum_of_the_likelihood():
    rows, loadings = poisson_rows()
    for row, w in zip(rows.astype(float), solved(rows, loadings).astype(float), strict=True):
        found = minimize(
            half_deviance, w + 1, args=(row, loadings.astype(float)), bounds=[(0, None)] * 3
        )
        assert half_deviance(w, row, loadings) <= found.fun + 1e-3


def test_poisson_scores__give_back_all_counts():
    # at the maximum of the likelihood the model has as many counts as the pixel
    rows, loadings = poisson_rows()
    np.testing.assert_allclose(solved(rows, loadings).sum(1), rows.sum(1), rtol=1e-4)


def test_poisson_scores__of_an_empty_pixel_are_zero():
    rows, loadings = poisson_rows()
    rows[3] = 0
    scores = solved(rows, loadings)
    assert (scores[3] == 0).all()
    assert np.isfinite(scores).all()


def test_poisson_scores__improve_with_every_step():
    rows, loadings = poisson_rows(200, seed=1)
    totals = []
    for steps in range(10):
        scores = solved(rows, loadings, steps).astype(float)
        pairs = zip(scores, rows, strict=True)
        totals.append(sum(half_deviance(w, row, loadings) for w, row in pairs))
    assert (np.diff(totals[:5]) < 0).all()
    assert totals[-1] == pytest.approx(min(totals), abs=1e-2)


def random_scores(pixels: int) -> np.ndarray:
    return np.random.default_rng(2).gamma(1.0, 50, size=(pixels, 3)).astype(np.float32)


def test_poisson_step__equals_dense_formulas():
    rows, loadings = poisson_rows()
    scores = random_scores(len(rows))
    curvature, weights, likelihood = poisson.poisson_step(
        *count_kernels.compress(rows), loadings, scores.copy(), 0
    )
    model = scores.astype(float) @ loadings.T
    np.testing.assert_allclose(weights, scores.sum(0), rtol=1e-5)
    np.testing.assert_allclose(
        likelihood, (rows * np.log(np.where(rows, rows / model, 1))).sum(), rtol=1e-5
    )
    dense = np.einsum("ic,ip,iq->cpq", rows / model**2, scores, scores)
    np.testing.assert_allclose(curvature, dense[:, *np.tril_indices(3)], rtol=1e-4)


def test_poisson_step__moves_scores_like_poisson_scores():
    rows, loadings = poisson_rows()
    expected, found = even_scores(rows), even_scores(rows)
    poisson.poisson_scores(*count_kernels.compress(rows), loadings, expected, 3)
    poisson.poisson_step(*count_kernels.compress(rows), loadings, found, 3)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_poisson_scores__scale_with_the_signal(scale):
    rows, loadings = poisson_rows()
    found = solved(rows * np.float32(scale), loadings)
    np.testing.assert_allclose(found / scale, solved(rows, loadings), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("components", [1, 2, 5, 9])
def test_poisson_scores__of_any_number_of_components_give_back_all_counts(components):
    random = np.random.default_rng(components)
    loadings = random.gamma(0.5, size=(70, components))
    loadings = (loadings / loadings.sum(0)).astype(np.float32)
    rows = random.poisson(random.gamma(1.0, 60, size=(9, components)) @ loadings.T)
    scores = np.repeat(rows.sum(1, keepdims=True) / components, components, 1).astype(np.float32)
    poisson.poisson_scores(*count_kernels.compress(rows), loadings, scores, 50)
    np.testing.assert_allclose(scores.sum(1), rows.sum(1), rtol=1e-3)


def test_linear_scores__equal_a_dense_product():
    rows, _ = poisson_rows()
    weights = np.random.default_rng(4).normal(size=(3, rows.shape[1])).astype(np.float32)
    out = np.empty((len(rows), 3), np.float32)
    poisson.linear_scores(*count_kernels.compress(rows), weights, out)
    np.testing.assert_allclose(out, rows @ weights.T, rtol=1e-4, atol=1e-3)


def test_poisson_loadings__go_downhill():
    rows, truth = poisson_rows(200)
    loadings = (truth + 1 / len(truth)).astype(np.float32) / 2
    new, scores = stepped(rows, loadings, np.zeros(3, bool))

    def total(h):
        model = scores @ h.T
        return model.sum() - (rows * np.log(np.maximum(model, 1e-12))).sum()

    assert (new >= 0).all()
    assert total(new) < total(loadings)


def test_poisson_loadings__fixed_ones_stay():
    rows, truth = poisson_rows(200)
    loadings = (truth + 1 / len(truth)).astype(np.float32) / 2
    new, _ = stepped(rows, loadings, np.array([False, True, False]))
    np.testing.assert_array_equal(new[:, 1], loadings[:, 1])
    assert (new[:, 0] != loadings[:, 0]).any()


def test_poisson_loadings__come_back_from_zero():
    rows, truth = poisson_rows(200)
    loadings = truth.copy()
    loadings[7] = 0
    rows[:, 7] = 3
    new, _ = stepped(rows, loadings, np.zeros(3, bool))
    assert new[7].max() > 1e-3


def stepped(rows, loadings, fixed):
    scores = solved(rows, loadings)
    curvature, weights, _ = poisson.poisson_step(*count_kernels.compress(rows), loadings, scores, 0)
    return poisson.poisson_loadings(loadings, curvature, weights, fixed), scores
