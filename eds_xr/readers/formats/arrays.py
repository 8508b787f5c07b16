"""NumPy's ``.npy`` files ``[y, x, energy]``, calibrated by a small JSON file beside them.

A bare array knows no energies, so ``map.npy`` comes with a ``map.json`` such as ::

    {"energy_offset_kev": -0.2, "energy_step_kev": 0.01, "pixel_size_nm": 1.7,
     "attrs": {"beam_energy_kev": 200, "elements": ["Mg", "Si"]}}

The last axis is energy; ``energy_offset_ev`` and ``energy_step_ev`` calibrate an energy loss
(``"attrs": {"signal_type": "EELS"}``). Streamed: plain reads of the rows that are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from eds_xr.readers import metadata
from eds_xr.readers.protocol import Recording
from eds_xr.readers.raw_blocks import RawArray
from eds_xr.schema import EdsError

_MAGIC = b"\x93NUMPY"
_LONGEST_SIDECAR = 2**20


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a NumPy array."""
    return head.startswith(_MAGIC)


def read(path: Path) -> list[Recording]:
    """Return the spectrum image of a ``.npy`` file, without its values.

    Raises
    ------
    EdsError
        If the file is damaged, holds no numbers, or nothing beside it calibrates its axes.
    """
    values = _values(path)
    values.check()
    said = _sidecar(path, values)
    attrs = said.get("attrs", {})
    if not isinstance(attrs, Mapping):
        raise EdsError(f"{path.stem}.json: 'attrs' must be an object, found {attrs!r}")
    recording = Recording(
        name=path.stem,
        axes=metadata.recording_axes(
            _axes(said, values.recording_shape, f"{path.stem}.json"),
            str(attrs.get("signal_type", "")),
        ),
        dtype=values.dtype.newbyteorder("="),
        row_blocks=values.row_blocks,
        attrs=dict(attrs),
    )
    return [recording]


def _values(path: Path) -> RawArray:
    with path.open("rb") as file:
        try:
            shape, by_columns, dtype = _npy_header(file)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise EdsError(
                f"the header of {path.name} cannot be read ({error}); it may be damaged: copy it "
                "again from its origin"
            ) from error
        offset = file.tell()
    if dtype.kind not in "uif" or not 2 <= len(shape) <= 4:
        raise EdsError(
            f"{path.name} holds an array {shape} of {dtype}, expected numbers in 2 to 4 "
            "dimensions, the last one energy; save it so with numpy.save"
        )
    order = tuple(range(len(shape)))
    if by_columns:
        return RawArray(path, offset, dtype, shape[::-1], order[::-1])
    return RawArray(path, offset, dtype, shape, order)


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the format, expected 1.0 or 2.0")


def _sidecar(path: Path, values: RawArray) -> Mapping[str, Any]:
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        raise EdsError(
            f"{path.name} holds {' x '.join(map(str, values.recording_shape))} values of "
            f"{values.dtype}, but a bare array has no calibration; write {sidecar.name} beside "
            'it: {"energy_offset_kev": 0.0, "energy_step_kev": 0.01, "pixel_size_nm": 1.0}, or '
            "make a DataArray of it, with its coordinates, and use eds_xr.save"
        )
    if sidecar.stat().st_size > _LONGEST_SIDECAR:
        raise EdsError(f"{sidecar.name} is too long; expected a few numbers")
    try:
        said = json.loads(sidecar.read_bytes())
    except (ValueError, RecursionError) as error:
        raise EdsError(f"{sidecar.name} is no JSON: {error}") from error
    if not isinstance(said, Mapping):
        raise EdsError(f"{sidecar.name} must hold an object, found {type(said).__name__}")
    return said


def _axes(said: Mapping[str, Any], shape: tuple[int, ...], name: str) -> list[dict[str, Any]]:
    units = "eV" if "energy_step_ev" in said else "keV"
    unit = units.lower()
    energy = {
        "name": "energy",
        "size": shape[-1],
        "scale": _number(said, f"energy_step_{unit}", name),
        "offset": _number(said, f"energy_offset_{unit}", name, default=0.0),
        "units": units,
    }
    pixel = _number(said, "pixel_size_nm", name, default=1.0)
    length = "nm" if "pixel_size_nm" in said else "px"
    spatial = [{"name": "", "size": n, "scale": pixel, "units": length} for n in shape[:-1]]
    if len(spatial) == 3:
        spatial[0] |= {"scale": 1.0, "units": ""}
    return [*spatial, energy]


def _number(said: Mapping[str, Any], key: str, name: str, default: float | None = None) -> float:
    value = said.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise EdsError(f"{name}: {key} must be a number, found {value!r}")
    return float(value)
