"""X-ray lines: energies, weights, families, and how many photons an atom emits.

Weights within a family are the means of two tables: Elam, Ravel and Sieber (Radiat. Phys. Chem.
63 (2002) 121; for Kb / Ka Scofield, Phys. Rev. A 9 (1974) 1041) and xraylib (Schoonjans et al.,
Spectrochim. Acta B 66 (2011) 776), which also gives the energies. What the two differ by is part
of each line's uncertainty.

Names are Siegbahn's: ``"Fe_Ka"``, ``"Nd_La"``, ``"U_Ma"``; lines that he named not are called by
their transition, ``"U_M2N4"``. Lines that no EDS detector separates share a name (`Ka`: Ka1, Ka2,
Ka3; `Kb`: all of Kb1 to Kb5; `La`: La1, La2; `Lb2`: Lb2 and Lb15; `Mg`: M3N5, M3N4; `Mz`: M4N2,
M5N3); every other line has its own. :func:`components` gives the single lines of a group, for
those who draw or fit peaks of heavy elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from eds_xr.schema import EdsError
from eds_xr.xray.atomic_data import (
    SOURCES,
    TabulatedLine,
    check_beam,
    group_of,
    line_names,
    single_lines,
    subshells,
)
from eds_xr.xray.atomic_data import ionisation_cross_section_m2 as ionisation_cross_section_m2
from eds_xr.xray.detector import FANO_KEV as FANO_KEV
from eds_xr.xray.detector import MN_KA_KEV as MN_KA_KEV
from eds_xr.xray.detector import detector_efficiency as detector_efficiency
from eds_xr.xray.detector import peak_sigma_kev as peak_sigma_kev
from eds_xr.xray.elements import SYMBOLS
from eds_xr.xray.elements import check_element as check_element

FAMILIES = ("K", "L", "M")

#: Least relative standard uncertainty of :func:`emission_per_atom`, one family against another.
#: K from the scatter of Bethe cross-sections and yields; L and M are dominated by the yields
#: and Coster-Kronig probabilities. M: a published table of k-factors at 200 kV differs from ours by
#: 0.32 to 1.61 times from Gd to U, root mean square 0.39 in the logarithm; others by 0.66 to 1.71.
EMISSION_UNCERTAINTY = MappingProxyType({"K": 0.10, "L": 0.20, "M": 0.40})
#: More of soft lines, up to an atomic number. K: standard deviation of the logarithms of three
#: tables of yields, Elam's, xraylib's and Krause's (J. Phys. Chem. Ref. Data 8 (1979) 307), whose
#: own doubt below neon is 10 to 40 %. L of open 3d shells, where bonds change the yields: the same
#: table of k-factors, its window taken away, is 3.3 times ours for Ti and V, 1.9 for Cr, 1.55 for
#: Mn, 1.2 and less from Fe on.
_SOFT_UNCERTAINTY = MappingProxyType(
    {
        "K": ((4, 0.5), (5, 0.46), (6, 0.38), (7, 0.26), (9, 0.18)),
        "L": ((23, 0.8), (24, 0.5), (25, 0.35)),
        "M": (),
    }
)


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
    return _lines(element, shell, float(beam_energy_kev), grouped=True)


def components(name: str, beam_energy_kev: float = 200.0) -> tuple[XrayLine, ...]:
    """Return the single lines of a group, strongest first; their weights sum to the group's.

    Examples
    --------
    >>> [line.name for line in components("Cu_Ka")]
    ['Cu_Ka1', 'Cu_Ka2']
    """
    element, line = split_line(name)
    check_beam(beam_energy_kev)
    found = _lines(element, line[0], float(beam_energy_kev), grouped=False)
    return tuple(x for x in found if group_of(x.name.partition("_")[2]) == line)


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
    8.041
    """
    element, line = split_line(name)
    # 200 keV excite every line of the table
    return next(x.energy_kev for x in family(element, line[0], 200.0) if x.name == name)


def emission_per_atom(name: str, beam_energy_kev: float) -> float:
    """Return the photons of a line (or group) per atom, a unit of beam fluence [m^2].

    Cross-section times fluorescence yield times branching, summed over the sub-shells with
    Coster-Kronig transfers. Vacancies that an inner shell's decay leaves (K to L, L to M) are
    left out: a few percent. Yields are Elam's: with xraylib's, which are higher for light
    elements (Si K 0.050, not 0.043), or with means of the two, factors of Fe and Ni against Si
    leave the span of the measured ones. How well it is known: :func:`emission_uncertainty`.

    Parameters
    ----------
    name : str
        Such as ``"Fe_Ka"``.
    beam_energy_kev : float
    """
    element, line = split_line(name)
    check_beam(beam_energy_kev)
    totals = _family_photons_m2(element, line[0], float(beam_energy_kev))
    lines = family(element, line[0], beam_energy_kev)
    return totals[0] * sum(x.weight for x in lines if x.name == name)


