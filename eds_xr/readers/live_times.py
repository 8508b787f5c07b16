"""The live time of each pixel, where a file tells it: as an image that rides along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eds_xr.schema import LIVE_TIME


def of_passes(attrs: Mapping[str, Any], passes: np.ndarray) -> dict[str, np.ndarray]:
    """Return the live time of each pixel [s] from how often the beam passed over it.

    Nothing where all were passed over equally often (the recording's live time and its number of
    pixels tell as much), or the recording has no live time.
    """
    total = attrs.get(LIVE_TIME)
    if total is None or passes.min() == passes.max():
        return {}
    return {LIVE_TIME: float(total) * passes / passes.sum()}


def of_values(told: Any, grid: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return the live time of each pixel [s], where `told` is an array of them on the grid."""
    if len(grid) != 2 or np.shape(told) != grid:
        return {}
    times = np.asarray(told)
    known = times.dtype.kind in "fiu" and bool((np.isfinite(times) & (times >= 0)).all())
    return {LIVE_TIME: times.astype(float)} if known else {}
