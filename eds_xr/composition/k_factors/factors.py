"""Sensitivity factors: k-factors, zeta-factors, partial cross-sections; read, written, converted.

A table is a Dataset over ``line`` with the factor, its ``standard_deviation`` (systematic: the
same error in every spectrum) and, in the attributes, the beam energy it holds for. As text::

    # units: weight
    # beam_energy_kev: 200
    element,line,k,standard_deviation
    Si,Ka,1.0,0
    Fe,Ka,1.31,0.04

The three kinds say the same where they are consistent (M: atomic mass, N: Avogadro's number)::

    k_i / k_j = zeta_i / zeta_j            zeta_i = M_i / (N sigma_i)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from eds_xr.arguments import number
from eds_xr.atomic_write import written_file
from eds_xr.composition.k_factors.conditions import conditions_of_comments
from eds_xr.composition.k_factors.csv_files import ERROR_COLUMN, number_in_comment, read_rows
from eds_xr.composition.k_factors.modes import modes_of, with_modes
from eds_xr.composition.k_factors.table import (
    RELATIVE_ERROR,
    UNITS,
    check_table,
    checked_lines,
    kind_of,
    make_table,
    zeta_or_cross_sections,
)
from eds_xr.csv_text import plain_text
from eds_xr.schema import LINE, EdsError, check_one_of
from eds_xr.xray.elements import masses


def k_factors(
    values: Mapping[str, float],
    standard_deviation: Mapping[str, float] | None = None,
    *,
    units: str = "weight",
    beam_energy_kev: float | None = None,
) -> xr.Dataset:
    """Make a table of k-factors out of numbers by line.

    Computes: a table.

    Parameters
    ----------
    values : mapping
        ``{"Si_Ka": 1.0, "Fe_Ka": 1.31}``.
    standard_deviation : mapping, optional
        Of the lines that have one; 0 for the others.
    units : {"weight", "atomic"}
        Whether ``k_i net_i`` gives masses or atoms.
    beam_energy_kev : float, optional

    Returns
    -------
    Dataset over ``line``
        ``k`` and ``standard_deviation``.

    Raises
    ------
    EdsError
        For a line that does not exist, a factor that is not positive, a negative deviation.
    """
    for table in (values, standard_deviation or {}):
        if not isinstance(table, Mapping):
            raise EdsError(f"expected numbers by line, {{'Si_Ka': 1.0}}, found {table!r}")
    names = checked_lines(list(values))
    spread = dict(standard_deviation or {})
    unknown = set(spread) - set(names)
    if unknown:
        raise EdsError(f"a standard deviation but no k-factor for {', '.join(sorted(unknown))}")
    k = np.array([number(values[n], f"the k-factor of {n}") for n in names])
    sd = np.array([number(spread.get(n, 0.0), f"the standard deviation of {n}") for n in names])
    if not (np.isfinite(k) & (k > 0) & np.isfinite(sd) & (sd >= 0)).all():
        raise EdsError(
            "k-factors must be positive and their standard deviations not negative, found "
            f"{dict(values)} and {spread}"
        )
    return make_table("k", names, k, sd, units=units, attrs={"beam_energy_kev": beam_energy_kev})


def read_k_factors(
    path: str | Path, *, units: str | None = None, beam_energy_kev: float | None = None
) -> xr.Dataset:
    """Read a table of k-factors from a CSV file.

    Computes: reads the file.

    Columns go by the names in the header, in any order: ``element``, ``line`` (``Ka``, ``Fe_Ka``
    or ``Kα``), ``k``, ``standard_deviation``; more are ignored. Separated by commas, with decimal
    points. Lines that begin with ``#`` are comments; ``# units: weight`` (or ``atomic``),
    ``# beam_energy_kev: 200`` and ``# reference: Si_Ka`` are understood.

    Parameters
    ----------
    path : str or Path
    units : {"weight", "atomic"}, optional
        For a file that does not say it.
    beam_energy_kev : float, optional
        For a file that does not say it.

    Returns
    -------
    Dataset over ``line``
        ``k`` and ``standard_deviation``, as :func:`k_factors` makes it.

    Raises
    ------
    EdsError
        Naming file, row and cure: a column missing or twice, cells that are no numbers, a
        k-factor that is not positive, an element or line that does not exist, a line given
        twice; units that nobody states, or that differ from what the file says.
    """
    return _read(path, "k", units, beam_energy_kev)


def read_zeta_factors(path: str | Path, *, beam_energy_kev: float | None = None) -> xr.Dataset:
    """Read a table of zeta-factors [kg electron / (m^2 photon)] from a CSV file.

    Computes: reads the file.

    As :func:`read_k_factors`, with the column ``zeta`` and ``# units: kg/m2``.
    """
    return _read(path, "zeta", None, beam_energy_kev)


def read_cross_sections(path: str | Path, *, beam_energy_kev: float | None = None) -> xr.Dataset:
    """Read a table of partial cross-sections [barn] from a CSV file.

    Computes: reads the file.

    As :func:`read_k_factors`, with the column ``cross_section`` and ``# units: barn``.
    """
    return _read(path, "cross_section", None, beam_energy_kev)


def write_k_factors(table: xr.Dataset, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a table of factors of any kind as CSV; reading it gives the same table.

    Computes: writes the file. A text that a spreadsheet would take for a formula gets an apostrophe
    in front, as in :func:`eds_xr.write_csv`.

    Parameters
    ----------
    table : Dataset over ``line``
        From this module.
    path : str or Path
    overwrite : bool

    Raises
    ------
    EdsError
        When the file exists, or `table` holds no factors.
    """
    kind = kind_of(table)
    path = Path(path)
    if path.exists() and not overwrite:
        raise EdsError(f"{path} exists; give overwrite=True, or another name")
    said = {"units": table[kind].attrs.get("units", UNITS[kind][0]), **table.attrs}
    comments = [
        plain_text(f"# {key}: {' '.join(str(value).split())}") for key, value in said.items()
    ]
    names = [name.replace("_", ",", 1) for name in table[LINE].values.tolist()]
    columns = {kind: table[kind].values, "standard_deviation": table.standard_deviation.values}
    if RELATIVE_ERROR in table:
        errors, modes = modes_of(table, kind)
        columns |= {f"{ERROR_COLUMN}{e}": m for e, m in zip(errors, modes, strict=True)}
    rows = [
        ",".join([plain_text(name), *(repr(v) for v in values)])
        for name, *values in zip(names, *(c.tolist() for c in columns.values()), strict=True)
    ]
    header = ",".join(["element", "line", *(_quoted(column) for column in columns)])
    with written_file(path, overwrite=overwrite) as partial:
        partial.write_text("\n".join([*comments, header, *rows, ""]), encoding="utf-8")
    return path


