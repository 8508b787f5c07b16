"""Row blocks of arrays that are stored in chunks, each chunk decoded once.

Chunks of other programs may be higher than our row blocks. Reading them row block by row block
would decode each many times; reading a whole band of them could need more memory than there is.
So a band that is too large is laid out in a temporary file.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from eds_xr.readers.guards.sizes import check_fits_memory
from eds_xr.readers.protocol import Region, row_regions

#: A band of rows up to this size is held in memory.
_BAND_BYTES = 256 * 2**20

ReadRegion = Callable[[Region], np.ndarray]


def row_blocks(
    read: ReadRegion,
    shape: tuple[int, ...],
    dtype: np.dtype,
    chunks: Sequence[int] | None,
    rows: int,
) -> Iterator[np.ndarray]:
    """Yield the blocks of ``row_regions(shape, rows)``, with each chunk read once.

    Parameters
    ----------
    read : callable
        Gives the values of a region, ``[*spatial, energy; counts]``.
    shape, dtype
        Of the recording.
    chunks : sequence of int, optional
        As stored, in the order of `shape`; None if stored in one piece that can be read in part.
    rows : int
        Image rows a block, at most.
    """
    height = 1 if chunks is None else chunks[max(0, len(shape) - 3)]
    if chunks is None or height <= rows:
        for region in row_regions(shape, rows):
            yield read(region)
        return
    for band in row_regions(shape, rows * math.ceil(height / rows)):
        yield from _band_in_blocks(read, band, np.dtype(dtype), chunks, rows)


def check_chunks(name: str, chunks: Sequence[int] | None, dtype: np.dtype) -> None:
    """Raise if one decoded chunk does not fit in memory."""
    if chunks is not None:
        check_fits_memory(name, 2 * math.prod(chunks) * dtype.itemsize, "one of its chunks")


def _band_in_blocks(
    read: ReadRegion, band: Region, dtype: np.dtype, chunks: Sequence[int], rows: int
) -> Iterator[np.ndarray]:
    shape = tuple(part.stop - part.start for part in band)
    axis = max(0, len(shape) - 3)
    if math.prod(shape) * dtype.itemsize <= _BAND_BYTES or len(shape) < 3:  # a line is small
        values = read(band)
        for region in row_regions(shape, rows):
            yield values[region]
        return
    row_shape = shape[axis + 1 :]
    row_bytes = math.prod(row_shape) * dtype.itemsize
    with tempfile.TemporaryFile() as file:
        _lay_out(read, band, chunks, file, dtype)
        file.seek(0)
        for start in range(0, shape[axis], rows):
            count = min(rows, shape[axis] - start)
            content = file.read(count * row_bytes)
            yield np.frombuffer(content, dtype).reshape(*shape[:axis], count, *row_shape)


def _lay_out(
    read: ReadRegion, band: Region, chunks: Sequence[int], file: BinaryIO, dtype: np.dtype
) -> None:
    """Write a band to `file` in the order of its values, one column of chunks at a time."""
    shape = tuple(part.stop - part.start for part in band)
    axis = max(0, len(shape) - 3)
    spectrum = shape[-1] * dtype.itemsize
    width = shape[-2]
    step = max(1, min(chunks[-2], _BAND_BYTES // (shape[axis] * spectrum)))
    for left in range(0, width, step):
        columns = slice(band[-2].start + left, band[-2].start + min(left + step, width))
        values = np.ascontiguousarray(read((*band[:-2], columns, band[-1])), dtype)
        for row, spectra in enumerate(values.reshape(shape[axis], -1)):
            file.seek((row * width + left) * spectrum)
            file.write(spectra.data)
