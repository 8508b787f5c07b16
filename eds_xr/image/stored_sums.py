"""Stored sums of pixels in place of an image: a sixteenth of the reading, the same counts."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.chunks import FACTORS, as_chunked, level_path
from eds_xr.schema import ENERGY
from eds_xr.store.opening import SOURCE, open_group


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


def total_spectrum(image: xr.DataArray) -> np.ndarray:
    """Return the sum of all pixels [channel], from stored sums of pixels where there are.

    Computes: these sums, a 64th of the image; where there are none, the image.
    """
    summed, _ = summed_pixels(image, FACTORS[-1])
    exact = np.float64 if summed.dtype.kind == "f" else np.int64
    total = as_chunked(summed).data.sum(axis=tuple(range(summed.ndim - 1)), dtype=exact)
    return np.asarray(total.compute(), float)


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
