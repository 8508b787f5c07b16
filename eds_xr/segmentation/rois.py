"""Regions drawn on an image, and the pixels that they hold."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import EdsError, check_one_of, spatial_dims

#: A line is followed in at most this many steps: what is longer lies outside of any image.
MAX_STEPS = 1_000_000
KINDS = ("polygon", "rectangle", "oval", "line", "points")
#: Of wider strokes the pixels are not kept in mind: there may be many.
MOST_KEPT_WIDTH = 64.0
#: The phase of a region that unpaints what lies under it.
ERASER = ""


@dataclass(frozen=True, eq=False)
class Roi:
    """A region drawn on an image.

    Coordinates are in pixels from the upper left corner of the image: pixel (i, j) reaches from
    i to i + 1 and from j to j + 1. An area holds the pixels whose centres it holds.

    Attributes
    ----------
    phase : str
        What it marks; several regions may mark the same. An empty one is an eraser: it unpaints
        what was drawn before it.
    kind : str
        "polygon", "rectangle", "oval", "line" or "points".
    paths : tuple of ndarray [point, (y, x); pixels]
        One; a polygon may have more, then what an even number of them encloses is a hole.
        A rectangle and an oval have two points, opposite corners of their frame.
    width_pixels : float
        Of a line: it holds one pixel a step of its longer side, and those whose centres are
        within half the width.
    color : str
        ``"#rrggbb"``, or empty.
    """

    phase: str
    kind: str
    paths: tuple[np.ndarray, ...] = field(repr=False)
    width_pixels: float = 1.0
    color: str = ""

    def __post_init__(self) -> None:
        check_one_of(self.kind, KINDS, "the kind of a region")
        if not 0 <= self.width_pixels < np.inf:
            raise EdsError(
                f"the width of a {self.kind} must be 0 or more [pixels], found {self.width_pixels}"
            )
        if self.color and not re.fullmatch(r"#[0-9a-fA-F]{6}", self.color):
            raise EdsError(f"a colour is written as #rrggbb, found {self.color!r}")
        paths = tuple(np.array(path, float) for path in self.paths)
        if not paths:
            raise EdsError(f"a {self.kind} of {self.phase!r} has no points")
        least = {"polygon": 3, "rectangle": 2, "oval": 2}.get(self.kind, 1)
        for path in paths:
            if path.ndim != 2 or path.shape[1] != 2 or len(path) < least:
                raise EdsError(
                    f"a {self.kind} needs at least {least} points (y, x), found {path.shape}"
                )
            if not np.isfinite(path).all():
                raise EdsError(f"a {self.kind} of {self.phase!r} has NaN or infinite coordinates")
        for path in paths:
            path.setflags(write=False)
        object.__setattr__(self, "paths", paths)
        object.__setattr__(self, "width_pixels", float(self.width_pixels))

    def __eq__(self, other: object) -> bool:
        """Return whether two regions mark the same phase by the same points."""
        return isinstance(other, Roi) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        points = tuple(tuple(path.ravel().tolist()) for path in self.paths)
        return self.phase, self.kind, points, self.width_pixels, self.color


def phases_of(rois: Iterable[Roi]) -> list[str]:
    """Return the phases that regions mark, in the order in which they come; erasers mark none."""
    return list(dict.fromkeys(roi.phase for roi in rois if roi.phase != ERASER))


def image_shape(like: xr.DataArray) -> tuple[int, int]:
    """Return rows and columns of the image on which regions were drawn."""
    sizes = tuple(like.sizes[d] for d in spatial_dims(like))
    if len(sizes) != 2:
        raise EdsError(
            f"regions lie on an image (y, x), found spatial dimensions {spatial_dims(like)}; "
            "pick one image with da.isel(...)"
        )
    return sizes


def pixels_of(roi: Roi, shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels of a region in an image, as positions in its flat values.

    Strokes are kept in mind: painting goes on from what was painted a moment ago.
    """
    if roi.kind == "line" and roi.width_pixels <= MOST_KEPT_WIDTH:
        return _kept_pixels_of(roi, shape)
    return _pixels_of(roi, shape)


