"""Bruker's maps (``.bcf`` of Esprit 1 and 2), read by our own code as a stream of image rows.

A ``.bcf`` is a container (:mod:`._parts.sfs`) that holds ``EDSDatabase/HeaderData``, an XML
text with images and the sum spectrum with its calibration, and one file
``EDSDatabase/SpectrumData<n>`` of packed pixels (:mod:`._parts.bruker_pixels`) a map. The
passes of a recording over its pixels are summed in the file. Pixels come in the order of rows,
so they are unpacked forward, with a few MiB of the file in memory.

The facts of the format come from what is public about it (RosettaSciIO's pages, issues and
source, as nobody has published a specification) and from the bytes of a real file.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from eds_xr.progress import warn
from eds_xr.readers import live_times
from eds_xr.readers.formats.bruker import container as sfs_container
from eds_xr.readers.guards import xml
from eds_xr.readers.guards.sizes import MOST_CHANNELS, MOST_PIXELS
from eds_xr.readers.metadata import variable_name
from eds_xr.readers.protocol import Axis, Recording
from eds_xr.schema import ENERGY, EdsError

_HEADER = "EDSDatabase/HeaderData"
_MAP = re.compile(r"EDSDatabase/SpectrumData(\d+)")
#: A map has at most so many pixels a side, and values a row: a row is the least in memory.
_LARGEST_SIDE, _LARGEST_ROW = 2**16 - 1, 2**28
#: Bytes of the packed pixels that are unpacked at once.
_BATCH = 2**20
#: Longer texts, such as images, are described in the metadata, not repeated.
_LONGEST_TEXT = 100_000
#: Mean energy of Mn Ka in keV, at which resolutions are given.
_MN_KA_KEV = 5.895
_FROM_ESMA = {"ElevationAngle": "elevation_angle_deg", "AzimutAngle": "azimuth_angle_deg"}


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with `head` is an SFS container."""
    return head.startswith(sfs_container.MAGIC)


def read(path: Path) -> list[Recording]:
    """Return the maps of a ``.bcf`` file, without their values.

    The dtype of a map is the smallest unsigned one that holds its fullest channel of any pixel.
    It is found on first use of ``dtype``, by looking through the packed pixels once; the
    container says nothing that can be relied on.

    Raises
    ------
    EdsError
        If the file is damaged, or holds no map.
    """
    with sfs_container.opened(path) as container:
        numbers = sorted(int(m[1]) for p in container.paths if (m := _MAP.fullmatch(p)))
        if not numbers or _HEADER not in container.paths:
            raise EdsError(_nothing_found(container))
        header = _parsed(container)
        return [_recording(path, container, header, number) for number in numbers]


