"""Regions that are drawn on an image, and their spectra."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.app.pictures.worker import Job
from eds_xr.cluster.supervision import computes
from eds_xr.image.stored_sums import summed_pixels
from eds_xr.schema import COLORS, ENERGY, EdsError, spatial_dims
from eds_xr.segmentation.roi_masks import from_rois
from eds_xr.segmentation.rois import Roi
from eds_xr.spectra.sums import sum_spectra

#: What is read between two looks at whether anybody still waits [bytes].
SLAB_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Region:
    """A named region, and its colour.

    Attributes
    ----------
    roi : Roi
    color : str
    """

    roi: Roi
    color: str

    @property
    def name(self) -> str:
        """Its name."""
        return self.roi.phase

    def covers_as(self, other: Region) -> bool:
        """Return whether it has the same pixels as another, whatever they are called."""
        return self.roi == replace(other.roi, phase=self.name)

    @property
    def code(self) -> str:
        """The Python that draws it."""
        (path,), name = self.roi.paths, self.name
        points = [tuple(_short(v) for v in point) for point in path.tolist()]
        if self.roi.kind == "rectangle":
            (y0, x0), (y1, x1) = points
            return f"scribbles.rectangle({name!r}, ({y0}, {y1}), ({x0}, {x1}))"
        if self.roi.kind == "polygon":
            return f"scribbles.polygon({name!r}, {_listed(points)})"
        width = f", width_pixels={_short(self.roi.width_pixels)}"
        return f"scribbles.line({name!r}, {_listed(points)}{width})"


def region(
    name: str, kind: str, points: Sequence[Sequence[float]], color: str, shape: tuple[int, int],
    width_pixels: float = 1.0,
) -> Region:  # fmt: skip
    """Return a region of points (y, x) [pixels], within the image; rectangles of whole pixels."""
    limit = np.asarray(shape, float)
    path = np.clip(np.asarray(points, float), 0, limit).round(2)
    if kind == "rectangle":
        low, high = np.floor(path.min(0) + 0.5), np.floor(path.max(0) + 0.5)
        low = np.minimum(low, limit - 1)
        path = np.stack([low, np.maximum(high, low + 1)])
    return Region(Roi(name, kind, (path,), width_pixels=round(width_pixels, 2)), color)


def free_name(taken: Sequence[str], others: Collection[str] = ()) -> tuple[str, str]:
    """Return a letter that no region has yet, and a colour that is none of `others`."""
    letters = [chr(ord("A") + i) for i in range(26)]
    names = [a + b for a in ["", *letters] for b in letters]
    name = next(n for n in names if n not in taken)
    colors = [c for c in COLORS if c not in others] or list(COLORS)
    return name, colors[names.index(name) % len(colors)]


def region_spectrum(image: xr.DataArray, one: Region, job: Job) -> xr.Dataset:
    """Return the spectrum of a region, ``[phase=1, energy]``; only its part of the image is read.

    Computes: slab by slab; raises `CancelledError` between them.
    """
    dims, (path,) = spatial_dims(image), one.roi.paths
    reach = one.roi.width_pixels if one.roi.kind == "line" else 1
    low = np.floor(path.min(0) - reach).clip(0).astype(int)
    high = np.ceil(path.max(0) + reach).astype(int)
    part = image.isel({d: slice(a, b) for d, a, b in zip(dims, low, high, strict=True)})
    mask = from_rois(part, [replace(one.roi, paths=(path - low,))])
    sums: list[xr.Dataset] = []
    for rows in _slabs(part, dims[0]):
        job.check()
        sums.append(sum_spectra(part.isel(rows), mask.isel(rows)).compute())
    return _added(sums)


def whole_spectrum(
    image: xr.DataArray, job: Job, show: Callable[[xr.Dataset, float], Any] = lambda *_: None
) -> xr.Dataset:
    """Return the spectrum of all pixels, from stored sums where there are any.

    Computes: slab by slab; `show` is given what is there and the part that is done.
    """
    level, _ = summed_pixels(image, 8)
    dims = spatial_dims(level)
    ones = xr.DataArray(np.ones([level.sizes[d] for d in dims], bool), dims=dims)
    pixels = int(np.prod([image.sizes[d] for d in dims]))
    sums: list[xr.Dataset] = []
    slabs = list(_slabs(level, dims[0]))
    for number, rows in enumerate(slabs, 1):
        job.check()
        sums = [_added([*sums, sum_spectra(level.isel(rows), ones.isel(rows)).compute()])]
        if number < len(slabs):
            part = number / len(slabs)
            show(sums[0].assign(n_pixels=sums[0].n_pixels.copy(data=pixels * part)), part)
    return sums[0].assign(n_pixels=sums[0].n_pixels.copy(data=pixels))


@computes
def pixel_spectrum(image: xr.DataArray, y: int, x: int) -> xr.Dataset:
    """Return the spectrum of one pixel."""
    dims = spatial_dims(image)
    one = image.isel(dict(zip(dims, (y, x), strict=True)))
    counts = one.drop_vars([n for n in one.coords if n != ENERGY]).compute()
    return xr.Dataset({"counts": counts, "variance": counts, "n_pixels": 1}, attrs=image.attrs)


def _slabs(image: xr.DataArray, dim: str) -> list[dict[str, slice]]:
    """Return parts of the rows of an image, whole chunks, that are read one after another."""
    a_row = image.nbytes / max(1, image.sizes[dim])
    chunk = image.variable.chunksizes[dim][0] if image.chunks is not None else 1
    rows = max(1, int(SLAB_BYTES / max(a_row, 1)) // chunk) * chunk
    return [{dim: slice(i, i + rows)} for i in range(0, image.sizes[dim], rows)]


def _added(sums: list[xr.Dataset]) -> xr.Dataset:
    if not sums:
        raise EdsError("the image holds no pixel")
    first, *others = sums
    for other in others:
        attrs = {n: v.attrs for n, v in first.data_vars.items()}
        first = first.assign({n: first[n] + other[n] for n in first.data_vars})
        for name, kept in attrs.items():
            first[name].attrs = kept
    return first


def _short(value: float) -> int | float:
    return int(value) if float(value).is_integer() else round(float(value), 2)


def _listed(points: Sequence[tuple[Any, ...]]) -> str:
    return "[" + ", ".join(f"({', '.join(map(str, p))})" for p in points) + "]"
