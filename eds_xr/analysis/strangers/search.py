"""Windows of pixels in which a family's counts are more, or fewer, than mixtures explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.analysis.strangers import windows
from eds_xr.analysis.strangers.responses import Responses
from eds_xr.chunks import as_chunked
from eds_xr.image.blocks import Box, boxes, compress_block
from eds_xr.image.weighted_sums import counts_times_table
from eds_xr.schema import ENERGY, spatial_dims
from eds_xr.segmentation.tiled_filters import cut_out, tile_sizes
from eds_xr.workers import calls, shared, task_name

#: What stands out by less, as a normal distribution has it, is not looked at.
LEAST_SIGMA = 4.75
#: A tile has at most so many candidates of a response and shape, and so many windows: the best.
MOST_CANDIDATES, MOST_WINDOWS = 1000, 2000
#: Surroundings are taken to hold this much of every phase: none is impossible.
LEAST_SHARE = 0.01


class Windows(NamedTuple):
    """Windows that stand out, in the order of their significance within each tile.

    Attributes
    ----------
    response, shape : ndarray of int [window]
    y, x : ndarray of int [window]
        Its middle.
    tile : ndarray of int [window]
        Where it was found: within a tile, pixels are of one window.
    sums : ndarray [window, response]
        Their responses.
    amounts : ndarray [window, phase; counts]
        What is expected there.
    spread : ndarray [window]
        What the standard deviation of counts is multiplied by.
    score : ndarray [window]
        Nearly the standard deviations.
    place : ndarray [window, (y, x)]
        Where its response lies on average.
    """

    response: np.ndarray
    shape: np.ndarray
    y: np.ndarray
    x: np.ndarray
    tile: np.ndarray
    sums: np.ndarray
    amounts: np.ndarray
    spread: np.ndarray
    score: np.ndarray
    place: np.ndarray


def maps_of(image: xr.DataArray, found: Responses) -> Any:
    """Return the responses of each pixel as a Dask array [response, y, x]. Lazy."""
    import dask.array as da

    dims = spatial_dims(image)
    table = np.ascontiguousarray(found.weights)
    return da.blockwise(
        _responses_block, (2, 0, 1), as_chunked(image).transpose(*dims, ENERGY).data, (0, 1, 3),
        new_axes={2: table.shape[1]}, concatenate=True, dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32), table=shared(table, "weights of responses"),
    )  # fmt: skip


def tiles_of(shape: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return sizes of tiles along each axis. From the image's shape alone: so is what is found."""
    return tuple(tile_sizes(n, windows.TILE, windows.MARGIN) for n in shape)