def _quoted(column: str) -> str:
    """Return the name of a column as a cell."""
    text = plain_text(" ".join(column.split()))
    return text if text.isidentifier() else '"' + text.replace('"', '""') + '"'


# -- one kind from another -----------------------------------------------------------------------


def k_factors_from_zeta(zeta: xr.Dataset, reference: str) -> xr.Dataset:
    """Return weight k-factors ``zeta_i / zeta_reference``.

    Computes: a table.

    Without ``relative_error`` the error of the reference stays its own: every line keeps its
    relative standard deviation. With it, what all have in common (thickness, dose) cancels.
    """
    check_table(zeta, "zeta")
    _check_line(zeta, reference)
    scale = float(zeta.zeta.sel({LINE: reference}))
    return _converted(zeta, "k", zeta.zeta.values / scale, reference=reference)


def zeta_from_k_factors(k: xr.Dataset, reference: str, *, zeta_kg_m2: float) -> xr.Dataset:
    """Return the zeta-factors that k-factors imply, given the reference line's.

    Computes: a table.
    """
    check_table(k, "k")
    _check_line(k, reference)
    if not 0 < number(zeta_kg_m2, "zeta_kg_m2") < np.inf:
        raise EdsError(f"zeta_kg_m2 must be positive, found {zeta_kg_m2!r}")
    weight = k.k.values * (masses(_names(k)) if k.k.attrs.get("units") == "atomic" else 1.0)
    scale = zeta_kg_m2 / weight[_names(k).index(reference)]
    return _converted(k, "zeta", weight * scale)


