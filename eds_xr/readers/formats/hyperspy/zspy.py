"""HyperSpy's Zarr files (``.zspy``): a Zarr 2 folder, or a zip of one.

Metadata are the attributes of groups and small arrays beside them. The values are read with
zarr 3, in slabs of image rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers import chunked_blocks
from eds_xr.readers import metadata as file_metadata
from eds_xr.readers.formats.hyperspy.zarr2_tree import Tree, check_blosc, open_tree
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.guards.sizes import check_compression, check_shape
from eds_xr.readers.guards.zarr import Guarded
from eds_xr.readers.images_on_grid import Image, images_on_grid, is_flat, nothing_found
from eds_xr.readers.protocol import Recording, Region
from eds_xr.schema import EdsError

_ZIP_MAGIC = b"PK\x03\x04"
_CURE = "if the energy axis lacks its unit, set it in HyperSpy (axes_manager) and save again"
#: Decoded chunks in flight.
_IN_FLIGHT_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class _Signal:
    """A signal of the file: its axes, and how its values are stored."""

    name: str
    node: str
    axes: Sequence[Mapping[str, Any]]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    is_blosc: bool


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
        signals = [_signal(tree, name) for name in tree.children("Experiments")]
        images = [(s.name, s.axes, partial(_image, path, s)) for s in signals if is_flat(s.axes)]
        found = [
            _recording(path, tree, signal, images)
            for signal in signals
            if file_metadata.energy_index(signal.axes) is not None
        ]
        if not found:
            raise EdsError(nothing_found(path.name, [(s.name, s.axes) for s in signals], _CURE))
        return found


def _signal(tree: Tree, name: str) -> _Signal:
    node = f"Experiments/{name}/data"
    said = tree.array(node)
    shape, chunks = tuple(said["shape"]), tuple(said["chunks"])
    axes = [tree.attrs(f"Experiments/{name}/axis-{i}") for i in range(len(shape))]
    if [axis.get("size") for axis in axes] != list(shape) or len(chunks) != len(shape):
        raise EdsError(f"the axes of {name!r} do not fit its data of the shape {shape}")
    if min(chunks, default=0) < 1:
        raise EdsError(f"the chunks of {name!r} are {chunks}")
    is_blosc = (said["compressor"] or {}).get("id") == "blosc"
    return _Signal(name, node, axes, shape, chunks, np.dtype(said["dtype"]), is_blosc)


def _recording(path: Path, tree: Tree, signal: _Signal, images: Sequence[Image]) -> Recording:
    energy = file_metadata.energy_index(signal.axes) or 0
    shape, chunks = _energy_last(signal.shape, energy), _energy_last(signal.chunks, energy)
    dtype = signal.dtype.newbyteorder("=")
    check_shape(path.name, shape)
    check_compression(path.name, shape, dtype, tree.size_bytes(signal.node))
    chunked_blocks.check_chunks(path.name, chunks, dtype)
    metadata = tree.dictionary(f"Experiments/{signal.name}/metadata")
    attrs = file_metadata.instrument_attrs(metadata)

    def row_blocks(rows: int) -> Iterator[np.ndarray]:
        with damage_named(path), _opened(path, signal) as array:

            def read_region(region: Region) -> np.ndarray:
                in_file = (*region[:energy], region[-1], *region[energy:-1])
                return np.moveaxis(array[in_file], energy, -1).astype(dtype, copy=False)

            yield from chunked_blocks.row_blocks(read_region, shape, dtype, chunks, rows)

    return Recording(
        name=signal.name,
        axes=file_metadata.recording_axes(signal.axes, attrs.get("signal_type", "")),
        dtype=dtype,
        row_blocks=row_blocks,
        attrs=attrs,
        images=images_on_grid(signal.axes, images),
        original_metadata=file_metadata.plain(
            {
                "metadata": metadata,
                "original_metadata": tree.dictionary(
                    f"Experiments/{signal.name}/original_metadata"
                ),
            }
        ),
    )


def _image(path: Path, signal: _Signal) -> np.ndarray:
    with _opened(path, signal) as array:
        return np.asarray(array[...])


@contextmanager
def _opened(path: Path, signal: _Signal) -> Iterator[Any]:
    """Give the array, read with few decoded chunks in memory at a time."""
    import zarr
    from zarr.storage import LocalStore, ZipStore

    size = max(1, math.prod(signal.chunks) * signal.dtype.itemsize)
    at_once = max(1, min(8, _IN_FLIGHT_BYTES // size))
    store = LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r")

    class Checked(Guarded):
        async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
            value = await super().get(key, *args, **kwargs)
            if value is not None and signal.is_blosc and "/." not in key:
                check_blosc(value.to_bytes(), size)
            return value

    try:
        with zarr.config.set({"async.concurrency": at_once}):
            yield zarr.open_array(Checked(store), path=signal.node, mode="r", zarr_format=2)
    finally:
        store.close()


def _energy_last(sizes: Sequence[int], energy: int) -> tuple[int, ...]:
    return (*sizes[:energy], *sizes[energy + 1 :], sizes[energy])
