"""What a command of an app is given: a store, a vendor file, or the result of an analysis."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import xarray as xr

from eds_xr.analysis.files import COUNTS, TREE, open_analysis
from eds_xr.progress import say
from eds_xr.schema import EdsError
from eds_xr.store import conversion, opening


class Source(NamedTuple):
    """An image to be shown.

    Attributes
    ----------
    image : DataArray [y, x, energy; counts]
    result : DataTree, optional
        The analysis of it.
    code : tuple of str
        Statements that open both again.
    folder : Path
        Where what belongs to it is saved.
    name : str
    """

    image: xr.DataArray
    result: xr.DataTree | None
    code: tuple[str, ...]
    folder: Path
    name: str


def opened(source: str) -> Source:
    """Open what a command is given; a vendor file is converted first, with sums of pixels.

    Lazy: but for the conversion.

    Raises
    ------
    EdsError
        If it is none of these, or an analysis whose image is not there any more.
    """
    path = Path(source).expanduser()
    if "://" not in source and (path / TREE).is_dir():
        return _analysis(path)
    if "://" not in source and path.name == TREE:
        return _analysis(path.parent)
    if "://" not in source and path.is_file():
        path = _converted(path)
        source = str(path)
    folder = Path.cwd() if "://" in source else path.resolve().parent
    code = (f"image = eds_xr.open({source!r})",)
    return Source(opening.open(source), None, code, folder, path.name)


def _analysis(folder: Path) -> Source:
    tree = open_analysis(folder)
    store = folder / COUNTS
    if not store.is_dir():
        store = Path(str(tree.attrs.get("source", "")))
    if not ("://" in str(store) or opening.is_store(store)):
        raise EdsError(
            f"the image of the analysis in {folder} is not at {store} any more; put it back there, "
            "or explore the store itself"
        )
    code = (
        "from eds_xr.analysis.files import open_analysis",
        f"result = open_analysis({str(folder)!r})",
        f"image = eds_xr.open({str(store)!r})",
    )
    return Source(opening.open(store), tree, code, folder.resolve(), folder.resolve().name)


def _converted(path: Path) -> Path:
    """Return the store beside a vendor file; write it if there is none."""
    target = path.with_suffix(".zarr")
    if opening.is_store(target):
        say(f"{target} is shown, to which {path.name} was converted before")
        return target
    say(f"{path.name} is converted to {target}")
    conversion.convert(path, target, pyramid=True)
    return target
