"""Tests of eds_xr.graph_cut."""

import itertools
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr.graph_cut import smooth
from eds_xr.schema import EdsError, phase_names


def probabilities(shape: tuple[int, ...], n: int = 2, seed: int = 0) -> xr.DataArray:
    values = np.random.default_rng(seed).dirichlet(np.full(n, 0.5), shape)
    dims = ("phase", *("frame", "y", "x")[-len(shape) :])
    coords = {"phase": ["Brg", "Fp", "Ca-Pv"][:n]}
    return xr.DataArray(np.moveaxis(values, -1, 0), dims=dims, coords=coords)


def energy(label: np.ndarray, p: np.ndarray, smoothness: float, neighbours: int) -> float:
    """E by its definition, pixel by pixel."""
    total = 0.0
    pixels = list(np.ndindex(label.shape))
    for (y, x), (v, u) in itertools.combinations(pixels, 2):
        distance = np.hypot(y - v, x - u)
        if distance < (1.1 if neighbours == 4 else 1.5):
            total += smoothness / distance * (label[y, x] != label[v, u])
    return total - sum(np.log(max(p[(label[i], *i)], 1e-6)) for i in pixels)


def least_energy(p: np.ndarray, smoothness: float, neighbours: int) -> float:
    shape = p.shape[1:]
    labelings = itertools.product(range(p.shape[0]), repeat=int(np.prod(shape)))
    return min(energy(np.reshape(c, shape), p, smoothness, neighbours) for c in labelings)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 999), smoothness=st.floats(0, 3), neighbours=st.sampled_from([4, 8]))
def test_smooth__two_phases_are_exact(seed: int, smoothness: float, neighbours: int) -> None:
    p = probabilities((3, 3), seed=seed)
    label = smooth(p, smoothness=smoothness, neighbours=neighbours)
    found = energy(label.values.astype(int) - 1, p.values, smoothness, neighbours)
    assert found == pytest.approx(least_energy(p.values, smoothness, neighbours), abs=1e-3)
    assert label.attrs["energy"] == pytest.approx(found, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_smooth__three_phases_near_the_minimum(seed: int) -> None:
    p = probabilities((2, 3), n=3, seed=seed)
    found = smooth(p, smoothness=0.7).attrs["energy"]
    assert found <= 1.02 * least_energy(p.values, 0.7, 8)


def test_smooth__three_phases_improve_on_the_most_probable() -> None:
    p = probabilities((20, 20), n=3)
    start = energy(p.values.argmax(axis=0), p.values, 1.0, 8)
    label = smooth(p)
    assert label.attrs["energy"] < 0.8 * start
    assert label.attrs["energy"] == pytest.approx(
        energy(label.values.astype(int) - 1, p.values, 1.0, 8), abs=1e-2
    )


def test_smooth__unused_third_phase_changes_nothing() -> None:
    p = probabilities((12, 12))
    with_none = xr.concat(
        [p, xr.zeros_like(p.isel(phase=[0])).assign_coords(phase=["none"])], "phase"
    )
    two, three = smooth(p), smooth(with_none)
    assert three.attrs["energy"] == pytest.approx(two.attrs["energy"], rel=2e-3)
    assert int(three.max()) == 2


def test_smooth__zero_smoothness_is_the_most_probable() -> None:
    p = probabilities((7, 9), n=3)
    np.testing.assert_array_equal(smooth(p, smoothness=0), p.argmax("phase") + 1)


def test_smooth__certain_pixels_are_harmless() -> None:
    p = xr.zeros_like(probabilities((6, 6)))
    p[0] = 1.0
    p[:, 3, 3] = [0.0, 1.0]  # one certain pixel among certain others: -ln 1e-6 = 13.8
    assert int((smooth(p, smoothness=1.0) == 2).sum()) == 1  # its border costs 4 + 4 / 1.41
    assert int((smooth(p, smoothness=2.5) == 2).sum()) == 0


def test_smooth__form_of_the_result() -> None:
    p = probabilities((5, 6)).assign_coords(y=np.arange(5) * 2.0)
    label = smooth(p.transpose("y", "x", "phase"))
    assert label.dims == ("y", "x")
    assert label.dtype == np.uint8
    assert phase_names(label) == ["Brg", "Fp"]
    np.testing.assert_array_equal(label, smooth(p))
    np.testing.assert_array_equal(label.y, p.y)


def test_smooth__eager_equals_lazy() -> None:
    p = probabilities((9, 9), n=3)
    np.testing.assert_array_equal(smooth(p.chunk(y=4, x=5)), smooth(p))


def test_smooth__line_scan_and_frames() -> None:
    p = probabilities((3, 4, 30))
    label = smooth(p)
    np.testing.assert_array_equal(label.isel(frame=1), smooth(p.isel(frame=1)))
    line = p.isel(frame=0, y=0)
    np.testing.assert_array_equal(smooth(line), smooth(p.isel(frame=0, y=[0])).isel(y=0, drop=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothness": -1.0}, "smoothness must be 0 to 1000"),
        ({"smoothness": float("nan")}, "smoothness must be 0 to 1000"),
        ({"neighbours": 6}, "neighbours must be 4 or 8, found 6"),
    ],
)
def test_smooth__refuses_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EdsError, match=message):
        smooth(probabilities((3, 3)), **options)


def test_smooth__refuses_what_is_no_probability() -> None:
    p = probabilities((3, 3))
    with pytest.raises(EdsError, match="sum to 1 over 'phase', found sums of 2"):
        smooth(2 * p)
    with pytest.raises(EdsError, match="NaN"):
        smooth(p.where(p < 0.5))
    with pytest.raises(EdsError, match="with a dimension 'phase'"):
        smooth(p.rename(phase="class"))
    with pytest.raises(EdsError, match="expected 2 to 255 phases, found 1"):
        smooth(p.isel(phase=[0]))
