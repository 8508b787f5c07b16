"""Gatan's DigitalMicrograph files (``.dm3``, ``.dm4``): spectrum images of EELS and EDS.

The file is a tree of tags; ``ImageList/<n>/ImageData`` tells where the values of an image lie
and how its axes are calibrated, ``ImageTags`` how it was recorded. Written from the published
descriptions of the format. Long arrays are passed over, so only the tree is read; then the rows
that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers import metadata
from eds_xr.readers.formats.gatan.tags import LongArray, is_magic, read_tags
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.images_on_grid import Image, images_on_grid, is_flat, nothing_found
from eds_xr.readers.protocol import Recording
from eds_xr.readers.raw_blocks import RawArray
from eds_xr.schema import EdsError

#: Codes of ImageData/DataType for real numbers.
_DTYPES = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8"}
_SIGNAL_TYPES = {"EELS": "EELS", "X-ray": "EDS_TEM"}
#: Path in ImageTags -> attribute of the data model, and the factor to its unit.
_ATTRS = {
    ("Microscope Info", "Voltage"): ("beam_energy_kev", 1e-3),
    ("Microscope Info", "Stage Position", "Stage Alpha"): ("tilt_deg", 1.0),
    ("EDS", "Live time"): ("live_time_s", 1.0),
    ("EDS", "Real time"): ("real_time_s", 1.0),
    ("EDS", "Detector Info", "Azimuthal angle"): ("azimuth_angle_deg", 1.0),
    ("EDS", "Detector Info", "Elevation angle"): ("elevation_angle_deg", 1.0),
}


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with `head` is DigitalMicrograph's version 3 or 4."""
    return is_magic(head)


def read(path: Path) -> list[Recording]:
    """Return the spectrum images of a ``.dm3`` or ``.dm4`` file, without their values.

    Images ``[y, x]`` on the grid of a spectrum image ride along with it.

    Raises
    ------
    EdsError
        If the file is damaged, or holds no spectrum image.
    """
    with damage_named(path):
        tags = read_tags(path)
        images = [i for i in _branch(tags, "ImageList").values() if _is_image(i)]
        flat = [_flat_image(path, i) for i in images if is_flat(_axes(i)) and _is_real(i)]
        found = [
            _recording(path, tags, image, flat)
            for image in images
            if metadata.energy_index(_axes(image)) is not None
        ]
    if not found:
        signals = [(str(image.get("Name", "")), _axes(image)) for image in images]
        cure = "calibrate the energy axis in DigitalMicrograph and save again"
        if any(_is_light(image) for image in images):
            cure = "it is a map of light (cathodoluminescence), not of X-rays: open it in LumiSpy"
        raise EdsError(nothing_found(path.name, signals, cure))
    return list(_with_unique_names(found))


def _is_image(image: Any) -> bool:
    data = _branch(image, "ImageData")
    return isinstance(data.get("Data"), LongArray) and bool(_branch(data, "Dimensions"))


def _is_light(image: Mapping[str, Any]) -> bool:
    return _branch(_branch(image, "ImageTags"), "Meta Data").get("Signal") == "CL"


def _is_real(image: Mapping[str, Any]) -> bool:
    return _branch(image, "ImageData").get("DataType") in _DTYPES


def _flat_image(path: Path, image: Mapping[str, Any]) -> Image:
    def load() -> np.ndarray:
        values = _values(path, image, _axes(image))
        return next(iter(values.row_blocks(values.shape[0])))

    return str(image.get("Name") or ""), _axes(image), load


def _recording(
    path: Path, tags: Mapping[str, Any], image: Mapping[str, Any], flat: list[Image]
) -> Recording:
    axes, said = _axes(image), _branch(image, "ImageTags")
    values = _values(path, image, axes)
    attrs = _attrs(said)
    ours = metadata.recording_axes(axes, attrs.get("signal_type", ""))
    rest = {k: v for k, v in tags.items() if k != "ImageList"} | {"ImageTags": said}
    return Recording(
        name=str(image.get("Name") or path.stem),
        axes=ours,
        dtype=values.dtype.newbyteorder("="),
        row_blocks=values.row_blocks,
        attrs=attrs,
        images=images_on_grid(axes, flat),
        original_metadata=metadata.plain(rest),
    )


def _values(path: Path, image: Mapping[str, Any], axes: list[dict[str, Any]]) -> RawArray:
    data = _branch(image, "ImageData")
    lies: LongArray = data["Data"]
    code = data.get("DataType")
    if code not in _DTYPES:
        raise EdsError(
            f"{path.name} holds values of type {code}, expected real numbers (types "
            f"{', '.join(map(str, _DTYPES))})"
        )
    dtype = np.dtype(lies.byte_order + _DTYPES[code])
    shape = tuple(axis["size"] for axis in axes)
    energy = metadata.energy_index(axes)
    order = list(range(len(shape)))
    if energy is not None:
        order.append(order.pop(energy))
    values = RawArray(path, lies.offset, dtype, shape, tuple(order))
    values.check()
    if lies.size_bytes != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise EdsError(
            f"{path.name} is damaged: {' x '.join(map(str, shape))} values of {dtype} do not fill "
            f"the {lies.size_bytes:,} bytes that it holds; copy it again from its origin"
        )
    return values


def _axes(image: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the axes in the order of the file's array: the fastest, which is x, last."""
    data = _branch(image, "ImageData")
    sizes = list(_branch(data, "Dimensions").values())
    said = list(_branch(_branch(data, "Calibrations"), "Dimension").values())
    axes = [
        _axis(size, said[i] if i < len(said) else {})
        for i, size in enumerate(sizes)
        if isinstance(size, int)
    ]
    while len(axes) > 2 and axes[-1]["size"] == 1:
        axes.pop()
    return axes[::-1]


def _axis(size: int, calibration: Any) -> dict[str, Any]:
    origin, scale = _number(calibration, "Origin", 0.0), _number(calibration, "Scale", 1.0)
    units = calibration.get("Units") if isinstance(calibration, Mapping) else ""
    units = units if isinstance(units, str) else ""
    return {"name": "", "size": size, "scale": scale, "offset": -origin * scale, "units": units}


def _number(tags: Any, key: str, default: float) -> float:
    value = tags.get(key, default) if isinstance(tags, Mapping) else default
    return float(value) if isinstance(value, int | float) else default


def _attrs(said: Mapping[str, Any]) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    for (*path, key), (name, factor) in _ATTRS.items():
        tags: Mapping[str, Any] = said
        for step in path:
            tags = _branch(tags, step)
        value = tags.get(key)
        if isinstance(value, int | float) and np.isfinite(value):
            attrs[name] = float(value) * factor
    signal = _branch(said, "Meta Data").get("Signal")
    if signal in _SIGNAL_TYPES:
        attrs["signal_type"] = _SIGNAL_TYPES[signal]
    elif "EELS" in said:
        attrs["signal_type"] = "EELS"
    return attrs


def _with_unique_names(recordings: list[Recording]) -> Iterator[Recording]:
    taken: set[str] = set()
    for recording in recordings:
        name, number = recording.name, 2
        while name in taken:
            name, number = f"{recording.name} ({number})", number + 1
        taken.add(name)
        yield replace(recording, name=name)


def _branch(tree: Any, key: str) -> Mapping[str, Any]:
    branch = tree.get(key) if isinstance(tree, Mapping) else None
    return branch if isinstance(branch, Mapping) else {}
