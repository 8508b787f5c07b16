"""Counts summed over bins of pixels."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr.factorisation.bins import bin_size, binned, sums_bytes
from eds_xr.factorisation.one_read import read_once
from eds_xr.image.blocks import Rows


def dense(rows: Rows) -> np.ndarray:
    """Put the blocks back into an image ``[*spatial, channel]``."""
    image = np.zeros((*rows.shape, rows.channels))
    for (starts, channel, count), places in zip(
        dask.compute(*rows.blocks), rows.places, strict=True
    ):
        values = np.zeros((starts.size - 1, rows.channels))
        values[np.repeat(np.arange(starts.size - 1), np.diff(starts)), channel] = count
        first = 0
        for box in places:
            shape = [s.stop - s.start for s in box]
            last = first + int(np.prod(shape))
            image[box] += values[first:last].reshape(*shape, -1)
            first = last
    return image


def summed(image: np.ndarray, size: int) -> np.ndarray:
    for axis in range(image.ndim - 1):
        image = np.add.reduceat(image, np.arange(0, image.shape[axis], size), axis=axis)
    return image


def labelled(values: np.ndarray, chunks: tuple[int, ...]) -> xr.DataArray:
    dims = ("frame", "y", "x")[-(values.ndim - 1) :]
    return xr.DataArray(values, dims=(*dims, "energy")).chunk(dict(zip(dims, chunks, strict=True)))


@settings(max_examples=40)
@given(
    shape=st.lists(st.integers(1, 90), min_size=1, max_size=2)
    | st.tuples(*[st.integers(1, 9)] * 3),
    chunk=st.integers(1, 50),
    size=st.sampled_from([2, 4, 8]),
    stream=st.booleans(),
)
def test_binned__are_exact_sums_for_any_chunks(shape, chunk, size, stream):
    values = np.random.default_rng(sum(shape)).poisson(0.4, (*shape, 7)).astype(np.uint8)
    values[(0,) * values.ndim] = 255
    rows = read_once(labelled(values, (chunk,) * len(shape)), stream=stream).full
    found = binned(rows, size)
    np.testing.assert_array_equal(dense(found), summed(values.astype(int), size))
    assert found.counts == rows.counts == values.sum()


def test_binned__blocks_do_not_depend_on_chunks():
    values = np.random.default_rng(0).poisson(0.4, (140, 90, 5)).astype(np.uint8)
    one, other = (
        binned(read_once(labelled(values, chunks)).full, 2) for chunks in [(140, 90), (7, 33)]
    )
    for a, b in zip(one.blocks, other.blocks, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)
    assert one.places == other.places


@pytest.mark.parametrize(("room", "kept"), [(1e9, True), (1e3, False)])
def test_binned__sums_of_streamed_counts_are_kept_where_they_fit(room, kept):
    values = np.random.default_rng(0).poisson(0.4, (64, 48, 9)).astype(np.uint8)
    rows = read_once(labelled(values, (20, 20)), stream=True).full
    found = binned(rows, 4, room, values.mean((0, 1)))
    assert found.streamed != kept
    assert isinstance(found.blocks[0], tuple) == kept
    np.testing.assert_array_equal(dense(found), summed(values.astype(int), 4))


def test_sums_bytes__of_what_is_kept():
    values = (
        np.random.default_rng(0).poisson(np.linspace(0, 0.2, 64), (96, 96, 64)).astype(np.uint8)
    )
    found = binned(read_once(labelled(values, (32, 32))).full, 4)
    true = sum(channel.nbytes + count.nbytes for _, channel, count in found.blocks)
    assert true == pytest.approx(sums_bytes((96, 96), 4, values.mean((0, 1))), rel=0.05)


def test_binned__of_real_valued_signals():
    values = np.random.default_rng(0).gamma(1, size=(6, 5, 3)).astype(np.float32)
    found = binned(read_once(labelled(values, (4, 3))).full, 2)
    np.testing.assert_allclose(dense(found), summed(values.astype(float), 2), rtol=1e-6)


@pytest.mark.parametrize(
    ("dose", "size"), [(2000, 1), (400, 2), (180, 4), (60, 4), (20, 4), (2, 16), (0.001, 32)]
)
def test_bin_size__by_the_counts_of_a_pixel(dose, size):
    assert bin_size((512, 512), dose * 512**2) == size


def test_bin_size__leaves_enough_bins():
    assert bin_size((20, 20), 400) == 1
    assert bin_size((40, 40), 400) == 2
    assert bin_size((1024,), 1024) == 4
