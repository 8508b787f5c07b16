"""HyperSpy's HDF5 files (``.hspy``): described by RosettaSciIO, streamed by h5py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from eds_xr.readers.formats.hyperspy.signals import Signal, spectrum_images
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.guards.hdf5 import HDF5_MAGIC, check_hdf5
from eds_xr.readers.protocol import Recording


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
    with damage_named(path):
        return spectrum_images(path, _signals(path))


def _signals(path: Path) -> list[Signal]:
    import h5py
    from rsciio.hspy import file_reader

    datasets: list[Any] = []
    try:
        found = []
        for entry in file_reader(str(path), lazy=True):
            if "data" not in entry:  # a fitted model saved without its signal
                continue
            graph = dict(entry["data"].__dask_graph__())
            datasets += [value for value in graph.values() if isinstance(value, h5py.Dataset)][:1]
            found.append(_signal(path, entry, datasets[-1]))
        return found
    finally:
        if datasets:  # RosettaSciIO leaves the file, that all of them share, open
            datasets[0].file.close()


def _signal(path: Path, entry: Mapping[str, Any], dataset: Any) -> Signal:
    return Signal(
        name=str(dataset.parent.name).rsplit("/", 1)[-1],
        axes=entry["axes"],
        shape=dataset.shape,
        chunks=dataset.chunks,
        dtype=dataset.dtype,
        stored_bytes=lambda: path.stat().st_size,
        opened=partial(_opened, path, str(dataset.name)),
        dictionaries=lambda: (entry["metadata"], entry["original_metadata"]),
    )


@contextmanager
def _opened(path: Path, dataset: str) -> Iterator[Any]:
    import h5py

    with h5py.File(path, "r") as file:
        yield file[dataset]
