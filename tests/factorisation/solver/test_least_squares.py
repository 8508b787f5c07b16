"""Kernels of least squares are those of scipy and dense formulas."""

import numpy as np
from scipy.optimize import nnls
from support.known import even_scores, poisson_rows

from eds_xr.factorisation.solver import least_squares
from eds_xr.image import count_kernels


def test_frobenius_scores__equal_scipy():
    rows, loadings = poisson_rows()
    scores = even_scores(rows)
    least_squares.frobenius_scores(*count_kernels.compress(rows), loadings, scores)
    expected = [nnls(loadings.astype(float), row.astype(float))[0] for row in rows]
    np.testing.assert_allclose(scores, expected, atol=0.02)


def test_frobenius_sums__equal_dense_formulas():
    rows, loadings = poisson_rows()
    scores = even_scores(rows)
    cross, gram, square = least_squares.frobenius_sums(
        *count_kernels.compress(rows), len(loadings), scores
    )
    np.testing.assert_allclose(cross, rows.T.astype(float) @ scores, rtol=1e-6)
    np.testing.assert_allclose(gram, scores.T.astype(float) @ scores, rtol=1e-6)
    assert square == (rows.astype(float) ** 2).sum()


def test_frobenius_loadings__equal_scipy():
    rows, loadings = poisson_rows()
    scores = np.random.default_rng(3).gamma(1.0, 50, size=(len(rows), 3)).astype(np.float32)
    cross, gram, _ = least_squares.frobenius_sums(
        *count_kernels.compress(rows), len(loadings), scores
    )
    expected = [nnls(scores.astype(float), column.astype(float))[0] for column in rows.T]
    np.testing.assert_allclose(
        least_squares.frobenius_loadings(loadings, cross, gram, np.zeros(3, bool)),
        expected,
        atol=1e-3,
    )
    fixed = np.array([True, False, False])
    found = least_squares.frobenius_loadings(loadings, cross, gram, fixed)
    np.testing.assert_array_equal(found[:, 0], loadings[:, 0])