@dataclass(frozen=True)
class _Pixels:
    """Where the packed pixels of a map are, and its shape (y, x, energy)."""

    path: Path
    inner: str
    shape: tuple[int, int, int]

    @cached_property
    def dtype(self) -> np.dtype:
        """The smallest dtype that holds the fullest channel of any pixel."""
        from eds_xr.readers.formats.bruker import pixels as kernels

        height, width, channels = self.shape
        row, spectrum = np.zeros(width, np.int64), np.zeros(channels, np.uint32)
        with sfs_container.opened(self.path) as container:
            walk = _Walk(container, self.inner)
            walk.run(lambda data, state: kernels.find_largest(data, state, height, row, spectrum))
        return np.min_scalar_type(int(walk.state[kernels.LARGEST]))

    def row_blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield the counts [rows, x, energy] of at most `rows` rows at a time."""
        from eds_xr.readers.formats.bruker.pixels import add_rows

        height, width, channels = self.shape
        with sfs_container.opened(self.path) as container:
            walk = _Walk(container, self.inner)
            for first in range(0, height, rows):
                shape = (min(rows, height - first), width, channels)
                yield _filled(walk, add_rows, first, np.zeros(shape, self.dtype))
            walk.report_counts_outside()


@dataclass(frozen=True, eq=False, kw_only=True)
class _Map(Recording):
    """A map, whose dtype is looked for when it is first asked for."""

    pixels: _Pixels
    dtype: np.dtype = field(init=False, repr=False)  # never set, so that __getattr__ is asked

    def __getattr__(self, name: str) -> Any:
        if name == "dtype":
            return self.pixels.dtype
        raise AttributeError(name)


def _filled(walk: _Walk, add_rows: Callable[..., int], first: int, block: np.ndarray) -> np.ndarray:
    limit = int(np.iinfo(block.dtype).max)
    walk.run(lambda data, state: add_rows(data, state, first, block, limit))
    return block


class _Walk:
    """A walk along the packed pixels; feeds the kernels with what comes out of the container."""

    def __init__(self, container: sfs_container.Container, inner: str) -> None:
        from eds_xr.readers.formats.bruker import pixels as kernels

        self._kernels = kernels
        self._container = container
        self._batches = _batches(container.pieces(inner))
        self._data = np.frombuffer(next(self._batches, b""), np.uint8)
        self.state = kernels.new_state()
        self.state[kernels.AT] = kernels.LINES_AT

    def run(self, kernel: Callable[[np.ndarray, np.ndarray], int]) -> None:
        """Run a kernel to its end, feeding it as it asks for more."""
        kernels = self._kernels
        while (status := kernel(self._data, self.state)) == kernels.MORE:
            self._feed()
        if status != kernels.DONE:
            self._container.damaged(
                {
                    kernels.BAD_LINE: "a line has more pixels than the map is wide",
                    kernels.BAD_COLUMN: "a pixel lies outside the map",
                    kernels.TOO_MANY: "a channel of a pixel has more counts than can be",
                }.get(status, "the data of a pixel contradict their size")
                + f" (in row {self.state[kernels.ROW]})"
            )

    def report_counts_outside(self) -> None:
        """Warn of counts in channels that the energy axis does not have."""
        outside = int(self.state[self._kernels.OUTSIDE])
        if outside:
            warn(
                f"{self._container.name}: {outside} counts lie above the end of the energy axis "
                "and are left out"
            )

    def _feed(self) -> None:
        at = self._kernels.AT
        batch = next(self._batches, b"")
        if not batch:
            row = self.state[self._kernels.ROW]
            self._container.damaged(f"its map ends in row {row}, before the last one")
        rest = self._data[self.state[at] :]
        self._data = np.concatenate((rest, np.frombuffer(batch, np.uint8)))
        self.state[at] = 0


def _batches(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces joined to at least `_BATCH` bytes."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= _BATCH:
            yield bytes(held)
            held.clear()
    yield bytes(held)


def _recording(
    path: Path, container: sfs_container.Container, header: Element, number: int
) -> Recording:
    inner = f"EDSDatabase/SpectrumData{number}"
    spectrum = header.find(f"./SpectrumData{number}/ClassInstance[@Type='TRTSpectrum']")
    height, width = _grid(container, inner)
    energy = _energy_axis(container, spectrum)
    shape = (height, width, energy.values.size)
    if height * width > MOST_PIXELS or width * energy.values.size > _LARGEST_ROW:
        container.damaged(f"its map would have {' x '.join(map(str, shape))} values")
    pixels, attrs = _Pixels(path, inner, shape), _attrs(header, spectrum, width)
    passes = np.broadcast_to(np.array(_passes(header, height))[:, None], (height, width))
    return _Map(
        pixels=pixels,
        row_blocks=pixels.row_blocks,
        name=inner.rsplit("/", 1)[-1],
        axes=(*_position_axes(header, height, width), energy),
        attrs=attrs,
        images={**_images(container, header, height, width), **live_times.of_passes(attrs, passes)},
        original_metadata=_tree(header),
    )


def _parsed(container: sfs_container.Container) -> Element:
    root = xml.parse(container.pieces(_HEADER), f"the header of {container.name}")
    header = _instance(root, "TRTSpectrumDatabase")
    if header is None:
        container.damaged("its header describes no map (no TRTSpectrumDatabase)")
    return header


def _nothing_found(container: sfs_container.Container) -> str:
    found = ", ".join(sorted(map(repr, container.paths))[:10]) or "nothing"
    return (
        f"{container.name} holds no X-ray map: expected {_HEADER} and EDSDatabase/SpectrumData0, "
        f"found {found}; maps of diffraction patterns (EBSD) and particle analyses are not read"
    )


def _grid(container: sfs_container.Container, inner: str) -> tuple[int, int]:
    """Return the height and width that the packed pixels say they have."""
    from eds_xr.readers.formats.bruker.pixels import LINES_AT

    head = next(_batches(container.pieces(inner)))
    if len(head) < LINES_AT:
        container.damaged(f"the map {inner} ends after {len(head)} bytes")
    height, width = struct.unpack_from("<II", head)
    if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE):
        container.damaged(f"its map would have {height} x {width} pixels")
    return height, width


def _energy_axis(container: sfs_container.Container, spectrum: Element | None) -> Axis:
    calibration = _instance(spectrum, "TRTSpectrumHeader")
    offset, width = _number(calibration, "CalibAbs"), _number(calibration, "CalibLin")
    channels = _number_of_channels(spectrum, calibration)
    if offset is None or width is None or width <= 0:
        container.damaged("the calibration of its energy axis is missing")
    if not 0 < channels <= MOST_CHANNELS:
        container.damaged(f"its energy axis would have {channels} channels")
    return Axis(ENERGY, offset + width * np.arange(channels), "keV", "X-ray energy")


def _number_of_channels(spectrum: Element | None, calibration: Element | None) -> int:
    """Return the length of the sum spectrum; the maps' hardware may have had more channels."""
    sums = (spectrum.findtext("./Channels") or "").strip(" ,\r\n") if spectrum is not None else ""
    return sums.count(",") + 1 if sums else int(_number(calibration, "ChannelCount") or 0)


