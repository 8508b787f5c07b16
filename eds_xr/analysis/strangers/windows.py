"""Discs of pixels over which counts are summed, from one pixel to some two hundred."""

from __future__ import annotations

import math

import numpy as np

#: Radii of the discs [pixels]: 1, 5, 9, 21, 37, 81, 177 pixels; twice as many each time, or so.
RADII = (0.0, 1.0, 1.5, 2.5, 3.5, 5.0, 7.5)
#: The surroundings that tell what is usual: a square of this reach less an inner one [pixels].
SURROUNDINGS, INNER = 24, 10
#: Tiles see so many pixels beyond their own.
MARGIN = 32
#: Side of a tile [pixels].
TILE = 256


def half_widths(radius: float) -> np.ndarray:
    """Return how far a disc reaches along x, in each of its rows."""
    rows = np.arange(-math.floor(radius), math.floor(radius) + 1)
    return np.floor(np.sqrt(radius**2 + 0.3 - rows**2)).astype(np.int64)


def n_pixels(radius: float) -> int:
    """Return the pixels of a disc.

    Examples
    --------
    >>> [n_pixels(r) for r in RADII]
    [1, 5, 9, 21, 37, 81, 177]
    """
    return int((2 * half_widths(radius) + 1).sum())


def offsets(radius: float) -> np.ndarray:
    """Return the pixels of a disc from its centre [pixel, (y, x)]."""
    reach, widths = math.floor(radius), half_widths(radius)
    return np.array(
        [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)
         if abs(x) <= widths[y + reach]]
    )  # fmt: skip
