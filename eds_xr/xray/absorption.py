"""X-rays on their way out of a film: attenuation, the angle they leave at, the correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.arguments import attribute_number, check_fits, number, number_or_array
from eds_xr.schema import EdsError
from eds_xr.xray.lines import line_energy_kev

#: Elam's tables end here [keV].
LOWEST_KEV = 0.1
#: A smaller tilt is left out when nobody knows which way the detector looks [deg].
SMALL_TILT_DEG = 1.0


def correction(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a homogeneous film's counts are multiplied with, and its relative slope.

    X-rays come from everywhere in the film, so what leaves is the mean of ``exp(-u)`` over
    ``u`` from 0 to `depth`: the correction is ``depth / (1 - exp(-depth))``.

    Parameters
    ----------
    depth : ndarray
        ``mu rho t / sin alpha``, with the mass thickness ``rho t`` along the film's normal and
        the angle ``alpha`` between the film (not the horizon) and the way to the detector; of any
        sign (noise in a composition may make it negative).

    Returns
    -------
    correction, slope : ndarray
        The factor, and the derivative of its logarithm by `depth`.
    """
    small = np.abs(depth) < 1e-3
    safe = np.where(small, 1.0, depth)
    with np.errstate(over="ignore"):  # 1 / infinity is right
        factor = np.where(small, 1 + depth / 2 + depth**2 / 12, -safe / np.expm1(-safe))
        slope = np.where(small, 0.5 - depth / 12, 1 / safe - 1 / np.expm1(safe))
    return factor, slope


def attenuation_m2_kg(lines: Sequence[str], elements: Sequence[str]) -> np.ndarray:
    """Return the mass attenuation of each line in each element [line, element; m^2/kg].

    Elam, Ravel and Sieber (Radiat. Phys. Chem. 63 (2002) 121), with scattering, at the mean
    energy of the line.
    """
    import xraydb

    energies = np.array([line_energy_kev(name) for name in lines])
    for name, energy in zip(lines, energies, strict=True):
        if energy < LOWEST_KEV:
            raise EdsError(
                f"no attenuation is tabulated for {name} at {1000 * energy:.0f} eV, below "
                f"{1000 * LOWEST_KEV:.0f} eV; exclude {name.split('_')[0]}, or do not correct "
                "for absorption"
            )
    columns = [np.atleast_1d(xraydb.mu_elam(e, 1000 * energies)) for e in elements]
    return 0.1 * np.stack(columns, axis=1)  # cm^2/g to m^2/kg


def take_off_angle_deg(attrs: Mapping[str, Any], given: float | None = None) -> float:
    """Return the angle between the film and the way to the detector [deg].

    `given`, or from ``elevation_angle_deg`` (e), ``tilt_deg`` (t) and ``azimuth_angle_deg`` (a),
    the angle between the detector and the side that a positive tilt turns the film to:
    ``sin alpha = cos(e) cos(a) sin(t) + sin(e) cos(t)``, which is ``e + t`` for a detector on
    that side. Without an azimuth a tilt of up to 1 degree is left out; more is an error.
    """
    angle = _from_metadata(attrs) if given is None else number(given, "take_off_angle_deg")
    if not 0 < angle <= 90:
        raise EdsError(
            f"a take-off angle of {angle:.4g} degrees lets no X-rays out of a film's surface; "
            "expected 0 < angle <= 90, give it as take_off_angle_deg"
        )
    return angle


def _from_metadata(attrs: Mapping[str, Any]) -> float:
    elevation, tilt = attrs.get("elevation_angle_deg"), attribute_number(attrs, "tilt_deg", 0.0)
    if elevation is None:
        raise EdsError(
            "an absorption correction needs the angle at which X-rays leave, and the metadata "
            "have no elevation_angle_deg; give take_off_angle_deg (of the detector above the film)"
        )
    azimuth = attrs.get("azimuth_angle_deg")
    if azimuth is None:
        if abs(tilt) > SMALL_TILT_DEG:
            raise EdsError(
                f"the film was tilted by {tilt:g} degrees, and the metadata do not tell which way "
                "the detector looks (azimuth_angle_deg); give take_off_angle_deg"
            )
        return number(elevation, "the attribute elevation_angle_deg")
    up, turn, side = (math.radians(float(v)) for v in (elevation, tilt, azimuth))
    sine = math.cos(up) * math.cos(side) * math.sin(turn) + math.sin(up) * math.cos(turn)
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))


def way_through_film(attrs: Mapping[str, Any], given_deg: float | None = None) -> float:
    """Return the beam's way through a film over the film's thickness: 1 over the tilt's cosine.

    `given_deg`, or the attribute ``tilt_deg``; 1 where nobody noted a tilt. A film's mass
    thickness is along its normal, so that it is the same however the film is tilted.

    Examples
    --------
    >>> round(way_through_film({"tilt_deg": 60.0}), 6)
    2.0
    """
    told = attribute_number(attrs, "tilt_deg", 0.0)
    tilt = told if given_deg is None else number(given_deg, "tilt_deg")
    if not abs(tilt) < 90:
        raise EdsError(f"a film tilted by {tilt:g} degrees lies along the beam; expected below 90")
    return 1 / math.cos(math.radians(tilt))


def mass_thickness_of(
    thickness_nm: float | xr.DataArray | None,
    density_g_cm3: float | xr.DataArray | None,
    mass_thickness_kg_m2: float | xr.DataArray | None,
) -> xr.DataArray | None:
    """Return the mass thickness along the film's normal [kg/m^2]; None when nothing is given.

    Of numbers or maps.
    """
    given = [v is not None for v in (thickness_nm, density_g_cm3, mass_thickness_kg_m2)]
    if not any(given):
        return None
    if given not in ([True, True, False], [False, False, True]):
        raise EdsError(
            "an absorption correction needs thickness_nm and density_g_cm3, or "
            "mass_thickness_kg_m2 alone (100 nm of 5 g/cm3 are 5e-4 kg/m2)"
        )
    if mass_thickness_kg_m2 is None:
        thickness = number_or_array(thickness_nm, "thickness_nm")
        density = number_or_array(density_g_cm3, "density_g_cm3")
        if thickness.ndim and density.ndim:
            check_fits(density, thickness, "density_g_cm3")
        found = 1e-6 * thickness * density
    else:
        found = number_or_array(mass_thickness_kg_m2, "mass_thickness_kg_m2")
    known = found.where(found.notnull(), 0.0)  # pixels of a map may be unknown
    if found.chunks is None and not (
        bool((np.isfinite(known) & (known >= 0)).all()) and bool(found.notnull().any())
    ):
        raise EdsError(
            "the mass thickness must be finite and not negative, found "
            f"{float(found.min()):g} to {float(found.max()):g} kg/m2"
        )
    return found
