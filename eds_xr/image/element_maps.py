"""Element maps: net counts of a line's window in every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.arguments import beam_energy_of, resolution_of, with_beam_assumed
from eds_xr.image.weighted_sums import lazy_maps, weighted_block
from eds_xr.schema import (
    DETECTOR,
    ENERGY,
    LINE,
    EdsError,
    check_energy_in_kev,
    check_spectrum_image,
)
from eds_xr.xray.elements import element_names
from eds_xr.xray.lines import line_on_axis, principal_lines
from eds_xr.xray.windows import window_weights


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
        Net counts in the line's window (see :func:`eds_xr.xray.windows.line_windows_kev`), with a
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
    about = {"long_name": f"{name} counts", "units": "counts", "line": name}
    return sums.rename(name).assign_attrs(about | _assumed(image))


def element_maps(
    image: xr.DataArray, lines: Sequence[str] | None = None, *, background: bool = True
) -> xr.DataArray:
    """Map several lines, ``[line, *spatial; counts]``; see :func:`element_map`.

    Lazy: nothing is computed; one pass over the image serves all maps.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    lines : sequence of str, optional
        Lines or elements; default are the elements that the file names (the attribute
        ``elements``), each by its principal line, those without one on the axis left out.
    background : bool
        As for :func:`element_map`.
    """
    lines = _lines_of_file(image) if lines is None else lines
    if isinstance(lines, str) or not lines:
        raise EdsError(f"expected a list of lines, such as ['Mg', 'Ca_Ka'], found {lines!r}")
    names, sums = _window_sums(image, lines, background)
    sums = sums.assign_coords({LINE: names}).rename("maps")
    return sums.assign_attrs({"long_name": "element maps", "units": "counts"} | _assumed(image))


def _assumed(image: xr.DataArray) -> dict[str, Any]:
    """Return the attribute ``assumptions``, where there is any: on which line is main."""
    return {k: v for k, v in with_beam_assumed(image.attrs).items() if k == "assumptions"}


def _lines_of_file(image: xr.DataArray) -> list[str]:
    """Return the principal lines, on the axis, of the elements that the file names."""
    check_spectrum_image(image, detectors=True)
    elements = element_names(image.attrs.get("elements", []))
    if not elements:
        raise EdsError("the file names no elements; give lines, such as ['Mg', 'Ca_Ka']")
    low, high = (float(e) for e in image[ENERGY].values[[0, -1]])
    return list(principal_lines(elements, low, high, beam_energy_of(image.attrs)).values())


def _window_sums(
    image: xr.DataArray, lines: Sequence[str], background: bool
) -> tuple[list[str], xr.DataArray]:
    """Return the lines' names and their net counts ``[line, *spatial]``, with variance."""
    check_spectrum_image(image, detectors=True)
    check_energy_in_kev(image)
    if DETECTOR in image.dims:
        return _of_each_detector(image, lines, background)
    energy, resolution = image[ENERGY].values, resolution_of(image.attrs)
    names = [line_on_axis(line, energy, beam_energy_of(image.attrs)) for line in lines]
    table = [window_weights(energy, n, resolution, background=background) for n in names]
    weights = np.stack(table, axis=1)
    used = np.flatnonzero(weights.any(axis=1))
    inside = slice(int(used[0]), int(used[-1]) + 1)
    weights = weights[inside]
    if background or image.dtype.kind == "f":
        both = np.hstack([weights, weights**2])
        net, variance = lazy_maps(
            image, weighted_block, (2, len(names)), np.dtype(np.float32), inside, table=both
        )
    else:
        (net,) = lazy_maps(
            image, weighted_block, (1, len(names)), np.dtype(np.int64), inside, table=weights,
            whole=True,
        )  # fmt: skip
        variance = net
    return names, net.assign_coords(variance=variance.variable)


def _of_each_detector(
    image: xr.DataArray, lines: Sequence[str], background: bool
) -> tuple[list[str], xr.DataArray]:
    own = [n for n, c in image.coords.items() if c.dims == (DETECTOR,) and n != DETECTOR]
    bare = image.drop_vars([*own, DETECTOR], errors="ignore")
    each = [
        _window_sums(bare.isel({DETECTOR: i}), lines, background)
        for i in range(image.sizes[DETECTOR])
    ]
    names = image[DETECTOR] if DETECTOR in image.coords else DETECTOR
    maps = xr.concat(
        [one for _, one in each], dim=names, coords="different", compat="equals", join="exact"
    )
    return each[0][0], maps.assign_coords({n: image[n] for n in own})
