"""Velox's HDF5 files (``.emd``): the streams of events of its X-ray detectors.

A stream (``/Data/SpectrumStream/<id>/Data``) is a row of uint16 words: 65535 ends a pixel, each
other word is the channel of one photon. Pixels follow along the rows of the image, frame after
frame. ``FrameLocationTable`` has the first word of each frame; without it frames are counted.
Each detector is a recording; their sum is the one taken when none is named.

Frames: all that were recorded are summed, also those outside the range that Velox was set to
show (``SpectrumImageSettings`` in the original metadata), also the last one where the acquisition
was stopped in it. Pixels that no frame reached are zero.

Positions are relative to the centre of the full scan. Images of the same grid ride along, as
the mean of their complete frames; element maps, which Velox computed, as ``map_<element>``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eds_xr.readers import live_times
from eds_xr.readers import metadata as file_metadata
from eds_xr.readers.formats.velox.hdf5_file import (
    VeloxFile,
    branch,
    number,
    open_velox,
    whole_number,
)
from eds_xr.readers.formats.velox.images import (
    VeloxImages,
    image_labels,
    image_shape,
    images_on_grid,
)
from eds_xr.readers.formats.velox.metadata import (
    axes,
    detector_name,
    energy_scale,
    instrument_attrs,
)
from eds_xr.readers.frames.sums import summed
from eds_xr.readers.guards.hdf5 import check_hdf5
from eds_xr.readers.protocol import Frames, Recording
from eds_xr.schema import EdsError

if TYPE_CHECKING:
    from eds_xr.readers.formats.velox.event_stream import Index
    from eds_xr.readers.frames.event_words import ReadWords

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
#: The biggest scan has 8192 x 8192 pixels; what claims more is not read.
_MOST_PIXELS = 2**26
#: Grids up to here may be nearly empty; in larger ones a 16th of a frame must be recorded.
_FEW_PIXELS = 2**20
#: JSON texts that are kept as they are, for all detectors together.
_KEPT = ("Version", "Info", "Experiment", "Features", "Operations", "SharedProperties")


@dataclass(frozen=True, eq=False)
class _Stream:
    """One detector's stream: where it lies, its index, and what the file says of it."""

    group: str
    shape: tuple[int, int, int]  # y, x, energy
    index: Index
    fullest: int  # counts of the pixel that has most
    metadata: Mapping[str, Any]
    settings: Mapping[str, Any]
    has_table: bool

    @property
    def is_cut(self) -> bool:
        """Whether the acquisition was stopped within the last frame."""
        # the mark that ends the very last pixel may lack
        return self.index.last_frame_pixels < math.prod(self.shape[:2]) - 1


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with `head` is HDF5."""
    return head.startswith(_HDF5_MAGIC)


def read(path: Path) -> list[Recording]:
    """Return the spectrum images of a Velox file: the detectors' sum, and each detector.

    Computes: passes once over the streams, as only that tells how many frames there are and how
    many bits the fullest pixel needs. An image is read when it is taken from
    :attr:`Recording.images`.

    Raises
    ------
    EdsError
        If the file is damaged, not of Velox, or holds no stream of a spectrum image.
    """
    check_hdf5(path, everything=False)  # VeloxFile checks what it reads
    with open_velox(path) as file:
        streams, counts = _streams(file)
        if not streams:
            raise EdsError(_nothing_found(file))
        first = next(iter(streams.values()))
        images = images_on_grid(path, file, first.shape[:2], first.index.frames - first.is_cut)
        common = {name: file.tree(name) for name in _KEPT if name in file}
        common["SpectrumImageSettings"] = _image_settings(file)
    chosen = [(name, {name: one}, one.fullest) for name, one in streams.items()]
    if counts is not None:
        chosen.insert(0, ("sum of detectors", streams, int(counts.max())))
    return [_recording(path, *entry, images, common) for entry in chosen]


def _recording(
    path: Path,
    name: str,
    streams: Mapping[str, _Stream],
    fullest: int,
    images: VeloxImages,
    common: Mapping[str, Any],
) -> Recording:
    first = next(iter(streams.values()))
    on_grid = images if first.shape[:2] == images.shape else None
    open_frames = _opener(path, list(streams.values()), on_grid)
    dtype = np.min_scalar_type(fullest)

    def row_blocks(rows: int) -> Iterator[np.ndarray]:
        return summed(open_frames, first.shape, dtype, rows)

    attrs = instrument_attrs([s.metadata for s in streams.values()], common)
    times = live_times.of_passes(attrs, _passes(first))
    kept = {"SpectrumStream": {n: _original(s) for n, s in streams.items()}, **common}
    return Recording(
        name=name,
        axes=axes(first.metadata, first.shape),
        dtype=dtype,
        row_blocks=row_blocks,
        attrs=attrs,
        images={**(on_grid or {}), **times} if times else on_grid or {},
        original_metadata=file_metadata.plain(kept),
        open_frames=open_frames,
        preferred=len(streams) > 1,
    )


def _passes(stream: _Stream) -> np.ndarray:
    """Return how many frames reached each pixel [y, x]."""
    shape, index = stream.shape[:2], stream.index
    reached = np.arange(math.prod(shape)) < index.last_frame_pixels
    complete = index.frames - stream.is_cut
    return (complete + (reached & stream.is_cut)).reshape(shape)


def _opener(
    path: Path, streams: Sequence[_Stream], images: VeloxImages | None
) -> Callable[[], AbstractContextManager[Frames]]:
    from eds_xr.readers.formats.velox.event_stream import EventFrames, EventStream

    number = max(stream.index.frames for stream in streams)

    @contextmanager
    def open_frames() -> Iterator[Frames]:
        with open_velox(path) as file:
            events = [EventStream(file.words(f"{s.group}/Data")[0], s.index) for s in streams]
            image = images.frames(file, number) if images else None
            yield EventFrames(events, streams[0].shape, image)

    return open_frames


def _streams(file: VeloxFile) -> tuple[dict[str, _Stream], np.ndarray | None]:
    """Return the maps' streams by detector, and their summed counts if they may be summed."""
    found: dict[str, _Stream] = {}
    total: np.ndarray | None = None
    for group in file.children("Data/SpectrumStream"):
        if not _is_map(file, group):
            continue
        stream, counts = _stream(file, group)
        same = all(_like(stream, other) for other in found.values())
        total = counts if not found else None if total is None or not same else total + counts
        name = detector_name(stream.metadata)
        found[f"{name} {group[-8:]}" if name in found else name] = stream
    in_order = dict(sorted(found.items()))
    return in_order, total if len(found) > 1 else None