def _position_axes(header: Element, height: int, width: int) -> tuple[Axis, Axis]:
    scan = _instance(header, "TRTSEMData")
    return _position("y", _number(scan, "DY"), height), _position("x", _number(scan, "DX"), width)


def _position(name: str, step_um: float | None, size: int) -> Axis:
    if step_um is None or step_um <= 0:
        return Axis(name, np.arange(size, dtype=float), "px", f"{name} position")
    return Axis(name, 1e3 * step_um * np.arange(size), "nm", f"{name} position")


def _attrs(header: Element, spectrum: Element | None, width: int) -> dict[str, Any]:
    hardware = spectrum.find("./TRTHeaderedClass") if spectrum is not None else None
    esma = _instance(hardware, "TRTESMAHeader")
    scan, stage = _instance(header, "TRTSEMData"), _instance(header, "TRTSEMStageData")
    beam = _positive(_number(esma, "PrimaryEnergy")) or _positive(_number(scan, "HV"))
    found: dict[str, Any] = {
        "signal_type": "EDS_TEM" if (beam or 0) > 30 else "EDS_SEM",  # kV; the file does not say
        "beam_energy_kev": beam,
        "tilt_deg": _number(stage, "Tilt"),
        "energy_resolution_mnka_ev": _resolution_ev(_instance(spectrum, "TRTSpectrumHeader")),
        "elements": _elements(header),
        **{name: _number(esma, tag) for tag, name in _FROM_ESMA.items()},
        **_times(header, _instance(hardware, "TRTSpectrumHardwareHeader"), width),
    }
    return {name: value for name, value in found.items() if value not in (None, [])}


def _passes(header: Element, height: int) -> list[int]:
    """Return how often the beam passed over each line; once where the file does not tell."""
    lines = (header.findtext("./LineCounter") or "").split(",")
    told = len(lines) == height and all(line.strip().isdecimal() for line in lines)
    found = [int(line) for line in lines] if told else []
    return found if any(found) else [1] * height


