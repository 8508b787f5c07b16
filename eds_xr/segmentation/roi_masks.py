"""Masks of regions, one for each phase that they mark."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.provenance import with_step
from eds_xr.schema import PHASE, EdsError, spatial_coords, spatial_dims
from eds_xr.segmentation.imagej_files import read_rois
from eds_xr.segmentation.rois import ERASER, Roi, add_pixels, image_shape, phases_of


def from_rois(image: xr.DataArray, rois: Sequence[Roi] | str | os.PathLike[str]) -> xr.DataArray:
    """Return the mask of the regions of every phase.

    Computes: the masks, in memory.

    Parameters
    ----------
    image : DataArray [y, x, ...]
        On which the regions were drawn: its grid is taken.
    rois : sequence of Roi, or path
        From :mod:`eds_xr.scribbles`, or a file of ImageJ (``.roi``, ``.zip``). What regions of one
        phase hold together is its mask; masks of several phases may overlap.

    Returns
    -------
    DataArray [phase, y, x; bool]

    Raises
    ------
    EdsError
        When there are no regions, the file is damaged, or a phase has no pixel inside the image.
    """
    drawn = read_rois(rois) if isinstance(rois, str | os.PathLike) else list(rois)
    phases, shape = phases_of(drawn), image_shape(image)
    if not phases:
        raise EdsError("no regions: draw at least one, e.g. with eds_xr.scribbles.rectangle")
    values = np.zeros((len(phases), *shape), bool)
    for roi in drawn:
        if roi.phase == ERASER:
            raise EdsError("masks have no erasers: paint the regions with eds_xr.scribbles.paint")
        add_pixels(roi, values[phases.index(roi.phase)])
    for phase, mask in zip(phases, values, strict=True):
        if not mask.any():
            raise EdsError(
                f"the regions of {phase!r} hold no pixel of the image of {shape[0]} x {shape[1]}; "
                "they were drawn on an image of another size, or are smaller than a pixel"
            )
    return xr.DataArray(
        values,
        dims=(PHASE, *spatial_dims(image)),
        coords={PHASE: phases, **spatial_coords(image)},
        name="mask",
        attrs={"long_name": "phase mask", **with_step({}, "from_rois", n_rois=len(drawn))},
    )
