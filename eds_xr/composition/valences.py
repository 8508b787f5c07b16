"""Charges of the elements: what oxygen by stoichiometry and the charge balance rest on.

Which charge an element has is an assumption where it has several usual ones. The charge that is
used is then one end or the middle of a range, `USUAL_RANGES`, within which any is as likely as any
other; its standard uncertainty is the root mean square of what the truth may differ from it by:
``sqrt((middle - used)^2 + (highest - lowest)^2 / 12)``. Iron as 2 of 2 to 3: 0.58. A charge that is
given is taken to be known, unless an uncertainty is given, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from eds_xr.arguments import number
from eds_xr.schema import EdsError
from eds_xr.xray.elements import check_element

#: Charges in the oxides of mineral analyses (FeO, MnO, Ce2O3, UO2); F and Cl take oxygen's place.
#: Iron's is a choice: give {"Fe": 3} for Fe2O3, {"Fe": 2.4} for a mixture.
CHARGES = MappingProxyType(
    dict.fromkeys(["H", "Li", "Na", "K", "Rb", "Cs", "Ag", "Tl"], 1.0)
    | dict.fromkeys(["Be", "Mg", "Ca", "Sr", "Ba", "Mn", "Fe", "Co", "Ni"], 2.0)
    | dict.fromkeys(["Cu", "Zn", "Cd", "Pb"], 2.0)
    | dict.fromkeys(["B", "Al", "Sc", "V", "Cr", "Ga", "Y", "In", "La", "Ce", "Pr", "Nd"], 3.0)
    | dict.fromkeys(["Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu"], 3.0)
    | dict.fromkeys(["Bi", "As", "Sb"], 3.0)
    | dict.fromkeys(["C", "Si", "Ti", "Ge", "Zr", "Sn", "Hf", "Th", "U"], 4.0)
    | dict.fromkeys(["P", "Nb", "Ta"], 5.0)
    | dict.fromkeys(["S", "Mo", "W"], 6.0)
    | dict.fromkeys(["F", "Cl"], -1.0)
)

#: Elements with several usual charges in oxides, and from which to which.
USUAL_RANGES = MappingProxyType(
    {
        "Fe": (2.0, 3.0), "Mn": (2.0, 4.0), "Co": (2.0, 3.0), "Cu": (1.0, 2.0), "Ti": (3.0, 4.0),
        "V": (3.0, 5.0), "Cr": (2.0, 3.0), "Ce": (3.0, 4.0), "Pr": (3.0, 4.0), "Eu": (2.0, 3.0),
        "Tb": (3.0, 4.0), "Sn": (2.0, 4.0), "Sb": (3.0, 5.0), "As": (3.0, 5.0), "Mo": (4.0, 6.0),
        "U": (4.0, 6.0),
    }
)  # fmt: skip
OXYGEN = -2.0


@dataclass(frozen=True)
class Charges:
    """Charges of elements [element], their standard uncertainties, and what of it is assumed."""

    values: np.ndarray
    deviations: np.ndarray
    assumptions: tuple[str, ...]


def charges_of(
    elements: Sequence[str],
    valences: Mapping[str, float] | None,
    uncertainty: Mapping[str, float] | None = None,
) -> Charges:
    """Return the charges of elements, as given or the usual ones; oxygen's is -2.

    Parameters
    ----------
    elements : sequence of str
    valences, uncertainty : mapping, optional
        Charges and standard uncertainties by element. An element without uncertainty has none
        if its charge is given or it has one usual charge; else that of its range.
    """
    given, spread = _checked(valences or {}), _checked_spread(uncertainty or {})
    cations = [e for e in elements if e != "O"]
    values = dict(zip(cations, 2 * oxygen_per_atom(cations, valences), strict=True))
    values["O"] = OXYGEN
    deviations = {e: 0.0 for e in elements}
    deviations |= {e: _of_range(e) for e in elements if e in USUAL_RANGES and e not in given}
    deviations |= {e: s for e, s in spread.items() if e in deviations}
    texts = [_text(e, float(values[e]), deviations[e], e in given) for e in cations]
    return Charges(
        np.array([float(values[e]) for e in elements]),
        np.array([deviations[e] for e in elements]),
        (f"charges: {', '.join(texts)}",) if texts else (),
    )


def oxygen_per_atom(elements: Sequence[str], valences: Mapping[str, float] | None) -> np.ndarray:
    """Return the atoms of oxygen that balance one atom of each element: half its charge."""
    charges = {**CHARGES, **_checked(valences or {})}
    missing = [e for e in elements if e not in charges]
    if missing:
        raise EdsError(
            f"no usual charge is known for {', '.join(missing)}; give it: "
            f"valences={{{missing[0]!r}: 3}} (0 for an element that binds no oxygen)"
        )
    return np.array([charges[e] / 2 for e in elements])


def valences_from_text(text: str) -> dict[str, float] | None:
    """Return the charges that ``Fe=3,S=-2`` tells; None for an empty text."""
    try:
        pairs = [one.split("=") for one in text.split(",") if one.strip()]
        return {element.strip(): float(charge) for element, charge in pairs} or None
    except ValueError:
        raise EdsError(f"valences must be charges, as Fe=3,S=-2; found {text!r}") from None


def _checked(valences: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(valences, Mapping):
        raise EdsError(f"valences must be charges by element, {{'Fe': 3}}, found {valences!r}")
    charges = {e: number(c, f"the charge of {e}") for e, c in valences.items()}
    for element, charge in charges.items():
        check_element(element)
        if element == "O":
            raise EdsError("oxygen balances the others: it has no charge of its own in valences")
        if not -4 <= charge <= 8:
            raise EdsError(f"the charge of {element} must lie between -4 and 8, found {charge!r}")
    return charges


def _checked_spread(uncertainty: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(uncertainty, Mapping):
        raise EdsError(
            f"valence_uncertainty must be standard uncertainties by element, {{'Fe': 0.3}}, found "
            f"{uncertainty!r}"
        )
    found = {e: number(s, f"the uncertainty of {e}'s charge") for e, s in uncertainty.items()}
    for element, spread in found.items():
        check_element(element)
        if element == "O":
            raise EdsError("oxygen's charge is -2, without uncertainty")
        if not 0 <= spread <= 8:
            raise EdsError(
                f"the uncertainty of {element}'s charge must lie between 0 and 8, found {spread!r}"
            )
    return found


def _of_range(element: str) -> float:
    lowest, highest = USUAL_RANGES[element]
    off = (lowest + highest) / 2 - CHARGES[element]
    return float(np.hypot(off, (highest - lowest) / 12**0.5))


def _text(element: str, charge: float, deviation: float, given: bool) -> str:
    text = f"{element} {charge:+g}" if charge else f"{element} 0"
    if not deviation:
        return text
    lowest, highest = USUAL_RANGES.get(element, (charge, charge))
    usual = f", usual {lowest:g} to {highest:g}" if not given and lowest < highest else ""
    return f"{text} (+- {deviation:.2g}{usual})"
