"""One pass over a spectrum image: its non-zero counts, and a copy binned in space.

Both are what :func:`eds_xr.nmf` iterates on. The non-zero counts stay where the work is done, a
few bytes each: in this process, or with the workers of a cluster. Where memory is too small for
them, they are read anew each time. The binned copy is small and comes back.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.image.blocks import (
    Box,
    Rows,
    Sparse,
    boxes,
    check_channels,
    compress_block,
    flat_places,
    groups,
    join_rows,
)
from eds_xr.schema import EdsError
from eds_xr.workers import calls, cluster, cluster_threads, memory, task_name

#: Mean counts that a binned pixel should hold: enough to see a phase in one pixel.
COUNTS_PER_BIN = 2000
#: Bounds on the number of binned pixels: enough to tell phases apart, few enough for memory.
BINNED_PIXELS = (256, 8192)
#: Share of the memory that non-zero counts may fill; beyond, they are read for every step.
MEMORY_SHARE = 0.5
#: Small chunks are joined into at most this many blocks, or this many a thread of a cluster,
#: as each block costs a task and a set of sums.
MOST_BLOCKS, BLOCKS_PER_THREAD = 256, 8
#: Blocks read before their bins are added up, and bins whose sums are dense at a time.
BLOCKS_AT_ONCE, BINS_AT_ONCE = 64, 256


class Counts(NamedTuple):
    """What one pass over an image brings."""

    full: Rows
    binned: np.ndarray  # [binned pixel, channel; counts], without empty pixels


class Grid(NamedTuple):
    """Bins of `size` pixels a side, aligned to the image and not to its chunks."""

    shape: tuple[int, ...]  # of the image, without energy
    channels: int
    size: int

    @property
    def bins(self) -> list[int]:
        """Number of bins along each dimension."""
        return [-(-n // self.size) for n in self.shape]


class BinSums(NamedTuple):
    """Counts summed over bins; `bins` are the rows of the grid that `values` belong to."""

    counts: float
    bins: np.ndarray
    values: Sparse


class ChunkCounts(NamedTuple):
    """What is kept of a chunk."""

    rows: Sparse
    sums: BinSums


def read_once(image: xr.DataArray, *, stream: bool | None = None) -> Counts:
    """Compress every chunk of a Dask-backed image, and sum counts over bins of pixels.

    With `stream` the compressed chunks are not kept but read again for every use; None decides
    by the memory there is.
    """
    from eds_xr.image import count_kernels

    check_channels(image.shape[-1])
    tiles, places = image.data.to_delayed().ravel(), boxes(image.data.chunks[:-1])
    if stream is None:
        stream = not counts_fit(image)
    grid = finest_grid(image.shape)
    read = calls(_read_block, [(t, box, grid) for t, box in zip(tiles, places, strict=True)])
    client = cluster()
    most = MOST_BLOCKS if client is None else BLOCKS_PER_THREAD * cluster_threads(client)
    size = -(-len(tiles) // most)
    binned: np.ndarray = np.zeros((math.prod(grid.bins), grid.channels), _sum_dtype(image, grid))
    blocks: list[Any] = []
    total = 0.0
    for some in groups(list(groups(read, size)), BLOCKS_AT_ONCE):
        each = [(list(parts),) for parts in some]
        (sums,) = calls(_added, [(calls(_bins_only, each), grid.channels)])
        rows = [] if stream else calls(_rows_only, each)
        kept, found = _compute_and_keep(rows, sums)
        blocks += kept
        count_kernels.add_binned(*found.values, found.bins, binned)
        total += found.counts
    if stream:
        again = calls(compress_block, [(tile,) for tile in tiles])
        blocks = calls(join_rows, [(list(rows),) for rows in groups(again, size)])
    if total == 0:
        raise EdsError("the spectrum image holds no counts (in the pixels and channels chosen)")
    full = Rows(blocks, list(groups(places, size)), grid.shape, grid.channels, total, stream)
    return Counts(full, _coarsened(binned, grid, total))


def counts_fit(image: xr.DataArray) -> bool:
    """Return whether the non-zero counts fit in memory, judged by a few chunks if need be."""
    from dask.base import compute

    room = MEMORY_SHARE * memory()
    most = image.size * (2 + min(image.dtype.itemsize, 4))
    if most <= room:
        return True
    tiles = image.data.to_delayed().ravel()
    sample = tiles[:: -(-len(tiles) // 4)]
    filled = np.mean(compute(*calls(_filled_block, [(tile,) for tile in sample])))
    return bool(1.2 * filled * most <= room)


def _compute_and_keep(rows: list[Any], sums: Any) -> tuple[list[Any], BinSums]:
    """Compute both; `rows` stay with the workers if there is a cluster."""
    from dask.base import compute, persist

    if cluster() is None:
        *done, found = compute(*rows, sums)
        return done, found
    *kept, found = persist(*rows, sums)
    return kept, compute(found)[0]


def finest_grid(shape: tuple[int, ...]) -> Grid:
    """Return the finest grid that has no more bins than wanted: a power of two."""
    grid = Grid(shape[:-1], shape[-1], 1)
    while math.prod(grid.bins) > BINNED_PIXELS[1]:
        grid = grid._replace(size=2 * grid.size)
    return grid


def _coarsened(binned: np.ndarray, grid: Grid, counts: float) -> np.ndarray:
    """Double the bins until they hold counts enough for a start, or get few."""
    while counts < COUNTS_PER_BIN * math.prod(grid.bins):
        coarser = grid._replace(size=2 * grid.size)
        if math.prod(coarser.bins) < BINNED_PIXELS[0]:
            break
        cube = binned.reshape(*grid.bins, grid.channels)
        for axis, bins in enumerate(grid.bins):
            cube = np.add.reduceat(cube, np.arange(0, bins, 2), axis=axis)
        binned, grid = cube.reshape(-1, grid.channels), coarser
    filled = binned.any(axis=1)
    return binned if filled.all() else binned[filled]


def _sum_dtype(image: xr.DataArray, grid: Grid) -> type:
    """Return a type that the sum over the coarsest bins cannot overflow."""
    if image.dtype.kind == "f":
        return np.float64
    # a bin holds at most a 256th of the pixels, or 16 times that where edges cut the others
    small = np.iinfo(image.dtype).max * math.prod(grid.shape) < 2**31 * BINNED_PIXELS[0] // 16
    return np.int32 if small else np.int64


@task_name("counts for NMF")
def _read_block(block: np.ndarray, box: Box, grid: Grid) -> ChunkCounts:
    """Return a chunk's non-zero counts, their number and its share of the bins."""
    from eds_xr.image import count_kernels

    rows = compress_block(block)
    bins, target = np.unique(flat_places(box, grid.bins, grid.size), return_inverse=True)
    dtype = np.float64 if block.dtype.kind == "f" else np.int64
    binned: np.ndarray = np.zeros((bins.size, grid.channels), dtype)
    count_kernels.add_binned(*rows, target.ravel(), binned)
    counts = float(rows[2].sum(dtype=np.float64))
    return ChunkCounts(rows, BinSums(counts, bins, count_kernels.compress(binned)))


