"""Zarr stores: converted from vendor files, saved, opened lazily.

>>> import eds_xr.store
>>> eds_xr.store.convert("map.hspy")                                    # doctest: +SKIP
PosixPath('map.zarr')
>>> image = eds_xr.store.open("map.zarr")                               # doctest: +SKIP

A store is a Zarr v3 group that ``xarray.open_zarr`` opens with no help: the variable ``counts``
in chunks that are whole along energy, coordinates with units, images such as ``haadf`` as
coordinates ``(y, x)``, instrument attributes on ``counts``, everything else that the vendor's
file says as JSON in the group's attribute ``original_metadata``. Each chunk ends with a CRC32C
checksum.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import readers
from eds_xr._parts.stored import lazy_variable
from eds_xr._parts.whole import check_free, written_whole
from eds_xr.chunks import chunk_shape
from eds_xr.progress import progress, track
from eds_xr.provenance import with_step
from eds_xr.readers import Recording
from eds_xr.schema import ENERGY, EdsError, check_counts_block, check_spectrum_image

#: Edge of the chunks of images, in pixels.
_IMAGE_EDGE = 1024
#: Group attribute: empty chunks are written too, so one that is missing was lost.
EVERY_CHUNK_WRITTEN = "every_chunk_written"


def convert(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    *,
    signal: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Convert a spectrum image of a vendor file to a Zarr store.

    Computes: reads the file once, in blocks of image rows, and writes chunk by chunk. The
    store appears under its name only when it is complete.

    Parameters
    ----------
    source : path
        Vendor file; HyperSpy's ``.hspy`` now.
    store : path, optional
        Zarr store to write; beside `source`, with the suffix ``.zarr``, when not given.
    signal : str, optional
        Which spectrum image, where the file holds several.
    overwrite : bool
        Replace an existing store, once the new one is complete.

    Returns
    -------
    Path
        The store.

    Raises
    ------
    EdsError
        If the file cannot be read, holds no spectrum image or several, if X-ray counts are
        negative or NaN, or if `store` exists.
    """
    source = Path(source).expanduser()
    target = _local_path(store if store is not None else source.with_suffix(".zarr"))
    _check_target(target, overwrite=overwrite)
    if _is_zarr_group(source):
        raise EdsError(f"{source} is a Zarr store already; open it with eds_xr.open")
    recording = readers.select(readers.read(source), signal)
    with written_whole(target, overwrite=overwrite) as partial:
        _create(_described(recording, source.name), partial)
        _write_blocks(recording, partial)
    return target


def open(store: str | os.PathLike[str]) -> xr.DataArray:
    """Open a Zarr store as a spectrum image.

    Lazy: nothing is read but metadata and axes. Blocks are the store's chunks, whole along
    energy also where the store (written by other software) has several chunks there. A chunk
    that is damaged or lost raises an error with its name when it is read.

    Parameters
    ----------
    store : path or URL
        Whatever fsspec can open: a folder, ``s3://...``, ``https://...``.

    Returns
    -------
    DataArray
        ``counts`` [..., y, x, energy; counts].

    Raises
    ------
    EdsError
        If there is no store, or it holds no spectrum image.
    """
    dataset = _open_group(store)
    _check_group(dataset, store)
    checked = bool(dataset.attrs.get(EVERY_CHUNK_WRITTEN))
    for name, variable in dataset.variables.items():
        if variable.ndim > 1:
            dataset[name] = lazy_variable(
                variable, str(store), str(name), every_chunk_written=checked
            )
    image = dataset["counts"].transpose(..., ENERGY)
    check_spectrum_image(image)
    return image


