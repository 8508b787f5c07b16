"""A file appears whole or not at all, also when the run is interrupted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eds_xr._parts.whole import beside, check_free, clean_leftovers
from eds_xr.schema import EdsError


@contextmanager
def written_file(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a place beside `target` to write to; rename it when the ``with`` block succeeds.

    Raises
    ------
    EdsError
        If `target` exists (without `overwrite`), or the disk refuses.
    """
    check_free(target, overwrite=overwrite)
    partial = beside(target, "partial", target.suffix)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        clean_leftovers(target)
        yield partial
        check_free(target, overwrite=overwrite)  # it may have appeared meanwhile
        os.replace(partial, target)
    except OSError as error:
        raise EdsError(f"writing {target} failed: {error}; nothing was left behind") from error
    finally:
        with suppress(OSError):  # no folder, no file
            partial.unlink(missing_ok=True)
