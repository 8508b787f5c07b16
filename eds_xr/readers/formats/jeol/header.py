"""The header of JEOL's ``.pts`` files: a few fixed numbers, and a tree of named values.

A node of the tree is its name, the type of its value, the value, and then its children: each
child begins with a byte 1, and a byte 255 ends them. Lengths and numbers are little-endian, text
is in the code page of Japanese Windows.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eds_xr.schema import EdsError

MAGIC = b"PTTDFILE"
#: Key of a node's own value, where it has children too.
VALUE = "_value"

#: Magic twice, version, kind; then where the tree and the stream of events lie, and their lengths.
_FIXED = struct.Struct("<I8sIIIIII")
_TITLE, _DATE = slice(0xA4, 0x128), 0x128
#: Dates are days since then.
_FIRST_DAY = datetime(1899, 12, 30)
#: Real trees have some 20 kB, 200 nodes and 6 levels.
_LONGEST_TREE, _MOST_NODES, _MOST_LEVELS = 2**24, 100_000, 50
_LONGEST_UNKNOWN = 64
_CHILD, _END = 1, 255
_TEXT_CODE = "cp932"

_NUMBERS = {1: "<u1", 2: "<u2", 3: "<i4", 4: "<f4", 5: "<f8", 11: "?", 14: "<u2"}
_ARRAYS = {6: "<u1", 7: "<u2", 8: "<i4", 9: "<f4", 10: "<f8"}
_TEXT, _TEXTS, _LABEL = 12, 13, 20


class Header(NamedTuple):
    """What the header of a file says.

    The length of the stream is counted from its own start by some versions, from the start of
    the file by others.
    """

    title: str
    recorded: str  # ISO 8601, empty if there is no date
    stream_offset: int
    stream_length: int
    tree: dict[str, Any]


@dataclass(eq=False)
class _Node:
    """A node that is being read: its own value and children, and where it belongs."""

    values: dict[str, Any]
    parent: dict[str, Any]
    name: str


def read_header(path: Path) -> Header:
    """Return the header of a file.

    Raises
    ------
    EdsError
        If the file is cut short within it, or it is no header.
    """
    with path.open("rb") as file:
        start = file.read(_DATE + 8)
        if len(start) < _DATE + 8 or not start[4:].startswith(MAGIC):
            raise EdsError("this is no JEOL .pts file, or one cut short in its first bytes")
        *_, offset, length, stream_offset, stream_length = _FIXED.unpack_from(start)
        if length > _LONGEST_TREE:
            raise EdsError(_damaged(f"it claims a header of {length:,} bytes"))
        file.seek(offset)
        tree = read_tree(file.read(length))
    return Header(
        title=_text(start[_TITLE]),
        recorded=_date(struct.unpack_from("<d", start, _DATE)[0]),
        stream_offset=stream_offset,
        stream_length=stream_length,
        tree=tree,
    )


def read_tree(content: bytes) -> dict[str, Any]:
    """Return the values of a tree of nodes by their names.

    Numbers become Python's, arrays NumPy's; values of unknown type their bytes in hexadecimal.
    """
    whole: dict[str, Any] = {}
    root, position = _node(content, 0, whole)
    open_nodes, nodes = [root], 1
    while open_nodes:
        marker = _taken(content, position, 1)[0]
        position += 1
        if marker == _END:
            _close(open_nodes.pop())
            continue
        if marker != _CHILD:
            raise EdsError(_damaged(f"byte {position} of its tree is {marker}, expected 1 or 255"))
        node, position = _node(content, position, open_nodes[-1].values)
        open_nodes.append(node)
        nodes += 1
        if nodes > _MOST_NODES or len(open_nodes) > _MOST_LEVELS:
            raise EdsError(_damaged("its tree is too large or too deep"))
    tree = whole.get("")
    return tree if isinstance(tree, dict) else {}


def _node(content: bytes, position: int, parent: dict[str, Any]) -> tuple[_Node, int]:
    """Return the node whose name begins at `position`, and where its value ends."""
    (length,) = struct.unpack("<I", _taken(content, position, 4))
    name = _text(_taken(content, position + 4, length))
    position += 4 + length
    kind, size = struct.unpack("<II", _taken(content, position, 8))
    value = _value(kind, _taken(content, position + 8, size))
    values = {} if value is None else {VALUE: value}
    return _Node(values, parent, name), position + 8 + size


def _close(node: _Node) -> None:
    """Put a node that is complete where it belongs; siblings of one name are numbered."""
    name = node.name
    if name in node.parent:
        name = f"{name}_{len(node.parent)}"
    node.parent[name] = node.values[VALUE] if set(node.values) == {VALUE} else node.values


def _taken(content: bytes, position: int, length: int) -> bytes:
    if length > len(content) - position:
        raise EdsError(_damaged(f"it ends at byte {len(content)} of its tree, in a value"))
    return content[position : position + length]


def _value(kind: int, raw: bytes) -> Any:
    number, array = _NUMBERS.get(kind), _ARRAYS.get(kind)
    if not raw:
        return None
    if number and len(raw) == np.dtype(number).itemsize:
        return _shortest(np.frombuffer(raw, number)[0])
    if array and len(raw) % np.dtype(array).itemsize == 0:
        return np.frombuffer(raw, array)
    if kind in (_TEXT, _LABEL):
        return _text(raw)
    if kind == _TEXTS:
        return [_text(part) for part in raw.rstrip(b"\0").split(b"\0")]
    if len(raw) <= _LONGEST_UNKNOWN:
        return raw.hex()
    return f"{len(raw)} bytes of type {kind}"


def _shortest(number: Any) -> Any:
    """Return a number as Python's; a float of 32 bits without the digits that it lacks."""
    return float(str(number)) if number.dtype == np.float32 else number.item()


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(_TEXT_CODE, errors="replace")


def _date(days: float) -> str:
    if not (math.isfinite(days) and 0 < days < 100_000):
        return ""
    return (_FIRST_DAY + timedelta(days=days)).isoformat(timespec="seconds")


def _damaged(found: str) -> str:
    return f"the header is damaged: {found}; copy the file again from its origin"
