"""Electrons that made the counts, from what the caller states."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.arguments import number, number_or_array
from eds_xr.schema import EdsError

#: Charge of an electron [C].
ELECTRON_C = 1.602176634e-19


def dose_of(
    electrons: float | xr.DataArray | None, current_na: float | None, time_s: float | None
) -> xr.DataArray:
    """Return the dose [electrons], given itself or as current and time; raise without either."""
    if electrons is None and current_na is not None and time_s is not None:
        current, time = number(current_na, "probe_current_na"), number(time_s, "live_time_s")
        dose = xr.DataArray(current * 1e-9 * time / ELECTRON_C)
    elif electrons is not None and current_na is None and time_s is None:
        dose = number_or_array(electrons, "dose_electrons")
    else:
        raise EdsError(
            "the method needs the dose: dose_electrons, or probe_current_na and live_time_s, of "
            "all the pixels that were summed"
        )
    if dose.chunks is None and not bool(((dose > 0) & np.isfinite(dose)).all()):
        raise EdsError(f"the dose must be positive, found {float(dose.min()):g} electrons")
    return dose
