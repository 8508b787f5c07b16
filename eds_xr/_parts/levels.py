"""Stored sums of pixels in place of an image: a sixteenth of the reading, the same counts."""

from __future__ import annotations

import xarray as xr

from eds_xr._parts.pyramid import FACTORS, level_path
from eds_xr._parts.stored import open_group
from eds_xr.schema import ENERGY

#: Entry of an image's encoding: the store of its sums, the name of its data on Dask, its sides.
SOURCE = "pyramid"


def with_source(image: xr.DataArray, store: str) -> xr.DataArray:
    """Return an opened image that knows where its sums of pixels lie."""
    image.encoding[SOURCE] = (store, image.data.name, image.shape[:-1])
    return image


def summed_pixels(image: xr.DataArray, size: int) -> tuple[xr.DataArray, int]:
    """Return the stored sums of at most `size` pixels a side, and of how many they are.

    The image itself, and 1, where there are none, or where it is no longer as opened: only a
    range of energies may have been selected.
    """
    factor = max((f for f in FACTORS if f <= size), default=1)
    if factor == 1 or image.ndim != 3 or not _is_as_opened(image):
        return image, 1
    level = open_group(image.encoding[SOURCE][0], level_path(factor))["counts"]
    return level.sel({ENERGY: image[ENERGY]}), factor


def _is_as_opened(image: xr.DataArray) -> bool:
    """Return whether an image is as opened, but for a selection of energies.

    A selection that leaves the sides as they were could still repeat pixels: then the positions
    are not unique.
    """
    if SOURCE not in image.encoding or image.chunks is None:
        return False
    _, opened, sides = image.encoding[SOURCE]
    layers = set(image.data.dask.layers)
    selections = layers - {opened, f"original-{opened}"}
    whole = opened in layers and image.shape[:-1] == sides
    whole &= all(image.indexes[d].is_unique for d in image.dims[:-1] if d in image.indexes)
    return whole and all(name.startswith("getitem-") for name in selections)
