"""Electrons that made the counts: given, or current times the live time of what was summed."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.arguments import number, number_or_array
from eds_xr.schema import LIVE_TIME, PIXEL_LIVE_TIME, EdsError, spatial_dims

#: Charge of an electron [C].
ELECTRON_C = 1.602176634e-19


def dose_of(
    lines: xr.Dataset,
    electrons: float | xr.DataArray | None,
    current_na: float | xr.DataArray | None,
    time_s: float | xr.DataArray | None,
) -> xr.DataArray:
    """Return the electrons that made the counts of lines, of each spectrum or of all.

    Given as such, or as current and live time; current and live time are taken from the lines
    where they know them.

    Raises
    ------
    EdsError
        For a dose that is given twice, that nobody tells, or that is not positive.
    """
    if electrons is not None and current_na is None and time_s is None:
        dose = number_or_array(electrons, "dose_electrons")
    elif electrons is None:
        current = lines.attrs.get("probe_current_na") if current_na is None else current_na
        time = live_time_of(lines) if time_s is None else time_s
        if current is None or time is None:
            raise EdsError(_missing(current is None, time is None))
        current = number_or_array(current, "probe_current_na")
        dose = current * 1e-9 * number_or_array(time, "live_time_s") / ELECTRON_C
    else:
        raise EdsError("the dose is given twice: dose_electrons, and a current or a live time")
    if dose.chunks is None and not bool(((dose > 0) & np.isfinite(dose)).all()):
        raise EdsError(f"the dose must be positive, found {float(dose.min()):g} electrons")
    return dose.reset_coords(drop=True)


def live_time_of(lines: xr.Dataset) -> xr.DataArray | None:
    """Return the live time of what each spectrum, or pixel, was summed of [s], if they know it."""
    if LIVE_TIME in lines.variables:
        return lines[LIVE_TIME]
    each = lines.attrs.get(PIXEL_LIVE_TIME)
    if each is not None and spatial_dims(lines.net):
        return xr.DataArray(number(each, f"the attribute {PIXEL_LIVE_TIME}"))
    return None


def number_or_varies(values: xr.DataArray) -> float | str:
    """Return a number for a history, where values are one."""
    return float(values.item()) if values.ndim == 0 else "varies"


def _missing(current: bool, time: bool) -> str:
    lacks = [n for n, is_missing in (("current", current), ("live time", time)) if is_missing]
    return (
        "the method needs the dose: dose_electrons, or probe_current_na and live_time_s, of all "
        f"the pixels that were summed; the recording tells no {' and no '.join(lacks)}"
    )
