"""The part of an image that a rehearsal looks at: all of it, or some square windows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT, EdsError, spatial_dims
from eds_xr.segmentation.tiled_filters import TILE_PIXELS
from eds_xr.workers import here, task_name

#: Images of no more pixels are looked at whole; of larger ones as many pixels, in windows.
SAMPLE_PIXELS = 2**18
WINDOW = 128
#: Windows are compared by sums over squares of so many pixels a side.
SQUARE = 4


def sample_windows(counts: xr.DataArray) -> np.ndarray:
    """Return amounts ``[window, y, x, component]`` to learn from; a small image whole.

    Half of the windows lie evenly, half where each component has most counts: a rare phase must be
    among them. They lie on a grid of the image's own, so chunks have no influence.

    Computes: the windows, and by sums over squares which are chosen. Only windows, of as many
    pixels in all as a small image, reach this process.
    """
    dims = spatial_dims(counts)
    counts = counts.transpose(*dims, COMPONENT)
    shape = tuple(counts.sizes[d] for d in dims)
    if math.prod(shape) <= SAMPLE_PIXELS:
        return _finite(counts.values)[None]
    sides = [1] * (len(dims) - 2) + [min(n, WINDOW) for n in shape[-2:]]
    if len(dims) == 1:
        sides = [min(shape[0], WINDOW**2)]
    places = [
        sorted({*range(0, n - side + 1, side), n - side})
        for n, side in zip(shape, sides, strict=True)
    ]
    corners = list(itertools.product(*places))
    wanted = max(1, SAMPLE_PIXELS // math.prod(sides))
    even = corners[:: -(-2 * len(corners) // wanted)]
    rich = _richest(counts, places, sides, wanted // 2)
    chosen = list(dict.fromkeys([*even, *rich]))
    boxes = [
        {d: slice(a, a + s) for d, a, s in zip(dims, corner, sides, strict=True)}
        for corner in chosen
    ]
    from dask.base import compute

    parts = compute(*(counts.isel(box).data for box in boxes))
    return _finite(np.stack(parts).reshape(len(parts), *sides[-2:], -1))


def _richest(
    counts: xr.DataArray, places: list[list[int]], sides: list[int], most: int
) -> list[tuple[int, ...]]:
    """Return the windows in which a component's share stands out most, each in turn."""
    found = _share_squares(counts, places, sides)
    corners = list(itertools.product(*places))
    ranked = np.argsort(-found.reshape(len(corners), -1), axis=0, kind="stable")[:most].ravel()
    return [corners[i] for i in dict.fromkeys(ranked.tolist())][:most]


def _share_squares(counts: xr.DataArray, places: list[list[int]], sides: list[int]) -> np.ndarray:
    """Return sums of squares of shares of each window ``[*place along each axis, component]``.

    Shares are of sums over squares on a grid of the image's own. Only the results reach this
    process.
    """
    import dask.array as da

    given = counts.data if counts.chunks is not None else da.from_array(counts.values, name=False)
    how = {} if counts.chunks is not None else here()
    squares = [min(SQUARE, side) for side in sides]
    used = [side // q * q for side, q in zip(sides, squares, strict=True)]
    # windows lie side by side, but for the last along an axis, which ends where the image does
    runs = [_runs(at, side) for at, side in zip(places, sides, strict=True)]
    parts = np.empty([*map(len, runs), 1], object)
    for index in np.ndindex(parts.shape[:-1]):
        chosen = [of_axis[i] for of_axis, i in zip(runs, index, strict=True)]
        along = list(zip(chosen, squares, used, strict=True))
        box = tuple(slice(a // q * q, a // q * q + n * side) for (a, n), q, side in along)
        tiles = given[box].rechunk((*(_multiples(n, side) for (_, n), _, side in along), -1))
        windows = (tuple(n // side for n in sizes)
                   for sizes, side in zip(tiles.chunks, used, strict=False))  # fmt: skip
        parts[(*index, 0)] = tiles.map_blocks(
            _squares_block, used, squares, dtype=float, chunks=(*windows, tiles.chunks[-1]),
            meta=np.empty((0,) * counts.ndim),
        )  # fmt: skip
    return np.asarray(da.block(parts.tolist()).compute(**how))


def _runs(places: list[int], side: int) -> list[tuple[int, int]]:
    """Return first pixel and number of windows that lie side by side."""
    regular = [at for i, at in enumerate(places) if at == i * side]
    return [(0, len(regular)), *((at, 1) for at in places[len(regular) :])]


def _multiples(number: int, side: int) -> tuple[int, ...]:
    """Return the sides of tiles that hold some windows each."""
    some = TILE_PIXELS // side if 1 < side < TILE_PIXELS else 1
    return tuple(side * min(some, number - i) for i in range(0, number, some))


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise EdsError("the scores hold NaN or infinite values; use da.fillna(0)")
    return values.astype(float)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("shares in windows")
def _squares_block(block: np.ndarray, sides: list[int], squares: list[int]) -> np.ndarray:
    """Return ``[*window, component]`` of windows of such sides, from sums over squares."""
    windows = [n // side for n, side in zip(block.shape[:-1], sides, strict=True)]
    split = [
        n for w, side, q in zip(windows, sides, squares, strict=True) for n in (w, side // q, q)
    ]
    whole = block.reshape(*split, block.shape[-1])
    sums = whole.sum(tuple(range(2, 3 * len(sides), 3)))
    share = (sums / np.maximum(sums.sum(-1, keepdims=True), 1.0)).clip(0, 1)
    found: np.ndarray = (share**2).sum(tuple(range(1, 2 * len(sides), 2)), dtype=float)
    return found
