"""FEI's TIA files: a ``.ser`` a detector, and one ``.emi`` that describes them all.

A ``.ser`` lists where each spectrum lies; each has a short header (calibration, type, length)
and its values. ``map.emi`` belongs to ``map_1.ser``, ``map_2.ser`` and so on, and tells of the
microscope in XML. Written from the published descriptions of the format. Streamed: the rows that
are asked for are read, and the headers of their spectra checked.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from eds_xr.readers import metadata
from eds_xr.readers.guards import xml
from eds_xr.readers.guards.damage import damage_named
from eds_xr.readers.guards.sizes import check_compression, check_shape
from eds_xr.readers.protocol import Recording, row_regions
from eds_xr.schema import EdsError

_SER_MAGIC, _EMI_MAGIC = b"II\x97\x01", b"JK\x00\x02"
_SPECTRA, _IMAGES = 0x4120, 0x4122
_TIME_AND_POSITION = 0x4142
#: From this version on, offsets have 8 bytes.
_LONG_OFFSETS = 0x220
_DTYPES = dict(enumerate(("u1", "<u2", "<u4", "i1", "<i2", "<i4", "<f4", "<f8"), start=1))
_HEADER = np.dtype("<u2, <u2, <u2, <u4, <u4, <u4, <u4")
_SPECTRUM = np.dtype(
    [("offset", "<f8"), ("delta", "<f8"), ("element", "<u4"), ("type", "<u2"), ("size", "<u4")]
)
_IMAGE = np.dtype("<f8, <f8, <u4, <f8, <f8, <u4, <u2, <u4, <u4")
_MOST_DIMENSIONS = 3
_OBJECT = (b"<ObjectInfo>", b"</ObjectInfo>")
_MOST_OBJECTS = 100
#: Between two spectra that are read in one go.
_LONGEST_TAG = 1024
#: (label, unit) in the .emi -> attribute of the data model.
_ATTRS = {("High tension", "kV"): "beam_energy_kev", ("Stage A", "deg"): "tilt_deg"}


@dataclass(frozen=True, eq=False)
class _Series:
    """What the header of a ``.ser`` says."""

    path: Path
    data_type: int
    tag_type: int
    dimensions: list[dict[str, Any]]  # the fastest first
    total: int
    offsets: np.ndarray  # of the elements that were recorded


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a ``.ser`` or an ``.emi``."""
    return head.startswith((_SER_MAGIC, _EMI_MAGIC))


def read(path: Path) -> list[Recording]:
    """Return the spectrum images of a ``.ser``, or of all that belong to an ``.emi``.

    Images of the same ``.emi`` on the grid of a spectrum image ride along with it.

    Raises
    ------
    EdsError
        If a file is damaged, or none holds a spectrum image.
    """
    paths = [path] if path.suffix.lower() == ".ser" else _series_of(path)
    described = path if path.suffix.lower() == ".emi" else _description_of(path)
    objects = _objects(described) if described else {}
    series = [_series(p) for p in paths]
    found = [
        _recording(one, objects.get(_number(one.path), {}), series)
        for one in series
        if one.data_type == _SPECTRA and len(one.dimensions) > 0 and one.total > 1
    ]
    if not found:
        kinds = {_SPECTRA: "spectrum", _IMAGES: "image"}
        said = ", ".join(f"{s.path.name}: {s.total} {kinds[s.data_type]}(s)" for s in series)
        raise EdsError(f"{path.name} holds no spectrum image, found {said or 'no .ser file'}")
    return found


def _series_of(emi: Path) -> list[Path]:
    found = [p for p in emi.parent.glob("*.ser") if p.stem.rpartition("_")[0] == emi.stem]
    numbered = [p for p in found if _number(p) > 0]
    if not numbered:
        raise EdsError(
            f"no {emi.stem}_1.ser beside {emi.name}: the values are written there; copy the .ser "
            "files, too"
        )
    return sorted(numbered, key=_number)


def _number(ser: Path) -> int:
    text = ser.stem.rpartition("_")[2]
    return int(text) if text.isascii() and text.isdigit() else 0


def _description_of(ser: Path) -> Path | None:
    emi = ser.with_name(f"{ser.stem.rpartition('_')[0]}.emi")
    return emi if emi.is_file() else None


