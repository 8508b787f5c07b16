"""Vendor files: what they say about the recording, and a stream of row blocks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from eds_xr.readers.protocol import Axis, Reader, Recording, count_regions, row_regions
from eds_xr.schema import EdsError

__all__ = [
    "Axis",
    "Reader",
    "Recording",
    "count_regions",
    "extensions",
    "find_reader",
    "read",
    "row_regions",
    "select",
]

#: Extension -> modules that may read it (several formats share some), imported when needed.
_MODULES = {".hspy": ("hyperspy",)}


def extensions() -> tuple[str, ...]:
    """Return the extensions of the files that can be read."""
    return tuple(sorted(_MODULES))


def read(path: Path) -> list[Recording]:
    """Return the spectrum images in a vendor file, without their values.

    Raises
    ------
    EdsError
        If the file is missing, of a format that no reader knows, or damaged.
    """
    return find_reader(path).read(path)


def find_reader(path: Path) -> Reader:
    """Return the reader for a file, by its extension and by how its content begins."""
    head = _head(path)
    names = _MODULES.get(path.suffix.lower())
    if names is None:
        raise EdsError(
            f"{path.name}: no reader for {path.suffix or 'a file without extension'}; "
            f"files that can be read: {', '.join(extensions())}"
        )
    for name in names:
        reader = cast(Reader, import_module(f"eds_xr.readers.{name}"))
        if reader.recognises(head):
            return reader
    raise EdsError(
        f"{path.name} is named {path.suffix}, but its content is of another kind (it begins with "
        f"{head[:8]!r}); it may be damaged or renamed: copy it again from its origin"
    )


def select(recordings: Sequence[Recording], signal: str | None) -> Recording:
    """Return the one recording, or the one named `signal` where there are several."""
    names = ", ".join(repr(r.name) for r in recordings)
    if signal is None:
        if len(recordings) == 1:
            return recordings[0]
        raise EdsError(f"the file holds {len(recordings)} spectrum images: choose signal= {names}")
    for recording in recordings:
        if recording.name == signal:
            return recording
    raise EdsError(f"no spectrum image is named {signal!r}; the file holds {names}")


def _head(path: Path) -> bytes:
    if not path.exists():
        raise EdsError(f"no such file: {path}")
    if path.is_dir():
        raise EdsError(f"expected a file, found a folder: {path}")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise EdsError(f"{path.name} is empty (0 bytes); copy it again from its origin")
    return head
