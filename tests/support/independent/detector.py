"""A silicon drift detector: what it counts, and at which channel.

Peaks are normal (noise and Fano) with a share of events that lose charge: an exponential tail just
below the peak, and a flat shelf down to zero. Both are widened by the noise, too. Photons above
silicon's edge may lose a Si Ka photon (escape peak).
"""

from dataclasses import dataclass

import numpy as np
import xraylib
from numpy.typing import ArrayLike
from scipy.special import expn, log_ndtr, ndtr

SILICON = 14
SILICON_EDGE_KEV, SILICON_KA_KEV = 1.8389, 1.7400
#: Energy of an electron-hole pair in silicon at 240 K [keV], Fano factor (Lowe, 1997).
PAIR_KEV, FANO = 3.66e-3, 0.115
_MN_KA_KEV = 5.8951


@dataclass(frozen=True)
class Detector:
    """What is built in, and what is wrong with it.

    ``resolution_mnka_ev``: full width at half maximum at Mn Ka. ``tail``: share of events in the
    exponential tail, which falls by e in ``tail_kev``; ``shelf``: share in the shelf. A photon of
    energy E is recorded where the axis reads ``gain * E + offset_ev``. Layers in nm.
    """

    resolution_mnka_ev: float = 130.0
    tail: float = 0.015
    tail_kev: float = 0.08
    shelf: float = 0.003
    escape: bool = True
    offset_ev: float = 12.0
    gain: float = 1.003
    contact_nm: float = 20.0
    dead_layer_nm: float = 40.0
    ice_nm: float = 20.0
    crystal_mm: float = 0.5


#: Without tail, shelf and escape, and with an axis that is right.
PERFECT = Detector(tail=0.0, shelf=0.0, escape=False, offset_ev=0.0, gain=1.0)


def attenuation_m2_kg(composition: dict[str, float], energy_kev: ArrayLike) -> np.ndarray:
    """Return xraylib's mass attenuation for mass fractions [m^2 / kg].

    Its tables begin at 0.1 keV; the value there is used below.
    """
    energy = np.atleast_1d(np.asarray(energy_kev, float))
    total = np.zeros(energy.size)
    for element, share in composition.items():
        number = xraylib.SymbolToAtomicNumber(element)
        total += share * np.array([xraylib.CS_Total(number, max(e, 0.1001)) for e in energy])
    return (total / 10).reshape(np.shape(energy_kev))


def efficiency(detector: Detector, energy_kev: ArrayLike) -> np.ndarray:
    """Return the share of photons counted: through contact, ice and dead layer, in the crystal."""
    energy = np.asarray(energy_kev, float)
    silicon = 2329 * attenuation_m2_kg({"Si": 1.0}, energy)
    depth = silicon * detector.dead_layer_nm * 1e-9
    depth += 2699 * attenuation_m2_kg({"Al": 1.0}, energy) * detector.contact_nm * 1e-9
    ice = attenuation_m2_kg({"H": 0.112, "O": 0.888}, energy)
    depth += 917 * ice * detector.ice_nm * 1e-9
    return np.exp(-depth) * -np.expm1(-silicon * detector.crystal_mm * 1e-3)


def sigma_kev(detector: Detector, energy_kev: ArrayLike) -> np.ndarray:
    """Return the standard deviation of a peak [keV]."""
    width = detector.resolution_mnka_ev / 1000 / np.sqrt(8 * np.log(2))
    noise2 = width**2 - FANO * PAIR_KEV * _MN_KA_KEV
    return np.sqrt(noise2 + FANO * PAIR_KEV * np.asarray(energy_kev, float))


def escape_share(energy_kev: float) -> float:
    """Return the share of counted photons that lose a Si Ka photon through the front.

    The depth of absorption is integrated: a photon emitted at depth z leaves with the chance
    ``E2(m z) / 2``, m being silicon's attenuation for its own Ka.
    """
    if energy_kev <= SILICON_EDGE_KEV:
        return 0.0
    inside, out = 2329 * attenuation_m2_kg({"Si": 1.0}, [energy_kev, SILICON_KA_KEV])
    depth = np.linspace(0, 12, 2001) / (inside + out)
    leaves = np.trapezoid(inside * np.exp(-inside * depth) * expn(2, out * depth) / 2, depth)
    in_k_shell = 1 - 1 / xraylib.JumpFactor(SILICON, xraylib.K_SHELL)
    return float(in_k_shell * xraylib.FluorYield(SILICON, xraylib.K_SHELL) * leaves)


def recorded(detector: Detector, energy_kev: ArrayLike) -> np.ndarray:
    """Return where the axis reads, for true energies [keV]."""
    return detector.gain * np.asarray(energy_kev, float) + detector.offset_ev / 1000


def peak(detector: Detector, energy_kev: float, edges_kev: np.ndarray) -> np.ndarray:
    """Return the share of a line's events in each channel, escape events apart.

    ``edges_kev`` are the n + 1 edges of n channels, as the axis reads. What lies beyond the axis
    is lost, so the shares may add up to less than 1.
    """
    place = float(recorded(detector, energy_kev))
    width = detector.gain * float(sigma_kev(detector, energy_kev))
    z = (edges_kev - place) / width
    below = (1 - detector.tail - detector.shelf) * ndtr(z)
    if detector.tail:
        below += detector.tail * _below_tail(z, width / (detector.gain * detector.tail_kev))
    if detector.shelf:
        start = float(recorded(detector, 0.0))
        flat = np.clip((edges_kev - start) / (place - start), 0, 1)
        below += detector.shelf * flat
    return np.diff(below)


def escape_peak(detector: Detector, energy_kev: float, edges_kev: np.ndarray) -> np.ndarray:
    """Return the share of a line's events in each channel that are in its escape peak."""
    share = escape_share(energy_kev) if detector.escape else 0.0
    if not share:
        return np.zeros(edges_kev.size - 1)
    return share * peak(detector, energy_kev - SILICON_KA_KEV, edges_kev)


def _below_tail(z: np.ndarray, rate: float) -> np.ndarray:
    """Return the distribution of a normal variable less an exponential one.

    ``z`` in standard deviations, ``rate`` of the exponential per standard deviation.
    """
    return ndtr(z) + np.exp(rate * z + rate**2 / 2 + log_ndtr(-z - rate))
