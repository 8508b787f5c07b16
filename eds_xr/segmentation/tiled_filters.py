"""Filters over the image planes of an array, tile by tile with margins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import spatial_dims


def plane_dims(image: xr.DataArray) -> list[str]:
    """Return the last two spatial dimensions (the only one of a line scan)."""
    return list(spatial_dims(image)[-2:])


def map_planes(
    image: xr.DataArray, kernel: Callable[..., np.ndarray], reach: int, **parameters: Any
) -> xr.DataArray:
    """Apply a filter over the last two spatial dimensions, with margins of `reach` pixels."""
    import dask.array as da

    dims = plane_dims(image)
    ordered = image.transpose(..., *dims)
    if image.chunks is None:
        values = kernel(ordered.values, axes=len(dims), **parameters)
    else:
        cut = [d for d in dims if len(ordered.variable.chunksizes[d]) > 1]
        depth = {ordered.get_axis_num(d): min(reach, image.sizes[d]) for d in cut}
        values = da.map_overlap(
            kernel,
            ordered.data,
            depth=depth,
            boundary="none",
            axes=len(dims),
            meta=np.empty((0,) * image.ndim, image.dtype),
            **parameters,
        )
    return ordered.copy(data=values).transpose(*image.dims)
