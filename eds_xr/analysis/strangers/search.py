"""Windows of pixels in which a family's counts are more, or fewer, than mixtures explain."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.analysis.strangers import windows
from eds_xr.analysis.strangers.responses import Responses
from eds_xr.chunks import as_chunked
from eds_xr.image.blocks import compress_block
from eds_xr.image.weighted_sums import counts_times_table
from eds_xr.schema import ENERGY, spatial_dims
from eds_xr.segmentation.tiled_filters import tile_sizes, with_margins
from eds_xr.workers import task_name

#: What stands out by less, as a normal distribution has it, is not looked at.
LEAST_SIGMA = 4.75
#: A tile has at most so many candidates of a family and disc, and so many windows.
MOST_CANDIDATES, MOST_WINDOWS = 4000, 2000
#: The composition of the surroundings is that of so many counts per phase more of all phases, so
#: that none is impossible.
LEAST_SHARE = 0.01


class Windows(NamedTuple):
    """Discs that stand out, in the order of their significance within each tile.

    Attributes
    ----------
    family, disc : ndarray of int [window]
    y, x : ndarray of int [window]
        Centre of the disc.
    pixels : ndarray [window]
        How many of its pixels belong to no window before it.
    mean_y, mean_x : ndarray [window]
        Where these lie.
    sums : ndarray [window, response]
        Their responses.
    amounts : ndarray [window, phase; counts]
        What is expected there.
    spread : ndarray [window]
        What the standard deviation of counts is multiplied by.
    score : ndarray [window]
        Nearly the standard deviations.
    """

    family: np.ndarray
    disc: np.ndarray
    y: np.ndarray
    x: np.ndarray
    pixels: np.ndarray
    mean_y: np.ndarray
    mean_x: np.ndarray
    sums: np.ndarray
    amounts: np.ndarray
    spread: np.ndarray
    score: np.ndarray


def maps_of(image: xr.DataArray, found: Responses) -> Any:
    """Return responses and amounts of each pixel as a Dask array [response and phase, y, x]. Lazy.

    In tiles that depend on the shape of the image alone, with margins: so does what is found.
    """
    import dask.array as da

    dims = spatial_dims(image)
    table = np.ascontiguousarray(found.table)
    maps = da.blockwise(
        _responses_block, (2, 0, 1), as_chunked(image).transpose(*dims, ENERGY).data, (0, 1, 3),
        new_axes={2: table.shape[1]}, concatenate=True, dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32), table=table,
    )  # fmt: skip
    sizes = [tile_sizes(n, windows.TILE, windows.MARGIN) for n in maps.shape[1:]]
    return maps.rechunk((-1, *sizes))


def windows_of(maps: Any, found: Responses) -> Windows:
    """Return the windows of all tiles. Computes: the maps, tile by tile."""
    from dask.base import compute
    from dask.delayed import delayed

    blocks = with_margins(maps, windows.MARGIN, 2).to_delayed()[0]
    tables = delayed(_tables(found))
    edges = [np.cumsum((0, *sizes)).tolist() for sizes in maps.chunks[1:]]
    late = []
    for place in np.ndindex(*blocks.shape):
        sides = [(e[i], e[i + 1]) for e, i in zip(edges, place, strict=True)]
        late.append(delayed(_windows_block)(blocks[place], tables, sides))
    parts = compute(*late)
    return Windows(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _tables(found: Responses) -> dict[str, np.ndarray]:
    """Return what the kernels take."""
    discs = [windows.offsets(r) for r in windows.RADII]
    return {
        "second": found.moment(2),
        "third": found.moment(3),
        "held": found.held,
        "discs": np.concatenate(discs),
        "ends": np.cumsum([0, *map(len, discs)]),
    }


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("responses of line families")
def _responses_block(block: np.ndarray, *, table: np.ndarray) -> np.ndarray:
    sums = counts_times_table(compress_block(block), table)
    return np.ascontiguousarray(sums.T, np.float32).reshape(-1, *block.shape[:-1])


@task_name("windows that stand out")
def _windows_block(
    maps: np.ndarray, tables: dict[str, np.ndarray], sides: list[tuple[int, int]]
) -> Windows:
    """Return the windows whose centres lie in a tile, which has margins.

    `sides` tells where the tile itself lies in the image.
    """
    from eds_xr.analysis.strangers import kernels

    families = len(tables["held"])
    response, amounts = maps[:families], maps[families:]
    near = shares_near(amounts)
    response = less_the_usual(response, amounts)
    spread, candidates = _candidates(response, amounts, near, tables)
    room = min(MOST_WINDOWS, len(candidates))
    sums, held = np.zeros((room, families)), np.zeros((room, len(amounts)))
    places = np.zeros((room, 5))
    n = kernels.pick(
        response, amounts, near, tables["second"], tables["third"], spread, candidates,
        tables["discs"], tables["ends"], LEAST_SIGMA, sums, held, places,
    )  # fmt: skip
    chosen = candidates[places[:n, 0].astype(int)]
    shift = [first - min(first, windows.MARGIN) for first, _ in sides]
    y, x = chosen[:, 2] + shift[0], chosen[:, 3] + shift[1]
    (top, bottom), (left, right) = sides
    own = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    made = Windows(
        chosen[:, 0], chosen[:, 1], y, x, places[:n, 1], places[:n, 2] + shift[0],
        places[:n, 3] + shift[1], sums[:n], held[:n], spread[chosen[:, 0], chosen[:, 1]],
        places[:n, 4],
    )  # fmt: skip
    return Windows(*(values[own] for values in made))


def shares_near(amounts: np.ndarray) -> np.ndarray:
    """Return the share that each phase has of the counts around each pixel [phase, y, x]."""
    sums = np.stack([disc_of(one, windows.RADII[-1]) for one in amounts]).clip(0)
    sums += LEAST_SHARE * sums.sum(0) + 1e-9
    return np.asarray(sums / sums.sum(0))


def less_the_usual(response: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Return responses less those that as many counts have in the surroundings [family, y, x].

    What a phase varies slowly, or what its spectrum is wrong by, is no stranger.
    """
    total = amounts.sum(0)
    around = np.maximum(_around(total), 1.0)
    found = np.empty_like(response)
    for one, made in zip(response, found, strict=True):
        np.multiply(total, _around(one) / around, out=made)
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


