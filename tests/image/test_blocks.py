"""Blocks of an image as sparse counts."""

import dask
import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.image import blocks
from eds_xr.schema import EdsError

CHUNKS = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=3)


def dense(block: blocks.Sparse, channels: int) -> np.ndarray:
    starts, channel, count = block
    rows = np.zeros((starts.size - 1, channels))
    rows[np.repeat(np.arange(starts.size - 1), np.diff(starts)), channel] = count
    return rows


@given(chunks=CHUNKS)
def test_boxes__fill_the_image_once_in_the_order_of_dask(chunks):
    shape = tuple(map(sum, chunks))
    seen = np.zeros(shape, int)
    for box in blocks.boxes(chunks):
        seen[box] += 1
    assert (seen == 1).all()
    found = dask.array.zeros(shape, chunks=tuple(map(tuple, chunks))).to_delayed().ravel()
    sizes = [tuple(s.stop - s.start for s in box) for box in blocks.boxes(chunks)]
    assert [block.compute(scheduler="sync").shape for block in found[:3]] == sizes[:3]


@given(chunks=CHUNKS, size=st.integers(1, 4))
def test_flat_places__are_those_of_the_whole_image(chunks, size):
    shape = tuple(map(sum, chunks))
    bins = tuple(-(-n // size) for n in shape)
    number = np.arange(np.prod(bins)).reshape(bins)[np.ix_(*(np.arange(n) // size for n in shape))]
    for box in blocks.boxes(chunks):
        np.testing.assert_array_equal(blocks.flat_places(box, bins, size), number[box].ravel())


@given(pixels=st.integers(1, 20), pieces=st.integers(1, 8))
def test_split_rows__hold_every_count(pixels, pieces):
    values = np.random.default_rng(pixels).poisson(0.5, (pixels, 6)).astype(np.uint16)
    rows = blocks.split_rows(values, pieces)
    assert (rows.pixels, rows.channels, rows.counts) == (pixels, 6, values.sum())
    assert len(rows.blocks) == min(pixels, pieces)
    np.testing.assert_array_equal(np.vstack([dense(b, 6) for b in rows.blocks]), values)


@pytest.mark.parametrize("later", [False, True])
def test_weighted__divides_by_the_root_of_each_pixel_s_total(later):
    values = np.random.default_rng(0).poisson(2.0, (12, 6)).astype(np.uint8)
    channel = np.linspace(0.5, 2, 6)
    rows = blocks.split_rows(values, 3)
    if later:
        rows = rows._replace(blocks=[dask.delayed(block) for block in rows.blocks])
    found = np.vstack([dense(b, 6) for b in dask.compute(*blocks.weighted(rows, channel).blocks)])
    expected = values * channel / np.sqrt(values.sum(1, keepdims=True))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(number=st.integers(1, 40))
def test_add_delayed__sums_any_number_of_blocks(number):
    sums = [dask.delayed((i, np.array([i, 1]))) for i in range(number)]
    total, pair = blocks.add_delayed(sums).compute(scheduler="sync")
    assert total == sum(range(number))
    np.testing.assert_array_equal(pair, [total, number])


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f2", ">f4", "i8"])
def test_compress_block__takes_any_numbers(dtype):
    values = np.random.default_rng(1).poisson(1.0, (2, 3, 5)).astype(dtype)
    np.testing.assert_array_equal(dense(blocks.compress_block(values), 5), values.reshape(6, 5))


@given(
    first=st.integers(0, 9), channels=st.integers(1, 12), dtype=st.sampled_from(["u1", "u2", "f4"])
)
def test_compress_block__of_part_of_the_channels(first, channels, dtype):
    values = np.random.default_rng(first).poisson(1.0, (2, 3, 24)).astype(dtype)
    part = values[..., first : first + channels]
    found = blocks.compress_block(part)
    np.testing.assert_array_equal(dense(found, channels), part.reshape(6, channels))


def test_compress_block__refuses_what_are_no_counts():
    with pytest.raises(EdsError, match="negative values"):
        blocks.compress_block(np.full((1, 1, 4), -1, "i2"))
    with pytest.raises(EdsError, match="NaN"):
        blocks.compress_block(np.full((1, 1, 4), np.nan))


def test_check_channels__says_what_helps():
    blocks.check_channels(65_535)
    with pytest.raises(EdsError, match=r"found 65536; sum neighbours with da\.eds\.rebin"):
        blocks.check_channels(65_536)