def _times(header: Element, hardware: Element | None, width: int) -> dict[str, float | None]:
    """Return real and live time; the former from the scan's dwell times where it is not given."""
    real, live = (_positive(_number(hardware, tag)) for tag in ("RealTime", "LifeTime"))
    if real is not None:
        return {"real_time_s": real / 1e3, "live_time_s": live / 1e3 if live else None}
    scan = _instance(header, "TRTDSPConfiguration")
    dwell_us = [_number(scan, tag) for tag in ("LineAverage", "PixelAverage", "PixelTime")]
    lines = (header.findtext("./LineCounter") or "").split(",")
    if None in dwell_us or not all(line.strip().isdecimal() for line in lines):
        return {}
    passes = sum(int(line) for line in lines)
    seconds = 1e-6 * passes * width * math.prod(d for d in dwell_us if d is not None)
    return {"real_time_s": _positive(seconds)}


def _resolution_ev(calibration: Element | None) -> float | None:
    """Return the full width at half maximum of Mn Ka; a peak's variance is linear in energy."""
    at_zero, slope = _number(calibration, "SigmaAbs"), _number(calibration, "SigmaLin")
    if at_zero is None or slope is None or at_zero + slope * _MN_KA_KEV <= 0:
        return None
    return 1e3 * math.sqrt(8 * math.log(2) * (at_zero + slope * _MN_KA_KEV))


def _elements(header: Element) -> list[str]:
    regions = header.iterfind(".//ClassInstance[@Type='TRTSpectrumRegion']")
    names = (str(region.get("Name")) for region in regions)
    return list(dict.fromkeys(name for name in names if re.fullmatch("[A-Z][a-z]?", name)))


def _images(
    container: sfs_container.Container, header: Element, height: int, width: int
) -> dict[str, np.ndarray]:
    """Return the images on the grid of the map that are not empty."""
    found: dict[str, np.ndarray] = {}
    for node in header.iterfind("./ClassInstance[@Type='TRTImageData']"):
        if (_number(node, "Height"), _number(node, "Width")) != (height, width):
            continue
        for plane in (child for child in node if re.fullmatch(r"Plane\d+", child.tag)):
            values = _plane(container, plane, _number(node, "ItemSize"), height, width)
            if values.any():
                title = plane.findtext("./Description") or node.get("Name") or "image"
                found[_unused(variable_name(title), found)] = values
    return found


def _plane(
    container: sfs_container.Container, plane: Element, item: float | None, height: int, width: int
) -> np.ndarray:
    dtype = {1: "<u1", 2: "<u2", 4: "<u4"}.get(int(item or 0))
    try:
        raw = base64.b64decode(plane.findtext("./Data") or "", validate=False)
    except (binascii.Error, ValueError):
        raw = b""
    if dtype is None or len(raw) != height * width * np.dtype(dtype).itemsize:
        container.damaged(f"the values of its image {plane.findtext('./Description')!r} are amiss")
    return np.frombuffer(raw, dtype).reshape(height, width).astype(dtype[1:])


def _unused(name: str, found: dict[str, np.ndarray]) -> str:
    taken = {"counts", "x", "y", ENERGY, *found}
    if name not in taken:
        return name
    return next(n for i in range(len(taken) + 1) if (n := f"{name}_{i + 2}") not in taken)


def _instance(node: Element | None, type_: str) -> Element | None:
    return None if node is None else node.find(f"./ClassInstance[@Type='{type_}']")


def _number(node: Element | None, tag: str) -> float | None:
    """Return a number; the program writes a comma where the computer's language has one."""
    text = None if node is None else node.findtext(f"./{tag}")
    try:
        number = float((text or "").replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _positive(number: float | None) -> float | None:
    return number if number is not None and number > 0 else None


def _tree(node: Element) -> Any:
    """Return all that the XML says, in plain JSON types; elements that repeat as a list."""
    text = (node.text or "").strip()
    if len(text) > _LONGEST_TEXT or node.tag == "Data":
        text = f"{len(text)} characters, left out"
    if len(node) == 0 and not node.attrib:
        return text
    tree: dict[str, Any] = dict(node.attrib) | ({"text": text} if text else {})
    groups: dict[str, list[Any]] = {}
    for child in node:
        name = child.get("Type", child.tag) if child.tag == "ClassInstance" else child.tag
        groups.setdefault(name, []).append(_tree(child))
    return tree | {name: found[0] if len(found) == 1 else found for name, found in groups.items()}
