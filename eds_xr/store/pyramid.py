"""Exact sums over 2 x 2, 4 x 4 and 8 x 8 pixels, made while an image is written in row blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.axes import binned_coord, mean_step, sum_dtype, with_live_time_of_bins
from eds_xr.chunks import FACTORS, level_path
from eds_xr.provenance import with_step
from eds_xr.schema import DETECTOR, spatial_dims


def levels(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return the groups of the pyramid of a spectrum image, with placeholders for the counts."""
    return {level_path(factor): _level(dataset, factor) for factor in FACTORS}


def multiscales(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Return the description of the levels, in the manner of OME-Zarr."""
    dims = [str(d) for d in dataset["counts"].dims]
    places = {d: dataset[d].values for d in dims}
    if DETECTOR in places:  # names, which have no steps
        places[DETECTOR] = np.arange(places[DETECTOR].size)
    steps = {d: mean_step(values) for d, values in places.items()}
    images = []
    for factor in (1, *FACTORS):
        factors = {d: factor if d in _binned_dims(dataset["counts"]) else 1 for d in dims}
        scale = [steps[d] * factors[d] for d in dims]
        first = [
            float(places[d][0]) + steps[d] * (factors[d] - 1) / 2 if places[d].size else 0
            for d in dims
        ]
        images.append(
            {
                "path": f"{level_path(factor)}/counts" if factor > 1 else "counts",
                "coordinateTransformations": [
                    {"type": "scale", "scale": scale},
                    {"type": "translation", "translation": first},
                ],
            }
        )
    axes = [{"name": d, "unit": str(dataset[d].attrs.get("units", ""))} for d in dims]
    return [{"name": "counts", "type": "sum", "axes": axes, "datasets": images}]


class Pyramid:
    """Sums of pixels, fed with row blocks in order, written as soon as rows are complete.

    Parameters
    ----------
    arrays : sequence of array
        Zarr arrays of the levels, 2 x 2 first.
    shape : tuple of int
        Of the whole image, energy last.
    """

    def __init__(self, arrays: Sequence[Any], shape: tuple[int, ...]) -> None:
        sizes = [_sizes(shape)]
        self._levels: list[_Level] = []
        for array in arrays:
            sizes.append(_sizes(array.shape))
            self._levels.append(_Level(array, height=sizes[-2][0], width=sizes[-1][1]))

    def add(self, region: tuple[slice, ...], block: np.ndarray) -> None:
        """Add a row block of the image."""
        rows_at = max(0, len(region) - 3)
        leading = tuple(part.start for part in region[:rows_at])
        self._add(0, leading, region[rows_at].start, _rows(block))

    def _add(self, level: int, leading: tuple[int, ...], first: int, rows: np.ndarray) -> None:
        if level < len(self._levels):
            for start, done in self._levels[level].add(leading, first, rows):
                self._add(level + 1, leading, start, done)


class _Level:
    """One level: rows that are not complete yet, and the array where complete ones go."""

    def __init__(self, array: Any, height: int, width: int) -> None:
        self._array, self._height, self._width = array, height, width
        self._depth = array.chunks[max(0, len(array.shape) - 3)]
        self._columns = 2 if len(array.shape) > 2 else 1
        self._pending: np.ndarray | None = None

    def add(
        self, leading: tuple[int, ...], first: int, rows: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Add rows ``[row, x, energy]`` of the finer level; yield complete rows of this one."""
        from eds_xr.store.pixel_sums import add_pairs

        done = 0
        while done < len(rows):
            at = first + done
            chunk = at // (2 * self._depth)
            until = min(2 * self._depth * (chunk + 1), self._height)
            taken = rows[done : done + until - at]
            if self._pending is None:
                depth = -(-until // 2) - chunk * self._depth
                self._pending = np.zeros((depth, self._width, rows.shape[2]), self._array.dtype)
            add_pairs(self._pending, taken, at - 2 * self._depth * chunk, self._columns)
            done += len(taken)
            if at + len(taken) == until:
                yield chunk * self._depth, self._write(leading, chunk * self._depth)

    def _write(self, leading: tuple[int, ...], start: int) -> np.ndarray:
        complete, self._pending = self._pending, None
        assert complete is not None
        place = (*leading, slice(start, start + len(complete)))
        self._array[place] = complete if len(self._array.shape) > 2 else complete[:, 0]
        return complete


def _level(dataset: xr.Dataset, factor: int) -> xr.Dataset:
    import dask.array as da

    counts = dataset["counts"]
    factors = {d: factor for d in _binned_dims(counts)}
    shape = tuple(-(-counts.sizes[d] // factors.get(str(d), 1)) for d in counts.dims)
    dtype = sum_dtype(counts.dtype, math.prod(factors.values()))
    coords = {n: binned_coord(c, factors) for n, c in counts.coords.items()}
    image = xr.DataArray(
        da.zeros(shape, dtype=dtype, chunks=-1),
        dims=counts.dims,
        coords=coords,
        attrs=with_step(counts.attrs, "rebin", **factors),
    )
    return with_live_time_of_bins(image, counts, factors).to_dataset(name="counts")


def _binned_dims(counts: xr.DataArray) -> tuple[str, ...]:
    return spatial_dims(counts)[-2:]


def _sizes(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width; a line scan is as high as long, and one pixel wide."""
    return (shape[-3], shape[-2]) if len(shape) > 2 else (shape[0], 1)


def _rows(block: np.ndarray) -> np.ndarray:
    """Return a row block as ``[row, x, energy]``."""
    if block.ndim == 2:
        return block[:, None]
    return block.reshape(-1, *block.shape[-2:])
