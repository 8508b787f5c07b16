import math

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.chunks import CHUNK_BYTES, ROW_BLOCK_BYTES, as_chunked, chunk_shape, computed, persisted

SIZES = st.integers(1, 10_000)
DTYPES = st.sampled_from(["u1", "u2", "u4", "f8"])


@given(height=SIZES, width=SIZES, channels=st.integers(1, 8192), dtype=DTYPES)
def test_chunk_shape__keeps_its_limits(height, width, channels, dtype):
    shape = chunk_shape((height, width, channels), dtype)
    rows, columns, energy = shape
    assert energy == channels
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    spectrum = channels * np.dtype(dtype).itemsize
    assert rows * columns * spectrum <= max(CHUNK_BYTES, spectrum)
    assert rows == 1 or rows * width * spectrum <= ROW_BLOCK_BYTES


@given(height=st.integers(64, 600), width=st.integers(64, 600))
def test_chunk_shape__fills_its_chunks(height, width):
    shape = chunk_shape((height, width, 2048), "u1")
    assert math.prod(shape) > CHUNK_BYTES // 4 or shape[:2] == (height, width)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5000, 2048), (4096, 2048)),
        ((10, 2048), (10, 2048)),
        ((7, 512, 512, 2048), (1, 64, 64, 2048)),
        ((3, 4, 9, 9, 100), (1, 1, 9, 9, 100)),
    ],
)
def test_chunk_shape__of_scans_and_stacks(shape, expected):
    assert chunk_shape(shape, "u1") == expected


def test_as_chunked__keeps_the_chunks_it_finds(spectrum_image):
    chunked = as_chunked(spectrum_image)
    assert chunked.chunks is not None
    if spectrum_image.chunks is not None:
        assert chunked is spectrum_image
    xr.testing.assert_identical(chunked.compute(), spectrum_image.compute())


@pytest.mark.parametrize("keep", [computed, persisted])
def test_computed_and_persisted__leave_lazy_coordinates_as_they_are(keep, eager_image):
    values = np.arange(12.0 * 15).reshape(12, 15)
    image = eager_image.chunk(y=5, x=8).assign_coords(
        haadf=(("y", "x"), da.from_array(values, chunks=(7, 4)))
    )
    kept = keep(image)
    assert kept.haadf.data is image.haadf.data
    assert kept.chunks in (None, image.chunks)
    assert kept.chunks is None or set(kept.data.dask.layers) == {kept.data.name}
    xr.testing.assert_identical(kept.compute(), image.compute())
