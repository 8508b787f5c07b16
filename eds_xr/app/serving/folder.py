"""The one folder that a page may read from and write to."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from eds_xr.places import inside
from eds_xr.schema import EdsError


def confined(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder; raise if the name leads out of it.

    Parameters
    ----------
    folder : Path
    name : str
        As typed into a page: a name, or a path below the folder. Absolute paths, drives, ``..``
        and links to elsewhere are refused.
    """
    said = name.strip()
    parts = [*PurePosixPath(said).parts, *PureWindowsPath(said).parts]
    outside = PurePosixPath(said).is_absolute() or PureWindowsPath(said).anchor
    if not said or outside or ".." in parts or "\0" in said or ":" in said:
        raise EdsError(
            f"files are read and written in {folder} only; give the name of a file in it, "
            f"found {name!r}"
        )
    return inside(folder, said)