def _series(path: Path) -> _Series:
    with damage_named(path), path.open("rb") as file:
        order, _, version, data_type, tag_type, total, valid = _one(file, 0, _HEADER)
        long = version >= _LONG_OFFSETS
        table, count = _one(file, 22, np.dtype("<u8, <u4" if long else "<u4, <u4"))
        if order != 0x4949 or data_type not in (_SPECTRA, _IMAGES) or count > _MOST_DIMENSIONS:
            raise EdsError(
                f"the header of {path.name} is damaged (data of type {data_type:#x}, {count} "
                "dimensions); copy it again from its origin"
            )
        place = 34 if long else 30
        dimensions = []
        for _ in range(count):
            dimension, place = _dimension(file, place)
            dimensions.append(dimension)
        offsets = _offsets(file, int(table), int(valid), "<u8" if long else "<u4")
    if math.prod(d["size"] for d in dimensions) != total or valid > total:
        raise EdsError(
            f"the header of {path.name} is damaged: {valid} of {total} elements on a grid of "
            f"{' x '.join(str(d['size']) for d in dimensions)}; copy it again from its origin"
        )
    return _Series(path, data_type, tag_type, dimensions, total, offsets)


def _one(file: BinaryIO, place: int, dtype: np.dtype) -> Any:
    return np.frombuffer(_bytes(file, place, dtype.itemsize), dtype)[0].item()


def _dimension(file: BinaryIO, place: int) -> tuple[dict[str, Any], int]:
    """Return a dimension as the header calibrates it, and where the next one begins."""
    size, offset, delta, element, length = _one(file, place, np.dtype("<u4, <f8, <f8, <u4, <u4"))
    place += 28 + length
    (length,) = _one(file, place, np.dtype([("length", "<u4")]))
    file.seek(place + 4)
    units = file.read(min(length, 64)).decode("latin-1").strip("\0 ")
    units = "m" if units == "meters" else units
    calibrated = {"size": size, "offset": offset - element * delta, "scale": delta, "units": units}
    return calibrated, place + 4 + length


def _offsets(file: BinaryIO, table: int, count: int, dtype: str) -> np.ndarray:
    content = _bytes(file, table, count * np.dtype(dtype).itemsize)
    return np.frombuffer(content, dtype).astype(np.int64)


def _recording(series: _Series, described: Mapping[str, Any], others: list[_Series]) -> Recording:
    with damage_named(series.path), series.path.open("rb") as file:
        if series.offsets.size == 0:
            raise EdsError(f"{series.path.name} holds no element: the recording was not begun")
        first = np.frombuffer(_bytes(file, int(series.offsets[0]), _SPECTRUM.itemsize), _SPECTRUM)[
            0
        ]
        by_columns = len(series.dimensions) == 2 and _by_columns(file, series, first)
    spatial = series.dimensions if by_columns else series.dimensions[::-1]
    values = _spectra(series, first, by_columns=by_columns)
    energy = {
        "size": int(first["size"]),
        "offset": float(first["offset"] - first["element"] * first["delta"]),
        "scale": float(first["delta"]),
        "units": "eV",
    }
    return Recording(
        name=series.path.stem,
        axes=metadata.recording_axes([*spatial, energy], ""),
        dtype=values.dtype.newbyteorder("="),
        row_blocks=values.row_blocks,
        attrs=dict(described.get("attrs", {})),
        images=_images(tuple(d["size"] for d in spatial), others),
        original_metadata=metadata.plain(
            {"emi": described.get("said", {}), "recorded": series.offsets.size}
        ),
    )


def _bytes(file: BinaryIO, place: int, count: int) -> bytes:
    held = os.fstat(file.fileno()).st_size
    if place < 0 or place + count > held:
        raise EOFError(f"{count} bytes are expected at {place} of {held}")
    file.seek(place)
    return file.read(count)


def _by_columns(file: BinaryIO, series: _Series, first: np.void) -> bool:
    """Return whether the beam ran along y first; only positions that were recorded tell."""
    if series.tag_type != _TIME_AND_POSITION or series.offsets.size < 2:
        return False
    length = _SPECTRUM.itemsize + int(first["size"]) * np.dtype(_DTYPES[first["type"]]).itemsize
    tag = np.dtype([("type", "<u4"), ("time", "<u4"), ("x", "<f8"), ("y", "<f8")])
    one, two = (
        np.frombuffer(_bytes(file, int(place) + length, tag.itemsize), tag)[0]
        for place in series.offsets[:2]
    )
    return bool(one["x"] == two["x"] and one["y"] != two["y"])


