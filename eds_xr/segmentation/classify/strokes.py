"""Painted pixels, and the strokes that they belong to."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.schema import EdsError, checked_labels, spatial_dims


def painted_pixels(
    scribbles: xr.DataArray, phases: tuple[str, ...], limit: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the positions of painted pixels, at most `limit` a phase, and their labels."""
    dims = spatial_dims(scribbles)
    image = checked_labels(scribbles).transpose(*dims).values
    flat, rng = image.ravel(), np.random.default_rng(seed)
    parts = [np.flatnonzero(flat == i) for i in range(1, len(phases) + 1)]
    painted = [name for name, part in zip(phases, parts, strict=True) if part.size]
    if len(painted) < 2:
        raise EdsError(
            f"{f'only {painted[0]}' if painted else 'nothing'} is painted in the scribbles; a "
            "classifier needs pixels of at least two phases: paint the others, too"
        )
    few = [p if p.size <= limit else rng.choice(p, limit, replace=False) for p in parts]
    chosen = np.sort(np.concatenate(few))
    return dict(zip(dims, np.unravel_index(chosen, image.shape), strict=True)), flat[chosen]


def stroke_numbers(
    scribbles: xr.DataArray, where: dict[str, np.ndarray], label: np.ndarray
) -> np.ndarray:
    """Return which stroke of its phase each pixel belongs to, from 0 on.

    A stroke is a region of pixels of one label that touch by edges or corners.
    """
    from scipy.ndimage import label as connected

    dims = spatial_dims(scribbles)
    image = np.asarray(scribbles.transpose(*dims).values)
    place = tuple(where[d] for d in dims)
    stroke = np.zeros(label.size, int)
    for i in np.unique(label):
        regions, _ = connected(image == i, structure=np.ones((3,) * image.ndim))
        of_phase = label == i
        stroke[of_phase] = np.unique(regions[place][of_phase], return_inverse=True)[1]
    return stroke


def stroke_folds(label: np.ndarray, stroke: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold in which each pixel is tested: strokes stay whole, folds have all phases."""
    from sklearn.model_selection import GroupKFold

    fold = np.zeros(label.size, int)
    for i in np.unique(label):
        pixels = np.flatnonzero(label == i)
        split = GroupKFold(folds).split(pixels, groups=stroke[pixels])
        for k, (_, tested) in enumerate(split):
            fold[pixels[tested]] = k
    return fold
