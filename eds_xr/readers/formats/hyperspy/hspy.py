"""HyperSpy's HDF5 files (``.hspy``): described by RosettaSciIO, streamed by h5py.

The values are read in slabs of image rows straight from the HDF5 dataset, so that memory is
bounded by the slab; the file is open only while it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers import chunked_blocks
from eds_xr.readers import metadata as file_metadata
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.guards.hdf5 import HDF5_MAGIC, check_hdf5
from eds_xr.readers.guards.sizes import check_compression, check_shape
from eds_xr.readers.images_on_grid import Image, images_on_grid, is_flat, nothing_found
from eds_xr.readers.protocol import Recording, Region
from eds_xr.schema import EdsError

_CURE = "if the energy axis lacks its unit, set it in HyperSpy (axes_manager) and save again"


@dataclass(frozen=True, eq=False)
class _Signal:
    """A signal of the file, as RosettaSciIO describes it, and its (open) HDF5 dataset."""

    entry: Mapping[str, Any]
    dataset: Any

    @property
    def name(self) -> str:
        return str(self.dataset.parent.name).rsplit("/", 1)[-1]

    @property
    def axes(self) -> Sequence[Mapping[str, Any]]:
        return self.entry["axes"]


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with `head` is HDF5."""
    return head.startswith(HDF5_MAGIC)


def read(path: Path) -> list[Recording]:
    """Return the spectrum images of a ``.hspy`` file, without their values.

    Images ``[y, x]`` that lie on the grid of a spectrum image ride along with it.

    Raises
    ------
    EdsError
        If the file is damaged, or holds no spectrum image.
    """
    check_hdf5(path)
    with damage_named(path), _signals(path) as signals:
        images = [(s.name, s.axes, partial(_image, s)) for s in signals if is_flat(s.axes)]
        found = [
            _recording(path, signal, images)
            for signal in signals
            if file_metadata.energy_index(signal.axes) is not None
        ]
        if not found:
            raise EdsError(nothing_found(path.name, [(s.name, s.axes) for s in signals], _CURE))
        return found


@contextmanager
def _signals(path: Path) -> Iterator[list[_Signal]]:
    import h5py
    from rsciio.hspy import file_reader

    signals: list[_Signal] = []
    try:
        for entry in file_reader(str(path), lazy=True):
            if "data" not in entry:  # a fitted model saved without its signal
                continue
            graph = dict(entry["data"].__dask_graph__())
            datasets = [value for value in graph.values() if isinstance(value, h5py.Dataset)]
            signals.append(_Signal(entry, datasets[0]))
        yield signals
    finally:
        if signals:  # RosettaSciIO leaves the file, that all of them share, open
            signals[0].dataset.file.close()


def _recording(path: Path, signal: _Signal, images: Sequence[Image]) -> Recording:
    metadata = signal.entry["metadata"]
    attrs = file_metadata.instrument_attrs(metadata)
    energy = file_metadata.energy_index(signal.axes) or 0
    dataset, dtype = str(signal.dataset.name), signal.dataset.dtype.newbyteorder("=")
    if [int(axis["size"]) for axis in signal.axes] != list(signal.dataset.shape):
        raise EdsError(f"its axes do not fit its data of the shape {signal.dataset.shape}")
    shape = _energy_last(signal.dataset.shape, energy)
    check_shape(path.name, shape)
    check_compression(path.name, shape, dtype, path.stat().st_size)
    chunked_blocks.check_chunks(path.name, signal.dataset.chunks, dtype)
    axes = file_metadata.recording_axes(signal.axes, attrs.get("signal_type", ""))

    def row_blocks(rows: int) -> Iterator[np.ndarray]:
        return _row_blocks(path, dataset, shape, energy, dtype, rows)

    return Recording(
        name=signal.name,
        axes=axes,
        dtype=dtype,
        row_blocks=row_blocks,
        attrs=attrs,
        images=images_on_grid(signal.axes, images),
        original_metadata=file_metadata.plain(
            {"metadata": metadata, "original_metadata": signal.entry["original_metadata"]}
        ),
    )


def _row_blocks(
    path: Path, dataset: str, shape: tuple[int, ...], energy: int, dtype: np.dtype, rows: int
) -> Iterator[np.ndarray]:
    import h5py

    with damage_named(path), h5py.File(path, "r") as file:
        values = file[dataset]

        def read(region: Region) -> np.ndarray:
            in_file = (*region[:energy], region[-1], *region[energy:-1])
            return np.moveaxis(values[in_file], energy, -1).astype(dtype, copy=False)

        chunks = _energy_last(values.chunks, energy) if values.chunks else None
        yield from chunked_blocks.row_blocks(read, shape, dtype, chunks, rows)


def _energy_last(sizes: Sequence[int], energy: int) -> tuple[int, ...]:
    return (*sizes[:energy], *sizes[energy + 1 :], sizes[energy])


def _image(signal: _Signal) -> np.ndarray:
    return np.asarray(signal.dataset[()])