@task_name("counts of pixels")
def _rows_only(parts: Sequence[ChunkCounts]) -> Sparse:
    return join_rows([part.rows for part in parts])


@task_name("counts of bins")
def _bins_only(parts: Sequence[ChunkCounts]) -> list[BinSums]:
    return [part.sums for part in parts]


@task_name("sums over bins")
def _added(blocks: Sequence[Sequence[BinSums]], channels: int) -> BinSums:
    """Return sums of many chunks added up: bins that several chunks share reach the client once."""
    sums = list(itertools.chain(*blocks))
    bins = np.unique(np.concatenate([part.bins for part in sums]))
    starts = range(0, bins.size, BINS_AT_ONCE)
    values = [_added_bins(bins[a : a + BINS_AT_ONCE], sums, channels) for a in starts]
    return BinSums(sum(part.counts for part in sums), bins, join_rows(values))


def _added_bins(wanted: np.ndarray, sums: Sequence[BinSums], channels: int) -> Sparse:
    """Return the sums over the bins `wanted`, in their order."""
    from eds_xr.image import count_kernels

    real = any(part.values[2].dtype.kind == "f" for part in sums)
    rows: np.ndarray = np.zeros((wanted.size, channels), np.float64 if real else np.int64)
    for part in sums:
        first, end = np.searchsorted(part.bins, [wanted[0], wanted[-1] + 1])
        starts, channel, count = part.values
        places = np.searchsorted(wanted, part.bins[first:end])
        count_kernels.add_binned(starts[first : end + 1], channel, count, places, rows)
    return count_kernels.compress(rows)


@task_name("share of counts above zero")
def _filled_block(block: np.ndarray) -> float:
    return np.count_nonzero(block) / block.size
