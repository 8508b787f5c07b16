"""What mixing left of the matrix in the amounts of other phases, found and taken out.

A factorisation may leave a constant share of the matrix in another component, which then seems
present everywhere. Where a phase is certainly absent its share must be 0.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT, PHASE
from eds_xr.segmentation.confident import COUNTS_SMOOTHED, commonest
from eds_xr.segmentation.presence.amounts import (
    MOST_SIGMA,
    Amounts,
    smoothed,
    width_gathering,
)
from eds_xr.segmentation.presence.hosts import LEAST_ENCLOSED, enclosure

#: Less than this ratio to the matrix does no harm.
LEAST_RATIO = 0.02
#: A baseline is a floor: its spread is at most this share of it, and so few pixels lie below.
MOST_SPREAD, MOST_BELOW = 0.33, 0.01
#: What gives this share of the counts is there, when it is asked what lies around the matrix.
THERE = 0.1


def baseline_ratios(windows: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the matrix, and the ratio of every other phase to it where that phase is absent.

    The matrix is the phase of most counts. The ratio is the commonest in pixels that hold as
    much of it as of any other, if it is constant and hardly a pixel lies below; else 0.

    Parameters
    ----------
    windows : ndarray [window, y, x, component; counts]
    """
    matrix = int(windows.reshape(-1, windows.shape[-1]).sum(0).argmax())
    sigma = width_gathering(COUNTS_SMOOTHED, float(windows.sum(-1).mean()), 1.0, MOST_SIGMA)
    maps = smoothed(windows, sigma)
    near = maps.reshape(-1, windows.shape[-1])
    rich = near[(near[:, matrix] > 0) & (near[:, matrix] >= 0.9 * near.max(1))]
    found = np.zeros(windows.shape[-1])
    for c in range(found.size if len(rich) > 1 else 0):
        ratio = rich[:, c] / rich[:, matrix]
        level = commonest(ratio)
        below = level - ratio[ratio < level]
        spread = 1.4826 * float(np.median(below)) if below.size else 0.0
        constant = spread < MOST_SPREAD * abs(level)
        floor = np.mean(ratio < level - 4 * spread - LEAST_RATIO) < MOST_BELOW
        if c != matrix and abs(level) > LEAST_RATIO and constant and floor:
            found[c] = level
    if found.any():
        found[_around(maps, matrix)] = 0.0
    return matrix, found


def _around(maps: np.ndarray, matrix: int) -> np.ndarray:
    """Return which components the matrix lies within ``[component; bool]``."""
    share = maps / np.maximum(maps.sum(-1, keepdims=True), 1e-9)
    inside, size = np.zeros(maps.shape[-1]), 0
    for window in share > THERE:
        present = xr.DataArray(np.moveaxis(window, -1, 0), dims=(PHASE, "y", "x"))
        present = present.assign_coords({PHASE: np.arange(len(inside))})
        pixels = int(window[..., matrix].sum())
        inside += pixels * enclosure(present).values[matrix]
        size += pixels
    found: np.ndarray = inside >= LEAST_ENCLOSED * max(size, 1)
    return found


def without_baseline(amounts: Amounts, matrix: int, ratios: np.ndarray) -> Amounts:
    """Return amounts less `ratios` of the matrix's, which gets them. Lazy.

    As :func:`eds_xr.factorisation.mixing.move_shares` does with scores.
    """
    turn = np.eye(ratios.size)
    turn[matrix] -= ratios
    turn[matrix, matrix] += ratios.sum()
    table = xr.DataArray(turn.astype(np.float32), dims=(COMPONENT, "new"))
    counts = amounts.counts.dot(table, dim=COMPONENT).rename(new=COMPONENT)
    counts = counts.assign_coords(amounts.counts.coords).assign_attrs(amounts.counts.attrs)
    old = np.linalg.inv(turn)
    noise = np.einsum("jk,kpq,pr,qs->jrs", old, amounts.noise, turn, turn, optimize=True)
    return Amounts(counts, noise)
