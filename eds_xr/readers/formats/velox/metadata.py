"""Velox's metadata (SI units, numbers as text) as axes and attributes of the data model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eds_xr.readers import metadata as file_metadata
from eds_xr.readers.formats.velox.hdf5_file import branch, number
from eds_xr.readers.protocol import Axis
from eds_xr.schema import EdsError
from eds_xr.xray.elements import symbols

Tree = Mapping[str, Any]

SIGNAL_TYPE = "EDS_TEM"


def detector_name(metadata: Tree) -> str:
    """Return the name of the detector that a stream is of."""
    return str(branch(metadata, "BinaryResult").get("Detector") or "EDS")


def axes(metadata: Tree, shape: tuple[int, int, int]) -> tuple[Axis, ...]:
    """Return the calibrated axes of a stream's spectrum image ``(y, x, energy)``."""
    offset, step = energy_scale(metadata)
    y, x = _position(metadata, "y", "height"), _position(metadata, "x", "width")
    energy = {"name": "energy", "offset": offset, "scale": step, "units": "eV"}
    told = [{**axis, "size": n} for axis, n in zip((y, x, energy), shape, strict=True)]
    return file_metadata.recording_axes(told, SIGNAL_TYPE)


def energy_scale(metadata: Tree) -> tuple[float, float]:
    """Return the energy of channel 0 and the width of a channel, in eV.

    Raises
    ------
    EdsError
        If it is not told, or the segments of the detector have several.
    """
    segments = _segments(metadata)
    found = {(number(s, "OffsetEnergy"), number(s, "Dispersion")) for s in segments}
    offset, step = found.pop() if len(found) == 1 else (None, None)
    if offset is None or step is None or step <= 0:
        raise EdsError(
            "expected one energy scale (OffsetEnergy, Dispersion) of the detector "
            f"{detector_name(metadata)!r}, found {len(found) or 'no valid one'}"
        )
    return offset, step


def instrument_attrs(streams: Sequence[Tree], common: Tree) -> dict[str, Any]:
    """Return the attributes of the data model.

    Angles are given where all detectors agree. Times are those of a detector: the mean, where
    several are summed.

    Parameters
    ----------
    streams : sequence of mapping
        Metadata of each detector's stream.
    common : mapping
        JSON texts of the file, among them the elements chosen in Velox.
    """
    segments = [segment for metadata in streams for segment in _segments(metadata)]
    voltage = number(branch(streams[0], "Optics"), "AccelerationVoltage")
    found = {
        "beam_energy_kev": None if voltage is None else voltage / 1e3,
        "tilt_deg": _degrees(number(branch(streams[0], "Stage"), "AlphaTilt")),
        "elevation_angle_deg": _degrees(_agreed(segments, "ElevationAngle")),
        "azimuth_angle_deg": _degrees(_agreed(segments, "AzimuthAngle")),
        "live_time_s": _mean(segments, "LiveTime"),
        "real_time_s": _mean(segments, "RealTime"),
    }
    attrs: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    elements = symbols(_atomic_numbers(common))
    return attrs | {"signal_type": SIGNAL_TYPE} | ({"elements": elements} if elements else {})


def _segments(metadata: Tree) -> list[Tree]:
    """Return what is told of a stream's detector: its segments, if it is the sum of several."""
    name = detector_name(metadata)
    analytical = [
        detector
        for detector in branch(metadata, "Detectors").values()
        if isinstance(detector, Mapping) and "Dispersion" in detector
    ]
    same = [d for d in analytical if d.get("DetectorName") == name]
    return same or [d for d in analytical if str(d.get("DetectorName")).startswith(name)]


def _position(metadata: Tree, name: str, size: str) -> dict[str, Any]:
    result = branch(metadata, "BinaryResult")
    step = number(branch(result, "PixelSize"), size)
    if step is None or step <= 0:
        return {"name": name, "offset": 0.0, "scale": 1.0, "units": None}
    offset = number(branch(result, "Offset"), name) or 0.0
    units = result.get(f"PixelUnit{name.upper()}") or None
    return {"name": name, "offset": offset, "scale": step, "units": units}


def _agreed(segments: Sequence[Tree], key: str) -> float | None:
    found = {number(segment, key) for segment in segments}
    return found.pop() if len(found) == 1 else None


def _mean(segments: Sequence[Tree], key: str) -> float | None:
    found = [value for s in segments if (value := number(s, key)) is not None]
    return sum(found) / len(found) if found else None


def _degrees(radian: float | None) -> float | None:
    return None if radian is None else round(math.degrees(radian), 6)


def _atomic_numbers(common: Tree) -> Iterator[int]:
    """Yield the elements chosen for quantification, wherever this version of Velox keeps them."""
    texts = [text for group in common.values() for text in branch(group).values()]
    for text in texts:
        chosen = branch(text).get("elementSelection")
        for entry in chosen if isinstance(chosen, list) else ():
            found = number({"z": entry}, "z")
            if found is not None:
                yield int(found)
