"""A folder appears whole or not at all, also when the run is interrupted or killed.

It is written under a temporary name beside its final one and renamed when complete. The
temporary name tells host and process, so that a later run recognises what a killed one left.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eds_xr._parts.remote import check_free_url, written_last
from eds_xr._parts.store_keys import foreign, keys_of
from eds_xr.schema import EdsError

_HOST = re.sub(r"[^A-Za-z0-9]+", "_", platform.node()) or "host"
#: Temporary folders that this process is writing now.
_ACTIVE: set[Path] = set()


@contextmanager
def written(target: Path | str, *, overwrite: bool = False) -> Iterator[str]:
    """Give the place where to write a store, a folder or (for a text) a URL, whole or not at all.

    See :func:`written_whole` and :func:`eds_xr._parts.remote.written_last`.
    """
    if isinstance(target, str):
        with written_last(target, overwrite=overwrite) as place:
            yield place
    else:
        with written_whole(target, overwrite=overwrite) as folder:
            yield str(folder)


@contextmanager
def written_whole(
    target: Path, *, overwrite: bool = False, holds: str = "counts"
) -> Iterator[Path]:
    """Give an empty folder to write in; make it `target` when the ``with`` block succeeds.

    Whatever the block raises, KeyboardInterrupt too, the folder is removed and a former
    `target` stays as it was. With `overwrite` the former one is replaced at the very end.

    Raises
    ------
    EdsError
        If `target` exists and may not be replaced, see :func:`check_store`, or the disk refuses.
    """
    partial = beside(target, "partial")
    _ACTIVE.add(partial)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        clean_leftovers(target)
        check_store(target, overwrite=overwrite, holds=holds)
        partial.mkdir()
        yield partial
        check_store(target, overwrite=overwrite, holds=holds)  # it may have changed meanwhile
        _put_in_place(partial, target)
    except OSError as error:
        raise EdsError(
            f"writing {target} failed: {error}; nothing of it was left behind"
        ) from error
    finally:
        _remove(partial)
        _ACTIVE.discard(partial)


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


def check_target(target: Path | str, *, overwrite: bool) -> None:
    """Raise if there is something at `target` that may not be replaced."""
    if isinstance(target, str):
        check_free_url(target, overwrite=overwrite)
    else:
        check_store(target, overwrite=overwrite, holds="counts")


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
    others = foreign(keys_of(target))
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


def clean_leftovers(target: Path) -> None:
    """Remove what killed runs left beside `target`.

    A former target that a run moved aside, and died before the new one was in place, is
    put back. Leftovers of other hosts are not touched: their run may be alive.
    """
    if not target.parent.is_dir():
        return
    for path in sorted(target.parent.iterdir()):
        kind = _kind_of_dead(path, target)
        if kind == "former" and not target.exists():
            os.replace(path, target)
        elif kind:
            _remove(path)


def _kind_of_dead(path: Path, target: Path) -> str | None:
    """Return "partial" or "former" if a run that is over left `path`, else None."""
    suffix = f"({re.escape(target.suffix)})?"
    pattern = rf"\.{re.escape(target.name)}\.(partial|former)-{_HOST}-(\d+)-[0-9a-f]+{suffix}"
    match = re.fullmatch(pattern, path.name)
    if match is None or path in _ACTIVE or _is_other_running_process(int(match[2])):
        return None
    return match[1]


def _is_other_running_process(pid: int) -> bool:
    import psutil

    return pid != os.getpid() and bool(psutil.pid_exists(pid))


def beside(target: Path, kind: str, suffix: str = "") -> Path:
    """Return a name beside `target` that tells which process writes there; used up by one `with`.

    A file needs its suffix also while it is written.
    """
    name = f".{target.name}.{kind}-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
    return target.with_name(name)


def _put_in_place(partial: Path, target: Path) -> None:
    if not target.exists():
        os.rename(partial, target)
        return
    former = beside(target, "former")
    _ACTIVE.add(former)
    try:  # a signal may interrupt between any two of these lines
        os.rename(target, former)
        os.rename(partial, target)
        os.rename(former, partial)  # half removed, it is never taken for a former store
    except BaseException:
        if former.exists() and not target.exists():
            os.rename(former, target)
        raise
    finally:
        _ACTIVE.discard(former)


def _remove(path: Path) -> None:
    """Remove a file or folder; threads of a cancelled computation may still add a file or two."""
    for _ in range(20):
        if not path.exists():
            return
        if path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)
        time.sleep(0.02)
