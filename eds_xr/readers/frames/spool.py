"""Frames of an array in a file: read once, kept compressed in an anonymous temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, cast

import numpy as np

from eds_xr.readers.protocol import Frames, Recording, row_regions
from eds_xr.schema import EdsError

#: Decoded bytes that are read from the file at once.
_BLOCK_BYTES = 32 * 2**20


def spooled(recording: Recording) -> Callable[[], AbstractContextManager[Frames]]:
    """Return what opens the frames of a recording ``(frame, y, x, energy)``."""

    @contextmanager
    def opened() -> Iterator[Frames]:
        with tempfile.TemporaryFile() as file:
            try:
                yield _Spooled(recording, cast(BinaryIO, file))
            except OSError as error:
                raise EdsError(
                    f"no frames from the temporary folder {tempfile.gettempdir()}: {error}; it "
                    "may be full: set the environment variable TMPDIR to a folder with room"
                ) from error

    return opened


class _Spooled:
    """Frames in a temporary file, each image row compressed by itself."""

    def __init__(self, recording: Recording, file: BinaryIO) -> None:
        self.number, height, width, channels = recording.shape
        self.shape = (height, width, channels)
        self._dtype, self._file = recording.dtype, file
        self._places: dict[tuple[str, int, int], tuple[int, int]] = {}
        rows = max(1, _BLOCK_BYTES // (width * channels * recording.dtype.itemsize))
        blocks = recording.row_blocks(rows)
        for region in row_regions(recording.shape, rows):
            self._keep(region[0].start, region[1].start, next(blocks, None))

    def counts(self, frame: int) -> np.ndarray:
        """Return the counts of one frame ``[y, x]``, all energies together."""
        return np.stack([self._read("sums", frame, y) for y in range(self.shape[0])])

    def add(self, frame: int, rows: slice, out: np.ndarray) -> None:
        """Add image rows of one frame to `out` ``[rows, x, energy]``."""
        for row in range(rows.start, rows.stop):
            values = self._read("values", frame, row).reshape(self.shape[1:])
            np.add(out[row - rows.start], values, out=out[row - rows.start], casting="unsafe")

    def _keep(self, frame: int, first: int, block: np.ndarray | None) -> None:
        if block is None:
            raise EdsError("the file ends before its last frame: it is cut short")
        for row, values in enumerate(block[0]):
            self._write("values", frame, first + row, np.ascontiguousarray(values))
            self._write("sums", frame, first + row, values.sum(axis=-1, dtype=self._sums))

    @property
    def _sums(self) -> np.dtype:
        return np.dtype({"u": np.uint64, "i": np.int64}.get(self._dtype.kind, np.float64))

    def _write(self, kind: str, frame: int, row: int, values: np.ndarray) -> None:
        packed = _codec(values.dtype).encode(values)
        self._places[kind, frame, row] = (self._file.tell(), len(packed))
        self._file.write(packed)

    def _read(self, kind: str, frame: int, row: int) -> np.ndarray:
        start, size = self._places[kind, frame, row]
        self._file.seek(start)
        dtype = self._dtype if kind == "values" else self._sums
        return np.frombuffer(_codec(dtype).decode(self._file.read(size)), dtype)


def _codec(dtype: np.dtype) -> Any:
    from numcodecs import Blosc

    return Blosc(cname="lz4", clevel=1, shuffle=Blosc.SHUFFLE)
