"""Write DigitalMicrograph files, versions 3 and 4: a tree of tags with images in it."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

DATA_TYPES = {"i2": 1, "f4": 2, "u1": 6, "i4": 7, "i1": 9, "u2": 10, "u4": 11, "f8": 12}
TAG_TYPES = {"i2": 2, "i4": 3, "u2": 4, "u4": 5, "f4": 6, "f8": 7, "u1": 10, "i1": 9}


def write_gatan(
    path: Path,
    counts: np.ndarray,
    *,
    signal: str = "EELS",
    first: float = 400.0,
    step: float = 0.5,
    units: str = "eV",
    pixel_nm: float = 2.0,
    image: np.ndarray | None = None,
    big_endian: bool = False,
    more: dict[str, Any] | None = None,
) -> Path:
    """Write ``[y, x, energy]`` or ``[x, energy]`` as a spectrum image; `path` tells the version.

    In the file energy is the slowest axis of an image, the fastest of a line scan.
    """
    spatial = [(2.0, pixel_nm, "nm")] * (counts.ndim - 1)
    energy = (-first / step, step, units)
    values = np.moveaxis(counts, -1, 0) if counts.ndim == 3 else counts
    axes = [*spatial, energy] if counts.ndim == 3 else [energy, *spatial]
    tags = {
        "Meta Data": {"Format": "Spectrum image", "Signal": signal},
        "Microscope Info": {"Voltage": 200000.0, "Stage Position": {"Stage Alpha": 1.5}},
        "EDS": {"Live time": 12.5, "Detector Info": {"Elevation angle": 18.0}},
    }
    images = [_image("thumbnail", np.zeros((2, 2), "u1"), [(0.0, 1.0, "")] * 2, {})]
    images.append(_image("SI", values, axes, tags))
    if image is not None:
        images.append(_image("HAADF", image, spatial, {}))
    tree = {"ImageList": {"": images}, "Thumbnails": {"": [{"ImageIndex": 0}]}, **(more or {})}
    order = ">" if big_endian else "<"
    is_new = path.suffix == ".dm4"
    body = _group(tree, order, is_new)
    head = struct.pack(">IQI" if is_new else ">III", 4 if is_new else 3, len(body), not big_endian)
    path.write_bytes(head + body + bytes(8))
    return path


def _image(
    name: str, values: np.ndarray, axes: list[tuple[float, float, str]], tags: dict[str, Any]
) -> dict[str, Any]:
    dimensions = [{"Origin": o, "Scale": s, "Units": u} for o, s, u in axes]
    brightness = {"Origin": 0.0, "Scale": 1.0, "Units": ""}
    return {
        "ImageData": {
            "Calibrations": {"Brightness": brightness, "Dimension": {"": dimensions}},
            "Data": values,
            "DataType": DATA_TYPES[values.dtype.str[1:]],
            "Dimensions": {"": list(values.shape[::-1])},
            "PixelDepth": values.dtype.itemsize,
        },
        "ImageTags": tags,
        "Name": name,
    }


def _group(tags: dict[str, Any], order: str, is_new: bool) -> bytes:
    """Return a group; the key ``""`` holds a list of tags without names."""
    pairs = [(k, v) for k, v in tags.items() if k] + [("", v) for v in tags.get("", [])]
    body = b"".join(_tag(name, value, order, is_new) for name, value in pairs)
    return b"\1\0" + struct.pack(">Q" if is_new else ">I", len(pairs)) + body


def _tag(name: str, value: Any, order: str, is_new: bool) -> bytes:
    is_group = isinstance(value, dict)
    content = _group(value, order, is_new) if is_group else _value(value, order, is_new)
    head = struct.pack(">BH", 20 if is_group else 21, len(name)) + name.encode()
    return head + (struct.pack(">Q", len(content)) if is_new else b"") + content


def _value(value: Any, order: str, is_new: bool) -> bytes:
    if isinstance(value, str):
        value = np.frombuffer(value.encode("utf-16-le"), "<u2")
    if isinstance(value, np.ndarray):
        code = [20, TAG_TYPES[value.dtype.str[1:]], value.size]
        content = value.astype(value.dtype.newbyteorder(order)).tobytes()
    elif isinstance(value, tuple):  # a struct of long integers
        code = [15, 0, len(value), *[0, 3] * len(value)]
        content = struct.pack(f"{order}{len(value)}i", *value)
    else:
        code = [7] if isinstance(value, float) else [5]
        content = struct.pack(f"{order}{'d' if isinstance(value, float) else 'I'}", value)
    integer = "Q" if is_new else "I"
    return b"%%%%" + struct.pack(f">{len(code) + 1}{integer}", len(code), *code) + content
