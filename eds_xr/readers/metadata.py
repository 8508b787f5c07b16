"""From RosettaSciIO's description of a signal to ours; shared by the readers built on it.

RosettaSciIO gives every format the same tree: ``axes`` with offset, scale and units, and
``metadata`` in HyperSpy's layout.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eds_xr.readers.protocol import Axis
from eds_xr.schema import ENERGY, EdsError

_NM = {"pm": 1e-3, "Å": 0.1, "nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "mm": 1e6, "m": 1e9}
_EV = {"meV": 1e-3, "eV": 1.0, "keV": 1e3}
_LONG_NAMES = {
    "x": "x position",
    "y": "y position",
    "z": "z position",
    "frame": "frame",
    "tilt": "tilt angle",
}
#: Path in the metadata -> attribute of the data model.
_DETECTOR = {
    "live_time": "live_time_s",
    "real_time": "real_time_s",
    "elevation_angle": "elevation_angle_deg",
    "azimuth_angle": "azimuth_angle_deg",
    "energy_resolution_MnKa": "energy_resolution_mnka_ev",
}
#: Arrays in the metadata that are longer are described, not written out.
_LONGEST_ARRAY = 10_000


def energy_index(axes: Sequence[Mapping[str, Any]]) -> int | None:
    """Return which axis is the energy of a spectrum image; None if it is none."""
    found = [i for i, axis in enumerate(axes) if axis.get("units") in _EV]
    return found[0] if len(found) == 1 and len(axes) > 1 else None


def is_single_spectrum(axes: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the only axis is one of energy."""
    return len(axes) == 1 and axes[0].get("units") in _EV


def recording_axes(axes: Sequence[Mapping[str, Any]], signal_type: str) -> tuple[Axis, ...]:
    """Return the axes of a spectrum image in our names, order and units: energy last."""
    energy = energy_index(axes)
    if energy is None:
        raise EdsError(
            f"none of {len(axes)} axes is an energy; expected one in eV or keV: this is no "
            "spectrum image of X-rays or electron losses, or its axis has lost its units"
        )
    spatial = [axis for i, axis in enumerate(axes) if i != energy]
    names = _spatial_names(spatial)
    positions = (_position_axis(n, axis) for n, axis in zip(names, spatial, strict=True))
    return (*positions, _energy_axis(axes[energy], signal_type))


def position_step(axis: Mapping[str, Any]) -> float:
    """Return the pixel size of an axis; in nm where it has a unit of length."""
    values = axis_values(axis)
    step = abs(float(values[1] - values[0])) if values.size > 1 else 1.0
    return step * _NM.get(str(axis.get("units")), 1.0)


def axis_values(axis: Mapping[str, Any]) -> np.ndarray:
    """Return the calibrated values of an axis, in its own units."""
    if "scale" in axis:
        return float(axis.get("offset", 0)) + float(axis["scale"]) * np.arange(int(axis["size"]))
    if "axis" in axis:
        return np.asarray(axis["axis"], dtype=float)
    raise EdsError(
        f"axis {axis.get('name')!r} is given by a function, expected offset and scale; make it "
        "uniform first (in HyperSpy: signal.interpolate_on_axis)"
    )


def instrument_attrs(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the data model that the metadata hold."""
    instrument, detector = _instrument_of(metadata), detector_of(metadata)
    found: dict[str, Any] = {name: detector.get(key) for key, name in _DETECTOR.items()}
    found["beam_energy_kev"] = instrument.get("beam_energy")
    found["tilt_deg"] = _branch(instrument, "Stage").get("tilt_alpha")
    attrs: dict[str, Any] = {n: float(v) for n, v in found.items() if _is_number(v)}
    elements = [str(element) for element in _branch(metadata, "Sample").get("elements", ())]
    signal_type = str(_branch(metadata, "Signal").get("signal_type") or "")
    texts = {"elements": elements, "signal_type": signal_type}
    return attrs | {name: value for name, value in texts.items() if value}


def detector_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what HyperSpy's metadata say of the X-ray detector."""
    return _branch(_branch(_instrument_of(metadata), "Detector"), "EDS")


def plain(value: Any) -> Any:
    """Return metadata as plain JSON types: no arrays, bytes, NaN or tuples."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _plain_array(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)


def variable_name(title: str) -> str:
    """Return a signal's title as a name for a coordinate.

    Examples
    --------
    >>> variable_name("HAADF image (1)")
    'haadf_image_1'
    """
    return re.sub(r"\W+", "_", title.lower()).strip("_") or "image"


def _plain_array(array: Any) -> Any:
    if math.prod(array.shape) > _LONGEST_ARRAY:
        return f"array of {array.dtype}, {' x '.join(map(str, array.shape))}"
    return plain(np.asarray(array).tolist())


def _spatial_names(axes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    if len(axes) == 1:
        return ("x",)
    if len(axes) == 2:
        return ("y", "x")
    if len(axes) == 3:
        return (_leading_name(axes[0]), "y", "x")
    raise EdsError(
        f"expected at most three dimensions besides energy, found {len(axes)}; save the "
        "recordings one by one"
    )


def _leading_name(axis: Mapping[str, Any]) -> str:
    name = str(axis.get("name") or "").lower()
    if "tilt" in name or axis.get("units") in ("°", "deg", "degree"):
        return "tilt"
    return "z" if name == "z" else "frame"


def _position_axis(name: str, axis: Mapping[str, Any]) -> Axis:
    values, units = axis_values(axis), str(axis.get("units") or "px")
    if units in _NM:
        values, units = values * _NM[units], "nm"
    units = {"<undefined>": "px", "°": "deg", "degree": "deg"}.get(units, units)
    return Axis(name, values, units, _LONG_NAMES[name])


def _energy_axis(axis: Mapping[str, Any], signal_type: str) -> Axis:
    energy_ev = axis_values(axis) * _EV[axis["units"]]
    if signal_type == "EELS":
        return Axis(ENERGY, energy_ev, "eV", "energy loss")
    kev = axis_values(axis) if axis["units"] == "keV" else energy_ev / 1e3
    return Axis(ENERGY, kev, "keV", "X-ray energy")


def _instrument_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    instrument = _branch(metadata, "Acquisition_instrument")
    return _branch(instrument, "TEM") or _branch(instrument, "SEM")


def _branch(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    branch = tree.get(key)
    return branch if isinstance(branch, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(float(value))
