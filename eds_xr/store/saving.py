"""Lazy results saved to a store, block by block."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xarray as xr

from eds_xr.cluster.supervision import computes
from eds_xr.places import local_or_url
from eds_xr.progress import progress
from eds_xr.schema import DETECTOR, ENERGY, EdsError, check_spectrum_image
from eds_xr.store import writing
from eds_xr.store.opening import reads_from
from eds_xr.store.targets import StillWritten, check_target, written
from eds_xr.store.writing import checked_block, may_be_negative
from eds_xr.workers import threads


@computes
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
    if isinstance(image, xr.DataArray) and image.chunks is not None and ENERGY in image.dims:
        image = image.chunk({ENERGY: -1})
    check_spectrum_image(image, detectors=True)
    dataset = _for_disk(image, images or {})
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


def _for_disk(image: xr.DataArray, images: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Return a Dataset in the chunks that it shall have on disk. Lazy."""
    image = image.assign_coords({name: image_.variable for name, image_ in images.items()})
    texts = [n for n, c in image.coords.items() if c.dtype.kind not in "buif" and n != DETECTOR]
    image = image.drop_vars(texts)
    if DETECTOR in image.coords:  # names, of which Zarr has a specification as objects alone
        image = image.assign_coords({DETECTOR: image[DETECTOR].astype(object)})
    image.attrs = writing.plain_attrs({"units": "counts", "long_name": "counts", **image.attrs})
    dataset = image.to_dataset(name="counts")
    for name, variable in dataset.variables.items():
        if name == "counts" or variable.chunks is not None:
            chunks = dict(zip(variable.dims, writing.disk_chunks(str(name), variable), strict=True))
            dataset[name] = variable.chunk(chunks)
    if not may_be_negative(image.attrs):
        counts = dataset["counts"]
        dataset["counts"] = counts.copy(data=counts.data.map_blocks(checked_block))
    return dataset


def _store_lazy(dataset: xr.Dataset, place: str) -> None:
    """Compute a Dataset's lazy variables and write them, block by block.

    When it is interrupted, no thread writes any more after it has returned.
    """
    import dask
    import dask.array as da

    lazy = {str(n): v.data for n, v in dataset.variables.items() if v.chunks is not None}
    arrays: list[Any] = [StillWritten(writing.open_array(place, name), place) for name in lazy]
    with ThreadPoolExecutor(threads()) as pool, dask.config.set(pool=pool):
        da.store(list(lazy.values()), arrays, lock=False)
