"""Galleries of maps, and three maps as the colours of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.image.element_maps import element_maps
from eds_xr.report.pictures.canvas import (
    SMALL,
    WIDTH,
    figure_of,
    line_text,
    new_figure,
)
from eds_xr.report.pictures.images import (
    color_bar,
    image_dims,
    map_panel,
    over_dim,
    panel_width,
    range_of,
    scale_bar,
    show,
    shown,
    step_of,
)
from eds_xr.schema import ENERGY, LINE, STRANGER, EdsError, check_one_of, spatial_dims

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

#: Of a red, a green and a blue that add to white, and that the colour-blind tell apart (near
#: Okabe and Ito's vermilion and bluish green).
MIXED = ("#e05a00", "#00a55a", "#1f00a5")
#: In a Dataset, what is shown when nobody says.
SHOWN = ("net", "atomic_fraction", "scores", "probability", "amounts", "counts")
#: Height of a picture, width of the triangle of its colours [inches].
HEIGHT, TRIANGLE = 2.8, 1.1
#: Most maps of a gallery: more are illegible on a page.
MOST_MAPS = 30
#: Of strangers, so many lines are shown, and so many are numbered.
MOST_LINES, MOST_NUMBERS = 6, 30
#: Maps of strangers reach so far at least, and at most [standard deviations].
REACH = (5.0, 12.0)


def plot_maps(
    data: xr.DataArray | xr.Dataset,
    *,
    ranges: str = "own",
    quantity: str | None = None,
    columns: int | None = None,
    cmap: str = "viridis",
    width: float = WIDTH,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw maps side by side, with one scale bar and with colour bars; y points down.

    Computes: the maps, of which at most 1500 pixels a side are drawn. Of each, half a percent of
    the pixels at either end lies beyond its range, and the colour bar is pointed there.

    Parameters
    ----------
    data : DataArray [*spatial] or [..., *spatial], or Dataset
        One map or several (of lines, components or phases); a spectrum image, whose maps are those
        of the elements that its file names; or a Dataset of maps.
    ranges : {"own", "common"}
        Whether each map has a range of its own, or all have one.
    quantity : str, optional
        The variable of a Dataset; default is net counts, atomic fractions or scores.
    columns : int, optional
        Maps in a row.
    cmap : str
        One of matplotlib's names.
    width : float
        The most a new figure has [inches].
    figure : Figure or SubFigure, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    EdsError
        For what has not two spatial dimensions, or is more than 30 maps.
    """
    check_one_of(ranges, ("own", "common"), "ranges")
    maps, names = _several(_maps_of(data, quantity))
    limits = _limits(maps, ranges)
    own = ranges == "own" or len(maps) == 1
    return _gallery(maps, names, limits, own, columns, cmap, width, figure)


