"""Which variables of a result are quantities with an error, and what belongs to them.

A quantity ``q`` has ``q_variance``; net counts, counts and ratios, the only quantity of their
Dataset, have ``variance``.
"""

from __future__ import annotations

import xarray as xr

from eds_xr.schema import EdsError

ALONE = ("net", "counts", "ratio")
#: Quantities that are shown in per cent.
PERCENT = {"atomic_fraction": "at%", "weight_fraction": "wt%"}
#: Currie's factor: chance alone exceeds 1.645 standard deviations in 5 of 100 cases.
CRITICAL_SIGMA = 1.645


def variance_name(dataset: xr.Dataset, quantity: str) -> str:
    """Return the name of the variance of a quantity; empty where it has none."""
    for name in (f"{quantity}_variance", *(["variance"] if quantity in ALONE else [])):
        if name in dataset and quantity in dataset and dataset[name].dims == dataset[quantity].dims:
            return name
    return ""


def quantities(dataset: xr.Dataset) -> list[str]:
    """Return the quantities with an error: those of elements before those of spectra.

    Otherwise in the order of the Dataset, which files may change.
    """
    found = [str(name) for name in dataset.data_vars if variance_name(dataset, str(name))]
    return sorted(found, key=lambda name: (-dataset[name].ndim, name != "atomic_fraction"))


def chosen_quantity(dataset: xr.Dataset, quantity: str | None) -> str:
    """Return the quantity asked for, by default the first one."""
    if not isinstance(dataset, xr.Dataset):
        raise EdsError(f"expected a Dataset with errors, found {type(dataset).__name__}")
    known = quantities(dataset)
    if quantity is None and known:
        return known[0]
    if quantity in known:
        return str(quantity)
    which = f"quantity {quantity!r}" if quantity else "quantity"
    raise EdsError(f"no {which} with a variance; the Dataset has {', '.join(known) or 'none'}")


def deviation(dataset: xr.Dataset, quantity: str) -> xr.DataArray:
    """Return the standard deviation of a quantity."""
    variance = dataset[variance_name(dataset, quantity)]
    return (variance.clip(min=0) ** 0.5).assign_attrs(units=units_of(dataset[quantity]))


def units_of(values: xr.DataArray) -> str:
    """Return the units of a variable, 1 where it says none."""
    return str(values.attrs.get("units", "1"))


def critical_level(dataset: xr.Dataset, quantity: str) -> xr.DataArray:
    """Return above what a quantity is more than chance (Currie's critical level).

    As given; else from the detection limit; else, as for oxygen that no line stands for, from the
    standard deviation itself.
    """
    from_deviation = CRITICAL_SIGMA * deviation(dataset, quantity)
    alone = quantity in ALONE
    for name in (f"{quantity}_critical_level", *(["critical_level"] if alone else [])):
        if name in dataset:
            return dataset[name].fillna(from_deviation)
    if alone and "detection_limit" in dataset:  # L_D = 2.71 + 2 L_C
        return (dataset["detection_limit"] - CRITICAL_SIGMA**2) / 2
    if f"{quantity}_detection_limit" in dataset:  # somewhat above L_C, as L_D > 2 L_C
        return (dataset[f"{quantity}_detection_limit"] / 2).fillna(from_deviation)
    return from_deviation


def beyond_counting(dataset: xr.Dataset, quantity: str) -> xr.DataArray:
    """Return the standard deviation of a quantity by all but counting; 0 where that is not known.

    A critical level is of counting, and of what is known of other peaks: what a subtraction, or a
    phase's variation from place to place, may have left there is in the total error alone.
    """
    parts = dataset.get(
        "effect_covariance" if quantity in ALONE else f"{quantity}_effect_covariance"
    )
    if parts is None or "counting" not in parts["effect"]:
        return xr.DataArray(0.0)
    counting = parts.sel(effect="counting", drop=True)
    other = next(str(d) for d in counting.dims if str(d).endswith("_other"))
    own = counting.where(counting[other.removesuffix("_other")] == counting[other], 0.0).sum(other)
    return (deviation(dataset, quantity) ** 2 - own).clip(min=0) ** 0.5


def one_count(dataset: xr.Dataset, quantity: str) -> xr.DataArray:
    """Return what a count of its line is worth in a quantity; 0 where that is not known.

    Currie's detection limit lies 1.645^2 counts above twice the critical level.
    """
    if quantity == "net":
        return xr.DataArray(1.0)
    names = [f"{quantity}_{n}" for n in ("detection_limit", "critical_level")]
    if not all(n in dataset for n in names):
        return xr.DataArray(0.0)
    return ((dataset[names[0]] - 2 * dataset[names[1]]) / CRITICAL_SIGMA**2).fillna(0.0)