@dataclass(frozen=True, eq=False)
class _Spectra:
    """Where the spectra of a series lie; those that were not recorded are zeros."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    places: np.ndarray  # [*spatial]; -1 where none was recorded
    header: bytes  # of every spectrum, from its type on

    def row_blocks(self, rows: int) -> Iterator[np.ndarray]:
        with damage_named(self.path), self.path.open("rb") as file:
            for region in row_regions(self.shape, rows):
                # no name holds the block while the next one is read
                yield self._read(file, self.places[region[:-1]])

    def _read(self, file: BinaryIO, places: np.ndarray) -> np.ndarray:
        values = np.zeros((places.size, self.shape[-1]), self.dtype.newbyteorder("="))
        there = np.flatnonzero(places.ravel() >= 0)
        widest = _SPECTRUM.itemsize + values[:1].nbytes + _LONGEST_TAG
        for start, stop in _even_runs(places.ravel()[there], widest):
            values[there[start:stop]] = self._run(file, places.ravel()[there[start:stop]])
        return values.reshape(*places.shape, self.shape[-1])

    def _run(self, file: BinaryIO, places: np.ndarray) -> np.ndarray:
        """Return spectra that lie at even distances, after a look at their headers."""
        length = _SPECTRUM.itemsize + self.shape[-1] * self.dtype.itemsize
        step = int(places[1] - places[0]) if places.size > 1 else length
        content = _bytes(file, int(places[0]), step * (places.size - 1) + length)
        parts = np.lib.stride_tricks.as_strided(
            np.frombuffer(content, np.uint8), (places.size, length), (step, 1)
        )
        expected = np.frombuffer(self.header, np.uint8)
        if (parts[:, _SPECTRUM.itemsize - expected.size : _SPECTRUM.itemsize] != expected).any():
            raise EdsError(
                f"{self.path.name} holds spectra of different lengths or types, or is damaged; "
                "expected all to be alike"
            )
        return np.ascontiguousarray(parts[:, _SPECTRUM.itemsize :]).view(self.dtype)


def _spectra(series: _Series, first: np.void, *, by_columns: bool) -> _Spectra:
    dtype, channels = _DTYPES.get(int(first["type"])), int(first["size"])
    if dtype is None:
        raise EdsError(
            f"{series.path.name} holds values of type {first['type']}, expected one of the real "
            f"types {', '.join(map(str, _DTYPES))}"
        )
    sizes = tuple(int(d["size"]) for d in series.dimensions[::-1])
    check_shape(series.path.name, (*sizes, channels))
    check_compression(
        series.path.name, (*sizes, channels), np.dtype(dtype), series.path.stat().st_size
    )
    places = np.full(series.total, -1, np.int64)
    places[: series.offsets.size] = series.offsets
    places = places.reshape(sizes)
    return _Spectra(
        path=series.path,
        shape=(*(sizes[::-1] if by_columns else sizes), channels),
        dtype=np.dtype(dtype),
        places=places.T if by_columns else places,
        header=first.tobytes()[-6:],
    )


def _even_runs(places: np.ndarray, widest: int) -> Iterator[tuple[int, int]]:
    """Yield where runs of places at the usual distance begin and end."""
    steps = np.diff(places)
    usual = int(np.median(steps)) if steps.size else 0
    is_end = (steps != usual) if 0 < usual <= widest else np.ones(steps.shape, bool)
    ends = np.flatnonzero(is_end) + 1
    starts = [0, *ends.tolist()] if places.size else []
    yield from zip(starts, [*ends.tolist(), places.size], strict=False)


def _images(sizes: tuple[int, ...], series: list[_Series]) -> dict[str, np.ndarray]:
    """Return the single images on the grid ``[y, x]`` of a spectrum image."""
    found = {}
    for one in series:
        if one.data_type == _IMAGES and one.offsets.size == 1 and len(sizes) == 2:
            image = _image(one, sizes)
            if image is not None:
                found[f"image_{_number(one.path)}"] = image
    return found


def _image(series: _Series, sizes: tuple[int, ...]) -> np.ndarray | None:
    with damage_named(series.path), series.path.open("rb") as file:
        *_, kind, width, height = _one(file, int(series.offsets[0]), _IMAGE)
        if (height, width) != sizes or kind not in _DTYPES:
            return None
        dtype = np.dtype(_DTYPES[kind])
        start = int(series.offsets[0]) + _IMAGE.itemsize
        content = _bytes(file, start, width * height * dtype.itemsize)
    values = np.frombuffer(content, dtype).reshape(height, width)
    return values[::-1].astype(dtype.newbyteorder("="))  # the lowest line comes first


def _objects(emi: Path) -> dict[int, dict[str, Any]]:
    """Return, by the number of its ``.ser``, what an ``.emi`` says of each detector."""
    found: dict[int, dict[str, Any]] = {}
    with emi.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_OBJECT[0])
        while start >= 0 and len(found) < _MOST_OBJECTS:
            end = content.find(_OBJECT[1], start)
            if end < 0:
                break
            text = content[start : end + len(_OBJECT[1])]
            found[len(found) + 1] = _said(text, emi.name)
            start = content.find(_OBJECT[0], end)
    return found


def _said(text: bytes, name: str) -> dict[str, Any]:
    attrs: dict[str, float] = {}
    said: dict[str, Any] = {}
    for data in xml.parse([text], f"the description in {name}").iter("Data"):
        label, value, unit = (data.findtext(k) or "" for k in ("Label", "Value", "Unit"))
        said[f"{label} ({unit})" if unit else label] = value
        key = _ATTRS.get((label, unit))
        number = _as_number(value)
        if key and number is not None:
            attrs[key] = number
    return {"attrs": attrs, "said": said}


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