def plot_strangers(
    found: xr.Dataset,
    *,
    lines: Sequence[str] | None = None,
    columns: int | None = None,
    width: float = WIDTH,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw where strangers are: what lines have beyond mixtures of the phases, a ring about each.

    Computes: the residual maps of the lines drawn, of which at most 1500 pixels a side are drawn.

    Parameters
    ----------
    found : Dataset
        Of :func:`eds_xr.find_strangers`.
    lines : sequence of str, optional
        Default are those that strangers have more or less of, at most 6, the most significant
        first; where there are no strangers, the first 6.
    columns : int, optional
        Maps in a row.
    width : float
        The most a new figure has [inches].
    figure : Figure or SubFigure, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure
        Red is more than mixtures have, blue is less [standard deviations]. The first 30 rings
        have the numbers of the table.

    Raises
    ------
    EdsError
        For what is no table of strangers, lines that it has not, or a line scan.
    """
    if not {"residual", "excess"} <= set(found.data_vars):
        there = ", ".join(map(str, found.data_vars)) or "nothing"
        raise EdsError(
            f"expected strangers with maps of residuals, found {there}; an analysis keeps no such "
            "maps, image.eds.find_strangers(tree) makes them"
        )
    image_dims(found["residual"], "a picture of strangers")
    chosen = _lines_of_strangers(found)[:MOST_LINES] if lines is None else lines
    maps, names = _several(_maps_of(found, "residual", chosen))
    reach = float(np.clip(max(np.nanmax(abs(one.values)) for one in maps), *REACH))
    limits = [(-reach, reach)] * len(maps)
    drawn = _gallery(maps, names, limits, False, columns, "RdBu_r", width, figure)
    for axes, one in zip(drawn.axes, maps, strict=False):
        _rings(axes, found, one)
    return drawn


def plot_rgb(
    data: xr.DataArray | xr.Dataset,
    names: Sequence[str] | None = None,
    *,
    ranges: str = "own",
    quantity: str | None = None,
    colors: Sequence[str] = MIXED,
    axes: Axes | None = None,
) -> Figure:
    """Draw three maps as the colours of one picture, with a triangle that tells the colours.

    Computes: the maps, of which at most 1500 pixels a side are drawn.

    Parameters
    ----------
    data : DataArray [..., *spatial] or Dataset
        As for :func:`plot_maps`.
    names : sequence of three str, optional
        Which maps: lines, components or phases; default are the first three.
    ranges : {"own", "common"}
        Whether each map has a range of its own, or all have one.
    quantity : str, optional
        The variable of a Dataset.
    colors : sequence of three colours
        They add to white; default is a red, a green and a blue that the colour-blind tell apart.
    axes : Axes, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    EdsError
        Unless there are three such maps; as :func:`plot_maps`.
    """
    from matplotlib.colors import to_rgb

    check_one_of(ranges, ("own", "common"), "ranges")
    maps, texts = _several(_maps_of(data, quantity, names))
    if len(maps) < 3 or len(colors) != 3 or (names is not None and len(names) != 3):
        raise EdsError(f"three maps make a picture in colours, found {len(maps)}; name three")
    limits = _limits(maps[:3], ranges)
    table = np.array([to_rgb(c) for c in colors])
    parts = [
        np.clip((one.values - low) / (high - low), 0, 1)
        for one, (low, high) in zip(maps[:3], limits, strict=True)
    ]
    mixed = np.clip(np.tensordot(np.nan_to_num(np.stack(parts, -1)), table, 1), 0, 1)
    if axes is None:
        width = panel_width(maps[0], HEIGHT)
        made = new_figure(width + TRIANGLE, HEIGHT)
        axes, key = made.subplots(1, 2, width_ratios=(width, TRIANGLE))
        key.set_anchor("N")
    else:
        key = axes.inset_axes((0.66, 0.68, 0.32, 0.3), facecolor="white")
    show(axes, mixed, maps[0])
    scale_bar(axes, maps[0])
    _triangle(key, texts[:3], table)
    return figure_of(axes)


def _gallery(
    maps: Sequence[xr.DataArray], names: Sequence[str], limits: Sequence[tuple[float, float]],
    own: bool, columns: int | None, cmap: str, width: float, figure: Figure | SubFigure | None,
) -> Figure:  # fmt: skip
    """Draw maps side by side, each with a colour bar of its own, or all with one."""
    columns = min(columns or _columns(maps[0], len(maps)), len(maps))
    rows = -(-len(maps) // columns)
    if figure is None:
        width = min(width, 3.0 * columns)
        height = panel_width(maps[0].transpose(..., *maps[0].dims[::-1]), width / columns)
        figure = new_figure(width, rows * (height + (0.6 if own else 0.25)))
        figure.set_layout_engine("compressed")
    grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for i, (axes, one, name) in enumerate(zip(grid, maps, names, strict=False)):
        drawn = map_panel(
            axes, one, title=name, limits=limits[i], cmap=cmap, bar="below" if own else ""
        )
        if i == 0:
            scale_bar(axes, one)
    for axes in grid[len(maps) :]:
        axes.set_visible(False)
    if not own:
        color_bar(grid.tolist(), drawn, xr.concat(maps, "map"), "beside")
    return figure_of(grid[0])


def _lines_of_strangers(found: xr.Dataset) -> list[str]:
    """Return the lines that strangers have more or less of, the most significant first."""
    names = found[LINE].values
    variance = found["excess_variance"].where(found["excess"] != 0)
    z = (abs(found["excess"]) / np.sqrt(variance)).transpose(STRANGER, LINE).values
    most = np.nan_to_num(z).max(0, initial=0.0)
    order = np.argsort(-most, kind="stable")
    told = order[most[order] > 0]
    return [str(n) for n in names[told if told.size else order]]


def _rings(axes: Axes, found: xr.Dataset, image: xr.DataArray) -> None:
    """Draw a ring about each stranger, the number of the first ones beside it."""
    from matplotlib.patches import Ellipse

    (y, x), (high, wide) = (
        [_in_pixels(found, name, image, str(d)) for d in image.dims]
        for name in ("middle", "extent")
    )
    for i, number in enumerate(found[STRANGER].values.tolist()):
        size = [max(1.5 * extent[i], max(image.shape) / 25) for extent in (wide, high)]
        axes.add_patch(Ellipse((x[i], y[i]), *size, fill=False, linewidth=0.7, gid="stranger"))
        if i < MOST_NUMBERS:
            side = -1 if x[i] > image.shape[1] / 2 else 1
            axes.annotate(
                str(number), (x[i] + side * size[0] / 2, y[i]), (2 * side, 0),
                textcoords="offset points", va="center", ha="left" if side > 0 else "right",
                fontsize=SMALL, gid="stranger",
            )  # fmt: skip


def _in_pixels(found: xr.Dataset, name: str, image: xr.DataArray, dim: str) -> np.ndarray:
    """Return the middles or extents of strangers in pixels of a picture, which may be coarser."""
    values, maps = found[f"{name}_{dim}"].values, found["residual"]
    pixel, coarser = step_of(maps, dim), image.sizes[dim] / maps.sizes[dim]
    if name == "extent":
        return values / pixel * coarser
    return ((values - float(maps[dim].min())) / pixel + 0.5) * coarser - 0.5


def _maps_of(
    data: xr.DataArray | xr.Dataset, quantity: str | None, names: Sequence[str] | None = None
) -> xr.DataArray:
    """Return maps [..., y, x] of whatever has some, of few enough pixels."""
    if isinstance(data, xr.Dataset):
        known = [n for n in SHOWN if n in data] or [
            str(n) for n, v in data.data_vars.items() if len(spatial_dims(v)) == 2
        ]
        chosen = quantity or next(iter(known), "")
        if chosen not in data:
            there = ", ".join(map(str, data.data_vars)) or "nothing"
            raise EdsError(f"no maps {chosen!r} in the Dataset, which has {there}")
        data = data[chosen]
    if ENERGY in data.dims:
        data = element_maps(data, names)
    elif names is not None:
        (over,) = [d for d in data.dims if d not in spatial_dims(data)] or [""]
        data = data.sel({over: _full_names(data, over, names)})
    return shown(data)


def _full_names(data: xr.DataArray, over: Any, names: Sequence[str]) -> list[str]:
    """Return the coordinates that names stand for: an element's line may be named by it."""
    known = [str(v) for v in data[over].values] if over in data.coords else []
    found = [next((k for k in known if n in (k, k.split("_")[0])), None) for n in names]
    if None in found:
        raise EdsError(f"no map {names[found.index(None)]!r}; there are {', '.join(known)}")
    return [str(n) for n in found]


def _several(data: xr.DataArray) -> tuple[list[xr.DataArray], list[str]]:
    """Return the maps one by one, and their names."""
    image_dims(data, "a map")
    over = over_dim(data)
    if over is None:
        return [data], [line_text(data.attrs.get("long_name", data.name or ""))]
    number = data.sizes[over]
    if not 0 < number <= MOST_MAPS:
        raise EdsError(
            f"a page holds {MOST_MAPS} maps, found {number}; choose some of them, "
            f"data.isel({over}=slice({MOST_MAPS}))"
        )
    names = data[over].values if over in data.coords else range(number)
    return [data.isel({over: i}) for i in range(number)], [line_text(n) for n in names]


def _limits(maps: Sequence[xr.DataArray], ranges: str) -> list[tuple[float, float]]:
    """Return the range of each map: its own, or the one of all."""
    limits = [range_of(one.values) for one in maps]
    if ranges == "own":
        return limits
    return [(min(low for low, _ in limits), max(high for _, high in limits))] * len(maps)


def _columns(image: xr.DataArray, number: int) -> int:
    """Return how many maps stand in a row: as many as stay legible at half size."""
    wide = image.shape[-1] > 1.8 * image.shape[-2]
    most = 2 if wide else 4
    return min(number, most if number != 2 * most - 3 else most - 1) if number > 3 else number


def _triangle(axes: Axes, names: Sequence[str], table: np.ndarray) -> None:
    """Draw the triangle of colours, each corner named."""
    height = math.sqrt(0.75)
    corners = np.array([[0.5, height], [0, 0], [1, 0]])
    x, y = np.meshgrid(np.linspace(0, 1, 160), np.linspace(0, height, 160))
    edges = np.linalg.inv(np.vstack([corners.T, np.ones(3)]))
    shares = np.einsum("ij,jkl->kli", edges, np.stack([x, y, np.ones_like(x)]))
    inside = (shares > -1e-9).all(-1)
    mixed = np.clip(shares / shares.max(-1, keepdims=True), 0, 1) @ table
    picture = np.dstack([np.clip(mixed, 0, 1), inside.astype(float)])
    axes.imshow(picture, origin="lower", extent=(0, 1, 0, height))
    axes.set(xlim=(-0.35, 1.35), ylim=(-0.25, 1.1), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    for name, (px, py), up in zip(names, corners, (1, -1, -1), strict=True):
        side = "bottom" if up > 0 else "top"
        axes.text(px, py + 0.04 * up, name, ha="center", va=side, fontsize=SMALL)
