"""Shares of a whole with covariance: what a composition becomes when it is expressed anew."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.schema import ELEMENT, EdsError

OTHER = "element_other"


def shares(values: np.ndarray, parts: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return ``y_k = sum_i parts_ki x_i / sum_i whole_i x_i`` and its slopes ``dy_k / dx_i``.

    NaN where x sums to nothing, as in a pixel without counts.
    It does not depend on the scale of x: so first-order errors of fractions, which were brought
    to sum 1, are those of the amounts before that.
    """
    total = values @ whole
    total = np.where(total > 0, total, np.nan)
    found = values @ parts.T / total[..., None]
    return found, (parts - found[..., :, None] * whole) / total[..., None, None]


def propagated(slope: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the covariance of what depends on x with these slopes."""
    return slope @ covariance @ np.swapaxes(slope, -1, -2)


def diagonal(covariance: np.ndarray) -> np.ndarray:
    """Return the variances; a rounding error below zero is zero."""
    return np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0.0)


def check_composition(composition: xr.Dataset) -> None:
    """Raise unless there are atomic fractions over ``element``, with covariance."""
    needed = {f"atomic_fraction{end}" for end in ("", "_variance", "_covariance")}
    if not isinstance(composition, xr.Dataset) or not needed <= set(composition.data_vars):
        raise EdsError("expected a composition with covariance, from eds_xr.quantify(lines)")
    if ELEMENT not in composition.atomic_fraction.dims:
        raise EdsError(
            "expected a composition of several elements, found one: choose no element, give the "
            "whole composition"
        )


def atoms_of(composition: xr.Dataset) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """Return elements, atomic fractions [..., element] and their two covariances."""
    check_composition(composition)
    names = [str(e) for e in composition[ELEMENT].values]
    values = composition.atomic_fraction.transpose(..., ELEMENT).values
    table = composition.atomic_fraction_covariance.sel({OTHER: names})
    statistical = table.transpose(..., ELEMENT, OTHER).values
    both = {"": statistical, "systematic_": systematic_covariance(composition, "atomic_fraction")}
    return names, values, both


def systematic_covariance(composition: xr.Dataset, quantity: str) -> np.ndarray:
    """Return the covariance of fractions due to the factors [..., element, element_other]."""
    names, name = composition[ELEMENT].values, f"{quantity}_systematic_covariance"
    if name in composition:
        table = composition[name].sel({OTHER: names}).transpose(..., ELEMENT, OTHER)
        return np.asarray(table.values)
    slope = by_error(composition, quantity)
    return np.asarray(slope @ np.swapaxes(slope, -1, -2))


def by_error(composition: xr.Dataset, quantity: str) -> np.ndarray:
    """Return what one standard deviation of each systematic error does [..., element, error].

    As the composition has it, or else from the relative uncertainties of the factors.
    """
    name = f"{quantity}_by_error"
    if name in composition:
        return np.asarray(composition[name].transpose(..., ELEMENT, "error").values)
    values = composition[quantity].transpose(..., ELEMENT).values
    relative = composition["systematic"].values if "systematic" in composition else 0.0
    # dx_i = x_i (e_i - sum_j x_j e_j), with e the relative errors of the factors
    slope = values[..., :, None] * (np.eye(values.shape[-1]) - values[..., None, :])
    return np.asarray(slope * relative)


def systematic_deviation(dataset: xr.Dataset, quantity: str) -> xr.DataArray | None:
    """Return what the factors leave uncertain of a quantity; None where nothing says it."""
    name, values = f"{quantity}_systematic_variance", dataset[quantity]
    if name in dataset:
        return dataset[name].clip(min=0) ** 0.5
    of_factors = "systematic" in dataset and quantity.endswith("_fraction")
    known = of_factors or f"{quantity}_systematic_covariance" in dataset
    if not known or ELEMENT not in values.dims:
        return None
    variance = diagonal(systematic_covariance(dataset, quantity))
    return xr.zeros_like(values.transpose(..., ELEMENT)) + np.sqrt(variance)
