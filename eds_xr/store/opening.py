"""Stores opened lazily, with checksums and damage told by name."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import chunks
from eds_xr.places import inside, is_zarr_group, local_or_url
from eds_xr.readers.guards.timeouts import ask
from eds_xr.schema import ENERGY, EdsError, check_spectrum_image
from eds_xr.store.retries import TRIED, is_of_storage, may_pass, persistently
from eds_xr.store.writing import CHECKSUM, DOCUMENT, EVERY_CHUNK_WRITTEN, checksum

#: Entry of an image's encoding: the store of its sums, the name of its data on Dask, its sides.
SOURCE = "pyramid"

#: Gives a variable, opened by xarray without Dask, the array that reads it chunk by chunk.
Lazy = Callable[[xr.Variable, "StoredArray"], xr.Variable]

_CURE = "convert the vendor file again, or take the store from a copy"


class StoredArray:
    """The array that Dask or xarray slices: reads, and turns any failure into a named error."""

    def __init__(self, variable: xr.Variable, store: str, name: str, every_chunk_written: bool):
        """Take a variable and its place; only if every chunk was written, missing ones are lost."""
        self.shape, self.dtype, self.ndim = variable.shape, variable.dtype, variable.ndim
        self.chunks: tuple[int, ...] = variable.encoding.get("chunks") or variable.shape
        self._variable, self.store, self._name = variable, store, name
        self._every_chunk_written = every_chunk_written

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        try:
            values = persistently(lambda: np.asarray(self._variable[key].values))
        except EdsError:  # of what lies elsewhere
            raise
        except Exception as error:  # zarr, numcodecs and fsspec raise each their own
            raise EdsError(_damaged(self._chunk(key), self.store, error)) from error
        if self._every_chunk_written and _is_blank(values) and not self._exists(key):
            raise EdsError(f"chunk {self._chunk(key)} of {self.store} is missing: {_CURE}")
        return values

    def _chunk(self, key: tuple[Any, ...]) -> str:
        # Dask may pass whole blocks, or parts of them as slices, integers or lists
        firsts = (np.arange(size)[part] for part, size in zip(key, self.shape, strict=True))
        starts = (int(np.ravel(first)[0]) for first in firsts)
        indices = (str(start // n) for start, n in zip(starts, self.chunks, strict=True))
        return "/".join([self._name, "c", *indices])

    def _exists(self, key: tuple[Any, ...]) -> bool:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(f"{self.store.rstrip('/')}/{self._chunk(key)}")
        return bool(persistently(lambda: ask(files, "exists", path)))


def with_source(image: xr.DataArray, store: str) -> xr.DataArray:
    """Return an opened image that knows where its sums of pixels lie."""
    image.encoding[SOURCE] = (store, image.data.name, image.shape[:-1])
    return image


def open_group(
    store: str | os.PathLike[str], group: str = "", *, lazy: Lazy | None = None
) -> xr.Dataset:
    """Return a group of a store, its axes read and checked. Lazy.

    Parameters
    ----------
    store : path or URL
    group : str
        Its path in the store.
    lazy : callable, optional
        Makes variables that are not axes lazy; by default on Dask, see :func:`lazy_variable`.

    Raises
    ------
    EdsError
        If there is no store, its metadata were changed since they were written, or an axis is
        damaged.
    """
    from eds_xr.readers.guards.zarr import guarded
    from eds_xr.store.decoding import decoded_in_place

    where = _where(store)
    try:
        _check_document(where, group)
        with warnings.catch_warnings():  # other software's stores may not be consolidated
            warnings.filterwarnings("ignore", message="Failed to open Zarr store with cons")
            with decoded_in_place():
                dataset = persistently(
                    lambda: xr.open_dataset(
                        guarded(where), engine="zarr", group=group or None, chunks=None, cache=False
                    )
                )
    except EdsError:
        raise
    except Exception as error:  # fsspec's many back ends raise each their own
        if may_pass(error):
            raise EdsError(
                f"{store} could not be opened, {TRIED} ({type(error).__name__}: {error}); see "
                "whether its storage answers, and run this again"
            ) from error
        message = _named_damage(where, group) or (
            f"{store} is not a Zarr store that xarray can open ({type(error).__name__}: {error}); "
            "make one with eds_xr.convert(vendor_file)"
        )
        raise EdsError(message) from error
    return _with_checked_chunks(dataset, where, group, lazy or lazy_variable)


def reads_from(image: xr.DataArray, store: str) -> bool:
    """Return whether a lazy image is read from `store`."""
    return any(source.store.rstrip("/") == store for source in sources(image))


def sources(image: xr.DataArray) -> Iterator[StoredArray]:
    """Yield the stored arrays from which a lazy image is read."""
    for part in dict(image.__dask_graph__() or {}).values():
        value = getattr(part, "value", part)
        if isinstance(value, StoredArray):
            yield value


def lazy_variable(variable: xr.Variable, stored: StoredArray) -> xr.Variable:
    """Return a variable of a store on Dask, in its chunks, whole along energy. Lazy."""
    import dask.array as da

    # name=False: a random key, as the same path may hold another store tomorrow
    meta, chunks = np.empty(0, variable.dtype), tuple(whole_spectra(variable, stored).values())
    data = da.from_array(stored, chunks=chunks, name=False, meta=meta)
    return xr.Variable(variable.dims, data, variable.attrs, variable.encoding)


def whole_spectra(variable: xr.Variable, stored: StoredArray) -> dict[Hashable, int]:
    """Return the stored chunks of a variable by dimension, but whole along energy."""
    chunks = dict(zip(variable.dims, stored.chunks, strict=True))
    return {d: variable.sizes[d] if d == ENERGY else size for d, size in chunks.items()}


def open(store: str | os.PathLike[str], *, binned: int = 1) -> xr.DataArray:
    """Open a Zarr store as a spectrum image.

    Lazy: nothing is read but metadata and axes. Blocks are the store's chunks, whole along
    energy also where the store (written by other software) has several chunks there. A chunk
    that is damaged or lost raises an error with its name when it is read.

    Parameters
    ----------
    store : path or URL
        Whatever fsspec can open: a folder, ``s3://...``, ``https://...``. Each request to a URL may
        take 60 s, or what ``dask.config.set({"eds_xr.storage-timeout": "5 min"})`` says here, and
        is repeated three times; then it is an error. A mounted disk that hangs cannot be given up.
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
    check_group(dataset, store)
    image = dataset["counts"].transpose(..., ENERGY)
    check_spectrum_image(image, detectors=True)
    return with_source(image, str(store)) if "multiscales" in dataset.attrs else image


