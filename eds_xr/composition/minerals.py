"""Compositions as mineralogists write them: oxides, and formulae on a basis of oxygens or cations.

Oxygen need not be measured: every cation brings what balances its charge. A composition's oxygen,
where there is one, is left aside and compared with that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import number
from eds_xr.chunks import computed
from eds_xr.cluster.supervision import computes
from eds_xr.composition.fractions import atoms_of, diagonal, propagated, shares
from eds_xr.composition.uncertainty import marks
from eds_xr.composition.uncertainty.effects import Described, Parts
from eds_xr.composition.uncertainty.number_text import value_text
from eds_xr.composition.uncertainty.quantities import critical_level
from eds_xr.composition.valences import oxygen_per_atom
from eds_xr.schema import ASSUMED, DOUBT, ELEMENT, LINE, EdsError
from eds_xr.xray.elements import atomic_mass

OXIDE = "oxide"


@computes
def oxides(composition: xr.Dataset, *, valences: Mapping[str, float] | None = None) -> xr.Dataset:
    """Express a composition as oxides.

    Computes: small arrays only.

    Every cation is given the oxygen of its charge, and the oxides are brought to sum 1
    (W. A. Deer, R. A. Howie and J. Zussman, An Introduction to the Rock-Forming Minerals, 3rd ed.,
    appendix 1). F and Cl stay elements; the oxygen whose place they take is left out of the sum,
    which is then above 1 by as much ("O = F").

    Parameters
    ----------
    composition : Dataset over ``element``
        From ``quantify``: ``atomic_fraction`` with covariance.
    valences : mapping, optional
        Charges other than those of FeO, Ce2O3, UO2 and so on: ``{"Fe": 3}`` for Fe2O3,
        ``{"Fe": 2.4}`` for both, 60 % of the iron as FeO; 0 for a metal.

    Returns
    -------
    Dataset over ``oxide``
        ``weight_fraction`` [..., oxide; 1] with ``_variance`` and ``_covariance`` [..., oxide,
        oxide_other], statistical, and ``_systematic_variance`` and ``_systematic_covariance``,
        due to the k-factors; ``_effect_covariance`` [effect, ...] and ``_by_error`` [..., error] as
        the composition has them; ``_critical_level``, and ``_detection_limit`` where there is
        one; ``element`` [oxide]. If oxygen was measured,
        ``oxygen_excess`` [...], measured over needed less 1, with its two variances.

    Raises
    ------
    EdsError
        For a composition without covariance, or an element whose charge is not known.

    Examples
    --------
    >>> atoms = xr.DataArray([0.5, 0.5], {"element": ["Mg", "Si"]}, name="atomic_fraction")
    >>> table = xr.DataArray(np.zeros((2, 2)), [("element", ["Mg", "Si"]),
    ...                                         ("element_other", ["Mg", "Si"])])
    >>> made = xr.Dataset({"atomic_fraction": atoms, "atomic_fraction_variance": 0 * atoms,
    ...                    "atomic_fraction_covariance": table})
    >>> oxides(made).weight_fraction.round(4).to_series().to_dict()
    {'MgO': 0.4015, 'SiO2': 0.5985}
    """
    elements, values, spreads = atoms_of(composition)
    oxygen = _oxygen(elements, valences)
    mass, oxygen_mass = np.array([atomic_mass(e) for e in elements]), atomic_mass("O")
    names, parts = _oxide_parts(elements, 2 * oxygen, mass, oxygen_mass)
    cations = np.array([e != "O" for e in elements])
    found, slope = shares(values, parts, np.where(cations, mass + oxygen * oxygen_mass, 0.0))
    made = _described(
        composition, "weight_fraction", "weight fraction of the oxide", (found, slope), spreads,
        OXIDE, list(names),
    )  # fmt: skip
    made = _with_limits(made, composition, np.where(parts > 0, slope, 0.0))
    made = made.assign_coords({ELEMENT: (OXIDE, list(names.values()))})
    made = made.assign(_marks(composition, OXIDE, list(names.values())))
    return made.assign(_oxygen_excess(composition, elements, oxygen)).assign_attrs(
        provenance.with_step(composition.attrs, "oxides", valences=dict(valences or {}))
    )


@computes
def formula(
    composition: xr.Dataset,
    *,
    oxygens: float | None = None,
    cations: float | None = None,
    valences: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Express a composition as cations per formula unit.

    Computes: small arrays only.

    On a basis of `oxygens` (3 for a perovskite) charges decide the scale; on one of `cations` they
    do not, and the oxygen that balances them comes out: less than the mineral's means that some
    iron is ferric. (Deer, Howie and Zussman, as for :func:`oxides`.)

    Parameters
    ----------
    composition : Dataset over ``element``
        From ``quantify``: ``atomic_fraction`` with covariance; its oxygen, if any, is left aside.
    oxygens, cations : float
        Number per formula unit: one of the two.
    valences : mapping, optional
        As for :func:`oxides`.

    Returns
    -------
    Dataset over ``element``
        ``cations`` [..., element; 1] with ``_variance`` and ``_covariance``, statistical, and
        ``_systematic_variance`` and ``_systematic_covariance``, ``_effect_covariance`` and
        ``_by_error``; ``_critical_level``. Their sum
        ``cation_sum`` and ``oxygens`` [...] with both variances (0 for what is given).

    Raises
    ------
    EdsError
        Unless one basis is given; for an element whose charge is not known.
    """
    given = [number(n, "the basis") for n in (oxygens, cations) if n is not None]
    if len(given) != 1 or not 0 < given[0] < np.inf:
        raise EdsError(
            "a formula needs one basis above zero, oxygens=3 or cations=2; found "
            f"oxygens={oxygens}, cations={cations}"
        )
    elements, values, spreads = atoms_of(composition)
    oxygen, one = _oxygen(elements, valences), np.array([float(e != "O") for e in elements])
    keep = [i for i, e in enumerate(elements) if e != "O"]
    whole, per = (oxygen if cations is None else one), given[0]
    parts = per * np.eye(len(elements))[keep]
    found = shares(values, parts, whole)
    made = _described(
        composition, "cations", "cations per formula unit", found, spreads,
        ELEMENT, [elements[i] for i in keep],
    )  # fmt: skip
    made = _with_limits(made, composition, np.where(parts > 0, found[1], 0.0))
    made = made.assign(_marks(composition, ELEMENT, made[ELEMENT].values.tolist()))
    for name, text, part in (
        ("cation_sum", "sum of the cations", one),
        ("oxygens", "oxygen per formula unit", oxygen),
    ):
        total = shares(values, per * part[None], whole)
        if part is whole:  # it is given: no rounding errors
            total = (np.full_like(total[0], per), np.zeros_like(total[1]))
        made = made.assign(_single(composition, name, text, total, spreads))
    step = {"oxygens": oxygens, "cations": cations, "valences": dict(valences or {})}
    return made.assign_attrs(provenance.with_step(composition.attrs, "formula", **step))


