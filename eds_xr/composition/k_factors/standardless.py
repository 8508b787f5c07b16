"""Factors from first principles: photons that an atom emits and a detector counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.composition.k_factors.table import BARN_M2, checked_lines, make_table
from eds_xr.schema import EdsError
from eds_xr.xray.elements import masses
from eds_xr.xray.lines import emission_per_atom, emission_uncertainty, line_energy_kev
from eds_xr.xray.own_detector import detector_attrs, detector_of

_SOURCE = "computed: Bote and Salvat's cross-sections, Elam's yields, weights of Elam and xraylib"


def standardless_k_factors(
    lines: Sequence[str], *, beam_energy_kev: float, **detector: Any
) -> xr.Dataset:
    """Compute weight k-factors: atomic mass over photons counted per atom, relative to the first.

    Computes: a few numbers a line.

    From ionisation cross-sections (a relativistic Bethe formula fitted to Bote and Salvat, Phys.
    Rev. A 77 (2008) 042701), fluorescence yields, Coster-Kronig transfers and branching ratios
    (:func:`eds_xr.xray.lines.emission_per_atom`) and the detector's efficiency.

    Parameters
    ----------
    lines : sequence of str
        Such as ``["Si_Ka", "Fe_Ka"]``; the first is the reference.
    beam_energy_kev : float
    **detector
        ``window_nm``, ``dead_layer_nm``, ``contact_nm``, ``thickness_mm``, or ``energy_kev`` and
        ``efficiency``, as in :func:`eds_xr.with_detector`; default is a windowless detector.

    Returns
    -------
    Dataset over ``line``
        ``k`` and ``standard_deviation``: systematic, 10 % for K, 20 % for L, 40 % for M lines,
        more for soft ones (:func:`eds_xr.xray.lines.emission_uncertainty`): what published
        tables differ by. With what is not known of the detector's layers
        (:meth:`eds_xr.xray.own_detector.OwnDetector.uncertainty`). Every line has its own error,
        the reference too: scaling all factors changes nothing.

    Raises
    ------
    EdsError
        For a line that does not exist, or that the beam does not excite.

    Examples
    --------
    >>> standardless_k_factors(["Si_Ka", "Fe_Ka"], beam_energy_kev=200).k.values.round(2)
    array([1.  , 1...])
    """
    names = checked_lines(lines)
    counted, relative = _counted_per_atom_m2(names, beam_energy_kev, detector)
    k = masses(names) / counted
    k = k / k[0]
    attrs = {**_attributes(beam_energy_kev, detector), "reference": names[0]}
    return make_table("k", names, k, k * relative, units="weight", attrs=attrs)


def standardless_cross_sections(
    lines: Sequence[str],
    *,
    solid_angle_sr: float,
    beam_energy_kev: float,
    **detector: Any,
) -> xr.Dataset:
    """Compute partial cross-sections: what an atom emits, times the share that is counted.

    Computes: a few numbers a line.

    As :func:`standardless_k_factors`, with the detector's share of all directions.

    Parameters
    ----------
    lines : sequence of str
    solid_angle_sr : float
        Of the detector [sr].
    beam_energy_kev : float
    **detector
        As in :func:`standardless_k_factors`.

    Returns
    -------
    Dataset over ``line``
        ``cross_section`` [barn] and ``standard_deviation``, without that of the solid angle,
        which is common to all lines.

    Raises
    ------
    EdsError
        As :func:`standardless_k_factors`; for a solid angle that is not one.
    """
    if not 0 < solid_angle_sr <= 4 * np.pi:
        raise EdsError(f"solid_angle_sr must lie between 0 and 4 pi, found {solid_angle_sr!r}")
    names = checked_lines(lines)
    counted, relative = _counted_per_atom_m2(names, beam_energy_kev, detector)
    sections = counted * solid_angle_sr / (4 * np.pi) / BARN_M2
    return make_table(
        "cross_section", names, sections, sections * relative, units="barn",
        attrs=_attributes(beam_energy_kev, detector),
    )  # fmt: skip


def _attributes(beam_energy_kev: float, detector: dict[str, Any]) -> dict[str, Any]:
    said = {"beam_energy_kev": float(beam_energy_kev), "standardless": 1, "source": _SOURCE}
    return said | detector_attrs(detector)


def _counted_per_atom_m2(
    names: Sequence[str], beam_energy_kev: float, detector: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return photons counted per atom and unit of fluence, and their relative uncertainty."""
    own = detector_of(detector_attrs(detector))
    emitted = np.array([emission_per_atom(n, beam_energy_kev) for n in names])
    energies = np.array([line_energy_kev(n) for n in names])
    for name, value in zip(names, emitted, strict=True):
        if value <= 0:
            raise EdsError(f"{name} is not emitted at a beam energy of {beam_energy_kev:g} keV")
    own.check_covers(float(energies.min()), float(energies.max()))
    seen, spread = own.efficiency(energies), own.uncertainty(energies)
    for name, share in zip(names, seen, strict=True):
        if share <= 0:
            raise EdsError(f"the detector does not count {name}; choose another line")
    emission = np.array([emission_uncertainty(n, beam_energy_kev) for n in names])
    return emitted * seen, np.hypot(emission, spread)
