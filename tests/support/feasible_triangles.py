"""All triangles that explain counts of three components: brute force over the angles of sides.

In the plane of compositions the three phases are the corners of a triangle about all pixels (within
noise), with no corner outside the area where spectra are not negative (within noise). If any
triangle has a certain corner, then one has whose three sides touch the pixels; so three angles tell
each triangle (O. S. Borgen and B. R. Kowalski, Anal. Chim. Acta 174 (1985) 1). Here all angles of a
dense grid are tried: no programme looks for anything.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import label

Rows = tuple[np.ndarray, np.ndarray]  # values [row, 3], covariances [row, 3, 3]


class Corners(NamedTuple):
    """The corners of all triangles that are allowed, and which of them hang together."""

    place: np.ndarray  # [angle, angle, 3]: the mixture of the three spectra
    allowed: np.ndarray  # [angle, angle]
    region: np.ndarray  # [angle, angle]: 0 where none is allowed

    def of(self, start: np.ndarray) -> np.ndarray:
        """Return the corners [corner, 3] that hang together with the one nearest to a start."""
        away = np.where(self.allowed, ((self.place - start) ** 2).sum(-1), np.inf)
        same = self.region == self.region.flat[away.argmin()]
        return self.place[same & self.allowed]


def corners(pixels: Rows, spectra: Rows, sigma: float, angles: int = 720) -> Corners:
    """Return the corners of all triangles, with sides at so many angles.

    Three times: the second and third time all angles lie where sides were found before.
    """
    outward = _plane(pixels)
    tried = 2 * np.pi * np.arange(angles) / angles
    for _ in range(2):
        found = _corners(tried, outward, pixels, spectra, sigma)
        used = found.allowed.any(0) | found.allowed.any(1)
        if not used.any():
            tried = np.sort(np.concatenate([tried, tried + np.pi / len(tried)]))
            continue
        near = used | np.roll(used, 1) | np.roll(used, -1)
        step = np.diff(np.append(tried, tried[0] + 2 * np.pi))
        each = max(1, angles // int(near.sum()))
        part = np.arange(each) / each
        tried = np.sort((tried[near, None] + step[near, None] * part).ravel())
    return _corners(tried, outward, pixels, spectra, sigma)


def _corners(
    angle: np.ndarray, outward: np.ndarray, pixels: Rows, spectra: Rows, sigma: float
) -> Corners:
    sides = _touching(angle, outward, pixels, sigma)
    place = np.cross(sides[:, None], sides[None, :])
    if np.linalg.det(np.column_stack([np.ones(3), outward])) < 0:
        place = -place  # angles go round the other way
    ahead = (angle[None, :] - angle[:, None]) % (2 * np.pi)
    inside = (ahead > 0) & (ahead < np.pi) & (place.sum(-1) > 1e-12)
    place = place / np.where(inside, place.sum(-1), 1.0)[..., None]
    inside[inside] &= _none_negative(place[inside], spectra, sigma)
    table = inside.astype(np.float32)
    allowed = inside & ((table @ table).T > 0)
    return Corners(place, allowed, _regions(allowed))


def _plane(pixels: Rows) -> np.ndarray:
    """Return two directions in which pixels vary [3, 2]: zero at their middle, where ones are 1."""
    values, _ = pixels
    total = values.sum(1, keepdims=True)
    middle = values.sum(0) / values.sum()
    spread = np.cov((values / total).T, aweights=total[:, 0])
    across = np.linalg.eigh(spread)[1][:, 1:]
    across = across / np.sqrt(np.diag(across.T @ spread @ across))
    return across - np.outer(np.ones(3), middle @ across)


def _touching(angle: np.ndarray, outward: np.ndarray, pixels: Rows, sigma: float) -> np.ndarray:
    """Return the sides that touch the pixels [angle, 3]: positive on the pixels' side."""
    away = np.cos(angle)[:, None] * outward[:, 0] + np.sin(angle)[:, None] * outward[:, 1]
    low, high = np.zeros(len(angle)), np.full(len(angle), 1e4)
    for _ in range(60):
        try_at = (low + high) / 2
        good = _none_negative(1.0 + try_at[:, None] * away, pixels, sigma)
        low, high = np.where(good, try_at, low), np.where(good, high, try_at)
    return 1.0 + low[:, None] * away


def _none_negative(points: np.ndarray, rows: Rows, sigma: float) -> np.ndarray:
    """Return for which points [point, 3] no row is below zero by more than noise."""
    values, covariance = rows
    good = np.ones(len(points), bool)
    for value, spread in zip(values, covariance, strict=True):
        at = points[good]
        noise = np.sqrt(np.maximum(((at @ spread) * at).sum(1), 0))
        good[good] = at @ value + sigma * noise >= 0
    return good


def _regions(allowed: np.ndarray) -> np.ndarray:
    """Return the number of the region of each corner; angles close on themselves."""
    size = len(allowed)
    found, number = label(np.tile(allowed, (2, 2)), np.ones((3, 3)))
    parent = np.arange(number + 1)

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    tiles = [found[a : a + size, b : b + size] for a in (0, size) for b in (0, size)]
    pairs = np.unique(np.stack([t[allowed] for t in tiles]), axis=1)
    for one, *others in pairs.T:
        for other in others:
            parent[root(int(other))] = root(int(one))
    roots = np.array([root(i) for i in range(number + 1)])
    return roots[tiles[0]]
