"""HyperSpy's Zarr files (``.zspy``): a Zarr 2 folder, or a zip of one.

Metadata are the attributes of groups and small arrays beside them. The values are read with
zarr 3, in slabs of image rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers.formats.hyperspy.signals import Signal, spectrum_images
from eds_xr.readers.formats.hyperspy.zarr2_tree import Tree, check_blosc, open_tree
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.guards.zarr import Guarded
from eds_xr.readers.protocol import Recording
from eds_xr.schema import EdsError

_ZIP_MAGIC = b"PK\x03\x04"
#: Decoded chunks in flight.
_IN_FLIGHT_BYTES = 256 * 2**20


def recognises(head: bytes) -> bool:
    """Return whether a zip, or the document of a Zarr group, begins with `head`."""
    return head.startswith(_ZIP_MAGIC) or b'"zarr_format"' in head


def read(path: Path) -> list[Recording]:
    """Return the spectrum images of a ``.zspy`` folder or zip, without their values.

    Images ``[y, x]`` that lie on the grid of a spectrum image ride along with it.

    Raises
    ------
    EdsError
        If the file is damaged, uses a codec that could run code, or holds no spectrum image.
    """
    with damage_named(path), open_tree(path) as tree:
        names = tree.children("Experiments")
        return spectrum_images(path, [_signal(path, tree, name) for name in names])


def _signal(path: Path, tree: Tree, name: str) -> Signal:
    group = f"Experiments/{name}"
    said = tree.array(f"{group}/data")
    shape, chunks = tuple(said["shape"]), tuple(said["chunks"])
    if min(chunks, default=0) < 1 or len(chunks) != len(shape):
        raise EdsError(f"the chunks of {name!r} are {chunks}")
    return Signal(
        name=name,
        axes=[tree.attrs(f"{group}/axis-{i}") for i in range(len(shape))],
        shape=shape,
        chunks=chunks,
        dtype=np.dtype(said["dtype"]),
        stored_bytes=partial(tree.size_bytes, f"{group}/data"),
        opened=partial(_opened, path, f"{group}/data", said),
        dictionaries=lambda: (
            tree.dictionary(f"{group}/metadata"),
            tree.dictionary(f"{group}/original_metadata"),
        ),
    )


@contextmanager
def _opened(path: Path, node: str, said: Mapping[str, Any]) -> Iterator[Any]:
    """Give the array, read with few decoded chunks in memory at a time."""
    import zarr
    from zarr.storage import LocalStore, ZipStore

    size = max(1, math.prod(said["chunks"]) * np.dtype(said["dtype"]).itemsize)
    at_once = max(1, min(8, _IN_FLIGHT_BYTES // size))
    is_blosc = (said["compressor"] or {}).get("id") == "blosc"
    store = LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r")

    class Checked(Guarded):
        async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
            value = await super().get(key, *args, **kwargs)
            if value is not None and is_blosc and "/." not in key:
                check_blosc(value.to_bytes(), size)
            return value

    try:
        with zarr.config.set({"async.concurrency": at_once}):
            yield zarr.open_array(Checked(store), path=node, mode="r", zarr_format=2)
    finally:
        store.close()
