"""Graph cut: the labels that are most probable given that neighbours tend to agree.

label = smooth(probability, smoothness=1.0)
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import xarray as xr

from eds_xr.provenance import with_step
from eds_xr.schema import PHASE, EdsError, label_array

#: Probabilities are taken to be no nearer to 0 than this: no pixel outweighs all neighbours.
MIN_PROBABILITY = 1e-6
#: Costs are rounded to this fraction: whole numbers make cuts exact and the same everywhere.
COST_STEP = 1e-5
MAX_CYCLES = 10


def smooth(
    probability: xr.DataArray, *, smoothness: float = 1.0, neighbours: int = 8
) -> xr.DataArray:
    """Return the labels L that minimise the energy of a Potts model.

    ``E = sum_i -ln p_i(L_i) + smoothness * sum_(i~j) [L_i != L_j] / |i - j|``, every pair of
    neighbours once. For two phases the minimum is exact (one minimum cut); for more it is found
    by alpha expansion, within a factor of two of the minimum and in practice far nearer.

    Computes: the whole image at once, so probabilities and a graph of about 600 bytes a pixel
    must fit in memory.

    Parameters
    ----------
    probability : DataArray [phase, y, x]
        Sums to 1 over ``phase``; values below 1e-6 count as 1e-6. A line scan has neighbours
        along the line; images along a leading dimension (frame) are smoothed one by one.
    smoothness : float
        Cost of a unit length of border; 0 gives the most probable phase of each pixel.
    neighbours : {8, 4}
        In the plane, with or without diagonals (|i - j| is 1 or the root of 2).

    Returns
    -------
    DataArray [y, x; uint8 label]
        With the names of ``phase``; attribute ``energy`` is E.

    Raises
    ------
    EdsError
        When the probabilities are none, or `smoothness` or `neighbours` cannot be used.

    References
    ----------
    Boykov, Veksler & Zabih, IEEE Trans. Pattern Anal. Mach. Intell. 23 (2001) 1222,
    doi:10.1109/34.969114; Boykov & Kolmogorov, ibid. 26 (2004) 1124, doi:10.1109/TPAMI.2004.60.
    """
    _check_options(smoothness, neighbours)
    _check_form(probability)
    probability = probability.transpose(PHASE, ...)
    values = np.asarray(probability.values)
    _check_values(values)
    pairs = _pairs(values.shape[1:], smoothness, neighbours)
    label, energy = _minimise(_costs(values), pairs)
    phases = _names(probability)
    result = label_array(
        (label + 1).astype(np.uint8).reshape(values.shape[1:]), probability, phases
    )
    step = {"smoothness": smoothness, "neighbours": neighbours}
    result.attrs |= with_step(
        {"history": probability.attrs.get("history", [])}, "graph_cut", **step
    )
    result.attrs["energy"] = energy * COST_STEP
    return result


def _check_options(smoothness: float, neighbours: int) -> None:
    if not 0 <= smoothness < 1000:
        raise EdsError(f"smoothness must be 0 to 1000 (1 is usual), found {smoothness}")
    if neighbours not in (4, 8):
        raise EdsError(f"neighbours must be 4 or 8, found {neighbours}")


def _check_form(probability: xr.DataArray) -> None:
    if not isinstance(probability, xr.DataArray) or PHASE not in probability.dims:
        found = getattr(probability, "dims", type(probability).__name__)
        raise EdsError(
            f"expected probabilities with a dimension 'phase', found {found}; make them with "
            "eds_xr.classify.predict"
        )
    if probability.ndim < 2 or probability.size == 0:
        raise EdsError(f"no pixels to label, found {dict(probability.sizes)}")
    if not 2 <= probability.sizes[PHASE] <= 255:
        raise EdsError(f"expected 2 to 255 phases, found {probability.sizes[PHASE]}")


def _check_values(values: np.ndarray) -> None:
    if not np.isfinite(values).all() or values.min() < -1e-6:
        raise EdsError("probabilities must be 0 to 1, found NaN, infinite or negative values")
    total = values.sum(axis=0, dtype=float)
    if abs(total - 1).max() > 1e-3:
        raise EdsError(
            f"probabilities must sum to 1 over 'phase', found sums of {total.min():.4g} to "
            f"{total.max():.4g}; divide by p.sum('phase') where that is meant"
        )


def _names(probability: xr.DataArray) -> list[str]:
    if PHASE in probability.coords:
        return [str(name) for name in probability[PHASE].values]
    return [f"phase_{i + 1}" for i in range(probability.sizes[PHASE])]


class _Pairs(list[tuple[np.ndarray, np.ndarray, int]]):
    """Neighbours, a direction at a time: first pixels, second pixels, cost of disagreeing."""


def _costs(values: np.ndarray) -> np.ndarray:
    """Return -ln p in whole steps, ``(phase, pixel)``."""
    p = np.clip(values.reshape(values.shape[0], -1).astype(float), MIN_PROBABILITY, 1.0)
    return np.rint(-np.log(p) / COST_STEP).astype(np.int64)


def _pairs(shape: tuple[int, ...], smoothness: float, neighbours: int) -> _Pairs:
    """Return all pairs of neighbours in the last two (or the only) dimensions."""
    index = np.arange(math.prod(shape)).reshape(shape if len(shape) > 1 else (1, *shape))
    steps = [(0, 1), (1, 0)] if neighbours == 4 else [(0, 1), (1, 0), (1, 1), (1, -1)]
    result = _Pairs()
    for down, right in steps:
        height, width = index.shape[-2] - down, index.shape[-1] - abs(right)
        left, shifted = max(0, -right), max(0, right)
        first = index[..., :height, left : left + width]
        second = index[..., down : down + height, shifted : shifted + width]
        cost = round(smoothness / math.hypot(down, right) / COST_STEP)
        if cost and first.size:
            result.append((first.ravel(), second.ravel(), cost))
    return result


def _minimise(costs: np.ndarray, pairs: _Pairs) -> tuple[np.ndarray, int]:
    """Return labels (from 0) and energy. From all-0, one expansion of 1 is the exact minimum."""
    best = costs.argmin(axis=0)
    if not pairs:
        return best, _energy(costs, pairs, best)
    if len(costs) == 2:
        label = _expand(costs, pairs, np.zeros_like(best), 1)
        return label, _energy(costs, pairs, label)
    energy, unimproved = _energy(costs, pairs, best), 0
    for alpha in itertools.chain.from_iterable(itertools.repeat(range(len(costs)), MAX_CYCLES)):
        label = _expand(costs, pairs, best, alpha)
        found = _energy(costs, pairs, label)
        unimproved = 0 if found < energy else unimproved + 1
        if found < energy:
            best, energy = label, found
        if unimproved == len(costs):
            break
    return best, energy


def _energy(costs: np.ndarray, pairs: _Pairs, label: np.ndarray) -> int:
    single = int(np.take_along_axis(costs, label[None], axis=0).sum())
    return single + sum(cost * int((label[i] != label[j]).sum()) for i, j, cost in pairs)


def _expand(costs: np.ndarray, pairs: _Pairs, label: np.ndarray, alpha: int) -> np.ndarray:
    """Let any set of pixels change to `alpha`: the best set is a minimum cut.

    With x = 1 for "changes", a pair costs A, B, C, D for (x_i, x_j) = 00, 01, 10, 11. That is
    A + (C - A) x_i + (D - C) x_j + (B + C - A - D) (1 - x_i) x_j (Kolmogorov & Zabih, IEEE
    Trans. Pattern Anal. Mach. Intell. 26 (2004) 147, doi:10.1109/TPAMI.2004.1262177).
    """
    import maxflow

    change = costs[alpha] - np.take_along_axis(costs, label[None], axis=0)[0]
    graph = maxflow.GraphInt(label.size, sum(i.size for i, _, _ in pairs))
    nodes = graph.add_grid_nodes(label.size)
    for i, j, cost in pairs:
        a = cost * (label[i] != label[j])
        b, c = cost * (label[i] != alpha), cost * (label[j] != alpha)
        change[i] += c - a  # no pixel twice in one direction
        change[j] -= c
        edge = b + c - a
        graph.add_edges(i, j, edge, np.zeros_like(edge))
    graph.add_grid_tedges(nodes, np.maximum(change, 0), np.maximum(-change, 0))
    graph.maxflow()
    return np.where(graph.get_grid_segments(nodes), alpha, label)
