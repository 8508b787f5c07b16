"""What is said of results that are too noisy, or not there."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.composition.limits import limits_of
from eds_xr.schema import ASSUMED, LINE, PHASE

#: A pure spectrum with more noise than this, as an angle, is not worth its name [deg].
NOISE_ANGLE_DEG = 8.0
#: Of upper limits.
CONFIDENCE = 0.95
#: What is assumed to be zero is contradicted from so many standard deviations on.
CONTRADICTION_SIGMA = 3.0


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


def not_detected(lines: xr.Dataset) -> list[str]:
    """Name the lines that chance explains, without those assumed to be zero in a phase."""
    limits = limits_of(lines, "net", CONFIDENCE)
    notes = []
    for phase in lines[PHASE].values.tolist():
        one = limits.sel({PHASE: phase})
        open_ = ~one.detected & ~lines[ASSUMED].sel({PHASE: phase})
        for line in one[LINE].values[open_.values]:
            limit = float(one.upper_limit.sel({LINE: line}))
            notes.append(
                f"{str(line).split('_')[0]} is not detected in {phase}: at most "
                f"{limit:.0f} counts ({100 * CONFIDENCE:g} %)"
            )
    return notes


def contradicted(lines: xr.Dataset, assumed: xr.DataArray) -> list[str]:
    """Name the lines that are assumed to be zero in a phase, and are not by another way."""
    notes = []
    for phase in lines[PHASE].values.tolist():
        for line in assumed[LINE].values[assumed.sel({PHASE: phase}).values].tolist():
            one = lines.sel({PHASE: phase, LINE: line})
            net, sd = float(one.net), float(one.variance) ** 0.5
            if abs(net) > CONTRADICTION_SIGMA * sd:
                notes.append(
                    f"pure {phase}: the subtraction takes {line} for zero, all pixels give it "
                    f"{net:.0f} +- {sd:.0f} counts"
                )
    return notes
