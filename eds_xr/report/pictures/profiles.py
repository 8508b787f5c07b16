"""Line profiles across boundaries, with errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.axes import mean_step
from eds_xr.composition.uncertainty.quantities import chosen_quantity, variance_name
from eds_xr.report.pictures.canvas import (
    SMALL,
    WIDTH,
    Colors,
    colors_of,
    dress,
    figure_of,
    legend,
    line_text,
    new_axes,
    open_frame,
    plain,
    units_text,
)
from eds_xr.report.pictures.images import image_dims, over_dim
from eds_xr.schema import ENERGY, EdsError, spatial_dims

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The maps that a profile is of, one by one.
CHANNEL = "channel"
Point = tuple[float, float]


def plot_profile(
    data: xr.DataArray | xr.Dataset,
    start: Point | None = None,
    end: Point | None = None,
    *,
    width: float | None = None,
    quantity: str | None = None,
    colors: Colors = None,
    axes: Axes | None = None,
) -> Figure:
    """Draw maps along a line, such as across a boundary, with one standard deviation each way.

    Computes: the pixels along the line; see :func:`profile`.

    Parameters
    ----------
    data : DataArray or Dataset, over [*spatial] or [..., *spatial]
        One map or several, with their variance where it is known: from ``element_maps``,
        ``fitted_maps``, ``quantify``; or of a line scan.
    start, end : (float, float)
        ``(y, x)`` of the ends, in the units of the coordinates; a line scan has none.
    width : float, optional
        Of the band of pixels, across the line, in these units; default is one pixel.
    quantity : str, optional
        The variable of a Dataset.
    colors : mapping of str to str, optional
        By the name of the map.
    axes : Axes, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    EdsError
        As :func:`profile`.
    """
    found = profile(data, start, end, width=width, quantity=quantity)
    if found.distance.attrs["units"] == "nm" and found.distance.max() >= 1e4:
        microns = (found.distance / 1000).assign_attrs(found.distance.attrs, units="µm")
        found = found.assign_coords(distance=microns)
    names = [str(n) for n in found[CHANNEL].values]
    chosen = colors_of(names, colors)
    axes = new_axes(axes, WIDTH, 2.5)
    for name in names:
        one = found.sel({CHANNEL: name})
        axes.errorbar(
            one["distance"].values, one["mean"].values, one["standard_deviation"].values, fmt="o-",
            markersize=2.5, linewidth=0.8, elinewidth=0.6, color=chosen[name],
            label=line_text(name),
        )  # fmt: skip
    axes.set_xlabel(f"distance{units_text(found.distance.attrs.get('units', 'pixels'))}")
    units = found["mean"].attrs.get("units", "counts")
    what = plain(found["mean"].attrs.get("long_name", "value"))
    axes.set_ylabel(f"{plain(units)} per pixel" if units == "counts" else what + units_text(units))
    axes.set_title(f"errors: {found.attrs['errors']}", loc="left")
    legend(axes, loc="best")
    open_frame(axes)
    dress(axes)
    axes.title.set_fontsize(SMALL)
    return figure_of(axes)


def profile(
    data: xr.DataArray | xr.Dataset,
    start: Point | None = None,
    end: Point | None = None,
    *,
    width: float | None = None,
    quantity: str | None = None,
) -> xr.Dataset:
    """Return means of the pixels in a band along a line, in steps of a pixel.

    Computes: the pixels of the rectangle about the line. Each pixel counts once, in the step that
    its centre falls into: nothing is interpolated, so the errors of the steps are independent.

    Returns
    -------
    Dataset [channel, distance]
        ``mean``, ``standard_deviation`` of the mean (from the pixels' variance, or their scatter
        where there is none; the attribute ``errors`` says which) and ``n_pixels``.

    Raises
    ------
    EdsError
        For ends that are missing, outside of the maps or the same, and maps that are none.
    """
    values, variance = _maps(data, quantity)
    if len(spatial_dims(values)) == 1:
        return _line_scan(values, variance)
    dims = image_dims(values, "a profile")
    if start is None or end is None:
        raise EdsError(
            "a profile has two ends: give start and end, each (y, x), in the map's units"
        )
    axis = [_axis(values, d) for d in dims]
    _check_ends(axis, dims, start, end)
    step = min(abs(mean_step(a)) for a in axis)
    half = max(width or step, step) / 2
    box = {
        d: np.flatnonzero((a >= min(s, e) - half - step) & (a <= max(s, e) + half + step))
        for d, a, s, e in zip(dims, axis, start, end, strict=True)
    }
    cut = {d: slice(i[0], i[-1] + 1) for d, i in box.items()}
    grid = np.meshgrid(*(a[cut[d]] for a, d in zip(axis, dims, strict=True)), indexing="ij")
    length = math.dist(start, end)
    way = [(e - s) / length for s, e in zip(start, end, strict=True)]
    y, x = grid[0] - start[0], grid[1] - start[1]
    along, across = y * way[0] + x * way[1], x * way[0] - y * way[1]
    inside = (np.abs(across) <= half) & (along >= -step / 2) & (along <= length + step / 2)
    which = np.floor(along[inside] / step + 0.5).astype(int)
    parts = [
        None if v is None else v.isel(cut).transpose(CHANNEL, *dims).values[:, inside]
        for v in (values, variance)
    ]
    found = _means(parts[0], parts[1], which)
    return _as_dataset(found, values, step, dims[1])


def _means(values: Any, variance: Any, which: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return steps that hold pixels, and of each map [channel, step] mean, its sd and numbers."""
    steps, place, number = np.unique(which, return_inverse=True, return_counts=True)

    def summed(table: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(place, row, steps.size) for row in table.astype(float)])

    mean = summed(values) / number
    if variance is not None:
        return steps, mean, np.sqrt(summed(variance).clip(0)) / number, number
    scatter = summed((values - mean[:, place]) ** 2) / np.maximum(number - 1, 1)
    return steps, mean, np.where(number > 1, np.sqrt(scatter / number), np.nan), number


