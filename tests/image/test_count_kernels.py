"""Sparse blocks hold every count; halves are binomial."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eds_xr.image import count_kernels

COUNTS = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int64, np.float64]),
    st.tuples(st.integers(1, 6), st.integers(1, 9)),
    elements=st.integers(0, 255),
)


@given(COUNTS)
def test_compress__holds_every_count(rows):
    starts, channel, count = count_kernels.compress(rows)
    dense = np.zeros_like(rows)
    dense[np.repeat(np.arange(len(rows)), np.diff(starts)), channel] = count
    np.testing.assert_array_equal(dense, rows)
    assert (count != 0).all()


@pytest.mark.parametrize(
    ("highest", "dtype", "kept"),
    [(255, "uint16", "uint8"), (256, "int64", "uint16"), (2**16, "uint32", "uint32")]
    + [(2**40, "int64", "float32"), (3, "float64", "float32")],
)
def test_compress__keeps_counts_small(highest, dtype, kept):
    _, _, count = count_kernels.compress(np.array([[0, 1, 0], [highest, 0, 2]], dtype))
    assert count.dtype == kept
    np.testing.assert_array_equal(count, [1, highest, 2])


@given(COUNTS, st.integers(1, 4))
def test_add_binned__sums_rows_of_a_bin(rows, bins):
    target = np.arange(len(rows)) % bins
    binned = np.zeros((bins, rows.shape[1]))
    count_kernels.add_binned(*count_kernels.compress(rows), target, binned)
    for b in range(bins):
        np.testing.assert_array_equal(binned[b], rows[target == b].sum(0))


@pytest.mark.parametrize("count", [1, 7, 64, 65, 200])
def test_halve__is_binomial(count):
    rows = np.full((300, 100), count, np.uint8)
    first = np.arange(0, rows.size, 100, dtype=np.uint64)
    half = count_kernels.halve(rows, first, np.uint64(5)).astype(float)
    deviation = np.sqrt(count / 4)
    assert abs(half.mean() - count / 2) < 4 * deviation / np.sqrt(half.size)
    assert half.var() == pytest.approx(count / 4, rel=0.05)
    assert half.max() <= count


def test_halve__draws_each_channel_pixel_and_seed_anew():
    rows = np.full((300, 100), 9, np.uint8)
    first = np.arange(0, rows.size, 100, dtype=np.uint64)
    a, b = (count_kernels.halve(rows, first, np.uint64(seed)).astype(float) for seed in (1, 2))
    for x, y in ((a, b), (a[:, 1:], a[:, :-1]), (a[1:], a[:-1])):
        assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 4 / np.sqrt(x.size)
