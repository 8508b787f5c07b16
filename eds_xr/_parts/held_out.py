"""Which channels tell of lines that are going to be quantified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr._parts.given import attribute_number
from eds_xr.schema import ENERGY, EdsError
from eds_xr.xray_lines import (
    check_element,
    family,
    line_windows_kev,
    principal_line,
    split_line,
)

#: A line of less than this share of its family tells nothing about it.
LEAST_WEIGHT = 0.01


def held_out(image: xr.DataArray, what: Sequence[str]) -> np.ndarray:
    """Return which channels lie in the windows of the lines to be quantified [channel; bool]."""
    if not what or not all(isinstance(name, str) for name in what):
        raise EdsError(
            "expected elements or lines to hold out, such as ['Nd', 'Sm'], found "
            f"{list(what) or 'none'}"
        )
    energy = image[ENERGY].values
    resolution = attribute_number(image.attrs, "energy_resolution_mnka_ev", 130.0)
    held: np.ndarray = np.zeros(energy.size, bool)
    beam = attribute_number(image.attrs, "beam_energy_kev", 200.0)
    for name in what:
        own: np.ndarray = np.zeros(energy.size, bool)
        chosen = name if "_" in name else _principal(name, energy, beam)
        for line in _family_of(chosen, beam):
            _, (low, _), (_, high) = line_windows_kev(line, resolution)
            own |= (energy >= low) & (energy <= high)
        if not own.any():
            raise EdsError(
                f"{name} has no line between {energy[0]:.2f} and {energy[-1]:.2f} keV: there is "
                "nothing to hold out"
            )
        held |= own
    if held.all():
        raise EdsError("no channel is left to choose pixels on: hold out less, or use 'half'")
    return held


def _principal(element: str, energy: np.ndarray, beam_kev: float) -> str:
    check_element(element)
    return principal_line(element, beam_kev, min_kev=float(energy[0]), max_kev=float(energy[-1]))


def _family_of(name: str, beam_kev: float) -> list[str]:
    """Return the lines of a line's family: they are fitted together."""
    element, line = split_line(name)
    found = family(element, line[0], beam_kev)
    return [x.name for x in found if x.weight > LEAST_WEIGHT]
