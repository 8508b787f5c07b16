"""What charges bring into a quantification, and what their balance says of its film."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from eds_xr.arguments import check_fits, number_or_array
from eds_xr.composition.uncertainty import marks
from eds_xr.composition.uncertainty.errors import SystematicError
from eds_xr.composition.valences import OXYGEN
from eds_xr.progress import warn
from eds_xr.schema import DOUBT, EdsError, spatial_dims, texts_of

if TYPE_CHECKING:
    from eds_xr.composition.results import Elements

#: The choice of the film's thickness that makes charges balance.
CHARGE_BALANCE = "charge_balance"
_TOO_MANY = "no thickness balances the charges: too many anions, even if nothing is absorbed"
_TOO_FEW = "no thickness balances the charges: too few anions, however thick the film"
_CURE = (
    "the composition is not corrected for absorption; ask the k-factors, oxygen's first, the "
    "charges, the fit of the anions' lines, and elements that were left out or have no line (H, Li)"
)


def balances(thickness: str | None, oxygen: str, given: bool) -> bool:
    """Tell whether the charge balance shall give the thickness; raise for what contradicts it."""
    if thickness is None:
        return False
    if thickness != CHARGE_BALANCE:
        raise EdsError(
            f"thickness is {CHARGE_BALANCE!r} or left out, found {thickness!r}; a number is given "
            "as thickness_nm, with density_g_cm3"
        )
    if given:
        raise EdsError(
            f"the film's thickness is given twice: by thickness={CHARGE_BALANCE!r} and as a number "
            "(thickness_nm or mass_thickness_kg_m2); leave one out"
        )
    if oxygen != "measured":
        raise EdsError(
            f"thickness={CHARGE_BALANCE!r} compares the oxygen that was measured with what the "
            f"charges ask for, and oxygen={oxygen!r} measures none; leave one out"
        )
    return True


def charges_per_mass(elements: Elements) -> np.ndarray:
    """Return the charge of a unit mass of each element that a line measures [line]."""
    assert elements.charges is not None
    charges = elements.charges.values
    if not (charges < 0).any():
        raise EdsError(
            "the charge balance needs an anion, and none was measured: fit O (O Ka lies at 0.525 "
            "keV: range_kev of fit_lines), F or Cl, or give the charge of another, "
            f"valences={{'S': -2}}; found {_shown(elements)}"
        )
    if not (charges > 0).any():
        raise EdsError(
            f"the charge balance needs a cation, and none was measured; found {_shown(elements)}"
        )
    return np.asarray(charges / elements.masses)


def errors_of_valences(elements: Elements) -> tuple[SystematicError, ...]:
    """Return the errors of charges: of the oxygen that they ask for, and of their balance."""
    if elements.charges is None:
        return ()
    lines, found = elements.mass_per_line_mass.shape[1], []
    for i in np.flatnonzero(elements.charges.deviations[:lines]):
        deviation, name = elements.charges.deviations[i], f"valence of {elements.symbols[i]}"
        charges = np.eye(lines)[i] * deviation / elements.masses[i]
        if len(elements.symbols) == lines:
            found.append(SystematicError(name, "valences", charges=charges))
            continue
        brought = np.zeros_like(elements.mass_per_line_mass)
        brought[-1] = charges / -OXYGEN * elements.masses[-1]
        found.append(SystematicError(name, "valences", mass_per_line_mass=brought))
    return tuple(found)


def errors_of_attenuation(names: list[str], relative: float) -> tuple[SystematicError, ...]:
    """Return an error of each line's attenuation, independent of the others.

    One error of all would be made up for by the thickness, and leave the composition as it is.
    """
    unity = np.eye(len(names))
    return tuple(
        SystematicError(f"attenuation of {name}", "absorption", depths=relative * row)
        for name, row in zip(names, unity, strict=True)
    )


def assumed_of(elements: Elements, density_g_cm3: float | xr.DataArray | None = None) -> list[str]:
    """Return what is assumed where charges are balanced, in the user's language."""
    if elements.charges is None:
        return []
    told = list(elements.charges.assumptions)
    if len(elements.symbols) == elements.mass_per_line_mass.shape[1]:  # no oxygen made up
        told.append(
            "thickness from the charge balance: of a homogeneous film whose ions are all measured"
        )
    return told + (["density as given, without error"] if density_g_cm3 is not None else [])


