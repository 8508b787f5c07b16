"""Zarr stores: converted from vendor files, saved, opened lazily.

>>> import eds_xr.store
>>> eds_xr.store.convert("map.hspy")                                    # doctest: +SKIP
PosixPath('map.zarr')
>>> image = eds_xr.store.open("map.zarr")                               # doctest: +SKIP

A store is a Zarr v3 group that ``xarray.open_zarr`` opens with no help: the variable ``counts``
in chunks that are whole along energy, coordinates with units, images such as ``haadf`` as
coordinates ``(y, x)``, instrument attributes on ``counts``, everything else that the vendor's
file says as JSON in the group's attribute ``original_metadata``. Each chunk ends with a CRC32C
checksum; ``metadata_sha256`` is the checksum of the group's ``zarr.json``.

With ``pyramid=True`` the groups ``pyramid/2``, ``pyramid/4`` and ``pyramid/8`` hold the exact sums
of 2 x 2, 4 x 4 and 8 x 8 pixels in the same form: ``xarray.open_zarr(store, group="pyramid/4")``
opens one, ``xarray.open_datatree(store, group="pyramid")`` all of them. The group's attribute
``multiscales`` describes them in the manner of OME-Zarr (as JSON). As in `rebin`, the last bin of
a side that does not divide is part empty, and no count is lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import readers
from eds_xr._parts import pyramid as pyramids
from eds_xr._parts import writing
from eds_xr._parts.levels import with_source
from eds_xr._parts.stored import open_group, reads_from
from eds_xr._parts.whole import check_target, is_zarr_group, local_or_url, written
from eds_xr._parts.workers import threads
from eds_xr.progress import progress, track
from eds_xr.provenance import with_step
from eds_xr.readers import Recording, summary
from eds_xr.readers.frames import with_frames
from eds_xr.schema import ENERGY, EdsError, check_counts_block, check_spectrum_image


def convert(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    *,
    signal: str | None = None,
    frames: slice | int | Sequence[int] | None = None,
    keep_frames: bool = False,
    align: bool = False,
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
        :func:`eds_xr.readers.frames.with_frames`.
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
    if _is_store(source):
        raise EdsError(f"{source} is a Zarr store already; open it with eds_xr.open")
    found = readers.select(readers.read(source), signal)
    with with_frames(found, frames, keep_frames=keep_frames, align=align) as recording:
        groups = _groups(_described(recording, source.name), pyramid=pyramid)
        with written(target, overwrite=overwrite) as place:
            documents = writing.create(groups, place)
            _write_blocks(recording, place, list(groups))
            writing.seal(place, documents)
    return target


def open(store: str | os.PathLike[str], *, binned: int = 1) -> xr.DataArray:
    """Open a Zarr store as a spectrum image.

    Lazy: nothing is read but metadata and axes. Blocks are the store's chunks, whole along
    energy also where the store (written by other software) has several chunks there. A chunk
    that is damaged or lost raises an error with its name when it is read.

    Parameters
    ----------
    store : path or URL
        Whatever fsspec can open: a folder, ``s3://...``, ``https://...``.
    binned : int
        1 for the image as recorded; 2, 4 or 8 for the stored sums of as many pixels a side, where
        it was converted with ``pyramid=True``.

    Returns
    -------
    DataArray
        ``counts`` [..., y, x, energy; counts].

    Raises
    ------
    EdsError
        If there is no store, or it holds no spectrum image.
    """
    if binned != 1:
        return _open_binned(store, binned)
    dataset = open_group(store)
    _check_group(dataset, store)
    image = dataset["counts"].transpose(..., ENERGY)
    check_spectrum_image(image)
    return with_source(image, str(store)) if "multiscales" in dataset.attrs else image


def save(
    image: xr.DataArray,
    store: str | os.PathLike[str],
    *,
    images: Mapping[str, xr.DataArray] | None = None,
    overwrite: bool = False,
) -> Path | str:
    """Write a spectrum image of any size to a Zarr store.

    Computes: block by block through Dask, on a ``distributed.Client`` when there is one (its
    workers must see the same disk). The store appears under its name only when it is complete;
    on a local disk it may be the one that `image` was opened from.

    Parameters
    ----------
    image : DataArray
        Spectrum image [..., y, x, energy; counts], lazy or not. Its numeric coordinates are
        kept, those of text (such as a phase's name) are not.
    store : path or URL
        Zarr store to write.
    images : mapping of str to DataArray, optional
        Images [y, x] to ride along as coordinates.
    overwrite : bool
        Replace an existing store: once the new one is complete; on an object store at once.

    Returns
    -------
    Path, or str for a URL
        The store.

    Raises
    ------
    EdsError
        If `image` is no spectrum image, X-ray counts are negative or NaN, or `store` exists.
    """
    target = local_or_url(store)
    check_target(target, overwrite=overwrite)
    dataset = _for_disk(_whole_spectra(image), images or {})
    if isinstance(target, str) and reads_from(dataset["counts"], target):
        raise EdsError(
            f"{target} is where the image is read from, and on an object store a store is removed "
            "before it is replaced; save under another name"
        )
    name = str(target).rsplit("/", 1)[-1]
    with written(target, overwrite=overwrite) as place, progress(f"writing {name}"):
        documents = writing.create({"": dataset}, place)
        _store_lazy(dataset, place)
        writing.seal(place, documents)
    return target


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
    if "://" in str(source) or _is_store(Path(source).expanduser()):
        found = [summary.of_image(open(source), counts=counts)]
    else:
        recordings = readers.read(Path(source).expanduser())
        found = [summary.of_recording(r, counts=counts) for r in recordings]
    return {"source": str(source), "spectrum_images": found}


def original_metadata(store: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the vendor's file said, as :func:`convert` kept it; empty if nothing."""
    return json.loads(open_group(store).attrs.get("original_metadata", "{}"))


def _open_binned(store: str | os.PathLike[str], binned: int) -> xr.DataArray:
    if binned not in pyramids.FACTORS:
        raise EdsError(f"binned must be one of 1, 2, 4, 8, found {binned!r}")
    if "multiscales" not in open_group(store).attrs:
        raise EdsError(
            f"{store} holds no sums of pixels: convert it with pyramid=True, or use "
            f"eds_xr.open(store).eds.rebin(y={binned}, x={binned})"
        )
    return open_group(store, pyramids.level_path(binned))["counts"]


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
        coords[name] = (("y", "x"), values, {"units": "1", "long_name": name})
    attrs = with_step(recording.attrs, "convert", source=source, signal=recording.name)
    image = xr.DataArray(
        da.zeros(recording.shape, dtype=recording.dtype, chunks=-1),
        dims=recording.dims,
        coords=coords,
        attrs={"units": "counts", "long_name": "counts", "source": source, **attrs},
    )
    text = json.dumps(recording.original_metadata, allow_nan=False)
    return image.to_dataset(name="counts").assign_attrs(original_metadata=text)


def _whole_spectra(image: xr.DataArray) -> xr.DataArray:
    """Return the spectrum image in one chunk along energy, checked. Lazy."""
    if isinstance(image, xr.DataArray) and image.chunks is not None and ENERGY in image.dims:
        image = image.chunk({ENERGY: -1})
    check_spectrum_image(image)
    return image


def _for_disk(image: xr.DataArray, images: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Return a Dataset in the chunks that it shall have on disk. Lazy."""
    image = image.assign_coords({name: image_.variable for name, image_ in images.items()})
    texts = [name for name, coord in image.coords.items() if coord.dtype.kind not in "buif"]
    image = image.drop_vars(texts)
    image.attrs = writing.plain_attrs({"units": "counts", "long_name": "counts", **image.attrs})
    dataset = image.to_dataset(name="counts")
    for name, variable in dataset.variables.items():
        if name == "counts" or variable.chunks is not None:
            chunks = dict(zip(variable.dims, writing.disk_chunks(str(name), variable), strict=True))
            dataset[name] = variable.chunk(chunks)
    if not _may_be_negative(image.attrs):
        counts = dataset["counts"]
        dataset["counts"] = counts.copy(data=counts.data.map_blocks(_checked_block))
    return dataset


def _store_lazy(dataset: xr.Dataset, place: str) -> None:
    """Compute a Dataset's lazy variables and write them, block by block.

    When it is interrupted, no thread writes any more after it has returned.
    """
    import dask
    import dask.array as da

    lazy = {str(n): v.data for n, v in dataset.variables.items() if v.chunks is not None}
    arrays = [writing.open_array(place, name) for name in lazy]
    with ThreadPoolExecutor(threads()) as pool, dask.config.set(pool=pool):
        da.store(list(lazy.values()), arrays, lock=False)


def _write_blocks(recording: Recording, place: str, groups: Sequence[str]) -> None:
    """Write a recording's row blocks, and their sums for the levels of a pyramid."""
    counts, *levels = (writing.open_array(place, f"{path}/counts".strip("/")) for path in groups)
    sums = pyramids.Pyramid(levels, recording.shape)

    def write(region: tuple[slice, ...], block: np.ndarray) -> None:
        counts[region] = block
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
    return block if _may_be_negative(recording.attrs) else _checked_block(block)


def _may_be_negative(attrs: Mapping[Any, Any]) -> bool:
    """Return whether values below zero are right: dark-corrected energy-loss spectra have them."""
    return attrs.get("signal_type") == "EELS"


def _check_group(dataset: xr.Dataset, store: str | os.PathLike[str]) -> None:
    if "counts" not in dataset:
        found = ", ".join(map(repr, map(str, dataset.variables))) or "nothing"
        raise EdsError(
            f"{store} has no variable 'counts', found {found}; save a spectrum image with "
            "eds_xr.save(image, store), or rename its variable to 'counts'"
        )
    if ENERGY not in dataset["counts"].dims:
        raise EdsError(
            f"counts in {store} have the dimensions {dataset['counts'].dims}, expected 'energy' "
            "among them; rename the spectral dimension and save again"
        )


def _is_store(path: Path) -> bool:
    """Return whether a folder is a store of ours, not another program's Zarr group."""
    return is_zarr_group(path) and (path / "counts").is_dir()


def _checked_block(block: np.ndarray) -> np.ndarray:
    check_counts_block(block)
    return block
