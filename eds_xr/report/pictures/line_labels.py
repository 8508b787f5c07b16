"""Where names of X-ray lines go, so that none covers another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Lying names are moved from their lines at most this part of the width of the axes.
MOST_MOVED = 0.03


@dataclass(frozen=True)
class Label:
    """The name of a line: where, what, and how high the spectrum stands there."""

    energy: float
    text: str
    strength: float
    color: str = "0.25"
    style: str = "normal"


def spread(places: np.ndarray, widths: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return middles of boxes that do not overlap, as near to their places as can be.

    The sum of the squared moves is the least there is for boxes in the order of their places: an
    isotonic regression (pool adjacent violators) of the places less the widths before them.

    Parameters
    ----------
    places : array [label]
        Rising.
    widths : array [label]
        Of the boxes, whose sum is at most ``high - low``.
    low, high : float
        All boxes stand between.

    Examples
    --------
    >>> spread(np.array([4.0, 5.0, 9.0]), np.array([2.0, 2.0, 2.0]), 0.0, 10.0).tolist()
    [3.5, 5.5, 9.0]
    """
    if not places.size:
        return places.copy()
    before = np.concatenate([[0.0], np.cumsum(widths[:-1])]) + widths / 2
    blocks: list[list[float]] = []  # mean, number
    for wish in places - before:
        blocks.append([float(wish), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, number = blocks.pop()
            first, count = blocks[-1]
            blocks[-1] = [(first * count + mean * number) / (count + number), count + number]
    starts = np.repeat([b[0] for b in blocks], [int(b[1]) for b in blocks])
    return np.clip(starts, low, high - widths.sum()) + before


def fits_lying(places: np.ndarray, widths: np.ndarray, low: float, high: float) -> bool:
    """Return whether names that lie are all near their lines."""
    if widths.sum() > high - low:
        return False
    moved = np.abs(spread(places, widths, low, high) - places)
    return bool((moved <= np.maximum(MOST_MOVED * (high - low), 0.5 * widths)).all())
