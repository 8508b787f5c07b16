"""Reading a store's chunks lazily, with errors that name the chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import ENERGY, EdsError


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
        self._variable, self._store, self._name = variable, store, name
        self._every_chunk_written = every_chunk_written

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        try:
            values = np.asarray(self._variable[key].values)
        except Exception as error:  # zarr, numcodecs and fsspec raise each their own
            raise EdsError(
                f"{self._where(key)} is damaged: convert the vendor file again, or take the "
                f"store from a copy ({type(error).__name__}: {error})"
            ) from error
        if self._every_chunk_written and _is_blank(values) and not self._exists(key):
            raise EdsError(
                f"{self._where(key)} is missing from the store: convert the vendor file again, "
                "or take the store from a copy"
            )
        return values

    def _chunk(self, key: tuple[Any, ...]) -> str:
        # Dask may pass whole blocks, or parts of them as slices, integers or lists
        firsts = (np.arange(size)[part] for part, size in zip(key, self.shape, strict=True))
        starts = (int(np.ravel(first)[0]) for first in firsts)
        indices = (str(start // n) for start, n in zip(starts, self.chunks, strict=True))
        return "/".join([self._name, "c", *indices])

    def _where(self, key: tuple[Any, ...]) -> str:
        return f"chunk {self._chunk(key)} of {self._store}"

    def _exists(self, key: tuple[Any, ...]) -> bool:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(f"{self._store.rstrip('/')}/{self._chunk(key)}")
        return bool(files.exists(path))


def _is_blank(values: np.ndarray) -> bool:
    """Return whether values look like those of a missing chunk: zeros, or NaN for floats."""
    return not values.any() or (values.dtype.kind == "f" and bool(np.isnan(values).all()))
