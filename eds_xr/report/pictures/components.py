"""What a factorisation found, and how many components the data ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from eds_xr.report.pictures.canvas import (
    COLUMN,
    DARK,
    SMALL,
    WIDTH,
    Colors,
    colors_of,
    dress,
    figure_of,
    legend,
    new_axes,
    new_figure,
    open_frame,
    plain,
)
from eds_xr.report.pictures.images import image_dims, map_panel, panel_width, scale_bar, shown
from eds_xr.report.pictures.spectra import Lines, energy_axis, lowest, name_lines
from eds_xr.schema import COLORS, COMPONENT, ENERGY, EdsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

#: Height of a component [inches], and how many a figure holds.
ROW, MOST_COMPONENTS = 1.65, 10
#: No component is higher than this part of the figure's width.
MOST_SLENDER = 0.33


def plot_components(
    factors: xr.Dataset,
    *,
    lines: Lines = None,
    energies: tuple[float, float] | None = None,
    log: bool = False,
    colors: Colors = None,
    width: float = WIDTH,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw each component of a factorisation: its map of scores, and its spectrum.

    Computes: the scores, of which at most 1500 pixels a side are drawn.

    Parameters
    ----------
    factors : Dataset
        ``scores`` [*spatial, component; counts] and ``loadings`` [component, energy].
    lines : sequence of str, or Dataset, optional
        Lines to name; as for :func:`plot_spectra`.
    energies : (float, float), optional
        The part of the energy axis that is drawn, in its own unit.
    log : bool
        Loadings on a logarithmic axis.
    colors : mapping of str to str, or label image, optional
        By component.
    width : float
        Of a new figure [inches].
    figure : Figure or SubFigure, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    EdsError
        For what has no scores and loadings of an image, or more than 10 components.
    """
    if not {"scores", "loadings"} <= set(factors.data_vars):
        raise EdsError("expected scores and loadings, from nmf or the group factors of an analysis")
    if factors.sizes[COMPONENT] > MOST_COMPONENTS:
        raise EdsError(f"a figure holds {MOST_COMPONENTS} components; choose some of them")
    image_dims(factors.scores, "a map of scores")
    scores = shown(factors.scores).transpose(COMPONENT, ...)
    loadings = factors.loadings.sel({ENERGY: slice(*energies)}) if energies else factors.loadings
    loadings = loadings.compute()
    names = [str(n) for n in factors[COMPONENT].values]
    chosen = colors_of(names, colors)
    if figure is None:
        figure = new_figure(width, min(ROW, MOST_SLENDER * width) * len(names) + 0.2)
    whole, height = (n / figure.dpi for n in figure.bbox.size)
    wide = min(panel_width(scores, height / len(names) - 0.3) + 0.5, 0.38 * whole)
    grid = figure.subplots(len(names), 2, width_ratios=(wide, whole - wide), squeeze=False)
    for i, name in enumerate(names):
        map_panel(grid[i, 0], scores[i], title=plain(name), bar="beside", label="counts")
        _loading_panel(grid[i, 1], loadings.isel({COMPONENT: i}), chosen[name], log)
        name_lines(grid[i, 1], loadings.isel({COMPONENT: i}), lines, factors.attrs)
        dress(grid[i, 1])
        if height / len(names) < ROW:  # in one row it would be longer than the axes
            grid[i, 1].set_ylabel("share of\nits counts")
        if i < len(names) - 1:
            grid[i, 1].set_xlabel("")
    scale_bar(grid[0, 0], scores)
    return figure_of(grid[0, 0])


def plot_rank(evidence: xr.Dataset, *, axes: Axes | None = None) -> Figure:
    """Draw how many components the data ask for: eigenvalues, and what each rank foretells.

    Computes: the evidence, which is small.

    Parameters
    ----------
    evidence : Dataset
        From :func:`eds_xr.suggest_rank`.
    axes : Axes, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    EdsError
        For anything else.
    """
    if not {"eigenvalue", "gain", "gain_error"} <= set(evidence.data_vars):
        raise EdsError("expected the evidence of suggest_rank, with eigenvalue and gain")
    rank = evidence[COMPONENT].values
    suggested = int(evidence.attrs["suggested"])
    axes = new_axes(axes, COLUMN * 1.25, 2.6)
    axes.semilogy(
        rank, evidence.eigenvalue, "o-", color=COLORS[0], markersize=3.5, linewidth=0.9,
        label="eigenvalue",
    )  # fmt: skip
    axes.axhline(1, color="0.5", linewidth=0.7, linestyle="--")
    axes.set_ylim(min(0.4, axes.get_ylim()[0]), None)
    axes.annotate(  # the first eigenvalue is that of the mean, and high: here is room
        "edge of noise", (rank[0], 1), (-2, -4), textcoords="offset points", va="top",
        fontsize=SMALL, color=DARK,
    )  # fmt: skip
    later = evidence.isel({COMPONENT: slice(1, None)})
    other = axes.twinx()
    other.errorbar(
        later[COMPONENT].values, later.gain.values, later.gain_error.values, fmt="s",
        color=COLORS[1], markersize=3.5, linewidth=0.9, label="held-out gain",
    )  # fmt: skip
    other.set_yscale("symlog", linthresh=10)
    other.set_ylabel("gain over one component less (nats)")
    other.set_ylim(-20, None)
    axes.axvspan(suggested - 0.4, suggested + 0.4, color="0.9", zorder=0, label="suggested")
    axes.set(xlabel="number of components", ylabel="eigenvalue / edge of noise", xticks=rank)
    handles = [h for a in (axes, other) for h in a.get_legend_handles_labels()[0]]
    legend(other, handles, loc="upper right")
    axes.spines["top"].set_visible(False)
    other.spines["top"].set_visible(False)
    dress(axes)
    dress(other)
    return figure_of(axes)


def _loading_panel(axes: Axes, loading: xr.DataArray, color: str, log: bool) -> None:
    axes.set_yscale("log" if log else "linear")
    floor = lowest(loading) if log else -np.inf
    axes.step(
        loading[ENERGY], loading.where(loading >= floor), where="mid", color=color, linewidth=0.8
    )
    axes.set_ylabel("share of its counts")
    axes.set_ylim(floor if log else 0, None)
    energy_axis(axes, loading)
    open_frame(axes)