def disc_moments(weights: np.ndarray, own: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return a cumulant of sums over discs that hold `own` [phase, y, x], at least that of `near`.

    The composition is that of the disc, or of as many counts of the surroundings.
    """
    other = own.sum(0).clip(0) * near
    of_both = np.maximum(np.tensordot(weights, own.clip(0), 1), np.tensordot(weights, other, 1))
    return np.maximum(of_both, 1e-12)


def disc_of(values: np.ndarray, radius: float) -> np.ndarray:
    """Return sums over a disc about each pixel [y, x]."""
    from eds_xr.analysis.strangers import kernels

    found = np.empty(values.shape)
    kernels.disc_sums(values, windows.half_widths(radius), found)
    return found


def _candidates(
    response: np.ndarray, amounts: np.ndarray, near: np.ndarray, tables: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spread [family, disc], and local maxima [n, (family, disc, y, x)], best first."""
    from eds_xr.analysis.strangers import kernels

    found = np.empty((MOST_CANDIDATES, 3))
    spread = np.ones((len(response), len(windows.RADII)))
    rows = []
    for s, radius in enumerate(windows.RADII):
        own = np.stack([disc_of(one, radius) for one in amounts])
        for f, one in enumerate(response):
            second = disc_moments(tables["second"][f], own, near)
            z = disc_of(one, radius) / np.sqrt(second)
            spread[f, s] = kernels.scatter(z)
            z /= spread[f, s]
            third = disc_moments(tables["third"][f], own, near)
            n = kernels.peaks_of(z, second, third, LEAST_SIGMA, bool(tables["held"][f]), found)
            rows.append(np.column_stack([np.full(n, f), np.full(n, s), found[:n]]))
    every = np.concatenate(rows)
    every = every[np.lexsort((*every[:, :4].T, -every[:, 4]))]
    return spread, np.ascontiguousarray(every[:, :4].astype(np.int64))
