"""Compiled: the graph of an expansion, and energies. Imports numba, so import it late.

A pixel reads its neighbours and writes only what is its own, so bands of an image can be built at
the same time. Step ``k`` of the K steps is the opposite of step ``K - 1 - k``; weights are kept
for the first half of them, with the pixel they start from.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from eds_xr.segmentation.graph_cut.max_flow import FREE, NOBODY, SINK, Flow

#: Sides of the blocks in which changes are kept track of.
BLOCK = 8
_compiled = numba.njit(nogil=True, cache=True)
_Int = int | np.integer
_Shape = tuple[int, int, int]


@_compiled
def costs_block(
    values: np.ndarray, costs: np.ndarray, floor: float, step: float
) -> tuple[float, float, float]:
    """Write ``-ln p`` in whole steps; return the least p, the least and the largest sum of p.

    Parameters
    ----------
    values : ndarray of float32 [phase, pixel]
        Probabilities; below `floor` they count as that.
    costs : ndarray of int32 [phase, pixel]
    floor, step : float
    """
    least, lowest, highest = np.inf, np.inf, -np.inf
    for i in range(values.shape[1]):
        total = 0.0
        for phase in range(values.shape[0]):
            p = np.float64(values[phase, i])
            total += p
            least = min(least, p)
            costs[phase, i] = round(-math.log(min(max(p, floor), 1.0)) / step)
        if not math.isfinite(total):
            return np.nan, np.nan, np.nan
        lowest, highest = min(lowest, total), max(highest, total)
    return least, lowest, highest


@_compiled
def build(
    flow: Flow, costs: np.ndarray, weights: np.ndarray, steps: np.ndarray, shape: _Shape,
    labels: np.ndarray, active: np.ndarray, alpha: int, first: int, last: int,
) -> None:  # fmt: skip
    """Write terminals and capacities of pixels `first` to `last`; no edge leads out of them.

    Parameters
    ----------
    active : ndarray of bool [z, y, x; blocks]
        Where pixels may change.
    """
    directions, reach = steps.shape[0], (flow.terminal.size - labels.size) // 2
    _, height, width = shape
    for row in range(first // width, last // width):
        z, y = row // height, row % height
        for x in range(width):
            i = row * width + x
            flow.tree[i + reach], flow.parent[i + reach] = FREE, NOBODY  # not those of last time
            flow.terminal[i + reach] = 0
            flow.capacity[i + reach] = 0
            if labels[i] == alpha or not active[z // BLOCK, y // BLOCK, x // BLOCK]:
                continue
            total: _Int = np.int64(costs[alpha, i]) - costs[labels[i], i]
            for k in range(directions):
                if _inside(steps, k, shape, z, y, x):
                    j = i + flow.offsets[k]
                    held = not _active(active, steps, k, z, y, x)
                    capacity, dearer = _edge(weights, labels, alpha, i, j, k, directions, held)
                    total += dearer
                    if first <= j < last:
                        flow.capacity[i + reach, k] = capacity
            flow.terminal[i + reach] = total


@_compiled
def join(
    flow: Flow, costs: np.ndarray, weights: np.ndarray, steps: np.ndarray, shape: _Shape,
    labels: np.ndarray, active: np.ndarray, alpha: int, bands: _Shape, seam: tuple[int, int],
) -> None:  # fmt: skip
    """Write capacities between two bands (first, middle, last) at the pixels of their seam."""
    first, middle, last = bands
    directions, reach = steps.shape[0], (flow.terminal.size - labels.size) // 2
    _, height, width = shape
    for i in range(*seam):
        row, x = i // width, i % width
        z, y = row // height, row % height
        if labels[i] == alpha or not active[z // BLOCK, y // BLOCK, x // BLOCK]:
            continue
        for k in range(directions):
            j = i + flow.offsets[k]
            across = first <= j < last and (i < middle) != (j < middle)
            if across and _inside(steps, k, shape, z, y, x):
                held = not _active(active, steps, k, z, y, x)
                capacity, _ = _edge(weights, labels, alpha, i, j, k, directions, held)
                flow.capacity[i + reach, k] = capacity


@_compiled
def change(
    flow: Flow, shape: _Shape, labels: np.ndarray, changed: np.ndarray, alpha: int, now: int,
    first: int, last: int,
) -> int:  # fmt: skip
    """Give pixels that reach the sink the label `alpha`; return their number.

    Parameters
    ----------
    changed : ndarray of int32 [z, y, x; blocks]
        When a pixel of the block last changed.
    """
    reach, number = (flow.terminal.size - labels.size) // 2, 0
    _, height, width = shape
    for i in range(first, last):
        if flow.tree[i + reach] == SINK:
            labels[i] = alpha
            number += 1
            row = i // width
            changed[row // height // BLOCK, row % height // BLOCK, i % width // BLOCK] = now
    return number


@_compiled
def energy_block(
    costs: np.ndarray, labels: np.ndarray, weights: np.ndarray, steps: np.ndarray, shape: _Shape,
    bounds: np.ndarray,
) -> _Int:  # fmt: skip
    """Return the costs of pixels within bounds [axis, 2], and of the pairs that start there."""
    _, height, width = shape
    varied = weights.shape[0] > 1
    total: _Int = np.int64(0)
    for z in range(bounds[0, 0], bounds[0, 1]):
        for y in range(bounds[1, 0], bounds[1, 1]):
            for x in range(bounds[2, 0], bounds[2, 1]):
                i = (z * height + y) * width + x
                total += costs[labels[i], i]
                for k in range(steps.shape[0]):
                    if _inside(steps, k, shape, z, y, x):
                        j = i + (steps[k, 0] * height + steps[k, 1]) * width + steps[k, 2]
                        if labels[i] != labels[j]:
                            total += weights[i if varied else 0, k]
    return total


@_compiled
def _inside(steps: np.ndarray, k: _Int, shape: _Shape, z: _Int, y: _Int, x: _Int) -> bool:
    """Return whether there is a pixel at the end of a step."""
    return (
        0 <= x + steps[k, 2] < shape[2]
        and 0 <= y + steps[k, 1] < shape[1]
        and 0 <= z + steps[k, 0] < shape[0]
    )


@_compiled
def _active(active: np.ndarray, steps: np.ndarray, k: _Int, z: _Int, y: _Int, x: _Int) -> bool:
    """Return whether the pixel at the end of a step may change."""
    return active[
        (z + steps[k, 0]) // BLOCK, (y + steps[k, 1]) // BLOCK, (x + steps[k, 2]) // BLOCK
    ]


@_compiled
def _edge(
    weights: np.ndarray, labels: np.ndarray, alpha: int, i: _Int, j: _Int, k: _Int,
    directions: int, held: bool,
) -> tuple[_Int, _Int]:  # fmt: skip
    """Return the capacity between two pixels, and how much dearer it is for `i` to change."""
    forward = k < directions // 2
    owner = (i if forward else j) if weights.shape[0] > 1 else 0
    weight = np.int64(weights[owner, k if forward else directions - 1 - k])
    if labels[j] == alpha:
        return np.int64(0), -weight
    if held:
        return np.int64(0), weight if labels[j] == labels[i] else np.int64(0)
    if labels[j] == labels[i]:
        return weight, np.int64(0)
    return weight // 2, -(weight // 2)
