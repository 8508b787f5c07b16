"""Tests of eds_xr.masks."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr import masks
from eds_xr.schema import EdsError, label_array, phase_names


def image(values: object, step: float = 2.0) -> xr.DataArray:
    array = np.asarray(values)
    coords = {"y": step * np.arange(array.shape[0]), "x": step * np.arange(array.shape[1])}
    return xr.DataArray(array, dims=("y", "x"), coords=coords)


def random_mask(seed: int = 0, share: float = 0.6) -> xr.DataArray:
    return image(np.random.default_rng(seed).random((30, 41)) < share)


def overlapped_scores(counts: float = 150.0, seed: int = 0) -> tuple[xr.DataArray, np.ndarray]:
    """Matrix with two kinds of grains and a needle; mixed scores, as NMF gives them; the truth.

    Truth: 1 pure matrix, 2 and 3 grains, 4 needle, 0 overlaps and faint rims.
    """
    y, x = np.mgrid[:96, :96]
    grain = 0.6 * np.clip((18 - np.hypot(y - 30, x - 30)) / 4, 0, 1)
    other = 0.5 * np.clip((14 - np.hypot(y - 60, x - 70)) / 3, 0, 1)
    needle = (np.abs(x - 12) < 5) & (y > 60)
    amounts = np.stack([1 - grain - other, grain, other])
    mixing = np.array([[0.7, 0.22, 0.08], [0.1, 0.9, 0.0], [0.2, 0.1, 0.7]])
    expected = np.einsum("kyx,kc->yxc", amounts, mixing)
    expected[needle] = [0.9, 0.02, 0.08]
    thickness = 1 + 0.3 * (y / 96)
    scores = np.random.default_rng(seed).poisson(counts * expected * thickness[..., None])
    truth = np.select(
        [needle, amounts[0] > 0.99, (grain > 0) & (other == 0), (other > 0) & (grain == 0)],
        [4, 1, 2, 3],
    )
    coords = {"component": ["Brg", "Fp", "Ca-Pv"]}
    return xr.DataArray(scores, dims=("y", "x", "component"), coords=coords), truth


def test_from_labels__one_mask_a_phase() -> None:
    label = image(np.array([[0, 1], [2, 2]], np.uint8))
    label = label_array(label.values, label, ["Brg", "Fp"])
    found = masks.from_labels(label)
    assert found.dims == ("phase", "y", "x")
    assert found.dtype == bool
    assert found.sel(phase="Fp").values.tolist() == [[False, False], [True, True]]
    assert masks.from_labels(label.chunk(y=1)).chunks is not None
    with pytest.raises(EdsError, match="labels must be integers"):
        masks.from_labels(label.astype(float))


@pytest.mark.parametrize("method", ["otsu", "isodata"])
def test_threshold__parts_two_populations(method: str) -> None:
    truth = random_mask(share=0.3)
    noise = np.random.default_rng(1).normal(0, 1, truth.shape)
    score = truth * 40.0 + noise
    found = masks.threshold(score, method=method)
    assert (found == truth).mean() > 0.995
    np.testing.assert_array_equal(masks.threshold(score.chunk(y=7), method=method), found)
    np.testing.assert_array_equal(found, score > found.attrs["threshold"])


def test_threshold__refuses() -> None:
    score = random_mask() * 1.0
    with pytest.raises(EdsError, match="method must be one of 'otsu'"):
        masks.threshold(score, method="best")
    with pytest.raises(EdsError, match="finite, varying values"):
        masks.threshold(score * 0)
    with pytest.raises(EdsError, match="finite, varying values"):
        masks.threshold(score.where(score > 0))


def test_overlap_and_exclude__part_a_mask() -> None:
    first, second = random_mask(0), random_mask(1)
    both, rest = masks.overlap(first, second), masks.exclude(first, second)
    np.testing.assert_array_equal(both | rest, first)
    assert not (both & rest).any()
    np.testing.assert_array_equal(both, first.values & second.values)


def test_overlap__refuses_other_grids() -> None:
    first = random_mask()
    with pytest.raises(EdsError, match="the second mask lies elsewhere along 'y'"):
        masks.overlap(first, first.assign_coords(y=first.y + 10))
    with pytest.raises(EdsError, match="masks must be boolean, found int64"):
        masks.exclude(first, first * 1)


def test_remove_small__keeps_what_is_large_enough() -> None:
    mask = image(np.zeros((9, 9), bool))
    mask[0, 0] = mask[1, 1] = True  # two pixels that touch by a corner
    mask[5:8, 5:8] = True
    assert int(masks.remove_small(mask, min_pixels=2).sum()) == 11
    assert int(masks.remove_small(mask, min_pixels=3).sum()) == 9
    assert int(masks.remove_small(mask, min_pixels=10).sum()) == 0


def test_remove_small__eager_equals_lazy_phase_by_phase() -> None:
    both = xr.concat([random_mask(0, 0.3), random_mask(1, 0.3)], "phase")
    lazy = masks.remove_small(both.chunk(phase=1, y=8, x=9), min_pixels=4)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, masks.remove_small(both, min_pixels=4))
    np.testing.assert_array_equal(
        lazy.isel(phase=1), masks.remove_small(both.isel(phase=1), min_pixels=4)
    )


@settings(max_examples=15)
@given(y=st.integers(1, 30), x=st.integers(1, 41), pixels=st.integers(0, 6))
def test_erode__no_seams(y: int, x: int, pixels: int) -> None:
    mask = random_mask(share=0.98)
    eager = masks.erode(mask, pixels=pixels)
    np.testing.assert_array_equal(masks.erode(mask.chunk(y=y, x=x), pixels=pixels), eager)
    assert not (eager & ~mask).any()


def test_erode__takes_a_disk_off_and_goes_on_beyond_the_border() -> None:
    mask = image(np.ones((11, 11), bool))
    mask[5, 5] = False
    eroded = masks.erode(mask, pixels=2)
    y, x = np.mgrid[:11, :11]
    np.testing.assert_array_equal(~eroded, np.hypot(y - 5, x - 5) <= 2)
    with pytest.raises(EdsError, match="0 or more"):
        masks.erode(mask, pixels=-1)


def test_from_rectangle__pixels_and_refusal() -> None:
    like = random_mask()
    found = masks.from_rectangle(like, y_pixels=(2, 5), x_pixels=(0, 41))
    assert found.dims == ("y", "x")
    assert found.values[2:5].all()
    assert int(found.sum()) == 3 * 41
    np.testing.assert_array_equal(found.y, like.y)
    with pytest.raises(EdsError, match="x_pixels must rise within 0 to 41"):
        masks.from_rectangle(like, y_pixels=(2, 5), x_pixels=(0, 42))


def test_describe__sizes_and_shares() -> None:
    both = xr.concat([random_mask(0), ~random_mask(0)], "phase")
    found = masks.describe(both.chunk(y=9))
    assert found.n_pixels.chunks is not None
    assert int(found.n_pixels.sum()) == 30 * 41
    assert float(found.fraction.sum()) == pytest.approx(1)
    assert int(found.n_pixels[0]) == int(random_mask(0).sum())


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


def test_inner_square__lies_in_the_mask():
    mask = xr.DataArray(np.zeros((90, 80), bool), dims=("y", "x"))
    mask[20:70, 30:75] = True
    square = masks.inner_square(mask, pixels=30)
    assert int(square.sum()) == 900
    assert bool((square <= mask).all())


def test_tiles__are_the_mask_cut_up():
    mask = xr.DataArray(np.random.default_rng(0).random((41, 30)) < 0.4, dims=("y", "x"))
    parts = masks.tiles(mask, per_side=3, min_share=0)
    assert parts.sizes["phase"] == 9
    np.testing.assert_array_equal(parts.sum("phase"), mask.astype(int))


def test_tiles__small_parts_are_left_out():
    mask = xr.DataArray(np.zeros((40, 40), bool), dims=("y", "x"))
    mask[:20], mask[39, 39] = True, True
    assert list(masks.tiles(mask, per_side=2).phase.values) == ["0,0", "0,1"]


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


@pytest.mark.parametrize("lazy", [False, True])
def test_fill_holes__fills_small_enclosed_gaps_only(lazy):
    image = ["11111111", "10111011", "11100011", "11111111", "01111101", "01111001"]
    values = np.array([[c == "1" for c in row] for row in image])
    mask = xr.DataArray(np.stack([values, ~values]), dims=("phase", "y", "x"))
    mask = mask.chunk(y=2, x=3) if lazy else mask
    found = masks.fill_holes(mask, max_pixels=1)
    filled = values.copy()
    filled[1, 1] = True
    np.testing.assert_array_equal(found[0], filled)
    np.testing.assert_array_equal(found[1], ~values)  # what is outside reaches the border
    filled[1, 5] = filled[2, 3:6] = True
    np.testing.assert_array_equal(masks.fill_holes(mask, max_pixels=4)[0], filled)
