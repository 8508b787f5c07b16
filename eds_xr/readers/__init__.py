"""Vendor files: what they say about the recording, and a stream of row blocks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path

import numpy as np

from eds_xr.places import inside
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.guards.sizes import check_axes, check_shape
from eds_xr.readers.protocol import GROUP, Axis, Reader, Recording, count_regions, row_regions
from eds_xr.schema import EdsError

__all__ = [
    "GROUP",
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

#: Extension -> modules of `formats` that may read it; entries as those of outside packages.
_BUILT_IN = {
    ".bcf": ("bruker.reader",),
    ".dm3": ("gatan.reader",),
    ".dm4": ("gatan.reader",),
    ".emd": ("velox.reader",),
    ".emi": ("tia",),
    ".h5": ("labelled", "hyperspy.hspy"),
    ".hdf5": ("labelled", "hyperspy.hspy"),
    ".hspy": ("hyperspy.hspy",),
    ".nc": ("labelled",),
    ".npy": ("arrays",),
    ".pts": ("jeol.reader",),
    ".raw": ("lispix",),
    ".rpl": ("lispix",),
    ".ser": ("tia",),
    ".spd": ("edax",),
    ".zarr": ("labelled",),
    ".zspy": ("hyperspy.zspy",),
}
#: The extensions of folders; all others are files.
_FOLDERS = {".zarr", ".zspy"}
#: The document of a Zarr group, which stands for the head of a folder.
_DOCUMENTS = ("zarr.json", ".zgroup")
_HEAD_BYTES = 4096


def extensions() -> tuple[str, ...]:
    """Return the extensions of the files that can be read, those of outside packages too."""
    others = (extension for entry in _plug_ins(*sys.path) for extension in _names(entry))
    return tuple(sorted({*_BUILT_IN, *others}))


def read(path: Path) -> list[Recording]:
    """Return the spectrum images in a vendor file, without their values.

    Raises
    ------
    EdsError
        If the file is missing, of a format that no reader knows, or damaged.
    """
    reader = find_reader(path)
    with damage_named(path):
        recordings = reader.read(path)
        for recording in recordings:
            check_shape(path.name, recording.shape)
            check_axes(path.name, recording.axes)
    return [_guarded(path, recording) for recording in recordings]


def find_reader(path: Path) -> Reader:
    """Return the reader for a file or folder, by its extension and how its content begins."""
    _check_there(path)
    entries = list(_entries(path.suffix.lower()))
    if not entries:
        raise EdsError(
            f"{path.name}: no reader for {path.suffix or 'a file without extension'}; "
            f"files that can be read: {', '.join(extensions())}"
        )
    head = _head(path)
    for entry in entries:
        reader = _loaded(entry)
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
        taken = [r for r in recordings if r.preferred] or recordings
        if len(taken) == 1:
            return taken[0]
        raise EdsError(f"the file holds {len(recordings)} spectrum images: choose signal= {names}")
    for recording in recordings:
        if recording.name == signal:
            return recording
    raise EdsError(f"no spectrum image is named {signal!r}; the file holds {names}")


def _entries(extension: str) -> Iterator[EntryPoint]:
    """Yield the readers that may read files of an extension, ours first."""
    for module in _BUILT_IN.get(extension, ()):
        yield EntryPoint(extension, f"{__name__}.formats.{module}", GROUP)
    yield from (entry for entry in _plug_ins(*sys.path) if extension in _names(entry))


@lru_cache(maxsize=1)
def _plug_ins(*_: str) -> EntryPoints:
    """Return what installed packages offer; looked for once, as all of them are searched."""
    return entry_points(group=GROUP)


def _names(entry: EntryPoint) -> list[str]:
    return entry.name.lower().split()


def _loaded(entry: EntryPoint) -> Reader:
    try:
        reader: Reader = entry.load()
        reader.read, reader.recognises  # noqa: B018
    except Exception as error:  # whatever an outside package raises
        raise EdsError(
            f"the reader of {entry.name} files that {entry.dist.name if entry.dist else 'eds_xr'} "
            f"brings ({entry.value}) cannot be used: {type(error).__name__}: {error}; update that "
            "package, or uninstall it"
        ) from error
    return reader


def _check_there(path: Path) -> None:
    if not path.exists():
        raise EdsError(f"no such file: {path}")
    if path.is_dir() and path.suffix.lower() not in _FOLDERS:
        raise EdsError(f"expected a file, found a folder: {path}")


def _head(path: Path) -> bytes:
    if path.is_dir():
        documents = [p for name in _DOCUMENTS if (p := inside(path, name)).is_file()]
        if not documents:
            raise EdsError(
                f"{path.name} is no Zarr group: it has no {' or '.join(_DOCUMENTS)}; "
                "copy the whole folder"
            )
        path = documents[0]
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise EdsError(f"{path.name} is empty (0 bytes); copy it again from its origin")
    return head


def _guarded(path: Path, recording: Recording) -> Recording:
    """Return the recording with errors that name the file, also while its values are read."""

    def row_blocks(rows: int) -> Iterator[np.ndarray]:
        with damage_named(path):
            yield from recording.row_blocks(rows)

    return replace(recording, row_blocks=row_blocks)
