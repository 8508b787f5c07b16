import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr.spectra.masked_sums import masked_sums


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000), pixels=st.integers(1, 30), masks=st.integers(1, 12),
    dtype=st.sampled_from(["u1", "u2", ">u2", "i4", "u4", "u8", "f4", "f8"]),
)  # fmt: skip
def test_masked_sums__is_the_sum_of_the_rows_of_each_mask(seed, pixels, masks, dtype):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 100, (pixels, 7)).astype(dtype)
    chosen = rng.random((pixels, masks)) < 0.4
    found = masked_sums(rows, chosen)
    expected = [rows[chosen[:, m]].sum(axis=0, dtype=found.dtype) for m in range(masks)]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == (np.float64 if rows.dtype.kind == "f" else np.int64)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_masked_sums__of_the_largest_counts_do_not_overflow(dtype):
    most = np.iinfo(dtype).max
    found = masked_sums(np.full((3000, 2), most, dtype), np.ones((3000, 2), bool))
    assert (found == 3000 * int(most)).all()


def test_masked_sums__nobody_chose_a_pixel():
    assert not masked_sums(np.ones((4, 3), np.uint8), np.zeros((4, 2), bool)).any()
