"""Which files of a store's folder, or objects of its URL, the store itself is made of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
#: Where chunks of Zarr 3 and of Zarr 2 lie in their array.
_CHUNKS = {"zarr.json": r"c([/.]\d+)*", ".zarray": r"\d+([/.]\d+)*"}
#: What a killed run of zarr leaves of a chunk; what systems put in any folder that is looked at.
_LITTER = re.compile(r"\S+\.[0-9a-f]{32}\.partial|\.DS_Store|Thumbs\.db|desktop\.ini")
#: Groups that we write below the root.
_GROUPS = re.compile(r"(pyramid(/\d+)?)?")


def foreign(keys: Iterable[str]) -> list[str]:
    """Return those of a store's keys that are neither its metadata, nor chunks of its arrays."""
    keys = sorted(keys)
    documents = {k for k in keys if _name(k) in _DOCUMENTS}
    inner = {parent for key in documents for parent in _parents(_node(key))}
    arrays = {
        f"{_node(k)}/": _CHUNKS[_name(k)]
        for k in documents
        if _name(k) in _CHUNKS and _node(k) not in inner and _GROUPS.fullmatch(_node(_node(k)))
    }
    groups = {_node(k) for k in documents if _GROUPS.fullmatch(_node(k))}

    def belongs(key: str) -> bool:
        if _LITTER.fullmatch(_name(key)):
            return True
        if key in documents:
            return _node(key) in groups or f"{_node(key)}/" in arrays
        return any(
            f"{parent}/" in arrays and re.fullmatch(arrays[f"{parent}/"], key[len(parent) + 1 :])
            for parent in _parents(key)
        )

    return [key for key in keys if not belongs(key)]


def keys_of(folder: Path) -> Iterator[str]:
    """Yield the keys of all files and links in a folder."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in [*files, *links]:
            yield Path(place, name).relative_to(folder).as_posix()


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _node(key: str) -> str:
    return key.rpartition("/")[0]


def _parents(key: str) -> Iterator[str]:
    while key:
        key = _node(key)
        yield key
