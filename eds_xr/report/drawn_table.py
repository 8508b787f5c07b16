"""A table drawn as papers set it: three rules, numbers aligned at their decimal points."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import xarray as xr

from eds_xr.composition.uncertainty.marks import ASSUMED_TEXT
from eds_xr.report.pictures.canvas import WIDTH, figure_of, new_figure
from eds_xr.report.tables import to_text
from eds_xr.schema import PHASE, EdsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT_POINTS, LEAST_POINTS = 9.0, 5.0
#: Height of a row, and mean width of a letter, in units of the type's size.
LEADING, LETTER = 1.45, 0.56
#: Blank letters on each side of a column, and how many more where there is room.
GAP, MORE_GAP = 1.5, 2.0
#: Type of the note, of that of the table.
NOTE = 0.85


def plot_table(
    dataset: xr.Dataset,
    quantity: str | None = None,
    *,
    title: str = "",
    confidence: float = 0.95,
    axes: Axes | None = None,
) -> Figure:
    """Draw a result as a table, ``13.4(2)`` with the error in brackets, ``< 0.1`` if undetected.

    Computes: the result, which is small.

    Parameters
    ----------
    dataset : Dataset
        Lines, composition, oxides, formula or partition coefficients, of one or several phases.
    quantity : str, optional
        The first by default. Fractions are shown in per cent.
    title : str
    confidence : float
        One-sided, of the upper limits.
    axes : Axes, optional
        Where to draw, large enough for legible type; default is a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    EdsError
        When the table has too many rows or columns for the axes, or more than two dimensions.
    """
    table = text_table(dataset, quantity, confidence)
    note = table_note(table, confidence)
    if axes is None:
        width = min(WIDTH, 1.0 + 1.1 * table.shape[1])
        lines = table.shape[0] + 3 + NOTE * len(note) * LETTER * FONT_POINTS / (72 * width)
        figure = new_figure(width, lines * LEADING * FONT_POINTS / 72)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0.02, 0.01, 0.96, 0.9))
    draw_text_table(axes, table, title=title, note=note)
    return figure_of(axes)


def text_table(dataset: xr.Dataset, quantity: str | None, confidence: float) -> xr.DataArray:
    """Return a result as texts [element or line, phase]."""
    text = to_text(dataset, quantity, confidence=confidence)
    if text.ndim == 1 and PHASE not in text.dims:
        name = str(text.coords[PHASE].values) if PHASE in text.coords else ""
        text = text.expand_dims({PHASE: [name]})
    rows = [d for d in text.dims if d != PHASE]
    if text.ndim != 2 or len(rows) != 1 or text.size == 0:
        raise EdsError(f"a table has elements and phases, found {dict(text.sizes)}; choose one")
    return text.transpose(rows[0], PHASE)


def draw_text_table(axes: Axes, text: xr.DataArray, *, title: str, note: str) -> Axes:
    """Draw text ``[row, column]`` on `axes`, from its upper left corner, as small as it must be."""
    rows = [_row_name(str(r)) for r in text[text.dims[0]].values]
    columns = [str(c) for c in text[text.dims[1]].values]
    cells = [[_split(str(c)) for c in row] for row in text.values]
    corner = str(text.attrs.get("units", "1")).removeprefix("1")
    left = max(len(re.sub(r"[${}_]", "", name)) for name in [*rows, corner])
    widths = [_column_width(c, [row[i] for row in cells]) for i, c in enumerate(columns)]
    letters = left + sum(sum(w) + 2 * GAP for w in widths)
    size, lines = _type_size(axes, letters, len(rows), note)
    _check_size(size, len(rows), len(columns))
    width, height = _points(axes)
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(-height, 0))
    axes.set_title(title, loc="left", fontsize=size)
    pen, spare = _Pen(axes, size), (width / (LETTER * size) - letters) / (2 * len(columns))
    gap = GAP + min(MORE_GAP, max(0.0, spare))
    end = float(left)
    pen.write(0, 0, corner)
    for column, heading in enumerate(columns):
        before, after = widths[column]
        at = end + gap + before
        pen.write(at + (after - before) / 2, 0, heading, "center")
        for i, row in enumerate(cells, start=1):
            pen.write(at, i, row[column][0], "right")
            pen.write(at, i, row[column][1], "left")
        end = at + after + gap
    for i, name in enumerate(rows, start=1):
        pen.write(0, i, name)
    for place, weight in ((-0.1, 0.9), (1, 0.5), (len(rows) + 1, 0.9)):
        pen.rule(place, end, weight)
    for i, line in enumerate(lines):
        pen.write(0, len(rows) + 1.1 + NOTE * i, line, size=NOTE)
    return axes


def table_note(text: xr.DataArray, confidence: float) -> str:
    """Say what stands in brackets, and what does not."""
    parts = ["In brackets: one standard deviation, in units of the last digit."]
    if any("<" in cell for cell in text.values.ravel()):
        parts.append(
            f"<:\u00a0not detected, upper limit at {100 * confidence:g}\u00a0% confidence."
        )
    if any(cell.startswith(ASSUMED_TEXT) for cell in text.values.ravel()):
        parts.append("Assumed: zero by the choice of the subtraction's scale, not measured.")
    parts += [f"{note[0].upper()}{note[1:]}." for note in text.attrs.get("notes", [])]
    parts += [f"{said[0].upper()}{said[1:]}." for said in text.attrs.get("foot", [])]
    return " ".join(parts)


class _Pen:
    """Write on the lines of a table; places are in letters from the left, lines from the top."""

    def __init__(self, axes: Axes, size: float) -> None:
        self.axes, self.size = axes, size

    def write(
        self, at: float, line: float, text: str, align: str = "left", size: float = 1
    ) -> None:
        place = (at * LETTER * self.size, -(line + 0.5) * LEADING * self.size)
        style: dict[str, Any] = {"ha": align, "va": "center_baseline", "fontsize": size * self.size}
        self.axes.text(*place, text, **style)

    def rule(self, line: float, width: float, weight: float) -> None:
        x, y = [0, width * LETTER * self.size], [-line * LEADING * self.size] * 2
        self.axes.plot(x, y, color="black", linewidth=weight, clip_on=False)


def _type_size(axes: Axes, letters: float, rows: int, note: str) -> tuple[float, list[str]]:
    """Return the size of the type [points] and the note in lines of the axes' width."""
    width, height = _points(axes)
    size = min(FONT_POINTS, width / (LETTER * letters))
    lines: list[str] = []
    for _ in range(2):  # smaller type, fewer lines
        lines = textwrap.wrap(note, max(20, int(width / (LETTER * NOTE * size)))) if note else []
        size = min(size, height / (LEADING * (rows + NOTE * len(lines) + 1.4)))
    return size, lines


