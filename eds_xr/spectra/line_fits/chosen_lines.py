"""Which elements are fitted and which of their lines are reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eds_xr.schema import EdsError
from eds_xr.spectra.shapes.families import Calibration, Family, places_of_lines
from eds_xr.xray.elements import element_names
from eds_xr.xray.lines import components, line_energy_kev, principal_lines, split_line

#: A line of less than this share of its family is reported only when asked for.
LEAST_WEIGHT = 0.15


class LeftOutWarning(UserWarning):
    """An element that was asked for has no results: none of its lines lies in the range."""


def chosen_elements(
    attrs: Mapping[Any, Any], elements: Sequence[str] | None, call: str
) -> list[str]:
    """Return the elements given, or those of the attributes, each once; `call` is the cure."""
    chosen = attrs.get("elements", []) if elements is None else elements
    names = element_names(chosen)
    if not names:
        raise EdsError(f"no elements to fit: give them, {call}")
    return names


def check_calibration(calibration: Calibration | None) -> None:
    """Raise unless a calibration is one, or is left to be found."""
    if not isinstance(calibration, Calibration | None):
        raise EdsError(
            "expected a calibration from eds_xr.calibrate(spectra, elements), found "
            f"{calibration!r}"
        )


def reported_lines(
    elements: Sequence[str],
    lines: Sequence[str] | None,
    energy: np.ndarray,
    beam_kev: float,
    families: Sequence[Family],
) -> dict[str, tuple[int, float]]:
    """Return for each reported line its family's column and its share of the family."""
    places = places_of_lines(families)
    if lines is None:
        found = principal_lines(elements, float(energy[0]), float(energy[-1]), beam_kev).values()
        lines = [line for line in found if places.get(line, (0, 0.0))[1] > LEAST_WEIGHT]
    if isinstance(lines, str):
        raise EdsError(f"expected a list of lines, such as ['Mg_Ka', 'Ca_Ka'], found {lines!r}")
    if not lines:
        raise EdsError(
            f"none of {', '.join(elements)} has a principal line between {energy[0]:.2f} and "
            f"{energy[-1]:.2f} keV; widen range_kev"
        )
    for line in lines:
        split_line(line)
        inside = [energy[0] <= p.energy_kev <= energy[-1] for p in components(line, beam_kev)]
        if line not in places or not all(inside):
            raise EdsError(
                f"{line} lies outside {energy[0]:.2f} to {energy[-1]:.2f} keV, or its element is "
                "not among those fitted; widen range_kev, or add the element"
            )
    return {line: places[line] for line in lines}


def left_out(elements: Sequence[str], reported: Iterable[str]) -> list[str]:
    """Return the elements without a reported line."""
    found = {line.split("_")[0] for line in reported}
    return [e for e in elements if e not in found]


def left_out_message(elements: Sequence[str], energy: np.ndarray) -> str:
    """Return which elements have no results, for want of lines on an energy axis, and the cure."""
    lines = principal_lines(elements, 0.1, 12.5).values()
    places = ", ".join(f"{name} at {line_energy_kev(name):.2f} keV" for name in lines)
    cure = f"widen range_kev ({places}), or leave" if places else "leave"
    return (
        f"no results for {', '.join(elements)}, without a strong line between {energy[0]:.2f} and "
        f"{energy[-1]:.2f} keV: {cure} them out"
    )


def fit_attrs(
    elements: Sequence[str], chosen: Mapping[str, Any], calibration: Calibration
) -> dict[str, Any]:
    """Return what a fit's attributes tell: the calibration, and elements without a line."""
    return {"left_out": left_out(elements, chosen)} | {
        f"calibration_{k}": v for k, v in vars(calibration).items()
    }
