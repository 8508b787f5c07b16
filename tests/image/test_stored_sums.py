"""Stored sums of pixels in place of an image, only where they are its own."""

import numpy as np
import pytest
import xarray as xr
from support.recordings import RECORDED, convert_counts

from eds_xr import store
from eds_xr.image.stored_sums import summed_pixels


@pytest.fixture
def opened(tmp_path, monkeypatch) -> xr.DataArray:
    return store.open(convert_counts(RECORDED, tmp_path / "a.zarr", monkeypatch, pyramid=True))


@pytest.mark.parametrize(("size", "factor"), [(1, 1), (2, 2), (3, 2), (7, 4), (8, 8), (99, 8)])
def test_summed_pixels__largest_that_is_stored(opened, size, factor):
    summed, found = summed_pixels(opened, size)
    assert found == factor
    assert int(summed.sum()) == RECORDED.sum()
    assert summed.shape == (-(-13 // factor), -(-9 // factor), 32)


def test_summed_pixels__of_a_range_of_energies(opened):
    part = opened.sel(energy=slice(10, 30))
    summed, factor = summed_pixels(part, 4)
    assert factor == 4
    np.testing.assert_array_equal(summed.energy, part.energy)
    assert int(summed.sum()) == int(part.sum())


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.isel(y=slice(5)),
        lambda i: i.isel(y=[0, *range(12)]),  # of the same size, but a row twice
        lambda i: i * 2,
        lambda i: i.where(i.y > 3, 0),
        lambda i: i.compute(),
        lambda i: i.isel(y=0),
    ],
)
def test_summed_pixels__never_of_another_image(opened, change):
    image = change(opened)
    same, factor = summed_pixels(image, 8)
    assert same is image
    assert factor == 1
