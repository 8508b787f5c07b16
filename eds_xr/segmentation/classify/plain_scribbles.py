"""Scribbles as the few pixels that are painted, and the grid that they lie on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.schema import label_array, spatial_coords, spatial_dims

#: A painted image of more pixels is refused.
MAX_PIXELS = 2**31


class PlainScribbles(NamedTuple):
    """Scribbles as values of JSON, and arrays."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


def scribbles_to(scribbles: xr.DataArray) -> PlainScribbles:
    """Return scribbles as plain values."""
    dims = spatial_dims(scribbles)
    values = scribbles.transpose(*dims).values
    where = np.argwhere(values > 0)
    grid = grid_to(scribbles)
    arrays = {
        "where": where.astype(np.int32),
        "label": values[tuple(where.T)].astype(np.int32),
    }
    attrs = json.dumps(scribbles.attrs, default=_as_plain)
    return PlainScribbles(grid.header | {"attrs": attrs}, grid.arrays | arrays)


def scribbles_from(
    header: Mapping[str, Any],
    arrays: Mapping[str, Any],
    phases: Sequence[str],
    colors: Sequence[str],
) -> xr.DataArray:
    """Return scribbles of plain values; raises ValueError and the like where these are wrong."""
    where = np.asarray(arrays["where"], int)
    grid = grid_from(header, arrays)
    if (where < 0).any() or (where >= grid.shape).any():
        raise ValueError(f"scribbles beyond {grid.shape} pixels")
    values = np.zeros(grid.shape, np.uint8)
    values[tuple(where.T)] = arrays["label"]
    label = label_array(values, grid, phases, colors)
    return label.assign_attrs(json.loads(header["attrs"]))


def grid_to(image: xr.DataArray) -> PlainScribbles:
    """Return an image's dimensions, sizes and coordinates as plain values."""
    dims, coords = spatial_dims(image), spatial_coords(image)
    return PlainScribbles(
        {
            "dims": list(dims),
            "shape": [image.sizes[d] for d in dims],
            "coords": {
                str(d): json.dumps(dict(c.attrs), default=_as_plain) for d, c in coords.items()
            },
        },
        {f"coord_{d}": np.asarray(c.values, float) for d, c in coords.items()},
    )


def grid_from(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> xr.DataArray:
    """Return an image of zeros that take no memory; as :func:`scribbles_from`."""
    shape = tuple(map(int, header["shape"]))
    if min(shape, default=-1) < 0 or math.prod(shape) > MAX_PIXELS:
        raise ValueError(f"an image of {shape} pixels")
    coords = {
        str(d): (str(d), np.asarray(arrays[f"coord_{d}"], float), json.loads(attrs))
        for d, attrs in header["coords"].items()
    }
    dims = [str(d) for d in header["dims"]]
    return xr.DataArray(np.broadcast_to(np.uint8(0), shape), coords, dims)


def _as_plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as Python's, all else as text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
