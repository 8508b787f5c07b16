"""Signals of HyperSpy's files, HDF5 or Zarr: which are spectrum images, streamed from their arrays.

The values are read in slabs of image rows straight from the stored array, so that memory is
bounded by the slab; the file is open only while it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers import chunked_blocks, live_times
from eds_xr.readers import metadata as file_metadata
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.guards.sizes import check_compression, check_shape
from eds_xr.readers.images_on_grid import Image, images_on_grid, is_flat, nothing_found
from eds_xr.readers.protocol import Recording, Region
from eds_xr.schema import EdsError

_CURE = "if the energy axis lacks its unit, set it in HyperSpy (axes_manager) and save again"


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal of a file.

    Attributes
    ----------
    name : str
    axes : sequence of mapping
        In HyperSpy's form, in the order of the stored array.
    shape, chunks, dtype
        As stored; no chunks where it is stored in one piece that can be read in part.
    stored_bytes : callable
        Gives the size of what the values are stored in.
    opened : callable
        ``with opened() as array`` gives the stored array, to be sliced.
    dictionaries : callable
        Gives the metadata and the original metadata.
    """

    name: str
    axes: Sequence[Mapping[str, Any]]
    shape: tuple[int, ...]
    chunks: tuple[int, ...] | None
    dtype: np.dtype
    stored_bytes: Callable[[], int]
    opened: Callable[[], AbstractContextManager[Any]]
    dictionaries: Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]]


def spectrum_images(path: Path, signals: Sequence[Signal]) -> list[Recording]:
    """Return the spectrum images among signals, each with the images ``[y, x]`` on its grid.

    Raises
    ------
    EdsError
        If none is one, or one is damaged.
    """
    images = [(s.name, s.axes, partial(_image, s)) for s in signals if is_flat(s.axes)]
    found = [
        _recording(path, signal, images, energy)
        for signal in signals
        if (energy := file_metadata.energy_index(signal.axes)) is not None
    ]
    if not found:
        raise EdsError(nothing_found(path.name, [(s.name, s.axes) for s in signals], _CURE))
    return found


def _recording(path: Path, signal: Signal, images: Sequence[Image], energy: int) -> Recording:
    if [axis.get("size") for axis in signal.axes] != list(signal.shape):
        raise EdsError(
            f"the axes of {signal.name!r} do not fit its data of the shape {signal.shape}"
        )

    def energy_last(sizes: Sequence[int]) -> tuple[int, ...]:
        return (*sizes[:energy], *sizes[energy + 1 :], sizes[energy])

    shape, dtype = energy_last(signal.shape), signal.dtype.newbyteorder("=")
    chunks = energy_last(signal.chunks) if signal.chunks else None
    check_shape(path.name, shape)
    check_compression(path.name, shape, dtype, signal.stored_bytes())
    chunked_blocks.check_chunks(path.name, chunks, dtype)
    metadata, original = signal.dictionaries()
    attrs = file_metadata.instrument_attrs(metadata)
    told = file_metadata.detector_of(metadata).get("live_time")
    times = live_times.of_values(told, shape[:-1])

    def row_blocks(rows: int) -> Iterator[np.ndarray]:
        with damage_named(path), signal.opened() as array:

            def read(region: Region) -> np.ndarray:
                in_file = (*region[:energy], region[-1], *region[energy:-1])
                return np.moveaxis(array[in_file], energy, -1).astype(dtype, copy=False)

            yield from chunked_blocks.row_blocks(read, shape, dtype, chunks, rows)

    return Recording(
        name=signal.name,
        axes=file_metadata.recording_axes(signal.axes, attrs.get("signal_type", "")),
        dtype=dtype,
        row_blocks=row_blocks,
        attrs=attrs,
        images={**images_on_grid(signal.axes, images), **times},
        original_metadata=file_metadata.plain(
            {"metadata": metadata, "original_metadata": original}
        ),
    )


def _image(signal: Signal) -> np.ndarray:
    with signal.opened() as array:
        return np.asarray(array[...])
