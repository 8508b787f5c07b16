"""EDAX spectrum images (``.spd``), calibrated by the ``.spc`` and ``.ipr`` saved with them.

A ``.spd`` is a header of fixed fields and the counts ``[y, x, energy]``. The ``.spc`` of the
same name holds the energy axis and the detector, the ``.ipr`` that the header names the size of
a pixel. Written from EDAX's published tables of fields. Streamed: plain reads of the rows that
are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers import metadata
from eds_xr.readers.protocol import Recording
from eds_xr.readers.raw_blocks import RawArray
from eds_xr.schema import EdsError
from eds_xr.xray.elements import symbols

_MAGIC = b"MAPSPECTRA_DATA"
#: Field -> (offset in bytes, type).
_SPD = {
    "version": (16, "<i4"),
    "nSpectra": (20, "<i4"),
    "nPoints": (24, "<i4"),
    "nLines": (28, "<u4"),
    "nChannels": (32, "<u4"),
    "countBytes": (36, "<u4"),
    "dataOffset": (40, "<u4"),
    "nFrames": (44, "<u4"),
    "fName": (48, "S120"),
}
_SPC = {
    "evPerChan": (384, "<i4"),
    "startEnergy": (448, "<f4"),
    "endEnergy": (452, "<f4"),
    "liveTime": (456, "<f4"),
    "tilt": (460, "<f4"),
    "takeoff": (464, "<f4"),
    "detReso": (472, "<f4"),
    "azimuth": (508, "<f4"),
    "elevation": (512, "<f4"),
    "kV": (532, "<f4"),
    "numElem": (638, "<i2"),
    "at": (640, "(48,)<u2"),
}
_IPR = {
    "version": (0, "<u2"),
    "accV": (52, "<u2"),
    "tilt": (54, "<i2"),
    "mag": (58, "<u4"),
    "wd": (62, "<u2"),
    "mppX": (64, "<f4"),
    "mppY": (68, "<f4"),
}
_ATTRS = {
    "liveTime": "live_time_s",
    "kV": "beam_energy_kev",
    "tilt": "tilt_deg",
    "azimuth": "azimuth_angle_deg",
    "elevation": "elevation_angle_deg",
    "detReso": "energy_resolution_mnka_ev",
}
#: Scanning microscopes end below, transmission microscopes begin above.
_HIGHEST_SEM_KEV = 40.0


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with `head` is an EDAX spectrum image."""
    return head.startswith(_MAGIC)


def read(path: Path) -> list[Recording]:
    """Return the spectrum image of an ``.spd`` file, without its values.

    Raises
    ------
    EdsError
        If the file is damaged, or the ``.spc`` with its energy axis is missing.
    """
    spd = _fields(path, _SPD)
    values = _values(path, spd)
    values.check()
    spc = _fields(_spectrum_path(path), _SPC)
    image = _image_path(path, str(spd["fName"]))
    ipr = _fields(image, _IPR) if image else {}
    attrs = _attrs(spc)
    recording = Recording(
        name=path.stem,
        axes=metadata.recording_axes(_axes(values.shape, spc, ipr), attrs["signal_type"]),
        dtype=values.dtype.newbyteorder("="),
        row_blocks=values.row_blocks,
        attrs=attrs,
        original_metadata=metadata.plain({"spd": spd, "spc": spc, "ipr": ipr}),
    )
    return [recording]


def _fields(path: Path, table: Mapping[str, tuple[int, str]]) -> dict[str, Any]:
    names, places = list(table), [table[name] for name in table]
    record = np.dtype(
        {"names": names, "offsets": [p[0] for p in places], "formats": [p[1] for p in places]}
    )
    with path.open("rb") as file:
        content = file.read(record.itemsize)
    if len(content) < record.itemsize:
        raise EdsError(
            f"{path.name} is cut short: {len(content)} bytes, its header alone has "
            f"{record.itemsize}; copy it again from its origin"
        )
    values = dict(zip(names, np.frombuffer(content, record)[0].tolist(), strict=True))
    text = values.get("fName")
    if text is not None:
        values["fName"] = text.split(b"\0")[0].decode("latin-1")
    return values


def _values(path: Path, spd: Mapping[str, Any]) -> RawArray:
    width = spd["countBytes"]
    if width not in (1, 2, 4):
        raise EdsError(
            f"{path.name}: counts of {width} bytes, expected 1, 2 or 4; its header is damaged: "
            "copy it again from its origin"
        )
    shape = (spd["nLines"], spd["nPoints"], spd["nChannels"])
    return RawArray(path, spd["dataOffset"], np.dtype(f"<u{width}"), shape, (0, 1, 2))


def _spectrum_path(path: Path) -> Path:
    for sibling in (path.with_suffix(".spc"), path.with_suffix(".SPC")):
        if sibling.is_file():
            return sibling
    raise EdsError(
        f"no {path.stem}.spc beside {path.name}: the energy axis is written there; export it from "
        "EDAX's program together with the map"
    )


def _image_path(path: Path, name: str) -> Path | None:
    """Return the ``.ipr`` that the header names; only its name counts, never a folder."""
    stem = name.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    for sibling in (path.with_name(f"{stem}.ipr"), path.with_name(f"{stem}.IPR")):
        if stem and sibling.is_file():
            return sibling
    return None


def _axes(
    shape: tuple[int, ...], spc: Mapping[str, Any], ipr: Mapping[str, Any]
) -> list[dict[str, Any]]:
    def position(name: str, size: int, key: str) -> dict[str, Any]:
        step = ipr.get(key, 0.0)
        calibration = {"scale": step, "units": "µm"} if step > 0 else {"scale": 1.0, "units": ""}
        return {"name": name, "size": size, **calibration}

    energy = {
        "name": "energy",
        "size": shape[2],
        "scale": spc["evPerChan"] / 1000,
        "offset": spc["startEnergy"],
        "units": "keV",
    }
    return [position("y", shape[0], "mppY"), position("x", shape[1], "mppX"), energy]


def _attrs(spc: Mapping[str, Any]) -> dict[str, Any]:
    attrs: dict[str, Any] = {
        name: float(spc[key]) for key, name in _ATTRS.items() if np.isfinite(spc[key])
    }
    is_sem = attrs.get("beam_energy_kev", 0.0) < _HIGHEST_SEM_KEV
    attrs["signal_type"] = "EDS_SEM" if is_sem else "EDS_TEM"
    elements = symbols(spc["at"][: max(0, spc["numElem"])])
    return attrs | ({"elements": elements} if elements else {})