def add_pixels(roi: Roi, mask: np.ndarray) -> None:
    """Mark the pixels of a region in a boolean image [y, x]; what lies outside is left out."""
    if roi.kind == "polygon":
        _add_polygon(roi.paths, mask)
    elif roi.kind == "line":
        for path in roi.paths:
            _add_line(path, roi.width_pixels, mask)
    elif roi.kind == "points":
        for path in roi.paths:
            _add_pixels_at(np.floor(path), mask)
    else:
        _add_frame(roi, mask)


@functools.lru_cache(maxsize=4096)
def _kept_pixels_of(roi: Roi, shape: tuple[int, int]) -> np.ndarray:
    return _pixels_of(roi, shape)


def _pixels_of(roi: Roi, shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels of a region, found in a window about it: images may be large."""
    points, reach = np.concatenate(roi.paths), roi.width_pixels / 2 + 1
    first = np.clip(np.floor(points.min(axis=0) - reach), 0, shape).astype(int)
    last = np.clip(np.ceil(points.max(axis=0) + reach), first, shape).astype(int)
    mask = np.zeros(last - first, bool)
    add_pixels(replace(roi, paths=tuple(path - first for path in roi.paths)), mask)
    rows, columns = np.nonzero(mask)
    return np.asarray((rows + first[0]) * shape[1] + columns + first[1])


def _add_frame(roi: Roi, mask: np.ndarray) -> None:
    """Mark a rectangle, or the oval in it."""
    low, high = roi.paths[0].min(axis=0), roi.paths[0].max(axis=0)
    window, (y, x) = _window(low, high, mask.shape)
    if roi.kind == "rectangle":
        mask[window] = True
        return
    centre, radius = (low + high) / 2, np.maximum((high - low) / 2, 1e-9)
    away = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2
    mask[window] |= away <= 1


def _add_polygon(paths: Sequence[np.ndarray], mask: np.ndarray) -> None:
    from skimage import draw

    fill: Callable[..., Any] = draw.polygon
    inside = np.zeros_like(mask)
    for path in paths:
        corners = path - 0.5
        rows, columns = fill(corners[:, 0], corners[:, 1], mask.shape)
        inside[rows, columns] ^= True
    mask |= inside


def _add_line(path: np.ndarray, width: float, mask: np.ndarray) -> None:
    """Mark the pixels along a line, and those whose centres are within half its width."""
    ends = path[1:] if len(path) > 1 else path
    for start, stop in zip(path, ends, strict=False):
        steps = int(min(np.ceil(np.abs(stop - start).max()), MAX_STEPS))
        # multiplied first: a step of whole pixels is exact, and leaves no hole in a line
        along_it = np.arange(steps + 1)[:, None] * (stop - start) / max(steps, 1)
        _add_pixels_at(np.floor(start + along_it), mask)
        if width <= 1:
            continue
        low, high = np.minimum(start, stop) - width / 2, np.maximum(start, stop) + width / 2
        window, (y, x) = _window(low, high, mask.shape)
        (dy, dx), length2 = stop - start, max(float(((stop - start) ** 2).sum()), 1e-12)
        along = np.clip(((y - start[0]) * dy + (x - start[1]) * dx) / length2, 0, 1)
        # squares, not roots: the apps' brush rounds alike and paints the same pixels
        away2 = (y - start[0] - along * dy) ** 2 + (x - start[1] - along * dx) ** 2
        mask[window] |= away2 <= (width / 2) ** 2


def _window(
    low: np.ndarray, high: np.ndarray, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[np.ndarray, np.ndarray]]:
    """Return the pixels whose centres lie between two corners, and these centres."""
    first = np.clip(np.ceil(low - 0.5), 0, shape).astype(int)
    last = np.clip(np.floor(high - 0.5) + 1, first, shape).astype(int)
    (y0, x0), (y1, x1) = first, last
    return (slice(y0, y1), slice(x0, x1)), (
        np.arange(y0, y1)[:, None] + 0.5,
        np.arange(x0, x1) + 0.5,
    )


def _add_pixels_at(points: np.ndarray, mask: np.ndarray) -> None:
    inside = ((points >= 0) & (points < mask.shape)).all(axis=1)
    rows, columns = points[inside].astype(int).T
    mask[rows, columns] = True
