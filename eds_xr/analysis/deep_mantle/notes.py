"""What is said of results that are too noisy, or not there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from eds_xr.composition.limits import limits_of
from eds_xr.schema import LINE, PHASE

#: A pure spectrum with more noise than this, as an angle, is not worth its name [deg].
NOISE_ANGLE_DEG = 8.0
#: Of upper limits.
CONFIDENCE = 0.95


def too_noisy(phase: str, spectrum: xr.Dataset) -> list[str]:
    """Say so when noise turns the spectrum away from itself by more than a few degrees."""
    noise = float(spectrum.variance.sum()) ** 0.5
    signal = max(float((spectrum.counts**2 - spectrum.variance).sum()), 1e-9) ** 0.5
    angle = float(np.degrees(np.arctan2(noise, signal)))
    if angle <= NOISE_ANGLE_DEG:
        return []
    return [
        f"pure {phase}: too few counts, noise turns the spectrum by {angle:.0f} degrees; do not "
        "report its composition"
    ]


def not_detected(lines: xr.Dataset, pinned: Mapping[str, str]) -> list[str]:
    """Name the lines that chance explains, without those `pinned` to zero in a phase."""
    limits = limits_of(lines, "net", CONFIDENCE)
    notes = []
    for phase in lines[PHASE].values.tolist():
        one = limits.sel({PHASE: phase})
        for line in one[LINE].values[~one.detected.values]:
            if pinned.get(phase) != line:
                limit = float(one.upper_limit.sel({LINE: line}))
                notes.append(
                    f"{str(line).split('_')[0]} is not detected in {phase}: at most "
                    f"{limit:.0f} counts ({100 * CONFIDENCE:g} %)"
                )
    return notes
