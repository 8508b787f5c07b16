"""Errors that come from the matrix's variation."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.analysis.deep_mantle.matrix_errors import with_matrix_variation
from eds_xr.analysis.deep_mantle.steps import GRAINS, MATRIX, PHASES

LINES = ["Mg_Ka", "Si_Ka", "Nd_La"]


def lines_of(net, phases):
    net = np.asarray(net, float)
    covariance = np.abs(net)[..., None] * np.eye(len(LINES))
    coords = {"phase": list(phases), "line": LINES, "line_other": LINES}
    return xr.Dataset(
        {
            "net": (("phase", "line"), net),
            "variance": (("phase", "line"), np.abs(net)),
            "covariance": (("phase", "line", "line_other"), covariance),
        },
        coords,
    )


def varied(spread):
    """Return lines with the errors of a matrix whose Nd varies by `spread` from tile to tile."""
    rng = np.random.default_rng(1)
    tiles = np.tile([3e5, 3e5, 3e4], (16, 1))
    tiles[:, 2] *= 1 + spread * rng.normal(size=16)
    names = [MATRIX, *(f"{g}+{MATRIX}" for g in GRAINS)]
    masks = xr.DataArray(np.ones((3, 64, 64), bool), {"phase": names}, ("phase", "y", "x"))
    lines = lines_of([[5e6, 5e6, 5e5], [1e5, 0, 1e3], [0, 1e5, 2e3]], PHASES)
    pure = xr.Dataset(
        {"n_pixels": ("phase", [4000, 100, 100]), "scale": ("phase", [0.0, 0.5, 0.8])},
        {"phase": list(PHASES)},
    )
    return lines, with_matrix_variation(lines, pure, lines_of(tiles, range(16)), masks)


def test_with_matrix_variation__is_shown_and_added():
    before, after = varied(0.1)
    added = after.matrix_variance
    np.testing.assert_allclose(after.variance, before.variance + added)
    diagonal = np.diagonal(after.covariance.values, axis1=-2, axis2=-1)
    np.testing.assert_allclose(diagonal, after.variance)
    assert float(added.sel(phase=MATRIX, line="Nd_La")) > 10 * float(
        added.sel(phase=MATRIX, line="Mg_Ka")
    )


def test_with_matrix_variation__grows_with_the_square_and_vanishes_without_any():
    (_, one), (_, two), (_, none) = varied(0.1), varied(0.2), varied(0.0)
    at = {"phase": MATRIX, "line": "Nd_La"}
    rate = float(two.matrix_variance.sel(at)) / float(one.matrix_variance.sel(at))
    assert rate == pytest.approx(4, rel=0.1)
    assert float(none.matrix_variance.max()) == pytest.approx(0, abs=1e-6)


def test_with_matrix_variation__a_grain_has_the_error_of_what_was_subtracted():
    """More matrix subtracted, more of its variation: as the square of the scale."""
    _, after = varied(0.1)
    fp, ca = (float(after.matrix_variance.sel(phase=g, line="Nd_La")) for g in GRAINS)
    assert ca / fp == pytest.approx((0.8 / 0.5) ** 2, rel=0.01)
