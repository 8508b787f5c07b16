"""JEOL's recordings (``.pts``): the stream of events of a mapping, sweep after sweep.

A header of named values is followed by the stream, in which each photon is a word; see
``_parts/jeol_header.py`` and ``_parts/jeol_stream.py`` for both. One pass over the stream finds
where each row of each sweep (here: frame) begins; then any rows are decoded on their own.

Counts: all that were recorded, also those of a last frame in which the acquisition was stopped
(``original_metadata["stream"]["last_frame_is_complete"]`` says so; leave it out by choosing
frames). Channels: all 4096 that the words can tell, also where the header speaks of fewer; the
zero of the energies lies some 96 channels up. Where only a part of the grid was scanned (the
header's ``Aim Area``, such as the one row of a line scan), that part is the recording. The signal
of the electron detector, where it was recorded, rides along as ``electron_image``, the mean over
the frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from eds_xr.readers import metadata
from eds_xr.readers.formats.jeol.header import MAGIC, VALUE, Header, read_header
from eds_xr.readers.frames.sums import summed
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.protocol import Axis, Frames, Recording
from eds_xr.schema import ENERGY, EdsError

if TYPE_CHECKING:
    from eds_xr.readers.formats.jeol.event_stream import Index, Stream

Area = tuple[slice, slice]

#: Beams of more than that are those of a transmission microscope.
_MOST_KEV_OF_SEM = 30.0
#: Channels are at least so wide, and energies begin nearer to zero, or the header is damaged.
_NARROWEST_KEV, _MOST_KEV = 1e-6, 1000.0
_MEASURED = ("PTTD Data", "AnalyzableMap MeasData")
_CONDITIONS = (*_MEASURED, "MeasCond")
_GRIDS = {2**n for n in range(13)}
_MAPPED = re.compile(r"([A-Z][a-z]?) [KLM]")


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with `head` is one of JEOL's recordings of events."""
    return head[4:].startswith(MAGIC)


def read(path: Path) -> list[Recording]:
    """Return the spectrum image of a ``.pts`` file, without its values.

    Computes: passes once over the stream, as only that tells how many frames there are and how
    many bits the fullest pixel needs.

    Raises
    ------
    EdsError
        If the file is damaged, cut short, or holds no event.
    """
    from eds_xr.readers.formats.jeol.event_stream import index_stream

    with damage_named(path), _file_named(path):
        header = read_header(path)
        stream = _stream(header, path.stat().st_size)
        with path.open("rb") as file:
            index = index_stream(file, stream)
        _check_stream(index)
        return [_recording(path, header, stream, index)]


@contextmanager
def _file_named(path: Path) -> Iterator[None]:
    try:
        yield
    except EdsError as error:
        raise EdsError(f"{path.name}: {error}") from error


def _recording(path: Path, header: Header, stream: Stream, index: Index) -> Recording:
    area = _scanned_area(header.tree, index.counts)
    counts = index.counts[area]
    dtype = np.min_scalar_type(int(counts.max()))
    size, row_starts = path.stat().st_size, index.row_starts  # all else is not held on to

    @contextmanager
    def open_frames() -> Iterator[Frames]:
        from eds_xr.readers.formats.jeol.event_stream import JeolFrames

        with _reopened(path, size) as file:
            yield JeolFrames(file, stream, row_starts, area)

    axes = _axes(header.tree, stream, area)
    shape = (axes[0].values.size, axes[1].values.size, axes[2].values.size)
    return Recording(
        name=header.title or path.stem,
        axes=axes,
        dtype=dtype,
        row_blocks=lambda rows: summed(open_frames, shape, dtype, rows),
        attrs=_attrs(header.tree),
        images=_images(index, area),
        original_metadata=_original(header, index, area, path),
        open_frames=open_frames if index.frames > 1 else None,
    )


def _reopened(path: Path, size: int) -> BinaryIO:
    with damage_named(path):
        if path.stat().st_size != size:
            raise EdsError(f"{path.name} was changed since it was opened; read it again")
        return path.open("rb")