def _is_map(file: VeloxFile, group: str) -> bool:
    """Return whether a stream is of an image, rather than of a single spectrum."""
    if f"{group}/FrameLocationTable" in file:
        return True
    settings = f"{group}/AcquisitionSettings"
    return settings in file and "RasterScanDefinition" in file.json(settings)


def _stream(file: VeloxFile, group: str) -> tuple[_Stream, np.ndarray]:
    from eds_xr.readers.formats.velox.event_stream import index_stream

    settings = file.json(f"{group}/AcquisitionSettings")
    metadata = file.metadata(group)
    channels = _channels(settings)
    words, length = file.words(f"{group}/Data")
    table = _frame_starts(file, group, length)
    height, width = _grid(file, metadata, settings, words, length, table)
    shape = (height, width, channels)
    index, counts = index_stream(words, length, shape, table)
    _check_filled(shape, index)
    fullest = int(counts.max())
    stream = _Stream(group, shape, index, fullest, metadata, settings, table is not None)
    return stream, counts


def _channels(settings: Mapping[str, Any]) -> int:
    for key in ("encoding", "StreamEncoding"):
        if settings.get(key, "uint16") != "uint16":
            raise EdsError(f"the stream's {key} is {settings[key]!r}, expected 'uint16'")
    channels = whole_number(settings, "bincount")
    if channels is None or not 0 < channels <= 65535:
        found = settings.get("bincount")
        raise EdsError(f"expected a bincount of 1 to 65535 channels, found {found!r:.40}")
    return channels


def _frame_starts(file: VeloxFile, group: str, length: int) -> np.ndarray | None:
    """Return the first words of the frames, or None where the file does not tell them."""
    name = f"{group}/FrameLocationTable"
    if name not in file:
        return None
    dataset = file.dataset(name)
    if dataset.dtype.kind not in "ui" or not 0 < dataset.size <= length:
        return None
    starts = np.asarray(dataset[()]).reshape(-1)
    starts = starts[starts < length].astype(np.int64)
    rising = starts.size > 0 and starts[0] == 0 and (np.diff(starts) > 0).all()
    return starts if rising else None


