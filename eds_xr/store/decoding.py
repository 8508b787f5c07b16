"""Chunks of a store decoded straight into the array that is read.

Zarr decodes a chunk in a thread of its own, and then copies it in the one thread in which all
reads of a process meet: there several threads wait for each other, and each chunk is in memory
twice. Without the copy reading takes a fifth less time, more where memory is given back at once,
as in Dask's workers.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr
from numcodecs import blosc
from zarr.codecs import BloscCodec, BytesCodec
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline

#: Of Blosc's chunk format 2: bytes of a header, and where it tells those of the decoded chunk.
HEADER_BYTES, SIZE_AT = 16, slice(4, 8)


class InPlace(BatchedCodecPipeline):
    """Zarr's decoding; chunks that Blosc compressed alone are decoded into their place."""

    async def read_batch(
        self, batch_info: Iterable[Any], out: Any, drop_axes: tuple[int, ...] = ()
    ) -> None:
        """Read chunks into an array."""
        chunks = list(batch_info)
        array = out.as_ndarray_like()
        known = self._is_plain() and isinstance(array, np.ndarray) and not drop_axes
        if not known or len(chunks) != 1:
            return await super().read_batch(chunks, out, drop_axes)
        [(stored, spec, part, place, *_)] = chunks
        content: Any = await stored.get(spec.prototype)
        if content is None:
            return await super().read_batch(chunks, out, drop_axes)
        for codec in reversed(self.bytes_bytes_codecs[1:]):
            (content,) = await codec.decode([(content, spec)])
        await asyncio.to_thread(fill, array, place, content.as_numpy_array(), spec.shape, part)

    def _is_plain(self) -> bool:
        """Return whether chunks are values as in memory, compressed by Blosc before all else."""
        values, outer = self.array_bytes_codec, self.bytes_bytes_codecs
        if self.array_array_codecs or not (outer and isinstance(outer[0], BloscCodec)):
            return False
        if not isinstance(values, BytesCodec):
            return False
        return values.endian is None or values.endian.value == sys.byteorder


def fill(
    array: np.ndarray, place: Any, content: np.ndarray, shape: tuple[int, ...], part: Any
) -> None:
    """Set `place` of an array to the `part` of a chunk of this shape: at once if that is all."""
    size, expected = int.from_bytes(content[SIZE_AT], "little"), math.prod(shape) * array.itemsize
    if content.size < HEADER_BYTES or size != expected:
        raise ValueError(f"the chunk holds {size} bytes, expected {expected}")
    target = array[place]
    at_once = target.flags.c_contiguous and np.may_share_memory(target, array)
    at_once = at_once and target.shape == shape and _is_whole(part, shape)
    chunk = target if at_once else np.empty(shape, array.dtype)
    blosc.decompress(content, chunk)
    if not at_once:
        array[place] = chunk[part]


def _is_whole(part: tuple[Any, ...], shape: tuple[int, ...]) -> bool:
    """Return whether a part of a chunk is all of it, in its order."""
    sides = zip(part, shape, strict=True)
    return all(isinstance(s, slice) and s.indices(n) == (0, n, 1) for s, n in sides)


register_pipeline(InPlace)

_SETTING = "codec_pipeline.path"
_ZARRS, _OURS = (f"{c.__module__}.{c.__qualname__}" for c in (BatchedCodecPipeline, InPlace))
#: Later releases of zarr may hand chunks on in another way; there it decodes alone.
_KNOWN = tuple(int(part) for part in zarr.__version__.split(".")[:2]) < (3, 2)
_lock, _opening = threading.Lock(), 0


@contextmanager
def decoded_in_place() -> Iterator[None]:
    """Let arrays that are opened in the ``with`` block be read so, for as long as they live.

    Zarr has one setting for all threads: the last that leaves sets it back. Another pipeline that
    the user has chosen stays.
    """
    global _opening
    with _lock:
        _opening += 1
        if _KNOWN and zarr.config.get(_SETTING) == _ZARRS:
            zarr.config.set({_SETTING: _OURS})
    try:
        yield
    finally:
        with _lock:
            _opening -= 1
            if not _opening and zarr.config.get(_SETTING) == _OURS:
                zarr.config.set({_SETTING: _ZARRS})
