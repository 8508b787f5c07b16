"""HyperSpy's HDF5 files (``.hspy``): described by RosettaSciIO, streamed by h5py.

The values are read in slabs of image rows straight from the HDF5 dataset, so that memory is
bounded by the slab; the file is open only while it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers import rosetta
from eds_xr.readers.protocol import Axis, Recording, row_regions
from eds_xr.schema import EdsError

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


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
    return head.startswith(_HDF5_MAGIC)


def read(path: Path) -> list[Recording]:
    """Return the spectrum images of a ``.hspy`` file, without their values.

    Images ``[y, x]`` that lie on the grid of a spectrum image ride along with it.

    Raises
    ------
    EdsError
        If the file is damaged, or holds no spectrum image.
    """
    with _damage_named(path), _signals(path) as signals:
        images = [s for s in signals if len(s.axes) == 2 and rosetta.energy_index(s.axes) is None]
        found = [
            _recording(path, signal, images)
            for signal in signals
            if rosetta.energy_index(signal.axes) is not None
        ]
        if not found:
            raise EdsError(_nothing_found(path, signals))
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


def _recording(path: Path, signal: _Signal, images: Sequence[_Signal]) -> Recording:
    metadata = signal.entry["metadata"]
    attrs = rosetta.instrument_attrs(metadata)
    axes = rosetta.recording_axes(signal.axes, attrs.get("signal_type", ""))
    energy = rosetta.energy_index(signal.axes) or 0
    dataset, dtype = str(signal.dataset.name), signal.dataset.dtype.newbyteorder("=")
    shape = tuple(axis.values.size for axis in axes)

    def row_blocks(rows: int) -> Iterator[np.ndarray]:
        return _row_blocks(path, dataset, shape, energy, dtype, rows)

    return Recording(
        name=signal.name,
        axes=axes,
        dtype=dtype,
        row_blocks=row_blocks,
        attrs=attrs,
        images=_images_on_grid(axes, signal, images),
        original_metadata=rosetta.plain(
            {"metadata": metadata, "original_metadata": signal.entry["original_metadata"]}
        ),
    )


def _row_blocks(
    path: Path, dataset: str, shape: tuple[int, ...], energy: int, dtype: np.dtype, rows: int
) -> Iterator[np.ndarray]:
    import h5py

    with _damage_named(path), h5py.File(path, "r") as file:
        values = file[dataset]
        for region in row_regions(shape, rows):
            in_file = (*region[:-1][:energy], region[-1], *region[:-1][energy:])
            # no name holds the block while the next one is read
            yield np.moveaxis(values[in_file], energy, -1).astype(dtype, copy=False)


def _images_on_grid(
    axes: tuple[Axis, ...], signal: _Signal, images: Sequence[_Signal]
) -> dict[str, np.ndarray]:
    spatial = [a for i, a in enumerate(signal.axes) if i != rosetta.energy_index(signal.axes)]
    grid = spatial[-2:]
    found: dict[str, np.ndarray] = {}
    for image in images:
        if len(grid) == 2 and _same_grid(grid, image.axes):
            name = rosetta.variable_name(image.name)
            taken = {"counts", *(axis.name for axis in axes), *found}
            found[f"image_{name}" if name in taken else name] = image.dataset[()]
    return found


def _same_grid(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    return all(
        int(a["size"]) == int(b["size"])
        and np.isclose(rosetta.position_step(a), rosetta.position_step(b), rtol=1e-2)
        for a, b in zip(one, other, strict=True)
    )


def _nothing_found(path: Path, signals: Sequence[_Signal]) -> str:
    found = "; ".join(
        f"{s.name!r} with axes "
        + ", ".join(f"{a.get('name')} ({a['size']}, {a.get('units') or 'no unit'})" for a in s.axes)
        for s in signals
    )
    return (
        f"{path.name} holds no spectrum image: expected an axis in eV or keV besides at least one "
        f"of positions, found {found or 'no signal'}; if the energy axis lacks its unit, set it "
        "in HyperSpy (axes_manager) and save again"
    )


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (EdsError, MemoryError):
        raise
    except Exception as error:  # HDF5 and RosettaSciIO raise about everything on damaged files
        raise EdsError(
            f"cannot read {path.name} as a HyperSpy file: {type(error).__name__}: {error}; "
            "it may be cut short or damaged: copy it again from its origin"
        ) from error
