"""Windows that are no chance, joined to regions, and what these have too much or too little of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eds_xr.analysis.strangers import windows
from eds_xr.analysis.strangers.chance import log_chance
from eds_xr.analysis.strangers.naming import Named, named
from eds_xr.analysis.strangers.responses import Responses
from eds_xr.analysis.strangers.search import Windows

#: Pixels between windows that belong together.
GAP = 1.5


class Region(NamedTuple):
    """A stranger: its windows, the strongest first, and what is found there.

    Attributes
    ----------
    windows : ndarray of int
        Numbers among all windows.
    log_p, q : float
        Chance of the strongest window, and the false discovery rate down to it.
    elements : list of Named
        What they have too much or too little of, the most significant first.
    amounts : ndarray [phase; counts]
    """

    windows: np.ndarray
    log_p: float
    q: float
    elements: list[Named]
    amounts: np.ndarray


def without_doubles(found: Windows) -> Windows:
    """Return windows without those that overlap a more significant one of another tile."""
    order = np.argsort(-found.score, kind="stable")
    sorted_ = Windows(*(values[order] for values in found))
    radius = np.array(windows.RADII)[sorted_.disc]
    keep = np.ones(len(order), bool)
    for i, near in enumerate(_near(sorted_, radius, gap=-0.5)):
        # of one tile, what overlaps has pixels of its own
        whole = sorted_.pixels >= np.array([windows.n_pixels(r) for r in radius])
        later = [j for j in near if j > i and whole[j] and whole[i] and keep[i]]
        keep[later] = False
    return Windows(*(values[keep] for values in sorted_))


def log_chances(found: Windows, responses: Responses) -> np.ndarray:
    """Return the logarithm of each window's chance."""
    log_p = np.zeros(len(found.family))
    for f in np.unique(found.family):
        of = np.flatnonzero(found.family == f)
        sums = found.sums[of, f] / found.spread[of]
        log_p[of] = log_chance(sums, found.amounts[of], responses.spectra, responses.weights[:, f])
    return log_p


def regions_of(found: Windows, responses: Responses, tests: float, fdr: float) -> list[Region]:
    """Return the regions among which false ones are at most a share `fdr`, on average.

    Of all `tests` (pixels, discs, families) at most ``tests * p`` have a chance of at most p where
    nothing is, however they depend on each other; windows that touch are one discovery (Y.
    Benjamini and Y. Hochberg, J. R. Stat. Soc. B 57 (1995) 289).
    """
    log_p = log_chances(found, responses)
    order = np.argsort(log_p, kind="stable")
    found, log_p = Windows(*(values[order] for values in found)), log_p[order]
    radius = np.array(windows.RADII)[found.disc]
    last, q, parent = _down_to(log_p, _near(found, radius, gap=GAP), tests, fdr)
    regions: dict[int, list[int]] = {}
    for i in range(last):
        regions.setdefault(_root(parent, i), []).append(i)
    joined = sorted(regions.values(), key=min)
    return [_described(np.array(order[w]), w, found, log_p, q, responses) for w in joined]


def _near(found: Windows, radius: np.ndarray, gap: float) -> list[list[int]]:
    """Return which windows touch each."""
    from scipy.spatial import cKDTree

    if not len(radius):
        return []
    place = np.column_stack([found.y, found.x]).astype(float)
    tree = cKDTree(place)
    near = tree.query_ball_point(place, radius + radius.max() + gap)
    return [
        [j for j in js if np.hypot(*(place[i] - place[j])) <= radius[i] + radius[j] + gap]
        for i, js in enumerate(near)
    ]


def _down_to(
    log_p: np.ndarray, near: list[list[int]], tests: float, fdr: float
) -> tuple[int, np.ndarray, np.ndarray]:
    """Return how many windows are kept, the rate down to each, and the union of those kept."""
    n = len(log_p)
    number = np.zeros(n)
    parent = np.arange(n)
    for i in range(n):  # how many regions there are with the windows so far
        joined = {_root(parent, j) for j in near[i] if j < i}
        number[i] = (number[i - 1] if i else 0) + 1 - len(joined)
        parent[list(joined)] = i
    rate = tests * np.exp(log_p) / np.maximum(number, 1)
    kept = np.flatnonzero(rate <= fdr)
    last = int(kept[-1]) + 1 if kept.size else 0
    parent = np.arange(n)
    for i in range(last):
        for j in near[i]:
            if j < i:
                parent[_root(parent, j)] = i
    q = np.minimum.accumulate(rate[::-1])[::-1]
    return last, np.minimum(q, 1.0), parent


def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = int(parent[i])
    return i


def _described(
    order: np.ndarray, w: list[int], found: Windows, log_p: np.ndarray, q: np.ndarray,
    responses: Responses,
) -> Region:  # fmt: skip
    amounts, spread = found.amounts[w].sum(0), float(found.spread[w].max())
    elements = named(found.sums[w].sum(0), amounts, spread, responses)
    return Region(order, float(log_p[w[0]]), float(q[w[0]]), elements, amounts)
