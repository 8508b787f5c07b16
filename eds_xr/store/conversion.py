"""Vendor files converted to Zarr stores, and what either holds."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import readers
from eds_xr.cluster.supervision import computes
from eds_xr.places import local_or_url
from eds_xr.progress import track
from eds_xr.provenance import with_step
from eds_xr.readers import summary
from eds_xr.readers.detectors import with_detectors
from eds_xr.readers.frames.sums import with_frames
from eds_xr.readers.protocol import Recording
from eds_xr.schema import DETECTOR, ENERGY, LIVE_TIME, PIXEL_LIVE_TIME, EdsError
from eds_xr.store import pyramid as pyramids
from eds_xr.store import writing
from eds_xr.store.opening import is_store, open
from eds_xr.store.retries import persistently
from eds_xr.store.targets import check_target, written
from eds_xr.store.writing import checked_block, may_be_negative


def convert(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    *,
    signal: str | None = None,
    frames: slice | int | Sequence[int] | None = None,
    keep_frames: bool = False,
    align: bool = False,
    detectors: str | None = None,
    pyramid: bool = False,
    overwrite: bool = False,
) -> Path | str:
    """Convert a spectrum image of a vendor file to a Zarr store.

    Computes: reads the file in blocks of image rows and writes chunk by chunk, at the same time.
    The store appears under its name only when it is complete; on an object store, where nothing
    can be renamed, the document without which it cannot be opened is written last.

    Parameters
    ----------
    source : path
        Vendor file: Velox ``.emd``, Bruker ``.bcf``, JEOL ``.pts``, TIA ``.emi`` or ``.ser``, EDAX
        ``.spd``, Gatan ``.dm3`` or ``.dm4``, HyperSpy ``.hspy`` or ``.zspy``, Lispix ``.rpl``,
        NumPy ``.npy`` (with a ``.json`` of its calibration beside it), and what xarray opens with
        an energy axis (``.nc``, ``.h5``, ``.zarr``).
    store : path or URL, optional
        Zarr store to write; beside `source`, with the suffix ``.zarr``, when not given.
    signal : str, optional
        Which spectrum image, where the file holds several.
    frames : slice, int or sequence of int, optional
        Which passes over the pixels to sum, ``slice(0, 100)``; all when not given.
    keep_frames : bool
        Keep the frames as the first dimension, ``frame``, instead of summing them.
    align : bool
        Move each frame back by its drift, in whole pixels, so that counts stay counts; see
        :func:`eds_xr.readers.frames.sums.with_frames`.
    detectors : {"sum", "apart"}, optional
        Of a file with several detectors (Super-X): their sum, or all of them along the dimension
        ``detector``, with the elevation and azimuth of each as coordinates; see
        :func:`eds_xr.sum_detectors` and :func:`eds_xr.compare_detectors`. By default what the file
        offers first: the sum of a Velox file.
    pyramid : bool
        Write also the sums of 2 x 2, 4 x 4 and 8 x 8 pixels, for ``open(store, binned=4)``.
    overwrite : bool
        Replace an existing store: once the new one is complete; on an object store at once.

    Returns
    -------
    Path, or str for a URL
        The store.

    Raises
    ------
    EdsError
        If the file cannot be read, holds no spectrum image or several, or no frames where some
        are chosen, if X-ray counts are negative or NaN, or if `store` exists.
    """
    source = Path(source).expanduser()
    target = local_or_url(store if store is not None else source.with_suffix(".zarr"))
    check_target(target, overwrite=overwrite)
    if is_store(source):
        raise EdsError(f"{source} is a Zarr store already; open it with eds_xr.open")
    with _chosen(source, signal, frames, keep_frames, align, detectors) as recording:
        groups = _groups(_described(recording, source.name), pyramid=pyramid)
        with written(target, overwrite=overwrite) as place:
            documents = writing.create(groups, place)
            _write_blocks(recording, place, list(groups))
            writing.seal(place, documents)
    return target


@contextmanager
def _chosen(
    source: Path, signal: str | None, frames: Any, keep_frames: bool, align: bool,
    detectors: str | None,
) -> Iterator[Recording]:  # fmt: skip
    """Give the recording that is asked for."""
    found = readers.read(source)
    if detectors is None:
        one = readers.select(found, signal)
        with with_frames(one, frames, keep_frames=keep_frames, align=align) as recording:
            yield recording
        return
    if signal is not None or keep_frames or align:
        raise EdsError(
            "detectors= takes all detectors of a file, with the frames summed as they are; leave "
            "signal, keep_frames and align out"
        )
    with with_detectors(found, detectors, frames) as recording:
        yield recording


@computes
def info(source: str | os.PathLike[str], *, counts: bool | None = None) -> dict[str, Any]:
    """Return what a store, or a vendor file, holds, in plain types.

    Computes: reads metadata; with `counts` also all values, once, block by block.

    Parameters
    ----------
    source : path or URL
        Store, or vendor file.
    counts : bool, optional
        Whether to add up the counts; by default where that takes seconds.

    Returns
    -------
    dict
        ``source``, and a list ``spectrum_images``; see :mod:`eds_xr.readers.summary`.
    """
    if "://" in str(source) or is_store(Path(source).expanduser()):
        found = [summary.of_image(open(source), counts=counts)]
    else:
        recordings = readers.read(Path(source).expanduser())
        found = [summary.of_recording(r, counts=counts) for r in recordings]
    return {"source": str(source), "spectrum_images": found}


def _groups(dataset: xr.Dataset, *, pyramid: bool) -> dict[str, xr.Dataset]:
    """Return the groups of a store by their paths; the first is the root."""
    if not pyramid:
        return {"": dataset}
    text = json.dumps(pyramids.multiscales(dataset))
    return {"": dataset.assign_attrs(multiscales=text), **pyramids.levels(dataset)}


def _described(recording: Recording, source: str) -> xr.Dataset:
    """Return a Dataset as it shall be on disk, with a placeholder for the counts."""
    import dask.array as da

    coords: dict[str, Any] = {
        axis.name: (axis.name, axis.values, {"units": axis.units, "long_name": axis.long_name})
        for axis in recording.axes
    }
    for name, values in recording.images.items():
        about = {"units": "1", "long_name": name}
        if name == LIVE_TIME:
            about = {"units": "s", "long_name": "live time of the pixel"}
        coords[name] = (("y", "x"), values, about)
    for name, values in recording.detector_values.items():
        coords[name] = (DETECTOR, values, {"units": "deg" if name.endswith("_deg") else "eV"})
    attrs = with_step(
        _with_pixel_time(recording), "convert", source=source, signal=recording.name,
        **({"detectors": "apart"} if DETECTOR in recording.dims else {}),
    )  # fmt: skip
    image = xr.DataArray(
        da.zeros(recording.shape, dtype=recording.dtype, chunks=-1),
        dims=recording.dims,
        coords=coords,
        attrs={"units": "counts", "long_name": "counts", "source": source, **attrs},
    )
    text = json.dumps(recording.original_metadata, allow_nan=False)
    return image.to_dataset(name="counts").assign_attrs(original_metadata=text)


def _with_pixel_time(recording: Recording) -> dict[str, Any]:
    """Return attributes with the live time of a pixel: an equal share of that of the recording.

    Where the file tells that of each pixel, it is a coordinate instead.
    """
    total = recording.attrs.get(LIVE_TIME)
    if LIVE_TIME in recording.images or not isinstance(total, int | float) or not total > 0:
        return dict(recording.attrs)
    sizes = zip(recording.dims, recording.shape, strict=True)
    pixels = math.prod(size for dim, size in sizes if dim not in (DETECTOR, ENERGY))
    return {**recording.attrs, PIXEL_LIVE_TIME: total / pixels}


def _write_blocks(recording: Recording, place: str, groups: Sequence[str]) -> None:
    """Write a recording's row blocks, and their sums for the levels of a pyramid."""
    counts, *levels = (writing.open_array(place, f"{path}/counts".strip("/")) for path in groups)
    sums = pyramids.Pyramid(levels, recording.shape)

    def write(region: tuple[slice, ...], block: np.ndarray) -> None:
        persistently(lambda: counts.__setitem__(region, block))
        sums.add(region, block)

    writing.in_background(write, _blocks(recording, counts.chunks[max(0, counts.ndim - 3)]))


def _blocks(recording: Recording, rows: int) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Yield the regions of a recording with their values, checked."""
    total = readers.count_regions(recording.shape, rows)
    blocks = recording.row_blocks(rows)
    regions = readers.row_regions(recording.shape, rows)
    for region in track(regions, f"converting {recording.name}", total=total):
        yield region, _next_block(blocks, region, recording)  # bound to no name


def _next_block(
    blocks: Iterator[np.ndarray], region: tuple[slice, ...], recording: Recording
) -> np.ndarray:
    block = next(blocks, None)
    if block is None:
        raise EdsError(
            f"{recording.name!r} ends before its last row: the file is cut short; copy it again "
            "from its origin"
        )
    shape = tuple(part.stop - part.start for part in region)
    if block.shape != shape or block.dtype != recording.dtype:
        raise EdsError(
            f"the reader of {recording.name!r} promised {recording.dtype} {shape}, found "
            f"{block.dtype} {block.shape}; please report this, with the file if you can"
        )
    return block if may_be_negative(recording.attrs) else checked_block(block)
