"""Compiled measures of symmetric 2 x 2 tensors, one a pixel: Hessians and structure tensors."""

from __future__ import annotations

import numba
import numpy as np

TWO, HALF = np.float32(2), np.float32(0.5)


@numba.njit(cache=True, nogil=True)
def length(dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Return the length of the gradient."""
    out = np.empty_like(dy)
    for y in range(dy.shape[0]):
        a, b, target = dy[y], dx[y], out[y]
        for x in range(a.size):
            target[x] = np.sqrt(a[x] * a[x] + b[x] * b[x])
    return out


@numba.njit(cache=True, nogil=True)
def eigenvalues(yy: np.ndarray, xy: np.ndarray, xx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the larger and the smaller eigenvalue."""
    large, small = np.empty_like(yy), np.empty_like(yy)
    for y in range(yy.shape[0]):
        a, b, d, first, second = yy[y], xy[y], xx[y], large[y], small[y]
        for x in range(a.size):
            half, off = HALF * (a[x] - d[x]), b[x]
            mean, root = HALF * (a[x] + d[x]), np.sqrt(half * half + off * off)
            first[x], second[x] = mean + root, mean - root
    return large, small


@numba.njit(cache=True, nogil=True)
def hessian_measures(yy: np.ndarray, xy: np.ndarray, xx: np.ndarray, out: np.ndarray) -> None:
    """Set module, trace, determinant, and (6, 7) the differences of eigenvalues ``out[8, y, x]``.

    With ``d = eig1 - eig2``: ``trace**2 * d**2`` and ``d**2``, Lindeberg's edge strengths
    (International Journal of Computer Vision 30 (1998) 117), his factor for the scale being 1 in
    Weka. Its module counts the mixed derivative once: it is not Frobenius' norm.
    """
    for y in range(yy.shape[0]):
        a, b, d = yy[y], xy[y], xx[y]
        module, trace, determinant = out[0, y], out[1, y], out[2, y]
        square, normalized = out[6, y], out[7, y]
        for x in range(a.size):
            off = b[x] * b[x]
            total, difference = a[x] + d[x], a[x] - d[x]
            gap = difference * difference + TWO * TWO * off
            module[x] = np.sqrt(a[x] * a[x] + off + d[x] * d[x])
            trace[x] = total
            determinant[x] = a[x] * d[x] - off
            square[x] = total * total * gap
            normalized[x] = gap
