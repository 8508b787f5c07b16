"""Results as tables of a page."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr.composition.uncertainty.budget import budget
from eds_xr.composition.uncertainty.quantities import chosen_quantity
from eds_xr.report.drawn_table import table_note, text_table
from eds_xr.report.page.html import escaped, notes, table
from eds_xr.report.pictures.canvas import line_text
from eds_xr.schema import ELEMENT, PHASE, EdsError

#: One more table of these results.
ALSO = {"atomic_fraction": "weight_fraction"}
#: Confidence of upper limits.
CONFIDENCE = 0.95
#: Budgets are of numbers so many times their total error.
SIGNIFICANT = 3.0


def text_tables(data: xr.Dataset) -> str:
    """Return a result: numbers with errors, limits, marks, and what these mean."""
    first = chosen_quantity(data, None)
    names = [first, *(n for n in [ALSO.get(first)] if n in data)]
    return "".join(_text_table(data, str(n)) for n in names)


def elements_table(found: xr.Dataset) -> str:
    """Return which elements were identified, by which line, how surely, and rivals."""
    if "verdict" not in found or found["verdict"].ndim != 1:
        raise EdsError("expected the identification of one spectrum")
    rows = []
    for name in found[ELEMENT].values.tolist():
        one = found.sel({ELEMENT: name})
        texts = [str(one[n].item()) if n in one else "" for n in ("alias", "stray")]
        sigma = float(one["sigma"]) if "sigma" in one else np.nan
        line = _whole(line_text(one["line"].item()))
        rows.append([name, one["verdict"].item(), line, _number(sigma), *texts])
    return table(["", "verdict", "line", "sd", "could be", "may come from"], rows)


def budget_lines(data: xr.Dataset) -> str:
    """Return a line a number that is measured: what its error is made of, what would lower it."""
    found = budget(data)
    seen = found["value"] > SIGNIFICANT * found["total"]
    made = ""
    for name in found[PHASE].values.tolist():
        one = found["text"].sel({PHASE: name}).values[seen.sel({PHASE: name}).values]
        made += f"<div><h3>{escaped(name)}: total errors</h3>{notes(one.tolist())}</div>"
    return made


def comparison_table(found: xr.Dataset) -> str:
    """Return the difference of two compositions, in standard deviations, where it is one."""
    names = [str(p) for p in found[PHASE].values]
    rows = [
        [e, *(_difference(found.sel({PHASE: p, ELEMENT: e})) for p in names)]
        for e in found[ELEMENT].values.tolist()
    ]
    said = "Difference of the atomic fractions in at%, in brackets over its standard deviation."
    return table(["", *names], rows) + notes([said])


def _text_table(data: xr.Dataset, quantity: str) -> str:
    cells = text_table(data, quantity, CONFIDENCE)
    names = cells[cells.dims[0]].values
    rows = [[_whole(line_text(n)), *row] for n, row in zip(names, cells.values, strict=True)]
    units = str(cells.attrs.get("units", "1")).removeprefix("1")
    below = [table_note(cells, CONFIDENCE)]
    return table([units, *map(str, cells[PHASE].values)], rows) + notes(below)


def _difference(one: xr.Dataset) -> str:
    value, sigma = 100 * float(one["difference"]), float(one["sigma"])
    if not np.isfinite(value):
        return "-"
    mark = "" if bool(one["agree"]) else " †"
    return f"{value:+.2g} ({sigma:+.1f}){mark}"


def _whole(text: str) -> str:
    """Return a short text that stays on one row."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _number(value: Any) -> str:
    return f"{value:.1f}" if np.isfinite(value) else ""
