"""The hierarchy of a Zarr 2 folder or zip: which nodes it has, and what their JSON says.

Arrays may only use codecs of numbers and text: others are never decoded, as some of them (a
pickle) can run code.
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from eds_xr.places import inside
from eds_xr.readers.guards.zarr import COMPRESSORS, NUMBER_FILTERS, TEXT_FILTERS
from eds_xr.schema import EdsError

_LONGEST_JSON = 16 * 2**20
_LONGEST_ARRAY = 10_000
_DEEPEST = 64
_BLOSC_HEADER = 16


class Keys(Protocol):
    """Where the documents of a hierarchy are."""

    def nodes(self) -> Iterator[str]:
        """Yield the paths of groups and arrays."""

    def read(self, key: str) -> bytes | None:
        """Return a document; None if there is none."""

    def size_bytes(self, node: str) -> int:
        """Return the size of all that lies below a node."""


class Tree:
    """Groups, arrays and their attributes."""

    def __init__(self, path: Path, keys: Keys) -> None:
        self.path, self._keys = path, keys
        self._children: dict[str, list[str]] = {}
        for node in sorted(keys.nodes()):
            parent, _, name = node.rpartition("/")
            self._children.setdefault(parent, []).append(name)

    def children(self, node: str) -> list[str]:
        """Return the names of groups and arrays in a group."""
        return self._children.get(node, [])

    def size_bytes(self, node: str) -> int:
        """Return the size of the chunks of an array."""
        return self._keys.size_bytes(node)

    def attrs(self, node: str) -> dict[str, Any]:
        """Return the attributes of a node."""
        return self._json(f"{node}/.zattrs") or {}

    def array(self, node: str) -> dict[str, Any]:
        """Return how an array of numbers is stored."""
        said = self._json(f"{node}/.zarray")
        if said is None:
            raise EdsError(f"{self.path.name} holds no array {node}; expected a HyperSpy file")
        if np.dtype(said["dtype"]).kind not in "buif" or not _is_safe(said, NUMBER_FILTERS):
            raise EdsError(
                f"{self.path.name}: {node} holds values of {said['dtype']!r} with filters "
                f"{said.get('filters')!r}, expected plain numbers; save it again with HyperSpy"
            )
        return said

    def dictionary(self, node: str, depth: int = 0) -> dict[str, Any]:
        """Return a group with all below it, as HyperSpy's dictionary of metadata."""
        if depth > _DEEPEST:
            raise EdsError(f"{self.path.name} holds metadata more than {_DEEPEST} groups deep")
        found: dict[str, Any] = {}
        for key, value in self.attrs(node).items():
            if key.startswith(("_list_empty_", "_tuple_empty_")):
                found[key.split("_empty_", 1)[1]] = []
            else:
                found[key] = None if value == "_None_" else value
        for name in self.children(node):
            child = f"{node}/{name}"
            said = self._json(f"{child}/.zarray")
            value = self.dictionary(child, depth + 1) if said is None else self._small(child, said)
            found[_plain_name(name, is_group=said is None)] = value
        return found

    def _small(self, node: str, said: Mapping[str, Any]) -> Any:
        """Return a small array as a list; others are described."""
        shape = tuple(said["shape"])
        is_text = said["dtype"] == "|O"
        described = f"array of {said['dtype']}, {' x '.join(map(str, shape))}"
        filters = [f.get("id") for f in said.get("filters") or []]
        known = filters == (TEXT_FILTERS if is_text else []) and _is_safe(said, set(TEXT_FILTERS))
        if not known or said["chunks"] != said["shape"] or math.prod(shape) > _LONGEST_ARRAY:
            return described
        separator = said.get("dimension_separator", ".")
        content = self._keys.read(f"{node}/{separator.join('0' for _ in shape) or '0'}")
        if content is None:
            return described
        decoded = _decompressed(content, said["compressor"])
        if is_text:
            return _texts(decoded)
        dtype = np.dtype(said["dtype"])
        if dtype.hasobject or len(decoded) != math.prod(shape) * dtype.itemsize:
            return described
        return np.frombuffer(decoded, dtype).reshape(shape, order=said["order"]).tolist()

    def _json(self, key: str) -> dict[str, Any] | None:
        content = self._keys.read(key)
        if content is None:
            return None
        said = json.loads(content)
        if not isinstance(said, dict):
            raise EdsError(f"{self.path.name}: {key} must hold an object")
        return said


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Give the hierarchy of a folder or zip, for the time of a ``with`` block."""
    if path.is_dir():
        yield Tree(path, _Folder(path))
    else:
        with zipfile.ZipFile(path) as archive:
            yield Tree(path, _Zip(archive))


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def nodes(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self._path):
            if ".zarray" in files:
                folders.clear()  # chunks
            node = Path(folder).relative_to(self._path).as_posix()
            if node != "." and not {".zarray", ".zgroup"}.isdisjoint(files):
                yield node

    def read(self, key: str) -> bytes | None:
        path = inside(self._path, key)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return _short(file.read(_LONGEST_JSON + 1), key)

    def size_bytes(self, node: str) -> int:
        files = (p for p in (self._path / node).rglob("*") if p.is_file())
        return sum(p.stat().st_size for p in files)


class _Zip:
    """Entries are read in place, never unpacked; of several with one name the last counts."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._entries = {entry.filename: entry for entry in archive.infolist()}
        size = Path(str(archive.filename)).stat().st_size
        for entry in self._entries.values():
            _check_entry(entry)
            is_stored = entry.compress_type == zipfile.ZIP_STORED
            if max(entry.compress_size, entry.file_size if is_stored else 0) > size:
                raise EdsError(f"the entry {entry.filename!r} is larger than the whole file")
            if not is_stored and entry.file_size > _LONGEST_JSON:
                raise EdsError(
                    f"the entry {entry.filename!r} is packed a second time, to "
                    f"{entry.file_size:,} bytes; expected entries that are stored as they are"
                )

    def nodes(self) -> Iterator[str]:
        for name in self._entries:
            node, _, document = name.rpartition("/")
            if node and document in (".zarray", ".zgroup"):
                yield node

    def read(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        with self._archive.open(entry) as file:
            return _short(file.read(_LONGEST_JSON + 1), key)

    def size_bytes(self, node: str) -> int:
        return sum(e.file_size for n, e in self._entries.items() if n.startswith(f"{node}/"))


def check_blosc(content: bytes, size: int | None) -> None:
    """Raise unless a chunk of Blosc is as long as its header says, and decodes to `size` bytes.

    Where the size is not known, as that of texts, it must be that of metadata.
    """
    decoded = int.from_bytes(content[4:8], "little")
    is_whole = len(content) == int.from_bytes(content[12:16], "little") >= _BLOSC_HEADER
    if not is_whole or (decoded > _LONGEST_JSON if size is None else decoded != size):
        raise EdsError(
            f"a chunk of {len(content):,} bytes, that decodes to {decoded:,}, is damaged; copy "
            "the file again from its origin"
        )


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Raise for an entry that is a link, or whose name leads out of the zip."""
    parts = PurePosixPath(entry.filename).parts
    if stat.S_ISLNK(entry.external_attr >> 16) or ".." in parts or parts[:1] == ("/",):
        raise EdsError(
            f"the entry {entry.filename!r} leads out of the file, to another one of this "
            "computer; get the file from its origin, or save it again with HyperSpy"
        )


def _short(content: bytes, key: str) -> bytes:
    if len(content) > _LONGEST_JSON:
        raise EdsError(f"{key} is longer than any metadata")
    return content


def _is_safe(said: Mapping[str, Any], filters: set[str]) -> bool:
    compressor = said.get("compressor")
    ids = {f.get("id") for f in said.get("filters") or []}
    return (compressor or {}).get("id") in COMPRESSORS and ids <= filters


def _plain_name(name: str, *, is_group: bool) -> str:
    """Return the key that HyperSpy writes as ``_list_key``, or ``_list_<length>_key`` a group."""
    for prefix in ("_list_", "_tuple_"):
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            return rest.partition("_")[2] if is_group else rest
    return name


def _decompressed(content: bytes, compressor: Mapping[str, Any] | None) -> bytes:
    import numcodecs

    if compressor is None:
        return content
    if compressor["id"] == "blosc":
        check_blosc(content, None)
    return bytes(numcodecs.get_codec(dict(compressor)).decode(content))


def _texts(content: bytes) -> list[str]:
    """Return the texts of numcodecs' ``vlen-utf8``: their number; length and text of each."""
    count, place, texts = int.from_bytes(content[:4], "little"), 4, []
    for _ in range(min(count, _LONGEST_ARRAY)):
        length = int.from_bytes(content[place : place + 4], "little")
        texts.append(content[place + 4 : place + 4 + length].decode("utf-8", "replace"))
        place += 4 + length
    return texts
