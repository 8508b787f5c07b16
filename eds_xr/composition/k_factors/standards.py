"""Factors from a standard: a spectrum, or a map, of a film whose composition is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.arguments import check_fits, number
from eds_xr.cluster.supervision import computes
from eds_xr.composition.k_factors.conditions import conditions_of
from eds_xr.composition.k_factors.counts import Counts, counts_of
from eds_xr.composition.k_factors.modes import symmetric_root, with_modes
from eds_xr.composition.k_factors.table import UNITS, make_table
from eds_xr.composition.recording.dose import dose_of
from eds_xr.composition.recording.thin_film import no_thin_film
from eds_xr.schema import EdsError, check_one_of
from eds_xr.xray.absorption import (
    attenuation_m2_kg,
    correction,
    mass_thickness_of,
    way_through_film,
)
from eds_xr.xray.absorption import take_off_angle_deg as angle_of
from eds_xr.xray.elements import atomic_mass, check_element

#: Name of the error of all attenuations together: the same in standards and in what is measured
#: with them, so that it cancels as far as the films are alike.
ABSORPTION = "absorption"


@computes
def from_standard(
    lines: xr.Dataset,
    composition: Mapping[str, float] | str,
    *,
    name: str | None = None,
    units: str = "atomic",
    uncertainty: Mapping[str, float] | None = None,
    reference: str | None = None,
    thickness_nm: float | None = None,
    density_g_cm3: float | None = None,
    mass_thickness_kg_m2: float | None = None,
    thickness_uncertainty: float = 0.1,
    take_off_angle_deg: float | None = None,
    absorption_uncertainty: float = 0.05,
) -> xr.Dataset:
    """Measure k-factors on a film of known composition.

    Computes: a table; of a map, its lines are read once.

    ``k_i = (C_i / n_i A_i) / (C_r / n_r A_r)`` (Cliff and Lorimer, J. Microsc. 103 (1975) 203),
    with mass fractions ``C``, net counts ``n``, and ``A`` what makes up for absorption in the film
    of the standard, where its thickness is given.

    Parameters
    ----------
    lines : Dataset over ``line``
        From ``fit_lines``. Several lines of an element give a factor each. Spectra or pixels of
        a map are summed; how far they scatter beyond counting widens the errors (Birge) and,
        where chance is no explanation, is warned of.
    composition : mapping or str
        Amounts by element, any total, all elements of the film: ``{"Mg": 2, "Si": 1, "O": 4}``
        or ``"Mg2SiO4"``. Lines of other elements are left out.
    name : str, optional
        Of the standard; names its errors. Default: ``source`` of the lines.
    units : {"atomic", "weight"}
        Of `composition`.
    uncertainty : mapping, optional
        Standard uncertainties of the amounts, in their units; independent. Default 0.
    reference : str, optional
        The line whose factor is 1, without error; default is the first.
    thickness_nm, density_g_cm3, mass_thickness_kg_m2 : float, optional
        Of the film, as in ``quantify``; without them absorption is not corrected.
    thickness_uncertainty, absorption_uncertainty : float
        Relative standard uncertainties of mass thickness and of all attenuations together.
    take_off_angle_deg : float, optional
        Default from ``elevation_angle_deg`` and ``tilt_deg``.

    Returns
    -------
    Dataset over ``line``
        ``k`` (by weight), ``standard_deviation`` and ``relative_error`` [error, line]: counts
        with their covariance, amounts, thickness, attenuation, each one standard deviation, so
        that ratios of two factors have the right error. The attributes hold the conditions:
        beam, detector, angles, times, date, as far as the lines know them.

    Raises
    ------
    EdsError
        For a composition without amounts, elements without counts, a film of unknown density or
        take-off angle.

    Examples
    --------
    >>> import xarray as xr
    >>> lines = xr.Dataset({"net": ("line", [5e4, 4e4]), "variance": ("line", [6e4, 5e4])},
    ...                    {"line": ["Mg_Ka", "Si_Ka"]}, {"beam_energy_kev": 200.0})
    >>> table = from_standard(lines, "Mg2SiO4", name="forsterite", reference="Si_Ka")
    >>> table.k.values.round(3), table.standard_deviation.values.round(4)
    (array([1.385, 1.   ]), array([0.0103, 0.    ]))
    """
    film = _film(thickness_nm, density_g_cm3, mass_thickness_kg_m2)
    standard = _standard(
        lines, composition, name, units, uncertainty, film,
        None if film is None else angle_of(lines.attrs, take_off_angle_deg),
        {"thickness_uncertainty": thickness_uncertainty,
         "absorption_uncertainty": absorption_uncertainty},
    )  # fmt: skip
    names = standard.counts.names
    first = names[0] if reference is None else reference
    if first not in names:
        raise EdsError(f"the reference {first!r} is not among the lines: {', '.join(names)}")
    logarithm, errors, modes = _measured(standard)
    at = names.index(first)
    k = np.exp(logarithm - logarithm[at])
    return _table("k", standard, k, errors, modes - modes[:, [at]], {"reference": first})


@computes
def zeta_from_standard(
    lines: xr.Dataset,
    composition: Mapping[str, float] | str,
    *,
    thickness_uncertainty: float,
    dose_uncertainty: float,
    name: str | None = None,
    units: str = "atomic",
    uncertainty: Mapping[str, float] | None = None,
    thickness_nm: float | None = None,
    density_g_cm3: float | None = None,
    mass_thickness_kg_m2: float | None = None,
    dose_electrons: float | xr.DataArray | None = None,
    probe_current_na: float | None = None,
    live_time_s: float | None = None,
    absorption: bool = True,
    take_off_angle_deg: float | None = None,
    tilt_deg: float | None = None,
    absorption_uncertainty: float = 0.05,
) -> xr.Dataset:
    """Measure zeta-factors on a film of known composition, thickness and dose.

    Computes: a table; of a map, its lines are read once.

    ``zeta_i = C_i rho t D / (n_i A_i)`` (Watanabe and Williams, J. Microsc. 221 (2006) 89).
    Cross-sections follow: :func:`cross_sections_from_zeta`.

    Parameters
    ----------
    lines, composition, name, units, uncertainty, take_off_angle_deg, absorption_uncertainty
        As in :func:`from_standard`.
    thickness_nm, density_g_cm3, mass_thickness_kg_m2 : float
        Of the film: the first two, or the third.
    dose_electrons, probe_current_na, live_time_s : float or DataArray, optional
        As in ``quantify_zeta``: electrons, or current and live time, of each spectrum or pixel.
    tilt_deg : float, optional
        The beam's way through a tilted film is longer; default is the attribute.
    thickness_uncertainty, dose_uncertainty : float
        Relative standard uncertainties of the mass thickness and of the dose. Every factor has
        them, so they must be stated; in ratios they cancel.
    absorption : bool
        Whether to correct for it; without, no take-off angle is needed.

    Returns
    -------
    Dataset over ``line``
        ``zeta`` [kg/m2 an electron and photon], ``standard_deviation`` and ``relative_error``.

    Raises
    ------
    EdsError
        As :func:`from_standard`; without thickness or dose.
    """
    film = _film(thickness_nm, density_g_cm3, mass_thickness_kg_m2)
    if film is None or film <= 0:
        raise EdsError(
            "zeta-factors need the film's mass thickness: give thickness_nm and density_g_cm3, or "
            "mass_thickness_kg_m2; k-factors (from_standard) do without"
        )
    dose = _total_dose(lines, dose_of(lines, dose_electrons, probe_current_na, live_time_s))
    way = way_through_film(lines.attrs, tilt_deg)
    standard = _standard(
        lines, composition, name, units, uncertainty, film,
        angle_of(lines.attrs, take_off_angle_deg) if absorption else None,
        {"thickness_uncertainty": thickness_uncertainty, "dose_uncertainty": dose_uncertainty,
         "absorption_uncertainty": absorption_uncertainty},
    )  # fmt: skip
    logarithm, errors, modes = _measured(standard)
    common = [standard.relative["thickness_uncertainty"], standard.relative["dose_uncertainty"]]
    modes[errors.index(_thickness_of(standard.name))] += common[0]
    errors.append(f"dose of {standard.name}")
    modes = np.vstack([modes, np.full(len(logarithm), common[1])])
    zeta = np.exp(logarithm) * film * way * dose
    return _table("zeta", standard, zeta, errors, modes, {"dose_electrons": dose})


def _total_dose(lines: xr.Dataset, dose: xr.DataArray) -> float:
    """Return the electrons that made the sum of all spectra or pixels with counts."""
    good = lines.net.reset_coords(drop=True).notnull().all("line")
    check_fits(dose, lines.net, "the dose")
    return float((dose * good).sum())


# -- the film and its counts ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Standard:
    """A film: amounts by mass [element] with relative errors, and counts."""

    name: str
    elements: list[str]
    fractions: np.ndarray  # by mass
    relative_amounts: np.ndarray
    counts: Counts
    mass_thickness_kg_m2: float
    angle_deg: float | None
    relative: dict[str, float]
    attrs: dict[str, Any]


def _standard(
    lines: xr.Dataset, composition: Mapping[str, float] | str, name: str | None, units: str,
    uncertainty: Mapping[str, float] | None, film: float | None, angle_deg: float | None,
    relative: dict[str, float],
) -> _Standard:  # fmt: skip
    check_one_of(units, UNITS["k"], "units")
    if why := no_thin_film(lines.attrs):
        raise EdsError(f"no factors: {why}; measure them on a film thin for its beam")
    amounts = checked_amounts(composition)
    elements, called = list(amounts), lines.attrs.get("source", "standard")
    doubts = _uncertainties(amounts, uncertainty or {})
    checked = {what: _not_negative(value, what) for what, value in relative.items()}
    mass = np.array([amounts[e] for e in elements])
    if units == "atomic":
        mass = mass * [atomic_mass(e) for e in elements]
    return _Standard(
        str(called if name is None else name), elements, mass / mass.sum(), doubts,
        counts_of(lines, elements), 0.0 if film is None else film, angle_deg, checked,
        conditions_of(lines.attrs),
    )  # fmt: skip


def _uncertainties(amounts: dict[str, float], given: Mapping[str, float]) -> np.ndarray:
    """Return the relative standard uncertainty of each amount [element]."""
    unknown = set(given) - set(amounts)
    if unknown:
        raise EdsError(f"an uncertainty but no amount of {', '.join(sorted(unknown))}")
    return np.array(
        [
            _not_negative(given.get(e, 0.0), f"the uncertainty of {e}") / a
            for e, a in amounts.items()
        ]
    )


def _not_negative(value: Any, what: str) -> float:
    if not 0 <= number(value, what) < np.inf:
        raise EdsError(f"{what} must be finite and not negative, found {value!r}")
    return float(value)


def checked_amounts(composition: Mapping[str, float] | str) -> dict[str, float]:
    """Return amounts by element, of a mapping or a formula; raise unless all are positive."""
    if isinstance(composition, str):
        import xraydb

        try:
            composition = dict(xraydb.chemparse(composition))
        except ValueError:
            raise EdsError(
                f"{composition!r} is no formula; expected one such as 'Mg2SiO4', or amounts by "
                "element, {'Mg': 2, 'Si': 1, 'O': 4}"
            ) from None
    if not isinstance(composition, Mapping) or not composition:
        raise EdsError(f"expected amounts by element, {{'Si': 1, 'O': 2}}, found {composition!r}")
    amounts = {str(e): number(v, f"the amount of {e}") for e, v in composition.items()}
    for element, amount in amounts.items():
        check_element(element)
        if not 0 < amount < np.inf:
            raise EdsError(f"the amount of {element} must be positive, found {amount!r}")
    return amounts


def _film(
    thickness_nm: float | None, density_g_cm3: float | None, mass_thickness_kg_m2: float | None
) -> float | None:
    film = mass_thickness_of(thickness_nm, density_g_cm3, mass_thickness_kg_m2)
    if film is None:
        return None
    if film.ndim:
        raise EdsError("a standard has one mass thickness, a number; give the mean of its map")
    return float(film)


# -- factors and their errors --------------------------------------------------------------------


def _measured(standard: _Standard) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return ``ln(C_i / n_i A_i)`` [line], names of errors, and these [error, line]."""
    counts, names = standard.counts, standard.counts.names
    place = [standard.elements.index(n.split("_")[0]) for n in names]
    logarithm = np.log(standard.fractions[place] / counts.net)
    # an amount dm changes the fraction of its own element, and the total
    by_amount = np.eye(len(standard.elements))[:, place] - standard.fractions[:, None]
    by_depth = np.zeros(len(names))
    if standard.angle_deg is not None:
        sine = np.sin(np.radians(standard.angle_deg))
        mu = attenuation_m2_kg(names, standard.elements) / sine * standard.mass_thickness_kg_m2
        depth = mu @ standard.fractions
        factor, slope = correction(depth)
        logarithm -= np.log(factor)
        by_depth = -slope * depth
        by_amount -= standard.fractions[:, None] * slope * (mu - depth[:, None]).T
    relative = counts.covariance / np.outer(counts.net, counts.net)
    modes = [
        -symmetric_root(relative),
        by_amount * standard.relative_amounts[:, None],
        by_depth * standard.relative["thickness_uncertainty"],
        by_depth * standard.relative["absorption_uncertainty"],
    ]
    errors = [
        *(f"counts of {n}, {standard.name}" for n in names),
        *(f"{e} of {standard.name}" for e in standard.elements),
        _thickness_of(standard.name),
        ABSORPTION,
    ]
    return logarithm, errors, np.vstack(modes)


def _thickness_of(name: str) -> str:
    return f"thickness of {name}"


def _table(
    kind: str, standard: _Standard, values: np.ndarray, errors: list[str], modes: np.ndarray,
    more: dict[str, Any],
) -> xr.Dataset:  # fmt: skip
    film, angle = standard.mass_thickness_kg_m2, standard.angle_deg
    attrs = {
        **standard.attrs, **more, "standardless": 0, "standard": standard.name,
        "mass_thickness_kg_m2": film if film > 0 else None,
        "take_off_angle_deg": angle, "absorption_corrected": int(angle is not None),
    }  # fmt: skip
    names = standard.counts.names
    made = make_table(kind, names, values, 0 * values, units=UNITS[kind][0], attrs=attrs)
    made = made.assign_attrs(standard.counts.scatter)
    return with_modes(made, kind, errors, modes)
