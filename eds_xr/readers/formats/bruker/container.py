"""Single File System containers (SFS), in which Bruker's programs keep files within one file.

The container is cut into pages of equal size. A page begins with a header of 32 bytes, whose
first word names the page that continues it, where it is part of a directory or a table. The
header of the first page tells where the directory is; an entry of the directory tells where the
table of a file's pages begins. A file that begins with ``AACS`` is packed: zlib streams, one a
block, each behind a header of 16 bytes. Numbers are little-endian. There is no
published specification: the facts come from what RosettaSciIO documents in its source and from
the bytes of a real file. Encrypted containers, and other packers, exist and are refused.

Nothing that a container says is believed: pages lie within the file and are used once, and what
is unpacked is bounded by what is stored.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from eds_xr.schema import EdsError

MAGIC = b"AAMVHFSS"
#: Where the first page begins, and the fields of its header that matter.
_START, _PAGE_BYTES_AT, _DIRECTORY_AT = 0x118, 0x128, 0x140  # then entries, pages
_PAGE_HEADER, _ENTRY_BYTES = 32, 512
_ENTRY = struct.Struct("<IQ28xi176xB3x256s32x")  # table, size, parent, is a folder, name
_LARGEST_PAGE = 2**24
#: Pages read in one go, and the deepest folder.
_PAGES_AT_ONCE, _DEPTH = 1024, 16
_PACKED, _PACKED_HEADER, _BLOCK_HEADER = b"AACS", 0x80, 16
_LARGEST_BLOCK = 2**26
#: Unpacked, a file is at most this large, or this many times what it takes in the container.
_LARGEST_UNPACKED, _LARGEST_RATIO = 2**29, 100


@dataclass(frozen=True)
class _Entry:
    """A file of the container: first page of the table of its pages, and its bytes as stored."""

    table: int
    size: int


@contextmanager
def opened(path: Path) -> Iterator[Container]:
    """Open a container for reading."""
    with path.open("rb") as file:
        yield Container(file, path.name)


class Container:
    """An open container: the paths of its files, and their content as a stream of pieces."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self._length = os.fstat(file.fileno()).st_size
        (self._page_bytes,) = struct.unpack("<I", self._read(_PAGE_BYTES_AT, 4))
        if not _PAGE_HEADER + _ENTRY_BYTES <= self._page_bytes <= _LARGEST_PAGE:
            self.damaged(f"its pages would have {self._page_bytes} bytes")
        self._content = self._page_bytes - _PAGE_HEADER
        self._n_pages = -((_START - self._length) // self._page_bytes)  # the last may be cut
        directory, n_entries, self._pages_said = struct.unpack(
            "<III", self._read(_DIRECTORY_AT, 12)
        )
        self._entries = self._read_directory(directory, n_entries)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, as ``folder/name``."""
        return tuple(self._entries)

    def pieces(self, path: str) -> Iterator[bytes]:
        """Yield the content of a file, unpacked, in order.

        Raises
        ------
        EdsError
            If the container is cut short or damaged, or packed by something else than zlib.
        """
        entry = self._entries[path]
        stored = self._stored(entry)
        first = next(stored, b"")
        if first.startswith(_PACKED):
            return self._unpacked(chain([first], stored), entry.size)
        return chain([first], stored)

    def damaged(self, what: str) -> NoReturn:
        """Raise the error of a damaged container."""
        raise EdsError(f"{self.name} is damaged: {what}; copy it again from its origin")

    def _check_there(self, page: int) -> None:
        if self._n_pages <= page < self._pages_said:
            self._cut_short(_START + self._pages_said * self._page_bytes)
        if page >= self._n_pages:
            self.damaged(f"it asks for page {page}, there are {self._n_pages}")

    def _cut_short(self, expected: int) -> NoReturn:
        raise EdsError(
            f"{self.name} is cut short: expected at least {expected} bytes, found "
            f"{self._length}; copy it again from its origin"
        )

    def _read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        content = self._file.read(size)
        if len(content) < size:
            self._cut_short(start + size)
        return content

    def _read_directory(self, first: int, n_entries: int) -> dict[str, _Entry]:
        per_page = self._content // _ENTRY_BYTES
        chained = self._chained(first, -(-n_entries // per_page))
        raw = b"".join(page[: per_page * _ENTRY_BYTES] for page in chained)
        found = list(_ENTRY.iter_unpack(raw[: n_entries * _ENTRY_BYTES]))
        parents = [parent for _, _, parent, _, _ in found]
        names = [name.split(b"\0")[0].decode(errors="replace") for *_, name in found]
        return {
            self._path(i, names, parents): _Entry(table, size)
            for i, (table, size, _, is_folder, _) in enumerate(found)
            if not is_folder
        }

    def _path(self, index: int, names: list[str], parents: list[int]) -> str:
        parts: list[str] = []
        while index != -1:
            if not 0 <= index < len(names) or len(parts) == _DEPTH:
                self.damaged("a folder of its directory lies in none")
            parts.append(names[index])
            index = parents[index]
        return "/".join(reversed(parts))

    def _chained(self, first: int, number: int) -> Iterator[bytes]:
        """Yield the content of `number` pages, each of which names the next one."""
        self._check_there(number - 1)
        seen: set[int] = set()
        for _ in range(number):
            self._check_there(first)
            if first in seen:
                self.damaged(f"page {first} continues itself")
            seen.add(first)
            page = self._read(_START + first * self._page_bytes, self._page_bytes)
            (first,) = struct.unpack_from("<I", page)
            yield page[_PAGE_HEADER:]

    def _pages(self, entry: _Entry) -> np.ndarray:
        """Return the pages in which a file lies, in order."""
        number = -(-entry.size // self._content)
        self._check_there(number - 1)
        table = b"".join(self._chained(entry.table, -(-number // (self._content // 4))))
        pages = np.frombuffer(table[: len(table) // 4 * 4], "<u4")[:number].astype(np.int64)
        self._check_there(int(pages.max(initial=0)))
        if np.unique(pages).size < number:
            self.damaged("a page is used twice")
        return pages

    def _stored(self, entry: _Entry) -> Iterator[bytes]:
        """Yield the bytes of a file as they are stored, some MiB at a time."""
        pages, left = self._pages(entry), entry.size
        for start in range(0, pages.size, _PAGES_AT_ONCE):
            group = pages[start : start + _PAGES_AT_ONCE]
            runs = np.split(group, np.flatnonzero(np.diff(group) != 1) + 1)
            parts: list[bytes] = []
            for run in runs:
                parts.append(self._run(run, left))
                left -= len(parts[-1])
            yield b"".join(parts)

    def _run(self, pages: np.ndarray, left: int) -> bytes:
        """Return the content of pages that follow each other, at most `left` bytes."""
        size = min(left, pages.size * self._content)
        whole = pages.size * self._page_bytes
        needed = whole - (pages.size * self._content - size)  # the last page may end early
        start = _START + int(pages[0]) * self._page_bytes
        raw = self._read(start, needed).ljust(whole, b"\0")
        content = np.frombuffer(raw, np.uint8).reshape(pages.size, -1)[:, _PAGE_HEADER:]
        return content.tobytes()[:size]

    def _unpacked(self, stored: Iterable[bytes], size: int) -> Iterator[bytes]:
        source = _Source(self, stored)
        block_bytes, n_blocks = struct.unpack("<4xI4xI", source.take(_PACKED_HEADER)[:16])
        if block_bytes > _LARGEST_BLOCK:
            self.damaged(f"its blocks would have {block_bytes} bytes")
        left = max(_LARGEST_UNPACKED, _LARGEST_RATIO * size)
        for _ in range(n_blocks):
            (packed,) = struct.unpack("<I", source.take(_BLOCK_HEADER)[:4])
            if packed > block_bytes + 2**16:
                self.damaged(f"a block of {block_bytes} bytes would take {packed} bytes packed")
            block = self._inflated(source.take(packed), block_bytes)
            left -= len(block)
            if left < 0:
                self.damaged(f"{size} bytes of it would unpack to more than {_LARGEST_RATIO} times")
            yield block

    def _inflated(self, packed: bytes, largest: int) -> bytes:
        unpacker = zlib.decompressobj()
        try:
            block = unpacker.decompress(packed, largest + 1)
        except zlib.error as error:
            self.damaged(f"a block cannot be unpacked, or is packed by another way ({error})")
        if len(block) > largest or not unpacker.eof:
            self.damaged(f"a block unpacks to other than the {largest} bytes it should have")
        return block


class _Source:
    """Takes bytes from a stream of pieces."""

    def __init__(self, container: Container, pieces: Iterable[bytes]) -> None:
        self._container = container
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        parts: list[memoryview] = []
        while size > 0:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    self._container.damaged("a packed file of it ends too early")
            parts.append(self._rest[:size])
            self._rest = self._rest[size:]
            size -= len(parts[-1])
        return b"".join(parts)