def zeta_from_cross_sections(cross_sections: xr.Dataset) -> xr.Dataset:
    """Return zeta-factors ``M / (N sigma)`` of partial cross-sections.

    Computes: a table. MacArthur et al., Microsc. Microanal. 22 (2016) 71.
    """
    check_table(cross_sections, "cross_section")
    values = zeta_or_cross_sections(_names(cross_sections), cross_sections.cross_section.values)
    return _converted(cross_sections, "zeta", values)


def cross_sections_from_zeta(zeta: xr.Dataset) -> xr.Dataset:
    """Return partial cross-sections ``M / (N zeta)`` [barn] of zeta-factors.

    Computes: a table.
    """
    check_table(zeta, "zeta")
    values = zeta_or_cross_sections(_names(zeta), zeta.zeta.values)
    return _converted(zeta, "cross_section", values)


def _names(table: xr.Dataset) -> list[str]:
    return [str(n) for n in table[LINE].values]


def _check_line(table: xr.Dataset, name: str) -> None:
    if name not in _names(table):
        raise EdsError(f"{name} is not in the table: {', '.join(_names(table))}")


def _converted(
    table: xr.Dataset, kind: str, values: np.ndarray, reference: str | None = None
) -> xr.Dataset:
    """Return a table of another kind with the same relative errors, of opposite sign for 1 / it."""
    before = next(k for k in UNITS if k in table)
    relative = table.standard_deviation.values / table[before].values
    names = _names(table)
    attrs = {k: v for k, v in table.attrs.items() if k != "reference"} | {"reference": reference}
    units = UNITS[kind][0]
    made = make_table(kind, names, values, values * relative, units=units, attrs=attrs)
    if RELATIVE_ERROR not in table:
        return made
    errors, modes = modes_of(table, before)
    # of ratios, what the reference has in common with a line cancels
    shared = 0.0 if reference is None else modes[:, [names.index(reference)]]
    # a cross-section goes with the inverse of a zeta-factor
    sign = -1.0 if (kind == "cross_section") != (before == "cross_section") else 1.0
    return with_modes(made, kind, errors, sign * (modes - shared))


# -- files ---------------------------------------------------------------------------------------


def _read(
    path: str | Path, kind: str, units: str | None, beam_energy_kev: float | None
) -> xr.Dataset:
    path = Path(path)
    rows, comments = read_rows(path, kind)
    names = [row.name for row in rows]
    reference = comments.get("reference")
    if reference is not None and reference not in names:
        raise EdsError(f"{path.name}: the reference {reference!r} is not among its lines")
    attrs = {
        "beam_energy_kev": _beam(path, comments, beam_energy_kev),
        "reference": reference,
        **conditions_of_comments(path.name, comments),
        "source": comments.get("source", path.name),
    }
    values, deviations = np.array([(row.value, row.deviation) for row in rows]).T
    stated = _stated_units(path, comments, units, kind)
    made = make_table(kind, names, values, deviations, units=stated, attrs=attrs)
    errors = list(rows[0].errors)
    if not errors:
        return made
    modes = np.array([[row.errors[e] for row in rows] for e in errors])
    # as the file says, to the last digit
    return with_modes(made, kind, errors, modes).assign(standard_deviation=made.standard_deviation)


def _beam(path: Path, comments: dict[str, str], given: float | None) -> float | None:
    said = number_in_comment(path, comments, "beam_energy_kev")
    if said is not None and given is not None and said != given:
        raise EdsError(
            f"{path.name} is for a beam of {said:g} keV, beam_energy_kev says {given:g}; leave "
            "beam_energy_kev out, or correct the file"
        )
    return given if said is None else said


def _stated_units(path: Path, comments: dict[str, str], given: str | None, kind: str) -> str:
    said = comments.get("units")
    if given is not None:
        check_one_of(given, UNITS[kind], "units")
    if said is None and given is None:
        choice = " or ".join(f"'# units: {u}'" for u in UNITS[kind])
        more = ", or give units" if len(UNITS[kind]) > 1 else ""
        raise EdsError(f"{path.name} does not state its units; add a line {choice}{more}")
    if said is not None and said not in UNITS[kind]:
        raise EdsError(
            f"{path.name}: units must be {' or '.join(UNITS[kind])}, found {said!r}; convert the "
            "factors"
        )
    if said is not None and given is not None and said != given:
        raise EdsError(f"{path.name} says units {said!r}, you say {given!r}; one is wrong")
    return str(said or given)
