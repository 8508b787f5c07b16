"""Images made of the spectrum image: rebinned, split into independent halves, element maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr._parts.rebinned import binned_coord, sum_dtype
from eds_xr.chunks import as_chunked
from eds_xr.schema import (
    ENERGY,
    LINE,
    EdsError,
    check_counts_block,
    check_energy_in_kev,
    check_spectrum_image,
    spatial_dims,
)
from eds_xr.xray_lines import principal_line, split_line, window_weights


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
        Unsigned, wide enough for the largest sum; images riding along are averaged.

    Raises
    ------
    EdsError
        For a dimension that does not exist, or a factor that is not a positive whole number.
    """
    check_spectrum_image(image)
    _check_factors(image, factors)
    image = as_chunked(image)
    factors = {d: f for d, f in factors.items() if f > 1}
    padded = image.pad({d: (0, -image.sizes[d] % f) for d, f in factors.items()}, constant_values=0)
    axes = {image.get_axis_num(d): f for d, f in factors.items()}
    data = _coarsen(padded.data, axes, sum_dtype(image.dtype, math.prod(factors.values())))
    coords = {str(n): binned_coord(c, factors) for n, c in image.coords.items()}
    attrs = provenance.with_step(image.attrs, "rebin", **factors)
    return xr.DataArray(data, dims=image.dims, coords=coords, name=image.name, attrs=attrs)


def split_counts(image: xr.DataArray, *, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """Split every count at random between two images that are independent of each other.

    Lazy: nothing is computed.

    For Poisson counts the halves are independent Poisson images: choose pixels on one and
    quantify the other, and no selection bias can arise. The two sum to `image` exactly, and do
    not depend on its chunks.

    Parameters
    ----------
    image : DataArray of integers [*spatial, energy; counts]
    seed : int

    Returns
    -------
    (DataArray, DataArray)

    Raises
    ------
    EdsError
        When the values are not integers, or the seed is negative.
    """
    check_spectrum_image(image)
    if image.dtype.kind not in "ui":
        raise EdsError(f"only whole counts can be split, found dtype {image.dtype}")
    if seed < 0:
        raise EdsError(f"seed must be 0 or more, found {seed!r}")
    image = as_chunked(image)
    half = image.data.map_blocks(
        _split_block, shape=image.shape, seed=seed, dtype=image.dtype, meta=image.data._meta
    )
    first = image.copy(data=half)
    second = image.copy(data=image.data - half)
    first.attrs = provenance.with_step(image.attrs, "split_counts", seed=seed, half=1)
    second.attrs = provenance.with_step(image.attrs, "split_counts", seed=seed, half=2)
    return first, second


def element_map(image: xr.DataArray, line: str, *, background: bool = True) -> xr.DataArray:
    """Map the counts of one X-ray line.

    Lazy: nothing is computed.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    line : str
        ``"Fe_Ka"``, or an element, ``"Fe"``, for its principal line.
    background : bool
        Subtract the background, interpolated from two windows beside the peak.

    Returns
    -------
    DataArray [*spatial; counts]
        Net counts in the line's window (see :func:`eds_xr.xray_lines.line_windows_kev`), with a
        coordinate ``variance`` of the same shape.

    Raises
    ------
    EdsError
        For an unknown element or line, or one outside the energy range.
    """
    (name,), sums = _window_sums(image, [line], background)
    sums = sums.isel({LINE: 0}, drop=True)
    return sums.rename(name).assign_attrs(long_name=f"{name} counts", units="counts", line=name)


def element_maps(
    image: xr.DataArray, lines: Sequence[str], *, background: bool = True
) -> xr.DataArray:
    """Map several lines, ``[line, *spatial; counts]``; see :func:`element_map`.

    Lazy: nothing is computed; one pass over the image serves all maps.
    """
    if isinstance(lines, str) or not lines:
        raise EdsError(f"expected a list of lines, such as ['Mg', 'Ca_Ka'], found {lines!r}")
    names, sums = _window_sums(image, lines, background)
    sums = sums.assign_coords({LINE: names}).rename("maps")
    return sums.assign_attrs(long_name="element maps", units="counts")


def _window_sums(
    image: xr.DataArray, lines: Sequence[str], background: bool
) -> tuple[list[str], xr.DataArray]:
    """Return the lines' names and their net counts ``[line, *spatial]``, with variance."""
    check_spectrum_image(image)
    check_energy_in_kev(image)
    names = [_line_of(line, image) for line in lines]
    resolution = float(image.attrs.get("energy_resolution_mnka_ev", 130.0))
    energy = image[ENERGY].values
    table = [window_weights(energy, n, resolution, background=background) for n in names]
    weights = xr.DataArray(np.array(table, np.float32), dims=(LINE, ENERGY))
    counts = image.astype(np.float32)
    order = (LINE, *spatial_dims(image))
    net = xr.dot(counts, weights, dim=ENERGY).transpose(*order)
    variance = xr.dot(counts, weights**2, dim=ENERGY).transpose(*order)
    return names, net.assign_coords(variance=variance.variable)


def _line_of(line: str, image: xr.DataArray) -> str:
    if "_" in line:
        split_line(line)
        return line
    energy = image[ENERGY].values
    beam = float(image.attrs.get("beam_energy_kev", 200.0))
    return principal_line(line, beam, min_kev=float(energy[0]), max_kev=float(energy[-1]))


def _check_factors(image: xr.DataArray, factors: dict[str, int]) -> None:
    for dim, factor in factors.items():
        if dim not in image.dims:
            raise EdsError(f"no dimension {dim!r} to rebin, found {image.dims}")
        if not isinstance(factor, int | np.integer) or factor < 1:
            raise EdsError(
                f"the factor along {dim!r} must be a whole number from 1, found {factor!r}"
            )


def _coarsen(data: Any, axes: dict[int, int], dtype: np.dtype) -> Any:
    import dask.array as da

    aligned = {a: tuple(_multiples(data.chunks[a], f)) for a, f in axes.items()}
    return da.coarsen(np.sum, data.rechunk(aligned), axes, dtype=dtype)


def _multiples(chunks: tuple[int, ...], factor: int) -> list[int]:
    """Return chunks near the given ones whose edges are multiples of `factor`."""
    edges = {-(-edge // factor) * factor for edge in np.cumsum(chunks)}
    return [int(n) for n in np.diff([0, *sorted(edges)])]


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _split_block(
    block: np.ndarray, *, shape: tuple[int, ...], seed: int, block_info: Any = None
) -> np.ndarray:
    """Return one half of a block's counts; chance depends on seed and absolute voxel only."""
    from eds_xr._parts import poisson

    check_counts_block(block)
    if not block_info:
        return block
    place = [np.arange(lo, hi, dtype=np.uint64) for lo, hi in block_info[0]["array-location"]]
    strides = np.cumprod((1, *shape[:0:-1]), dtype=np.uint64)[::-1]
    pixels = np.zeros(block.shape[:-1], np.uint64)
    for axis, (index, stride) in enumerate(zip(place[:-1], strides[:-1], strict=True)):
        pixels = pixels + (index * stride).reshape(-1, *(1,) * (pixels.ndim - axis - 1))
    rows = np.ascontiguousarray(block, block.dtype.newbyteorder("=")).reshape(-1, block.shape[-1])
    half = poisson.halve(rows, pixels.ravel(), np.uint64(seed))
    return half.reshape(block.shape)