def windows_of(maps: Any, found: Responses) -> Windows:
    """Return the windows of all tiles. Computes: the maps, tile by tile."""
    from dask.base import compute

    shape, tables = maps.shape[1:], shared(_tables(found), "moments of responses")
    tiles = boxes(tiles_of(shape))
    # the responses of a pixel are hundreds of bytes: none are held for the tiles around
    wide = cut_out(maps, [_with_margin(tile, shape) for tile in tiles])
    late = [
        (part, tables, [(s.start, s.stop) for s in tile], number)
        for number, (part, tile) in enumerate(zip(wide, tiles, strict=True))
    ]
    parts = compute(*calls(_windows_block, late))
    return Windows(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _with_margin(tile: Box, shape: Sequence[int]) -> Box:
    """Return a tile and its margins, as far as these lie in the image."""
    return tuple(
        slice(max(0, side.start - windows.MARGIN), min(size, side.stop + windows.MARGIN))
        for side, size in zip(tile, shape, strict=True)
    )


def _tables(found: Responses) -> dict[str, np.ndarray]:
    """Return what the kernels take."""
    shapes = windows.shapes()
    return {
        "second": found.moment(2),
        "third": found.moment(3),
        "upper": found.upper,
        "lower": found.lower,
        "offsets": np.concatenate(shapes),
        "ends": np.cumsum([0, *map(len, shapes)]),
    }


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("responses of line families")
def _responses_block(block: np.ndarray, *, table: np.ndarray) -> np.ndarray:
    sums = counts_times_table(compress_block(block), table)
    return np.ascontiguousarray(sums.T, np.float32).reshape(-1, *block.shape[:-1])


@task_name("windows that stand out")
def _windows_block(
    maps: np.ndarray, tables: dict[str, np.ndarray], sides: list[tuple[int, int]],
    tile: int,
) -> Windows:  # fmt: skip
    """Return the windows whose centres lie in a tile, which has margins.

    `sides` tells where the `tile` itself, by its number, lies in the image.
    """
    from eds_xr.analysis.strangers import kernels

    amounts = maps[~tables["upper"]]
    near = shares_near(amounts)
    response = less_the_usual(maps, tables["upper"])
    spread, candidates = _candidates(response, amounts, near, tables)
    room = min(MOST_WINDOWS, len(candidates))
    sums, held = np.zeros((room, len(maps))), np.zeros((room, len(amounts)))
    places = np.zeros((room, 4))
    n = kernels.pick(
        response, amounts, near, tables["second"], tables["third"], tables["upper"],
        tables["lower"], spread, candidates,
        tables["offsets"], tables["ends"], LEAST_SIGMA, sums, held, places,
    )  # fmt: skip
    chosen = candidates[places[:n, 0].astype(int)]
    shift = [first - min(first, windows.MARGIN) for first, _ in sides]
    y, x = chosen[:, 2] + shift[0], chosen[:, 3] + shift[1]
    (top, bottom), (left, right) = sides
    own = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    made = Windows(
        chosen[:, 0], chosen[:, 1], y, x, np.full(n, tile), sums[:n], held[:n],
        spread[chosen[:, 0], chosen[:, 1]], places[:n, 1],
        places[:n, 2:] + shift,
    )  # fmt: skip
    return Windows(*(values[own] for values in made))


def shares_near(amounts: np.ndarray) -> np.ndarray:
    """Return the share that each phase has of the counts around each pixel [phase, y, x]."""
    sums = np.stack([sums_of(one, len(windows.RADII) - 1) for one in amounts]).clip(0)
    sums += LEAST_SHARE * sums.sum(0) + 1e-9
    return np.asarray(sums / sums.sum(0))


def less_the_usual(maps: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return responses less those that as many counts have in the surroundings [response, y, x].

    What a phase varies slowly, or what its spectrum is wrong by, is no stranger. Of phases, that
    is what they are less than nothing.
    """
    total = maps[~upper].sum(0)
    around = np.maximum(_around(total), 1.0)
    found = np.empty_like(maps)
    for one, family, made in zip(maps, upper, found, strict=True):
        usual = _around(one) / around
        np.multiply(total, usual if family else np.minimum(usual, 0), out=made)
        np.subtract(one, made, out=made)
    return found


def _around(values: np.ndarray) -> np.ndarray:
    """Return sums over a square less an inner one, as far as these are there [y, x]."""
    return _box(values, windows.SURROUNDINGS) - _box(values, windows.INNER)


def _box(values: np.ndarray, reach: int) -> np.ndarray:
    """Return sums over squares about each pixel [y, x]."""
    found = values.astype(float)
    for axis in (0, 1):
        n = found.shape[axis]
        running = np.concatenate([np.zeros_like(found.take([0], axis)), found.cumsum(axis)], axis)
        place = np.arange(n)
        found = running.take(np.minimum(place + reach + 1, n), axis)
        found -= running.take(np.maximum(place - reach, 0), axis)
    return found


def held_by(amounts: np.ndarray, near: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of phases in windows, and as many of what is around [y, x, phase]."""
    own = np.stack([sums_of(one, window) for one in amounts])
    other = own.sum(0).clip(0) * near
    return np.ascontiguousarray(own.transpose(1, 2, 0)), np.ascontiguousarray(
        other.transpose(1, 2, 0)
    )


def sums_of(values: np.ndarray, window: int) -> np.ndarray:
    """Return sums over a window about each pixel [y, x]."""
    from eds_xr.analysis.strangers import kernels

    found = np.empty(values.shape)
    kernels.window_sums(values, windows.rows(window), found)
    return found


def _candidates(
    response: np.ndarray, amounts: np.ndarray, near: np.ndarray, tables: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return spreads [response, shape], and extrema [n, (response, shape, y, x)], best first."""
    from eds_xr.analysis.strangers import kernels

    z = np.empty(response.shape[1:])
    found = np.empty((z.size, 3))
    spread = np.ones((len(response), len(windows.shapes())))
    rows = []
    for s in range(len(windows.shapes())):
        own, other = held_by(amounts, near, s)
        for f, one in enumerate(response):
            second, third = tables["second"][f], tables["third"][f]
            upper, lower = bool(tables["upper"][f]), bool(tables["lower"][f])
            kernels.standardise(sums_of(one, s), own, other, second, z)
            spread[f, s] = kernels.scatter(z, upper)
            n = kernels.peaks_of(
                z, own, other, second, third, spread[f, s], LEAST_SIGMA, upper, lower, found
            )
            best = found[:n][np.argsort(-found[:n, 2], kind="stable")[:MOST_CANDIDATES]]
            rows.append(np.column_stack([np.full(len(best), f), np.full(len(best), s), best]))
    every = np.concatenate(rows)
    every = every[np.lexsort((*every[:, :4].T, -every[:, 4]))]
    return spread, np.ascontiguousarray(every[:, :4].astype(np.int64))
