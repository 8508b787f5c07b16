"""Figures made of results. Draws only; nothing is computed but what is to be seen.

Every function takes labelled arrays, returns a :class:`matplotlib.figure.Figure` or draws on given
axes, and needs no display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.composition.marks import ASSUMED_TEXT
from eds_xr.report.drawn_table import draw_text_table
from eds_xr.report.tables import to_text
from eds_xr.schema import COLORS, COMPONENT, ENERGY, PHASE, EdsError
from eds_xr.xray.lines import line_energy_kev

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
#: Two columns of a journal page, and type that stays legible at half of that.
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.linewidth": 0.7,
    "lines.linewidth": 0.9,
}


def draw_image(axes: Axes, image: xr.DataArray, *, title: str = "", cmap: str = "viridis") -> Axes:
    """Draw an image with scale bar and colour bar on `axes`; 0.5 % at each end saturate."""
    low, high = np.percentile(image.values, (0.5, 99.5))
    shown = axes.imshow(image.values, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    _frame(axes, image, title)
    bar = axes.figure.colorbar(shown, ax=axes, orientation="horizontal", fraction=0.05, pad=0.04)
    bar.set_label(str(image.attrs.get("units", "counts")), labelpad=1)
    bar.outline.set_linewidth(0.5)
    return axes


def draw_mask(axes: Axes, mask: xr.DataArray, *, title: str = "", color: str = COLORS[0]) -> Axes:
    """Draw a mask, its share of the image in the title, with a scale bar."""
    from matplotlib.colors import ListedColormap

    axes.imshow(
        mask.values,
        cmap=ListedColormap(["#eeeeee", color]),
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    share = f"{100 * float(mask.mean()):.1f} %"
    _frame(axes, mask, f"{title}, {share}" if title else share)
    return axes


def draw_spectra(
    axes: Axes,
    spectra: xr.DataArray,
    *,
    title: str = "",
    colors: Mapping[str, str] | None = None,
    lines: Sequence[str] = (),
    range_kev: tuple[float, float] | None = None,
) -> Axes:
    """Draw spectra ``[phase or component, energy]`` with markers at X-ray lines."""
    part = spectra.sel({ENERGY: slice(*range_kev)}) if range_kev else spectra
    (over,) = [d for d in part.dims if d != ENERGY]
    for i, name in enumerate(part[over].values):
        color = (colors or {}).get(str(name), COLORS[i % len(COLORS)])
        axes.step(part[ENERGY], part.sel({over: name}), where="mid", color=color, label=str(name))
    axes.axhline(0, color="0.7", linewidth=0.5)
    mark_lines(axes, part, lines)
    axes.set_xlim(float(part[ENERGY][0]), float(part[ENERGY][-1]))
    leave_room(axes)
    units = part.attrs.get("units", "counts")
    axes.set(
        title=title, xlabel="energy (keV)", ylabel="share of counts" if units == "1" else units
    )
    if part.sizes[over] > 1:
        axes.legend(frameon=False)
    return axes


def draw_table(
    axes: Axes,
    dataset: xr.Dataset,
    *,
    quantity: str | None = None,
    title: str = "",
    confidence: float = 0.95,
) -> Axes:
    """Draw a result as a table, ``13.4(2)`` with the error in brackets, ``< 0.1`` if undetected.

    Parameters
    ----------
    axes : Axes
        Large enough for legible type.
    dataset : Dataset
        Lines, composition, oxides, formula or partition coefficients, of one or several phases.
    quantity : str, optional
        The first by default. Fractions are shown in per cent.
    title : str
    confidence : float
        One-sided, of the upper limits.

    Raises
    ------
    EdsError
        When the table has too many rows or columns for the axes, or more than two dimensions.
    """
    text = to_text(dataset, quantity, confidence=confidence)
    if text.ndim == 1 and PHASE not in text.dims:
        name = str(text.coords[PHASE].values) if PHASE in text.coords else ""
        text = text.expand_dims({PHASE: [name]})
    rows = [d for d in text.dims if d != PHASE]
    if text.ndim != 2 or len(rows) != 1 or text.size == 0:
        raise EdsError(f"a table has elements and phases, found {dict(text.sizes)}; choose one")
    table = text.transpose(rows[0], PHASE)
    return draw_text_table(axes, table, title=title, note=_table_note(dataset, table, confidence))


def draw_rank(axes: Axes, evidence: xr.Dataset, *, title: str = "") -> Axes:
    """Draw the evidence of ``suggest_rank``: eigenvalues, and what each rank foretells."""
    rank = evidence[COMPONENT].values
    suggested = int(evidence.attrs["suggested"])
    axes.semilogy(rank, evidence.eigenvalue, "o-", color=COLORS[0], label="eigenvalue")
    axes.axhline(1, color="0.5", linewidth=0.7, linestyle="--")
    axes.text(rank[0], 1, "edge of noise", ha="left", va="bottom", fontsize=7.5, color="0.35")
    later = evidence.isel({COMPONENT: slice(1, None)})
    other = axes.twinx()
    other.errorbar(
        later[COMPONENT], later.gain, later.gain_error, fmt="s", color=COLORS[1], markersize=4,
        label="held-out gain",
    )  # fmt: skip
    other.set_yscale("symlog", linthresh=10)
    other.set_ylabel("gain over one component less (nats)")
    other.set_ylim(-20, None)
    axes.axvspan(suggested - 0.4, suggested + 0.4, color="0.9", zorder=0)
    axes.set(title=title, xlabel="number of components", ylabel="eigenvalue / edge of noise")
    axes.set_xticks(rank)
    handles = [h for a in (axes, other) for h in a.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, frameon=False, loc="upper right")
    return axes


def _table_note(dataset: xr.Dataset, text: xr.DataArray, confidence: float) -> str:
    """Say what stands in brackets, and what does not."""
    parts = ["In brackets: one standard deviation, in units of the last digit."]
    if any("<" in cell for cell in text.values.ravel()):
        parts.append(
            f"<:\u00a0not detected, upper limit at {100 * confidence:g}\u00a0% confidence."
        )
    if any(cell.startswith(ASSUMED_TEXT) for cell in text.values.ravel()):
        parts.append("Assumed: zero by the choice of the subtraction's scale, not measured.")
    parts += [f"{note[0].upper()}{note[1:]}." for note in text.attrs.get("notes", [])]
    if "systematic" in dataset and bool((dataset.systematic > 0).any()):
        known = 100 * dataset.systematic.where(dataset.systematic > 0)
        low, high = (round(float(v)) for v in (known.min(), known.max()))
        span = f"{low} %" if low == high else f"{low} to {high} %"
        parts.append(f"Not included: systematic uncertainty of the k-factors, {span}.")
    elif any(str(name).endswith("_systematic_variance") for name in dataset):
        parts.append("Not included: what the k-factors leave uncertain.")
    return " ".join(parts)


def mark_lines(axes: Axes, spectra: xr.DataArray, lines: Sequence[str]) -> None:
    """Name lines at their energies, on two heights where they crowd."""
    low, high = float(spectra[ENERGY][0]), float(spectra[ENERGY][-1])
    inside = sorted((line_energy_kev(n), n) for n in lines if low < line_energy_kev(n) < high)
    last, height = -np.inf, 0
    for energy, name in inside:
        height = (height + 1) % 2 if energy - last < 0.05 * (high - low) else 0
        label = name.split("_")[0] + " " + name.split("_")[1].replace("a", "α").replace("b", "β")
        axes.axvline(energy, color="0.8", linewidth=0.6, zorder=0)
        axes.text(
            energy, 0.98 - 0.1 * height, label, transform=axes.get_xaxis_transform(),
            ha="center", va="top", fontsize=7.5, color="0.25",
        )  # fmt: skip
        last = energy


def leave_room(axes: Axes, share: float = 0.2) -> None:
    """Leave room for the names of lines above the highest peak."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + share * (high - low))


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of `width` x `height` inches that no pyplot window knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def _frame(axes: Axes, image: xr.DataArray, title: str) -> None:
    axes.set(title=title, xticks=[], yticks=[])
    _scale_bar(axes, image)


def _scale_bar(axes: Axes, image: xr.DataArray) -> None:
    """Draw a bar of a round length, about a quarter of the image."""
    x = image.coords.get("x")
    if x is None or x.size < 2:
        return
    step = abs(float(x[-1] - x[0])) / (x.size - 1)
    aim = step * x.size / 4
    power = 10 ** np.floor(np.log10(aim))
    length = max(m * power for m in (1, 2, 5) if m * power <= aim)
    pixels = length / step
    rows, columns = image.shape[-2:]
    left, top = 0.05 * columns, 0.93 * rows
    text = f"{length:g} {x.attrs.get('units', 'pixels')}"
    outline: dict[str, Any] = {"facecolor": "white", "edgecolor": "black", "linewidth": 0.5}
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, top), pixels, 0.018 * rows, **outline))
    axes.text(
        left + pixels / 2, top - 0.02 * rows, text, ha="center", va="bottom", fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.75},
    )  # fmt: skip
