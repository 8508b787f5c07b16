"""Where the pixels along a ray from the matrix end, and whether they pile up there.

Pixels in which a phase is as thick as the foil all have the same composition; pixels in which it
lies over or under matrix spread evenly from none of it to the most. The shares of the phase are
described as a sum of four densities, each blurred by the noise of its pixels,

    matrix alone, an even spread up to the end (boundaries), one that grows with the share (the
    round back of a grain within the matrix), and a pile at the end,

whose weights follow from the shares by expectation and maximisation (Dempster et al. 1977, J. R.
Stat. Soc. B 39, 1), and whose end is the likeliest. A single flat grain piles up, too, wherever it
lies in the foil: only three grains that agree, or a large one, tell a phase that is pure; or a
single one that is flat nearly up to its rim and would be a thin slice of the foil otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: A pile holds at least this part of the pixels that are not matrix alone: of phases as thick as
#: the foil it holds 0.3 to 1, of grains within the matrix at most 0.13.
LEAST_PILE = 0.2
#: A pile raises the logarithm of the likelihood at least by this, and by so much for each pixel
#: that is not matrix alone: of many pixels, round grains are a little like a pile, too (0.02;
#: lamellae of few pixels 0.05, other piles 1).
LEAST_GAIN, LEAST_GAIN_EACH = 8.0, 0.04
#: A pile is as wide as noise and this part of the share: thickness, absorption.
PILE_WIDTH = 0.03
#: A fraction of pixels that may lie anywhere.
OUTLIERS = 0.01
#: A pile lies in more places than this, counted by size: two grains may agree by chance.
PLACES = 2.2
#: Or it holds this part of all pixels, or spans the image.
LARGE = 0.12
#: Or one grain of this part of all pixels holds the pile, and the pile this part of what is rich,
#: and the phase would fill less than this part of the foil otherwise.
LARGE_AND_FLAT, FLAT, THIN = 0.025, 0.6, 0.4
#: Ends tried, rounds, and classes of shares a standard deviation of the noise.
ENDS_TRIED, ROUNDS, CLASSES = 64, 60, 3.0


class RayEnd(NamedTuple):
    """Where pixels end."""

    share: float  # of the component that the ray's end was given as
    piled: bool  # pixels pile up there: the phase is somewhere pure
    log_likelihood: float


class Grid(NamedTuple):
    """Where pixels lie in their image."""

    places: np.ndarray  # flat indices [pixel]
    shape: Sequence[int]


def ray_end(shares: np.ndarray, noise: np.ndarray, most: float) -> RayEnd:
    """Return where shares end.

    Parameters
    ----------
    shares, noise : ndarray [pixel]
        Share of a component, next to zero in pixels of pure matrix, and its standard deviation.
    most : float
        Ends are sought up to this share.
    """
    share, sigma, number = _classes(shares, noise)
    ends = np.linspace(0, most, ENDS_TRIED + 1)[2:]
    with_pile, weights = _fitted(share, sigma, number, ends, pile=True)
    without, _ = _fitted(share, sigma, number, ends, pile=False)
    best = int(with_pile.argmax())
    rich = weights[best, 1:4].sum()
    gain = max(LEAST_GAIN, LEAST_GAIN_EACH * rich * len(shares))
    piled = weights[best, 3] > LEAST_PILE * rich and with_pile[best] - without.max() > gain
    return RayEnd(float(ends[best]), bool(piled), float(with_pile[best]))


def lies_in_several_places(chosen: np.ndarray, grid: Grid) -> bool:
    """Return whether pixels lie apart from each other, are many, or span the image.

    Parameters
    ----------
    chosen : ndarray of bool [pixel]
    grid : Grid
        Of all pixels, which may be thinned.
    """
    from scipy.ndimage import find_objects, label

    if np.count_nonzero(chosen) > LARGE * chosen.size:
        return True
    side = -(-math.prod(grid.shape) // len(chosen))  # of cells that hold a pixel each, if thinned
    index = [i // side for i in np.unravel_index(grid.places, tuple(grid.shape))]
    held = np.zeros([-(-n // side) for n in grid.shape])
    np.add.at(held, tuple(index), np.where(chosen, 1.0, -1.0))
    regions, number = label(held > 0, np.ones([3] * held.ndim))
    if any(
        box.stop - box.start > 0.9 * n > 2
        for boxes in find_objects(regions)
        for box, n in zip(boxes, held.shape, strict=True)
    ):
        return True
    size = np.bincount(regions.ravel())[1:].astype(float)
    return bool(number and size.sum() ** 2 > PLACES * (size**2).sum())


def is_one_flat_grain(chosen: np.ndarray, rich: np.ndarray, end: float) -> bool:
    """Return whether a pile is one grain that reaches through the foil rather than a slice of it.

    Grains within the matrix are round; one that is flat almost up to its rim, and yet takes up
    but part of the thickness everywhere, is less likely than one as thick as the foil. If it took
    up most of it, its component would be nearly right either way.

    Parameters
    ----------
    chosen, rich : ndarray of bool [pixel]
        In the pile, and with more than half of the share there.
    end : float
        Where shares pile up, 1 for the component that the spectrum allows.
    """
    number, fills = np.count_nonzero(chosen), np.count_nonzero(rich)
    return bool(end < THIN and number > LARGE_AND_FLAT * chosen.size and number > FLAT * fills)


def _classes(shares: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean share, noise and number of pixels in narrow classes of the share."""
    step = float(np.median(noise)) / CLASSES
    _, of = np.unique(np.floor(shares / step), return_inverse=True)
    number = np.bincount(of).astype(float)
    mean = np.bincount(of, shares) / number
    return mean, np.sqrt(np.bincount(of, noise**2) / number), number


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _fitted(
    share: np.ndarray, sigma: np.ndarray, number: np.ndarray, ends: np.ndarray, *, pile: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return log-likelihood [end] and weights of the densities [end, density]."""
    density = _densities(share, sigma, ends)
    weights = np.tile([0.6, 0.1, 0.1, 0.19 * pile, OUTLIERS], (len(ends), 1))
    for _ in range(ROUNDS):
        total = np.einsum("edc,ed->ec", density, weights)
        weights *= np.einsum("edc,ec->ed", density, number / total) / number.sum()
        weights[:, -1] = np.minimum(weights[:, -1], OUTLIERS)
        weights /= weights.sum(1, keepdims=True)
    total = np.einsum("edc,ed->ec", density, weights)
    return np.log(total) @ number, weights


def _densities(share: np.ndarray, sigma: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the densities of shares [end, density, share]: as listed above, and outliers."""
    from scipy.special import ndtr

    end = ends[:, None]
    before, after = share / sigma, (share - end) / sigma
    wide = np.hypot(sigma, PILE_WIDTH * end)
    within = ndtr(before) - ndtr(after)
    spread = share * within + sigma * (_normal(before) - _normal(after))
    matrix = np.broadcast_to(_normal(before) / sigma, after.shape)
    pile = _normal((share - end) / wide) / wide
    outliers = np.full_like(after, 0.5)
    made = np.stack([matrix, within / end, 2 * spread / end**2, pile, outliers], axis=1)
    return np.maximum(made, 1e-30)


def _normal(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
