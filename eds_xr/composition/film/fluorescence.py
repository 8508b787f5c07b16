"""Fluorescence within the film, to first order: lines that harder lines of the film excite.

C. Nockolds, M. J. Nasir, G. Cliff and G. W. Lorimer (in Electron Microscopy and Analysis 1979,
Inst. Phys. Conf. Ser. 52 (1980) 417); D. B. Williams and C. B. Carter, Transmission Electron
Microscopy, 2nd ed., ch. 35. For a line A and a line B of the same film::

    I_A' / I_A = C_B  (n_B / n_A)  w_A  mu_A(B)  rho t / 2  (0.923 - ln(mu(B) rho t))

with the photons n that an atom of each emits under the beam over its mass, and the photons w of A
per photon of B that its atoms absorb. The published form has ``w_B (r_A - 1) / r_A  (U_B ln U_B) /
(U_A ln U_A)`` and a factor ``sec(alpha)``, which does not belong there (I. M. Anderson, J. Bentley
and C. B. Carter, Ultramicroscopy 68 (1997) 77). The last factors are those of a thin film; of any,
``P(x) / x`` with ``x = mu(B) rho t`` and the share ``P = 1 - (1 - 2 E_3(x)) / (2 x)`` of B's
photons that are absorbed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eds_xr.composition.uncertainty.errors import SystematicError
from eds_xr.schema import EdsError
from eds_xr.xray.absorption import LOWEST_KEV, attenuation_m2_kg
from eds_xr.xray.atomic_data import group_of, line_names, subshells, tabulated_lines
from eds_xr.xray.elements import atomic_mass
from eds_xr.xray.lines import emission_per_atom, line_energy_kev, split_line

#: Relative standard uncertainty of the correction: yields, cross-sections and attenuations of both.
UNCERTAINTY = 0.2
#: Exciting lines that add less than this to any line, pure, in a film of 1 kg/m2, are left out.
_LEAST = 0.01


@dataclass(frozen=True, eq=False)
class Fluorescence:
    """What lines of a film excite in it.

    Attributes
    ----------
    strengths : ndarray [line, exciting; m^2/kg]
        Counts that each exciting line adds to those of a line, relative, for its element pure, in
        units of ``rho t P(x) / x``.
    elements : ndarray [exciting]
        Place of the element of each exciting line.
    attenuation : ndarray [exciting, element; m^2/kg]
    """

    strengths: np.ndarray
    elements: np.ndarray
    attenuation: np.ndarray

    def added(self, masses: np.ndarray, thickness: np.ndarray | None) -> np.ndarray:
        """Return the same of masses [..., element], which are per area if no thickness is given."""
        total = masses.sum(-1)
        fractions = masses / np.where(total > 0, total, np.nan)[..., None]
        return self.shares(fractions, total if thickness is None else np.asarray(thickness))

    def shares(self, fractions: np.ndarray, thickness: np.ndarray) -> np.ndarray:
        """Return what is added to the counts of each line, relative [..., line].

        Parameters
        ----------
        fractions : ndarray [..., element]
            By mass.
        thickness : ndarray [...; kg/m^2]
        """
        depth = (fractions @ self.attenuation.T) * thickness[..., None]
        absorbed = absorbed_over_depth(depth) * thickness[..., None]
        return np.asarray((fractions[..., self.elements] * absorbed) @ self.strengths.T)


def fluorescence_in(
    lines: Sequence[str], elements: Sequence[str], beam_kev: float | None, *, film: bool,
    correct: bool, maps: bool,
) -> Fluorescence | None:  # fmt: skip
    """Return what lines excite in a film; None where nobody asks, and it cannot be told.

    Of maps it takes time, so that they have it only if it is to be corrected.
    """
    if correct and not film:
        raise EdsError(
            "fluorescence needs the film's thickness: give thickness_nm and density_g_cm3, or "
            "mass_thickness_kg_m2"
        )
    if correct and beam_kev is None:
        raise EdsError("fluorescence needs the beam energy; give beam_energy_kev")
    if beam_kev is None or not film or (maps and not correct):
        return None
    return fluorescence_of(tuple(lines), tuple(elements), beam_kev)


def fluorescence_error(known: Fluorescence | None, *, correct: bool) -> tuple[SystematicError, ...]:
    """Return the error of a correction for fluorescence; of none, all that it would be."""
    if known is None:
        return ()
    size = UNCERTAINTY if correct else 1.0
    return (SystematicError("fluorescence", "fluorescence", fluorescence=size),)


def absorbed_over_depth(depth: np.ndarray) -> np.ndarray:
    """Return the share of photons made evenly in a film that it absorbs, over its optical depth.

    Thin films absorb ``x / 2 (3/2 - 0.5772 - ln x)``.
    """
    from scipy.special import expn

    with np.errstate(all="ignore"):
        exact = (1 - (1 - 2 * expn(3, depth)) / (2 * depth)) / depth
        thin = (1.5 - np.euler_gamma - np.log(depth)) / 2 + depth / 6
        found = np.where(depth > 1e-3, exact, thin)
    return np.asarray(np.where(depth > 0, found, 0.0))


@lru_cache(maxsize=64)
def fluorescence_of(
    lines: tuple[str, ...], elements: tuple[str, ...], beam_energy_kev: float
) -> Fluorescence:
    """Return what the lines of a film of these elements excite in it.

    Parameters
    ----------
    lines : tuple of str
        That are measured, of elements of the film.
    elements : tuple of str
        Of the film.
    beam_energy_kev : float
    """
    exciting, owners = [], []
    for i, element in enumerate(elements):
        for name in (f"{element}_{line}" for line in line_names(element)):
            if line_energy_kev(name) > LOWEST_KEV and emission_per_atom(name, beam_energy_kev) > 0:
                exciting.append(name)
                owners.append(i)
    attenuation = attenuation_m2_kg(exciting, elements) if exciting else np.zeros((0, 1))
    emitted = _emitted(exciting, beam_energy_kev)
    own = _emitted(lines, beam_energy_kev)
    energies = [line_energy_kev(name) for name in exciting]
    rows = []
    for name, photons in zip(lines, own, strict=True):
        taken = [_photons_per_absorption(name, energy) for energy in energies]
        column = attenuation[:, elements.index(split_line(name)[0])]
        rows.append(column * taken * emitted / photons if photons > 0 else 0.0 * emitted)
    strengths = np.reshape(rows, (len(lines), len(exciting)))
    kept = np.flatnonzero((strengths > _LEAST).any(0))
    return Fluorescence(strengths[:, kept], np.array(owners, int)[kept], attenuation[kept])


def _emitted(lines: Sequence[str], beam_energy_kev: float) -> np.ndarray:
    """Return photons of lines per mass of their element, in any unit [line]."""
    parts = ((n, atomic_mass(split_line(n)[0])) for n in lines)
    return np.array([emission_per_atom(n, beam_energy_kev) / mass for n, mass in parts])


def _photons_per_absorption(name: str, energy_kev: float) -> float:
    """Return the photons of a line that an atom emits per photon of this energy it absorbs.

    A sub-shell takes ``(r - 1) / r`` of what its inner neighbours leave, r being its jump ratio.
    """
    element = split_line(name)[0]
    jumps = _jump_ratios(element)
    left, taken = 1.0, {}
    for shell, known in sorted(subshells(element).items(), key=lambda one: -one[1].edge_kev):
        if known.edge_kev < energy_kev and jumps.get(shell, 1.0) > 1:
            taken[shell] = left * (jumps[shell] - 1) / jumps[shell]
            left /= jumps[shell]
    return sum(
        taken.get(line.subshell, 0.0) * subshells(element)[line.subshell].yields[0] * line.rates[0]
        for line in tabulated_lines(element)
        if f"{element}_{group_of(line.name)}" == name or f"{element}_{line.name}" == name
    )


@lru_cache(maxsize=128)
def _jump_ratios(element: str) -> dict[str, float]:
    """Return how many times more each edge absorbs above than below."""
    import xraydb

    return {shell: edge.jump_ratio for shell, edge in xraydb.xray_edges(element).items()}
