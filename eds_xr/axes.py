"""Steps of axes, and what becomes of axes and dtype when pixels or channels are summed."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.schema import ENERGY


def sum_dtype(dtype: np.dtype, number: int) -> np.dtype:
    """Return a dtype that holds the sum of `number` values."""
    if dtype.kind != "u":
        return dtype if dtype.kind == "f" else np.dtype(np.int64)
    least = np.min_scalar_type(min(int(np.iinfo(dtype).max) * number, np.iinfo(np.uint64).max))
    return np.dtype(least.str)  # NumPy finds ulonglong, a second type of 64 bits that Zarr refuses


def binned_coord(coord: xr.DataArray, factors: dict[str, int]) -> xr.DataArray:
    """Return a coordinate of sums: centres of full bins, also for a part empty one; image means."""
    mine = {d: f for d, f in factors.items() if d in coord.dims}
    if not mine:
        return coord
    if coord.dims == (coord.name,):
        (factor,) = mine.values()
        step = mean_step(coord.values)
        starts = coord.values[0] + step * factor * np.arange(-(-coord.size // factor))
        return xr.DataArray(starts + step * (factor - 1) / 2, dims=coord.dims, attrs=coord.attrs)
    padded = coord.pad({d: (0, -coord.sizes[d] % f) for d, f in mine.items()}, mode="edge")
    return padded.coarsen(mine).mean().assign_attrs(coord.attrs)


def mean_step(values: np.ndarray) -> float:
    """Return the step of an axis; 0 for a single value."""
    return float((values[-1] - values[0]) / (values.size - 1)) if values.size > 1 else 0.0


def energy_step(spectra: xr.DataArray | xr.Dataset) -> float:
    """Return the width of a channel, in the units of the energy axis."""
    return mean_step(spectra[ENERGY].values)
