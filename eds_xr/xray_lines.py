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

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from eds_xr._parts.atomic import check_beam, group_of, line_names, single_lines
from eds_xr._parts.atomic import check_element as check_element
from eds_xr._parts.atomic import ionisation_cross_section_m2 as ionisation_cross_section_m2
from eds_xr._parts.detector import FANO_KEV as FANO_KEV
from eds_xr._parts.detector import MN_KA_KEV as MN_KA_KEV
from eds_xr._parts.detector import detector_efficiency as detector_efficiency
from eds_xr._parts.detector import peak_sigma_kev as peak_sigma_kev
from eds_xr.schema import EdsError

FAMILIES = ("K", "L", "M")

#: Relative standard uncertainty of :func:`emission_per_atom`, one family against another.
#: K from the scatter of Bethe cross-sections and yields; L and M are dominated by the yields
#: and Coster-Kronig probabilities, for M also by the lines that Elam's table lacks.
EMISSION_UNCERTAINTY = MappingProxyType({"K": 0.10, "L": 0.20, "M": 0.30})

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
    """

    name: str
    element: str
    family: str
    energy_kev: float
    weight: float


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
        XrayLine(f"{element}_{single}", element, line[0], energy, photons / total)
        for single, energy, photons in singles
        if group_of(single) == line
    ]
    return tuple(sorted(found, key=lambda x: -x.weight))


def families_in_range(
    element: str, low_kev: float, high_kev: float, beam_energy_kev: float = 200.0
) -> tuple[str, ...]:
    """Return the families of an element with at least one excited line in an energy range."""
    return tuple(
        shell
        for shell in FAMILIES
        if any(
            low_kev <= line.energy_kev <= high_kev
            for line in family(element, shell, beam_energy_kev)
        )
    )


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
    check_element(element)
    for line in ("Ka", "La", "Ma", "Mz", "Ll"):
        lines = {x.name: x for x in family(element, line[0], beam_energy_kev)}
        found = lines.get(f"{element}_{line}")
        if found is not None and min_kev <= found.energy_kev <= max_kev:
            return found.name
    raise EdsError(
        f"{element} has no principal line between {min_kev:g} and {max_kev:g} keV at a beam energy "
        f"of {beam_energy_kev:g} keV; widen the range, or leave the element out"
    )


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


def line_weight(name: str, beam_energy_kev: float = 200.0) -> float:
    """Return a line's share of the photons of its family (0 when the beam cannot excite it)."""
    element, line = split_line(name)
    check_beam(beam_energy_kev)
    lines = _family(element, line[0], float(beam_energy_kev))
    return next((x.weight for x in lines if x.name == name), 0.0)


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


