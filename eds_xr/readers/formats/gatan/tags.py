"""The tree of tags of a DigitalMicrograph file, as dictionaries.

A file begins with its version (3 or 4), its length and its byte order. A group of tags is two
flags and the number of its tags; a tag is its kind (20 a group, 21 a value), its name and, in
version 4, its length. A value begins with ``%%%%`` and a list of integers that encodes its type.
Structure is big-endian, values have the byte order of the file. Whatever the integers claim is
checked against the size of the file, and no place is read twice, so that a damaged tree ends.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from eds_xr.schema import EdsError

_GROUP, _VALUE = 20, 21
_STRUCT, _STRING, _ARRAY = 15, 18, 20
#: Code of a simple type -> NumPy's, without the byte order.
_SIMPLE = {
    2: "i2", 3: "i4", 4: "u2", 5: "u4", 6: "f4", 7: "f8", 8: "u1", 9: "i1", 10: "u1", 11: "i8",
    12: "u8",
}  # fmt: skip
_DEEPEST = 64
_MOST_TAGS = 200_000
#: Arrays that are longer are passed over: :class:`LongArray` tells where they lie.
_LONGEST_BYTES = 16_384
_MOST_BYTES = 32 * 2**20
_LONGEST_TYPE = 4096


@dataclass(frozen=True)
class LongArray:
    """Where the values of an array lie in the file."""

    offset: int
    size_bytes: int
    byte_order: str

    def __str__(self) -> str:
        return f"array of {self.size_bytes} bytes"


def is_magic(head: bytes) -> bool:
    """Return whether a file that begins with `head` is of version 3 or 4."""
    order = {3: 8, 4: 12}.get(int.from_bytes(head[:4], "big"))
    return order is not None and head[order : order + 4] in (b"\0\0\0\0", b"\0\0\0\1")


def read_tags(path: Path) -> dict[str, Any]:
    """Return all tags of a file; long arrays as :class:`LongArray`.

    Raises
    ------
    EdsError
        If the tree is damaged.
    """
    with path.open("rb") as file:
        return _Tree(file, path.name).read()


class _Tree:
    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.size = os.fstat(file.fileno()).st_size
        self.tags_left, self.bytes_left = _MOST_TAGS, _MOST_BYTES
        self.is_new = int.from_bytes(self._take(4), "big") == 4
        self._integer()  # its length, which is not always right
        self.byte_order = "<" if int.from_bytes(self._take(4), "big") else ">"

    def read(self) -> dict[str, Any]:
        return self._group(depth=0)

    def _take(self, count: int) -> bytes:
        if count < 0 or self.file.tell() + count > self.size:
            raise self._damaged("a tag ends beyond the file")
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise self._damaged(f"its tags, without long arrays, exceed {_MOST_BYTES:,} bytes")
        return self.file.read(count)

    def _skip(self, count: int) -> int:
        """Return the place of what is passed over."""
        place = self.file.tell()
        if count < 0 or place + count > self.size:
            raise self._damaged("a value ends beyond the file")
        self.file.seek(count, os.SEEK_CUR)
        return place

    def _integer(self) -> int:
        return int.from_bytes(self._take(8 if self.is_new else 4), "big", signed=True)

    def _group(self, depth: int) -> dict[str, Any]:
        if depth > _DEEPEST:
            raise self._damaged(f"tags lie more than {_DEEPEST} groups deep")
        self._take(2)
        count = self._integer()
        if not 0 <= count <= self.tags_left:
            raise self._damaged(f"a group has {count} tags")
        tags: dict[str, Any] = {}
        for index in range(count):
            self.tags_left -= 1
            kind, length = struct.unpack(">BH", self._take(3))
            name = self._take(length).decode("utf-8", "replace") or str(index)
            if self.is_new:
                self._integer()
            tags[name] = self._tag(kind, name, depth)
        return tags

    def _tag(self, kind: int, name: str, depth: int) -> Any:
        if kind == _GROUP:
            return self._group(depth + 1)
        if kind != _VALUE or self._take(4) != b"%%%%":
            raise self._damaged(f"a tag is neither group nor value (kind {kind})")
        count = self._integer()
        if not 1 <= count <= _LONGEST_TYPE:
            raise self._damaged(f"a type of {count} parts")
        code = [self._integer() for _ in range(count)]
        if code[0] == _STRING and count == 2:
            return self._take(code[1]).decode("utf-8", "replace")
        if code[0] == _ARRAY and count >= 3:
            return self._array(self._dtype(code[1:-1]), code[-1], keep=name != "Data")
        return self._simple(self._dtype(code))

    def _dtype(self, code: list[int]) -> np.dtype:
        if len(code) == 1 and code[0] in _SIMPLE:
            return np.dtype(self.byte_order + _SIMPLE[code[0]])
        if code[0] == _STRUCT and len(code) >= 3 and len(code) == 3 + 2 * code[2]:
            fields = [self._dtype([part]) for part in code[4::2]]
            return np.dtype([(f"f{i}", dtype) for i, dtype in enumerate(fields)])
        raise self._damaged(f"a type {code[:4]} that is not known")

    def _simple(self, dtype: np.dtype) -> Any:
        return np.frombuffer(self._take(dtype.itemsize), dtype)[0].item() if dtype.itemsize else ()

    def _array(self, dtype: np.dtype, count: int, *, keep: bool) -> Any:
        size = dtype.itemsize * count
        if size > _LONGEST_BYTES or dtype.itemsize == 0 or not keep:
            return LongArray(self._skip(size), size, self.byte_order)
        values = np.frombuffer(self._take(size), dtype)
        if dtype == np.dtype(self.byte_order + "u2"):  # texts are stored so
            return values.astype("<u2").tobytes().decode("utf-16-le", "replace")
        return values.tolist()

    def _damaged(self, what: str) -> EdsError:
        return EdsError(
            f"{self.name} is damaged near byte {self.file.tell():,}: {what}; copy it again from "
            "its origin"
        )
