"""Texts of variable length in HDF5 files, read without HDF5.

HDF5 keeps them in heaps, and hangs, or takes memory without bound, on heaps that are damaged.
Here a heap is read with its sizes checked. Format: HDF5 File Format Specification 3.0, III.E
"Disk Format: Level 1E - Global Heap".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from eds_xr.schema import EdsError

#: Bytes of the largest heap that is read; one text at most fills it.
_LARGEST_HEAP = 4 * 2**20
_REFERENCE = struct.Struct("<IQI")  # length, address of the heap, index in it
_HEAP = struct.Struct("<4sB3xQ")  # signature, version, size
_OBJECT = struct.Struct("<HH4xQ")  # index, references, size


def read_text(path: Path, dataset: Any) -> bytes:
    """Return the one text that an (open) dataset holds.

    Raises
    ------
    EdsError
        If it is no single text, or damaged.
    """
    if dataset.dtype.kind == "S" and dataset.size == 1 and dataset.nbytes <= _LARGEST_HEAP:
        return bytes(dataset[()].flat[0])
    if dataset.dtype.kind != "O" or dataset.size != 1:
        raise EdsError(f"{dataset.name} is no text, but {dataset.dtype} of shape {dataset.shape}")
    base = int(dataset.file.userblock_size)
    with path.open("rb") as file:
        file.seek(_place(dataset))
        length, address, index = _unpacked(_REFERENCE, file.read(_REFERENCE.size), dataset)
        file.seek(base + address)
        heap = file.read(_LARGEST_HEAP + _HEAP.size)
    signature, version, size = _unpacked(_HEAP, heap[: _HEAP.size], dataset)
    if signature != b"GCOL" or version != 1 or not _HEAP.size <= size <= len(heap):
        raise EdsError(f"the heap of {dataset.name} is damaged, or larger than {_LARGEST_HEAP}")
    return _object(heap[:size], index, dataset)[:length]


def _object(heap: bytes, index: int, dataset: Any) -> bytes:
    at = _HEAP.size
    while at + _OBJECT.size <= len(heap):
        found, _, size = _OBJECT.unpack_from(heap, at)
        at += _OBJECT.size
        if found == index and at + size <= len(heap):
            return heap[at : at + size]
        at += -(-size // 8) * 8
    raise EdsError(f"the text of {dataset.name} is not in its heap; the file may be damaged")


def _place(dataset: Any) -> int:
    """Return where the reference to the text lies in the file."""
    if dataset.chunks is None:
        place = dataset.id.get_offset()
    elif dataset.id.get_num_chunks() == 1 and not dataset.id.get_create_plist().get_nfilters():
        place = dataset.id.get_chunk_info(0).byte_offset
    else:
        place = None
    sizes = dataset.file.id.get_create_plist().get_sizes()
    if place is None or sizes != (8, 8):
        raise EdsError(f"{dataset.name} is stored in a form that is not known")
    return int(place)


def _unpacked(form: struct.Struct, content: bytes, dataset: Any) -> tuple[Any, ...]:
    if len(content) < form.size:
        raise EdsError(f"the text of {dataset.name} lies beyond the end of the file")
    return form.unpack(content)
