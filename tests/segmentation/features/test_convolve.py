"""Tests of compiled convolutions, against scipy."""

import numpy as np
import pytest
from scipy import ndimage

from eds_xr.segmentation.features import convolve

IMAGE = np.random.default_rng(0).normal(size=(23, 31)).astype(np.float32)


@pytest.mark.parametrize(("n_y", "n_x"), [(1, 1), (3, 7), (9, 5)])
def test_separable__correlates_with_the_product(n_y: int, n_x: int) -> None:
    along_y, along_x = (np.arange(1, n + 1, dtype=np.float32) / n for n in (n_y, n_x))
    expected = ndimage.correlate(IMAGE, np.outer(along_y, along_x))
    found = convolve.separable(IMAGE, along_y, along_x)
    y, x = n_y // 2, n_x // 2
    np.testing.assert_allclose(found, expected[y : 23 - y, x : 31 - x], atol=1e-4)


def test_separable__does_not_depend_on_the_tile_to_the_last_bit() -> None:
    weights = np.float32([0.1, 0.3, 0.2, 0.3, 0.1])
    whole = convolve.separable(IMAGE, weights, weights)
    part = convolve.separable(np.ascontiguousarray(IMAGE[5:16, 3:20]), weights, weights)
    np.testing.assert_array_equal(part, whole[5:12, 3:16])


def test_taps__correlate_with_weights_at_offsets() -> None:
    dy, dx = np.array([-2, 0, 1]), np.array([1, 0, -2])
    kernel = np.zeros((5, 5), np.float32)
    kernel[dy + 2, dx + 2] = weights = np.float32([0.5, -1, 3])
    expected = ndimage.correlate(IMAGE, kernel)[2:-2, 2:-2]
    np.testing.assert_allclose(convolve.taps(IMAGE, dy, dx, weights, 2), expected, atol=1e-5)


def test_sobel__is_scipys() -> None:
    for found, axis in zip(convolve.sobel(IMAGE), (0, 1), strict=True):
        np.testing.assert_allclose(found, ndimage.sobel(IMAGE, axis)[1:-1, 1:-1], atol=1e-5)
