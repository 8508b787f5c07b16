"""Tables of k-factors, zeta-factors and partial cross-sections: made, and looked up by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from eds_xr.arguments import number
from eds_xr.composition.uncertainty.effects import ERROR
from eds_xr.composition.uncertainty.errors import Factors
from eds_xr.schema import LINE, EdsError
from eds_xr.xray.elements import masses
from eds_xr.xray.lines import split_line

#: What the caller may give: by line, numbers alone or with their standard deviations.
Table: TypeAlias = Mapping[str, float] | xr.DataArray | xr.Dataset

AVOGADRO = 6.02214076e23
BARN_M2 = 1e-28
#: Units of each kind of factor; a k-factor is relative, but by weight or by atoms.
UNITS = {"k": ("weight", "atomic"), "zeta": ("kg/m2",), "cross_section": ("barn",)}
LONG_NAMES = {
    "k": "k-factor",
    "zeta": "zeta-factor, per electron and photon",
    "cross_section": "partial ionisation cross-section of X-rays counted",
}
#: What each kind is called.
WORD = {"k": "k-factor", "zeta": "zeta-factor", "cross_section": "cross-section"}
#: What tells independent errors of a table apart, over `ERROR` and line.
RELATIVE_ERROR = "relative_error"
#: Beam energies that differ by less are the same [relative].
SAME_BEAM = 0.01


def make_table(
    kind: str,
    lines: Sequence[str],
    values: np.ndarray,
    deviations: np.ndarray,
    *,
    units: str,
    attrs: Mapping[str, Any],
    relative_error: xr.DataArray | None = None,
) -> xr.Dataset:
    """Return a table of factors over ``line``: the kind's variable and ``standard_deviation``.

    `relative_error` [error, line] tells independent errors apart that several lines may share,
    with names: what one standard deviation of each does, relative. Without, each line has its own.
    """
    _check_units(units, kind)
    described = {"long_name": LONG_NAMES[kind], "units": units}
    names = [str(n) for n in lines]
    told = {} if relative_error is None else {RELATIVE_ERROR: _described(relative_error, kind)}
    return xr.Dataset(
        {
            kind: (LINE, np.asarray(values, float), described),
            "standard_deviation": (
                LINE,
                np.asarray(deviations, float),
                {"long_name": f"standard deviation of the {LONG_NAMES[kind]}", "units": units},
            ),
            **told,
        },
        {LINE: names, "element": (LINE, [n.split("_")[0] for n in names])},
        {k: v for k, v in attrs.items() if v is not None},
    )


def looked_up(
    table: Table, lines: Sequence[str], kind: str, beam_energy_kev: float | None
) -> Factors:
    """Return the factor of each line (k by weight) and its independent errors, with their names."""
    values, deviations, units = _columns(table, kind)
    _check_beam(getattr(table, "attrs", {}).get("beam_energy_kev"), beam_energy_kev, kind)
    missing = [n for n in lines if n not in values]
    if missing:
        raise EdsError(
            f"no {WORD[kind]} for {', '.join(missing)}; the table has {', '.join(values)}. "
            f"{WORD[kind]}s are matched by line, never by position"
        )
    factors = np.array([values[n] for n in lines], float)
    spread = np.array([deviations[n] for n in lines], float)
    if not (np.isfinite(factors) & (factors > 0)).all():
        shown = dict(zip(lines, factors.tolist(), strict=True))
        raise EdsError(f"{WORD[kind]}s must be positive, found {shown}")
    if not (np.isfinite(spread) & (spread >= 0)).all():
        shown = dict(zip(lines, spread.tolist(), strict=True))
        raise EdsError(f"standard deviations must be finite and not negative, found {shown}")
    relative, names = _errors(table, lines, kind, spread / factors)
    values_by_weight = factors * masses(lines) if units == "atomic" else factors
    return Factors(values_by_weight, relative, names)


def own_error_name(table: Table, line: str) -> str:
    """Return the name of the error that a line's factor has alone; it tells its source apart.

    A factor and the one of another kind that it is converted to have the same error.

    Examples
    --------
    >>> own_error_name({"Fe_Ka": 1.3}, "Fe_Ka")
    'factor of Fe_Ka'
    """
    attrs = getattr(table, "attrs", {})
    name = f"factor of {line}"
    if attrs.get("standardless"):
        return f"computed {name}"
    return f"{name} ({attrs['source']})" if attrs.get("source") else name


def _errors(
    table: Table, lines: Sequence[str], kind: str, relative: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return independent errors of factors [line, error] and their names."""
    if not isinstance(table, xr.Dataset) or RELATIVE_ERROR not in table:
        # one standard deviation more mass a count, whichever the kind
        sign = -1 if kind == "cross_section" else 1
        return np.diag(sign * relative), tuple(own_error_name(table, n) for n in lines)
    modes = table[RELATIVE_ERROR]
    if set(modes.dims) != {ERROR, LINE} or ERROR not in modes.coords:
        raise EdsError(
            f"{RELATIVE_ERROR} must lie along lines and named errors, found {modes.dims}"
        )
    modes = modes.transpose(LINE, ERROR).sel({LINE: list(lines)})
    found = np.asarray(modes.values, float)
    if not np.allclose(np.sqrt((found**2).sum(-1)), relative, rtol=1e-3, atol=1e-9):
        raise EdsError(
            f"{RELATIVE_ERROR} and standard_deviation of the table disagree: the latter is the "
            "factor times the root of the squares of the former; leave one out"
        )
    kept = (found != 0).any(0)
    names = tuple(str(n) for n, keep in zip(modes[ERROR].values, kept, strict=True) if keep)
    if len(set(names)) < len(names):
        raise EdsError(f"errors of factors need names of their own, found {', '.join(names)}")
    return found[:, kept], names


