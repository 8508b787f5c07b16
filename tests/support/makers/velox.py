"""Files in the layout of Velox 11, written frame by frame, so that they may be large."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

END_OF_PIXEL = 65535
SEGMENTS = ("SuperXG21", "SuperXG22", "SuperXG23", "SuperXG24")
#: Bytes of a JSON text of metadata, zero padded.
TEXT_BYTES = 60_000


def write_velox(
    path: Path,
    streams: Mapping[str, Iterable[np.ndarray]],
    shape: tuple[int, int, int],
    *,
    haadf: np.ndarray | None = None,
    element_maps: Mapping[str, np.ndarray] | None = None,
    frame_table: bool = True,
    shown_frames: int | None = None,
    scan_size: tuple[int, int] | None = None,
    elements: Sequence[int] = (12, 14, 26),
    compression: str | None = None,
    chunk: int = 8192,
    detectors: Sequence[str] = SEGMENTS,
    scale_ev: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """Write a spectrum image ``(y, x, energy)``.

    Parameters
    ----------
    path : path
    streams : mapping of str to iterable of uint16 arrays
        The words of each frame, by the detector's name; the last may be cut short.
    shape : (y, x, energy)
    haadf : array [y, x, frame], optional
    element_maps : mapping of str to array [y, x], optional
    frame_table : bool
        Write where frames begin.
    shown_frames : int, optional
        ``endFramePosition``; the number of frames when not given.
    scan_size : (height, width), optional
        The full scan, of which the image is a part; the image itself when not given.
    elements : sequence of int
        Atomic numbers chosen in Velox.
    compression, chunk
        Of the streams; Velox has none, and 8192 words.
    detectors : sequence of str
        Analytical detectors of which the metadata tell.
    scale_ev : mapping of str to (offset, dispersion), optional
        Energy scales that are not (-250, 10).
    """
    scale_ev = scale_ev or {}
    with h5py.File(path, "w") as file:
        _text(file, "Version", {"version": "11", "format": "Velox"})
        _text(file, "Info", {"applicationVersion": "3.10.1"})
        frames = 0
        for i, (detector, words) in enumerate(streams.items()):
            tree = _metadata(detector, shape, scan_size or shape[:2], detectors, scale_ev)
            group = file.create_group(f"Data/SpectrumStream/{i:032x}")
            options = {"compression": compression, "chunks": (chunk, 1)}
            starts = _write_stream(group, words, options)
            frames = max(frames, len(starts))
            if frame_table:
                group["FrameLocationTable"] = np.array(starts, np.uint64)[:, None]
            _text(group, "AcquisitionSettings", _settings(shape, scan_size or shape[:2]))
            _write_metadata(group, [_timed(tree, k + 1) for k in range(max(1, len(starts)))])
        _write_images(file, shape, scan_size or shape[:2], haadf, element_maps or {})
        group = file.create_group(f"Data/SpectrumImage/{0:032x}")
        shown = frames if shown_frames is None else shown_frames
        shown_range = {"startFramePosition": "1", "endFramePosition": str(shown)}
        _text(group, "SpectrumImageSettings", shown_range)
        place = "SharedProperties/EDSSpectrumQuantificationSettings/" + "e" * 32
        _text(file, place, {"elementSelection": list(elements)})
    return path


def frame_words(counts: np.ndarray) -> np.ndarray:
    """Return the words of one frame ``[y, x, energy; counts]``."""
    flat = counts.reshape(-1, counts.shape[-1])
    pixel, channel = np.nonzero(flat)
    photons = flat[pixel, channel]
    return words_of(np.repeat(pixel, photons), np.repeat(channel, photons), len(flat))


def words_of(pixel: np.ndarray, channel: np.ndarray, pixels: int) -> np.ndarray:
    """Return the words of photons, in the order of the pixels (flat indices) they fell on."""
    words = np.full(pixel.size + pixels, END_OF_PIXEL, np.uint16)
    words[np.arange(pixel.size) + pixel] = channel  # a mark stands before, for each pixel passed
    return words


def random_words(rng: np.random.Generator, pixels: int, channels: int, mean: float) -> np.ndarray:
    """Return the words of a frame with about `mean` photons a pixel, most at low energies."""
    photons = rng.poisson(mean, pixels)
    pixel = np.repeat(np.arange(pixels), photons)
    channel = (channels * rng.beta(1.2, 6, pixel.size)).astype(np.uint16)
    return words_of(pixel, channel, pixels)


def _write_stream(
    group: h5py.Group, frames: Iterable[np.ndarray], options: Mapping[str, Any]
) -> list[int]:
    data = group.create_dataset("Data", (0, 1), np.uint16, maxshape=(None, 1), **options)
    starts = []
    for words in frames:
        starts.append(len(data))
        data.resize(len(data) + words.size, axis=0)
        data[starts[-1] :, 0] = words
    return starts


def _write_images(
    file: h5py.File,
    shape: tuple[int, int, int],
    scan: tuple[int, int],
    haadf: np.ndarray | None,
    element_maps: Mapping[str, np.ndarray],
) -> None:
    images = {name: values[..., None] for name, values in element_maps.items()}
    images |= {} if haadf is None else {"HAADF": haadf}
    file.require_group("Data/Image")
    for i, (name, values) in enumerate(images.items()):
        key, detector = f"{i + 1:032x}", "HAADF" if name == "HAADF" else "SuperXG2"
        tree = _metadata(detector, shape, scan, SEGMENTS, {})
        if name == "HAADF":
            tree["BinaryResult"]["DetectorIndex"] = "0"
        group = file.create_group(f"Data/Image/{key}")
        group.create_dataset("Data", data=values, chunks=(*values.shape[:2], 1))
        _write_metadata(group, [tree] * values.shape[2])
        reference = f"SharedProperties/ImageSeriesDataReference/{key}"
        _text(file, reference, {"dataPath": f"/Data/Image/{key}", "frameIndex": 0})
        display = {"data": f"/{reference}", "id": name, "title": name}
        _text(file, f"Displays/ImageDisplay/{key}", display)


def _settings(shape: tuple[int, int, int], scan: tuple[int, int]) -> dict[str, Any]:
    return {
        "encoding": "uint16",
        "bincount": str(shape[2]),
        "StreamEncoding": "uint16",
        "RasterScanDefinition": {"Width": str(scan[1]), "Height": str(scan[0])},
    }


def _metadata(
    detector: str,
    shape: tuple[int, int, int],
    scan: tuple[int, int],
    detectors: Sequence[str],
    scale_ev: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    haadf = {"DetectorName": "HAADF", "DetectorType": "ScanningDetector"}
    told = [_segment(i, name, scale_ev) for i, name in enumerate(detectors)]
    area = {"left": "0", "top": "0"}
    area |= {"right": str(shape[1] / scan[1]), "bottom": str(shape[0] / scan[0])}
    return {
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1709189884"}},
        "Optics": {"AccelerationVoltage": "200000"},
        "Instrument": {"InstrumentClass": "Titan"},
        "Stage": {"AlphaTilt": "0.1", "BetaTilt": "0", "Position": dict.fromkeys("xyz", "0")},
        "Scan": {
            "ScanSize": {"width": str(scan[1]), "height": str(scan[0])},
            "ScanArea": area,
            "FrameTime": "0.25",
        },
        "Detectors": {f"Detector-{i}": one for i, one in enumerate([haadf, *told])},
        "BinaryResult": {
            "Detector": detector,
            "PixelSize": {"width": "2e-09", "height": "2e-09"},
            "PixelUnitX": "m",
            "PixelUnitY": "m",
            "Offset": {"x": "-4e-08", "y": "-3e-08"},
        },
        "CustomProperties": {"StemMagnification": {"type": "double", "value": "225000"}},
    }


def _segment(index: int, name: str, scale_ev: Mapping[str, tuple[float, float]]) -> dict[str, str]:
    offset, dispersion = scale_ev.get(name, (-250, 10))
    return {
        "DetectorName": name,
        "DetectorType": "AnalyticalDetector",
        "ElevationAngle": "0.31415926535897931",
        "AzimuthAngle": str(np.pi / 4 + np.pi / 2 * index),
        "Dispersion": str(dispersion),
        "OffsetEnergy": str(offset),
    }


def _timed(tree: Mapping[str, Any], frames: int) -> dict[str, Any]:
    """Return the metadata as they are behind some frames: times add up."""
    times = {"RealTime": str(0.25 * frames), "LiveTime": str(0.2 * frames)}
    detectors = {
        key: {**one, **times} if "Dispersion" in one else one
        for key, one in tree["Detectors"].items()
    }
    return {**tree, "Detectors": detectors}


def _write_metadata(group: h5py.Group, trees: Sequence[Mapping[str, Any]]) -> None:
    size = (TEXT_BYTES, len(trees))
    data = group.create_dataset("Metadata", size, np.uint8, chunks=(TEXT_BYTES, 1))
    for column, tree in enumerate(trees):
        text = json.dumps(tree, indent=4).encode()
        data[:, column] = np.frombuffer(text.ljust(TEXT_BYTES, b"\0"), np.uint8)


def _text(group: h5py.Group, name: str, tree: Mapping[str, Any]) -> None:
    group.create_dataset(name, data=[json.dumps(tree)], dtype=h5py.string_dtype())
