"""Maps that an app shows: of an image and its stored sums, or arrays that are there."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import xarray as xr

from eds_xr.chunks import FACTORS, as_chunked
from eds_xr.image.stored_sums import summed_pixels
from eds_xr.schema import ENERGY, EdsError, spatial_dims

Maker = Callable[[xr.DataArray], xr.DataArray]
_NUMBERS = itertools.count()


class Channel:
    """A map to be looked at.

    Attributes
    ----------
    name : str
    shape : (int, int)
        Of the whole image [pixels].
    bytes_per_pixel : int
        That must be read for a pixel.
    code : str
        The Python that makes the map.
    sums : bool
        Whether the values of summed pixels are sums, too, as counts are.
    number : int
        Its own; names may come again.
    """

    def __init__(
        self, name: str, shape: tuple[int, int], make: Callable[[int], tuple[xr.DataArray, int]],
        *, bytes_per_pixel: int, code: str = "", sums: bool = True,
    ) -> None:  # fmt: skip
        self.name, self.shape, self.code, self.sums = name, shape, code, sums
        self.bytes_per_pixel, self.number = bytes_per_pixel, next(_NUMBERS)
        self._make = make
        self._made: dict[int, tuple[xr.DataArray, int]] = {}
        self._lock = threading.Lock()

    def at(self, factor: int) -> tuple[xr.DataArray, int]:
        """Return the lazy map of at most `factor` pixels summed a side, and of how many it is."""
        stored = max((f for f in (1, *FACTORS) if f <= factor), default=1)
        with self._lock:
            if stored not in self._made:
                found, of = self._make(stored)
                dims = spatial_dims(found)
                bare = found.drop_vars(list(found.coords)).transpose(*dims)
                self._made.setdefault(of, (bare, of))
                self._made[stored] = self._made[of]
            return self._made[stored]


def of_image(
    name: str, image: xr.DataArray, make: Maker, *, code: str = "", sums: bool = True
) -> Channel:
    """Return the map that `make` gives of an image, or of its stored sums of pixels.

    Parameters
    ----------
    name : str
    image : DataArray [y, x, energy; counts]
    make : callable
        Of an image, a map [y, x] of sums of counts: those of four pixels are four times as large.
    code : str
        The Python that makes it.
    sums : bool
        False for a map whose values say something of the summed pixels, as a significance does.
    """
    chunked = as_chunked(image)

    def at(factor: int) -> tuple[xr.DataArray, int]:
        summed, of = summed_pixels(image, factor)
        return make(summed if of > 1 else chunked), of

    size = image.sizes[ENERGY] * image.dtype.itemsize
    return Channel(name, shape_of(image), at, bytes_per_pixel=size, code=code, sums=sums)


def of_array(name: str, array: xr.DataArray, *, code: str = "") -> Channel:
    """Return a map [y, x] that is there: an image recorded with it, scores, probabilities."""
    shape, size = shape_of(array), array.dtype.itemsize
    return Channel(
        name, shape, lambda factor: (array, 1), bytes_per_pixel=size, code=code, sums=False
    )


def shape_of(image: xr.DataArray) -> tuple[int, int]:
    """Return rows and columns."""
    dims = spatial_dims(image)
    if len(dims) != 2:
        raise EdsError(
            f"the apps show images (y, x), found the dimensions {image.dims}; pick one image with "
            "da.isel(...); of a line scan, da.eds.plot_profile() draws the profile"
        )
    return image.sizes[dims[0]], image.sizes[dims[1]]


def counts(image: xr.DataArray) -> Channel:
    """Return the map of all counts of a pixel."""
    return of_image("counts", image, total_counts, code='image.sum("energy")')


def total_counts(image: xr.DataArray) -> xr.DataArray:
    """Return all counts of each pixel. Lazy."""
    dtype: Any = "int64" if image.dtype.kind in "ui" else "float64"
    return image.sum(ENERGY, dtype=dtype)


def least_common_side(chunk: int, extra: int) -> int:
    """Return the least number of pixels that is whole chunks and whole blocks of `extra`."""
    return chunk * extra // math.gcd(chunk, extra)
