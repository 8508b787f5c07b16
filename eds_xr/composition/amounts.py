"""From net counts to amounts and fractions: blocks of spectra, covariances by the chain rule.

Each line ``i`` stands for its element. With factors ``f``, net counts ``n`` and the correction
``A`` for absorption, the masses are ``a_i = f_i n_i A_i(a)``: on a scale of their own (k-factors)
or per area (zeta-factors, counts divided by the dose). Oxygen by stoichiometry makes ``b = S a``,
and fractions are ``b / sum(b)``. ``A`` depends on the composition, so ``a`` is a fixed point, and
its derivatives follow from it (implicit function): ``(1 - a h B) da = A f dn + a dlnf + a h dy``,
with ``h = dlnA/dy`` and ``B = dy/da``, where ``y`` is the optical depth on the way out (JCGM
100:2008, 5.2: covariances by the chain rule). Where charges must balance, the film's thickness is
one more unknown, see :mod:`eds_xr.composition.film.charge_balance`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from eds_xr.composition.film.charge_balance import (
    COVERAGES,
    THICKNESSES,
    Balance,
    balanced_thickness,
    thickness_interval,
)
from eds_xr.composition.fractions import propagated, shares
from eds_xr.composition.uncertainty.errors import (
    SystematicError,
    changes_of_charges,
    changes_of_depths,
    changes_of_factors,
)
from eds_xr.composition.uncertainty.limits import quantile
from eds_xr.workers import task_name
from eds_xr.xray.absorption import correction

#: Iterations end when amounts change by less than this [relative], at the latest after so many.
TOLERANCE, MOST_ITERATIONS = 1e-12, 500


@dataclass(frozen=True)
class QuantificationModel:
    """How net counts become amounts: all about elements, nothing of a spectrum.

    Attributes
    ----------
    factors : ndarray [line]
        Mass a net count.
    mass_per_line_mass : ndarray [element, line]
        Mass of each element that comes with a unit mass of the line's element: 1 for itself, and
        oxygen by stoichiometry.
    masses : ndarray [element]
        Mass of an atom, in units that make ``amount / mass`` atoms (per area).
    attenuation : ndarray [line, element; m^2/kg] or None
        On the way out: divided by the sine of the take-off angle. None: no correction.
    own_thickness : bool
        Amounts are kg/m^2, and give the film's mass thickness; else that is given.
    errors : tuple of SystematicError
        Of factors, optical depths and all else that is the same in every spectrum.
    charges : ndarray [line] or None
        Of a unit mass of each line's element: the film is as thick as makes them balance.
    """

    factors: np.ndarray
    mass_per_line_mass: np.ndarray
    masses: np.ndarray
    attenuation: np.ndarray | None = None
    own_thickness: bool = False
    errors: tuple[SystematicError, ...] = ()
    charges: np.ndarray | None = None


@dataclass(frozen=True)
class _Thickness:
    """The film's mass thickness, and how it answers to everything."""

    value: np.ndarray  # [...; kg/m^2]
    by_counts: np.ndarray  # [..., line]
    by_errors: np.ndarray  # [..., error]


@dataclass(frozen=True)
class _Solved:
    """Amounts ``a`` [..., line], their correction, and how they answer to everything."""

    amounts: np.ndarray
    correction: np.ndarray
    by_counts: np.ndarray  # [..., line, line]
    by_errors: np.ndarray  # [..., line, error]; one standard deviation of each systematic error
    masses_by_errors: np.ndarray | None  # [..., element, error]; of unchanged amounts
    thickness: _Thickness | None = None  # where it was found by the charge balance


