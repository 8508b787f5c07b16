"""Ionisation cross-sections, vacancies and emitted lines of atoms under the beam.

The tables behind :mod:`eds_xr.xray.lines`, read once and kept.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from eds_xr.schema import EdsError
from eds_xr.xray.elements import check_element

ELECTRON_REST_KEV = 510.999
#: More is no microscope's beam, but an energy in eV.
MOST_BEAM_KEV = 5000.0
#: pi e^4 / (4 pi epsilon_0)^2 [m^2 keV^2]
_BETHE_M2_KEV2 = 6.51e-24
#: Electrons, b and c of each sub-shell, see :func:`ionisation_cross_section_m2`.
_SUBSHELLS = {
    "K": (2, 0.672, 1.200),
    "L1": (2, 0.502, 1.575),
    "L2": (2, 0.706, 1.250),
    "L3": (4, 0.706, 1.250),
    "M1": (2, 0.364, 3.302),
    "M2": (2, 0.489, 2.455),
    "M3": (4, 0.489, 2.455),
    "M4": (4, 0.978, 0.777),
    "M5": (6, 0.978, 0.777),
}
#: Kb to Ka by atomic number: relativistic Hartree-Fock with exchange, Scofield (Phys. Rev. A 9
#: (1974) 1041, table V), linear between its elements. Elam's table has a line through measured
#: ratios of heavier elements instead: some 0.12 down to magnesium, where the 3p shell is empty,
#: and up to 5 % off elsewhere. Cr and Cu, which Scofield gives for free atoms with one 4s
#: electron, follow the trend of their neighbours, as Schönfeld and Janssen (Nucl. Instrum. Meth. A
#: 369 (1996) 527) recommend. Na and Mg have no 3p electrons, and no ratio there: 0.01 is nominal,
#: for what the valence band of a solid emits. With Kb free, the published 71 GPa map gives 0.00
#: for Mg, 0.032 for Si and 0.125 for Ca.
_KB_TO_KA = {
    11: 0.0100, 12: 0.0100, 13: 0.0134, 14: 0.0294, 15: 0.0472, 16: 0.0659, 17: 0.0862, 18: 0.1088,
    19: 0.1211, 20: 0.1315, 22: 0.1355, 23: 0.1367, 24: 0.1376, 25: 0.1385, 26: 0.1391, 28: 0.1401,
    29: 0.1406, 30: 0.1410, 32: 0.1504, 33: 0.1560, 34: 0.1624, 35: 0.1683, 36: 0.1727, 37: 0.1780,
    38: 0.1831, 40: 0.1913, 42: 0.1981, 47: 0.2130, 50: 0.2230, 51: 0.2266, 54: 0.2368, 56: 0.2433,
    60: 0.2504, 63: 0.2549, 64: 0.2570, 65: 0.2575, 68: 0.2612, 70: 0.2634, 72: 0.2666, 73: 0.2682,
    74: 0.2698, 78: 0.2758, 79: 0.2772, 80: 0.2788, 81: 0.2804, 82: 0.2821, 85: 0.2873, 90: 0.2952,
    92: 0.2975, 96: 0.3019, 98: 0.3037,
}  # fmt: skip
_GROUPS = {"La1": "La", "La2": "La", "Lb2,15": "Lb2"}


def check_beam(beam_energy_kev: float) -> None:
    """Raise unless the beam energy is that of a microscope."""
    if not 0 < beam_energy_kev <= MOST_BEAM_KEV:
        raise EdsError(
            f"beam_energy_kev must be positive, in keV (200, not 200000), found {beam_energy_kev!r}"
        )


def ionisation_cross_section_m2(element: str, edge: str, beam_energy_kev: float) -> float:
    """Return the cross-section for ionising a sub-shell by a fast electron [m^2].

    Relativistic Bethe formula (Williams & Carter, Transmission Electron Microscopy, 2nd ed.,
    eq. 4.2) with ``T = m0 v^2 / 2``, the edge energy ``E`` and ``n`` electrons::

        sigma = pi e^4 n b / (T E) * (ln(c T / E) - ln(1 - beta^2) - beta^2)

    Its constants b and c come from a least-squares fit to the distorted-wave cross-sections of
    Bote and Salvat (Phys. Rev. A 77 (2008) 042701), which it meets within 16 % (root mean
    square 3 % for K and L, 5 % for M) for edges of 0.1 to 20 keV, beams of 60 to 300 keV and
    overvoltages above 3. Powell's (Rev. Mod. Phys. 48 (1976) 33) are off by up to 30 %, for K
    one way and for L the other. Zero below the threshold.

    Parameters
    ----------
    element : str
    edge : str
        ``"K"``, ``"L1"`` to ``"L3"``, ``"M1"`` to ``"M5"``.
    beam_energy_kev : float
    """
    check_element(element)
    check_beam(beam_energy_kev)
    edges = _edges(element)
    if edge not in edges or edge not in _SUBSHELLS:
        known = [e for e in edges if e in _SUBSHELLS]
        raise EdsError(f"{element} has no edge {edge!r}; it has {', '.join(known)}")
    threshold = edges[edge].energy / 1000
    if beam_energy_kev <= threshold:
        return 0.0
    beta2 = 1 - (1 + beam_energy_kev / ELECTRON_REST_KEV) ** -2
    kinetic = beta2 * ELECTRON_REST_KEV / 2
    electrons, b, c = _SUBSHELLS[edge]
    logarithm = math.log(c * kinetic / threshold) - math.log1p(-beta2) - beta2
    strength = _BETHE_M2_KEV2 * electrons * b / (kinetic * threshold)
    return max(0.0, strength * logarithm)


def group_of(single: str) -> str:
    """Return the name of the group of a line of Elam's table."""
    return single[:2] if single[0] == "K" else _GROUPS.get(single, single)


