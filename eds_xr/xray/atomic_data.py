"""Ionisation cross-sections, vacancies and emitted lines of atoms under the beam.

The numbers of lines and sub-shells stand in two tables beside this module, each as two
independent libraries have it; ``tests/support/line_tables.py`` makes them, and says how.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

from eds_xr.schema import EdsError
from eds_xr.xray.elements import check_element

ELECTRON_REST_KEV = 510.999
#: More is no microscope's beam, but an energy in eV.
MOST_BEAM_KEV = 5000.0
#: The tables, by the libraries that they come from.
SOURCES = ("elam", "xraylib")
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
_GROUPS = {"La1": "La", "La2": "La", "Lb2,15": "Lb2"}
_GROUPS |= {"Mg1": "Mg", "Mg2": "Mg", "Mz1": "Mz", "Mz2": "Mz"}


class Subshell(NamedTuple):
    """Edge [keV], doubt of its photons, and of each source the yield and the transfers outwards."""

    edge_kev: float
    strength_uncertainty: float
    yields: tuple[float, ...]
    transfers: tuple[dict[str, float], ...]


class TabulatedLine(NamedTuple):
    """A single line, and of each source its share of its sub-shell's radiative decays."""

    name: str
    subshell: str
    energy_kev: float
    energy_uncertainty_kev: float
    rates: tuple[float, ...]
    rate_uncertainty: float


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
    Bote and Salvat (Phys. Rev. A 77 (2008) 042701), which it meets within 17 % (root mean
    square 2 % for K, 3 % for L, 5 % for M) for edges of 0.5 to 20 keV, beams of 60 to 300 keV and
    overvoltages above 3. Softer L and M edges get too much, the more the softer: at 0.3 keV up to
    15 % (L) and 33 % (M), at 0.2 keV 21 and 49 %, at 0.1 keV 40 % and twice. K stays within 7 %.
    Powell's constants (Rev. Mod. Phys. 48 (1976) 33) are off by up to 30 %, for K one way and for
    L the other. Zero below the threshold.

    Parameters
    ----------
    element : str
    edge : str
        ``"K"``, ``"L1"`` to ``"L3"``, ``"M1"`` to ``"M5"``.
    beam_energy_kev : float
    """
    check_element(element)
    check_beam(beam_energy_kev)
    known = subshells(element)
    if edge not in known:
        raise EdsError(f"{element} has no edge {edge!r}; it has {', '.join(known)}")
    threshold = known[edge].edge_kev
    if beam_energy_kev <= threshold:
        return 0.0
    beta2 = 1 - (1 + beam_energy_kev / ELECTRON_REST_KEV) ** -2
    kinetic = beta2 * ELECTRON_REST_KEV / 2
    electrons, b, c = _SUBSHELLS[edge]
    logarithm = math.log(c * kinetic / threshold) - math.log1p(-beta2) - beta2
    strength = _BETHE_M2_KEV2 * electrons * b / (kinetic * threshold)
    return max(0.0, strength * logarithm)


def group_of(single: str) -> str:
    """Return the name of the group of a single line."""
    return single[:2] if single[0] == "K" else _GROUPS.get(single, single)


@lru_cache(maxsize=4096)
def single_lines(
    element: str, shell: str, beam_energy_kev: float
) -> tuple[tuple[TabulatedLine, tuple[float, ...]], ...]:
    """Return the excited lines of a family, and their photons per atom [m^2] of each source."""
    known = subshells(element)
    lines = [x for x in tabulated_lines(element) if x.name[0] == shell]
    vacancies = [_vacancies_m2(element, shell, beam_energy_kev, i) for i in range(len(SOURCES))]
    found = []
    for line in lines:
        photons = tuple(
            v[line.subshell] * known[line.subshell].yields[i] * line.rates[i]
            for i, v in enumerate(vacancies)
        )
        if sum(photons) > 0:
            found.append((line, photons))
    return tuple(found)


def _vacancies_m2(
    element: str, shell: str, beam_energy_kev: float, source: int
) -> dict[str, float]:
    """Return the vacancies of each sub-shell [m^2]: ionisation, then Coster-Kronig transfers."""
    known = {s: x for s, x in subshells(element).items() if s[0] == shell}
    vacancies = {s: ionisation_cross_section_m2(element, s, beam_energy_kev) for s in known}
    for inner, subshell in known.items():  # from the inside, so a chain M1 -> M3 -> M5 is followed
        for outer, share in subshell.transfers[source].items():
            vacancies[outer] += vacancies[inner] * share
    return vacancies


@cache
def line_names(element: str) -> tuple[str, ...]:
    """Return the groups of an element, in the order K, L, M of the table."""
    return tuple(dict.fromkeys(group_of(line.name) for line in tabulated_lines(element)))


def tabulated_lines(element: str) -> tuple[TabulatedLine, ...]:
    """Return the single lines of an element, of all its families."""
    return _lines_table().get(element, ())


def subshells(element: str) -> dict[str, Subshell]:
    """Return the sub-shells of an element, from the inside."""
    return _subshells_table().get(element, {})


@cache
def _lines_table() -> dict[str, tuple[TabulatedLine, ...]]:
    found = defaultdict(list)
    for row in _rows("lines.csv"):
        energy, its_doubt, *rates, doubt = map(float, row[3:])
        found[row[0]].append(TabulatedLine(row[1], row[2], energy, its_doubt, tuple(rates), doubt))
    return {element: tuple(lines) for element, lines in found.items()}


@cache
def _subshells_table() -> dict[str, dict[str, Subshell]]:
    found: dict[str, dict[str, Subshell]] = defaultdict(dict)
    for element, name, *texts in _rows("subshells.csv"):
        edge, *yields, doubt = map(float, texts[:4])
        transfers = tuple(
            {f"{name[0]}{i}": float(x) for i, x in enumerate(texts[at : at + 4], 2) if x != "0"}
            for at in (4, 8)
        )
        found[element][name] = Subshell(edge, doubt, tuple(yields), transfers)
    return found


def _rows(file: str) -> list[list[str]]:
    """Return the rows of a table that comes with the package, without its head."""
    place = resources.files("eds_xr.xray") / "tables" / file
    return list(csv.reader(place.read_text(encoding="utf-8").splitlines()))[1:]