@task_name("compositions")
def composition_block(
    net: np.ndarray, covariance: np.ndarray, thickness: np.ndarray, *limits: np.ndarray,
    model: QuantificationModel, names: tuple[str, ...], limit_names: tuple[str, ...],
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Return the variables of a composition that `names` tells; NaN where there is none.

    Parameters
    ----------
    net : ndarray [..., line]
    covariance : ndarray [..., line, line]
    thickness : ndarray [...; kg/m^2]
        Used where there is an absorption correction with a given thickness.
    *limits : ndarray [..., line; counts]
        Named by `limit_names`.
    """
    with np.errstate(all="ignore"):
        solved = _solve(net, thickness, model)
        found = {"absorption_correction": _padded(solved.correction, model)}
        found |= _absolute(solved, covariance, model)
        found |= _of_thickness(solved, covariance)
        if "mass_thickness_lower" in names:
            found |= _intervals(net, covariance, solved, model)
        for kind, masses in (("weight", np.ones_like(model.masses)), ("atomic", model.masses)):
            share = model.mass_per_line_mass / masses[:, None]
            fraction, slope = shares(solved.amounts, share, share.sum(0))
            found[f"{kind}_fraction"] = fraction
            direct = _shares_by_errors(fraction, share, masses, solved)
            found |= _with_errors(f"{kind}_fraction", slope, solved, covariance, direct)
            for name, limit in zip(limit_names, limits, strict=True):
                found[f"{kind}_fraction_{name}"] = _limit(limit, share, solved, model)
    return tuple(found[name] for name in names)


def _solve(net: np.ndarray, thickness: np.ndarray, model: QuantificationModel) -> _Solved:
    """Find the amounts, and linearise about them."""
    amounts = net * model.factors
    unity = np.eye(net.shape[-1])
    factor, absorbed, inverse = np.ones_like(amounts), np.zeros_like(amounts), unity
    if model.attenuation is not None:
        estimate = thickness if model.charges is None else _balanced(amounts, model)
        thickness = np.where(estimate > 0, estimate, 0.0) if model.charges is not None else estimate
        amounts, factor = _iterate(amounts, thickness, model)
        depth = _depth(amounts, thickness, model)
        response = amounts * correction(depth)[1]
        loop = response[..., None] * _depth_by_amounts(amounts, depth, thickness, model)
        inverse, absorbed = _inverse(unity - loop), response * depth
    errors = amounts[..., None] * changes_of_factors(model.errors, net.shape[-1])
    errors += absorbed[..., None] * changes_of_depths(model.errors, net.shape[-1])
    by_counts = inverse * (factor * model.factors)[..., None, :]
    changed = _mass_changes(amounts, model)
    if changed is not None and model.attenuation is not None:
        errors += response[..., None] * _depth_changes(amounts, depth, changed, thickness, model)
    solved = _Solved(amounts, factor, by_counts, inverse @ errors, changed)
    if model.charges is None:
        return solved
    per_thickness = _depth(amounts, np.ones_like(thickness), model)
    slope = inverse @ (response * per_thickness)[..., None]
    least = -1 / np.abs(per_thickness).max(-1)
    return _with_thickness(solved, (estimate, least), Balance(slope[..., 0], model.charges), model)


def _balanced(uncorrected: np.ndarray, model: QuantificationModel) -> np.ndarray:
    """Return the thickness of the film that balances charges; NaN where there is none."""
    assert model.charges is not None
    flat = uncorrected.reshape(-1, uncorrected.shape[-1])

    def amounts_at(thickness: np.ndarray, which: np.ndarray) -> np.ndarray:
        return _iterate(flat[which], thickness, model)[0]

    return balanced_thickness(amounts_at, model.charges, uncorrected)


def _with_thickness(
    solved: _Solved,
    limits: tuple[np.ndarray, np.ndarray],
    balance: Balance,
    model: QuantificationModel,
) -> _Solved:
    """Return amounts with all that moves them through the thickness.

    Where charges balance nowhere, but would if absorption took away less than nothing: the
    thickness below zero that the slope at zero gives, as far as that goes, an optical depth of
    one. Where they do not even so, amounts are those without absorption, and what they answer
    to, too.

    Parameters
    ----------
    limits : pair of ndarray [...; kg/m^2]
        The thickness that was found, or NaN, and the least that is believed.
    """
    estimate, least = limits
    below = -(solved.amounts @ balance.charges) / balance.slope
    found = np.where(np.isnan(estimate) & (below < 0) & (below > least), below, estimate)
    unbalanced = solved.amounts @ changes_of_charges(model.errors, balance.charges.size)
    by_counts = balance.thickness_by(solved.by_counts)
    by_errors = balance.thickness_by(solved.by_errors, unbalanced)
    known = np.isfinite(found)[..., None]
    return replace(
        solved,
        by_counts=balance.amounts_by(solved.by_counts, np.where(known, by_counts, 0.0)),
        by_errors=balance.amounts_by(solved.by_errors, np.where(known, by_errors, 0.0)),
        thickness=_Thickness(found, by_counts, by_errors),
    )


def _mass_changes(amounts: np.ndarray, model: QuantificationModel) -> np.ndarray | None:
    """Return what errors do to masses when amounts stay [..., element, error]; None for nothing."""
    if all(e.mass_per_line_mass is None for e in model.errors):
        return None
    nothing = np.zeros_like(model.mass_per_line_mass)
    given = (e.mass_per_line_mass for e in model.errors)
    changes = np.stack([nothing if c is None else c for c in given])
    return np.einsum("rel,...l->...er", changes, amounts)


def _depth_changes(
    amounts: np.ndarray, depth: np.ndarray, changed: np.ndarray, thickness: np.ndarray,
    model: QuantificationModel,
) -> np.ndarray:  # fmt: skip
    """Return how depths [..., line, error] answer to changes of the masses."""
    assert model.attenuation is not None
    straight = model.attenuation @ changed
    if model.own_thickness:
        return straight
    total = _positive((amounts @ model.mass_per_line_mass.T).sum(-1))[..., None, None]
    more = changed.sum(-2)[..., None, :]
    return (straight * thickness[..., None, None] - depth[..., None] * more) / total


def _iterate(
    uncorrected: np.ndarray, thickness: np.ndarray, model: QuantificationModel
) -> tuple[np.ndarray, np.ndarray]:
    """Repeat the correction with the composition that it gives; NaN where that never ends."""
    amounts = uncorrected
    for _ in range(MOST_ITERATIONS):
        factor, _ = correction(_depth(amounts, thickness, model))
        before, amounts = amounts, uncorrected * factor
        change = np.abs(amounts - before).max(-1)
        moving = change > TOLERANCE * np.abs(amounts).max(-1)
        if not moving.any():  # NaN does not move
            break
    settled = ~moving & np.isfinite(change)
    lost = np.where(settled, 1.0, np.nan)[..., None]
    return amounts * lost, factor * lost


def _depth(amounts: np.ndarray, thickness: np.ndarray, model: QuantificationModel) -> np.ndarray:
    """Return the optical depth of the whole film for each line."""
    assert model.attenuation is not None
    masses = amounts @ model.mass_per_line_mass.T
    if not model.own_thickness:
        masses = masses * (thickness / _positive(masses.sum(-1)))[..., None]
    return masses @ model.attenuation.T


def _depth_by_amounts(
    amounts: np.ndarray, depth: np.ndarray, thickness: np.ndarray, model: QuantificationModel
) -> np.ndarray:
    """Return how the depths [line] change with the amounts [..., line, line]."""
    assert model.attenuation is not None
    straight = model.attenuation @ model.mass_per_line_mass
    if model.own_thickness:
        return straight
    brought = model.mass_per_line_mass.sum(0)
    total = _positive(amounts @ brought)
    scaled = straight * (thickness / total)[..., None, None]
    return scaled - depth[..., :, None] * (brought / total[..., None])[..., None, :]


def _absolute(
    solved: _Solved, covariance: np.ndarray, model: QuantificationModel
) -> dict[str, np.ndarray]:
    """Return atoms and mass per area, for factors that give them."""
    if not model.own_thickness:
        return {}
    share = model.mass_per_line_mass / model.masses[:, None]
    direct = solved.masses_by_errors
    of_atoms = None if direct is None else direct / model.masses[:, None]
    of_mass = None if direct is None else direct.sum(-2, keepdims=True)
    atoms = _with_errors("atoms_per_area", share, solved, covariance, of_atoms)
    whole = model.mass_per_line_mass.sum(0)[None]
    mass = _with_errors("mass_thickness", whole, solved, covariance, of_mass)
    return {
        "atoms_per_area": solved.amounts @ share.T,
        **atoms,
        "mass_thickness": (solved.amounts @ model.mass_per_line_mass.T).sum(-1),
        "mass_thickness_variance": mass["mass_thickness_variance"][..., 0],
        "mass_thickness_systematic_variance": mass["mass_thickness_systematic_covariance"][
            ..., 0, 0
        ],
        **{n: mass[n][..., 0, :] for n in ("mass_thickness_by_error", "mass_thickness_by_net")},
    }


def _shares_by_errors(
    fraction: np.ndarray, share: np.ndarray, masses: np.ndarray, solved: _Solved
) -> np.ndarray | None:
    """Return what errors do to fractions when amounts stay [..., element, error]."""
    if solved.masses_by_errors is None:
        return None
    changed = solved.masses_by_errors / masses[:, None]
    total = _positive(solved.amounts @ share.sum(0))[..., None, None]
    return (changed - fraction[..., None] * changed.sum(-2, keepdims=True)) / total


def _of_thickness(solved: _Solved, covariance: np.ndarray) -> dict[str, np.ndarray]:
    """Return the thickness that the charge balance gives, with its variances."""
    if solved.thickness is None:
        return {}
    found = solved.thickness
    by_counts = found.by_counts[..., None, :]
    nan = np.where(np.isfinite(found.value), 0.0, np.nan)
    return {
        "mass_thickness": found.value,
        "mass_thickness_variance": propagated(by_counts, covariance)[..., 0, 0] + nan,
        "mass_thickness_systematic_variance": (found.by_errors**2).sum(-1) + nan,
        "mass_thickness_by_error": found.by_errors + nan[..., None],
        "mass_thickness_by_net": found.by_counts,
    }


def _intervals(
    net: np.ndarray, covariance: np.ndarray, solved: _Solved, model: QuantificationModel
) -> dict[str, np.ndarray]:
    """Return in which films the charges balance within their errors, and if in none, how."""
    assert solved.thickness is not None
    assert model.charges is not None
    tried = np.broadcast_to(THICKNESSES, (*net.shape[:-1], THICKNESSES.size))
    best = np.where(solved.thickness.value > 0, solved.thickness.value, 0.0)
    tried = np.sort(np.append(tried, best[..., None], axis=-1), axis=-1)
    at = _solve(net[..., None, :], tried, replace(model, charges=None))
    by_counts = model.charges @ at.by_counts
    by_errors = model.charges @ at.by_errors
    by_errors += at.amounts @ changes_of_charges(model.errors, net.shape[-1])
    variance = np.einsum("...gi,...ij,...gj->...g", by_counts, covariance, by_counts)
    excess = at.amounts @ model.charges
    spread = np.sqrt(variance + (by_errors**2).sum(-1))
    spread = np.maximum(spread, 1e-12 * (np.abs(at.amounts) @ np.abs(model.charges)))
    ends = [thickness_interval(tried, excess / spread, quantile(c)) for c in COVERAGES]
    anions = np.where(model.charges < 0, model.charges * at.amounts[..., 0, :], 0.0).sum(-1)
    cations = np.where(model.charges > 0, model.charges * at.amounts[..., 0, :], 0.0).sum(-1)
    return {
        "mass_thickness_lower": np.stack([low for low, _ in ends], axis=-1),
        "mass_thickness_upper": np.stack([high for _, high in ends], axis=-1),
        "charge_ratio": -anions / np.where(cations > 0, cations, np.nan),
    }


def _with_errors(
    name: str, slope: np.ndarray, solved: _Solved, covariance: np.ndarray,
    direct: np.ndarray | None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the statistical and the systematic covariance of what has this slope by ``a``."""
    by_counts, by_errors = slope @ solved.by_counts, slope @ solved.by_errors
    by_errors = by_errors if direct is None else by_errors + direct
    statistical = propagated(by_counts, covariance)
    lead = statistical.shape[:-2]
    return {
        f"{name}_variance": np.diagonal(statistical, axis1=-2, axis2=-1).copy(),
        f"{name}_covariance": statistical,
        f"{name}_systematic_covariance": by_errors @ np.swapaxes(by_errors, -1, -2),
        f"{name}_by_error": np.broadcast_to(by_errors, (*lead, *by_errors.shape[-2:])),
        f"{name}_by_net": np.broadcast_to(by_counts, (*lead, *by_counts.shape[-2:])),
    }


def _limit(
    limit: np.ndarray, share: np.ndarray, solved: _Solved, model: QuantificationModel
) -> np.ndarray:
    """Return the fraction of an element whose line had the counts of a limit, the rest as found."""
    amount = limit * model.factors * solved.correction
    brought = share.sum(0)
    total = (solved.amounts @ brought)[..., None] + (amount - solved.amounts) * brought
    return _padded(np.diagonal(share) * amount / _positive(total), model)


def _padded(values: np.ndarray, model: QuantificationModel) -> np.ndarray:
    """Return values of lines as values of elements: NaN for oxygen that no line stands for."""
    more = model.mass_per_line_mass.shape[0] - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, more)], constant_values=np.nan)


def _positive(total: np.ndarray) -> np.ndarray:
    return np.where(total > 0, total, np.nan)


def _inverse(matrices: np.ndarray) -> np.ndarray:
    """Return inverses, NaN for a matrix that has none (one bad pixel must not stop the others)."""
    good = np.isfinite(matrices).all((-1, -2)) & (np.linalg.det(matrices) != 0)
    safe = np.where(good[..., None, None], matrices, np.eye(matrices.shape[-1]))
    return np.where(good[..., None, None], np.linalg.inv(safe), np.nan)
