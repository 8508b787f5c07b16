"""Exact sums of pixels and channels."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import counts_image, refuse

from eds_xr.image.rebin import rebin
from eds_xr.schema import EdsError


@settings(max_examples=30)
@given(
    shape=st.tuples(*(st.integers(1, 9) for _ in range(3))),
    factors=st.tuples(*(st.integers(1, 12) for _ in range(3))),
    chunk=st.integers(1, 9),
)
def test_rebin__loses_no_count(shape, factors, chunk):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    image = counts_image(values).chunk(y=chunk, x=chunk)
    binned = rebin(image, **dict(zip(("y", "x", "energy"), factors, strict=True)))
    assert binned.shape == tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))
    starts = [np.arange(0, n, f) for n, f in zip(shape, factors, strict=True)]
    expected = values.astype(np.int64)
    for axis, start in enumerate(starts):
        expected = np.add.reduceat(expected, start, axis=axis)
    np.testing.assert_array_equal(binned, expected)


def test_rebin__is_the_same_for_any_chunks(spectrum_image, eager_image):
    expected = rebin(eager_image, y=5, x=2, energy=3).compute()
    xr.testing.assert_identical(rebin(spectrum_image, y=5, x=2, energy=3).compute(), expected)


def test_rebin__does_not_overflow():
    binned = rebin(counts_image(np.full((4, 4, 4), 255, np.uint8)), y=4, x=4, energy=4)
    assert binned.dtype == np.uint16
    assert int(binned.squeeze()) == 64 * 255


@pytest.mark.parametrize("dtype", ["uint64", "int16", "float32"])
def test_rebin__keeps_wide_signed_and_real_numbers(dtype):
    binned = rebin(counts_image(np.ones((4, 4, 4), dtype)), y=4)
    assert binned.dtype == {"int16": "int64"}.get(dtype, dtype)
    assert (binned == 4).all()


def test_rebin__coordinates_are_centres_of_bins(eager_image):
    binned = rebin(eager_image, x=4, energy=2)
    np.testing.assert_allclose(binned.x, 1.5 * (1.5 + 4 * np.arange(4)))  # the last one part empty
    np.testing.assert_allclose(binned.energy, 0.1 + 0.2 * np.arange(32))
    assert binned.energy.attrs == eager_image.energy.attrs
    np.testing.assert_array_equal(binned.y, eager_image.y)


def test_rebin__averages_images_riding_along(eager_image):
    haadf = np.arange(180.0).reshape(12, 15)
    binned = rebin(eager_image.assign_coords(haadf=(("y", "x"), haadf)), y=2, x=5)
    np.testing.assert_allclose(binned.haadf, haadf.reshape(6, 2, 3, 5).mean((1, 3)))


def test_rebin__computes_nothing_until_asked(spectrum_image):
    with dask.config.set(scheduler=refuse):
        binned = rebin(spectrum_image, y=2, energy=4)
    assert len(binned.chunksizes["energy"]) == 1


@pytest.mark.parametrize(
    ("factors", "message"),
    [({"z": 2}, "no dimension 'z'"), ({"y": 0}, "whole number"), ({"y": 1.5}, "whole number")],
)
def test_rebin__refuses(eager_image, factors, message):
    with pytest.raises(EdsError, match=message):
        rebin(eager_image, **factors)