def line_windows_kev(
    name: str, resolution_mnka_ev: float = 130.0
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Return the windows of a classical net count: peak, background left and right of it [keV].

    In units of the peak's full width at half maximum: the peak within 1 of its centre, the
    backgrounds between 1.3 and 1.8. They are close, as neighbouring peaks are.
    """
    centre = line_energy_kev(name)
    fwhm = math.sqrt(8 * math.log(2)) * float(peak_sigma_kev(centre, resolution_mnka_ev))
    return (
        (centre - fwhm, centre + fwhm),
        (centre - 1.8 * fwhm, centre - 1.3 * fwhm),
        (centre + 1.3 * fwhm, centre + 1.8 * fwhm),
    )


def window_weights(
    energy_kev: np.ndarray, name: str, resolution_mnka_ev: float = 130.0, *, background: bool = True
) -> np.ndarray:
    """Return the weight of every channel in the classical net count of a line.

    1 in the peak's window; in the two background windows, negative weights that make a linear
    background cancel. Net counts are ``(counts * weights).sum()``, their variance
    ``(variance * weights**2).sum()``.

    Raises
    ------
    EdsError
        When the windows reach outside the energy axis, or fall between its channels.
    """
    peak, left, right = line_windows_kev(name, resolution_mnka_ev)
    low, high = (left[0], right[1]) if background else peak
    if low < energy_kev[0] or high > energy_kev[-1]:
        raise EdsError(
            f"{name} needs {low:.2f} to {high:.2f} keV, the energy axis covers "
            f"{energy_kev[0]:.2f} to {energy_kev[-1]:.2f} keV; choose another line of the element"
        )
    inside, *sides = [(energy_kev >= lo) & (energy_kev <= hi) for lo, hi in (peak, left, right)]
    if not inside.any() or (background and not (sides[0].any() and sides[1].any())):
        raise EdsError(f"the channels are too wide for the windows of {name}")
    weights = inside.astype(float)
    if background:
        a, b = (energy_kev[side].mean() for side in sides)
        share = (energy_kev[inside].mean() - a) / (b - a)
        for side, part in zip(sides, (1 - share, share), strict=True):
            weights[side] -= part * inside.sum() / side.sum()
    return weights


class Overlap(NamedTuple):
    """Two lines of different elements that a detector hardly separates.

    Attributes
    ----------
    first, second : str
        Names, that of lower energy first.
    distance_kev : float
    alike : float
        Overlap of the two peaks: the cosine between their shapes. 1 when they coincide; 0.25 when
        they are one full width at half maximum apart.
    """

    first: str
    second: str
    distance_kev: float
    alike: float


def overlaps(
    names: Iterable[str],
    resolution_mnka_ev: float = 130.0,
    *,
    range_kev: tuple[float, float] = (0.1, 20.0),
    beam_energy_kev: float = 200.0,
) -> list[Overlap]:
    """Return the pairs of lines of different elements closer than a peak's width (FWHM).

    Parameters
    ----------
    names : iterable of str
        Lines such as ``"Nd_La"``, or elements: ``"Nd"`` stands for all its lines in the range
        that hold a twentieth of their family or more.
    resolution_mnka_ev : float
        Full width at half maximum at Mn Ka.
    range_kev : (float, float)
    beam_energy_kev : float

    Returns
    -------
    list of Overlap
        Names, distance [keV] and likeness of each pair, closest first.

    Examples
    --------
    >>> for pair in overlaps(["Nd_Lb1", "Sm_La", "Cu_Ka", "Hf_La"]):
    ...     print(pair.first, pair.second, round(pair.alike, 2))
    Sm_La Nd_Lb1 0.51
    Hf_La Cu_Ka 0.26
    """
    low, high = range_kev
    lines = {line for name in names for line in _lines_of(name, low, high, beam_energy_kev)}
    energies = sorted((line_energy_kev(line), line) for line in lines)
    pairs = []
    for i, (below, first) in enumerate(energies):
        fwhm = math.sqrt(8 * math.log(2)) * float(peak_sigma_kev(below, resolution_mnka_ev))
        for above, second in energies[i + 1 :]:
            if above - below < fwhm and first.split("_")[0] != second.split("_")[0]:
                alike = _alike(below, above, resolution_mnka_ev)
                pairs.append(Overlap(first, second, above - below, alike))
    return sorted(pairs, key=lambda pair: pair.distance_kev)


def _lines_of(name: str, low: float, high: float, beam_energy_kev: float) -> list[str]:
    if "_" in name:
        return [name]
    check_element(name)
    lines = [x for shell in FAMILIES for x in family(name, shell, beam_energy_kev)]
    return [x.name for x in lines if x.weight >= 0.05 and low <= x.energy_kev <= high]


def _alike(first_kev: float, second_kev: float, resolution_mnka_ev: float) -> float:
    """Return the cosine between two Gaussian peaks."""
    a, b = (float(peak_sigma_kev(e, resolution_mnka_ev)) for e in (first_kev, second_kev))
    both = a**2 + b**2
    return math.sqrt(2 * a * b / both) * math.exp(-((second_kev - first_kev) ** 2) / (2 * both))


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
        found.append(XrayLine(f"{element}_{line}", element, shell, energy, photons / total))
    return tuple(sorted(found, key=lambda x: -x.weight))
