"""What callers and recordings give: elements, ranges, numbers; checked where they come in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import xarray as xr

from eds_xr.schema import EdsError, texts_of

#: Where nobody noted it, and it hardly matters [keV].
ASSUMED_BEAM_KEV = 200.0


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
    """Return the beam energy of a recording [keV]: 200 where nobody noted it.

    For what hardly depends on it, such as the weights of lines within a family. What comes of it
    carries :func:`with_beam_assumed`; a number that rests on it asks for it instead.
    """
    return attribute_number(attrs, "beam_energy_kev", ASSUMED_BEAM_KEV)


def with_beam_assumed(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes that say so where :func:`beam_energy_of` assumes a beam energy."""
    if attrs.get("beam_energy_kev") is not None:
        return dict(attrs)
    return with_assumptions(
        attrs,
        f"a beam of {ASSUMED_BEAM_KEV:g} keV for which lines there are, their relative weights and "
        "the shape of the background: the recording does not tell its own",
    )


def with_assumptions(attrs: Mapping[Any, Any], *texts: str) -> dict[str, Any]:
    """Return attributes with more in their list ``assumptions``, each once."""
    told = list(dict.fromkeys([*texts_of(attrs, "assumptions"), *texts]))
    return {**attrs, "assumptions": told} if told else dict(attrs)


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


def relative_uncertainty(value: float, name: str) -> float:
    """Return a relative standard uncertainty, checked."""
    if not 0 <= number(value, name) < math.inf:
        raise EdsError(f"{name} is relative, 0.1 for 10 %, and not negative; found {value!r}")
    return float(value)
