"""Where a store is written: a folder that appears whole, or a URL whose root comes last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eds_xr.atomic_write import written_whole
from eds_xr.places import check_store, foreign_keys
from eds_xr.readers.guards.timeouts import ask
from eds_xr.schema import EdsError
from eds_xr.store.retries import is_of_storage, persistently

#: Object that is there while a store is being written.
_MARKER = "eds_xr.partial"
_DOCUMENTS = ("zarr.json", ".zgroup")


@contextmanager
def written_last(url: str, *, overwrite: bool = False) -> Iterator[str]:
    """Give the URL, free of all objects, to write in; the root document is to be written last.

    Whatever the block raises, KeyboardInterrupt too, all objects are removed.

    Raises
    ------
    EdsError
        If there is a store at `url` (without `overwrite`), or objects that are no store, or if
        the file system refuses.
    """
    check_free_url(url, overwrite=overwrite)
    files, root = _files(url)
    try:
        ask(files, "makedirs", root, exist_ok=True)
        ask(files, "pipe_file", f"{root}/{_MARKER}", b"")
        _clear(files, root)
        yield url
        with suppress(OSError):  # the store is whole: a marker that stays does no harm
            ask(files, "rm_file", f"{root}/{_MARKER}")
    except BaseException as error:
        with suppress(Exception):
            _clear(files, root)
            ask(files, "rm_file", f"{root}/{_MARKER}")
        if isinstance(error, Exception) and is_of_storage(error):
            raise EdsError(f"writing {url} failed: {error}; no store was left behind") from error
        raise


def check_free_url(url: str, *, overwrite: bool) -> None:
    """Raise if there is something at `url` that may not be replaced."""
    files, root = _files(url)
    try:
        files.invalidate_cache()
        is_store = any(ask(files, "exists", f"{root}/{name}") for name in _DOCUMENTS)
        arrays = (f"{root}/counts/{name}" for name in ("zarr.json", ".zarray"))
        is_image = any(ask(files, "exists", name) for name in arrays)
        left = ask(files, "exists", f"{root}/{_MARKER}")
        found = ask(files, "find", root) if ask(files, "exists", root) else []
        keys = {str(path).removeprefix(root).strip("/") for path in found} - {_MARKER}
    except Exception as error:  # each file system raises its own
        raise EdsError(f"cannot reach {url} ({type(error).__name__}: {error})") from error
    if is_store and is_image and not overwrite:
        raise EdsError(f"{url} exists; use overwrite=True to replace it, or choose another name")
    others = foreign_keys(keys)
    if (is_store or left) and others:
        raise EdsError(
            f"{url} holds more than the store: {', '.join(others[:3])}, which would be lost; "
            "move that elsewhere, or choose another name"
        )
    if found and not (left or (is_store and is_image)):
        raise EdsError(
            f"{url} exists and is not a spectrum image store, so it is never replaced; "
            "choose another name, or remove it yourself"
        )


@contextmanager
def written(target: Path | str, *, overwrite: bool = False) -> Iterator[str]:
    """Give the place where to write a store, a folder or (for a text) a URL, whole or not at all.

    See :func:`written_whole` and :func:`eds_xr.store.targets.written_last`.
    """
    if isinstance(target, str):
        with written_last(target, overwrite=overwrite) as place:
            yield place
    else:
        with written_whole(target, overwrite=overwrite) as folder:
            yield str(folder)


def check_target(target: Path | str, *, overwrite: bool) -> None:
    """Raise if there is something at `target` that may not be replaced."""
    if isinstance(target, str):
        check_free_url(target, overwrite=overwrite)
    else:
        check_store(target, overwrite=overwrite, holds="counts")


class StillWritten:
    """An array of a store, written to only while the store is being made.

    What a worker of a cluster computes when a run is interrupted, it computes to the end: it must
    not write to a store that was given up and removed.
    """

    def __init__(self, array: Any, place: str) -> None:
        self._array, self._place = array, place

    def __setitem__(self, region: Any, block: Any) -> None:
        if _is_being_made(self._place):
            persistently(lambda: self._array.__setitem__(region, block))


def _is_being_made(place: str) -> bool:
    if "://" not in place:
        return Path(place).is_dir()
    files, root = _files(place)
    files.invalidate_cache()
    return bool(persistently(lambda: ask(files, "exists", f"{root}/{_MARKER}")))


def _clear(files: Any, root: str) -> None:
    """Remove all objects of a store but the marker, its root documents first."""
    files.invalidate_cache()
    for name in _DOCUMENTS:
        if ask(files, "exists", f"{root}/{name}"):
            ask(files, "rm_file", f"{root}/{name}")
    others = [path for path in ask(files, "find", root) if not path.endswith(f"/{_MARKER}")]
    if others:
        ask(files, "rm", others)


def _files(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        files, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise EdsError(f"cannot write to {url}: {error}") from error
    return files, str(root).rstrip("/")
