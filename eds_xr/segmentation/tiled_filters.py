"""Filters over the image planes of an array, tile by tile with margins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import spatial_dims

#: Side of a tile: small enough that all processors have work, wide against its margins.
TILE_PIXELS = 384


def tile_sizes(size: int, tile: int = TILE_PIXELS, margin: int = 0) -> tuple[int, ...]:
    """Cut `size` into equal parts of at most `tile`, but not narrower than a margin.

    Examples
    --------
    >>> tile_sizes(1025, 512, 28)
    (342, 342, 341)
    """
    count = max(1, min(math.ceil(size / tile), size // max(margin, 1)))
    return tuple(size // count + (i < size % count) for i in range(count))


def in_tiles(image: xr.DataArray) -> xr.DataArray:
    """Return an image on Dask in tiles that depend on its shape alone; whole along channels. Lazy.

    What is made tile by tile then depends on no chunks, and is few tasks however small these are.
    """
    planes, spatial = plane_dims(image), spatial_dims(image)
    return image.chunk(
        {
            d: tile_sizes(n) if d in planes else 1 if d in spatial else -1
            for d, n in image.sizes.items()
        }
    )


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


def with_margins(array: Any, margin: int, planes: int) -> Any:
    """Return a Dask array whose tiles see `margin` pixels more along the last axes. Lazy."""
    import dask.array as da

    first = array.ndim - planes
    depth = {a: margin if len(array.chunks[a]) > 1 else 0 for a in range(first, array.ndim)}
    return da.overlap.overlap(array, depth=depth, boundary="none")


def margins(info: dict[str, Any], margin: int, planes: int) -> tuple[tuple[int, int], ...]:
    """Return the margins of a block of :func:`with_margins`, before and after it."""
    places = list(zip(info["chunk-location"], info["num-chunks"], strict=True))[-planes:]
    return tuple((margin * (i > 0), margin * (i < n - 1)) for i, n in places)


def inside_margins(
    block: np.ndarray, info: dict[str, Any], margin: int, planes: int
) -> tuple[slice, ...]:
    """Return where a block of :func:`with_margins` is the tile itself."""
    around = margins(info, margin, planes)
    sides = zip(block.shape[-planes:], around, strict=True)
    inner = tuple(slice(before, n - after) for n, (before, after) in sides)
    return (*(slice(None),) * (block.ndim - planes), *inner)
