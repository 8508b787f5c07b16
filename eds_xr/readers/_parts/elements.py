"""Chemical symbols in the order of the atomic numbers, which vendors write."""

from __future__ import annotations

from collections.abc import Iterable

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm "
    "Bk Cf"
).split()


def symbols(numbers: Iterable[int]) -> list[str]:
    """Return the symbols of atomic numbers, lightest first; numbers of no element are left out.

    Examples
    --------
    >>> symbols([26, 12, 0])
    ['Mg', 'Fe']
    """
    return [_SYMBOLS[z - 1] for z in sorted(set(numbers)) if 1 <= z <= len(_SYMBOLS)]