def _as_dataset(
    found: tuple[np.ndarray, ...], values: xr.DataArray, step: float, dim: str
) -> xr.Dataset:
    units = values[dim].attrs.get("units", "pixels") if dim in values.coords else "pixels"
    steps, mean, sd, number = found
    both, known = (CHANNEL, "distance"), bool("variance" in values.attrs)
    attrs = {k: values.attrs[k] for k in ("units", "long_name") if k in values.attrs}
    return xr.Dataset(
        {
            "mean": (both, mean, attrs),
            "standard_deviation": (both, sd, attrs),
            "n_pixels": ("distance", number),
        },
        {
            CHANNEL: values[CHANNEL].values,
            "distance": ("distance", steps * step, {"units": units, "long_name": "distance"}),
        },
        {"errors": "counting" if known else "scatter of the pixels of a step"},
    )


def _line_scan(values: xr.DataArray, variance: xr.DataArray | None) -> xr.Dataset:
    (dim,) = spatial_dims(values)
    axis = _axis(values, dim)
    table = values.transpose(CHANNEL, dim).values.astype(float)
    spread = np.full(table.shape, np.nan)
    if variance is not None:
        spread = np.sqrt(variance.transpose(CHANNEL, dim).values.clip(0))
    step = abs(mean_step(axis))
    found = (np.arange(axis.size), table, spread, np.ones(axis.size, int))
    return _as_dataset(found, values, step, dim)


def _maps(
    data: xr.DataArray | xr.Dataset, quantity: str | None
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Return maps [channel, *spatial], and their variance where they have one."""
    variance = None
    if isinstance(data, xr.Dataset):
        name = chosen_quantity(data, quantity)
        variance, data = data[variance_name(data, name)], data[name]
    elif "variance" in data.coords and data.coords["variance"].dims == data.dims:
        variance = data.coords["variance"].variable
        variance = xr.DataArray(variance)
    if ENERGY in data.dims:
        raise EdsError("a profile is of maps; make them with element_maps or fitted_maps")
    over = over_dim(data)
    bare = data.drop_vars([n for n, c in data.coords.items() if n not in c.dims])
    if over is None:
        name = str(data.attrs.get("line", data.name or "map"))
        bare = bare.expand_dims({CHANNEL: [name]})
        variance = None if variance is None else variance.expand_dims(CHANNEL)
    else:
        bare = bare.rename({over: CHANNEL})
        variance = None if variance is None else variance.rename({over: CHANNEL})
    if CHANNEL not in bare.coords:
        bare = bare.assign_coords({CHANNEL: [str(i) for i in range(bare.sizes[CHANNEL])]})
    if variance is not None:
        bare.attrs["variance"] = "known"
    return bare, variance


def _axis(values: xr.DataArray, dim: Any) -> np.ndarray:
    if dim in values.coords:
        return values[dim].values.astype(float)
    return np.arange(values.sizes[dim], dtype=float)


def _check_ends(axis: list[np.ndarray], dims: tuple[str, str], start: Point, end: Point) -> None:
    if tuple(start) == tuple(end):
        raise EdsError(f"both ends of the profile are {tuple(start)}; give two points")
    for what, point in (("start", start), ("end", end)):
        for value, one, dim in zip(point, axis, dims, strict=True):
            if not one.min() - 1e-9 <= value <= one.max() + 1e-9:
                raise EdsError(
                    f"{what} lies outside of the map: {dim} is {value:g}, the map has "
                    f"{one.min():g} to {one.max():g}"
                )