def _described(relative_error: xr.DataArray, kind: str) -> xr.DataArray:
    text = f"independent errors of the {LONG_NAMES[kind]}, one standard deviation each, relative"
    return relative_error.transpose(ERROR, LINE).assign_attrs(long_name=text, units="1")


def checked_lines(lines: Sequence[str]) -> list[str]:
    """Return names of lines as plain text; raise for one that does not exist, or appears twice."""
    names = [str(n) for n in lines]
    for name in names:
        split_line(name)
    if not names or len(set(names)) < len(names):
        raise EdsError(f"expected lines, each once, such as ['Si_Ka', 'Fe_Ka']; found {names}")
    return names


def zeta_or_cross_sections(lines: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Return zeta-factors [kg/m2] of cross-sections [barn], or these of those: ``M / (N value)``.

    MacArthur et al., Microsc. Microanal. 22 (2016) 71.
    """
    return np.asarray(masses(lines) / 1000 / AVOGADRO / (values * BARN_M2))


def kind_of(table: xr.Dataset) -> str:
    """Return the kind of a table of factors; raise for what is none."""
    kind = next((k for k in UNITS if isinstance(table, xr.Dataset) and k in table), "k")
    check_table(table, kind)
    return kind


def check_table(table: xr.Dataset, kind: str) -> None:
    """Raise unless a Dataset is a table of this kind of factors."""
    if not isinstance(table, xr.Dataset) or not {kind, "standard_deviation"} <= set(table):
        found = list(table) if isinstance(table, xr.Dataset) else type(table).__name__
        raise EdsError(
            f"expected a table of {WORD[kind]}s (a Dataset over 'line' with {kind!r} and "
            f"'standard_deviation'), found {found}"
        )
    if table[kind].dims != (LINE,) or LINE not in table.coords:
        raise EdsError(f"{WORD[kind]}s must lie along named lines, found {table[kind].dims}")


def _columns(table: Table, kind: str) -> tuple[dict[str, float], dict[str, float], str]:
    """Return factors and standard deviations by line, and the units."""
    if isinstance(table, xr.Dataset):
        check_table(table, kind)
        spread = _by_line(table.standard_deviation, kind)
        return _by_line(table[kind], kind), spread, _units(table[kind], kind)
    if isinstance(table, xr.DataArray):
        values = _by_line(table, kind)
        return values, dict.fromkeys(values, 0.0), _units(table, kind)
    if not isinstance(table, Mapping):
        reader = f"eds_xr.k_factors.read_{WORD[kind].replace('-', '_')}s"
        raise EdsError(
            f"expected {WORD[kind]}s by line, {{'Si_Ka': 1.0, ...}} or a table, found "
            f"{type(table).__name__}; read a file with {reader}"
        )
    plain = {str(n): number(v, f"the {WORD[kind]} of {n}") for n, v in table.items()}
    return plain, dict.fromkeys(plain, 0.0), UNITS[kind][0]


def _by_line(column: xr.DataArray, kind: str) -> dict[str, float]:
    if column.dims != (LINE,) or LINE not in column.coords:
        raise EdsError(f"{WORD[kind]}s must lie along named lines, found {column.dims}")
    names = [str(n) for n in column[LINE].values]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise EdsError(f"more than one {WORD[kind]} of {', '.join(twice)}; leave one")
    return dict(zip(names, column.values.tolist(), strict=True))


def _units(column: xr.DataArray, kind: str) -> str:
    units = str(column.attrs.get("units", UNITS[kind][0]))
    _check_units(units, kind)
    return units


def _check_units(units: str, kind: str) -> None:
    if units not in UNITS[kind]:
        raise EdsError(
            f"the units of {WORD[kind]}s must be {' or '.join(UNITS[kind])}, found {units!r}"
        )


def _check_beam(table_kev: float | None, lines_kev: float | None, kind: str) -> None:
    if table_kev is None or lines_kev is None:
        return
    table_kev = number(table_kev, "the attribute beam_energy_kev of the table")
    if abs(table_kev - lines_kev) > SAME_BEAM * lines_kev:
        raise EdsError(
            f"the {WORD[kind]}s are for a beam of {table_kev:g} keV, the spectra were "
            f"recorded at {lines_kev:g} keV; take a table measured at {lines_kev:g} keV, or "
            "compute one with eds_xr.standardless_k_factors"
        )
