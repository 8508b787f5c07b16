"""Lines of the elements under the beam, from xraylib's tables.

Edge and line energies, radiative rates, fluorescence yields and Coster-Kronig probabilities are
xraylib's (Schoonjans et al., Spectrochim. Acta B 66 (2011) 776). A line's photons per atom are
the vacancies of its sub-shell (ionisation, then Coster-Kronig transfers within the shell), times
yield, times rate. Vacancies that a K or L decay leaves in the next shell are neglected.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import xraylib
from support.independent.cross_sections import BARN_M2, SHELLS, ionisation_barn

#: No detector sees less [keV].
LOWEST_KEV = 0.1

#: Siegbahn's name of a group by initial and final sub-shell; others are called "L_rest".
_GROUPS = {
    "La": "L3M4 L3M5", "Lb1": "L2M4", "Lb2": "L3N4 L3N5", "Lb3": "L1M3", "Lb4": "L1M2",
    "Lb6": "L3N1", "Lg1": "L2N4", "Lg2": "L1N2", "Lg3": "L1N3", "Ll": "L3M1", "Ln": "L2M1",
    "Ma": "M5N6 M5N7", "Mb": "M4N6", "Mg": "M3N5", "Mz": "M5N3 M4N2",
}  # fmt: skip
_GROUP_OF = {line: group for group, lines in _GROUPS.items() for line in lines.split()}
_LINES = tuple(
    name.removesuffix("_LINE")
    for name in dir(xraylib)
    if re.fullmatch(r"(K|L[123]|M[1-5])[LMNOPQ]\d+_LINE", name)  # no group such as KA or LB
)


@dataclass(frozen=True)
class Line:
    """A single line: ``name`` such as "L3M5", ``group`` such as "Pt_La", photons per atom [m^2]."""

    element: str
    family: str
    name: str
    group: str
    energy_kev: float
    photons_m2: float


@lru_cache(maxsize=1024)
def lines(element: str, beam_kev: float = 200.0) -> tuple[Line, ...]:
    """Return the lines of an element above 0.1 keV, strongest first."""
    number = xraylib.SymbolToAtomicNumber(element)
    photons = {s: n * fluorescence_yield(number, s) for s, n in vacancies(number, beam_kev).items()}
    found = []
    for name in _LINES:
        shell = next((s for s in photons if name.startswith(s)), None)
        if shell is None:
            continue
        energy = _known(xraylib.LineEnergy, number, getattr(xraylib, name + "_LINE"))
        rate = _known(xraylib.RadRate, number, getattr(xraylib, name + "_LINE"))
        if energy >= LOWEST_KEV and rate * photons[shell] > 0:
            group = f"{element}_{_group(name)}"
            amount = photons[shell] * rate * BARN_M2
            found.append(Line(element, shell[0], name, group, energy, amount))
    return tuple(sorted(found, key=lambda line: -line.photons_m2))


def vacancies(number: int, beam_kev: float) -> dict[str, float]:
    """Return the vacancies of each sub-shell of an atom [barn], after Coster-Kronig transfers."""
    edges = {s: edge_kev(number, s) for s in SHELLS}
    found = {s: ionisation_barn(s, e, beam_kev) for s, e in edges.items() if e > LOWEST_KEV}
    for inner in found:  # from the inside, so that M1 to M3 to M5 is followed
        for outer in found:
            if inner[0] == outer[0] and inner < outer:
                found[outer] += found[inner] * coster_kronig(number, inner, outer)
    return found


def edge_kev(number: int, shell: str) -> float:
    """Return the energy of an edge [keV], 0 where there is none."""
    return _known(xraylib.EdgeEnergy, number, getattr(xraylib, f"{shell}_SHELL"))


def fluorescence_yield(number: int, shell: str) -> float:
    """Return the yield; that of M4 stands for M5, which xraylib lacks up to praseodymium."""
    found = _known(xraylib.FluorYield, number, getattr(xraylib, f"{shell}_SHELL"))
    return fluorescence_yield(number, "M4") if shell == "M5" and not found else found


def coster_kronig(number: int, inner: str, outer: str) -> float:
    """Return the share of vacancies that move between sub-shells of a shell."""
    transfer = getattr(xraylib, f"F{inner[0]}{inner[1]}{outer[1]}_TRANS")
    return _known(xraylib.CosKronTransProb, number, transfer)


def line_energy_kev(group: str, beam_kev: float = 200.0) -> float:
    """Return the mean energy of a group ("Fe_Ka"), weighted by its photons [keV]."""
    found = [x for x in lines(group.split("_")[0], beam_kev) if x.group == group]
    if not found:
        raise ValueError(f"no line {group}")
    return sum(x.energy_kev * x.photons_m2 for x in found) / sum(x.photons_m2 for x in found)


def family_photons_m2(element: str, family: str, beam_kev: float = 200.0) -> float:
    """Return the photons of a family per atom [m^2]."""
    return sum(x.photons_m2 for x in lines(element, beam_kev) if x.family == family)


def mass_kg(element: str) -> float:
    """Return the mass of an atom [kg]."""
    return xraylib.AtomicWeight(xraylib.SymbolToAtomicNumber(element)) * 1.66053907e-27


def _group(name: str) -> str:
    if name[0] == "K":
        return "Ka" if name[1] == "L" else "Kb"
    return _GROUP_OF.get(name, f"{name[0]}_rest")


def _known(read: Callable[..., float], *key: int) -> float:
    """Return a value of a table, 0 where xraylib has none."""
    try:
        return max(0.0, read(*key))
    except ValueError:
        return 0.0
