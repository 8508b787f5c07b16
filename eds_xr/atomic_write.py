"""Files and folders that appear whole or not at all, also when a run is interrupted or killed.

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
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from eds_xr.places import check_free, check_store
from eds_xr.schema import EdsError

_HOST = re.sub(r"[^A-Za-z0-9]+", "_", platform.node()) or "host"
#: Temporary files and folders that this process is writing now.
_ACTIVE: set[Path] = set()


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
    check = partial(check_store, target, overwrite=overwrite, holds=holds)
    with written_folder(target, check) as folder:
        yield folder


@contextmanager
def written_folder(target: Path, check: Callable[[], None]) -> Iterator[Path]:
    """Give an empty folder to write in, as :func:`written_whole`; `check` says what may go.

    `check` raises when there is a `target` that may not be replaced; it is called before and
    after the ``with`` block.
    """
    with _renamed_when_complete(target, check) as folder:
        folder.mkdir()
        yield folder


@contextmanager
def written_file(target: Path, *, overwrite: bool = False, cure: str = "") -> Iterator[Path]:
    """Give a place beside `target` to write a file to; as :func:`written_whole` for folders.

    `cure` ends the error when the disk refuses.

    Raises
    ------
    EdsError
        If `target` exists (without `overwrite`), or the disk refuses.
    """
    check = partial(check_free, target, overwrite=overwrite)
    with _renamed_when_complete(target, check, target.suffix, cure) as file:
        yield file


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


@contextmanager
def _renamed_when_complete(
    target: Path, check: Callable[[], None], suffix: str = "", cure: str = ""
) -> Iterator[Path]:
    unfinished = beside(target, "partial", suffix)
    _ACTIVE.add(unfinished)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        clean_leftovers(target)
        check()
        yield unfinished
        check()  # something may have appeared meanwhile
        _put_in_place(unfinished, target)
    except OSError as error:
        raise EdsError(
            f"writing {target} failed: {error}; nothing was left behind{cure}"
        ) from error
    finally:
        with suppress(OSError):  # no folder, no file
            _remove(unfinished)
        _ACTIVE.discard(unfinished)


def _kind_of_dead(path: Path, target: Path) -> str | None:
    """Return "partial" or "former" if a run that is over left `path`, else None."""
    suffix = f"({re.escape(target.suffix)})?"
    pattern = rf"\.{re.escape(target.name)}\.(partial|former)-{_HOST}-(\d+)-[0-9a-f]+{suffix}"
    match = re.fullmatch(pattern, path.name)
    if match is None or path in _ACTIVE or _is_other_running_process(int(match[2])):
        return None
    return match[1]


def writer_is_gone(path: Path, *, in_use: Container[Path]) -> bool | None:
    """Return whether nobody writes a file any more that was named by :func:`beside`.

    Those of this process are `in_use`; of another machine nobody can tell, None.
    """
    match = re.fullmatch(r"\..+-([A-Za-z0-9_]+)-(\d+)-[0-9a-f]{8}(\.[^.]*)?", path.name)
    if match is None or match[1] != _HOST:
        return None
    if int(match[2]) == os.getpid():
        return path not in in_use
    import psutil

    try:  # a process that started later has only got its number
        return bool(psutil.Process(int(match[2])).create_time() > path.stat().st_mtime)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OSError):
        return False


def _is_other_running_process(pid: int) -> bool:
    import psutil

    return pid != os.getpid() and bool(psutil.pid_exists(pid))


def beside(target: Path, kind: str, suffix: str = "") -> Path:
    """Return a name beside `target` that tells which process writes there; used up by one `with`.

    A file needs its suffix also while it is written.
    """
    name = f".{target.name}.{kind}-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
    return target.with_name(name)


def _put_in_place(unfinished: Path, target: Path) -> None:
    if unfinished.is_file() or not target.exists():
        os.replace(unfinished, target)
        return
    former = beside(target, "former")
    _ACTIVE.add(former)
    try:  # a signal may interrupt between any two of these lines
        os.rename(target, former)
        os.rename(unfinished, target)
        os.rename(former, unfinished)  # half removed, it is never taken for a former store
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
