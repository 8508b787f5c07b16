"""Exact sums of neighbouring pixels and channels."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.axes import binned_coord, sum_dtype, with_live_time_of_bins
from eds_xr.chunks import as_chunked
from eds_xr.schema import EdsError, check_spectrum_image


def rebin(image: xr.DataArray, **factors: int) -> xr.DataArray:
    """Sum counts over neighbouring pixels and channels, exactly.

    Lazy: nothing is computed.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    **factors : int
        How many to sum along each dimension, ``rebin(image, y=2, x=2, energy=2)``. Where a size
        is not a multiple, the last bin is part empty: no count is lost.

    Returns
    -------
    DataArray [*spatial, energy; counts]
        Unsigned, wide enough for the largest sum; images riding along are averaged, but for
        ``live_time_s``, which is summed (a part empty bin has that of its own pixels).

    Raises
    ------
    EdsError
        For a dimension that does not exist, or a factor that is not a positive whole number.
    """
    import dask.array as da

    check_spectrum_image(image, detectors=True)
    _check_factors(image, factors)
    image = as_chunked(image)
    factors = {d: f for d, f in factors.items() if f > 1}
    padded = image.pad({d: (0, -image.sizes[d] % f) for d, f in factors.items()}, constant_values=0)
    axes = {image.get_axis_num(d): f for d, f in factors.items()}
    aligned = {a: _multiples(padded.data.chunks[a], f) for a, f in axes.items()}
    dtype = sum_dtype(image.dtype, math.prod(factors.values()))
    data = da.coarsen(np.sum, padded.data.rechunk(aligned), axes, dtype=dtype)
    coords = {str(n): binned_coord(c, factors) for n, c in image.coords.items()}
    attrs = provenance.with_step(image.attrs, "rebin", **factors)
    found = xr.DataArray(data, dims=image.dims, coords=coords, name=image.name, attrs=attrs)
    return with_live_time_of_bins(found, image, factors)


def _check_factors(image: xr.DataArray, factors: dict[str, int]) -> None:
    for dim, factor in factors.items():
        if dim not in image.dims:
            raise EdsError(f"no dimension {dim!r} to rebin, found {image.dims}")
        if not isinstance(factor, int | np.integer) or factor < 1:
            raise EdsError(
                f"the factor along {dim!r} must be a whole number from 1, found {factor!r}"
            )


def _multiples(chunks: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Return chunks near the given ones whose edges are multiples of `factor`."""
    edges = {-(-edge // factor) * factor for edge in np.cumsum(chunks)}
    return tuple(np.diff([0, *sorted(edges)]).tolist())
