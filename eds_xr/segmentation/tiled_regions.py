"""Connected regions of masks in tiles: what goes on across their borders is one region.

Tiles overlap (:func:`eds_xr.segmentation.tiled_filters.tiles_of` with a margin): two neighbours
number the same pixels, and numbers that meet there are of one region. So no tile sees the whole
mask, and no result depends on tiles. Kernels, called at once or as tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from eds_xr.segmentation.tiled_filters import Tiles
from eds_xr.workers import task_name

#: What two neighbouring tiles number alike: first and last pixels along each axis.
Sides = list[tuple[np.ndarray, np.ndarray]]


class Regions(NamedTuple):
    """Connected regions of the masks of a tile, by numbers of its own.

    Attributes
    ----------
    numbers : ndarray of unsigned integer [mask, *spatial]
        0 is outside the mask.
    at_border : list of ndarray of bool [number]
        Of each mask, which regions reach the border of the image.
    """

    numbers: np.ndarray
    at_border: list[np.ndarray]


class Joined(NamedTuple):
    """What the regions of a tile are in the image, one entry a mask.

    Attributes
    ----------
    numbers : list of ndarray of int [number in the tile]
        Number in the image, from 1; the first, of what is outside the mask, is 0.
    at_border : list of ndarray of bool [number in the tile]
        Whether the whole region reaches the border of the image.
    """

    numbers: list[np.ndarray]
    at_border: list[np.ndarray]


def joined(regions: Sequence[Any], tiles: Tiles, margin: int) -> list[Any]:
    """Return what the regions of each tile are in the image; delayed where the tiles are.

    Parameters
    ----------
    regions : list of Regions
        Of each tile.
    tiles : Tiles
    margin : int
        What the tiles see beyond their own pixels.
    """
    sides = [tiles.call(_sides_block)(one, margin) for one in regions]
    found = tiles.call(_joined_block)(sides, tiles.grid)
    return [found[i] for i in range(len(regions))]


def borders_of(tiles: Tiles) -> list[list[tuple[bool, bool]]]:
    """Return whether each tile lies at the border of the image, before and after, by axis."""
    return [
        [(i == 0, i == n - 1) for i, n in zip(place, tiles.grid, strict=True)]
        for place in np.ndindex(tiles.grid)
    ]


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def regions_block(
    masks: np.ndarray, at_border: list[tuple[bool, bool]], *, corners: bool
) -> Regions:
    """Return the regions of masks ``[mask, *spatial]`` of a tile, joined by corners or by edges.

    Parameters
    ----------
    at_border : list of (bool, bool)
        Whether the tile's first and last pixels along each axis are the image's.
    """
    from scipy.ndimage import generate_binary_structure, label

    axes = masks.ndim - 1
    structure = generate_binary_structure(axes, axes if corners else 1)
    numbers: np.ndarray = np.empty(masks.shape, np.int32)
    reaches = []
    for mask, own in zip(masks, numbers, strict=True):
        found: np.ndarray = np.zeros(label(mask, structure, output=own) + 1, bool)
        for axis, both in enumerate(at_border):
            for there, index in zip(both, (0, -1), strict=True):
                if there:
                    found[np.take(own, index, axis)] = True
        found[0] = False
        reaches.append(found)
    most = max((one.size for one in reaches), default=1)
    return Regions(numbers.astype(np.min_scalar_type(most)), reaches)


@task_name("sides of regions")
def _sides_block(regions: Regions, margin: int) -> tuple[Sides, list[np.ndarray]]:
    """Return what neighbours number too, and which regions reach the border of the image."""
    sides = []
    for axis in range(1, regions.numbers.ndim):
        lead = (slice(None),) * axis
        first, last = slice(None, 2 * margin), slice(-2 * margin, None)
        sides.append(
            (regions.numbers[(*lead, first)].copy(), regions.numbers[(*lead, last)].copy())
        )
    return sides, regions.at_border


@task_name("regions joined across tiles")
def _joined_block(
    sides: list[tuple[Sides, list[np.ndarray]]], grid: tuple[int, ...]
) -> list[Joined]:
    """Return what the regions of each tile are in the image."""
    found = [Joined([], []) for _ in sides]
    for mask in range(len(sides[0][1])):
        sizes = [len(reaches[mask]) for _, reaches in sides]
        number = _same_regions([one for one, _ in sides], sizes, mask, grid)
        at_border: np.ndarray = np.zeros(int(number.max(initial=0)) + 1, bool)
        np.logical_or.at(at_border, number, np.concatenate([r[mask] for _, r in sides]))
        for one, part in zip(found, np.split(number, np.cumsum(sizes)[:-1]), strict=True):
            one.numbers.append(part)
            one.at_border.append(at_border[part])
    return found


def _same_regions(
    sides: list[Sides], sizes: list[int], mask: int, grid: tuple[int, ...]
) -> np.ndarray:
    """Return one number for what is one region, of the regions of all tiles one after another."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    start = np.cumsum([0, *sizes])
    pairs = [np.zeros((2, 0), np.int64)]
    for tile, place in enumerate(np.ndindex(grid)):
        for axis in range(len(grid)):
            if place[axis] + 1 == grid[axis]:
                continue
            step = np.array(place) + (np.arange(len(grid)) == axis)
            other = int(np.ravel_multi_index(tuple(step), grid))
            here, there = sides[tile][axis][1][mask], sides[other][axis][0][mask]
            both = np.stack([here[here > 0], there[here > 0]]).astype(np.int64)
            pairs.append(np.unique(both, axis=1) + [[start[tile]], [start[other]]])
    one, other_one = np.concatenate(pairs, axis=1)
    met = coo_array((np.ones(one.size, bool), (one, other_one)), shape=(start[-1],) * 2)
    number = 1 + connected_components(met, directed=False)[1]
    number[start[:-1]] = 0
    return np.asarray(number)
