"""The Python of what was done in an app: it grows, and runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import xarray as xr

from eds_xr.store.opening import SOURCE, StoredArray


class Script:
    """Statements by what they are for: what is done anew replaces what was there.

    Parameters
    ----------
    opening : sequence of str
        Statements that make ``image``, and ``result`` where there is one.
    """

    def __init__(self, opening: Iterable[str]) -> None:
        self._opening = list(opening)
        self._blocks: dict[str, str] = {}

    def put(self, key: str, code: str) -> None:
        """Set the statements of a key; a new one comes last."""
        self._blocks[key] = code.strip()

    def remove(self, key: str) -> None:
        """Forget the statements of a key."""
        self._blocks.pop(key, None)

    def text(self) -> str:
        """Return the whole as a program."""
        body = "\n\n".join([*("\n".join(self._opening), *self._blocks.values())])
        names = [n for n in ("masks", "scribbles") if re.search(rf"\b{n}\.", body)]
        imports = ["import eds_xr"]
        if names:
            imports.append(f"from eds_xr import {', '.join(names)}")
        return "\n".join(imports) + "\n\n" + body + "\n"


def opening_of(image: xr.DataArray) -> str:
    """Return the statement that opens an image again, or a remark where it was changed since."""
    store = store_of(image)
    if store:
        return f"image = eds_xr.open({store!r})"
    return "# image: the spectrum image that explore() was given"


def store_of(image: xr.DataArray) -> str:
    """Return the store that an image was opened from; nothing if it was changed since."""
    if image.chunks is None:
        return ""
    layers: dict[str, Any] = dict(image.data.dask.layers)
    opened = image.data.name
    if set(layers) - {opened, f"original-{opened}"} or opened not in layers:
        return ""
    if SOURCE in image.encoding:
        return str(image.encoding[SOURCE][0])
    origin = layers.get(f"original-{opened}", {})
    found = [v for v in map(_held, dict(origin).values()) if isinstance(v, StoredArray)]
    return found[0].store if found and found[0].shape == image.shape else ""


def _held(task: Any) -> Any:
    """Return what a node of Dask's graph holds."""
    return getattr(task, "value", task)


def name_of(text: str, taken: Iterable[str] = ()) -> str:
    """Return a name of Python for what is called so.

    Examples
    --------
    >>> name_of("Fe_Ka"), name_of("5.41 keV"), name_of("score: a+b")
    ('fe_ka', 'map_5_41_kev', 'score_a_b')
    """
    name = re.sub(r"\W+", "_", text).strip("_").lower() or "map"
    name = name if name[0].isalpha() else f"map_{name}"
    number, free = 1, name
    while free in set(taken):
        number += 1
        free = f"{name}_{number}"
    return free
