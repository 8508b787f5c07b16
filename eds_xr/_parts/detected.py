"""Whether a value is more than chance, and how large it can be at most."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr._parts.limits import upper_limit
from eds_xr._parts.number_text import above_text, below_text, value_text
from eds_xr._parts.quantities import CRITICAL_SIGMA, critical_level, deviation, units_of


def limits_of(dataset: xr.Dataset, quantity: str, confidence: float) -> xr.Dataset:
    """Return ``detected`` and ``upper_limit`` of a quantity, its own where the Dataset has them.

    The deviation is not taken below that of a blank, from which the critical level comes: where
    counts happen to be few, their own variance is too small.
    """
    if f"{quantity}_upper_limit" in dataset:
        own = {n: dataset[f"{quantity}_{n}"] for n in ("detected", "upper_limit")}
        return xr.Dataset(own)
    value, sd = dataset[quantity], deviation(dataset, quantity)
    level = critical_level(dataset, quantity)
    spread = np.maximum(sd, (level / CRITICAL_SIGMA).where(sd > 0, 0.0))
    limit = xr.apply_ufunc(
        upper_limit, value, spread, kwargs={"confidence": confidence}, dask="parallelized"
    )
    share = f"{100 * confidence:g} %"
    return xr.Dataset(
        {
            "detected": (value > level).assign_attrs(
                long_name="above the critical level", units="1"
            ),
            "upper_limit": limit.assign_attrs(
                long_name=f"upper limit at {share} confidence", units=units_of(value)
            ),
        }
    )


def as_text(dataset: xr.Dataset, quantity: str, confidence: float, scale: float) -> xr.DataArray:
    """Return what to print of a quantity: ``0.34(5)``, ``< 0.12``; ``> 3.1`` of open ratios."""
    limits = limits_of(dataset, quantity, confidence)
    lowest = f"{quantity}_lower_limit"
    lower = dataset[lowest] if lowest in dataset else xr.full_like(limits.upper_limit, -np.inf)
    parts = (dataset[quantity], deviation(dataset, quantity), limits.upper_limit, lower)
    return xr.apply_ufunc(
        _one_text, *(scale * p for p in parts), limits.detected, vectorize=True,
        output_dtypes=[object],
    ).astype(str)  # fmt: skip


def _one_text(value: float, sd: float, upper: float, lower: float, detected: bool) -> str:
    if np.isinf(upper):  # the divisor of a ratio is not significant
        return above_text(lower) if detected and lower > 0 else "-"
    return value_text(value, sd) if detected or not np.isfinite(upper) else below_text(upper)
