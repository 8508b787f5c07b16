"""Opening a store: its metadata checked, its chunks read lazily, damage called by its name."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr._parts.whole import inside, local_or_url
from eds_xr._parts.writing import CHECKSUM, DOCUMENT, EVERY_CHUNK_WRITTEN, checksum
from eds_xr.schema import ENERGY, EdsError

_CURE = "convert the vendor file again, or take the store from a copy"


def open_group(store: str | os.PathLike[str], group: str = "") -> xr.Dataset:
    """Return a group of a store, its axes read and checked. Lazy.

    Raises
    ------
    EdsError
        If there is no store, its metadata were changed since they were written, or an axis is
        damaged.
    """
    from eds_xr._parts.zarr_guard import guarded

    where = _where(store)
    try:
        _check_document(where, group)
        with warnings.catch_warnings():  # other software's stores may not be consolidated
            warnings.filterwarnings("ignore", message="Failed to open Zarr store with cons")
            dataset = xr.open_dataset(
                guarded(where), engine="zarr", group=group or None, chunks=None, cache=False
            )
    except EdsError:
        raise
    except Exception as error:  # fsspec's many back ends raise each their own
        raise EdsError(_named_damage(where, group) or _not_opened(store, error)) from error
    return _with_checked_chunks(dataset, where, group)


def reads_from(image: xr.DataArray, store: str) -> bool:
    """Return whether a lazy image is read from `store`."""
    if image.chunks is None:
        return False
    parts = dict(image.__dask_graph__()).values()
    sources = (getattr(part, "value", part) for part in parts)
    return any(isinstance(s, _Stored) and s.store.rstrip("/") == store for s in sources)


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


def _not_opened(store: str | os.PathLike[str], error: Exception) -> str:
    return (
        f"{store} is not a Zarr store that xarray can open ({type(error).__name__}: {error}); "
        "make one with eds_xr.convert(vendor_file)"
    )


def _check_document(where: str, group: str) -> None:
    """Raise if a group's document is not what was written; those of other writers pass."""
    from fsspec.core import url_to_fs

    name = f"{group}/{DOCUMENT}" if group else DOCUMENT
    if isinstance(place := local_or_url(where), Path):
        inside(place, name)
    files, path = url_to_fs(f"{where}/{name}")
    try:
        text = files.cat_file(path)
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

    from eds_xr._parts.zarr_guard import guarded

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
    return f"chunk {chunk} of {where} is damaged: {_CURE} ({type(error).__name__}: {error})"


def _with_checked_chunks(dataset: xr.Dataset, where: str, group: str) -> xr.Dataset:
    """Return the Dataset with small variables read, and large ones lazy; both checked."""
    checked = bool(dataset.attrs.get(EVERY_CHUNK_WRITTEN))
    for name, variable in dataset.variables.items():
        path = f"{group}/{name}" if group else str(name)
        if variable.ndim > 1:
            dataset[name] = lazy_variable(variable, where, path, every_chunk_written=checked)
        else:
            values = _Stored(variable, where, path, checked)[(slice(None),) * variable.ndim]
            if name not in dataset.indexes:
                dataset[name] = xr.Variable(
                    variable.dims, values, variable.attrs, variable.encoding
                )
    return dataset


def lazy_variable(
    variable: xr.Variable, store: str, name: str, *, every_chunk_written: bool
) -> xr.Variable:
    """Return a variable of a store on Dask, in its chunks, whole along energy. Lazy.

    Parameters
    ----------
    variable : Variable
        Opened by xarray without Dask.
    store, name : str
        Where it lies.
    every_chunk_written : bool
        A chunk that is not there was lost; otherwise it stands for zeros.
    """
    import dask.array as da

    stored = _Stored(variable, store, name, every_chunk_written)
    sizes = dict(zip(variable.dims, stored.chunks, strict=True)) | {ENERGY: -1}
    chunks = tuple(sizes[d] for d in variable.dims)
    # name=False: a random key, as the same path may hold another store tomorrow
    data = da.from_array(stored, chunks=chunks, name=False, meta=np.empty(0, variable.dtype))
    return xr.Variable(variable.dims, data, variable.attrs, variable.encoding)


class _Stored:
    """The array that Dask slices: reads, and turns any failure into an error with a name."""

    def __init__(self, variable: xr.Variable, store: str, name: str, every_chunk_written: bool):
        self.shape, self.dtype, self.ndim = variable.shape, variable.dtype, variable.ndim
        self.chunks: tuple[int, ...] = variable.encoding.get("chunks") or variable.shape
        self._variable, self.store, self._name = variable, store, name
        self._every_chunk_written = every_chunk_written

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        try:
            values = np.asarray(self._variable[key].values)
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
        return bool(files.exists(path))


def _is_blank(values: np.ndarray) -> bool:
    """Return whether values look like those of a missing chunk: zeros, or NaN for floats."""
    return not values.any() or (values.dtype.kind == "f" and bool(np.isnan(values).all()))
