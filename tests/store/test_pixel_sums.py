"""Compiled sums of neighbouring pixels."""

import numpy as np
import pytest

from eds_xr.store.pixel_sums import add_pairs


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_add_pairs__in_pieces_as_at_once(columns, cut):
    rows = np.random.default_rng(0).integers(0, 9, (5, 7, 3)).astype(np.uint8)
    width = -(-7 // columns)
    out = np.zeros((3, width, 3), np.uint16)
    for first in range(0, 5, cut):
        add_pairs(out, rows[first : first + cut], first, columns)
    expected = np.add.reduceat(rows.astype(int), [0, 2, 4], axis=0)
    expected = np.add.reduceat(expected, np.arange(0, 7, columns), axis=1)
    np.testing.assert_array_equal(out, expected)
