"""Tests of small regions, holes and erosion."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.masks import image, random_mask

from eds_xr import masks
from eds_xr.schema import EdsError


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


@pytest.mark.slow
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
