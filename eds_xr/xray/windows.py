"""Energy windows about lines, their weights, and lines whose windows overlap."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from eds_xr.schema import EdsError
from eds_xr.xray.detector import FWHM_PER_SIGMA, peak_sigma_kev
from eds_xr.xray.elements import check_element
from eds_xr.xray.lines import FAMILIES, family, line_energy_kev


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


def line_windows_kev(
    name: str, resolution_mnka_ev: float = 130.0
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Return the windows of a classical net count: peak, background left and right of it [keV].

    In units of the peak's full width at half maximum: the peak within 1 of its centre, the
    backgrounds between 1.3 and 1.8. They are close, as neighbouring peaks are.
    """
    centre = line_energy_kev(name)
    fwhm = FWHM_PER_SIGMA * float(peak_sigma_kev(centre, resolution_mnka_ev))
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
    Sm_La Nd_Lb1 0.52
    Hf_La Cu_Ka 0.25
    """
    low, high = range_kev
    lines = {line for name in names for line in _lines_of(name, low, high, beam_energy_kev)}
    energies = sorted((line_energy_kev(line), line) for line in lines)
    pairs = []
    for i, (below, first) in enumerate(energies):
        for above, second in energies[i + 1 :]:
            fwhm = FWHM_PER_SIGMA * float(peak_sigma_kev(above, resolution_mnka_ev))  # the wider
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
