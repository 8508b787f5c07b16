"""Systematic errors of a quantification: what one standard deviation of each of them changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

#: What systematic errors are due to, in the order in which budgets show them.
ERROR_EFFECTS = ("k_factor", "absorption", "thickness", "dose", "valences", "fluorescence")


class Factors(NamedTuple):
    """The factor of each line of a table, with its errors.

    `np.sqrt((relative**2).sum(-1))` are the relative standard deviations of the factors.

    Attributes
    ----------
    values : ndarray [line]
        k-factors are by weight.
    relative : ndarray [line, error]
        What one standard deviation of each independent error does to the factors, relative.
    names : tuple of str
        Of the errors. The same name is the same error, wherever it stands.
    """

    values: np.ndarray
    relative: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SystematicError:
    """An error that is the same in every spectrum, by what one standard deviation of it does.

    Errors are independent of one another. What several numbers share is one error with several
    changes: so it is kept in sums, and cancels in ratios (JCGM 100:2008, F.1.2.3).

    Attributes
    ----------
    name : str
        The same name in two compositions is the same error, and cancels between them.
    effect : str
        One of `ERROR_EFFECTS`.
    factors : ndarray [line] or float
        Relative change of the mass that a net count stands for.
    depths : ndarray [line] or float
        Relative change of the optical depths: of attenuation, or of the film's thickness.
    mass_per_line_mass : ndarray [element, line], optional
        Change of the mass of each element that comes with a line's own: of valences.
    charges : ndarray [line] or float
        Change of the charge of a unit mass of each line's element: of valences that a charge
        balance rests on.
    """

    name: str
    effect: str
    factors: np.ndarray | float = 0.0
    depths: np.ndarray | float = 0.0
    mass_per_line_mass: np.ndarray | None = None
    charges: np.ndarray | float = 0.0


def errors_of_factors(
    factors: Factors, effect: str = "k_factor", power: int = 1
) -> tuple[SystematicError, ...]:
    """Return the errors of factors; `power` -1 where a count stands for 1 / factor."""
    columns = power * factors.relative.T
    named = zip(factors.names, columns, strict=True)
    return tuple(SystematicError(name, effect, factors=column) for name, column in named)


def common_errors(dose: float, absorption: float) -> tuple[SystematicError, ...]:
    """Return the errors that all lines share: of the dose, and of all optical depths, relative."""
    return (
        SystematicError("dose", "dose", factors=dose),
        SystematicError("absorption", "absorption", depths=absorption),
    )


def one_each(errors: Sequence[SystematicError]) -> tuple[SystematicError, ...]:
    """Return errors with those of one name as one: the attenuation of a standard is the film's.

    What they change adds up, with its sign: so an error that a factor took in where it was measured
    cancels where it is used, as far as both films are alike. The last tells the effect.
    """
    found: dict[str, SystematicError] = {}
    for error in errors:
        before = found.pop(error.name, None)
        found[error.name] = error if before is None else _together(before, error)
    return tuple(found.values())


def _together(one: SystematicError, other: SystematicError) -> SystematicError:
    changes = [e.mass_per_line_mass for e in (one, other) if e.mass_per_line_mass is not None]
    return SystematicError(
        other.name,
        other.effect,
        np.asarray(one.factors, float) + other.factors,
        one.depths + other.depths,
        np.sum(changes, axis=0) if changes else None,
        np.asarray(one.charges, float) + other.charges,
    )


def changes_of_factors(errors: Sequence[SystematicError], lines: int) -> np.ndarray:
    """Return the relative change of each line's factor by each error [line, error]."""
    return _columns([e.factors for e in errors], lines)


def changes_of_depths(errors: Sequence[SystematicError], lines: int) -> np.ndarray:
    """Return the relative change of each line's optical depth by each error [line, error]."""
    return _columns([e.depths for e in errors], lines)


def changes_of_charges(errors: Sequence[SystematicError], lines: int) -> np.ndarray:
    """Return the change of the charge of each line's unit mass by each error [line, error]."""
    return _columns([e.charges for e in errors], lines)


def deviations_of_factors(errors: Sequence[SystematicError], lines: int) -> np.ndarray:
    """Return the relative standard deviation of each line's own factor [line]."""
    own = [e for e in errors if e.effect == "k_factor"]
    return np.asarray(np.sqrt((changes_of_factors(own, lines) ** 2).sum(-1)))


def _columns(changes: Sequence[np.ndarray | float], lines: int) -> np.ndarray:
    columns = [np.broadcast_to(np.asarray(c, float), (lines,)) for c in changes]
    return np.stack(columns, axis=-1) if columns else np.zeros((lines, 0))
