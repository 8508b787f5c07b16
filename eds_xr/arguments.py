"""What callers and recordings give: elements, ranges, numbers; checked where they come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from eds_xr.schema import EdsError


def number(given: Any, what: str) -> float:
    """Return a number, of any kind."""
    try:
        return float(given)
    except (TypeError, ValueError):
        raise EdsError(f"{what} must be a number, found {given!r}") from None


def attribute_number(attrs: Mapping[Any, Any], name: str, default: float) -> float:
    """Return a number of the attributes, the default where there is none."""
    found = attrs.get(name)
    return default if found is None else number(found, f"the attribute {name}")


def beam_energy_of(attrs: Mapping[Any, Any]) -> float:
    """Return the beam energy of a recording [keV]: 200 where nobody noted it."""
    return attribute_number(attrs, "beam_energy_kev", 200.0)


def resolution_of(attrs: Mapping[Any, Any]) -> float:
    """Return the full width at half maximum at Mn Ka [eV]: 130 where nobody noted it."""
    return attribute_number(attrs, "energy_resolution_mnka_ev", 130.0)


def check_range_kev(given: Any) -> None:
    """Raise unless a range of energies is a pair, the lower one first; None is an open end."""
    pair = given if isinstance(given, tuple | list) and len(given) == 2 else (1.0, 0.0)
    low, high = (number(e, "an end of range_kev") if e is not None else None for e in pair)
    if low is not None and high is not None and not low < high:
        raise EdsError(
            f"range_kev must be two energies, the lower first: (0.7, 12.5); found {given!r}"
        )


def number_or_array(given: Any, what: str) -> xr.DataArray:
    """Return a number, or an array with named dimensions, as a DataArray."""
    if isinstance(given, xr.DataArray):
        return given
    if isinstance(given, str) or getattr(given, "__len__", None) is not None:
        raise EdsError(
            f"{what} must be a number, or a DataArray along the dimensions of the lines, "
            f"such as 'phase'; found {given!r}"
        )
    return xr.DataArray(number(given, what))


def check_fits(values: xr.DataArray, lines: xr.DataArray, what: str) -> None:
    """Raise unless values have no dimension, size or name of a spectrum that the lines lack."""
    for dim in values.dims:
        if dim not in lines.dims or values.sizes[dim] != lines.sizes[dim]:
            raise EdsError(
                f"{what} must be a number, or lie along dimensions of the lines, found "
                f"{dict(values.sizes)} and lines of {dict(lines.sizes)}"
            )
        both = dim in values.indexes and dim in lines.indexes
        if both and not values.indexes[dim].equals(lines.indexes[dim]):
            raise EdsError(
                f"{what} has other names or positions along {dim!r} than the lines: "
                f"{values[dim].values.tolist()}, expected {lines[dim].values.tolist()}"
            )


def check_confidence(given: Any) -> None:
    """Raise unless a confidence is one-sided, such as 0.95."""
    if isinstance(given, str) or not 0.5 <= number(given, "confidence") < 1:
        raise EdsError(f"confidence must be between 0.5 and 1, found {given!r}")
