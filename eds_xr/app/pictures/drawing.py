"""The part of a map that is seen, computed tile by tile, as fine as the screen."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eds_xr.app.pictures.channel import Channel, least_common_side
from eds_xr.app.pictures.worker import Job
from eds_xr.workers import threads

#: A picture that is sent has at most so many rows, and so many columns.
MOST_SIDE = 2048
#: What is decoded for a tile [bytes]: it bounds memory, and how long cancelled work goes on.
TILE_BYTES = 32 * 2**20
#: What is kept of tiles that were computed [bytes].
CACHE_BYTES = 256 * 2**20
#: A picture that takes longer is shown in part, first after, then every so many seconds.
FIRST_SECONDS, EVERY_SECONDS = 0.4, 1.0


@dataclass(frozen=True)
class Window:
    """The part of an image that is seen [pixels], and on how much of a screen.

    Attributes
    ----------
    y0, x0, y1, x1 : float
    rows, columns : int
        Of the screen.
    """

    y0: float
    x0: float
    y1: float
    x1: float
    rows: int = 800
    columns: int = 800


@dataclass(frozen=True)
class Picture:
    """Values that a screen shows.

    Attributes
    ----------
    values : ndarray [row, column; float32]
        Means of a pixel; NaN where nothing is known.
    place : (float, float, float, float)
        y0, x0, height and width in the image [pixels].
    done : float
        The part of it that is computed; the rest has the mean of what is near.
    factor : int
        How many pixels a side are one value.
    """

    values: np.ndarray
    place: tuple[float, float, float, float]
    done: float
    factor: int


class Cache:
    """Tiles that were computed, the last ones."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._kept: OrderedDict[Any, np.ndarray] = OrderedDict()
        self._most, self._size, self._lock = most_bytes, 0, threading.Lock()

    def get(self, key: Any) -> np.ndarray | None:
        """Return a tile, if it is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Any, tile: np.ndarray) -> None:
        """Keep a tile, and forget those that nobody asked for."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = tile
                self._size += tile.nbytes
            while self._size > self._most:
                self._size -= self._kept.popitem(last=False)[1].nbytes


def draw(
    channel: Channel,
    window: Window,
    job: Job,
    cache: Cache,
    show: Callable[[Picture], Any] = lambda picture: None,
) -> Picture:
    """Return the picture of what is seen of a map; `show` unfinished ones, if it takes long.

    Computes: the tiles that are seen, some at a time, each in memory of a few chunks; from stored
    sums of pixels where there are any. Raises `CancelledError` between tiles.
    """
    factor = factor_of(window)
    level, of = channel.at(factor)
    job.check()
    grid = _Grid(channel, level, factor, of, window)
    picture = _Unfinished(grid)
    wanted = [t for t in grid.tiles() if not picture.take(t, cache.get(grid.key(t)))]
    since, shown = time.monotonic(), 0.0
    for some in _several(_coarse_first(wanted), max(1, threads())):
        job.check()
        for tile, values in zip(some, grid.compute(some), strict=True):
            cache.put(grid.key(tile), values)
            picture.take(tile, values)
        taken = time.monotonic() - since
        if picture.done < 1 and taken > (shown + EVERY_SECONDS if shown else FIRST_SECONDS):
            job.check()
            show(picture.picture())
            shown = taken
    return picture.picture()


def factor_of(window: Window) -> int:
    """Return how many pixels a side become one value: a power of two, as fine as the screen."""
    high, wide = window.y1 - window.y0, window.x1 - window.x0
    finest = max(high / MOST_SIDE, wide / MOST_SIDE)
    wish = max(high / max(window.rows, 1), wide / max(window.columns, 1))
    factor = 1
    while factor < finest or 2 * factor <= wish:
        factor *= 2
    return factor


Tile = tuple[int, int]


