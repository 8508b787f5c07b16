"""X-ray lines: energies, weights, families, and how many photons an atom emits.

Energies, branching ratios, fluorescence yields and Coster-Kronig probabilities are those of
Elam, Ravel and Sieber (Radiat. Phys. Chem. 63 (2002) 121), read through xraydb. Their energies
are differences of atomic levels: right to 10 eV for every line used here, one tenth of a peak's
width. Names are those of the field: ``"Fe_Ka"``, ``"Nd_La"``, ``"U_Ma"``.

Lines that no EDS detector separates share a name (`Ka`: Ka1, Ka2, Ka3; `Kb`: all of Kb1 to Kb5;
`La`: La1, La2; `Lb2`: Lb2 and Lb15); every other line has its own. :func:`components` gives the
single lines of a group, for those who draw or fit peaks of heavy elements.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from eds_xr.schema import EdsError
from eds_xr.xray.atomic_data import check_beam, group_of, line_names, single_lines
from eds_xr.xray.atomic_data import ionisation_cross_section_m2 as ionisation_cross_section_m2
from eds_xr.xray.detector import FANO_KEV as FANO_KEV
from eds_xr.xray.detector import MN_KA_KEV as MN_KA_KEV
from eds_xr.xray.detector import detector_efficiency as detector_efficiency
from eds_xr.xray.detector import peak_sigma_kev as peak_sigma_kev
from eds_xr.xray.elements import check_element as check_element

FAMILIES = ("K", "L", "M")

#: Relative standard uncertainty of :func:`emission_per_atom`, one family against another.
#: K from the scatter of Bethe cross-sections and yields; L and M are dominated by the yields
#: and Coster-Kronig probabilities, for M also by the lines that Elam's table lacks.
EMISSION_UNCERTAINTY = MappingProxyType({"K": 0.10, "L": 0.20, "M": 0.30})
#: Provisional, until each line has its own: relative uncertainty of weights, and of energies.
_WEIGHT_UNCERTAINTY = MappingProxyType({"K": 0.03, "L": 0.10, "M": 0.20})
_ENERGY_UNCERTAINTY_KEV = 0.002


@dataclass(frozen=True)
class XrayLine:
    """A line, or a group of lines that share a name.

    Attributes
    ----------
    name : str
        Such as ``"Fe_Ka"``.
    element, family : str
        Symbol, and ``"K"``, ``"L"`` or ``"M"``.
    energy_kev : float
        Mean of the group, weighted by intensity.
    weight : float
        Share of the photons of the whole family of the element (those sum to 1).
    weight_uncertainty : float
        Relative standard uncertainty of `weight`.
    energy_uncertainty_kev : float
        Standard uncertainty of `energy_kev`.
    """

    name: str
    element: str
    family: str
    energy_kev: float
    weight: float
    weight_uncertainty: float
    energy_uncertainty_kev: float


def split_line(name: str) -> tuple[str, str]:
    """Return element and line of a name.

    Raises
    ------
    EdsError
        If the name has another form, or the element or its line does not exist.

    Examples
    --------
    >>> split_line("Fe_Ka")
    ('Fe', 'Ka')
    """
    element, _, line = str(name).partition("_")
    if not line:
        raise EdsError(f"expected a line such as 'Fe_Ka', found {name!r}")
    check_element(element)
    known = line_names(element)
    if line not in known:
        raise EdsError(f"{element} has no line {line!r}; it has {', '.join(known) or 'none'}")
    return element, line


def family(element: str, shell: str, beam_energy_kev: float = 200.0) -> tuple[XrayLine, ...]:
    """Return the lines of one family of an element, strongest first.

    Within a family the weights follow from where the vacancies are: ionisation of each
    sub-shell by the beam, Coster-Kronig transfers to outer sub-shells, then each one's
    fluorescence yield and branching. Empty when the element has no such lines, or when the beam
    cannot excite them.

    Parameters
    ----------
    element : str
    shell : {"K", "L", "M"}
    beam_energy_kev : float

    Raises
    ------
    EdsError
        For an unknown element or family, or a beam energy that is not positive.
    """
    check_element(element)
    check_beam(beam_energy_kev)
    if shell not in FAMILIES:
        raise EdsError(f"family must be one of 'K', 'L', 'M', found {shell!r}")
    return _family(element, shell, float(beam_energy_kev))


def components(name: str, beam_energy_kev: float = 200.0) -> tuple[XrayLine, ...]:
    """Return the single lines of a group, strongest first; their weights sum to the group's.

    Examples
    --------
    >>> [line.name for line in components("Cu_Ka")]
    ['Cu_Ka1', 'Cu_Ka2', 'Cu_Ka3']
    """
    element, line = split_line(name)
    check_beam(beam_energy_kev)
    singles = single_lines(element, line[0], float(beam_energy_kev))
    total = sum(photons for _, _, photons in singles)
    found = [
        _line(f"{element}_{single}", line[0], energy, photons / total)
        for single, energy, photons in singles
        if group_of(single) == line
    ]
    return tuple(sorted(found, key=lambda x: -x.weight))


def principal_line(
    element: str,
    beam_energy_kev: float = 200.0,
    *,
    min_kev: float = 0.1,
    max_kev: float = 12.5,
) -> str:
    """Return the line that the element is usually measured by: Ka, else La, else Ma (else Mz).

    The first of them that lies between `min_kev` and `max_kev`. The defaults give Ka up to
    bromine, La up to bismuth, and Ma from thorium on.

    Raises
    ------
    EdsError
        If none of these lines lies in the range.

    Examples
    --------
    >>> [principal_line(element) for element in ("Mg", "Nd", "U")]
    ['Mg_Ka', 'Nd_La', 'U_Ma']
    """
    found = principal_lines([element], min_kev, max_kev, beam_energy_kev)
    if found:
        return found[element]
    raise EdsError(
        f"{element} has no principal line between {min_kev:g} and {max_kev:g} keV at a beam energy "
        f"of {beam_energy_kev:g} keV; widen the range, or leave the element out"
    )


def principal_lines(
    elements: Iterable[str], min_kev: float, max_kev: float, beam_energy_kev: float = 200.0
) -> dict[str, str]:
    """Return the :func:`principal_line` of each element that has one between two energies."""
    found = {}
    for element in elements:
        lines = {x.name: x for shell in FAMILIES for x in family(element, shell, beam_energy_kev)}
        for name in (f"{element}_{line}" for line in ("Ka", "La", "Ma", "Mz", "Ll")):
            if name in lines and min_kev <= lines[name].energy_kev <= max_kev:
                found[element] = name
                break
    return found


def line_on_axis(name: str, energy_kev: np.ndarray, beam_energy_kev: float = 200.0) -> str:
    """Return a line as it is, for an element its principal line on an energy axis [channel].

    Raises
    ------
    EdsError
        For an unknown line or element, or an element with no principal line on the axis.
    """
    if "_" in name:
        split_line(name)
        return name
    low, high = float(energy_kev[0]), float(energy_kev[-1])
    return principal_line(name, beam_energy_kev, min_kev=low, max_kev=high)


def line_energy_kev(name: str) -> float:
    """Return the energy of a line [keV].

    Examples
    --------
    >>> round(line_energy_kev("Cu_Ka"), 3)
    8.04
    """
    element, line = split_line(name)
    for found in _family(element, line[0], 200.0):  # a beam that excites every element's lines
        if found.name == name:
            return found.energy_kev
    raise EdsError(f"{name} has no fluorescence yield in the tables; leave it out")


def emission_per_atom(name: str, beam_energy_kev: float = 200.0) -> float:
    """Return the photons of a line (or group) per atom, a unit of beam fluence [m^2].

    Cross-section times fluorescence yield times branching, summed over the sub-shells with
    Coster-Kronig transfers. Vacancies that an inner shell's decay leaves (K to L, L to M) are
    left out: a few percent. Relative uncertainty: `EMISSION_UNCERTAINTY`.

    Parameters
    ----------
    name : str
        Such as ``"Fe_Ka"``.
    beam_energy_kev : float
    """
    element, line = split_line(name)
    check_beam(beam_energy_kev)
    singles = single_lines(element, line[0], float(beam_energy_kev))
    return sum(photons for single, _, photons in singles if group_of(single) == line)


@lru_cache(maxsize=4096)
def _family(element: str, shell: str, beam_energy_kev: float) -> tuple[XrayLine, ...]:
    groups: dict[str, list[tuple[float, float]]] = {}
    for single, energy, photons in single_lines(element, shell, beam_energy_kev):
        groups.setdefault(group_of(single), []).append((energy, photons))
    total = sum(photons for lines in groups.values() for _, photons in lines)
    found = []
    for line, parts in groups.items():
        photons = sum(p for _, p in parts)
        energy = sum(e * p for e, p in parts) / photons
        found.append(_line(f"{element}_{line}", shell, energy, photons / total))
    return tuple(sorted(found, key=lambda x: -x.weight))


def _line(name: str, shell: str, energy_kev: float, weight: float) -> XrayLine:
    uncertainty = _WEIGHT_UNCERTAINTY[shell]
    element = name.split("_")[0]
    return XrayLine(name, element, shell, energy_kev, weight, uncertainty, _ENERGY_UNCERTAINTY_KEV)
