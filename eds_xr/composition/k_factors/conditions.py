"""Conditions that factors hold for: beam, detector, angles; kept with a table, and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from eds_xr.arguments import number
from eds_xr.composition.k_factors.table import SAME_BEAM, WORD
from eds_xr.schema import EdsError

#: Attributes of a recording that a table of factors keeps. Times: live and real, whose difference
#: is dead time.
KEPT = (
    "beam_energy_kev", "detector", "detector_window_nm", "detector_dead_layer_nm",
    "detector_contact_nm", "detector_thickness_mm", "detector_energy_kev", "detector_efficiency",
    "elevation_angle_deg", "azimuth_angle_deg", "tilt_deg", "solid_angle_sr", "probe_current_na",
    "live_time_s", "real_time_s", "date", "source",
)  # fmt: skip
#: What a table says of itself beside them, as files keep it.
_WHOLE_NUMBERS = (
    "standardless", "absorption_corrected", "degrees_of_freedom", "fill_degrees_of_freedom",
    "scatter_degrees_of_freedom",
)  # fmt: skip
_NUMBERS = (
    *(k for k in KEPT if k.rpartition("_")[2] in ("nm", "mm", "deg", "sr", "na", "s")),
    "take_off_angle_deg", "mass_thickness_kg_m2", "dose_electrons", "chi_square",
    "fill_chi_square", "scatter_chi_square",
)  # fmt: skip
_LISTS = ("detector_energy_kev", "detector_efficiency")
_TEXTS = ("detector", "date", "standard", "computed_lines")
#: What must agree where both sides know it: relative, absolute tolerance; words; the cure.
_MUST_AGREE = {
    "detector_window_nm": (0.05, 1.0, "nm of window"),
    "detector_dead_layer_nm": (0.05, 1.0, "nm of dead layer"),
    "detector_contact_nm": (0.05, 1.0, "nm of contact"),
    "detector_thickness_mm": (0.05, 0.0, "mm of silicon"),
    "elevation_angle_deg": (0.0, 1.0, "degrees of elevation"),
}


def conditions_of(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the conditions that the attributes of a recording tell."""
    return {k: attrs[k] for k in KEPT if attrs.get(k) is not None}


def conditions_of_comments(file: str, comments: Mapping[str, str]) -> dict[str, Any]:
    """Return the conditions that the comments of a file tell, ``# detector_window_nm: 150``."""
    found: dict[str, Any] = {k: comments[k] for k in _TEXTS if k in comments}
    for key in (*_NUMBERS, *_WHOLE_NUMBERS, *_LISTS):
        if key not in comments:
            continue
        try:
            value = json.loads(comments[key])
            values = [float(v) for v in value] if key in _LISTS else float(value)
        except (ValueError, TypeError):
            wanted = "list of numbers, [0.1, 0.2]" if key in _LISTS else "number"
            raise EdsError(
                f"{file}: '# {key}: {comments[key]}' is no {wanted}; correct it, or remove the line"
            ) from None
        found[key] = int(value) if key in _WHOLE_NUMBERS else values
    return found


def check_conditions(factors: Any, recording: xr.Dataset, kind: str) -> None:
    """Raise where factors hold for another detector than recorded, as far as both are known."""
    table, lines, word = getattr(factors, "attrs", {}), recording.attrs, WORD[kind]
    for key, (relative, absolute, words) in _MUST_AGREE.items():
        if table.get(key) is None or lines.get(key) is None:
            continue
        said, found = number(table[key], f"{key} of the table"), number(lines[key], key)
        if abs(said - found) > relative * abs(found) + absolute:
            raise EdsError(
                f"the {word}s are for a detector with {said:g} {words}, the spectra are from one "
                f"with {found:g}; measure a standard with this detector, or correct the attribute "
                f"{key} of the one that is wrong"
            )
    both = table.get("detector"), lines.get("detector")
    if None not in both and both[0] != both[1]:
        raise EdsError(
            f"the {word}s are of the detector {both[0]!r}, the spectra of {both[1]!r}; measure a "
            "standard with this detector, or correct the attribute detector"
        )
    _check_take_off(table, lines, word)


def check_same_beam_and_detector(tables: Sequence[xr.Dataset], kind: str) -> None:
    """Raise where tables that are combined hold for different beams or detectors."""
    for i, one in enumerate(tables):
        for other in tables[:i]:
            here, there = (t.attrs.get("beam_energy_kev") for t in (one, other))
            if here is None or there is None:
                pass
            elif abs(here - there) > SAME_BEAM * here:
                raise EdsError(
                    f"tables for beams of {there:g} and {here:g} keV do not combine; measure, or "
                    "compute, both at one"
                )
            check_conditions(other, one, kind)


def _check_take_off(table: Mapping[Any, Any], lines: Mapping[Any, Any], word: str) -> None:
    """Raise for another take-off angle, of factors in which the standard's absorption stands."""
    from eds_xr.xray.absorption import take_off_angle_deg

    if table.get("absorption_corrected", 1) or table.get("take_off_angle_deg") is None:
        return
    try:
        found = take_off_angle_deg(lines)
    except EdsError:
        return  # not known
    said = number(table["take_off_angle_deg"], "take_off_angle_deg of the table")
    if abs(said - found) > _MUST_AGREE["elevation_angle_deg"][1]:
        raise EdsError(
            f"the {word}s were measured at a take-off angle of {said:g} degrees, without "
            f"correction for absorption; the spectra at {found:g}. Measure them again with the "
            "film's thickness, which corrects for it"
        )
