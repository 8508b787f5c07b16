"""A foil in the beam: how much of it there is, what it absorbs, its bremsstrahlung."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xraylib
from numpy.typing import ArrayLike
from support.independent.detector import attenuation_m2_kg
from support.independent.lines import mass_kg

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass(frozen=True)
class Foil:
    """A flat foil across the beam; photons leave towards the detector at the take-off angle."""

    thickness_nm: float = 80.0
    density_g_cm3: float = 5.0
    take_off_deg: float = 20.0


def atom_fractions(atoms: Mapping[str, float]) -> dict[str, float]:
    """Return amounts of atoms as fractions."""
    total = sum(atoms.values())
    return {element: amount / total for element, amount in atoms.items() if amount > 0}


def mass_fractions(atoms: Mapping[str, float]) -> dict[str, float]:
    """Return the mass fractions of a composition in atoms."""
    mass = {element: amount * mass_kg(element) for element, amount in atoms.items()}
    total = sum(mass.values())
    return {element: m / total for element, m in mass.items()}


def atoms_per_m2(atoms: Mapping[str, float], foil: Foil) -> dict[str, float]:
    """Return how many atoms of each element the beam passes, per area."""
    fractions = atom_fractions(atoms)
    mean_kg = sum(x * mass_kg(element) for element, x in fractions.items())
    all_atoms = foil.density_g_cm3 * 1000 * foil.thickness_nm * 1e-9 / mean_kg
    return {element: x * all_atoms for element, x in fractions.items()}


def transmitted(atoms: Mapping[str, float], foil: Foil, energy_kev: ArrayLike) -> np.ndarray:
    """Return the share of photons that leave the foil, made at all depths alike.

    The way out is ``z / sin(take-off)``; depths are integrated by Gauss and Legendre.
    """
    attenuation = attenuation_m2_kg(mass_fractions(atoms), energy_kev)
    way_kg_m2 = foil.density_g_cm3 * 1000 * foil.thickness_nm * 1e-9
    way_kg_m2 /= np.sin(np.radians(foil.take_off_deg))
    depth = (_NODES + 1) / 2
    leaves = np.exp(-np.multiply.outer(attenuation, depth) * way_kg_m2)
    return leaves @ (_WEIGHTS / 2)


def bremsstrahlung(
    atoms: Mapping[str, float], foil: Foil, energy_kev: ArrayLike, beam_kev: float = 200.0
) -> np.ndarray:
    """Return photons per energy and area that leave the foil, in units of their own.

    Kramers' law with another exponent, ``((E0 - E) / E)^1.12``, and with a part that hardly falls
    with energy (electrons that hit the holder); each atom as the square of its number.
    """
    energy = np.clip(np.asarray(energy_kev, float), 0.05, beam_kev)
    soft = ((beam_kev - energy) / energy) ** 1.12
    hard = 0.6 * ((beam_kev - energy) / beam_kev) ** 0.5
    strength = sum(
        area * xraylib.SymbolToAtomicNumber(element) ** 2
        for element, area in atoms_per_m2(atoms, foil).items()
    )
    return strength * (soft * transmitted(atoms, foil, energy) + hard)
