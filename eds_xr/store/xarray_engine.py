"""The engine ``eds_xr`` of :func:`xarray.open_dataset`: a store as a Dataset of checked chunks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from eds_xr.schema import ENERGY, EdsError, check_spectrum_image
from eds_xr.store.opening import StoredArray, check_group, open_group, whole_spectra


class EdsXrEngine(BackendEntrypoint):
    """Opens what :func:`eds_xr.open` opens, where it is asked for by its name; guesses nothing.

    Examples
    --------
    >>> import xarray as xr
    >>> xr.open_dataset("map.zarr", engine="eds_xr", chunks={}).counts  # doctest: +SKIP
    """

    description = "Open stores of spectrum images, every chunk checked as eds_xr.open does"
    open_dataset_parameters = ("filename_or_obj", "drop_variables")

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None
    ) -> xr.Dataset:
        """Return the ``counts`` of a store, with its axes and images as coordinates.

        Lazy: nothing is read but metadata and axes. With ``chunks={}`` on Dask, whole along
        energy, as :func:`eds_xr.open`; without, xarray reads what is used, and keeps it.

        Parameters
        ----------
        filename_or_obj : path or URL
        drop_variables : str or iterable of str, optional
            Coordinates to leave out, such as ``"haadf"``.

        Raises
        ------
        EdsError
            If there is no store (a vendor file is converted first), or it holds no spectrum image.
        """
        if not isinstance(filename_or_obj, str | os.PathLike):
            kind = type(filename_or_obj).__name__
            raise EdsError(f"expected the path or URL of a store, found an object ({kind})")
        dataset = open_group(filename_or_obj, lazy=_lazily_indexed)
        check_group(dataset, filename_or_obj)
        check_spectrum_image(dataset["counts"].transpose(..., ENERGY), detectors=True)
        kept = dataset["counts"].to_dataset(name="counts")
        return kept.drop_vars(drop_variables or [], errors="ignore")


class _Indexed(BackendArray):
    def __init__(self, stored: StoredArray) -> None:
        self.shape, self.dtype, self._stored = stored.shape, stored.dtype, stored

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(
            key, self.shape, support, self._stored.__getitem__
        )


def _lazily_indexed(variable: xr.Variable, stored: StoredArray) -> xr.Variable:
    encoding = {**variable.encoding, "preferred_chunks": whole_spectra(variable, stored)}
    data = indexing.LazilyIndexedArray(_Indexed(stored))
    return xr.Variable(variable.dims, data, variable.attrs, encoding)
