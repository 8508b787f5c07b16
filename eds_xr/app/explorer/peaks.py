"""Which X-ray lines are at an energy, and which lines an element has."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.arguments import beam_energy_of, resolution_of
from eds_xr.axes import energy_step
from eds_xr.schema import ENERGY
from eds_xr.xray.detector import FWHM_PER_SIGMA, peak_sigma_kev
from eds_xr.xray.elements import SYMBOLS
from eds_xr.xray.lines import FAMILIES, XrayLine, family, principal_lines

#: Lines of less than this share of their family are not named.
LEAST_WEIGHT = 0.02
#: Peak of an axis that is not in keV [channels].
PEAK_CHANNELS = 8


class Peak(NamedTuple):
    """A peak that was clicked at.

    Attributes
    ----------
    energy : float
        Of its top.
    low, high : float
        The energies that it takes.
    line : str
        Of an element that is known to be there; empty if none is at this energy.
    others : tuple of str
        Main lines of other elements at this energy, the nearest first.
    """

    energy: float
    low: float
    high: float
    line: str
    others: tuple[str, ...]


def in_kev(spectra: xr.DataArray | xr.Dataset) -> bool:
    """Return whether X-ray lines can be placed on the energy axis."""
    return bool(spectra[ENERGY].attrs.get("units", "keV") == "keV")


def lines_of(element: str, image: xr.DataArray) -> list[XrayLine]:
    """Return the lines of an element on the energy axis of an image, strongest first."""
    low, high = (float(e) for e in image[ENERGY].values[[0, -1]])
    beam = beam_energy_of(image.attrs)
    found = [x for shell in FAMILIES for x in family(element, shell, beam)]
    seen = [x for x in found if max(low, 0.05) < x.energy_kev < high and x.weight >= LEAST_WEIGHT]
    return sorted(seen, key=lambda x: -x.weight)


def peak_at(spectrum: xr.DataArray, energy: float, elements: Iterable[str]) -> Peak:
    """Return the peak of a spectrum [energy] that is meant by an energy.

    Its top is the highest channel within half a peak's width.
    """
    axis, values = spectrum[ENERGY].values.astype(float), spectrum.values
    width = _width(spectrum, energy)
    near = np.flatnonzero(abs(axis - energy) <= width / 2)
    top = float(axis[near[np.argmax(values[near])]]) if near.size else energy
    low, high = max(top - width, float(axis[0])), min(top + width, float(axis[-1]))
    if not in_kev(spectrum):
        return Peak(top, low, high, "", ())
    at = [
        (abs(x.energy_kev - top), -x.weight, x.name)
        for element in elements
        for x in lines_of(element, spectrum)
        if abs(x.energy_kev - top) <= width / 2
    ]
    beam = beam_energy_of(spectrum.attrs)
    others = sorted(
        (abs(e - top), name) for e, name in _main_lines(beam) if abs(e - top) <= width / 2
    )
    known = {name.split("_")[0] for *_, name in at}
    names = [name for _, name in others if name.split("_")[0] not in known]
    return Peak(top, low, high, min(at)[2] if at else "", tuple(names[:4]))


def _width(spectrum: xr.DataArray, energy: float) -> float:
    """Return a peak's full width at half maximum."""
    if not in_kev(spectrum):
        return PEAK_CHANNELS * energy_step(spectrum)
    sigma = float(peak_sigma_kev(max(energy, 0.05), resolution_of(spectrum.attrs)))
    return max(FWHM_PER_SIGMA * sigma, 2 * energy_step(spectrum))


@lru_cache(maxsize=4)
def _main_lines(beam_kev: float) -> tuple[tuple[float, str], ...]:
    """Return the energies and names of the main lines of all elements [keV]."""
    found = []
    for low, high in ((0.1, 1.0), (1.0, 4.0), (4.0, 12.5), (12.5, 40.0)):
        for element, name in principal_lines(SYMBOLS, low, high, beam_kev).items():
            shell = name.split("_")[1][0]
            energies = {x.name: x.energy_kev for x in family(element, shell, beam_kev)}
            found.append((energies[name], name))
    return tuple(dict.fromkeys(found))
