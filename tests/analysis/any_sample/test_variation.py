"""Errors that come from what phases vary from place to place."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.analysis.any_sample.variation import overlaps, with_place_variation

LINES = ["Br_La", "Pb_La"]


def _lines(names: list[str], net: np.ndarray) -> xr.Dataset:
    """Return lines of spectra by name, of counts that scatter as counts do."""
    coords = {"phase": names, "line": LINES, "line_other": LINES}
    covariance = net[:, :, None] * np.eye(2)
    both = ("phase", "line", "line_other")
    return xr.Dataset(
        {
            "net": (both[:2], net),
            "variance": (both[:2], net),
            "covariance": (both, covariance),
            "effect_covariance": (("effect", *both), covariance[None]),
        },
        coords | {"effect": ["counting"]},
    )


def _varied(deviation: float) -> xr.Dataset:
    """Return the lines of a phase whose bromine differs so much, relatively, from tile to tile."""
    lines = _lines(["halide"], np.array([[4e5, 8e5]]))
    steps = 1 + deviation * np.array([-1.2, -0.6, -0.1, 0.1, 0.6, 1.2, -1.2, 1.2])
    tiles = _lines([str(i) for i in range(8)], np.stack([5e4 * steps, np.full(8, 1e5)], 1))
    half = np.zeros((8, 8), bool)
    half[:, :4] = True  # eight of the sixteen tiles
    masks = xr.DataArray(half[None], {"phase": ["halide"]}, ("phase", "y", "x"))
    pure = xr.Dataset({"n_pixels": ("phase", [32])}, {"phase": ["halide"]})
    return with_place_variation(lines, pure, [], {}, {"halide": tiles}, masks)


def test_with_place_variation__a_phase_is_known_as_well_as_its_places_agree() -> None:
    found = _varied(0.1)
    added = found.matrix_variance.sel(phase="halide")
    spread = 4e5 * np.std(0.1 * np.array([-1.2, -0.6, -0.1, 0.1, 0.6, 1.2, -1.2, 1.2]), ddof=1)
    assert float(added.sel(line="Br_La")) == pytest.approx(spread**2 / 8, rel=0.05)
    assert float(added.sel(line="Pb_La")) == 0  # to which all are compared
    np.testing.assert_allclose(found.place_variance[0], 8 * added)
    np.testing.assert_allclose(found.effect_covariance.sum("effect"), found.covariance)
    chosen = found.effect_covariance.sel(effect="selection", line="Br_La", line_other="Br_La")
    np.testing.assert_allclose(chosen, added[:1])  # other pixels would have given another number
    np.testing.assert_allclose(found.selection_variance, found.matrix_variance)
    np.testing.assert_allclose(found.variance, [[4e5 + float(added[0]), 8e5]])


def test_with_place_variation__nothing_where_places_agree() -> None:
    np.testing.assert_allclose(_varied(1e-4).matrix_variance, 0.0)


def test_overlaps__counts_of_others_where_a_phase_is_present() -> None:
    names = {"phase": ["a", "b"]}
    present = np.zeros((2, 4, 4), bool)
    present[0, :3], present[1, 2:] = True, True
    segmentation = xr.Dataset({"present": (("phase", "y", "x"), present)}, names)
    amounts = xr.DataArray(np.where(present, 10.0, 0.0), names, ("phase", "y", "x"))
    found = overlaps(segmentation, amounts.transpose("y", "x", "phase"))
    assert found.dims == ("phase", "phase_other")
    np.testing.assert_allclose(found, [[0.0, 40.0], [40.0, 0.0]])