@computes
def formula_text(
    found: xr.Dataset, *, sites: Sequence[Sequence[str]] = (), least: float = 0.01
) -> xr.DataArray:
    """Write formulae as text, with errors in brackets: ``(Mg0.87(1) Fe0.10(1)) Si0.93(2) O3``.

    Computes: small arrays only.

    Parameters
    ----------
    found : Dataset over ``element``
        From :func:`formula`. The error shown is the statistical one, in units of the last digit.
    sites : sequence of sequences of str
        Elements that share a site, ``[("Mg", "Fe"), ("Si",)]``, in the order to write them; others
        follow one by one.
    least : float
        Elements of fewer cations are left out: a formula is no place for traces, nor for what is
        assumed.

    Returns
    -------
    DataArray of str [...]
        What is in doubt bears a sign; the attribute ``notes`` tells what each means.

    Raises
    ------
    EdsError
        When a site names an element that was not measured.
    """
    if not isinstance(found, xr.Dataset) or not {"cations", "oxygens"} <= set(found.data_vars):
        raise EdsError("expected a formula, from eds_xr.formula(composition, oxygens=3)")
    found = computed(found)
    sign, notes = marks.signs(marks.mark_of(found, DOUBT, found.cations))
    known = [str(e) for e in found[ELEMENT].values]
    named = [e for site in sites for e in site]
    missing = [e for e in named if e not in known]
    if missing:
        raise EdsError(f"{', '.join(missing)} of `sites` is not in the formula: {known}")
    order = [list(site) for site in sites] + [[e] for e in known if e not in named]

    def write(
        cations: np.ndarray, variance: np.ndarray, sign: np.ndarray, oxygen: float,
        oxygen_variance: float,
    ) -> str:  # fmt: skip
        amount = dict(zip(known, zip(cations, variance, sign, strict=True), strict=True))
        kept = [[_amount(e, *amount[e]) for e in s if amount[e][0] >= least] for s in order]
        marked = [f"({' '.join(s)})" if len(s) > 1 else s[0] for s in kept if s]
        return " ".join([*marked, _amount("O", oxygen, oxygen_variance)])

    return xr.apply_ufunc(
        write, found.cations, found.cations_variance, sign, found.oxygens, found.oxygens_variance,
        input_core_dims=[[ELEMENT], [ELEMENT], [ELEMENT], [], []], vectorize=True,
        output_dtypes=[object],
    ).astype(str).assign_attrs(long_name="mineral formula", notes=notes)  # fmt: skip


