"""Blocks of an image as sparse counts, and sums over blocks in a tree of tasks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.chunks import as_chunked
from eds_xr.schema import ENERGY, EdsError, check_counts_block, spatial_dims
from eds_xr.workers import calls, in_threads, shared, task_name

#: Non-zero counts carry their channel in 16 bits.
MOST_CHANNELS = 65_535

Sparse = tuple[np.ndarray, np.ndarray, np.ndarray]  # starts, channels, counts: see poisson
Box = tuple[slice, ...]


class Rows(NamedTuple):
    """Pixels as blocks of non-zero counts, and what describes them.

    The blocks are `Sparse` where they lie in this process, and delayed where they stay with the
    workers of a cluster or are read anew each time.
    """

    blocks: list[Any]
    places: Sequence[Sequence[Box]]  # the parts of the image that each block holds
    shape: tuple[int, ...]  # of the image, without energy
    channels: int
    counts: float
    streamed: bool = False

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)


def split_rows(dense: np.ndarray, pieces: int) -> Rows:
    """Cut dense counts ``[pixel, channel]`` into a fixed number of blocks: sums depend on it."""
    parts = [part for part in np.array_split(dense, pieces) if len(part)]
    blocks = list(in_threads(compress_block, parts))
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    places = [[(slice(a, b),)] for a, b in itertools.pairwise(ends)]
    total = float(dense.sum(dtype=np.float64))
    return Rows(blocks, places, (len(dense),), dense.shape[1], total)


def weighted(rows: Rows, channel: np.ndarray) -> Rows:
    """Return counts times a weight ``[channel]``, divided by the root of their pixel's total."""
    return rows._replace(blocks=of_each_block(_weighted_block, rows, channel))


def of_each_block(function: Callable[..., Any], rows: Rows, *arguments: Any) -> list[Any]:
    """Return ``function(block, *arguments)`` of every block: at once, or delayed as the blocks."""
    from dask.delayed import delayed

    if isinstance(rows.blocks[0], tuple):
        return list(in_threads(function, rows.blocks, *map(repeat, arguments)))
    known = [delayed(argument) for argument in arguments]
    return calls(function, [(block, *known) for block in rows.blocks])


def by_spectrum(
    image: xr.DataArray,
    block: Callable[..., np.ndarray],
    dim: str,
    table: np.ndarray,
    **kwargs: Any,
) -> xr.DataArray:
    """Return ``block(counts, table, **kwargs)`` of each chunk ``[*spatial, dim; float32]``. Lazy.

    Of a `table` ``[channel, dim]`` that each worker gets once, in one task with the reading.
    """
    import dask.array as da

    dims = spatial_dims(image)
    counts = as_chunked(image).transpose(*dims, ENERGY).data.rechunk({-1: -1})
    values = da.map_blocks(
        block, counts, shared(table, f"table of {block.__name__}"), dtype=np.float32,
        chunks=(*counts.chunks[:-1], (table.shape[1],)),
        meta=np.empty((0,) * counts.ndim, np.float32), **kwargs,
    )  # fmt: skip
    coords = {n: c for n, c in image.coords.items() if ENERGY not in c.dims}
    return xr.DataArray(values, coords, (*dims, dim))


def boxes(chunks: Sequence[Sequence[int]]) -> list[Box]:
    """Return the place of each chunk, in the order of ``to_delayed().ravel()``."""
    edges = [np.cumsum((0, *sizes)).tolist() for sizes in chunks]
    return [
        tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, index, strict=True))
        for index in np.ndindex(*(len(sizes) for sizes in chunks))
    ]


def flat_places(box: Box, shape: Sequence[int], size: int = 1) -> np.ndarray:
    """Return where the pixels of a box lie in an image of `shape`, as flat indices.

    With `size` in an image of that `shape` whose pixels are bins of so many pixels a side.
    """
    index = np.meshgrid(*(np.arange(s.start, s.stop) // size for s in box), indexing="ij")
    return np.ravel_multi_index([i.ravel() for i in index], tuple(shape))


def groups(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Yield `items` a few at a time."""
    return (items[i : i + size] for i in range(0, len(items), size))


@task_name("sums of spectra")
def add_sums(parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return the sums of several blocks added up, each with its like."""
    return tuple(sum(values[1:], values[0]) for values in zip(*parts, strict=True))


def add_delayed(sums: list[Any]) -> Any:
    """Return the delayed sums of blocks added up in a tree: no worker has to hold them all."""
    while len(sums) > 1:
        sums = calls(add_sums, [(group,) for group in groups(sums, 16)])
    return sums[0]


def check_channels(channels: int) -> None:
    """Raise when there are more channels than 16 bits can count."""
    if channels > MOST_CHANNELS:
        raise EdsError(
            f"expected at most {MOST_CHANNELS} channels, found {channels}; sum neighbours with "
            "da.eds.rebin(energy=2) or select a range with da.sel(energy=slice(low, high))"
        )


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("counts of pixels")
def compress_block(block: np.ndarray) -> Sparse:
    """Return the non-zero counts of a block ``[*spatial, channel]``, pixel by pixel."""
    from eds_xr.image import count_kernels

    check_counts_block(block)
    # the kernels take the machine's byte order, and no half floats
    dtype = np.float32 if block.dtype == np.float16 else block.dtype.newbyteorder("=")
    return count_kernels.compress(block.astype(dtype, copy=False).reshape(-1, block.shape[-1]))


@task_name("counts of pixels")
def join_rows(rows: Sequence[Sparse]) -> Sparse:
    """Return the non-zero counts of several blocks as one block."""
    if len(rows) == 1:
        return rows[0]
    before = np.cumsum([0, *(starts[-1] for starts, _, _ in rows)])
    starts = [starts[1:] + first for (starts, _, _), first in zip(rows, before, strict=False)]
    channel, count = (np.concatenate([part[i] for part in rows]) for i in (1, 2))
    return np.concatenate([np.zeros(1, np.int64), *starts]), channel, count


@task_name("weighted counts")
def _weighted_block(block: Sparse, channel: np.ndarray) -> Sparse:
    from eds_xr.image import count_kernels

    pixel = 1 / np.sqrt(np.maximum(count_kernels.pixel_totals(block[0], block[2]), 1e-9))
    factor = np.repeat(pixel, np.diff(block[0])) * channel[block[1]]
    return block[0], block[1], (block[2] * factor).astype(np.float32)
