"""Symbols, masses and lists of the elements, and elements that callers give, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from eds_xr.schema import EdsError

#: Hydrogen to californium, whose lines are tabulated, by atomic number.
SYMBOLS = tuple(
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm "
    "Bk Cf".split()
)
#: Elements found in nature, from lithium to uranium, less those that are there in traces only.
NATURAL_ELEMENTS = tuple(
    e for e in SYMBOLS[2:92] if e not in {"Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Pa"}
)

#: Elements that few samples are made of: below 3 ppm of the Earth's crust (Rudnick & Gao 2003,
#: Treatise on Geochemistry 3, 1), and of few materials that are made. Their L and M lines stand
#: beside K lines of common ones (Br at Al, Re at Si, Tl at S).
SELDOM = frozenset({"Ne", "Kr", "Xe", "Br", "I", "Tm", "Re", "Os", "Tl"})

#: Elements that appear in a TEM spectrum without being in the sample, and where they come from.
STRAY_LINES = MappingProxyType(
    {
        "C": "support film, and contamination under the beam",
        "Al": "holder clip, contact of the detector",
        "Si": "detector (fluorescence within its dead layer), nitride membrane",
        "Cl": "cleaning, embedding resin",
        "Ar": "ion milling",
        "Cr": "steel of the column",
        "Fe": "pole piece, steel of the column",
        "Co": "pole piece",
        "Ni": "grid",
        "Cu": "grid, holder, brazing",
        "Zn": "holder (brass)",
        "Ga": "implanted by the focused ion beam",
        "Zr": "detector collimator",
        "Mo": "grid, aperture",
        "Xe": "implanted by the plasma focused ion beam",
        "Ta": "collimator, aperture",
        "W": "protective strap of the focused ion beam",
        "Pt": "protective strap of the focused ion beam, aperture",
        "Au": "grid, coating",
        "Pb": "shielding, brass of the holder",
    }
)


def check_element(element: str) -> None:
    """Raise unless `element` is the symbol of a chemical element (H to Cf)."""
    if element not in SYMBOLS:
        raise EdsError(f"no chemical element {element!r}; expected a symbol such as 'Fe'")


def atomic_mass(element: str) -> float:
    """Return the atomic mass of an element [g/mol].

    Examples
    --------
    >>> round(atomic_mass("Fe"), 2)
    55.84
    """
    import xraydb

    check_element(element)
    return float(xraydb.atomic_mass(element))


def masses(lines: Sequence[str]) -> np.ndarray:
    """Return the atomic mass of each line's element [g/mol]."""
    return np.array([atomic_mass(name.split("_")[0]) for name in lines])


def element_names(given: Any, what: str = "elements") -> list[str]:
    """Return elements, each once; a single one may be given as its symbol."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Iterable):
        raise EdsError(f"{what} must be a list of symbols, such as ['Mg', 'Fe'], found {given!r}")
    names = list(dict.fromkeys(given))
    for name in names:
        check_element(name)
    return names


def symbols(numbers: Iterable[int]) -> list[str]:
    """Return the symbols of atomic numbers, lightest first; numbers of no element are left out.

    Examples
    --------
    >>> symbols([26, 12, 0])
    ['Mg', 'Fe']
    """
    return [SYMBOLS[z - 1] for z in sorted(set(numbers)) if 1 <= z <= len(SYMBOLS)]