@lru_cache(maxsize=4096)
def single_lines(
    element: str, shell: str, beam_energy_kev: float
) -> tuple[tuple[str, float, float], ...]:
    """Return (name, energy [keV], photons per atom [m^2]) of the excited lines of a family."""
    vacancies = _vacancies_m2(element, shell, beam_energy_kev)
    edges = _edges(element)
    found = []
    for name, line in _xray_lines(element).items():
        photons = sum(
            vacancies.get(edge, 0.0) * edges[edge].fyield * line.intensity
            for edge in _initial_levels(name, line.initial_level, element)
        )
        if name[0] == shell and photons > 0:
            found.append((name, line.energy / 1000, photons))
    return tuple(_with_real_kb(found, element) if shell == "K" else found)


def _with_real_kb(
    lines: list[tuple[str, float, float]], element: str
) -> list[tuple[str, float, float]]:
    """Return K lines with Scofield's Kb / Ka; the photons of the family stay as they are."""
    alpha, beta = (sum(p for n, _, p in lines if n[:2] == g) for g in ("Ka", "Kb"))
    if not alpha or not beta:
        return lines
    ratio = _kb_to_ka(element)
    share = ratio / (1 + ratio)
    factors = {"Ka": (1 - share) * (alpha + beta) / alpha, "Kb": share * (alpha + beta) / beta}
    return [(n, e, p * factors[n[:2]]) for n, e, p in lines]


def _kb_to_ka(element: str) -> float:
    import xraydb

    number = xraydb.atomic_number(element)
    below = max((z for z in _KB_TO_KA if z <= number), default=min(_KB_TO_KA))
    above = min((z for z in _KB_TO_KA if z >= number), default=max(_KB_TO_KA))
    part = (number - below) / (above - below) if above > below else 0.0
    return _KB_TO_KA[below] + part * (_KB_TO_KA[above] - _KB_TO_KA[below])


def _initial_levels(name: str, level: str, element: str) -> tuple[str, ...]:
    """Return the sub-shells that a line starts from.

    Elam gives Mz for "M4,5". Where the element also has Mb, Mz and Mb add up to 1, so that
    his Mz is a branch of M4; elsewhere it is all that M4 and M5 emit.
    """
    if level != "M4,5":
        return (level,)
    return ("M4",) if "Mb" in _xray_lines(element) else ("M4", "M5")


def _vacancies_m2(element: str, shell: str, beam_energy_kev: float) -> dict[str, float]:
    """Return the vacancies of each sub-shell [m^2]: ionisation, then Coster-Kronig transfers."""
    import xraydb

    names = [edge for edge in _SUBSHELLS if edge[0] == shell and edge in _edges(element)]
    vacancies = {e: ionisation_cross_section_m2(element, e, beam_energy_kev) for e in names}
    for i, inner in enumerate(names):
        for outer in names[i + 1 :]:  # inner to outer, so a chain M1 -> M3 -> M5 is followed
            share = xraydb.ck_probability(element, inner, outer, total=False)
            vacancies[outer] += vacancies[inner] * share
    return vacancies


@lru_cache(maxsize=128)
def line_names(element: str) -> tuple[str, ...]:
    """Return the groups of an element, in the order K, L, M of the table."""
    return tuple(dict.fromkeys(group_of(single) for single in _xray_lines(element)))


@lru_cache(maxsize=128)
def _xray_lines(element: str) -> dict[str, Any]:
    import xraydb

    return xraydb.xray_lines(element)


@lru_cache(maxsize=128)
def _edges(element: str) -> dict[str, Any]:
    import xraydb

    return xraydb.xray_edges(element)
