"""A silicon drift detector: how wide its peaks are, and which photons it counts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from eds_xr.schema import EdsError

#: Fano factor 0.116 times 3.65 eV, the energy of an electron-hole pair in silicon [keV].
FANO_KEV = 4.23e-4
MN_KA_KEV = 5.895

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
    sigma = resolution_mnka_ev / 1000 / math.sqrt(8 * math.log(2))
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
    silicon = _attenuation_per_m("Si", 2.329, ev)
    depth = silicon * dead_layer_nm * 1e-9
    for formula, density, nm in (("Al", 2.699, contact_nm), ("C10H8O4", 1.4, window_nm)):
        if nm > 0:
            depth = depth + _attenuation_per_m(formula, density, ev) * nm * 1e-9
    counted = np.exp(-depth) * -np.expm1(-silicon * thickness_mm * 1e-3)
    return np.where(energy < _LOWEST_KEV, 0.0, counted)


def _attenuation_per_m(formula: str, density_g_cm3: float, energy_ev: np.ndarray) -> np.ndarray:
    import xraydb

    flat = np.atleast_1d(energy_ev).ravel()
    if flat.size == 0:
        return np.zeros(np.shape(energy_ev))
    mu = np.asarray(xraydb.material_mu(formula, flat, density=density_g_cm3))
    return 100 * mu.reshape(np.shape(energy_ev))
