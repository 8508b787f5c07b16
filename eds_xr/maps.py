"""Images made of the spectrum image: rebinned, split into independent parts, element maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr._parts.chosen_lines import check_calibration, fit_attrs
from eds_xr._parts.fitted import lazy_fit, lazy_maps, pixel_model, weighted_block
from eds_xr._parts.given import attribute_number, check_range_kev, element_names
from eds_xr._parts.held_out import held_out
from eds_xr._parts.line_shapes import Calibration
from eds_xr._parts.line_solver import FIT_RANGE_KEV
from eds_xr._parts.rebinned import binned_coord, sum_dtype
from eds_xr.chunks import as_chunked
from eds_xr.schema import (
    ENERGY,
    LINE,
    EdsError,
    check_counts_block,
    check_energy_in_kev,
    check_one_of,
    check_spectrum_image,
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


def hold_out(
    image: xr.DataArray, what: Sequence[str] | str, *, seed: int = 0
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return an image to choose pixels on and one to quantify, so that chance is not in both.

    Lazy: nothing is computed.

    Pixels chosen for many counts of a line hold more of its counts than their sample emits:
    chance chose them, too. Choose on the first image (segment it, make masks), then sum and
    quantify the second.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    what : sequence of str, or "half"
        What is going to be quantified: lines, ``["Nd_La"]``, or elements, ``["Nd", "Sm"]``, for
        their principal lines in range; each with all lines of its family, as they are fitted
        together. The channels of their windows, peak and background, are zero in the first
        image; the second is `image`, all counts. Or ``"half"``: every count falls at random in
        one of the two (:func:`split_counts`), which serves any line, at half the counts.
    seed : int
        Of ``"half"``.

    Returns
    -------
    (DataArray, DataArray)
        To choose on, and to quantify.

    Raises
    ------
    EdsError
        For an unknown element or line, or one without lines in range; when no channel is left.

    Notes
    -----
    With lines held out, net counts of their windows (:func:`element_map`,
    :func:`eds_xr.spectra.net_counts`) are independent of the choice. A fit of families takes its
    background from other channels, too: what chance in these does to it is small, not zero.
    """
    check_spectrum_image(image)
    if isinstance(what, str):
        check_one_of(what, ("half",), "what, unless it is a list of elements or lines,")
        return split_counts(image, seed=seed)
    check_energy_in_kev(image)
    if not isinstance(what, list | tuple):
        raise EdsError(f"what must be a list of elements or lines, or 'half'; found {what!r}")
    held = held_out(image, what)
    keep = xr.DataArray(~held, dims=ENERGY)
    choose = (
        as_chunked(image)
        .where(keep, 0)
        .assign_attrs(provenance.with_step(image.attrs, "hold_out", what=list(what)))
    )
    return choose, image


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
        coordinate ``variance`` of the same shape. Whole numbers where `image` holds integers and
        no background is subtracted.

    Raises
    ------
    EdsError
        For an unknown element or line, or one outside the energy range; when computed, for NaN or
        negative counts.
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


