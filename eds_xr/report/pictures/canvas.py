"""What all pictures share: figures without a window, sizes at which they are legible, names."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from eds_xr.schema import COLORS, phase_colors, phase_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Both columns of a journal page, and one [inches].
WIDTH, COLUMN = 6.9, 3.35
#: Type [points]; at half size the smaller still has the 3.5 points that can be read.
LARGE, SMALL = 8.0, 7.0
#: Width of a letter, of its height, in running text: few texts are wider.
LETTER = 0.53
#: Where nothing is; and ink beside black.
NOTHING, GREY, DARK = "#e4e4e4", "0.6", "0.25"
#: Names longer than this are cut.
MOST_LETTERS = 40

#: Colours by phase; a label image, whose flags have them; or none, for those of the order.
Colors = Mapping[str, str] | xr.DataArray | None


def new_figure(width: float = WIDTH, height: float = 3.0) -> Figure:
    """Return a figure [inches] that notebooks show, and no pyplot window knows of."""
    from eds_xr.report.pictures.artists import Picture

    return Picture(figsize=(width, height), layout="constrained", dpi=150)


def new_axes(axes: Axes | None, width: float = COLUMN, height: float = 2.8) -> Axes:
    """Return the axes given, or those of a new figure [inches]."""
    return new_figure(width, height).add_subplot() if axes is None else axes


def figure_of(axes: Axes) -> Figure:
    """Return the whole figure that axes stand in."""
    return axes.figure.get_figure(root=True)


def dress(axes: Axes) -> None:
    """Set type and lines of axes to sizes of print, whatever the user's settings are."""
    axes.tick_params(which="both", labelsize=SMALL, width=0.6)
    axes.tick_params(which="major", length=2.5)
    axes.tick_params(which="minor", length=1.5)
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(LARGE)
        axis.get_offset_text().set_fontsize(SMALL)
    for place in ("left", "center", "right"):
        title = axes.set_title(axes.get_title(place), loc=place, fontsize=LARGE)
        title.set_fontweight("normal")


def open_frame(axes: Axes) -> None:
    """Leave out the upper and the right edge."""
    axes.spines[["top", "right"]].set_visible(False)


def colors_of(names: Sequence[Any], colors: Colors = None) -> dict[str, str]:
    """Return a colour for each name; those that `colors` does not know get others.

    A region of several phases, such as ``Brg+Fp``, that has no colour gets that of its last phase.
    """
    known: dict[str, str] = {}
    if isinstance(colors, xr.DataArray):
        known = dict(zip(phase_names(colors), phase_colors(colors), strict=True))
    elif colors is not None:
        known = dict(colors)
    texts = [str(n) for n in names]
    found = {n: known[k] for n in texts for k in (n, n.rsplit("+", 1)[-1])[::-1] if k in known}
    free = [c for c in COLORS if c not in found.values()] or list(COLORS)
    rest = [n for n in texts if n not in found]
    return found | {n: free[i % len(free)] for i, n in enumerate(rest)}


def plain(name: Any) -> str:
    r"""Return a name to be shown as it is: no mathematics, one line, not too long.

    Examples
    --------
    >>> print(plain("Fe$_2$"))
    Fe\$_2\$
    """
    text = " ".join(str(name).split())
    text = text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
    return text.replace("$", r"\$")


def plain_note(text: Any) -> str:
    """Return a note as it is shown: no mathematics."""
    return " ".join(str(text).split()).replace("$", r"\$")


def rows_of_text(text: str, width: float) -> list[str]:
    """Return small type in rows that a figure of this width [inches] holds.

    Examples
    --------
    >>> rows_of_text("zero by the choice of the scale", 1.1)
    ['zero by the choice of', 'the scale']
    """
    return textwrap.wrap(text, max(12, int(72 * width / (LETTER * SMALL))))


_GREEK = {"a": "α", "b": "β", "g": "γ", "z": "ζ", "l": "ℓ", "n": "η"}


def line_text(name: Any) -> str:
    """Return a line as it is printed; any other name as it is.

    Examples
    --------
    >>> line_text("Mg_Ka"), line_text("Nd_Lb1"), line_text("U_M2N4"), line_text("matrix")
    ('Mg Kα', 'Nd Lβ1', 'U M2N4', 'matrix')
    """
    parts = re.fullmatch(r"([A-Z][a-z]?)_([KLM])([abgzln]?)(\w*)", str(name))
    if parts is None:
        return plain(name)
    element, shell, series, rest = parts.groups()
    return f"{element} {shell}{_GREEK.get(series, '')}{rest}"


def units_text(units: Any) -> str:
    """Return units in brackets to follow a name; nothing where there are none."""
    return f" ({plain(units)})" if str(units) not in ("", "1", "None") else ""


def legend(axes: Axes, handles: Sequence[Any] | None = None, **where: Any) -> None:
    """Add a legend of small type."""
    options: dict[str, Any] = {
        "fontsize": SMALL, "frameon": True, "framealpha": 0.85, "edgecolor": "none",
        "borderpad": 0.3, "handlelength": 1.4, "handletextpad": 0.5, "labelspacing": 0.35,
    }  # fmt: skip
    if handles is not None:
        options["handles"] = handles
    axes.legend(**(options | where))


def legend_above(axes: Axes, columns: int = 6) -> None:
    """Add a legend above axes, on the right, where it hides nothing."""
    number = len(axes.get_legend_handles_labels()[0])
    legend(
        axes, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=min(number, columns),
        frameon=False, borderaxespad=0.1, columnspacing=1.2,
    )  # fmt: skip
