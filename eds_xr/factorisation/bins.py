"""Counts summed over bins of pixels, still as blocks of non-zero counts.

Where a pixel holds few counts, a fit of its scores follows their noise, and loadings fitted
together with them are led astray. Bins of some hundred counts cost little resolution and lead to
truer loadings, at any dose.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from eds_xr.image.blocks import Box, Rows, Sparse, flat_places
from eds_xr.workers import calls, cluster, in_threads, task_name

#: Counts that a bin should hold on average: as many as help, while bins are small; beyond
#: `SMALL_BINS` pixels a side they blur grains, and fewer must do.
BIN_COUNTS, LEAST_COUNTS = 800, 300
SMALL_BINS = 4
#: Bins are not doubled below this number: phases must be told apart.
FEWEST_BINS = 256
#: A block has at most so many bins: their sums are dense for a moment. The cut into blocks
#: depends on the image alone, so that sums do not depend on its chunks.
BLOCK_BINS = 1024
#: How much more than the mean the brightest bin may have in a channel.
MOST_OVER_MEAN = 4


class BinPart(NamedTuple):
    """The pixels of a block that lie in one box of the image."""

    first: int  # the box's first pixel in the block
    box: Box


def bin_size(shape: Sequence[int], counts: float, each: int = BIN_COUNTS) -> int:
    """Return the side of bins in pixels, a power of two, for an image of so many `counts`.

    Bins hold `each` so many counts, larger ones fewer.
    """
    size = 1
    while _number(shape, 2 * size) >= FEWEST_BINS:
        wanted = each if size < SMALL_BINS else min(each, LEAST_COUNTS)
        if counts >= wanted * _number(shape, size):
            break
        size *= 2
    return size


def binned(rows: Rows, size: int, room: float = 0.0, spectrum: np.ndarray | None = None) -> Rows:
    """Return counts summed over bins of `size` pixels a side, aligned to the image.

    Of counts that are read anew each time, the sums are kept where they fit into `room` bytes, as
    judged by the mean `spectrum` of a pixel [channel; counts]: else every step of a fit reads the
    image. Of 16 GiB that is one pass in place of some twenty.
    """
    from dask.base import compute, persist

    steps = _steps(rows.shape, size)
    tiles, sources = list(_tiles(rows.shape, steps)), _sources(rows, steps)
    blocks: list[Any]
    streamed = False
    if isinstance(rows.blocks[0], tuple):
        blocks = list(in_threads(_bin_block, sources, tiles, repeat(size), repeat(rows.channels)))
    else:
        each = [(s, t, size, rows.channels) for s, t in zip(sources, tiles, strict=True)]
        blocks = calls(_bin_block, each)
        streamed = rows.streamed and (
            spectrum is None or sums_bytes(rows.shape, size, spectrum) > room
        )
        if not streamed:
            blocks = list(compute(*blocks) if cluster() is None else persist(*blocks))
    shape = tuple(-(-n // size) for n in rows.shape)
    places = [[_bins_of(tile, size)] for tile in tiles]
    return rows._replace(blocks=blocks, shape=shape, places=places, streamed=streamed)


def sums_bytes(shape: Sequence[int], size: int, spectrum: np.ndarray) -> float:
    """Return what sums over bins of `size` pixels a side take, at most about.

    For an image of `shape` (without energy) and the mean `spectrum` of a pixel [channel; counts]:
    counts above zero are most where all pixels are alike.
    """
    bins = _number(shape, size)
    mean = spectrum * math.prod(shape) / bins
    width = np.min_scalar_type(int(MOST_OVER_MEAN * mean.max()) + 1).itemsize
    return float(bins * -np.expm1(-mean).sum() * (2 + width))


def _number(shape: Sequence[int], size: int) -> int:
    return math.prod(-(-n // size) for n in shape)


def _steps(shape: Sequence[int], size: int) -> list[int]:
    """Return the sides of the boxes of whole bins into which an image is cut, in pixels."""
    edge = math.isqrt(BLOCK_BINS) if len(shape) > 1 else BLOCK_BINS
    return [size * (edge if axis >= len(shape) - 2 else 1) for axis in range(len(shape))]


def _tiles(shape: Sequence[int], steps: Sequence[int]) -> Iterator[Box]:
    """Yield the boxes, in pixels."""
    starts = [range(0, n, step) for n, step in zip(shape, steps, strict=True)]
    for first in itertools.product(*starts):
        ends = (min(a + step, n) for a, step, n in zip(first, steps, shape, strict=True))
        yield tuple(slice(a, b) for a, b in zip(first, ends, strict=True))


def _bins_of(tile: Box, size: int) -> Box:
    return tuple(slice(s.start // size, -(-s.stop // size)) for s in tile)


def _sources(rows: Rows, steps: Sequence[int]) -> list[list[tuple[Any, list[BinPart]]]]:
    """Return for each box the blocks that hold pixels of it, each with those of its parts that do.

    Each part names the boxes that it touches: all parts held against all boxes took half of what
    the NMF of 1024 x 1024 pixels does outside its tasks.
    """
    number = [-(-n // step) for n, step in zip(rows.shape, steps, strict=True)]
    found: list[dict[int, list[BinPart]]] = [{} for _ in range(math.prod(number))]
    for which, places in enumerate(rows.places):
        first = 0
        for box in places:
            touched = [
                range(s.start // n, -(-s.stop // n)) for s, n in zip(box, steps, strict=True)
            ]
            for at in itertools.product(*touched):
                of_box = found[int(np.ravel_multi_index(at, number))]
                of_box.setdefault(which, []).append(BinPart(first, box))
            first += math.prod(s.stop - s.start for s in box)
    return [[(rows.blocks[w], parts) for w, parts in of_box.items()] for of_box in found]


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("sums of pixels")
def _bin_block(
    sources: Sequence[tuple[Sparse, Sequence[BinPart]]], tile: Box, size: int, channels: int
) -> Sparse:
    """Return the counts of a tile of the image, summed over bins."""
    from eds_xr.image import count_kernels

    bins = _bins_of(tile, size)
    shape = [b.stop - b.start for b in bins]
    real = any(block[2].dtype.kind == "f" for block, _ in sources)
    sums: np.ndarray = np.zeros((math.prod(shape), channels), np.float64 if real else np.int64)
    for (starts, channel, count), parts in sources:
        for first, box in parts:
            shared = [
                slice(max(a.start, b.start), min(a.stop, b.stop))
                for a, b in zip(box, tile, strict=True)
            ]
            pixel = _flat(shared, box, 1) + first
            target = _flat(shared, bins, size)
            count_kernels.add_pixels(starts, channel, count, pixel, target, sums)
    return count_kernels.compress(sums)


def _flat(shared: Sequence[slice], within: Box, size: int) -> np.ndarray:
    """Return the places of shared pixels in a box of pixels or bins, as flat indices."""
    first = [w.start * size for w in within]
    box = tuple(slice(s.start - a, s.stop - a) for s, a in zip(shared, first, strict=True))
    return flat_places(box, [w.stop - w.start for w in within], size)
