"""A silicon drift detector: how wide its peaks are, and which photons it counts."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from eds_xr.schema import EdsError

#: Full width at half maximum of a Gaussian, in standard deviations.
FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
#: Fano factor 0.116 times 3.65 eV, the energy of an electron-hole pair in silicon [keV].
FANO_KEV = 4.23e-4
MN_KA_KEV = 5.895
#: Silicon's K edge and the Ka line that leaves the crystal in an escape event [keV].
SILICON_EDGE_KEV, SILICON_KA_KEV = 1.839, 1.740
#: Its fluorescence yield (Krause, J. Phys. Chem. Ref. Data 8 (1979) 307).
_SILICON_YIELD = 0.050
_SILICON_DENSITY = 2.329

#: Elam's tables end here: attenuation below is a guess [keV].
_LOWEST_KEV = 0.1


def peak_sigma_kev(energy_kev: ArrayLike, resolution_mnka_ev: float = 130.0) -> np.ndarray:
    """Return the standard deviation of a peak in a silicon detector [keV].

    ``sigma^2 = noise^2 + F epsilon E``: electronic noise, the same at every energy, and the
    statistics of electron-hole pairs (Fano). The noise follows from the full width at half
    maximum at Mn Ka, which data sheets give.

    Parameters
    ----------
    energy_kev : array_like
    resolution_mnka_ev : float
        Full width at half maximum at 5.895 keV [eV]; at least 118, the limit of silicon.

    Examples
    --------
    >>> round(float(peak_sigma_kev(5.895, 130.0)) * 2.3548 * 1000, 1)
    130.0
    """
    sigma = resolution_mnka_ev / 1000 / FWHM_PER_SIGMA
    noise2 = sigma**2 - FANO_KEV * MN_KA_KEV
    if not noise2 >= 0:
        raise EdsError(
            f"a resolution of {resolution_mnka_ev:g} eV at Mn Ka is below the limit of silicon, "
            "118 eV; give the full width at half maximum, in eV"
        )
    return np.sqrt(noise2 + FANO_KEV * np.clip(np.asarray(energy_kev, float), 0, None))


def detector_efficiency(
    energy_kev: ArrayLike,
    *,
    dead_layer_nm: float = 10.0,
    contact_nm: float = 30.0,
    window_nm: float = 0.0,
    thickness_mm: float = 0.45,
) -> np.ndarray:
    """Return the share of photons that a silicon drift detector counts at each energy.

    Beer-Lambert through polymer window (C10H8O4, 1.4 g/cm^3), aluminium contact and silicon
    dead layer, then absorption in the crystal; attenuation from Elam's tables. Zero below
    0.1 keV, where the tables end. The defaults stand for a windowless detector.

    Parameters
    ----------
    energy_kev : array_like
        Any shape; the result has the same.
    dead_layer_nm, contact_nm, window_nm : float
        Thickness of the silicon dead layer, the aluminium contact, the window (0 for none).
    thickness_mm : float
        Of the active silicon.
    """
    energy = np.asarray(energy_kev, float)
    ev = 1000 * np.clip(energy, _LOWEST_KEV, None)
    silicon = _attenuation_per_m("Si", _SILICON_DENSITY, ev)
    depth = silicon * dead_layer_nm * 1e-9
    for formula, density, nm in (("Al", 2.699, contact_nm), ("C10H8O4", 1.4, window_nm)):
        if nm > 0:
            depth = depth + _attenuation_per_m(formula, density, ev) * nm * 1e-9
    counted = np.exp(-depth) * -np.expm1(-silicon * thickness_mm * 1e-3)
    return np.where(energy < _LOWEST_KEV, 0.0, counted)


def escape_fraction(energy_kev: ArrayLike) -> np.ndarray:
    """Return the share of a line's counts that appears 1.74 keV lower, in its escape peak.

    Reed and Ware (J. Phys. E 5 (1972) 582): photons that enter a thick crystal head on ionise
    the K shell with probability ``(r - 1) / r``, with ``r`` the jump of the attenuation at the
    edge; it fluoresces with its yield ``w``, and the Si Ka photon leaves through the front::

        f = w/2 (r - 1)/r (1 - m_K/m ln(1 + m/m_K))

    ``m`` and ``m_K`` are silicon's attenuation for the line and for Si Ka. Some 0.4 % at Mn Ka,
    2 % at most, none below the edge.

    Parameters
    ----------
    energy_kev : array_like
        Any shape; the result has the same.

    Examples
    --------
    >>> [round(float(100 * escape_fraction(e)), 2) for e in (1.74, 3.69, 5.895)]
    [0.0, 0.9, 0.38]
    """
    energy = np.asarray(energy_kev, float)
    own, jump = _silicon_ka()
    ev = 1000 * np.clip(energy, SILICON_EDGE_KEV, None)
    ratio = _attenuation_per_m("Si", _SILICON_DENSITY, ev) / own
    leaves = (1 - np.log1p(ratio) / ratio) / 2
    return np.where(energy <= SILICON_EDGE_KEV, 0.0, _SILICON_YIELD * (1 - 1 / jump) * leaves)


@lru_cache(maxsize=1)
def _silicon_ka() -> tuple[float, float]:
    """Return silicon's attenuation of its own Ka [1/m], and the jump at its K edge."""
    import xraydb

    own = _attenuation_per_m("Si", _SILICON_DENSITY, np.array(1000 * SILICON_KA_KEV))
    return float(own), float(xraydb.xray_edge("Si", "K").jump_ratio)


def _attenuation_per_m(formula: str, density_g_cm3: float, energy_ev: np.ndarray) -> np.ndarray:
    import xraydb

    flat = np.atleast_1d(energy_ev).ravel()
    if flat.size == 0:
        return np.zeros(np.shape(energy_ev))
    mu = np.asarray(xraydb.material_mu(formula, flat, density=density_g_cm3))
    return 100 * mu.reshape(np.shape(energy_ev))
