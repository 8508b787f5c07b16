"""Tables of factors as comma-separated text: columns by name, every line checked."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path

from eds_xr.schema import EdsError
from eds_xr.xray.lines import split_line

_GREEK = {"α": "a", "β": "b", "γ": "g", "ζ": "z", "η": "n", "ι": "i"}
#: What spreadsheets put around a comment or an empty row.
_AROUND = ' \t,;"'
#: A column of relative errors: "error: thickness of the olivine".
ERROR_COLUMN = "error: "
#: Errors of a line and its standard deviation differ by more only where someone changed one.
_SAME, _NOTHING = 1e-3, 1e-12


@dataclass(frozen=True)
class Row:
    """A line's factor, and the row of the file that gave it."""

    name: str
    value: float
    deviation: float
    row: int
    #: By name: what one standard deviation of each error does [relative].
    errors: dict[str, float] = field(default_factory=dict)


def read_rows(path: Path, value: str) -> tuple[list[Row], dict[str, str]]:
    """Return the rows of a table, and what its comments ``# key: value`` say.

    Parameters
    ----------
    path : Path
    value : str
        Name of the column of factors; the others are element, line, standard_deviation, and
        what begins with ``error: ``.
    """
    comments: dict[str, str] = {}
    lines: list[tuple[int, str]] = []
    for number, text in enumerate(_text(path).splitlines(), start=1):
        bare = text.strip(_AROUND)
        if bare.startswith("#"):
            key, colon, said = bare.lstrip("#").partition(":")
            if colon:
                comments[key.strip().lower()] = said.strip()
        elif bare:
            lines.append((number, text))
    if not lines:
        raise EdsError(f"{path.name} holds no table; expected a header, {_header(value)}")
    columns = _columns(path, lines[0], value)
    rows = [_row(path, number, text, columns, value) for number, text in lines[1:]]
    if not rows:
        raise EdsError(f"{path.name} holds a header but no line; give a row for each X-ray line")
    _check_unique(path, rows)
    return rows, comments


def number_in_comment(path: Path, comments: dict[str, str], key: str) -> float | None:
    """Return the number of a comment such as ``# beam_energy_kev: 200``, if there is one."""
    if key not in comments:
        return None
    try:
        found = float(comments[key])
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise EdsError(
            f"{path.name}: '# {key}: {comments[key]}' is no positive number; write the number "
            f"alone, with a decimal point: '# {key}: 200'"
        )
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError:
        raise EdsError(f"{path.name} is not UTF-8 text; save it as 'CSV UTF-8'") from None
    except OSError as error:
        raise EdsError(f"cannot read {path}: {error.strerror}") from None


def _header(value: str) -> str:
    return f"'element,line,{value},standard_deviation' (in any order)"


def _columns(path: Path, header: tuple[int, str], value: str) -> list[str]:
    number, text = header
    where = f"{path.name}, row {number}"
    if "," not in text and (";" in text or "\t" in text):
        raise EdsError(
            f"{where}: the columns are separated by semicolons or tabs; save the table separated "
            "by commas, with decimal points"
        )
    names = [_column(name.strip()) for name in next(csv.reader([text]))]
    missing = [n for n in ("element", "line", value, "standard_deviation") if n not in names]
    if missing:
        raise EdsError(
            f"{where}: no column {', '.join(missing)}; the header must name the columns, "
            f"{_header(value)}, found '{text.strip()}'. Columns are never taken by position"
        )
    twice = sorted({n for n in names if n and names.count(n) > 1})
    if twice:
        raise EdsError(f"{where}: column {', '.join(twice)} appears twice; leave one")
    return names


def _column(name: str) -> str:
    """Return a column's name; those of errors keep their capitals."""
    is_error = name.lower().startswith(ERROR_COLUMN)
    return ERROR_COLUMN + name[len(ERROR_COLUMN) :].strip() if is_error else name.lower()


def _row(path: Path, number: int, text: str, columns: list[str], value: str) -> Row:
    where = f"{path.name}, row {number}"
    try:
        cells = [cell.strip() for cell in next(csv.reader([text], strict=True))]
    except csv.Error as error:
        raise EdsError(f"{where}: {error}; check its quotation marks") from None
    if len(cells) != len(columns):
        raise EdsError(
            f"{where}: {len(cells)} cells, the header has {len(columns)}: '{text.strip()}'; "
            "write decimal points, not commas, and separate cells by commas"
        )
    cell = dict(zip(columns, cells, strict=True))
    name = _line_name(where, cell["element"], cell["line"])
    factor = _number(where, value, cell[value])
    deviation = _number(where, "standard_deviation", cell["standard_deviation"])
    if factor <= 0:
        raise EdsError(f"{where}: {value} of {name} must be positive, found {cell[value]}")
    if deviation < 0:
        raise EdsError(
            f"{where}: the standard deviation of {name} must not be negative, found "
            f"{cell['standard_deviation']}"
        )
    errors = {
        column.removeprefix(ERROR_COLUMN): _number(where, column, cell[column])
        for column in columns
        if column.startswith(ERROR_COLUMN)
    }
    made = factor * math.hypot(*errors.values())
    if errors and abs(made - deviation) > _SAME * max(made, deviation) + _NOTHING * factor:
        raise EdsError(
            f"{where}: the errors of {name} make a standard deviation of {made:.4g}, the column "
            f"standard_deviation says {deviation:.4g}; correct one, or remove the error columns"
        )
    return Row(name, factor, deviation, number, errors)


def _line_name(where: str, element: str, line: str) -> str:
    """Return ``"Fe_Ka"`` of ``Fe`` and ``Ka``, ``Fe_Ka`` or ``Kα``."""
    plain = "".join(_GREEK.get(c, c) for c in line).replace(" ", "_")
    before, _, after = plain.rpartition("_")
    if before not in ("", element):
        raise EdsError(f"{where}: the line {line!r} is not one of element {element!r}")
    try:
        return "_".join(split_line(f"{element}_{after}"))
    except EdsError as error:
        raise EdsError(f"{where}: {error}") from None


def _number(where: str, column: str, text: str) -> float:
    try:
        found = float(text.replace("_", "?"))  # 1_0 is 10 to Python, to nobody else
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        if "," in text:
            cure = "write a decimal point, not a comma"
        elif not text and column == "standard_deviation":
            cure = "give it, in the units of the factor (0 for the reference line)"
        else:
            cure = "expected a number"
        raise EdsError(f"{where}: {column} is {text!r}; {cure}")
    return found


def _check_unique(path: Path, rows: list[Row]) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        if row.name in seen:
            raise EdsError(
                f"{path.name}, row {row.row}: {row.name} is already in row {seen[row.name]}; "
                "leave one"
            )
        seen[row.name] = row.row
