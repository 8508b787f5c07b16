"""The one chunk policy: whole spectra, square tiles of pixels, about 8 MiB decoded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import xarray as xr

from eds_xr.schema import ENERGY, spatial_dims
from eds_xr.workers import cluster

#: Decoded size of a chunk. Small enough for many in flight, large enough for fast reads.
CHUNK_BYTES = 8 * 2**20
#: Decoded size of a block of whole rows, as readers hand them over. Bounds the import's memory.
ROW_BLOCK_BYTES = 64 * 2**20

Data = TypeVar("Data", xr.DataArray, xr.Dataset)

FACTORS = (2, 4, 8)


def chunk_shape(shape: tuple[int, ...], dtype: np.dtype | str) -> tuple[int, ...]:
    """Return the chunk shape of a spectrum image on disk.

    Whole along energy (last), one along leading dimensions (frames, tilts), square along the
    last two spatial ones; flatter where a row block of square chunks would exceed
    `ROW_BLOCK_BYTES`, as images are written in rows.

    Examples
    --------
    >>> chunk_shape((512, 512, 2048), "uint8")
    (64, 64, 2048)
    >>> chunk_shape((8192, 8192, 4096), "uint16")
    (1, 1024, 4096)
    """
    *spatial, channels = shape
    spectrum = channels * np.dtype(dtype).itemsize
    pixels = max(1, CHUNK_BYTES // spectrum)
    if len(spatial) == 1:
        return (min(spatial[0], pixels), channels)
    *leading, height, width = spatial
    rows = max(1, min(height, math.isqrt(pixels), ROW_BLOCK_BYTES // (width * spectrum)))
    columns = max(1, min(width, pixels // rows))
    rows = max(1, min(height, pixels // columns, ROW_BLOCK_BYTES // (width * spectrum)))
    return (*(1 for _ in leading), rows, columns, channels)


def as_chunked(image: xr.DataArray) -> xr.DataArray:
    """Return the image on Dask, in the policy's chunks when it had none. Lazy."""
    if image.chunks is not None:
        return image
    dims = (*spatial_dims(image), ENERGY)
    sizes = chunk_shape(tuple(image.sizes[d] for d in dims), image.dtype)
    return image.chunk(dict(zip(dims, sizes, strict=True)))


def computed(data: Data) -> Data:
    """Return data with values in memory. Computes them, but not the lazy images riding along."""
    return _beside_lazy_coords(data, lambda bare: bare.compute())


def persisted(data: Data) -> Data:
    """Return data whose values the workers keep; lazy images riding along stay as they are."""
    return _beside_lazy_coords(data, lambda bare: bare.persist())


def kept(data: Data) -> Data:
    """Return data in memory: that of the workers where a cluster computes, or else of this process.

    Computes them. For what is as large as the image, and looked at more than once.
    """
    return computed(data) if cluster() is None else persisted(data)


def level_path(factor: int) -> str:
    """Return the path of a level's group in the store."""
    return f"pyramid/{factor}"


def _beside_lazy_coords(data: Data, change: Callable[[Data], Data]) -> Data:
    lazy = {name: c.variable for name, c in data.coords.items() if c.chunks is not None}
    return change(data.drop_vars(lazy)).assign_coords(lazy)
