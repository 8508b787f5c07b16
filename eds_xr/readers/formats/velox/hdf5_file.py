"""Velox's HDF5 files, distrusted: sizes are checked against what lies in the file.

What is read from such a file (names, JSON texts, shapes) may be damaged or made to harm; all of
that ends in an EdsError before memory is taken for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.guards.hdf5_text import read_text
from eds_xr.schema import EdsError

#: Bytes of the longest JSON text; Velox writes 60,000 at most for a frame.
_LONGEST_TEXT = 4 * 2**20
#: Texts below one group that are kept.
_MOST_TEXTS = 500
#: Decoded bytes of an HDF5 chunk; Velox writes 16 KiB, or one image.
_LARGEST_CHUNK = 2**28
#: Decoded bytes a stored byte, at most: what deflate can reach.
_MOST_COMPRESSED = 1100
_MOST_CHILDREN = 100_000
#: Frames from the last one backwards whose metadata are tried.
_TRIED_FRAMES = 4


class VeloxFile:
    """An open file of Velox: its groups, JSON texts and datasets."""

    def __init__(self, file: Any, path: Path):
        self._file = file
        self._path = path

    def children(self, group: str) -> list[str]:
        """Return the paths of what lies in a group, in the order of their names."""
        found = self._file.get(group)
        if found is None or not hasattr(found, "keys"):
            return []
        if len(found) > _MOST_CHILDREN:
            raise EdsError(f"{group} holds {len(found)} entries, expected {_MOST_CHILDREN} at most")
        return [f"{group}/{name}" for name in sorted(found)]

    def __contains__(self, path: str) -> bool:
        return path in self._file

    def dataset(self, path: str) -> Any:
        """Return a dataset whose values all lie in this very file."""
        found = self._file.get(path)
        if found is None or not hasattr(found, "dtype"):
            raise EdsError(f"it has no dataset {path}")
        if found.is_virtual or found.external or found.file.filename != self._file.filename:
            raise EdsError(f"the values of {path} lie in another file, expected them in this one")
        if math.prod(found.chunks or ()) * found.dtype.itemsize > _LARGEST_CHUNK:
            raise EdsError(f"{path} is stored in chunks of {found.chunks}, far too large ones")
        if found.dtype.kind != "O" and found.nbytes > _MOST_COMPRESSED * _stored_bytes(found):
            raise EdsError(f"{path} is shorter than its shape says: {found.shape}")
        return found

    def json(self, path: str) -> dict[str, Any]:
        """Return a JSON text that is a dataset of its own."""
        return _parsed(read_text(self._path, self.dataset(path)), path)

    def metadata(self, group: str) -> dict[str, Any]:
        """Return the JSON text of the last frame (live times add up) that has a valid one."""
        dataset = self.dataset(f"{group}/Metadata")
        if dataset.ndim != 2 or dataset.dtype != np.uint8 or dataset.shape[0] > _LONGEST_TEXT:
            raise EdsError(f"{dataset.name} has the shape {dataset.shape} of {dataset.dtype}")
        last = dataset.shape[1] - 1
        for column in [*range(last, max(0, last - _TRIED_FRAMES), -1), 0]:
            text = dataset[:, column].tobytes()
            if text.strip(b"\0 \n"):
                return _parsed(text, str(dataset.name))
        raise EdsError(f"{dataset.name} is empty, expected JSON")

    def tree(self, path: str) -> Any:
        """Return the JSON texts in and below a group; what is none of them is left out."""
        texts: dict[str, Any] = {}
        for name in [path, *self.children(path)]:
            for text in [name, *(self.children(name) if name != path else ())]:
                if len(texts) < _MOST_TEXTS and self._is_text(text):
                    texts[text] = self._lenient(text)
        return texts.get(path, texts)

    def words(self, path: str) -> tuple[Callable[[int, int], np.ndarray], int]:
        """Return a function that reads uint16 words of a dataset, and their number."""
        dataset = self.dataset(path)
        length = dataset.shape[0] if dataset.ndim else 0
        if dataset.dtype.kind != "u" or dataset.dtype.itemsize != 2 or dataset.size != length:
            raise EdsError(
                f"{path} is {dataset.dtype} of shape {dataset.shape}, expected a column of uint16"
            )

        def read(start: int, stop: int) -> np.ndarray:
            return np.ascontiguousarray(dataset[start:stop], np.uint16).reshape(-1)

        return read, length

    def _is_text(self, path: str) -> bool:
        found = self._file.get(path)
        return hasattr(found, "dtype") and found.dtype.kind == "O" and found.size == 1

    def _lenient(self, path: str) -> Any:
        try:
            return self.json(path)
        except EdsError as error:
            return str(error)


@contextmanager
def open_velox(path: Path) -> Iterator[VeloxFile]:
    """Open a file of Velox; damage that shows while it is open becomes an EdsError."""
    import h5py

    try:
        with damage_named(path), h5py.File(path, "r") as file:
            velox = VeloxFile(file, path)
            if "Version" not in velox or velox.json("Version").get("format") != "Velox":
                raise EdsError(
                    "expected Velox's own layout, found another HDF5 file; if other software "
                    "wrote it (such as py4DSTEM), save it as HyperSpy's .hspy there"
                )
            yield velox
    except EdsError as error:
        if path.name in str(error):
            raise
        raise EdsError(f"{path.name}: {error}") from error


def branch(tree: Any, *keys: str) -> Mapping[str, Any]:
    """Return a branch of a JSON tree, empty where there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}


def number(tree: Mapping[str, Any], key: str) -> float | None:
    """Return a finite number of a JSON tree (Velox writes them as text), or None."""
    value = tree.get(key)
    try:
        found = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole_number(tree: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number of a JSON tree, or None."""
    found = number(tree, key)
    return int(found) if found is not None and found == int(found) else None


def _stored_bytes(dataset: Any) -> int:
    """Return the bytes that a dataset takes in the file; its data may be compressed."""
    stored = int(dataset.id.get_storage_size())
    filters = dataset.id.get_create_plist().get_nfilters()
    # without a filter one stored byte is one byte; the last chunk is padded
    return stored if filters else -(-stored // _MOST_COMPRESSED)


def _parsed(text: bytes, path: str) -> dict[str, Any]:
    try:
        tree = json.loads(text.split(b"\0", 1)[0])
    except (ValueError, RecursionError) as error:
        raise EdsError(f"{path} is no valid JSON ({error}); the file may be damaged") from error
    if not isinstance(tree, dict):
        raise EdsError(f"{path} is JSON of type {type(tree).__name__}, expected named values")
    return tree
