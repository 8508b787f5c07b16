"""Oxygen by stoichiometry: how much of it each cation brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
