"""Images in Velox's files that lie on the grid of the spectrum image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eds_xr.readers import metadata
from eds_xr.readers.formats.velox.hdf5_file import VeloxFile, branch, open_velox
from eds_xr.schema import EdsError

#: Names that coordinates of a spectrum image have already.
_TAKEN = {"counts", "x", "y", "energy", "frame"}


@dataclass(frozen=True)
class _Image:
    """Where an image lies in the file, and how many of its frames are averaged."""

    path: str
    frames: int


class VeloxImages(Mapping[str, np.ndarray]):
    """Images ``[y, x]`` by name, read from the file each time they are taken out.

    One frame is as recorded; of several it is the mean, as float32.
    """

    def __init__(self, file: Path, shape: tuple[int, int], images: Mapping[str, _Image]):
        self.shape = shape
        self._file = file
        self._images = dict(images)

    def __getitem__(self, name: str) -> np.ndarray:
        image = self._images[name]
        with open_velox(self._file) as file:
            return _mean(file.dataset(image.path), image.frames)

    def frames(self, file: VeloxFile, number: int) -> Callable[[int], np.ndarray] | None:
        """Return what gives each of so many frames of an image; HAADF, if there is one.

        None if no detector of the scan recorded that many.
        """
        for name in sorted(self, key=lambda name: name != "haadf"):
            dataset = file.dataset(self._images[name].path)
            if not name.startswith("map_") and dataset.shape[2] >= number:
                return partial(_frame, dataset)
        return None

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def images_on_grid(
    path: Path, file: VeloxFile, shape: tuple[int, int], complete_frames: int
) -> VeloxImages:
    """Return the images of a file that have the shape [y, x] of the spectrum image.

    Parameters
    ----------
    path : path
        Opened again when an image is read.
    file : VeloxFile
    shape : (y, x)
    complete_frames : int
        An image of more frames was stopped in the last of them, which is left out.
    """
    labels = _labels(file)
    found: dict[str, _Image] = {}
    for group in file.children("Data/Image"):
        if image_shape(file, group)[:2] == shape:
            frames = image_shape(file, group)[2]
            name = _free_name(_name(file, group, labels), found)
            found[name] = _Image(f"{group}/Data", min(frames, max(1, complete_frames)))
    return VeloxImages(path, shape, found)


def image_shape(file: VeloxFile, group: str) -> tuple[int, ...]:
    """Return (y, x, frames) of an image of real numbers; empty for what is none."""
    if f"{group}/Data" not in file:
        return ()
    dataset = file.dataset(f"{group}/Data")
    is_image = dataset.ndim == 3 and dataset.dtype.kind in "uif" and dataset.size > 0
    return tuple(map(int, dataset.shape)) if is_image else ()


def image_labels(file: VeloxFile) -> list[str]:
    """Return what Velox calls the images of a file."""
    labels = _labels(file)
    return [_title(file, group, labels)[0] for group in file.children("Data/Image")]


def _name(file: VeloxFile, group: str, labels: Mapping[str, str]) -> str:
    title, is_scan = _title(file, group, labels)
    return metadata.variable_name(title if is_scan else f"map_{title}")


def _title(file: VeloxFile, group: str, labels: Mapping[str, str]) -> tuple[str, bool]:
    """Return what Velox calls an image, and whether a detector of the scan recorded it."""
    try:
        result = branch(file.metadata(group), "BinaryResult")
    except EdsError:
        result = {}
    detector = str(result.get("Detector") or "")
    label = labels.get(group.rsplit("/", 1)[-1], "")
    is_scan = "DetectorIndex" in result or not label  # maps belong to no single detector
    return (detector if is_scan and detector else label or "image"), is_scan


def _labels(file: VeloxFile) -> dict[str, str]:
    """Return the title of the display in which Velox shows an image, by the image's id."""
    found: dict[str, str] = {}
    for group in ("Displays/ImageDisplay", "Presentation/Displays/ImageDisplay"):
        for display in _trees(file, group):
            target = str(display.get("dataPath") or display.get("data") or "").strip("/")
            title = display.get("title") or branch(display, "display").get("label")
            if "ImageSeriesDataReference" in target and target in file:  # since version 11
                target = str(file.json(target).get("dataPath"))
            found[target.rsplit("/", 1)[-1]] = str(title or "")
    return found


def _trees(file: VeloxFile, group: str) -> Iterator[Mapping[str, Any]]:
    for path in file.children(group):
        try:
            yield file.json(path)
        except EdsError:  # a display is of no consequence
            continue


def _free_name(name: str, found: Mapping[str, Any]) -> str:
    name = f"image_{name}" if name in _TAKEN else name
    names = (name if i == 1 else f"{name}_{i}" for i in range(1, len(found) + 2))
    return next(n for n in names if n not in found)


def _frame(dataset: Any, frame: int) -> np.ndarray:
    return dataset[:, :, frame]


def _mean(dataset: Any, frames: int) -> np.ndarray:
    if frames == 1:
        return dataset[:, :, 0].astype(dataset.dtype.newbyteorder("="), copy=False)
    total = np.zeros(dataset.shape[:2], np.float64)
    for frame in range(frames):
        total += dataset[:, :, frame]
    return (total / frames).astype(np.float32)