def original_metadata(store: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the vendor's file said, as :func:`convert` kept it; empty if nothing."""
    return json.loads(open_group(store).attrs.get("original_metadata", "{}"))


def _where(store: str | os.PathLike[str]) -> str:
    if "://" in str(store):
        return str(store).rstrip("/")
    path = Path(store).expanduser()
    if path.is_file():
        raise EdsError(f"{store} is a file, expected a Zarr store; use eds_xr.convert on it first")
    if path.exists():
        return str(path)
    former = sorted(path.parent.glob(f".{path.name}.former-*")) if path.parent.is_dir() else []
    if former:
        raise EdsError(
            f"no such store: {store}; a run that replaced it was killed and left the former one "
            f"as {former[0]}: rename it back, or convert again"
        )
    raise EdsError(f"no such store: {store}; make one with eds_xr.convert(vendor_file)")


def _check_document(where: str, group: str) -> None:
    """Raise if a group's document is not what was written; those of other writers pass."""
    from fsspec.core import url_to_fs

    name = f"{group}/{DOCUMENT}" if group else DOCUMENT
    if isinstance(place := local_or_url(where), Path):
        inside(place, name)
    files, path = url_to_fs(f"{where}/{name}")
    try:
        text = persistently(lambda: ask(files, "cat_file", path))
    except FileNotFoundError:
        return
    try:
        document = json.loads(text)
        found = document["attributes"].get(CHECKSUM, "")
        intact = not found or found == checksum(document)
    except (ValueError, KeyError, TypeError, AttributeError):
        intact = CHECKSUM.encode() not in text
    if not intact:
        raise EdsError(
            f"{name} of {where} is damaged, or was changed since it was written: {_CURE}; if the "
            f"change was intended, remove the attribute {CHECKSUM!r} from it"
        )


def _named_damage(where: str, group: str) -> str:
    """Return which axis of a group cannot be read, if that is why it cannot be opened."""
    import zarr

    from eds_xr.readers.guards.zarr import guarded

    try:
        arrays = list(zarr.open_group(guarded(where), path=group, mode="r").arrays())
    except Exception:  # the group itself is damaged
        return ""
    for name, array in arrays:
        try:
            if array.ndim < 2:
                array[...]
        except Exception as error:  # zarr, numcodecs and fsspec raise each their own
            return _damaged(
                "/".join(filter(None, [group, name, "c", "0" * array.ndim])), where, error
            )
    return ""


def _damaged(chunk: str, where: str, error: Exception) -> str:
    if is_of_storage(error):
        return (
            f"chunk {chunk} of {where} could not be read, {TRIED} ({type(error).__name__}: "
            f"{error}); see whether its storage answers, and run this again"
        )
    return f"chunk {chunk} of {where} is damaged: {_CURE} ({type(error).__name__}: {error})"


def _with_checked_chunks(dataset: xr.Dataset, where: str, group: str, lazy: Lazy) -> xr.Dataset:
    """Return the Dataset with small variables read, and large ones lazy; both checked."""
    checked = bool(dataset.attrs.get(EVERY_CHUNK_WRITTEN))
    for name, variable in dataset.variables.items():
        path = f"{group}/{name}" if group else str(name)
        if variable.ndim > 1:
            dataset[name] = lazy(variable, StoredArray(variable, where, path, checked))
        else:
            values = StoredArray(variable, where, path, checked)[(slice(None),) * variable.ndim]
            if name not in dataset.indexes:
                dataset[name] = xr.Variable(
                    variable.dims, values, variable.attrs, variable.encoding
                )
    return dataset


def _is_blank(values: np.ndarray) -> bool:
    """Return whether values look like those of a missing chunk: zeros, or NaN for floats."""
    return not values.any() or (values.dtype.kind == "f" and bool(np.isnan(values).all()))


def _open_binned(store: str | os.PathLike[str], binned: int) -> xr.DataArray:
    if binned not in chunks.FACTORS:
        raise EdsError(f"binned must be one of 1, 2, 4, 8, found {binned!r}")
    if "multiscales" not in open_group(store).attrs:
        raise EdsError(
            f"{store} holds no sums of pixels: convert it with pyramid=True, or use "
            f"eds_xr.open(store).eds.rebin(y={binned}, x={binned})"
        )
    return open_group(store, chunks.level_path(binned))["counts"]


def check_group(dataset: xr.Dataset, store: str | os.PathLike[str]) -> None:
    """Raise unless a store's Dataset has ``counts`` with a dimension of energy."""
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


def is_store(path: Path) -> bool:
    """Return whether a folder is a store of ours, not another program's Zarr group."""
    return is_zarr_group(path) and (path / "counts").is_dir()
