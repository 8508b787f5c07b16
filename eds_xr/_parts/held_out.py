"""Which channels tell of lines that are going to be quantified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.schema import ENERGY, EdsError
from eds_xr.xray_lines import FAMILIES, check_element, family, line_windows_kev, split_line

#: A line of less than this share of its family tells nothing about it.
LEAST_WEIGHT = 0.01


def held_out(image: xr.DataArray, what: Sequence[str]) -> np.ndarray:
    """Return which channels lie in the windows of the lines to be quantified [channel; bool]."""
    if not what:
        raise EdsError("expected elements or lines to hold out, such as ['Nd', 'Sm'], found none")
    energy = image[ENERGY].values
    resolution = float(image.attrs.get("energy_resolution_mnka_ev", 130.0))
    held: np.ndarray = np.zeros(energy.size, bool)
    for name in what:
        own: np.ndarray = np.zeros(energy.size, bool)
        for line in _with_family(name, float(image.attrs.get("beam_energy_kev", 200.0))):
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


def _with_family(name: str, beam_kev: float) -> list[str]:
    """Return the lines of a line's family, or of all families of an element."""
    if "_" in name:
        element, line = split_line(name)
        shells: tuple[str, ...] = (line[0],)
    else:
        check_element(name)
        element, shells = name, FAMILIES
    found = [line for shell in shells for line in family(element, shell, beam_kev)]
    return [line.name for line in found if line.weight > LEAST_WEIGHT]
