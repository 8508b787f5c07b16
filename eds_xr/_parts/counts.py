"""One pass over a spectrum image: its non-zero counts, and a copy binned in space.

Both are what :mod:`eds_xr.nmf` iterates on. The non-zero counts stay with the workers, a few
bytes each; the binned copy is small and comes back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from dask.base import compute, persist
from dask.delayed import delayed

from eds_xr.schema import EdsError, check_counts_block

#: Mean counts that a binned pixel should hold: enough to see a phase in one pixel.
COUNTS_PER_BIN = 2000
#: Bounds on the number of binned pixels: enough to tell phases apart, few enough for memory.
BINNED_PIXELS = (256, 8192)
#: Non-zero counts carry their channel in 16 bits.
MOST_CHANNELS = 65_535

Sparse = tuple[np.ndarray, np.ndarray, np.ndarray]  # starts, channels, counts: see _poisson
Box = tuple[slice, ...]


class Rows(NamedTuple):
    """Pixels as delayed blocks of non-zero counts, and what describes them."""

    blocks: list[Any]
    pixels: int
    channels: int
    counts: float


class Counts(NamedTuple):
    """What one pass over an image brings."""

    full: Rows
    binned: np.ndarray  # [binned pixel, channel; counts], without empty pixels


def read_once(image: xr.DataArray) -> Counts:
    """Compress every chunk of a Dask-backed image, and sum counts over bins of pixels."""
    check_channels(image.shape[-1])
    blocks = [delayed(compress_block)(tile) for tile in image.data.to_delayed().ravel()]
    counts = delayed(sum)([delayed(_count_block)(block) for block in blocks])
    *blocks, counts = persist(*blocks, counts)
    (total,) = compute(counts)
    if total == 0:
        raise EdsError("the spectrum image holds no counts (in the pixels and channels chosen)")
    binned = _bin(blocks, image, _bin_size(image.shape[:-1], total))
    pixels = math.prod(image.shape[:-1])
    return Counts(Rows(blocks, pixels, image.shape[-1], total), binned[binned.any(axis=1)])


def split_rows(dense: np.ndarray, pieces: int) -> Rows:
    """Cut dense counts ``[pixel, channel]`` into a fixed number of blocks: sums depend on it."""
    parts = [part for part in np.array_split(dense, pieces) if len(part)]
    blocks = list(persist(*(delayed(compress_block)(part) for part in parts)))
    return Rows(blocks, len(dense), dense.shape[1], float(dense.sum()))


def boxes(chunks: Sequence[Sequence[int]]) -> list[Box]:
    """Return the place of each chunk, in the order of ``to_delayed().ravel()``."""
    edges = [np.cumsum((0, *sizes)).tolist() for sizes in chunks]
    return [
        tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, index, strict=True))
        for index in np.ndindex(*(len(sizes) for sizes in chunks))
    ]


def groups(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Yield `items` a few at a time."""
    return (items[i : i + size] for i in range(0, len(items), size))


def check_channels(channels: int) -> None:
    """Raise when there are more channels than 16 bits can count."""
    if channels > MOST_CHANNELS:
        raise EdsError(
            f"expected at most {MOST_CHANNELS} channels, found {channels}; sum neighbours with "
            "da.eds.rebin(energy=2) or select a range with da.sel(energy=slice(low, high))"
        )


def _bin(blocks: Sequence[Any], image: xr.DataArray, size: int) -> np.ndarray:
    """Return the counts summed over bins that are aligned to the image's grid, not to chunks."""
    shape, channels = image.shape[:-1], image.shape[-1]
    places = boxes(image.data.chunks[:-1])
    parts = [
        delayed(_bin_block)(block, box, shape, size, channels)
        for block, box in zip(blocks, places, strict=True)
    ]
    binned: np.ndarray = np.zeros(
        (math.prod(_grid(shape, size)), channels), _sum_dtype(image.dtype)
    )
    for group in groups(parts, 256):  # a few at a time: together they outweigh the result
        for rows, values in compute(*group):
            binned[rows] += values
    return binned


def _bin_size(shape: tuple[int, ...], counts: float) -> int:
    """Return the side of a bin, a power of two: counts enough for a start, pixels enough too."""
    few, many = BINNED_PIXELS
    size = 1
    while True:
        pixels, next_pixels = math.prod(_grid(shape, size)), math.prod(_grid(shape, 2 * size))
        enough = counts / pixels >= COUNTS_PER_BIN
        if pixels <= many and (enough or next_pixels < few):
            return size
        size *= 2


def _grid(shape: tuple[int, ...], size: int) -> list[int]:
    return [-(-n // size) for n in shape]


def _sum_dtype(dtype: np.dtype) -> type:
    return np.float64 if dtype.kind == "f" else np.int64


def _native(dtype: np.dtype) -> np.dtype:
    """Return the dtype that the kernels take: the machine's byte order, no half floats."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype.newbyteorder("=")


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def compress_block(block: np.ndarray) -> Sparse:
    """Return the non-zero counts of a block ``[*spatial, channel]``, pixel by pixel."""
    from eds_xr._parts import poisson

    check_counts_block(block)
    rows = np.ascontiguousarray(block, _native(block.dtype)).reshape(-1, block.shape[-1])
    sparse: Sparse = poisson.compress(rows)
    return sparse


def _count_block(block: Sparse) -> float:
    return float(block[2].sum(dtype=np.float64))


def _bin_block(
    block: Sparse, box: Box, shape: tuple[int, ...], size: int, channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bins that a block touches and the block's counts in them."""
    from eds_xr._parts import poisson

    bins = np.meshgrid(*(np.arange(s.start, s.stop) // size for s in box), indexing="ij")
    flat = np.ravel_multi_index([b.ravel() for b in bins], _grid(shape, size))
    rows, target = np.unique(flat, return_inverse=True)
    binned: np.ndarray = np.zeros((rows.size, channels), _sum_dtype(block[2].dtype))
    poisson.add_binned(*block, target.ravel(), binned)
    return rows, binned
