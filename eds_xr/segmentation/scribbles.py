"""Scribbles: painted pixels and drawn regions, from and to files.

    painted = paint([line("Fp", [(12, 40), (30, 44)]), rectangle("Brg", (0, 9), (50, 80))], image)
    painted = read("strokes.zip", image)        # ImageJ's ROI Manager, or a label image
    write(painted, "strokes.tif")

Coordinates are in pixels from the upper left corner of the image: pixel (i, j) reaches from i to
i + 1 and from j to j + 1, so its centre is (i + 0.5, j + 0.5).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.cluster.supervision import computes
from eds_xr.provenance import with_step
from eds_xr.schema import (
    COLORS,
    EdsError,
    checked_labels,
    label_array,
    phase_colors,
    phase_names,
    spatial_dims,
)
from eds_xr.segmentation.imagej_files import read_rois, write_rois
from eds_xr.segmentation.label_files import read_labels, write_labels
from eds_xr.segmentation.rois import ERASER, Roi, image_shape, phases_of, pixels_of

__all__ = [
    "Roi",
    "eraser",
    "line",
    "outlines",
    "oval",
    "paint",
    "points",
    "polygon",
    "read",
    "read_rois",
    "rectangle",
    "write",
    "write_rois",
]

Points = Sequence[tuple[float, float]] | np.ndarray
ROI_ENDINGS = (".roi", ".zip")


def line(phase: str, along: Points, *, width_pixels: float = 1.0) -> Roi:
    """Return a stroke along points (y, x) [pixels]: freehand, or from one to another."""
    return Roi(phase, "line", (np.asarray(along, float),), width_pixels)


def eraser(along: Points, *, width_pixels: float = 1.0) -> Roi:
    """Return a stroke along points (y, x) [pixels] that unpaints what was drawn before it."""
    return line(ERASER, along, width_pixels=width_pixels)


def polygon(phase: str, corners: Points) -> Roi:
    """Return the area within corners (y, x) [pixels]."""
    return Roi(phase, "polygon", (np.asarray(corners, float),))


def rectangle(phase: str, y_pixels: tuple[float, float], x_pixels: tuple[float, float]) -> Roi:
    """Return a rectangle: first row or column, and the one after the last [pixels]."""
    return Roi(phase, "rectangle", (np.array([y_pixels, x_pixels], float).T,))


def oval(phase: str, y_pixels: tuple[float, float], x_pixels: tuple[float, float]) -> Roi:
    """Return the oval that fills a rectangle [pixels]."""
    return Roi(phase, "oval", (np.array([y_pixels, x_pixels], float).T,))


def points(phase: str, at: Points) -> Roi:
    """Return single pixels, those that hold the points (y, x) [pixels]."""
    return Roi(phase, "points", (np.asarray(at, float),))


def paint(
    rois: Sequence[Roi],
    like: xr.DataArray,
    *,
    phases: Sequence[str] = (),
    colors: Sequence[str] = (),
) -> xr.DataArray:
    """Paint regions as scribbles; where two overlap, the later one stays, or an eraser nothing.

    Computes: the label image, in memory.

    Parameters
    ----------
    rois : sequence of Roi
        What is drawn, and the phase that it marks. What lies outside the image is left out.
    like : DataArray [y, x, ...]
        Gives the grid.
    phases : sequence of str
        All phases in the order of their labels; by default those marked, in the order drawn.
    colors : sequence of str
        Of these phases, ``"#rrggbb"``; by default those of the regions.

    Returns
    -------
    DataArray [y, x; uint8 label]
        0 is not painted; CF flags name the phases.

    Raises
    ------
    EdsError
        When a region marks a phase that is not among `phases`, or there are more than 255.

    Examples
    --------
    >>> image = xr.DataArray(np.zeros((4, 6)), dims=("y", "x"))
    >>> drawn = [rectangle("Brg", (0, 2), (0, 6)), line("Fp", [(3.5, 1.5), (3.5, 3.5)])]
    >>> paint(drawn, image).values
    array([[1, 1, 1, 1, 1, 1],
           [1, 1, 1, 1, 1, 1],
           [0, 0, 0, 0, 0, 0],
           [0, 2, 2, 2, 0, 0]], dtype=uint8)
    """
    names = list(phases) or phases_of(rois)
    unknown = [name for name in phases_of(rois) if name not in names]
    if unknown:
        raise EdsError(f"regions mark {', '.join(unknown)}, which {', '.join(names)} do not name")
    if len(names) > 255:
        raise EdsError(f"labels hold at most 255 phases, found {len(names)}")
    values = np.zeros(image_shape(like), np.uint8)
    number = {ERASER: 0} | {name: i for i, name in enumerate(names, 1)}
    for roi in rois:
        values.flat[pixels_of(roi, values.shape)] = number[roi.phase]
    own = {roi.phase: roi.color for roi in rois if roi.color}
    default = [own.get(name, COLORS[i % len(COLORS)]) for i, name in enumerate(names)]
    painted = label_array(values, like, names, list(colors) or default)
    return painted.assign_attrs(with_step(painted.attrs, "paint", n_rois=len(rois)))


@computes
def outlines(label: xr.DataArray) -> list[Roi]:
    """Return the outline of every connected region of a label image, as polygons with holes.

    Painted again, they give the same pixels.

    Computes: the label image, in memory.

    Parameters
    ----------
    label : DataArray [y, x; integer label]
        Scribbles, or a segmentation.
    """
    from scipy.ndimage import find_objects
    from scipy.ndimage import label as connected

    values = checked_labels(label).transpose(*spatial_dims(label)).values
    found = []
    for i, (phase, color) in enumerate(
        zip(phase_names(label), phase_colors(label), strict=False), 1
    ):
        regions, _ = connected(values == i)
        for k, window in enumerate(find_objects(regions), 1):
            paths = _outlines_block(regions[window] == k, [side.start for side in window])
            found.append(Roi(phase, "polygon", paths, color=color))
    return found


@computes
def read(
    path: str | os.PathLike[str], like: xr.DataArray, *, phases: Sequence[str] = ()
) -> xr.DataArray:
    """Read scribbles from a label image (TIFF, PNG, Zarr) or from ImageJ's regions (roi, zip).

    Lazy: a Zarr store stays on disk; all else is read at once.

    Parameters
    ----------
    path : str or path
        Its ending says what it is.
    like : DataArray [y, x, ...]
        The image that was painted on: gives the grid.
    phases : sequence of str
        Their names in the order of the labels. By default those in the file, or ``phase_1`` and so
        on. A black and white mask (0 and 255) is one phase.

    Returns
    -------
    DataArray [y, x; uint8 label]

    Raises
    ------
    EdsError
        When the file is damaged, no label image, of another size, or has labels without a name.
    """
    source = Path(path)
    if source.suffix.lower() in ROI_ENDINGS:
        return paint(read_rois(source), like, phases=phases)
    values, names, colors = read_labels(source, image_shape(like))
    if values.dtype.kind not in "uib":
        raise EdsError(f"{source.name} holds {values.dtype}, expected integer labels (0 = none)")
    values, most = _as_labels(values, source.name)
    names = list(phases) or names or [f"phase_{i}" for i in range(1, most + 1)]
    if most > len(names):
        raise EdsError(
            f"{source.name} holds labels up to {most}, there are names for {len(names)}: "
            f"{', '.join(names)}; give all with phases=[...]"
        )
    label = label_array(values, like, names, colors or COLORS)
    return label.assign_attrs(with_step(label.attrs, "read_scribbles", file=source.name))


@computes
def write(label: xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write scribbles or labels with the names and colours of their phases.

    Computes: the label image. The file appears whole or not at all.

    Parameters
    ----------
    label : DataArray [y, x; integer label]
    path : str or path
        ``.tif``, ``.png``, ``.zarr``; or ``.zip``, the outlines of its regions for ImageJ.
    overwrite : bool
        Replace what is there.

    Raises
    ------
    EdsError
        When the ending is unknown, or there is something already.
    """
    image_shape(label := checked_labels(label))
    if Path(path).suffix.lower() in ROI_ENDINGS:
        return write_rois(outlines(label), path, overwrite=overwrite)
    label = label.drop_vars([name for name in label.coords if name not in label.dims])
    return write_labels(label.astype(np.uint8), path, overwrite=overwrite)


def _as_labels(values: Any, name: str) -> tuple[Any, int]:
    """Return labels as uint8, and the largest; black and white (0 and 255) are 0 and 1."""
    lowest, most = int(values.min()), int(values.max())
    if lowest < 0 or most > 255:
        raise EdsError(f"{name} holds labels from {lowest} to {most}, expected 0 to 255")
    if most == 255 and int(((values > 0) & (values < 255)).sum()) == 0:
        return (values > 0).astype(np.uint8), 1
    return values.astype(np.uint8), most


def _outlines_block(mask: np.ndarray, corner: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Return the closed paths halfway between the pixels of a region and those about it."""
    from skimage import measure

    contours: Callable[..., Any] = measure.find_contours
    padded = np.pad(mask, 1).astype(np.float32)
    # a contour's coordinates are those of centres of pixels; one pixel of padding comes off
    return tuple(path - 0.5 + np.asarray(corner) for path in contours(padded, 0.5))
