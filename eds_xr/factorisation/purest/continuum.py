"""The smooth part of a spectrum, which its lines stand on."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.schema import ENERGY

#: The width about a line that belongs to it [keV].
LINE_KEV = 0.1


def line_channels(image: xr.DataArray) -> int:
    """Return how many channels belong to a line; 0 where the energy is not that of X-rays."""
    if ENERGY not in image.coords or image[ENERGY].attrs.get("units", "keV") != "keV":
        return 0
    return channels_of_a_line(image[ENERGY].values)


def channels_of_a_line(energy: np.ndarray) -> int:
    """Return how many channels belong to a line on this axis [keV]."""
    step = float(energy[1] - energy[0]) if len(energy) > 1 else 1.0
    return max(1, round(LINE_KEV / step))


def continuum(spectrum: np.ndarray, width: int) -> np.ndarray:
    """Return the spectrum without its lines: the highest level that it keeps over a line's width.

    Somewhere in a window that holds the channel and is three times as wide as what belongs to a
    line. A cut at low energies, as detectors have, lowers nothing beside it.
    """
    from scipy.ndimage import grey_opening, uniform_filter1d

    smooth = uniform_filter1d(spectrum.astype(float), width)
    level: np.ndarray = grey_opening(smooth, 3 * width + 1)
    return np.maximum(uniform_filter1d(level, width), 0.0)