def _split(text: str) -> tuple[str, str]:
    """Return what stands before and after the place where a column is aligned.

    Examples
    --------
    >>> _split("13.4(2)"), _split("1230(60)"), _split("< 0.1"), _split("-")
    (('13', '.4(2)'), ('1230', '(60)'), ('< 0', '.1'), ('-', ''))
    """
    at = re.search(r"[.(]", text)
    return (text[: at.start()], text[at.start() :]) if at else (text, "")


def _column_width(heading: str, cells: list[tuple[str, str]]) -> tuple[float, float]:
    """Return the letters before and after the place of alignment."""
    before, after = (max(len(c[i]) for c in cells) for i in (0, 1))
    more = max(0.0, len(heading) - before - after) / 2
    return before + more, after + more


def _row_name(name: str) -> str:
    """Return an oxide with its numbers set low, a line with Greek letters."""
    if "_" in name:
        return name.replace("_", " ").replace("a", "α").replace("b", "β")
    return re.sub(r"(?<=[A-Za-z])(\d+)", r"$_{\1}$", name)


def _points(axes: Axes) -> tuple[float, float]:
    """Return width and height of the axes [points]; before the first draw, as they were placed."""
    box = axes.get_position()
    width, height = axes.figure.get_size_inches()  # type: ignore[union-attr]
    return 72 * width * box.width, 72 * height * box.height


def _check_size(size: float, rows: int, columns: int) -> None:
    if size < LEAST_POINTS:
        raise EdsError(
            f"a table of {rows} rows and {columns} columns would need type of {size:.1f} points "
            f"here, less than {LEAST_POINTS:g}; choose elements or phases, or give larger axes"
        )