def _amount(element: str, value: float, variance: float, sign: str = "") -> str:
    if variance > 0:
        return element + value_text(value, math.sqrt(variance)) + sign
    return element + (f"{value:.4g}" if value != 1 else "")


def _oxygen(elements: Sequence[str], valences: Mapping[str, float] | None) -> np.ndarray:
    """Return the oxygen that balances an atom of each element; none for oxygen itself."""
    cations = [e for e in elements if e != "O"]
    needed = dict(zip(cations, oxygen_per_atom(cations, valences), strict=True))
    return np.array([needed.get(e, 0.0) for e in elements])


def _oxide_parts(
    elements: Sequence[str], charges: np.ndarray, mass: np.ndarray, oxygen_mass: float
) -> tuple[dict[str, str], np.ndarray]:
    """Return oxides with their cations, and the mass of each oxide per atom [oxide, element].

    A charge between two whole numbers is a mixture of two oxides.
    """
    names: dict[str, str] = {}
    rows = []
    for i, (element, charge) in enumerate(zip(elements, charges, strict=True)):
        if element == "O":
            continue
        low = math.floor(charge) if charge > 0 else charge
        for whole, share in ((low, 1 - (charge - low)), (low + 1, charge - low)):
            if share > 0:
                names[_oxide_name(element, whole)] = element
                rows.append(np.zeros(len(elements)))
                rows[-1][i] = share * (mass[i] + max(whole, 0) / 2 * oxygen_mass)
    return names, np.array(rows)


