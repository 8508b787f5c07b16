"""What results are uncertain by, and how elements are partitioned."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.composition.uncertainty import marks
from eds_xr.composition.uncertainty.effects import effect_variance
from eds_xr.composition.uncertainty.quantities import chosen_quantity, variance_name
from eds_xr.report.pictures.canvas import (
    DARK,
    LARGE,
    SMALL,
    WIDTH,
    Colors,
    colors_of,
    dress,
    figure_of,
    legend_above,
    line_text,
    new_axes,
    new_figure,
    open_frame,
    plain,
    plain_note,
    rows_of_text,
    units_text,
)
from eds_xr.report.tables import to_text
from eds_xr.schema import ASSUMED, DOUBT, ELEMENT, PHASE, EdsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

#: Colours of effects (Tol's muted ones, unlike those of phases).
EFFECT_COLORS = (
    "#332288", "#88ccee", "#44aa99", "#ddcc77", "#cc6677", "#999933", "#aa4499", "#117733",
    "#882255", "#bbbbbb", "#6699cc", "#661100", "#e0a0c8", "#555555",
)  # fmt: skip
#: Height of a bar [inches], and how many phases stand side by side.
BAR, MOST_PHASES = 0.155, 6
COEFFICIENT = "partition_coefficient"
#: Above and below the coefficients, this part of their decades is free, for the arrows of limits.
ROOM = 0.12


def plot_budget(
    data: xr.Dataset,
    quantity: str | None = None,
    *,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw what the errors of a result are made of: the share of each effect in the variance.

    Computes: the result, which is small.

    Parameters
    ----------
    data : Dataset
        Lines or a composition, with ``effect_covariance`` of the quantity: statistical effects,
        and of a composition the systematic ones, too.
    quantity : str, optional
        Default is the first.
    figure : Figure or SubFigure, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure
        A panel a phase, each bar with its number and error, as :func:`eds_xr.to_text` has them.

    Raises
    ------
    EdsError
        For results whose errors are not told apart, or more than 6 phases.
    """
    name = chosen_quantity(data, quantity)
    shares = effect_shares(data, name)
    over = next(d for d in shares.dims if d not in ("effect", PHASE))
    phases = shares[PHASE].values.tolist()
    if len(phases) > MOST_PHASES:
        raise EdsError(f"{len(phases)} phases, side by side stand {MOST_PHASES}; choose some")
    text = to_text(data, name)
    text = text if PHASE in text.dims else text.expand_dims({PHASE: phases})
    notes = [r for n in text.attrs.get("notes", []) for r in rows_of_text(plain_note(n), WIDTH)]
    if figure is None:
        figure = new_figure(WIDTH, BAR * shares.sizes[over] + 0.95 + 0.12 * len(notes))
    panels = np.atleast_1d(figure.subplots(1, len(phases), sharey=True))
    colors = dict(zip(shares["effect"].values.tolist(), cycle(EFFECT_COLORS), strict=False))
    for axes, phase in zip(panels, phases, strict=True):
        one, numbers = shares.sel({PHASE: phase}), text.sel({PHASE: phase})
        _bars(axes, one.transpose("effect", over), colors)
        for i, number in enumerate(numbers.values.tolist()):
            axes.annotate(
                number, (1, i), (3, 0), textcoords="offset points", fontsize=SMALL, va="center"
            )
        axes.set_title(f"{plain(phase)}{units_text(text.attrs['units'])}", fontsize=LARGE)
        axes.set_yticks(range(one.sizes[over]), [line_text(n) for n in one[over].values])
        axes.tick_params(axis="y", length=0)
        open_frame(axes)
        dress(axes)
    panels[len(phases) // 2].set_xlabel("share of the variance")  # one: of six, they would overlap
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(len(names), 7), fontsize=SMALL,
        frameon=False, handlelength=1.0, columnspacing=1.2,
    )  # fmt: skip
    if notes:
        figure.suptitle("\n".join(notes), x=0.01, ha="left", fontsize=SMALL)
    panels[0].invert_yaxis()
    return figure_of(panels[0])


def effect_shares(data: xr.Dataset, quantity: str) -> xr.DataArray:
    """Return the share of each effect [effect, phase, line or element] in a quantity's variance."""
    variance = data[variance_name(data, quantity)]
    prefix = "" if variance.name == "variance" else f"{quantity}_"
    if not {f"{prefix}effect_covariance", f"{prefix}effect_variance"} & set(data):
        raise EdsError(f"the errors of {quantity} are not told apart; fit the lines with fit_lines")
    parts = effect_variance(data, quantity, variance).compute()
    parts = parts.isel(effect=(parts > 0).any([d for d in parts.dims if d != "effect"]).values)
    parts = parts if PHASE in parts.dims else parts.expand_dims({PHASE: [_name_of(data)]})
    total = parts.sum("effect")
    return (parts / total.where(total > 0)).rename("share")