def with_thickness(found: xr.Dataset, density_g_cm3: float | xr.DataArray | None) -> xr.Dataset:
    """Return a composition with what the balance says: thickness in nm, and doubts."""
    if density_g_cm3 is not None:
        found = found.assign(_in_nm(found, density_g_cm3))
    if spatial_dims(found.mass_thickness) or found.mass_thickness.chunks:
        return _only_where_known(found)
    return _doubted(found)


def _in_nm(found: xr.Dataset, density: float | xr.DataArray) -> dict[str, xr.DataArray]:
    """Return the thickness in nm of a film of this density [g/cm^3], with its errors."""
    density = number_or_array(density, "density_g_cm3")
    check_fits(density, found.mass_thickness, "density_g_cm3")
    if density.chunks is None and not bool((density > 0).all()):
        raise EdsError(f"density_g_cm3 must be positive, found {float(density.min()):g}")
    per_mass, made = 1e6 / density, {}
    for name in [str(n) for n in found if str(n).startswith("mass_thickness")]:
        power, units = (2, "nm2") if "variance" in name else (1, "nm")
        text = str(found[name].attrs.get("long_name", "")).replace("mass thickness", "thickness")
        made[name.replace("mass_thickness", "thickness_nm")] = (
            found[name] * per_mass**power
        ).assign_attrs(long_name=text, units=units)
    return made


def _only_where_known(found: xr.Dataset) -> xr.Dataset:
    """Return a map's composition, NaN in pixels whose charges balance in no film."""
    known = found.mass_thickness.notnull()
    parts = {n: v for n, v in found.items() if set(known.dims) <= set(v.dims)}
    return found.assign({n: v.where(known) for n, v in parts.items() if v.dtype.kind == "f"})


def _doubted(found: xr.Dataset) -> xr.Dataset:
    """Return a composition with a doubt of each spectrum whose charges balance in no film."""
    best = found.mass_thickness
    likely = found.mass_thickness_lower.isel(coverage=-1, drop=True).notnull()
    unlikely = best.isnull() | ((best < 0) & ~likely)
    if not bool(unlikely.any()):
        return found
    text = xr.where(found.charge_ratio > 1, _TOO_MANY, _TOO_FEW).where(unlikely, "").astype(object)
    doubt = text.broadcast_like(found.atomic_fraction).astype(str)
    if DOUBT in found:
        doubt = marks.joined(marks.mark_of(found, DOUBT, found.atomic_fraction), doubt)
    messages = list(_messages(found, text))
    for message in messages:
        warn(message)
    told = [*texts_of(found.attrs, "warnings"), *messages]
    kept = {n: found[n].where(~unlikely) for n in found if _of_thickness(str(n))}
    return found.assign(kept).assign({DOUBT: doubt}).assign_attrs(warnings=told)


def _of_thickness(name: str) -> bool:
    own = name.startswith(("mass_thickness", "thickness_nm"))
    return own and not name.endswith(("_lower", "_upper"))


def _messages(found: xr.Dataset, text: xr.DataArray) -> Any:
    for place in np.ndindex(text.shape):
        at = dict(zip(text.dims, place, strict=True))
        one = str(text[at].item())
        if one:
            named = [str(text[d][i].item()) for d, i in at.items() if d in text.coords]
            where = f"{', '.join(named)}: " if named else ""
            ratio = float(found.charge_ratio[at])
            yield (
                f"{where}{one}; without absorption the anions measured have {ratio:.2f} times the "
                f"charge of the cations; {_CURE}"
            )


def _shown(elements: Elements) -> str:
    assert elements.charges is not None
    named = zip(elements.symbols, elements.charges.values, strict=True)
    return ", ".join(f"{e} {c:+g}" for e, c in named)
