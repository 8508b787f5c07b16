"""The errors that the subtraction of a hole leaves in spectra, carried through later ones."""

from __future__ import annotations

import xarray as xr

#: Variables of a subtraction; they stay with spectra from which more is subtracted.
HOLE_SCALE, HOLE_SLOPE, HOLE_BY_COUNTS, HOLE_ERROR = (
    "hole_scale", "hole_slope", "hole_by_counts", "hole_error",
)  # fmt: skip


def hole_error_left(
    mixture: xr.Dataset, reference: xr.Dataset, factor: float
) -> dict[str, xr.DataArray]:
    """Return the errors of the holes' scales in what a subtraction of phases leaves.

    An error of the ratio of doses is the same in both spectra; where a line gives the scales, that
    of the reference is left out, as its counts are many.
    """
    names = (HOLE_SCALE, f"{HOLE_SCALE}_variance", HOLE_SLOPE, HOLE_BY_COUNTS, HOLE_ERROR)
    if HOLE_SCALE not in mixture:
        return {}
    found = {n: mixture[n] for n in names}
    if HOLE_ERROR in reference:
        left = mixture[HOLE_ERROR] - factor * reference[HOLE_ERROR]
        found[HOLE_ERROR] = left.assign_attrs(mixture[HOLE_ERROR].attrs)
    return found
