"""Twelve samples that are not the study's, with their truth: `scene` makes them by name.

Shapes, sizes and places change with the seed, and so do the materials of most. Sizes are in
pixels, so that a larger field holds more of them. What a good result should find and say stands in
the truth. The layouts are in `scene_layouts`.
"""

import numpy as np
import xarray as xr
from support.independent.images import image_of_lengths
from support.independent.scene_layouts import LAYOUTS, Layout

#: A phase is present where it gives more than this share of a pixel's counts.
LEAST_SHARE = 0.1
#: Pixels of a phase below which nobody should be blamed for not finding it.
_LEAST_PIXELS = 20
NAMES = tuple(LAYOUTS)


def scene(
    name: str, dose: float, seed: int, shape: tuple[int, int] = (128, 128)
) -> tuple[xr.DataArray, xr.Dataset]:
    """Return the spectrum image of a sample and its truth.

    Parameters
    ----------
    name : one of `NAMES`
    dose : float
        Mean counts of a pixel of the field.
    shape : (int, int)
        A line scan has the second only.

    Returns
    -------
    image : DataArray ``counts`` [y, x, energy], or [x, energy]
    truth : Dataset
        As of :func:`images.image`, and ``present`` [phase, y, x], where its ``share`` is above
        0.1 in pixels that are not dead. ``expected_found`` [phase]: phases that a result should
        have; ``group`` [phase]: end members of one continuum have the same, else the phase's
        name; ``host`` [phase]: what it lies in or on, "" for none. Attributes: ``must_say``, what
        a result must say ("one phase", "continuum"); ``strays``, elements that are (also) not of
        the sample.
    """
    rng = np.random.default_rng((seed, NAMES.index(name)))
    if name == "line scan":
        shape = (1, shape[1])
    layout = LAYOUTS[name](rng, shape)
    image, truth = image_of_lengths(
        layout.phases, layout.length_nm, dose, seed=seed, drift=layout.drift, dead=layout.dead,
        strays=layout.strays,
    )  # fmt: skip
    truth = _with_expectations(truth, layout)
    return (image.isel(y=0), truth.isel(y=0)) if shape[0] == 1 else (image, truth)


def _with_expectations(truth: xr.Dataset, layout: Layout) -> xr.Dataset:
    names = [str(p) for p in truth.phase.values]
    present = (truth.share > LEAST_SHARE) & ~truth.dead
    group = [next((g for g, of in layout.continua.items() if p in of), p) for p in names]
    there = present.sum([d for d in present.dims if d != "phase"]) >= _LEAST_PIXELS
    return truth.assign(
        present=present,
        expected_found=there,
        group=("phase", group),
        host=("phase", [layout.hosts.get(p, "") for p in names]),
    ).assign_attrs(must_say=list(layout.must_say), strays=list(layout.strays))
