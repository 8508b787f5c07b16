"""Several standards as one table: weighted by their errors, shared errors respected."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from eds_xr.composition.k_factors.conditions import check_same_beam_and_detector
from eds_xr.composition.k_factors.counts import RARE, StandardWarning
from eds_xr.composition.k_factors.modes import modes_of, symmetric_root, with_modes
from eds_xr.composition.k_factors.table import (
    RELATIVE_ERROR,
    UNITS,
    check_table,
    kind_of,
    make_table,
    zeta_or_cross_sections,
)
from eds_xr.progress import warn
from eds_xr.schema import LINE, EdsError
from eds_xr.xray.elements import masses

#: Eigenvalues of a covariance below this share of the largest are none.
_NONE = 1e-12


def combine(
    *tables: xr.Dataset, fill: xr.Dataset | None = None, reference: str | None = None
) -> xr.Dataset:
    """Combine factors from several standards, and fill what none has from a computed table.

    Computes: a table.

    Generalised least squares in the logarithms of the factors, with all errors of the tables and
    what they share: errors of the same name are the same error. Of k-factors only ratios count,
    each table has a scale of its own.

    Parameters
    ----------
    *tables : Dataset over ``line``
        Of one kind, from :func:`from_standard`, :func:`zeta_from_standard` or files, for the same
        beam and detector. One alone is allowed, with `fill`.
    fill : Dataset over ``line``, optional
        Such as :func:`standardless_k_factors`, of any kind: lines that no table has. Its scale is
        that of the lines it has in common with them, weighted by both their errors; the error
        of the scale is an error of all the lines it fills. Measured factors stay as they are.
    reference : str, optional
        Of k-factors: the line whose factor is 1; default is the first table's.

    Returns
    -------
    Dataset over ``line``
        Factors, ``standard_deviation`` and ``relative_error`` [error, line]. Attributes
        ``chi_square`` and ``degrees_of_freedom`` tell how tables agree. Where chi-square exceeds
        its degrees of freedom, errors are widened by the root of their ratio (Birge, Phys. Rev.
        40 (1932) 207); where chance makes that in less than one of 100 cases, it is warned of.
        ``computed_lines`` names what was filled.

    Raises
    ------
    EdsError
        For tables of different kinds, beams or detectors; two standards of one name; k-factors
        without a line in common; factors without errors.

    Examples
    --------
    >>> from eds_xr import k_factors as kf
    >>> one = kf.k_factors({"Si_Ka": 1.0, "Fe_Ka": 1.30}, {"Fe_Ka": 0.03})
    >>> two = kf.k_factors({"Si_Ka": 1.0, "Fe_Ka": 1.36}, {"Fe_Ka": 0.03})
    >>> both = combine(one, two)
    >>> both.k.values.round(2), both.standard_deviation.values.round(3)
    (array([1.  , 1.33]), array([0.  , 0.03]))
    """
    if not tables:
        raise EdsError("expected tables of factors to combine, found none")
    kind = kind_of(tables[0])
    weighed = [_Weighed.of(table, kind, place) for place, table in enumerate(tables)]
    _check_names(tables)
    check_same_beam_and_detector([*tables, *([] if fill is None else [fill])], kind)
    names = list(dict.fromkeys(n for w in weighed for n in w.names))
    first = _reference(tables[0], names, reference) if kind == "k" else None
    found = _least_squares(weighed, names, first)
    attrs = _common_attrs(tables) | {"reference": first} | found.agreement
    if fill is not None:
        other = _Weighed.of(fill, kind_of(fill), len(tables))
        found = _filled(found, other)
        added = [n for n in found.names if n not in names]
        attrs |= {"computed_lines": " ".join(added)} if added else {}
        attrs["standardless"] = int(bool(added))
    values, modes = np.exp(found.logarithm), found.modes
    if kind == "cross_section":
        values, modes = zeta_or_cross_sections(found.names, values), -modes
    made = make_table(kind, found.names, values, 0 * values, units=UNITS[kind][0], attrs=attrs)
    return with_modes(made, kind, found.errors, modes)


@dataclass(frozen=True)
class _Weighed:
    """A table as logarithms [line] with errors [error, line]."""

    names: list[str]
    logarithm: np.ndarray
    errors: list[str]
    modes: np.ndarray
    agreement: dict[str, float | int]

    @classmethod
    def of(cls, table: xr.Dataset, kind: str, place: int) -> _Weighed:
        """Return a table of any kind as the logarithm of what makes counts masses."""
        check_table(table, kind)
        names, values = [str(n) for n in table[LINE].values], table[kind].values
        if kind == "cross_section":
            values = zeta_or_cross_sections(names, values)
        elif kind == "k" and table[kind].attrs.get("units") == "atomic":
            values = values * masses(names)
        errors, modes = modes_of(table, kind)
        if RELATIVE_ERROR not in table and not table.attrs.get("standardless"):
            errors = [f"{e}, table {place + 1}" for e in errors]  # tables of one source differ
        if kind == "cross_section":
            modes = -modes
        return cls(names, np.log(values), errors, modes, {})


def _least_squares(tables: list[_Weighed], names: list[str], reference: str | None) -> _Weighed:
    """Return the best factors; `reference` is the line whose logarithm is zero, for ratios."""
    errors = list(dict.fromkeys(e for t in tables for e in t.errors))
    parts = [_equations(t, names, errors, reference is not None) for t in tables]
    design, measured, spread = (np.concatenate(x) for x in zip(*parts, strict=True))
    free = [i for i, n in enumerate(names) if n != reference]
    weight = _inverse(spread @ spread.T)
    normal = design[:, free].T @ weight @ design[:, free]
    if free and np.linalg.matrix_rank(normal, hermitian=True) < len(free):
        raise EdsError(
            "the tables of k-factors have no line in common that ties them together; add a "
            "standard that has lines of both"
        )
    gain = np.zeros((len(names), measured.size))
    gain[free] = np.linalg.solve(normal, design[:, free].T @ weight)
    best = gain @ measured
    left = measured - design @ best
    modes = (gain @ spread).T
    square, freedom = float(left @ weight @ left), measured.size - len(free)
    agreement: dict[str, float | int] = {}
    if freedom:
        agreement = {"chi_square": square, "degrees_of_freedom": freedom}
        more = _widening(modes, square, freedom)
        errors = [*errors, *(f"disagreement of standards about {n}" for n in names)]
        modes = np.vstack([modes, more])
    return _Weighed(names, best, errors, modes, agreement)


def _equations(
    table: _Weighed, names: list[str], errors: list[str], ratios: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return design [equation, line], what is measured, and its errors [equation, error]."""
    size = len(table.names)
    # k-factors: ratios to the table's first line, as its scale is its own
    taken = np.hstack([-np.ones((size - 1, 1)), np.eye(size - 1)]) if ratios else np.eye(size)
    chosen = np.zeros((size, len(names)))
    chosen[np.arange(size), [names.index(n) for n in table.names]] = 1
    spread = np.zeros((size, len(errors)))
    spread[:, [errors.index(e) for e in table.errors]] = table.modes.T
    return taken @ chosen, taken @ table.logarithm, taken @ spread


