"""Maps of counts weighted by channel, with their variance: lazily, block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.chunks import as_chunked
from eds_xr.image.blocks import Sparse, check_channels, compress_block
from eds_xr.schema import ENERGY, LINE, spatial_dims
from eds_xr.workers import shared, task_name

#: Channels of the mean spectrum hold at least this share of its mean channel.
LEAST_RATE = 1e-6


def lazy_maps(
    image: xr.DataArray, block: Callable[..., np.ndarray], sizes: tuple[int, int],
    dtype: np.dtype, channels: slice = slice(None), **kwargs: Any,
) -> list[xr.DataArray]:  # fmt: skip
    """Return what `block` makes of `channels` of each chunk, as a list of maps.

    It makes ``[quantity, line, *spatial]``, of `sizes` quantities and lines.
    """
    import dask.array as da

    counts, dims = as_chunked(image).data, spatial_dims(image)
    tables = {
        n: shared(v, f"{n} of {block.__name__}") if isinstance(v, np.ndarray) else v
        for n, v in kwargs.items()
    }
    if counts.numblocks[-1] > 1:  # read only the chunks that hold these channels
        counts, channels = counts[..., channels].rechunk({-1: -1}), slice(None)
    check_channels(len(range(*channels.indices(counts.shape[-1]))))
    axes = tuple(range(len(dims)))
    line, energy = len(dims), len(dims) + 1
    # Channels and quantities are selected within tasks, as each of Dask's slices would be one more.
    # Energy stays, of one channel: Dask reads within a task only what leaves out no dimension.
    every = da.blockwise(
        _quantities_block, (line, *axes, energy), counts, (*axes, energy),
        new_axes={line: sizes[1]}, adjust_chunks={energy: 1}, block=block, channels=channels,
        dtype=object, meta=np.empty((0,) * (len(dims) + 2), object), token=block.__name__, **tables,
    )  # fmt: skip
    coords = {n: c for n, c in image.coords.items() if ENERGY not in c.dims}
    maps = [
        da.blockwise(
            _quantity_block, (line, *axes), every, (line, *axes, energy), number=number,
            dtype=dtype, meta=np.empty((0,) * (len(dims) + 1), dtype),
        )
        for number in range(sizes[0])
    ]  # fmt: skip
    return [xr.DataArray(data, coords, (LINE, *dims)) for data in maps]


def counts_times_table(counts: Sparse, table: np.ndarray) -> np.ndarray:
    """Return each pixel's counts times `table` ``[channel, q]``: ``[pixel, q]``."""
    from eds_xr.image.count_kernels import weighted_sums

    sums: np.ndarray = np.zeros((counts[0].size - 1, table.shape[1]))
    weighted_sums(*counts, np.ascontiguousarray(table), sums)
    return sums


def sums_as_maps(sums: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return ``[pixel, net counts and variances]`` as ``[quantity, line, *spatial]``."""
    maps = np.ascontiguousarray(sums.T, dtype=np.float32)
    return maps.reshape(2, -1, *block.shape[:-1])


def linear_weights(table: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the weights [component, channel] of the linear fit of least variance.

    Of loadings `table` [component, channel] to counts whose mean is `mean` [channel].
    """
    rate = np.maximum(mean, LEAST_RATE * max(float(mean.mean()), 1e-30))
    information = (table / rate) @ table.T
    scale = np.sqrt(np.maximum(np.diag(information), 1e-30))
    scaled = information / np.outer(scale, scale) + 1e-9 * np.eye(len(table))
    weights: np.ndarray = np.linalg.solve(scaled * np.outer(scale, scale), table / rate)
    return weights


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _quantities_block(
    counts: np.ndarray, *, block: Callable[..., np.ndarray], channels: slice, **kwargs: Any
) -> np.ndarray:
    return block(counts[..., channels], **kwargs)


@task_name("a map of each line")
def _quantity_block(along_energy: list[np.ndarray], *, number: int) -> np.ndarray:
    (quantities,) = along_energy
    found: np.ndarray = quantities[number]
    return found


@task_name("maps of lines")
def weighted_block(block: np.ndarray, *, table: np.ndarray, whole: bool = False) -> np.ndarray:
    """Return each pixel's counts times `table` ``[channel, quantity and line]``.

    As ``[quantity, line, *spatial]``: two quantities in float32, or one of `whole` numbers.
    """
    sums = counts_times_table(compress_block(block), table)
    if whole:
        return np.rint(sums).astype(np.int64).T.reshape(1, -1, *block.shape[:-1])
    return sums_as_maps(sums, block)
