"""Values as greys: where black is, where white is."""

from __future__ import annotations

import numpy as np

#: Shares of the pixels that are black, and not yet white.
DARK, BRIGHT = 0.5, 99.5


def limits(values: np.ndarray, low: float = DARK, high: float = BRIGHT) -> tuple[float, float]:
    """Return the values of black and white, by shares of the pixels [%]."""
    found = values[np.isfinite(values)]
    if not found.size:
        return 0.0, 1.0
    dark, bright = (float(v) for v in np.percentile(found, [low, high]))
    if bright > dark:
        return dark, bright
    dark, bright = float(found.min()), float(found.max())
    return (dark, bright) if bright > dark else (dark, dark + 1.0)


def as_greys(
    values: np.ndarray, dark: float, bright: float, *, log: bool = False, gamma: float = 1.0
) -> np.ndarray:
    """Return greys [row, column; uint8]; NaN is black."""
    part = np.clip((values - dark) / (bright - dark), 0, 1)
    if log:
        part = np.log1p(999 * part) / np.log(1000)
    part = np.nan_to_num(part**gamma, nan=0.0)
    return np.rint(255 * part).astype(np.uint8)
