"""Which phase is embedded in which: the matrix is found, not told."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.schema import PHASE, spatial_dims
from eds_xr.segmentation.tiled_filters import tiles_of
from eds_xr.segmentation.tiled_regions import (
    Joined,
    Regions,
    borders_of,
    joined,
    regions_block,
)
from eds_xr.workers import task_name

#: A phase surrounds regions of another when it is there in this share of their rims ...
LEAST_RIM = 0.75
#: ... and is its host when regions that hold this share of the other's pixels are surrounded.
LEAST_ENCLOSED = 0.5
#: The rim of a region reaches so far out: boundaries are uncertain by a pixel [pixels].
RIM_PIXELS = 3


def enclosure(present: xr.DataArray) -> xr.DataArray:
    """Return which share of each phase's regions lies within another phase.

    Computes: on Dask tile by tile, on the workers; only the shares come back.

    A region lies within a phase when it does not reach the border of the image and the phase is
    present in three quarters of its rim. Regions at the border tell nothing: what lies beyond is
    not seen. So a matrix, which reaches around all others, lies in none, and neither do layers or
    lamellae that cross the image.

    Parameters
    ----------
    present : DataArray of bool [phase, *spatial]

    Returns
    -------
    DataArray [phase, host; 1]
        0 on the diagonal, and where no region of a phase is whole.
    """
    names = present[PHASE].values.tolist()
    tiles = tiles_of(present.transpose(PHASE, *spatial_dims(present)), RIM_PIXELS)
    borders = borders_of(tiles)
    gaps = [tiles.call(_gaps_block)(*one) for one in zip(tiles.blocks, borders, strict=True)]
    open_gaps = joined(gaps, tiles, RIM_PIXELS)
    solid = [tiles.call(_solid_block)(*one) for one in zip(gaps, open_gaps, borders, strict=True)]
    of_image = joined(solid, tiles, RIM_PIXELS)
    seen = [
        tiles.call(_surroundings_block)(*one)
        for one in zip(tiles.blocks, solid, of_image, borders, strict=True)
    ]
    shares = tiles.result(tiles.call(_enclosed_shares)(seen))
    return xr.DataArray(shares, {PHASE: names, "host": names}, (PHASE, "host"))


def hosts(present: xr.DataArray) -> dict[str, str]:
    """Return the phase in which each phase is embedded, "" for those that are in none.

    Of several that surround a phase (the shell and the support of a core) it is the smallest. Two
    that surround each other lie side by side, and a line shows no embedding.
    """
    if len(spatial_dims(present)) < 2:
        return dict.fromkeys(present[PHASE].values.tolist(), "")
    within = enclosure(present)
    size = present.sum(spatial_dims(present)).to_series().to_dict()
    found = {}
    for name in within[PHASE].values.tolist():
        row = within.sel({PHASE: name})
        around = [
            h for h in row["host"].values.tolist()
            if float(row.sel(host=h)) >= LEAST_ENCLOSED
            and float(within.sel({PHASE: h, "host": name})) < LEAST_ENCLOSED
        ]  # fmt: skip
        found[name] = min(around, key=lambda h: size[h], default="")
    return found


def matrix_of(host_of: dict[str, str], present: xr.DataArray) -> str:
    """Return the phase in which most others are embedded, themselves or with what holds them.

    "" where no phase lies in another.
    """
    size = present.sum(spatial_dims(present)).to_series().to_dict()
    held = dict.fromkeys(size, 0)
    for name in host_of:
        at, seen = host_of[name], {name}
        while at and at not in seen:
            held[at] += size[name]
            seen.add(at)
            at = host_of.get(at, "")
    best = max(held, key=lambda name: held[name])
    return best if held[best] else ""


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


class Surroundings(NamedTuple):
    """What a tile holds of the regions of a phase, and of their rims.

    Attributes
    ----------
    numbers : ndarray of int [region]
        In the image.
    pixels, rim : ndarray of int [region]
        Pixels of the phase in the region; pixels of the rim.
    around : ndarray of int [region, phase]
        Pixels of the rim in which each phase is present.
    """

    numbers: np.ndarray
    pixels: np.ndarray
    rim: np.ndarray
    around: np.ndarray


@task_name("gaps of the phases")
def _gaps_block(present: np.ndarray, borders: list[tuple[bool, bool]]) -> Regions:
    """Return the regions of a tile in which each phase is not."""
    return regions_block(~present, borders, corners=False)


@task_name("regions of the phases")
def _solid_block(gaps: Regions, of_image: Joined, borders: list[tuple[bool, bool]]) -> Regions:
    """Return the regions of a tile that each phase fills, with the holes in it."""
    solid: np.ndarray = np.empty(gaps.numbers.shape, bool)
    for one, numbers, reaches in zip(solid, gaps.numbers, of_image.at_border, strict=True):
        one[...] = ~reaches[numbers]  # the phase itself is 0, which reaches nothing
    return regions_block(solid, borders, corners=True)


@task_name("surroundings of regions")
def _surroundings_block(
    present: np.ndarray, solid: Regions, of_image: Joined, borders: list[tuple[bool, bool]]
) -> list[Surroundings]:
    """Return what a tile holds of whole regions and their rims, of each phase."""
    own = tuple(
        slice(0 if first else RIM_PIXELS, None if last else -RIM_PIXELS) for first, last in borders
    )
    found = []
    for i, (numbers, reaches) in enumerate(zip(of_image.numbers, of_image.at_border, strict=True)):
        # in the order of their numbers; first 0, outside or not whole
        seen, rank = np.unique(np.where(reaches, 0, numbers), return_inverse=True)
        found.append(_of_regions(rank[solid.numbers[i]], seen[1:], present, i, own))
    return found


def _of_regions(
    regions: np.ndarray, numbers: np.ndarray, present: np.ndarray, phase: int,
    own: tuple[slice, ...],
) -> Surroundings:  # fmt: skip
    """Return what there is of regions of a phase, numbered from 1 in `regions`."""
    from scipy.ndimage import find_objects

    inner: np.ndarray = np.zeros(regions.shape, bool)
    inner[own] = True
    held = np.bincount(regions[inner & present[phase]], minlength=numbers.size + 1)[1:]
    rims = np.zeros(numbers.size, int)
    around = np.zeros((numbers.size, len(present)), int)
    for r, box in enumerate(find_objects(regions)):
        wide = tuple(slice(max(0, s.start - RIM_PIXELS), s.stop + RIM_PIXELS) for s in box)
        rim = _rim(regions[wide] == r + 1) & ~present[phase][wide] & inner[wide]
        rims[r] = rim.sum()
        around[r] = present[(slice(None), *wide)][:, rim].sum(axis=1)
    return Surroundings(numbers, held, rims, around)


def _rim(region: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    square = np.ones((3,) * region.ndim, bool)
    around: np.ndarray = binary_dilation(region, square, iterations=RIM_PIXELS)
    return around & ~region


@task_name("shares of enclosed regions")
def _enclosed_shares(tiles: list[list[Surroundings]]) -> np.ndarray:
    """Return the share of the whole regions of each phase that lies within each ``[phase, host]``.

    In pixels of the phase.
    """
    found: np.ndarray = np.zeros((len(tiles[0]),) * 2)
    for i, parts in enumerate(zip(*tiles, strict=True)):
        numbers, pixels, rim, around = (
            np.concatenate(values) for values in zip(*parts, strict=True)
        )
        _, region = np.unique(numbers, return_inverse=True)
        sums = np.zeros((region.max(initial=-1) + 1, 2 + len(found)), int)
        np.add.at(sums, region, np.column_stack([pixels, rim, around]))
        held, rims, near = sums[:, 0], sums[:, 1:2], sums[:, 2:]
        within = (rims > 0) & (near >= LEAST_RIM * rims)
        if held.any():
            found[i] = held @ within / held.sum()
    np.fill_diagonal(found, 0.0)
    return found