def emission_uncertainty(name: str, beam_energy_kev: float) -> float:
    """Return the relative standard uncertainty of :func:`emission_per_atom`.

    `EMISSION_UNCERTAINTY` of the family: K 0.10, L 0.20, M 0.40. More where published yields are
    further apart (K of B 0.46, C 0.38, N 0.26, O and F 0.18; L up to Mn), where those of its
    sub-shells are less well known (M4 and M5 up to Ba), or the line's share of its family (Ma and
    Mz of La to Eu). It covers what published tables differ by, not an error of one of them.
    """
    element, line = split_line(name)
    lines = {x.name: x for x in family(element, line[0], beam_energy_kev)}
    if name not in lines:
        return EMISSION_UNCERTAINTY[line[0]]
    first, second = _family_photons_m2(element, line[0], float(beam_energy_kev))
    known = subshells(element)
    photons: dict[str, float] = {}
    for single, parts in single_lines(element, line[0], float(beam_energy_kev)):
        photons[single.subshell] = photons.get(single.subshell, 0.0) + parts[0] / first
    strengths = [part * known[s].strength_uncertainty for s, part in photons.items()]
    number, apart = SYMBOLS.index(element) + 1, abs(first - second) / (first + second)
    apart = max(apart, next((u for z, u in _SOFT_UNCERTAINTY[line[0]] if number <= z), 0.0))
    return max(
        EMISSION_UNCERTAINTY[line[0]],
        math.hypot(apart, lines[name].weight_uncertainty, *strengths),
    )


def _family_photons_m2(element: str, shell: str, beam_energy_kev: float) -> tuple[float, ...]:
    """Return the photons of a family per atom [m^2] of each source."""
    found = single_lines(element, shell, beam_energy_kev)
    return tuple(sum(photons[i] for _, photons in found) for i in range(len(SOURCES)))


@lru_cache(maxsize=4096)
def _lines(
    element: str, shell: str, beam_energy_kev: float, *, grouped: bool
) -> tuple[XrayLine, ...]:
    """Return the groups of a family or its single lines, strongest first."""
    singles = single_lines(element, shell, beam_energy_kev)
    if not singles:
        return ()
    photons = np.array([photons for _, photons in singles])
    each = photons / photons.sum(axis=0)  # [single, source]
    names = [group_of(line.name) if grouped else line.name for line, _ in singles]
    energies = np.array([(x.energy_kev, x.energy_uncertainty_kev) for x, _ in singles])
    found = []
    for name in dict.fromkeys(names):
        members = np.array([n == name for n in names])
        shares = each[members].mean(axis=1)
        weight = float(shares.sum())
        energy, doubt = (shares @ energies[members] / weight).tolist()
        relative = _weight_uncertainty(element, [x for x, _ in singles], each, members)
        found.append(XrayLine(f"{element}_{name}", element, shell, energy, weight, relative, doubt))
    return tuple(sorted(found, key=lambda x: -x.weight))


def _weight_uncertainty(
    element: str, lines: list[TabulatedLine], each: np.ndarray, members: np.ndarray
) -> float:
    """Return the relative standard uncertainty of the share of `members` in their family.

    At least half of what the tables differ by, `each` [line, source]. Beside it what tables
    share: uncertain rates, and uncertain yields of the sub-shells. An error of a rate changes
    ``members`` and, as shares sum to 1, all others the other way.
    """
    shares = each.mean(axis=1)
    effect = np.where(members, shares / shares[members].sum(), 0.0) - shares
    rate = np.linalg.norm(effect * [line.rate_uncertainty for line in lines])
    group = each[members].sum(axis=0)
    apart = float(np.ptp(group) / group.sum())
    of_subshells: dict[str, float] = {}
    for line, change in zip(lines, effect.tolist(), strict=True):
        of_subshells[line.subshell] = of_subshells.get(line.subshell, 0.0) + change
    known = subshells(element)
    strength = [change * known[s].strength_uncertainty for s, change in of_subshells.items()]
    return math.hypot(max(apart, float(rate)), *strength)
