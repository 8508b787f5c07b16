"""Axes and dtypes of sums."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.axes import binned_coord, energy_step, mean_step, sum_dtype


@given(dtype=st.sampled_from(["u1", "u2", "u4"]), number=st.integers(1, 2**31))
def test_sum_dtype__holds_the_largest_sum_and_no_smaller_one_does(dtype, number):
    largest = int(np.iinfo(dtype).max) * number
    found = sum_dtype(np.dtype(dtype), number)
    assert found.kind == "u"
    assert found.num == np.dtype(found.name).num  # of two types of 64 bits, the one Zarr takes
    assert np.iinfo(found).max >= largest
    assert found.itemsize == 1 or np.iinfo(f"u{found.itemsize // 2}").max < largest


def test_sum_dtype__of_signed_and_real_numbers():
    assert sum_dtype(np.dtype("i2"), 4) == np.int64
    assert sum_dtype(np.dtype("f4"), 4) == np.float32
    assert sum_dtype(np.dtype("u8"), 4) == np.uint64  # the widest there is


@given(size=st.integers(1, 20), factor=st.integers(1, 8), step=st.floats(0.01, 5))
def test_binned_coord__of_an_axis_are_centres_of_full_bins(size, factor, step):
    coord = (
        xr.DataArray(3 + step * np.arange(size), dims="y", name="y", attrs={"units": "nm"})
        .assign_coords(y=3 + step * np.arange(size))
        .y
    )
    found = binned_coord(coord.assign_attrs(units="nm"), {"y": factor})
    assert found.size == -(-size // factor)
    expected = 3 + (step if size > 1 else 0) * ((factor - 1) / 2 + factor * np.arange(found.size))
    np.testing.assert_allclose(found, expected)
    assert found.attrs == {"units": "nm"}


def test_binned_coord__of_an_image_are_means_and_others_stay():
    haadf = xr.DataArray([[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]], dims=("y", "x"), name="haadf")
    found = binned_coord(haadf, {"y": 2, "x": 2, "energy": 4})
    np.testing.assert_allclose(found, [[4.0], [10.0]])  # a row that is not there repeats the last
    assert binned_coord(haadf, {"energy": 4}) is haadf


@pytest.mark.parametrize(("values", "step"), [([2.0], 0.0), ([2.0, 2.5, 3.0], 0.5)])
def test_mean_step__of_one_and_many_values(values, step):
    axis = np.array(values)
    assert mean_step(axis) == step
    assert energy_step(xr.DataArray(axis, {"energy": axis}, "energy")) == step