def plot_partition(
    coefficients: xr.Dataset,
    *,
    colors: Colors = None,
    width: float = WIDTH,
    axes: Axes | None = None,
) -> Figure:
    """Draw partition coefficients of each phase, with errors, and limits where there are only such.

    Computes: the coefficients, which are small.

    Parameters
    ----------
    coefficients : Dataset
        From :func:`eds_xr.partition_coefficients`, of one phase or several.
    colors : mapping of str to str, or label image, optional
        By phase.
    width : float
        The most a new figure has [inches].
    axes : Axes, optional
        Where to draw; default is a new figure.

    Returns
    -------
    Figure
        On a logarithmic axis. Arrows point from one-sided limits; open signs are in doubt; what is
        assumed to be zero is left out, and said to be.

    Raises
    ------
    EdsError
        For anything but partition coefficients.
    """
    if COEFFICIENT not in coefficients:
        raise EdsError("expected partition coefficients, from partition_coefficients")
    if PHASE not in coefficients.dims:
        coefficients = coefficients.expand_dims({PHASE: [_name_of(coefficients)]})
    names = [str(n) for n in coefficients[PHASE].values]
    chosen = colors_of(names, colors)
    elements = coefficients[ELEMENT].values.tolist()
    axes = new_axes(axes, min(width, 1.3 + 0.42 * len(elements)), 2.7)
    axes.set_yscale("log")
    axes.axhline(1, color="0.6", linewidth=0.7)
    for i, name in enumerate(names):
        places = np.arange(len(elements)) + 0.16 * (i - (len(names) - 1) / 2)
        _points(axes, coefficients.sel({PHASE: name}), places, chosen[name], name)
    axes.set_xticks(range(len(elements)), elements)
    axes.set_xlim(-0.6, len(elements) - 0.4)
    low, high = axes.get_ylim()
    low, high = min(low, 0.3), max(high, 3.0)  # a decade at least, or the ticks say nothing
    room = (high / low) ** ROOM
    axes.set_ylim(low / room, high * room)
    over = plain(coefficients.attrs.get("reference", "the matrix"))
    axes.set_ylabel(f"partition coefficient against {over}")
    wide = axes.bbox.width / figure_of(axes).dpi
    foot = "\n".join(rows_of_text(_foot(coefficients), wide))
    axes.set_xlabel(foot, fontsize=SMALL, color=DARK)
    legend_above(axes)
    open_frame(axes)
    dress(axes)
    axes.xaxis.label.set_fontsize(SMALL)
    return figure_of(axes)


def _points(axes: Axes, one: xr.Dataset, places: np.ndarray, color: str, name: str) -> None:
    """Draw the coefficients of a phase: points with errors, and arrows from limits."""
    values = one[COEFFICIENT]
    value, sd = values.values, one[f"{COEFFICIENT}_variance"].values.clip(0) ** 0.5
    doubt = marks.mark_of(one, DOUBT, values).values != ""
    assumed = marks.mark_of(one, ASSUMED, values).values
    seen, known = (
        one[f"{COEFFICIENT}_{n}"].values & ~assumed for n in ("detected", "reference_detected")
    )
    style: dict[str, Any] = {"color": color, "markersize": 4, "linewidth": 0.9}
    measured = seen & known & (value > 0)
    for mask, face in ((measured & ~doubt, color), (measured & doubt, "white")):
        low = np.minimum(sd, 0.9 * value)[mask]  # an error reaches no zero on this axis
        axes.errorbar(
            places[mask], value[mask], [low, sd[mask]], fmt="o", markerfacecolor=face, **style
        )
    axes.plot([], [], "o", label=plain(name), **style)
    ends = ((known & ~seen, "upper_limit", -1), (seen & ~known, "lower_limit", 1))
    for mask, which, way in ends:
        limit = one[f"{COEFFICIENT}_{which}"].values
        mask = mask & np.isfinite(limit) & (limit > 0)
        for x, y in zip(places[mask], limit[mask], strict=True):
            axes.plot([x], [y], "_", **style)
            axes.annotate(
                "", (x, y), (0, 14 * way), textcoords="offset points",
                arrowprops={"arrowstyle": "<-", "color": color, "linewidth": 0.9,
                            "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip


def _foot(coefficients: xr.Dataset) -> str:
    """Return what the signs mean that are there."""
    notes = ["arrows: one-sided 95 % limits"]
    if DOUBT in coefficients and bool((coefficients[DOUBT].fillna("") != "").any()):
        notes.append("open: in doubt")
    if ASSUMED in coefficients:
        zero = coefficients[ASSUMED].fillna(False).astype(bool)
        if bool(zero.any()):
            notes.append("missing: assumed to be zero")
    return "; ".join(notes)


def _bars(axes: Axes, shares: xr.DataArray, colors: dict[str, str]) -> None:
    start = np.zeros(shares.shape[1])
    for effect in shares["effect"].values.tolist():
        width = np.nan_to_num(shares.sel(effect=effect).values)
        axes.barh(
            np.arange(width.size), width, 0.7, left=start, color=colors[effect],
            label=effect.replace("_", " "),
        )  # fmt: skip
        start = start + width
    axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))


def _name_of(data: xr.Dataset) -> str:
    return str(data.coords[PHASE].item()) if PHASE in data.coords else ""
