"""Tests of eds_xr.masks."""

import numpy as np
import pytest
import xarray as xr
from support.masks import image, random_mask

from eds_xr import masks
from eds_xr.schema import EdsError, label_array


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


def test_tiles__of_a_lazy_mask_are_the_same_in_few_tasks():
    mask = xr.DataArray(np.random.default_rng(0).random((41, 30)) < 0.4, dims=("y", "x"))
    parts = masks.tiles(mask.chunk(y=5, x=5))
    xr.testing.assert_identical(parts.compute(), masks.tiles(mask))
    assert len(dict(parts.data.__dask_graph__())) <= 8 * mask.chunk(y=5, x=5).data.npartitions
    sizes = masks.pixels_of_tiles(mask)
    np.testing.assert_array_equal(sizes, parts.sum(("y", "x")))


def test_tiles__small_parts_are_left_out():
    mask = xr.DataArray(np.zeros((40, 40), bool), dims=("y", "x"))
    mask[:20], mask[39, 39] = True, True
    assert list(masks.tiles(mask, per_side=2).phase.values) == ["0,0", "0,1"]