def _grid(
    file: VeloxFile,
    metadata: Mapping[str, Any],
    settings: Mapping[str, Any],
    words: ReadWords,
    length: int,
    table: np.ndarray | None,
) -> tuple[int, int]:
    """Return (y, x): the first candidate that has as many pixels as end in the first frame."""
    from eds_xr.readers.formats.velox.event_stream import count_pixel_ends

    candidates = [c for c in _candidates(file, metadata, settings) if 0 < math.prod(c)]
    if not candidates:
        raise EdsError("it tells no size of the scan (ScanSize, ScanArea), and has no image")
    if table is None:
        return candidates[0]
    several = table.size > 1
    ends = count_pixel_ends(words, 0, int(table[1]) if several else length)
    for height, width in candidates:  # the mark that ends the last pixel may lack
        missing = height * width - ends
        if missing in (0, 1) or (missing > 0 and not several):
            return height, width
    sizes = ", ".join(f"{height} x {width}" for height, width in candidates)
    raise EdsError(
        f"{ends} pixels end in the first frame of the stream, expected those of a scan of {sizes}; "
        "the file may be damaged"
    )


def _candidates(
    file: VeloxFile, metadata: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[tuple[int, int]]:
    """Yield the grids (y, x) that the file tells: the scanned area, images, the whole scan."""
    scan, whole = branch(metadata, "Scan"), branch(settings, "RasterScanDefinition")
    size, area = branch(scan, "ScanSize"), branch(scan, "ScanArea")
    height = _part(number(size, "height"), number(area, "top"), number(area, "bottom"))
    width = _part(number(size, "width"), number(area, "left"), number(area, "right"))
    shapes = (image_shape(file, group)[:2] for group in file.children("Data/Image"))
    images = sorted({shape for shape in shapes if shape})
    raster = (whole_number(whole, "Height") or 0, whole_number(whole, "Width") or 0)
    for candidate in [(height, width), *images, raster]:
        if min(candidate) < 0 or math.prod(candidate) > _MOST_PIXELS:
            raise EdsError(
                f"expected a scan of at most {_MOST_PIXELS} pixels, found {candidate[0]} x "
                f"{candidate[1]}; the file may be damaged"
            )
        yield candidate[0], candidate[1]


def _part(size: float | None, begin: float | None, end: float | None) -> int:
    """Return how many of the scan's pixels lie between two fractions of it."""
    if size is None:
        return 0
    return round(size * (1 if begin is None or end is None else end - begin))


def _check_filled(shape: tuple[int, int, int], index: Index) -> None:
    pixels, reached = shape[0] * shape[1], index.last_frame_pixels
    if index.frames == 0:
        raise EdsError("the stream is empty: the acquisition was stopped before its first pixel")
    if index.frames == 1 and pixels > _FEW_PIXELS and reached < pixels // 16:
        raise EdsError(
            f"only {reached} of {pixels} pixels were recorded, expected a 16th of them at least"
        )
    if index.no_channel > index.photons:
        raise EdsError(
            f"{index.no_channel} words of the stream are no channel of {shape[2]}, only "
            f"{index.photons} are: it is damaged, or of another encoding"
        )


def _like(one: _Stream, other: _Stream) -> bool:
    """Return whether the counts of two detectors may be summed, pixel by pixel."""
    return one.shape == other.shape and np.allclose(
        energy_scale(one.metadata), energy_scale(other.metadata), rtol=1e-6
    )


def _image_settings(file: VeloxFile) -> Any:
    """Return which frames Velox was set to show."""
    groups = file.children("Data/SpectrumImage")
    settings = (f"{group}/SpectrumImageSettings" for group in groups)
    return next((file.tree(name) for name in settings if name in file), {})


def _original(stream: _Stream) -> dict[str, Any]:
    """Return what the file says of a stream, and what the pass over it has found."""
    index = stream.index
    found = {
        "photons": index.photons,
        "frames": index.frames,
        "frames_found_by": "FrameLocationTable" if stream.has_table else "counting pixels",
        "pixels_of_incomplete_last_frame": index.last_frame_pixels if stream.is_cut else None,
        "words_beyond_channels": index.no_channel,
        "words_beyond_frames": index.surplus,
    }
    return {"AcquisitionSettings": stream.settings, "Metadata": stream.metadata, "stream": found}


def _nothing_found(file: VeloxFile) -> str:
    """Return what the file holds instead of a stream of a spectrum image."""
    labels = ", ".join(map(repr, image_labels(file))) or "none"
    held = f"{len(file.children('Data/Spectrum'))} single spectra, images: {labels}"
    if file.children("Data/SpectrumImage"):
        return (
            f"its spectrum image was pruned: the stream of photons is gone, only a copy in a form "
            f"that Velox alone reads is left (besides {held}); use the file as it was acquired, "
            "or export the spectrum image from Velox in another format"
        )
    return f"it holds no spectrum image, but {held}"
