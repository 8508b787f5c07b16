"""Layouts without a matrix: layers, lamellae, mosaics, gradients.

Each gives shares of the thickness [part, y, x] that add up to 1. A boundary is inclined to the
beam: across `slant_px` pixels both of its sides lie along it.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d, uniform_filter


def layers(
    shape: tuple[int, int],
    thickness_px: Sequence[float],
    rng: np.random.Generator,
    *,
    slant_px: float = 2.0,
    roughness_px: float = 1.0,
) -> np.ndarray:
    """Return layers from the top down; the last fills what is left. Their boundaries are rough."""
    y = np.arange(shape[0])[:, None] + 0.5
    below = [np.ones(shape)]
    for place in np.cumsum(thickness_px[:-1]):
        rough = gaussian_filter1d(rng.normal(size=shape[1]), 6, mode="wrap")
        rough *= roughness_px / max(rough.std(), 1e-9)
        below.append(np.clip((y - place - rough) / slant_px + 0.5, 0, 1))
    below.append(np.zeros(shape))
    return _parts(np.array(below))


def lamellae(
    shape: tuple[int, int],
    period_px: float,
    share: float,
    rng: np.random.Generator,
    *,
    slant_px: float = 2.0,
) -> np.ndarray:
    """Return bent lamellae of two parts in turn, the second `share` of the period."""
    y, x = np.indices(shape) + 0.5
    angle = rng.uniform(0, np.pi)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    bend = 0.25 * period_px * np.sin(2 * np.pi * across / rng.uniform(0.6, 1.2) / max(shape))
    place = np.mod((along + bend) / period_px + rng.uniform(), 1.0)
    from_middle = np.abs(place - 0.5) * period_px
    second = np.clip((share * period_px / 2 - from_middle) / slant_px + 0.5, 0, 1)
    return np.stack([1 - second, second])


def mosaic(
    shape: tuple[int, int],
    n_grains: int,
    shares: Sequence[float],
    rng: np.random.Generator,
    *,
    slant_px: int = 2,
) -> np.ndarray:
    """Return grains side by side, each of a part drawn by its share: the cells of random points."""
    points = rng.uniform(0, 1, (n_grains, 2)) * shape
    part = rng.choice(len(shares), n_grains, p=np.asarray(shares) / np.sum(shares))
    y, x = np.indices(shape) + 0.5
    nearest, least = np.zeros(shape, int), np.full(shape, np.inf)
    for i, (row, column) in enumerate(points):
        far = (y - row) ** 2 + (x - column) ** 2
        nearest = np.where(far < least, i, nearest)
        least = np.minimum(far, least)
    whole = (part[nearest] == np.arange(len(shares))[:, None, None]).astype(float)
    mixed = [uniform_filter(one, slant_px, mode="nearest") for one in whole]
    return np.clip(np.stack(mixed), 0, 1)


def gradient(shape: tuple[int, int], ends: tuple[float, float], *, axis: int = 0) -> np.ndarray:
    """Return two parts of which the second goes evenly from one share to another along an axis."""
    second = np.linspace(*ends, shape[axis])
    second = np.broadcast_to(second[:, None] if axis == 0 else second, shape)
    return np.stack([1 - second, second])


def _parts(below: np.ndarray) -> np.ndarray:
    """Return what lies above one boundary and below the one before it; boundaries never cross."""
    return -np.diff(np.minimum.accumulate(below), axis=0)
