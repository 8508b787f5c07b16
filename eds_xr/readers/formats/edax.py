"""EDAX spectrum images (``.spd``), calibrated by the ``.spc`` and ``.ipr`` saved with them.

A ``.spd`` is a header of fixed fields and the counts ``[y, x, energy]``. The ``.spc`` of the
same name holds the energy axis and the detector, the ``.ipr`` that the header names the size of
a pixel. RosettaSciIO reads the headers; the counts are plain reads of the rows that are asked
for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers import metadata
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.protocol import Recording
from eds_xr.readers.raw_blocks import RawArray
from eds_xr.schema import EdsError
from eds_xr.xray.elements import symbols

_MAGIC = b"MAPSPECTRA_DATA"
_HEADER_BYTES = 1068
_COUNT_BYTES, _IMAGE_NAME = slice(36, 40), slice(48, 168)
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
    from rsciio.edax import file_reader

    image, spectrum = _image_path(path, _checked_header(path)), _spectrum_path(path)
    with damage_named(path):  # in one piece: hostile sizes would make too many
        names = {"spc_fname": str(spectrum), "ipr_fname": str(image)}
        (signal,) = file_reader(str(path), lazy=True, chunks=-1, **names)
    said = {key.removesuffix("_header"): s for key, s in signal["original_metadata"].items()}
    axes, dtype = signal["axes"], signal["data"].dtype
    offset, shape = int(said["spd"]["dataOffset"]), tuple(int(axis["size"]) for axis in axes)
    values = RawArray(path, offset, dtype, shape, (0, 1, 2))
    values.check()
    for axis in axes[:2]:
        if axis["units"] is None or not axis["scale"] > 0:
            axis |= {"scale": 1.0, "units": ""}
    attrs = _attrs(signal["metadata"], said["spc"])
    recording = Recording(
        name=path.stem,
        axes=metadata.recording_axes(axes, attrs["signal_type"]),
        dtype=dtype.newbyteorder("="),
        row_blocks=values.row_blocks,
        attrs=attrs,
        original_metadata=metadata.plain(said),
    )
    return [recording]


def _checked_header(path: Path) -> bytes:
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        raise EdsError(
            f"{path.name} is cut short: {len(header)} bytes, its header alone has "
            f"{_HEADER_BYTES}; copy it again from its origin"
        )
    width = int.from_bytes(header[_COUNT_BYTES], "little")
    if width not in (1, 2, 4):
        raise EdsError(
            f"{path.name}: counts of {width} bytes, expected 1, 2 or 4; its header is damaged: "
            "copy it again from its origin"
        )
    return header


def _spectrum_path(path: Path) -> Path:
    for sibling in (path.with_suffix(".spc"), path.with_suffix(".SPC")):
        if sibling.is_file():
            return sibling
    raise EdsError(
        f"no {path.stem}.spc beside {path.name}: the energy axis is written there; export it from "
        "EDAX's program together with the map"
    )


def _image_path(path: Path, header: bytes) -> Path:
    """Return the ``.ipr`` that the header names; only its name counts, never a folder."""
    name = header[_IMAGE_NAME].split(b"\0")[0].decode("latin-1").replace("\\", "/")
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    upper = path.with_name(f"{stem}.IPR")
    return upper if upper.is_file() else path.with_name(f"{stem}.ipr")


def _attrs(said: Mapping[str, Any], spc: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes: RosettaSciIO takes every microscope for a scanning one."""
    attrs = metadata.instrument_attrs(said)
    is_sem = attrs.get("beam_energy_kev", 0.0) < _HIGHEST_SEM_KEV
    elements = symbols(np.atleast_1d(spc["at"])[: max(0, int(spc["numElem"]))].tolist())
    attrs |= {"signal_type": "EDS_SEM" if is_sem else "EDS_TEM", "elements": elements}
    return {name: value for name, value in attrs.items() if value != []}
