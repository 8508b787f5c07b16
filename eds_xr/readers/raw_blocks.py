"""Values that lie uncompressed in a file, read in blocks of image rows.

Plain reads, not a memory map: a file that is cut short meanwhile is an error, not a crash, and
memory is that of one block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from eds_xr.readers.guards.sizes import check_shape
from eds_xr.readers.protocol import Region, row_regions
from eds_xr.schema import EdsError


@dataclass(frozen=True, eq=False)
class RawArray:
    """Where the values lie.

    Attributes
    ----------
    path : Path
    offset : int
        Of the first value, in bytes.
    dtype : dtype
        With the byte order of the file.
    shape : tuple of int
        As in the file: the last axis is the fastest.
    order : tuple of int
        Dimension ``i`` of the recording ``(*spatial, energy)`` is the file's axis ``order[i]``.
    """

    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def recording_shape(self) -> tuple[int, ...]:
        """The shape with energy last."""
        return tuple(self.shape[axis] for axis in self.order)

    def check(self) -> None:
        """Raise unless the shape is sound and all values lie within the file."""
        check_shape(self.path.name, self.recording_shape)
        needed = self.offset + math.prod(self.shape) * self.dtype.itemsize
        held = self.path.stat().st_size
        if self.offset < 0 or needed > held:
            raise EdsError(
                f"{self.path.name} is cut short, or its header is damaged: "
                f"{' x '.join(map(str, self.shape))} values of {self.dtype} from byte "
                f"{self.offset} on need {needed:,} bytes, found {held:,}; copy it again from its "
                "origin"
            )

    def row_blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield the values in the order of ``row_regions(recording_shape, rows)``."""
        with self.path.open("rb") as file:
            for region in row_regions(self.recording_shape, rows):
                # no name holds the block while the next one is read
                yield self._in_our_order(self._read(file, self._in_file_order(region)))

    def _in_file_order(self, region: Region) -> Region:
        return tuple(region[self.order.index(axis)] for axis in range(len(self.shape)))

    def _in_our_order(self, values: np.ndarray) -> np.ndarray:
        native = values.astype(self.dtype.newbyteorder("="), copy=False)
        return native.transpose(self.order)

    def _read(self, file: BinaryIO, region: Region) -> np.ndarray:
        """Read a region run by run: what is whole in the last axes lies in one run."""
        sizes = tuple(part.stop - part.start for part in region)
        values = np.empty(sizes, self.dtype)
        as_bytes = values.view(np.uint8)
        cut = max((i for i, n in enumerate(sizes) if n != self.shape[i]), default=0)
        strides = [math.prod(self.shape[i + 1 :]) for i in range(len(sizes))]
        first = sum(part.start * stride for part, stride in zip(region, strides, strict=True))
        for index in np.ndindex(*sizes[:cut]):
            place = first + sum(i * n for i, n in zip(index, strides[:cut], strict=True))
            file.seek(self.offset + place * self.dtype.itemsize)
            run = as_bytes[index]
            if file.readinto(run) != run.nbytes:  # type: ignore[attr-defined]
                raise EdsError(f"{self.path.name} was cut short while it was read")
        return values