def save(
    image: xr.DataArray,
    store: str | os.PathLike[str],
    *,
    images: Mapping[str, xr.DataArray] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a spectrum image of any size to a Zarr store.

    Computes: block by block through Dask, on a ``distributed.Client`` when there is one (its
    workers must see the same disk). The store appears under its name only when it is complete;
    it may be the one that `image` was opened from.

    Parameters
    ----------
    image : DataArray
        Spectrum image [..., y, x, energy; counts], lazy or not. Its numeric coordinates are
        kept, those of text (such as a phase's name) are not.
    store : path
        Zarr store to write.
    images : mapping of str to DataArray, optional
        Images [y, x] to ride along as coordinates.
    overwrite : bool
        Replace an existing store, once the new one is complete.

    Returns
    -------
    Path
        The store.

    Raises
    ------
    EdsError
        If `image` is no spectrum image, X-ray counts are negative or NaN, or `store` exists.
    """
    target = _local_path(store)
    _check_target(target, overwrite=overwrite)
    dataset = _for_disk(_whole_spectra(image), images or {})
    with (
        written_whole(target, overwrite=overwrite) as partial,
        progress(f"writing {target.name}"),
    ):
        _create(dataset, partial).compute()
    return target


def info(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a store, or a vendor file, holds, in plain types.

    Computes: nothing; reads metadata.
    """
    path = Path(source).expanduser()
    if "://" in str(source) or path.is_dir() or not path.suffix:
        return {"source": str(source), "spectrum_images": [_summary_of_store(open(source))]}
    recordings = readers.read(path)
    return {"source": str(source), "spectrum_images": [_summary(r) for r in recordings]}


def original_metadata(store: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the vendor's file said, as :func:`convert` kept it; empty if nothing."""
    return json.loads(_open_group(store).attrs.get("original_metadata", "{}"))


def _local_path(store: str | os.PathLike[str]) -> Path:
    if "://" in str(store):
        raise EdsError(
            f"stores are written to a local disk, as only there they can appear whole; found "
            f"{str(store)!r}: write locally, then copy (for example with fsspec)"
        )
    return Path(store).expanduser().resolve()


def _check_target(target: Path, *, overwrite: bool) -> None:
    check_free(target, overwrite=overwrite)
    if target.exists() and not (_is_zarr_group(target) and (target / "counts").is_dir()):
        raise EdsError(
            f"{target} exists and is not a spectrum image store, so it is never replaced; "
            "choose another name, or remove it yourself"
        )


def _is_zarr_group(path: Path) -> bool:
    return (path / "zarr.json").is_file() or (path / ".zgroup").is_file()


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
    image.attrs = _plain_attrs({"units": "counts", "long_name": "counts", **image.attrs})
    dataset = image.to_dataset(name="counts")
    for name, variable in dataset.variables.items():
        if name == "counts" or variable.chunks is not None:
            chunks = dict(zip(variable.dims, _disk_chunks(str(name), variable), strict=True))
            dataset[name] = variable.chunk(chunks)
    if not _may_be_negative(image.attrs):
        counts = dataset["counts"]
        dataset["counts"] = counts.copy(data=counts.data.map_blocks(_checked_block))
    return dataset


def _create(dataset: xr.Dataset, path: Path) -> Any:
    """Create the store with its axes and return the (delayed) writing of what is lazy."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    compressors = [BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle"), Crc32cCodec()]
    encoding = {
        name: {
            "compressors": compressors,
            "chunks": _disk_chunks(str(name), variable),
            "_FillValue": None,  # every value is one, also NaN
        }
        for name, variable in dataset.variables.items()
    }
    with warnings.catch_warnings():
        # Without consolidated metadata xarray warns at each opening; with it, zarr at writing.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        return (
            dataset.drop_encoding()
            .assign_attrs({EVERY_CHUNK_WRITTEN: True})
            .to_zarr(
                path,
                mode="w-",
                zarr_format=3,
                consolidated=True,
                compute=False,
                encoding=encoding,
                write_empty_chunks=True,
            )
        )


def _disk_chunks(name: str, variable: xr.Variable) -> tuple[int, ...]:
    if name == "counts":
        return chunk_shape(variable.shape, variable.dtype)
    if variable.ndim < 2:
        return variable.shape
    return tuple(min(size, _IMAGE_EDGE) for size in variable.shape)


def _write_blocks(recording: Recording, path: Path) -> None:
    import zarr

    counts = zarr.open_array(path, path="counts", mode="r+", config={"write_empty_chunks": True})
    rows = counts.chunks[max(0, len(recording.shape) - 3)]
    regions = readers.row_regions(recording.shape, rows)
    total = readers.count_regions(recording.shape, rows)
    blocks = recording.row_blocks(rows)
    for region in track(regions, f"converting {recording.name}", total=total):
        counts[region] = _next_block(blocks, recording)  # bound to no name: one block in memory


def _next_block(blocks: Iterator[np.ndarray], recording: Recording) -> np.ndarray:
    block = next(blocks, None)
    if block is None:
        raise EdsError(
            f"{recording.name!r} ends before its last row: the file is cut short; copy it again "
            "from its origin"
        )
    return block if _may_be_negative(recording.attrs) else _checked_block(block)


def _may_be_negative(attrs: Mapping[Any, Any]) -> bool:
    """Return whether values below zero are right: dark-corrected energy-loss spectra have them."""
    return attrs.get("signal_type") == "EELS"


def _plain_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    plain = {str(k): v.item() if isinstance(v, np.generic) else v for k, v in attrs.items()}
    for name, value in plain.items():
        try:
            json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)
        except TypeError as error:
            raise EdsError(
                f"attribute {name!r} cannot be written to Zarr ({error}); make it a number, "
                "a text or a list of them"
            ) from error
    return plain


def _open_group(store: str | os.PathLike[str]) -> xr.Dataset:
    path = Path(store).expanduser()
    is_url = "://" in str(store)
    if not is_url and not path.exists():
        raise EdsError(f"no such store: {store}; make one with eds_xr.convert(vendor_file)")
    if not is_url and path.is_file():
        raise EdsError(f"{store} is a file, expected a Zarr store; use eds_xr.convert on it first")
    try:
        with warnings.catch_warnings():  # other software's stores may not be consolidated
            warnings.filterwarnings("ignore", message="Failed to open Zarr store with cons")
            where = str(store) if is_url else str(path)
            return xr.open_dataset(where, engine="zarr", chunks=None, cache=False)
    except Exception as error:  # fsspec's many back ends raise each their own
        raise EdsError(
            f"{store} is not a Zarr store that xarray can open ({type(error).__name__}: {error}); "
            "make one with eds_xr.convert(vendor_file)"
        ) from error


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


def _summary(recording: Recording) -> dict[str, Any]:
    return {
        "name": recording.name,
        "sizes": dict(zip(recording.dims, recording.shape, strict=True)),
        "dtype": str(recording.dtype),
        "axes": {
            a.name: [float(a.values[0]), float(a.values[-1]), a.units] for a in recording.axes
        },
        "images": sorted(recording.images),
        "attributes": dict(recording.attrs),
    }


def _summary_of_store(image: xr.DataArray) -> dict[str, Any]:
    ends = {
        str(d): [float(image[d][0]), float(image[d][-1]), str(image[d].attrs.get("units", ""))]
        for d in image.dims
        if d in image.coords
    }
    return {
        "name": str(image.name),
        "sizes": {str(d): int(n) for d, n in image.sizes.items()},
        "dtype": str(image.dtype),
        "axes": ends,
        "images": sorted(str(n) for n, c in image.coords.items() if c.dims == ("y", "x")),
        "attributes": dict(image.attrs),
    }


def _checked_block(block: np.ndarray) -> np.ndarray:
    check_counts_block(block)
    return block
