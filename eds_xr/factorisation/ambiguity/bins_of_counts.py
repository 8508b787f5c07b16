"""Counts of an image summed over bins of pixels, few enough to be held as they are."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from eds_xr.factorisation.rotation import gathered_bins
from eds_xr.image.rebin import rebin
from eds_xr.schema import EdsError, spatial_dims

#: Bins at most, counts that a bin should hold, and bins that should remain.
MOST_BINS, COUNTS_PER_BIN, FEWEST_BINS = 4096, 500.0, 256


def binned_counts(image: xr.DataArray) -> np.ndarray:
    """Return counts summed over square bins ``[*bins, channel]``.

    Computes once through the image. Bins are of a power of two pixels a side, large enough for some
    hundred counts and small enough to hold one phase; what is left over at its ends is left out.
    """
    dims = spatial_dims(image)
    side = 1
    while math.prod(max(1, image.sizes[d] // side) for d in dims) > MOST_BINS:
        side *= 2
    summed = rebin(image, **{d: min(side, image.sizes[d]) for d in dims})
    whole = {d: slice(max(1, image.sizes[d] // side)) for d in dims}
    sums = np.asarray(summed.isel(whole).values, float)
    total = sums.sum()
    if not (np.isfinite(total) and total > 0):
        raise EdsError("the image holds no counts, or NaN; use da.fillna(0)")
    return gathered_bins(sums, COUNTS_PER_BIN, FEWEST_BINS)