def _stream(header: Header, size: int) -> Stream:
    from eds_xr.readers.formats.jeol.event_stream import Stream

    offset, length = header.stream_offset, header.stream_length
    if size < offset + length and size != length:  # versions count from the stream or the file
        raise EdsError(
            f"the file is cut short: it has {size:,} bytes, expected {offset + length:,}; copy it "
            "again from its origin"
        )
    height, width = _grid(header.tree)
    rows = _aim_area(header.tree, height, width)[0]
    one_row = rows.stop - rows.start == 1
    return Stream(offset, (size - offset) // 2, height, width, one_row)


def _check_stream(index: Index) -> None:
    if not index.frames:
        raise EdsError("the file holds no events: nothing was recorded, or its end was lost")
    if index.zeros:
        raise EdsError(
            f"the file is damaged: {index.zeros:,} words of its stream of events are zero, which a "
            "microscope never writes; copy it again from its origin"
        )


def _grid(tree: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of the whole grid; the header has them as ``512x512``."""
    pixels = _at(tree, *_MEASURED, "Meas Cond", "Pixels")
    width, _, height = str(pixels).partition("x")
    sizes = tuple(int(text) if text.isdecimal() else 0 for text in (height, width))
    if not set(sizes) <= _GRIDS:
        raise EdsError(
            f"the header gives the grid {pixels!r}, expected width x height, powers of two up to "
            "4096 as JEOL's software offers them; the file may be damaged: copy it again"
        )
    return sizes[0], sizes[1]


def _aim_area(tree: Mapping[str, Any], height: int, width: int) -> Area:
    """Return the part of the grid that was to be scanned; all of it if the header is silent."""
    said = _at(tree, *_MEASURED, "Meas Cond", "Aim Area")
    whole = slice(0, height), slice(0, width)
    if not isinstance(said, np.ndarray) or said.size != 4:
        return whole
    left, top, right, bottom = map(int, said)
    inside = left <= right < width and top <= bottom < height
    return (slice(top, bottom + 1), slice(left, right + 1)) if inside else whole


def _scanned_area(tree: Mapping[str, Any], counts: np.ndarray) -> Area:
    """Return the part of the grid that was scanned: all of it if there are events elsewhere."""
    height, width = counts.shape
    area = _aim_area(tree, height, width)
    if counts[area].sum(dtype=np.uint64) == counts.sum(dtype=np.uint64):
        return area
    return slice(0, height), slice(0, width)


def _axes(tree: Mapping[str, Any], stream: Stream, area: Area) -> tuple[Axis, Axis, Axis]:
    field_nm, units = _field_nm(tree), "nm"
    if field_nm is None:
        field_nm, units = float(stream.width), "px"
    rows, columns = (np.arange(part.start, part.stop) for part in area)
    return (
        Axis("y", rows * (field_nm / stream.height), units, "y position"),
        Axis("x", columns * (field_nm / stream.width), units, "x position"),
        Axis(ENERGY, _energy_kev(tree), "keV", "X-ray energy"),
    )


def _field_nm(tree: Mapping[str, Any]) -> float | None:
    """Return the width of the whole grid: that of the scan at magnification 1 (mm), magnified."""
    scan_mm = _number(_page(tree, "SEM"), "ScanSize")
    magnification = _number(tree, *_CONDITIONS, "Mag")
    if not scan_mm or not magnification or min(scan_mm, magnification) < 0:
        return None
    return scan_mm * 1e6 / magnification


def _energy_kev(tree: Mapping[str, Any]) -> np.ndarray:
    """Return the energies of the channels: JEOL's line, which begins at channel ``DigZ``."""
    from eds_xr.readers.formats.jeol.event_stream import CHANNELS

    step = _number(tree, *_MEASURED, "Doc", "CoefA")
    offset = _number(tree, *_MEASURED, "Doc", "CoefB")
    time_constant = str(_at(tree, *_MEASURED, "Meas Cond", "Tpl"))
    zero_channel = _number(_page(tree, "EDXRF"), "Tpl", time_constant, "DigZ")
    if step is None or offset is None or zero_channel is None or not _plausible(step, offset):
        raise EdsError(
            f"the header does not calibrate the energies: width of a channel (CoefA) {step} keV, "
            f"offset (CoefB) {offset} keV, channel of zero (DigZ of {time_constant!r}) "
            f"{zero_channel}; the file may be damaged: copy it again from its origin"
        )
    return offset + step * (np.arange(CHANNELS) - zero_channel)


def _plausible(step_kev: float, offset_kev: float) -> bool:
    return _NARROWEST_KEV < step_kev < 1 and abs(offset_kev) < _MOST_KEV


def _attrs(tree: Mapping[str, Any]) -> dict[str, Any]:
    doc, detector = _branch(tree, *_MEASURED, "Doc"), _page(tree, "SEM")
    dwell_ms = _number(doc, "DwellTime(msec)")
    beam_kev = _number(tree, *_CONDITIONS, "AccKV")
    found = {
        "beam_energy_kev": beam_kev,
        "live_time_s": _number(doc, "LiveTime"),
        "real_time_s": _number(doc, "RealTime"),
        "dwell_time_s": None if dwell_ms is None else dwell_ms / 1e3,
        "elevation_angle_deg": _number(detector, "ElevAng"),
        "azimuth_angle_deg": _number(detector, "DirAng"),
        "tilt_deg": _number(detector, "XtiltAng"),
        "energy_resolution_mnka_ev": _number(detector, "MnKaRES"),
    }
    attrs: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    if elements := _elements(tree):
        attrs["elements"] = elements
    of_sem = beam_kev is not None and beam_kev <= _MOST_KEV_OF_SEM
    return attrs | {"signal_type": "EDS_SEM" if of_sem else "EDS_TEM"}


def _elements(tree: Mapping[str, Any]) -> list[str]:
    """Return the elements whose maps were on the screen (``C K``, ``Pd L``)."""
    shown = _at(tree, "PTTD Cond", "Meas Cond", "CONDPAGE0", "MiniOBJs")
    lines = (_MAPPED.fullmatch(str(name)) for name in (shown if isinstance(shown, list) else ()))
    return list(dict.fromkeys(line[1] for line in lines if line))


def _images(index: Index, area: Area) -> dict[str, np.ndarray]:
    """Return the signal of the electron detector ``[y, x]``, the mean of a pixel's values."""
    visits = index.image_visits[area]
    if not visits.any():
        return {}
    mean = index.image_sum[area] / np.maximum(visits, 1)
    return {"electron_image": mean.astype(np.float32)}


def _original(header: Header, index: Index, area: Area, path: Path) -> dict[str, Any]:
    from eds_xr.readers.formats.jeol.event_stream import KINDS

    unknown = {hex(kind): int(n) for kind, n in enumerate(index.words) if n and kind not in KINDS}
    stream = {
        "frames": index.frames,
        "last_frame_is_complete": index.last_row >= area[0].stop - 1,
        "last_frame_rows": index.last_row + 1 - area[0].start,
        "words": {name: int(index.words[kind]) for kind, name in KINDS.items()},
        "words_of_unknown_kind": unknown,
        "events_without_position": index.without_position,
        "first_row_and_column": [area[0].start, area[1].start],
    }
    file = {"name": path.name, "title": header.title, "recorded": header.recorded}
    return metadata.plain({"file": file, "header": header.tree, "stream": stream})


def _page(tree: Mapping[str, Any], title: str) -> Mapping[str, Any]:
    """Return the page of parameters of that title."""
    for page in _branch(tree, "PTTD Param", "Params").values():
        if isinstance(page, Mapping) and page.get(VALUE) == title:
            return page
    return {}


def _at(tree: Any, *names: str) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree.get(VALUE) if isinstance(tree, Mapping) else tree


def _branch(tree: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    found: Any = tree
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _number(tree: Mapping[str, Any], *names: str) -> float | None:
    value = _at(tree, *names)
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable and np.isfinite(value) else None