def _oxide_name(element: str, charge: float) -> str:
    """Return the name of an oxide, or of an element that binds no oxygen.

    Examples
    --------
    >>> [_oxide_name(e, c) for e, c in (("Si", 4), ("Al", 3), ("Fe", 2), ("Na", 1), ("F", -1))]
    ['SiO2', 'Al2O3', 'FeO', 'Na2O', 'F']
    """
    if charge <= 0:
        return element
    odd = bool(charge % 2)
    cations, oxygens = (2, int(charge)) if odd else (1, int(charge) // 2)
    return element + ("2" if cations == 2 else "") + "O" + (str(oxygens) if oxygens > 1 else "")


def _oxygen_excess(
    composition: xr.Dataset, elements: Sequence[str], oxygen: np.ndarray
) -> dict[str, xr.DataArray]:
    """Return measured over needed oxygen, less 1, with its errors; nothing if none was measured."""
    if "O" not in elements:
        return {}
    _, values, spreads = atoms_of(composition)
    measured = np.array([[float(e == "O") for e in elements]])
    ratio, slope = shares(values, measured, oxygen)
    text = "oxygen beyond what balances the cations, as a share of that"
    return _single(composition, "oxygen_excess", text, (ratio - 1, slope), spreads)


def _described(
    composition: xr.Dataset, name: str, text: str, found: tuple[np.ndarray, ...],
    spreads: Mapping[str, np.ndarray], dim: str, labels: Sequence[str],
) -> xr.Dataset:  # fmt: skip
    """Return a quantity over `dim` with both its variances and covariances, labelled."""
    values, slope = found
    if values.size and np.isnan(values).all():
        raise EdsError("the composition sums to nothing: there is no whole to take shares of")
    lead = [d for d in composition.atomic_fraction.dims if d != ELEMENT]
    one, two = (*map(str, lead), dim), (*map(str, lead), dim, f"{dim}_other")
    data: dict[str, Described] = {name: (one, values, {"long_name": text, "units": "1"})}
    for kind, spread in spreads.items():
        table = propagated(slope, spread)
        why = "due to the k-factors" if kind else "statistical"
        for what, dims, part in (("variance", one, diagonal(table)), ("covariance", two, table)):
            about = {"long_name": f"{what} of the {text}, {why}", "units": "1"}
            data[f"{name}_{kind}{what}"] = (dims, part, about)
    coords = {d: composition[d] for d in lead if d in composition.coords}
    scalars = {n: c for n, c in composition.coords.items() if c.ndim == 0}
    parts = Parts.of(composition, "atomic_fraction")
    if parts is not None:
        data |= parts.carried(slope, name, [str(d) for d in lead], dim)
    names = {dim: list(labels), f"{dim}_other": list(labels)}
    made = xr.Dataset(data, {**scalars, **coords, **names})
    return made if parts is None else parts.named(made)


def _single(
    composition: xr.Dataset, name: str, text: str, found: tuple[np.ndarray, ...],
    spreads: Mapping[str, np.ndarray],
) -> dict[str, xr.DataArray]:  # fmt: skip
    """Return one number [...] a composition, with its two variances."""
    made = _described(composition, name, text, found, spreads, "part", [name]).isel(part=0)
    ends = ("", "_variance", "_systematic_variance", "_by_error")
    kept = {f"{name}{end}": made[f"{name}{end}"] for end in ends if f"{name}{end}" in made}
    if f"{name}_effect_covariance" in made:
        kept[f"{name}_effect_variance"] = made[f"{name}_effect_covariance"].isel(part_other=0)
    return {n: v.drop_vars(["part", "part_other"], errors="ignore") for n, v in kept.items()}


def _marks(composition: xr.Dataset, dim: str, elements: Sequence[str]) -> dict[str, xr.DataArray]:
    """Return what is in doubt or assumed of elements, over `dim`."""
    found = {}
    for name in (DOUBT, ASSUMED):
        if name in composition:
            part = composition[name].sel({ELEMENT: elements})
            found[name] = part.drop_vars([ELEMENT, LINE], errors="ignore").rename({ELEMENT: dim})
    return found


def _with_limits(made: xr.Dataset, composition: xr.Dataset, own_slope: np.ndarray) -> xr.Dataset:
    """Carry the limits along: of little of an element, its own slope is the factor."""
    name = str(next(iter(made.data_vars)))
    limits = {"critical_level": critical_level(composition, "atomic_fraction")}
    if "atomic_fraction_detection_limit" in composition:  # none of what has no line
        limits["detection_limit"] = composition.atomic_fraction_detection_limit.fillna(0.0)
    for end, limit in limits.items():
        values = (own_slope * limit.transpose(..., ELEMENT).values[..., None, :]).sum(-1)
        text = f"{end.replace('_', ' ')} of the {made[name].attrs['long_name']}"
        about = {"long_name": text, "units": "1"}
        made[f"{name}_{end}"] = (made[name].dims, values, about)
    return made