def fitted_maps(
    image: xr.DataArray,
    elements: Sequence[str] | None = None,
    *,
    stray: Sequence[str] = (),
    lines: Sequence[str] | None = None,
    range_kev: tuple[float, float] = FIT_RANGE_KEV,
    calibration: Calibration | None = None,
    nonnegative: bool = False,
) -> xr.Dataset:
    """Map net counts freed of overlaps and background: line families fitted to every pixel.

    Computes: the sum of all pixels, one pass over the image (or over its stored sums of pixels),
    for calibration and weights. The maps themselves are lazy, one pass for all of them.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
        For blocks of pixels, rebin it first: ``fitted_maps(rebin(image, y=4, x=4))``.
    elements, stray, lines, range_kev, calibration
        As in :func:`eds_xr.line_fit.fit_lines`.
    nonnegative : bool
        No amount below zero: nearer the truth in single pixels, for maps that are looked at; but
        biased, so not for maps that are summed or averaged.

    Returns
    -------
    Dataset
        ``net`` and ``variance`` [line, *spatial; counts], float32; ``element`` [line]. The
        calibration is in the attributes.

    Raises
    ------
    EdsError
        As in :func:`eds_xr.line_fit.fit_lines`; when there are no counts in the range; when
        computed, for NaN or negative counts.

    Notes
    -----
    All pixels share the weights of their least squares: the modelled variance of their sum. So
    net counts are one linear map of the counts: unbiased at any dose, and their sums over a mask
    are the fit of the mask's spectrum. The variance is propagated exactly, as a count is its own
    variance: right for sums of pixels, itself noisy in one.

    The background is as flexible as that of ``fit_lines``. A background of the sum's shape, with
    one amount a pixel, would have a standard deviation less by up to 14 % (Nd La, U Ma), and by
    4 % or less in Mg, Si and Fe. But with self-absorption in 100 to 300 nm of the simulated
    pyrolite, 180 counts a pixel, the Al of a phase was then wrong by 4 to 10 standard deviations
    of 10,000 pixels, against 0.4 to 1.

    Non-negative least squares take the same weights, and the sum's background in two amounts a
    pixel, falling and rising along the spectrum. In a pixel of that simulation their root mean
    square error is a quarter less for trace lines (and as good as with Poisson's likelihood),
    but where there is little of an element they lie above zero on average. Their variance is that
    of the linear fit with this background, before the constraint.
    """
    check_spectrum_image(image)
    check_energy_in_kev(image)
    check_range_kev(range_kev)
    check_calibration(calibration)
    stray = element_names(stray, "stray")
    part = image.sel({ENERGY: slice(*range_kev)})
    model = pixel_model(part, elements, stray, lines, calibration)
    net, variance = lazy_fit(part, model, nonnegative=nonnegative)
    names = list(model.lines)
    attrs = provenance.of_the_recording(image.attrs)
    attrs |= fit_attrs(model.elements, model.lines, model.shapes.calibration)
    return xr.Dataset(
        {
            "net": net.assign_attrs(long_name="net counts", units="counts"),
            "variance": variance.assign_attrs(
                long_name="variance of the net counts", units="counts^2"
            ),
        },
        coords={LINE: names, "element": (LINE, [name.split("_")[0] for name in names])},
        attrs=provenance.with_step(
            attrs, "fitted_maps", elements=model.elements, stray=list(stray),
            range_kev=list(range_kev), nonnegative=nonnegative,
        ),
    )  # fmt: skip


def _window_sums(
    image: xr.DataArray, lines: Sequence[str], background: bool
) -> tuple[list[str], xr.DataArray]:
    """Return the lines' names and their net counts ``[line, *spatial]``, with variance."""
    check_spectrum_image(image)
    check_energy_in_kev(image)
    names = [_line_of(line, image) for line in lines]
    resolution = attribute_number(image.attrs, "energy_resolution_mnka_ev", 130.0)
    energy = image[ENERGY].values
    table = [window_weights(energy, n, resolution, background=background) for n in names]
    weights = np.stack(table, axis=1)
    used = np.flatnonzero(weights.any(axis=1))
    inside = slice(used[0], used[-1] + 1)
    part, weights = image.isel({ENERGY: inside}), weights[inside]
    if background or image.dtype.kind == "f":
        both = np.hstack([weights, weights**2])
        net, variance = lazy_maps(
            part, weighted_block, (2, len(names)), np.dtype(np.float32), table=both
        )
    else:
        (net,) = lazy_maps(
            part, weighted_block, (1, len(names)), np.dtype(np.int64), table=weights, whole=True
        )
        variance = net
    return names, net.assign_coords(variance=variance.variable)


def _line_of(line: str, image: xr.DataArray) -> str:
    if "_" in line:
        split_line(line)
        return line
    energy = image[ENERGY].values
    beam = attribute_number(image.attrs, "beam_energy_kev", 200.0)
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
