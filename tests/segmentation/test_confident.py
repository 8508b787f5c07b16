"""Tests of confident pixels and of the significance of scores."""

import numpy as np
import pytest
import xarray as xr
from support.masks import overlapped_scores

from eds_xr import masks
from eds_xr.schema import EdsError, phase_names


@pytest.mark.parametrize("counts", [40.0, 150.0, 400.0])
def test_confident_pixels__paints_the_truth(counts: float) -> None:
    scores, truth = overlapped_scores(counts)
    painted = masks.confident_pixels(scores).values
    assert (truth[painted == 1] == 1).mean() > 0.995
    for phase in (2, 3):
        assert (truth[painted == phase] == phase).mean() > 0.75  # smoothing blurs the rims
        assert (painted[truth == phase] == phase).mean() > 0.5
    assert (painted[truth == 1] == 1).mean() > 0.4


def test_confident_pixels__needle_is_neither_matrix_nor_grain() -> None:
    scores, truth = overlapped_scores()
    painted = masks.confident_pixels(scores)
    assert phase_names(painted) == ["Brg", "Fp", "Ca-Pv", "other"]
    assert (painted.values[truth == 4] == 1).mean() < 0.02
    assert (painted.values[truth == 4] == 4).mean() > 0.8


def test_confident_pixels__lazy_and_chunk_independent() -> None:
    scores, _ = overlapped_scores()
    lazy = masks.confident_pixels(scores.chunk(y=17, x=31, component=2))
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, masks.confident_pixels(scores))


def test_confident_pixels__bears_negative_noise() -> None:
    scores, truth = overlapped_scores()
    share = xr.DataArray([0.0, 0.22 / 0.7, 0.08 / 0.7], dims="component")
    painted = masks.confident_pixels(scores - share * scores.isel(component=0, drop=True)).values
    assert (truth[painted == 1] == 1).mean() > 0.99


def test_confident_pixels__line_scan() -> None:
    scores, _ = overlapped_scores(2000)
    line = masks.confident_pixels(scores.isel(y=30), smoothing_pixels=1)
    assert line.dims == ("x",)
    assert int(line[30]) == 2
    assert int(line[80]) in (0, 1)


def test_confident_pixels__refuses() -> None:
    scores, _ = overlapped_scores()
    with pytest.raises(EdsError, match="matrix must be one of 'Brg'"):
        masks.confident_pixels(scores, matrix="Al")
    with pytest.raises(EdsError, match="matrix must be 0 to 2"):
        masks.confident_pixels(scores, matrix=3)
    with pytest.raises(EdsError, match="expected 3 different names"):
        masks.confident_pixels(scores, phases=["a", "b"])
    with pytest.raises(EdsError, match="at least two components, found 1"):
        masks.confident_pixels(scores.isel(component=[0]))
    with pytest.raises(EdsError, match="0 < inside < outside"):
        masks.confident_pixels(scores, inside=6)
    with pytest.raises(EdsError, match="hold NaN"):
        masks.confident_pixels(scores.where(scores > 0))
    with pytest.raises(EdsError, match="mean sum of 0"):
        masks.confident_pixels(0 * scores)


def test_significance__is_a_standard_normal_where_there_is_nothing():
    random = np.random.default_rng(1)
    scores = random.normal([100, 0, 0], [10, 5, 5], size=(120, 120, 3)).astype("f4")
    scores[40:80, 40:80, 1] += 60
    scores = xr.DataArray(scores, dims=("y", "x", "component"), coords={"component": list("abc")})
    core = xr.DataArray(np.ones((120, 120), bool), dims=("y", "x"))
    core[30:90, 30:90] = False
    z = masks.significance(scores, core)
    inside = z.values[core.values]
    assert abs(np.median(inside[:, 2])) < 0.1
    assert 0.9 < inside[:, 2].std() < 1.1
    assert (z.sel(component="b")[45:75, 45:75] > 8).all()


def test_significance__empty_core():
    scores = xr.DataArray(np.ones((4, 4, 2)), dims=("y", "x", "component"))
    core = xr.DataArray(np.zeros((4, 4), bool), dims=("y", "x"))
    with pytest.raises(EdsError, match="core is empty"):
        masks.significance(scores, core)


def test_commonest_ratio__is_that_of_grains_alone():
    """A third of the grain is overlapped by another; its own ratio is found all the same."""
    random = np.random.default_rng(2)
    own = random.normal(80, 4, size=(60, 60))
    other = 0.25 * own + random.normal(0, 4, size=(60, 60))
    other[:20] += random.uniform(10, 80, size=(20, 60))
    rest = np.full((60, 60), 100.0)
    scores = xr.DataArray(
        np.stack([rest, other, own], axis=-1),
        dims=("y", "x", "component"),
        coords={"component": ["Brg", "Fp", "Ca-Pv"]},
    )
    everywhere = xr.DataArray(np.ones((60, 60), bool), dims=("y", "x"))
    ratio = masks.commonest_ratio(scores, "Ca-Pv", everywhere)
    assert float(ratio.sel(component="Fp")) == pytest.approx(0.25, abs=0.03)
    assert float(ratio.sel(component="Ca-Pv")) == 0
