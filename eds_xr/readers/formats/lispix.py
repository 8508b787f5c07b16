"""Lispix ("ripple") files: a text ``.rpl`` that describes the values of a ``.raw``.

The text has a key and a value a line, separated by a tab; Oxford's INCA writes the pairs as
``(MLX::KEY : value)``. Written from NIST's description of the format, with the keys for
calibrations that HyperSpy adds. Streamed: plain reads of the rows that are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers import metadata
from eds_xr.readers.protocol import Recording
from eds_xr.readers.raw_blocks import RawArray
from eds_xr.schema import EdsError

_LINE = re.compile(r"\(?(?:MLX::)?\s*([A-Za-z][\w-]*)\s*[:\s]\s*(.*?)\s*\)?\s*")
_KINDS = {"unsigned": "u", "signed": "i", "float": "f"}
_BYTE_ORDERS = {"big-endian": ">", "little-endian": "<", "dont-care": "<"}
_LONGEST_HEADER = 2**20
#: Key of the header -> attribute of the data model.
_ATTRS = {
    "beam-energy": "beam_energy_kev",
    "live-time": "live_time_s",
    "elevation-angle": "elevation_angle_deg",
    "azimuth-angle": "azimuth_angle_deg",
    "tilt-stage": "tilt_deg",
    "detector-peak-width-ev": "energy_resolution_mnka_ev",
}


def recognises(head: bytes) -> bool:
    """Return True: a header is plain text, values can be anything; :func:`read` checks."""
    return True


def read(path: Path) -> list[Recording]:
    """Return the spectrum image that a ``.rpl`` describes; the ``.raw`` may be given as well.

    Raises
    ------
    EdsError
        If one of the two files is missing or damaged, or the energy axis is not calibrated.
    """
    header_path, values_path = _with_extension(path, ".rpl"), _with_extension(path, ".raw")
    header = _header(header_path)
    values = _values(header, header_path, values_path)
    values.check()
    signal_type = str(header.get("signal", ""))
    attrs: dict[str, Any] = {"signal_type": signal_type} if signal_type else {}
    for key, name in _ATTRS.items():
        if key in header:
            attrs[name] = _number(header, key, header_path)
    recording = Recording(
        name=str(header.get("title") or path.stem),
        axes=metadata.recording_axes(_axes(header, header_path), signal_type),
        dtype=values.dtype.newbyteorder("="),
        row_blocks=values.row_blocks,
        attrs=attrs,
        original_metadata={"rpl": dict(header)},
    )
    return [recording]


def _with_extension(path: Path, extension: str) -> Path:
    """Return the sibling file with an extension in lower or upper case."""
    if path.suffix.lower() == extension:
        return path
    for sibling in (path.with_suffix(extension), path.with_suffix(extension.upper())):
        if sibling.is_file():
            return sibling
    raise EdsError(
        f"no {path.stem}{extension} beside {path.name}: the .rpl describes the values of the "
        ".raw, so both are needed, under one name"
    )


def _header(path: Path) -> Mapping[str, str]:
    if path.stat().st_size > _LONGEST_HEADER:
        raise EdsError(f"{path.name} is longer than any header; expected a short text")
    header: dict[str, str] = {}
    for line in path.read_text("latin-1").splitlines():
        pair = _LINE.fullmatch(line.split(";")[0])
        if pair:
            header.setdefault(pair[1].lower(), pair[2].strip())
    missing = {"width", "height", "depth", "data-length", "data-type"} - set(header)
    if missing:
        raise EdsError(
            f"{path.name} is no Lispix header: it lacks {', '.join(sorted(missing))}; expected a "
            "text with a key, a tab and a value a line"
        )
    return header


def _values(header: Mapping[str, str], header_path: Path, path: Path) -> RawArray:
    width, height, depth = (_whole(header, k, header_path) for k in ("width", "height", "depth"))
    by_spectrum = _one_of(header, "record-by", ("vector", "image"), header_path) == "vector"
    return RawArray(
        path=path,
        offset=_whole(header, "offset", header_path),
        dtype=_dtype(header, header_path),
        shape=(height, width, depth) if by_spectrum else (depth, height, width),
        order=(0, 1, 2) if by_spectrum else (1, 2, 0),
    )


def _dtype(header: Mapping[str, str], path: Path) -> np.dtype:
    kind = _KINDS[_one_of(header, "data-type", _KINDS, path)]
    lengths = ("4", "8") if kind == "f" else ("1", "2", "4", "8")
    length = _one_of(header, "data-length", lengths, path)
    order = _BYTE_ORDERS[_one_of(header, "byte-order", _BYTE_ORDERS, path, default="dont-care")]
    return np.dtype(f"{order}{kind}{length}")


def _axes(header: Mapping[str, str], path: Path) -> list[dict[str, Any]]:
    if "depth-scale" not in header and "ev-per-chan" not in header:
        raise EdsError(
            f"{path.name} does not calibrate the energy axis; add a line 'ev-per-chan', a tab and "
            "the width of a channel in eV (and 'depth-origin' with the first energy, if not 0)"
        )
    energy = _axis(header, "depth", path)
    if "depth-scale" not in header:
        energy |= {"scale": _number(header, "ev-per-chan", path), "units": "eV"}
    if energy["units"] not in ("eV", "keV"):
        raise EdsError(
            f"{path.name}: the unit of the energy axis is {energy['units']!r}, expected "
            "'depth-units' to be eV or keV; add that line"
        )
    return [_axis(header, "height", path), _axis(header, "width", path), energy]


def _axis(header: Mapping[str, str], name: str, path: Path) -> dict[str, Any]:
    return {
        "name": name,
        "size": _whole(header, name, path),
        "scale": _number(header, f"{name}-scale", path, default="1"),
        "offset": _number(header, f"{name}-origin", path, default="0"),
        "units": header.get(f"{name}-units", ""),
    }


def _whole(header: Mapping[str, str], key: str, path: Path) -> int:
    number = _number(header, key, path, default="0")
    if number != int(number):
        raise EdsError(f"{path.name}: {key} must be a whole number, found {header[key]!r}")
    return int(number)


def _number(header: Mapping[str, str], key: str, path: Path, default: str = "") -> float:
    text = header.get(key, default)
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise EdsError(f"{path.name}: {key} must be a number, found {text!r}")
    return number


def _one_of(
    header: Mapping[str, str], key: str, allowed: Any, path: Path, default: str = ""
) -> str:
    value = header.get(key, default).lower()
    if value not in allowed:
        raise EdsError(f"{path.name}: {key} must be one of {', '.join(allowed)}, found {value!r}")
    return value
