"""What a reader hands over: what was recorded, and a stream of row blocks.

A reader is a module (one a format family) that has the members of :class:`Reader`. It never loads
a spectrum image whole: the values come from :attr:`Recording.row_blocks`, which opens the file,
yields, and closes it again. Where the detector passed over the pixels many times,
:attr:`Recording.open_frames` gives each pass.

A package of its own adds a format by an entry point of the group ``eds_xr.readers``, named by the
extension (several with spaces between), in its ``pyproject.toml``::

    [project.entry-points."eds_xr.readers"]
    ".xyz .xyzw" = "package.module"   # or "package.module:object"

Once it is installed, ``eds_xr.convert`` and ``eds_xr.info`` read such files. Where several readers
name one extension, the first that recognises the content reads it, those of eds_xr first. What a
reader raises, other than an ``EdsError``, is told as damage of the file; sizes and axes of its
recordings are checked as those of all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Region = tuple[slice, ...]

#: Entry points of readers.
GROUP = "eds_xr.readers"


@dataclass(frozen=True, eq=False)
class Axis:
    """One calibrated axis: nm for ``x`` and ``y``, keV for energy (eV for an energy loss)."""

    name: str
    values: np.ndarray
    units: str
    long_name: str


class Frames(Protocol):
    """The passes of a recording over its pixels.

    Where each pass recorded an image besides (a HAADF detector's), an optional method
    ``image(frame)`` returns it ``[y, x]``: drift is seen better there than in few counts.
    """

    shape: tuple[int, int, int]  # y, x, energy
    number: int

    def counts(self, frame: int) -> np.ndarray:
        """Return the counts of one frame ``[y, x]``, all energies together."""

    def add(self, frame: int, rows: slice, out: np.ndarray) -> None:
        """Add image rows of one frame to `out` ``[rows, x, energy; counts]``.

        The dtype of `out` holds the counts of the fullest pixel, so that nothing overflows.
        """


@dataclass(frozen=True, eq=False)
class Recording:
    """One spectrum image of a vendor file.

    Attributes
    ----------
    name : str
        The signal's name in the file; unique there.
    axes : tuple of Axis
        One a dimension, ``energy`` last.
    dtype : dtype
        As recorded.
    row_blocks : callable
        ``row_blocks(rows)`` yields the values in the order of :func:`row_regions`
        ``(shape, rows)``, one array ``[..., y, x, energy; counts]`` a region.
    attrs : mapping
        Instrument attributes of the data model, the unit in the name.
    images : mapping of str to array
        Images recorded on the same grid ``[y, x]``, such as ``haadf``.
    original_metadata : mapping
        All else that the file says, in plain JSON types.
    open_frames : callable, optional
        ``with open_frames() as frames`` gives the passes over the pixels one by one; None where
        the file holds a single one.
    preferred : bool
        Taken where the user names none of several, such as the sum of a microscope's detectors.
    detector_values : mapping of str to array
        Of a recording along ``detector``: what each has of its own, such as its azimuth.
    """

    name: str
    axes: tuple[Axis, ...]
    dtype: np.dtype
    row_blocks: Callable[[int], Iterator[np.ndarray]]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    original_metadata: Mapping[str, Any] = field(default_factory=dict)
    open_frames: Callable[[], AbstractContextManager[Frames]] | None = None
    preferred: bool = False
    detector_values: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions, ``energy`` last."""
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return tuple(axis.values.size for axis in self.axes)


class Reader(Protocol):
    """What a module or object must have to read a format family."""

    def recognises(self, head: bytes) -> bool:
        """Return whether a file that begins with `head` (4 KiB) can be of this format."""

    def read(self, path: Path) -> list[Recording]:
        """Return the spectrum images in a file, without their values."""


def row_regions(shape: tuple[int, ...], rows: int) -> Iterator[Region]:
    """Yield the regions, of at most `rows` image rows each, in which values are streamed.

    Leading dimensions (frames, tilts) come one at a time; a line scan ``(x, energy)`` has its
    pixels as rows.

    Examples
    --------
    >>> [region[:2] for region in row_regions((2, 5, 9, 64), 4)][:3]
    [(slice(0, 1, None), slice(0, 4, None)),
     (slice(0, 1, None), slice(4, 5, None)),
     (slice(1, 2, None), slice(0, 4, None))]
    """
    leading, height = _leading_and_rows(shape)
    rest = tuple(slice(0, size) for size in shape[len(leading) + 1 :])
    for index in np.ndindex(*leading):
        first = tuple(slice(i, i + 1) for i in index)
        for start in range(0, height, rows):
            yield (*first, slice(start, min(start + rows, height)), *rest)


def count_regions(shape: tuple[int, ...], rows: int) -> int:
    """Return how many regions :func:`row_regions` yields."""
    leading, height = _leading_and_rows(shape)
    return math.prod(leading) * math.ceil(height / rows)


def _leading_and_rows(shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    *leading, height = shape[: max(1, len(shape) - 2)]
    return tuple(leading), height
