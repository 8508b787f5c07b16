"""Where results are written: what is free, what may be replaced, which files make a store."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from eds_xr.schema import EdsError

_DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
#: Where chunks of Zarr 3 and of Zarr 2 lie in their array.
_CHUNKS = {"zarr.json": r"c([/.]\d+)*", ".zarray": r"\d+([/.]\d+)*"}
#: What a killed run of zarr leaves of a chunk; what systems put in any folder that is looked at.
_LITTER = re.compile(r"\S+\.[0-9a-f]{32}\.partial|\.DS_Store|Thumbs\.db|desktop\.ini")
#: Groups that we write below the root.
_GROUPS = re.compile(r"(pyramid(/\d+)?)?")


def foreign_keys(keys: Iterable[str]) -> list[str]:
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


def local_or_url(store: str | os.PathLike[str]) -> Path | str:
    """Return where to write: a path on this machine, or the text of a URL."""
    text = str(store)
    if "://" not in text:
        return Path(text).expanduser().resolve()
    scheme, rest = text.split("://", 1)
    if scheme not in ("file", "local"):
        return text.rstrip("/")
    from fsspec.core import url_to_fs

    return Path(url_to_fs(f"file://{rest}")[1])


def check_store(target: Path, *, overwrite: bool, holds: str) -> None:
    """Raise if `target` exists, unless it may be replaced and is nothing but a store.

    Parameters
    ----------
    target : Path
    overwrite : bool
    holds : str
        The array that makes it a store of our kind: ``counts``, or ``label``.
    """
    check_free(target, overwrite=overwrite)
    if not target.exists():
        return
    if not (is_zarr_group(target) and (target / holds).is_dir()):
        kind = {"counts": "spectrum image", "label": "label image"}[holds]
        raise EdsError(
            f"{target} exists and is not a {kind} store, so it is never replaced; "
            "choose another name, or remove it yourself"
        )
    others = foreign_keys(keys_of(target))
    if others:
        raise EdsError(
            f"{target} holds more than the store: {', '.join(others[:3])}"
            f"{f' and {len(others) - 3} more' if len(others) > 3 else ''}, which would be lost; "
            "move that elsewhere, or choose another name"
        )


def inside(folder: Path, key: str) -> Path:
    """Return the path of a file in a folder; raise if it leads out of it, or is no plain file.

    Parameters
    ----------
    folder : Path
    key : str
        Where in the folder. The folder may itself be reached by a link.
    """
    root = folder.resolve()
    path = (root / key).resolve()
    if not path.is_relative_to(root):
        raise EdsError(
            f"{key} in {folder} is a link to {path}, outside of the store; only what lies in a "
            "store is read: replace the link by a copy of what it leads to, if you trust it"
        )
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise EdsError(f"{key} in {folder} is no plain file; copy the store from its origin")
    return path


def is_zarr_group(path: Path) -> bool:
    """Return whether a folder is a Zarr group."""
    return (path / "zarr.json").is_file() or (path / ".zgroup").is_file()


def check_free(target: Path, *, overwrite: bool) -> None:
    """Raise if `target` exists and may not be replaced."""
    if target.exists() and not overwrite:
        raise EdsError(f"{target} exists; use overwrite=True to replace it, or choose another name")


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _node(key: str) -> str:
    return key.rpartition("/")[0]


def _parents(key: str) -> Iterator[str]:
    while key:
        key = _node(key)
        yield key
