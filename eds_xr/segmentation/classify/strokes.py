"""Painted pixels, and the strokes that they belong to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.schema import EdsError, checked_labels, phase_names, spatial_dims


def painted_pixels(
    scribbles: Sequence[xr.DataArray], phases: tuple[str, ...], limit: int, seed: int
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
    """Return where each image is painted, at most `limit` pixels a phase in all, and labels.

    Labels are those of `phases`, whatever number a phase has in its own image.
    """
    images = [_values(image, phases) for image in scribbles]
    rng, first = np.random.default_rng(seed), np.cumsum([0, *(image.size for image in images)])
    parts = [
        np.concatenate(
            [at + np.flatnonzero(image == i) for at, image in zip(first[:-1], images, strict=True)]
        )
        for i in range(1, len(phases) + 1)
    ]
    painted = [name for name, part in zip(phases, parts, strict=True) if part.size]
    if len(painted) < 2:
        raise EdsError(
            f"{f'only {painted[0]}' if painted else 'nothing'} is painted in the scribbles; a "
            "classifier needs pixels of at least two phases: paint the others, too"
        )
    few = [p if p.size <= limit else rng.choice(p, limit, replace=False) for p in parts]
    chosen = np.sort(np.concatenate(few))
    of_image = np.split(chosen, np.searchsorted(chosen, first[1:-1]))
    places, labels = [], []
    for image, like, at, flat in zip(images, scribbles, first[:-1], of_image, strict=True):
        place = np.unravel_index(flat - at, image.shape)
        places.append(dict(zip(spatial_dims(like), place, strict=True)))
        labels.append(image[place])
    return places, labels


def stroke_numbers(
    scribbles: Sequence[xr.DataArray],
    places: Sequence[dict[str, np.ndarray]],
    labels: Sequence[np.ndarray],
    phases: tuple[str, ...],
) -> np.ndarray:
    """Return which stroke of its phase each pixel of all images belongs to, from 0 on.

    A stroke is a region of pixels of one label that touch by edges or corners.
    """
    from scipy.ndimage import label as connected

    found, before = [], np.zeros(len(phases) + 1, int)
    for like, where, label in zip(scribbles, places, labels, strict=True):
        image = _values(like, phases)
        place = tuple(where[d] for d in spatial_dims(like))
        stroke = np.zeros(label.size, int)
        for i in np.unique(label):
            regions, _ = connected(image == i, structure=np.ones((3,) * image.ndim))
            of_phase = label == i
            number = np.unique(regions[place][of_phase], return_inverse=True)[1]
            stroke[of_phase] = before[i] + number
            before[i] += int(number.max()) + 1
        found.append(stroke)
    return np.concatenate(found)


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


def _values(scribbles: xr.DataArray, phases: tuple[str, ...]) -> np.ndarray:
    """Return the labels of an image, in the numbers of `phases`."""
    values = checked_labels(scribbles).transpose(*spatial_dims(scribbles)).values
    own = phase_names(scribbles)
    if tuple(own) == phases[: len(own)]:
        return values
    number = np.array([0, *(phases.index(name) + 1 for name in own)], np.uint8)
    return number[values]
