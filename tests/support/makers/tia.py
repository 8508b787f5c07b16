"""Write FEI's TIA files: a ``.ser`` of spectra or of one image, and the ``.emi`` beside them."""

import struct
from pathlib import Path

import numpy as np

CODES = {"u1": 1, "u2": 2, "u4": 3, "i1": 4, "i2": 5, "i4": 6, "f4": 7, "f8": 8}
EMI = """<ObjectInfo><Uuid>1</Uuid><ExperimentalDescription><Root>
<Data><Label>High tension</Label><Value>200</Value><Unit>kV</Unit></Data>
<Data><Label>Stage A</Label><Value>-3.5</Value><Unit>deg</Unit></Data>
<Data><Label>Mode</Label><Value>STEM nP SA</Value><Unit></Unit></Data>
</Root></ExperimentalDescription></ObjectInfo>"""


def write_ser(
    path: Path,
    counts: np.ndarray,
    *,
    pixel_m: float = 2e-9,
    first_ev: float = -200.0,
    step_ev: float = 10.0,
    version: int = 0x210,
    recorded: int | None = None,
    by_columns: bool = False,
    with_position: bool = True,
    gap: int = 0,
) -> Path:
    """Write ``[y, x, energy]`` or a line ``[x, energy]``; the first `recorded` spectra only."""
    spatial = counts.shape[:-1]
    dims = spatial if by_columns else spatial[::-1]
    total = int(np.prod(dims))
    valid = total if recorded is None else recorded
    tag_type = 0x4142 if with_position else 0x4152
    body, places = bytearray(), []
    start = _header_size(version, len(dims)) + 2 * total * (8 if version >= 0x220 else 4)
    for index in range(valid):
        place = np.unravel_index(index, dims[::-1])
        y, x = (place[::-1] if by_columns else place) if len(dims) == 2 else (0, place[0])
        spectrum = counts[y, x] if len(dims) == 2 else counts[x]
        places.append(start + len(body))
        code = CODES[spectrum.dtype.str[1:]]
        body += struct.pack("<ddIHI", first_ev, step_ev, 0, code, spectrum.size)
        body += spectrum.astype(spectrum.dtype.newbyteorder("<")).tobytes()
        body += struct.pack("<HHI", tag_type, 0, index)
        body += struct.pack("<dd", x * pixel_m, y * pixel_m) if with_position else b""
        body += bytes(gap * (index % 3 == 2))
    header = _header(version, 0x4120, tag_type, total, valid, dims, pixel_m)
    offsets = struct.pack(f"<{2 * total}{'Q' if version >= 0x220 else 'I'}",
                          *places, *[0] * (2 * total - valid))  # fmt: skip
    path.write_bytes(header + offsets + body)
    return path


def write_image_ser(path: Path, image: np.ndarray, *, pixel_m: float = 2e-9) -> Path:
    """Write one image ``[y, x]``; the file begins with its lowest line."""
    header = _header(0x210, 0x4122, 0x4152, 1, 1, (1,), 1.0)
    start = len(header) + 8
    height, width = image.shape
    code = CODES[image.dtype.str[1:]]
    body = struct.pack("<ddIddIHII", 0, pixel_m, 0, 0, pixel_m, 0, code, width, height)
    tag = struct.pack("<HHI", 0x4152, 0, 0)
    offsets = struct.pack("<II", start, start + len(body) + image.nbytes)
    path.write_bytes(header + offsets + body + image[::-1].tobytes() + tag)
    return path


def write_emi(path: Path, objects: int = 1) -> Path:
    """Write the description of the ``.ser`` files ``<name>_1.ser`` and so on."""
    path.write_bytes(b"JK\0\2" + bytes(60) + EMI.encode() * objects + bytes(20))
    return path


def _header_size(version: int, dimensions: int) -> int:
    return (34 if version >= 0x220 else 30) + dimensions * (
        28 + len("Position") + 4 + len("meters")
    )


def _header(
    version: int,
    data_type: int,
    tag_type: int,
    total: int,
    valid: int,
    dims: tuple[int, ...],
    step: float,
) -> bytes:
    size = _header_size(version, len(dims))
    header = struct.pack("<HHHIIII", 0x4949, 0x197, version, data_type, tag_type, total, valid)
    header += struct.pack("<QI" if version >= 0x220 else "<II", size, len(dims))
    for count in dims:
        header += struct.pack("<IddII", count, 0.0, step, 0, len("Position")) + b"Position"
        header += struct.pack("<I", len("meters")) + b"meters"
    return header
