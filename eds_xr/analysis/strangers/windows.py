"""Windows of pixels over which counts are summed: discs and bars."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

#: Radii of the discs [pixels]: 1, 5, 9, 21, 37, 81, 177 pixels; twice as many each time, or so.
RADII = (0.0, 1.0, 1.5, 2.5, 3.5, 5.0, 7.5)
#: Bars are so long and wide [pixels], in so many directions: of needles, films along boundaries.
BAR, DIRECTIONS = (15.0, 3.0), 8
#: The disc of a map of residuals, among the windows: 5 pixels.
SMALL = 1
#: The surroundings that tell what is usual: a square of this reach less an inner one [pixels].
SURROUNDINGS, INNER = 24, 10
#: Tiles see so many pixels beyond their own.
MARGIN = 32
#: Side of a tile [pixels].
TILE = 256


@cache
def shapes() -> tuple[np.ndarray, ...]:
    """Return the pixels of each window from its middle [pixel, (y, x)].

    Examples
    --------
    >>> [len(one) for one in shapes()[:8]]
    [1, 5, 9, 21, 37, 81, 177, 45]
    """
    y, x = np.mgrid[-10:11, -10:11]
    discs = [y**2 + x**2 <= r**2 + 0.3 for r in RADII]
    bars = []
    for i in range(DIRECTIONS):
        angle = math.pi * i / DIRECTIONS
        along = math.cos(angle) * x + math.sin(angle) * y
        across = math.cos(angle) * y - math.sin(angle) * x
        bars.append((abs(along) <= BAR[0] / 2) & (abs(across) <= BAR[1] / 2))
    return tuple(np.column_stack([y[one], x[one]]) for one in (*discs, *bars))


#: No window reaches farther from its middle [pixels].
REACH = 10


@cache
def reach() -> np.ndarray:
    """Return how far each window reaches from its middle [pixels]."""
    return np.array([float(np.hypot(*one.T).max()) for one in shapes()])


@cache
def touching(one: int, other: int) -> np.ndarray:
    """Return where the middle of another window may lie, for both to touch [y, x; bool].

    From ``-2 * REACH - 1`` of the middle of the one on. Windows touch that share a pixel, or have
    neighbouring ones, diagonally too.
    """
    from scipy.signal import fftconvolve

    side = 2 * REACH + 3
    masks = np.zeros((2, side, side))
    for mask, shape, sign in zip(masks, (one, other), (1, -1), strict=True):
        mask[tuple((sign * shapes()[shape] + REACH + 1).T)] = 1
    wide = fftconvolve(masks[0], np.ones((3, 3)), "same") > 0.5
    return np.asarray(fftconvolve(wide, masks[1]) > 0.5)


@cache
def rows(window: int) -> np.ndarray:
    """Return where a window begins and ends in each of its rows [row, (y, first x, last x)]."""
    pixels = shapes()[window]
    found = []
    for y in np.unique(pixels[:, 0]):
        x = pixels[pixels[:, 0] == y, 1]
        found.append((y, x.min(), x.max()))
    return np.array(found, np.int64)