def _inverse(covariance: np.ndarray) -> np.ndarray:
    values = np.linalg.eigvalsh(covariance) if covariance.size else np.ones(1)
    if values[0] <= _NONE * max(values[-1], 0):
        raise EdsError(
            "tables are weighed by their errors, and some factors have none (or none of their "
            "own): state their standard_deviation, or leave a table out"
        )
    return np.linalg.inv(covariance)


def _widening(modes: np.ndarray, square: float, freedom: int) -> np.ndarray:
    """Return errors to add where standards disagree beyond their errors."""
    from scipy.stats import chi2

    if chi2.sf(square, freedom) < RARE:
        warn(
            f"the standards disagree beyond their errors: chi-square {square:.3g} for {freedom} "
            f"degrees of freedom; errors are widened {math.sqrt(square / freedom):.2g} times. "
            "Look for a standard that is not what it is said to be",
            StandardWarning,
        )
    excess = max(0.0, square / freedom - 1)
    return symmetric_root(excess * modes.T @ modes)


def _filled(measured: _Weighed, computed: _Weighed) -> _Weighed:
    """Return measured factors, and computed ones on their scale for the lines that they lack."""
    common = [n for n in computed.names if n in measured.names]
    added = [n for n in computed.names if n not in measured.names]
    if not common:
        raise EdsError(
            f"the table to fill from has none of the lines that were measured, "
            f"{', '.join(measured.names)}: its scale is not known; compute it for one of them, too"
        )
    here, there = ([t.names.index(n) for n in common] for t in (measured, computed))
    errors = list(dict.fromkeys([*measured.errors, *computed.errors]))
    own, others = (_spread(t, errors) for t in (measured, computed))
    apart = measured.logarithm[here] - computed.logarithm[there]
    spread = own[:, here] - others[:, there]  # [error, common line]
    weight = _inverse(spread.T @ spread)
    share = weight.sum(axis=0) / weight.sum()
    left = apart - share @ apart
    freedom = len(common) - 1
    agreement = dict(measured.agreement)
    if freedom:
        square = float(left @ weight @ left)
        agreement |= {"fill_chi_square": square, "fill_degrees_of_freedom": freedom}
    place = [computed.names.index(n) for n in added]
    modes = np.hstack([own, others[:, place] + (spread @ share)[:, None]])
    logarithm = np.append(measured.logarithm, computed.logarithm[place] + share @ apart)
    return _Weighed([*measured.names, *added], logarithm, errors, modes, agreement)


def _spread(table: _Weighed, errors: list[str]) -> np.ndarray:
    found = np.zeros((len(errors), len(table.names)))
    found[[errors.index(e) for e in table.errors]] = table.modes
    return found


def _reference(table: xr.Dataset, names: list[str], given: str | None) -> str:
    first = given or str(table.attrs.get("reference", table[LINE].values[0]))
    if first not in names:
        raise EdsError(f"the reference {first!r} is not among the lines: {', '.join(names)}")
    return first


def _check_names(tables: tuple[xr.Dataset, ...]) -> None:
    names = [str(t.attrs["standard"]) for t in tables if "standard" in t.attrs]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise EdsError(
            f"two standards are called {', '.join(twice)}, so that their errors would be taken "
            "for the same: give each a name, from_standard(..., name='olivine, first')"
        )


def _common_attrs(tables: tuple[xr.Dataset, ...]) -> dict[str, object]:
    """Return what all tables say alike, and where they come from."""
    first, *others = (t.attrs for t in tables)
    same = {k: v for k, v in first.items() if all(o.get(k) == v for o in others)}
    if others:
        said = [str(a.get("standard", a.get("source", "a table"))) for a in (first, *others)]
        same["source"] = "combined: " + "; ".join(said)
    return same