class _Grid:
    """Tiles of a level of a map: whole chunks, and whole blocks of pixels that are one value."""

    def __init__(self, channel: Channel, level: Any, factor: int, of: int, window: Window) -> None:
        self.channel, self.level, self.factor, self.extra = channel, level, factor, factor // of
        self.of = of
        self.side = tuple(
            _side(chunks[0] if chunks else 512, self.extra, channel.bytes_per_pixel)
            for chunks in (level.chunks or ((), ()))
        )
        sizes = channel.shape
        low = [max(0, int(v // factor)) for v in (window.y0, window.x0)]
        high = [
            min(-(-n // factor), int(-(-v // factor)))
            for n, v in zip(sizes, (window.y1, window.x1), strict=True)
        ]
        self.low = low
        self.shape = tuple(max(0, b - a) for a, b in zip(low, high, strict=True))

    @property
    def values_a_side(self) -> tuple[int, ...]:
        return tuple(side // self.extra for side in self.side)

    def key(self, tile: Tile) -> Any:
        return (self.channel.number, self.factor, *tile)

    def tiles(self) -> list[Tile]:
        if not all(self.shape):
            return []
        first, last = (
            [v // n for v, n in zip(values, self.values_a_side, strict=True)]
            for values in (
                self.low,
                [a + n - 1 for a, n in zip(self.low, self.shape, strict=True)],
            )
        )
        return [(i, j) for i in range(first[0], last[0] + 1) for j in range(first[1], last[1] + 1)]

    def compute(self, tiles: Sequence[Tile]) -> list[np.ndarray]:
        """Return the values of tiles, together: their chunks are read in parallel."""
        from dask.base import compute

        parts = [
            self.level.data[
                tuple(slice(i * n, (i + 1) * n) for i, n in zip(tile, self.side, strict=True))
            ]
            for tile in tiles
        ]
        found = compute(*parts)
        return [self._means(np.asarray(v), t) for v, t in zip(found, tiles, strict=True)]

    def _means(self, values: np.ndarray, tile: Tile) -> np.ndarray:
        """Return means of a pixel of the image; blocks on the edge hold fewer."""
        first = [i * n for i, n in zip(tile, self.values_a_side, strict=True)]
        sums = _block_sums(values, self.extra)
        if not self.channel.sums:
            number = _block_sums(np.isfinite(values), self.extra)
            with np.errstate(invalid="ignore"):
                return np.where(number > 0, sums / np.maximum(number, 1), np.nan).astype("f4")
        pixels = [
            np.minimum(self.factor, size - self.factor * (a + np.arange(n)))
            for size, a, n in zip(self.channel.shape, first, sums.shape, strict=True)
        ]
        return (sums / np.outer(*pixels)).astype(np.float32)


class _Unfinished:
    """A picture of which tiles come one by one."""

    def __init__(self, grid: _Grid) -> None:
        self.grid = grid
        self.values: np.ndarray = np.full(grid.shape, np.nan, np.float32)
        self.known: np.ndarray = np.zeros(grid.shape, bool)

    @property
    def done(self) -> float:
        return float(self.known.mean()) if self.known.size else 1.0

    def take(self, tile: Tile, values: np.ndarray | None) -> bool:
        """Put a tile into its place; return whether there is one."""
        if values is None:
            return False
        parts = zip(
            tile, self.grid.values_a_side, self.grid.low, self.grid.shape, values.shape,
            strict=True,
        )  # fmt: skip
        here, there = [], []
        for i, side, low, size, many in parts:
            start, stop = max(i * side, low), min(i * side + many, low + size)
            here.append(slice(start - low, stop - low))
            there.append(slice(start - i * side, stop - i * side))
        self.values[tuple(here)] = values[tuple(there)]
        self.known[tuple(here)] = True
        return True

    def picture(self) -> Picture:
        f, (y0, x0), (rows, columns) = self.grid.factor, self.grid.low, self.grid.shape
        values = self.values.copy() if self.known.all() else self._filled()
        return Picture(values, (y0 * f, x0 * f, rows * f, columns * f), self.done, f)

    def _filled(self) -> np.ndarray:
        """Return values; where none are known yet, those of the nearest that are, blurred."""
        from scipy.ndimage import distance_transform_edt

        step = max(1, min(self.grid.values_a_side))
        coarse = self.known[::step, ::step]
        if not coarse.any():
            return self.values.copy()
        near = distance_transform_edt(~coarse, return_distances=False, return_indices=True)
        means = self.values.copy()
        means[~self.known] = np.nan
        table = _tile_means(means, step)[near[0], near[1]]
        spread = np.repeat(np.repeat(table, step, 0), step, 1)[: means.shape[0], : means.shape[1]]
        return np.where(self.known, self.values, spread)


def _tile_means(values: np.ndarray, step: int) -> np.ndarray:
    known = np.isfinite(values)
    sums = _block_sums(np.where(known, values, 0), step)
    number = _block_sums(known, step)
    return np.where(number > 0, sums / np.maximum(number, 1), np.nan).astype(np.float32)


def _block_sums(values: np.ndarray, size: int) -> np.ndarray:
    """Return sums over blocks of `size` pixels a side; the last may be part empty. NaN are none."""
    wide = np.nan_to_num(values) if values.dtype.kind == "f" else values
    wide = wide.astype(np.float64)
    if size == 1:
        return wide
    padded = np.pad(wide, [(0, -n % size) for n in wide.shape])
    rows, columns = (n // size for n in padded.shape)
    return padded.reshape(rows, size, columns, size).sum((1, 3))


def _side(chunk: int, extra: int, bytes_per_pixel: int) -> int:
    """Return how many pixels a side a tile has: few enough to be computed soon."""
    most = max(1.0, TILE_BYTES / bytes_per_pixel) ** 0.5
    if chunk > 4 * most:  # a tile is part of a chunk
        return max(extra, int(most) // extra * extra)
    least = least_common_side(chunk, extra)
    return least * max(1, int(most // least))


def _coarse_first(tiles: Iterable[Tile]) -> list[Tile]:
    """Return tiles so that the first of them are spread over all."""
    tiles = list(tiles)
    if not tiles:
        return []
    top, left = min(i for i, _ in tiles), min(j for _, j in tiles)

    def turn(tile: Tile) -> tuple[int, Tile]:
        i, j = tile[0] - top, tile[1] - left
        step = 1 << 20
        while step > 1 and (i % step or j % step):
            step //= 2
        return -step, tile

    return sorted(tiles, key=turn)


def _several(tiles: Sequence[Tile], number: int) -> Iterable[Sequence[Tile]]:
    return (tiles[i : i + number] for i in range(0, len(tiles), number))
