"""Steps of axes, and what becomes of axes and dtype when pixels or channels are summed."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from eds_xr.schema import ENERGY, LIVE_TIME, PIXEL_LIVE_TIME, spatial_dims


def sum_dtype(dtype: np.dtype, number: int) -> np.dtype:
    """Return a dtype that holds the sum of `number` values."""
    if dtype.kind != "u":
        return dtype if dtype.kind == "f" else np.dtype(np.int64)
    least = np.min_scalar_type(min(int(np.iinfo(dtype).max) * number, np.iinfo(np.uint64).max))
    return np.dtype(least.str)  # NumPy finds ulonglong, a second type of 64 bits that Zarr refuses


def binned_coord(coord: xr.DataArray, factors: dict[str, int]) -> xr.DataArray:
    """Return a coordinate of sums: centres of full bins, also for a part empty one; image means.

    The live time of a bin is that of all its pixels.
    """
    mine = {d: f for d, f in factors.items() if d in coord.dims}
    if not mine:
        return coord
    if coord.dims == (coord.name,):
        (factor,) = mine.values()
        step = mean_step(coord.values)
        starts = coord.values[0] + step * factor * np.arange(-(-coord.size // factor))
        return xr.DataArray(starts + step * (factor - 1) / 2, dims=coord.dims, attrs=coord.attrs)
    if coord.name == LIVE_TIME:
        padded = coord.pad(
            {d: (0, -coord.sizes[d] % f) for d, f in mine.items()}, constant_values=0
        )
        return padded.coarsen(mine).sum().assign_attrs(coord.attrs)
    padded = coord.pad({d: (0, -coord.sizes[d] % f) for d, f in mine.items()}, mode="edge")
    return padded.coarsen(mine).mean().assign_attrs(coord.attrs)


def with_live_time_of_bins(
    binned: xr.DataArray, image: xr.DataArray, factors: dict[str, int]
) -> xr.DataArray:
    """Return a sum over bins with their live time, where all pixels of the image have the same.

    As an attribute again; as a coordinate where bins at the edge are part empty.
    """
    each = image.attrs.get(PIXEL_LIVE_TIME)
    own = {d: f for d, f in factors.items() if d in spatial_dims(image)}
    if each is None or not own:
        return binned
    if all(image.sizes[d] % f == 0 for d, f in own.items()):
        return binned.assign_attrs({PIXEL_LIVE_TIME: float(each) * math.prod(own.values())})
    time = xr.DataArray(float(each))
    for dim in spatial_dims(image):
        starts = np.arange(0, image.sizes[dim], own.get(dim, 1))
        held = np.minimum(own.get(dim, 1), image.sizes[dim] - starts)
        time = time * xr.DataArray(held, dims=dim)
    about = {"long_name": "live time of the pixel", "units": "s"}
    binned = binned.assign_coords({LIVE_TIME: time.assign_attrs(about)})
    binned.attrs = {k: v for k, v in binned.attrs.items() if k != PIXEL_LIVE_TIME}
    return binned


def mean_step(values: np.ndarray) -> float:
    """Return the step of an axis; 0 for a single value."""
    return float((values[-1] - values[0]) / (values.size - 1)) if values.size > 1 else 0.0


def energy_step(spectra: xr.DataArray | xr.Dataset) -> float:
    """Return the width of a channel, in the units of the energy axis."""
    return mean_step(spectra[ENERGY].values)
