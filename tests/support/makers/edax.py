"""Write EDAX files: the map ``.spd``, its energy axis ``.spc``, its pixel size ``.ipr``."""

import struct
from pathlib import Path

import numpy as np


def write_edax(
    path: Path,
    counts: np.ndarray,
    *,
    ev_per_channel: int = 10,
    first_kev: float = -0.2,
    pixel_um: float | None = 0.002,
    elements: tuple[int, ...] = (26, 12),
    image: str = "C:\\maps\\image.bmp",
) -> Path:
    """Write ``[y, x, energy]``."""
    height, width, channels = counts.shape
    header = bytearray(1068)
    header[:16] = b"MAPSPECTRA_DATA\0"
    struct.pack_into(
        "<8i", header, 16,
        2, height * width, width, height, channels, counts.dtype.itemsize, len(header), 1,
    )  # fmt: skip
    struct.pack_into("<120s", header, 48, image.encode())
    little = counts.astype(counts.dtype.newbyteorder("<"), copy=False)
    path.write_bytes(bytes(header) + little.tobytes())
    path.with_suffix(".spc").write_bytes(_spc(ev_per_channel, first_kev, channels, elements))
    if pixel_um is not None:
        ipr = bytearray(252)
        struct.pack_into("<H", ipr, 0, 333)
        struct.pack_into("<ff", ipr, 64, pixel_um, pixel_um)
        (path.parent / "image.ipr").write_bytes(ipr)
    return path


def _spc(ev_per_channel: int, first_kev: float, channels: int, elements: tuple[int, ...]) -> bytes:
    spc = bytearray(20740)
    struct.pack_into("<f", spc, 0, 0.61)
    struct.pack_into("<ih", spc, 28, 3840, channels)
    struct.pack_into("<i", spc, 384, ev_per_channel)
    struct.pack_into("<4f", spc, 448, first_kev, first_kev + 20, 12.5, 3.0)
    struct.pack_into("<f", spc, 472, 131.0)
    struct.pack_into("<ff", spc, 508, 45.0, 22.0)
    struct.pack_into("<f", spc, 532, 200.0)
    struct.pack_into("<h48H", spc, 638, len(elements), *elements, *[0] * (48 - len(elements)))
    return bytes(spc)
