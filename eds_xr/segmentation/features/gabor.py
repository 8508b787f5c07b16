"""Gabor filters: waves under a Gaussian, in several directions.

A kernel is applied as a sum of products of two lines (its singular vectors), or weight by weight,
whichever takes fewer multiplications.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from eds_xr.segmentation.features import convolve
from eds_xr.segmentation.features.catalogue import DIRECTIONS

#: Singular values of a kernel below this, relative to the first, are left out.
LEAST_SINGULAR_VALUE = 1e-4
#: Weights of a kernel below this, relative to the largest, are left out.
LEAST_WEIGHT = 1e-5


class Filter(NamedTuple):
    """A kernel of side ``2 half + 1`` as pairs of lines (along y, along x), or as weights."""

    half: int
    lines: tuple[tuple[np.ndarray, np.ndarray], ...]
    dy: np.ndarray
    dx: np.ndarray
    weight: np.ndarray


@lru_cache(maxsize=32)
def filters(sigma: float, gamma: float, quarters: int, frequency: int) -> tuple[Filter, ...]:
    """Return the filters of all directions; see :func:`kernels`."""
    return tuple(_factorised(kernel) for kernel in kernels(sigma, gamma, quarters, frequency))


def kernels(sigma: float, gamma: float, quarters: int, frequency: int) -> list[np.ndarray]:
    """Return waves under a Gaussian of widths `sigma` and ``sigma / gamma``, a direction each.

    `frequency` periods fit the kernel's side; the phase is `quarters` of a half turn.
    """
    across, along = sigma, sigma / gamma
    half = 3 * max(1, int(max(across, along)))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    made = []
    for i in range(DIRECTIONS):
        angle = math.pi * i / DIRECTIONS
        u = x * math.cos(angle) + y * math.sin(angle)
        v = y * math.cos(angle) - x * math.sin(angle)
        envelope = np.exp(-0.5 * ((u / across) ** 2 + (v / along) ** 2))
        wave = np.cos(2 * math.pi * frequency * u / (2 * half + 1) + quarters * math.pi / 2)
        made.append(envelope * wave / (2 * math.pi * across * along))
    return made


def correlated(image: np.ndarray, one: Filter) -> np.ndarray:
    """Correlate with a filter; smaller by half of it on every side."""
    if not one.lines:
        return convolve.taps(image, one.dy, one.dx, one.weight, one.half)
    total = convolve.separable(image, *one.lines[0])
    for pair in one.lines[1:]:
        total += convolve.separable(image, *pair)
    return total


def _factorised(kernel: np.ndarray) -> Filter:
    half = kernel.shape[0] // 2
    u, s, v = np.linalg.svd(kernel)
    terms = range(int((s > LEAST_SINGULAR_VALUE * s[0]).sum()))
    dy, dx = np.nonzero(np.abs(kernel) > LEAST_WEIGHT * np.abs(kernel).max())
    lines = tuple((_single(u[:, i] * s[i], s[0]), _single(v[i], 1)) for i in terms)
    if dy.size < 2 * len(terms) * kernel.shape[0]:
        lines = ()
    return Filter(half, lines, dy - half, dx - half, kernel[dy, dx].astype(np.float32))


def _single(weights: np.ndarray, largest: float) -> np.ndarray:
    """Return float32 weights; tiny ones are zero, as arithmetic on denormal numbers is slow."""
    return np.where(np.abs(weights) < 1e-8 * largest, 0, weights).astype(np.float32)
