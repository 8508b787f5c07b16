"""Windows that are no chance, joined to regions, and what these have too much or too little of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from eds_xr.analysis.strangers import windows
from eds_xr.analysis.strangers.chance import log_chance
from eds_xr.analysis.strangers.naming import Named, named
from eds_xr.analysis.strangers.responses import Responses
from eds_xr.analysis.strangers.search import Windows

#: Windows that touch a stranger are of it where chance shows one in so many.
LEAST_CHANCE = 1e-6


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
    pixels : ndarray [pixel, (y, x)]
    """

    windows: np.ndarray
    log_p: float
    q: float
    elements: list[Named]
    amounts: np.ndarray
    pixels: np.ndarray


def without_doubles(found: Windows) -> Windows:
    """Return windows, sorted, without those that overlap a better one of another tile."""
    order = np.argsort(-found.score, kind="stable")
    made = Windows(*(values[order] for values in found))
    keep = np.ones(len(order), bool)
    for i, near in enumerate(touching(made)):
        if keep[i]:
            keep[[j for j in near if j > i and made.tile[j] != made.tile[i]]] = False
    return Windows(*(values[keep] for values in made))


def log_chances(found: Windows, responses: Responses) -> np.ndarray:
    """Return the logarithm of each window's chance."""
    log_p = np.zeros(len(found.response))
    for f in np.unique(found.response):
        of = np.flatnonzero(found.response == f)
        sums = found.sums[of, f] / found.spread[of]
        log_p[of] = log_chance(sums, found.amounts[of], responses.spectra, responses.weights[:, f])
    return log_p


def regions_of(
    found: Windows, responses: Responses, shape: tuple[int, int], tests: float, fdr: float
) -> list[Region]:
    """Return the regions among which false ones are at most a share `fdr`, on average.

    Of all `tests` (pixels, windows, families) at most ``tests * p`` have a chance of at most p
    where nothing is, however they depend on each other; windows that touch are one discovery (Y.
    Benjamini and Y. Hochberg, J. R. Stat. Soc. B 57 (1995) 289). What touches a region is of it
    where chance alone hardly makes it; so is what has too much of the same, not far away.
    """
    log_p = log_chances(found, responses)
    order = np.argsort(log_p, kind="stable")
    found, log_p = Windows(*(values[order] for values in found)), log_p[order]
    kind = _kinds(found)
    near = _of_one_stranger(found, kind)
    q = _rates(log_p, near, tests)
    regions = _grown(near, kind, q <= fdr, log_p <= np.log(LEAST_CHANCE))
    return [
        Region(
            order[w], float(log_p[w[0]]), float(q[w[0]]),
            named(
                found.sums[w].sum(0), found.amounts[w].sum(0), float(found.spread[w].max()),
                responses,
            ),
            found.amounts[w].sum(0), _pixels(found, w, shape),
        )
        for w in regions
    ]  # fmt: skip


def touching(found: Windows) -> list[list[int]]:
    """Return which windows each touches."""
    most = 2 * windows.REACH + 1
    return [
        [
            int(j) for j, step in zip(js, steps, strict=True)
            if windows.touching(int(found.shape[i]), int(found.shape[j]))[tuple(step + most + 1)]
        ]
        for i, js, steps in _within(found, most)
    ]  # fmt: skip


def _of_one_stranger(found: Windows, kind: np.ndarray) -> list[list[int]]:
    """Return which windows would be of one stranger with each.

    They touch, or the same stands out in both and they are apart by no more than the smaller
    reaches. What one has too much of and the other too little is not one.
    """
    reach = windows.reach()[found.shape]
    near = touching(found)
    for i, js, steps in _within(found, 3 * windows.REACH):
        apart = np.hypot(*steps.T)
        alike = (kind[js] == kind[i]) & (
            apart <= reach[i] + reach[js] + np.minimum(reach[i], reach[js])
        )
        near[i] = [j for j in {*near[i], *js[alike].tolist()} if kind[j] != -kind[i]]
    return near


def _within(found: Windows, pixels: float) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield each window's number, those near it, and the steps to them [window, (y, x)]."""
    from scipy.spatial import cKDTree

    if not len(found.y):
        return
    place = np.column_stack([found.y, found.x])
    for i, js in enumerate(cKDTree(place).query_ball_point(place, pixels + 0.5, p=np.inf)):
        yield i, np.array(js), place[js] - place[i]


def _rates(log_p: np.ndarray, near: list[list[int]], tests: float) -> np.ndarray:
    """Return the false discovery rate of all windows down to each."""
    number = np.zeros(len(log_p))
    parent = np.arange(len(log_p))
    for i in range(len(log_p)):  # how many regions there are with the windows so far
        joined = {_root(parent, j) for j in near[i] if j < i}
        number[i] = (number[i - 1] if i else 0) + 1 - len(joined)
        parent[list(joined)] = i
    rate = tests * np.exp(log_p) / np.maximum(number, 1)
    return np.minimum(np.minimum.accumulate(rate[::-1])[::-1], 1.0)


def _kinds(found: Windows) -> np.ndarray:
    """Return which response stands out in each window, from 1; below zero where it is too small."""
    size = found.sums[np.arange(len(found.response)), found.response]
    return np.where(size < 0, -1, 1) * (found.response + 1)


def _grown(
    near: list[list[int]], kind: np.ndarray, sure: np.ndarray, likely: np.ndarray
) -> list[list[int]]:
    """Return regions: windows that are sure and touch, with likely ones of a kind of theirs."""
    regions, taken = [], np.zeros(len(kind), bool)
    for seed in np.flatnonzero(sure).tolist():
        if taken[seed]:
            continue
        region = _connected([seed], near, sure & ~taken)
        alike = likely & ~sure & np.isin(kind, kind[region])
        region = _connected(region, near, alike & ~taken)
        taken[region] = True
        regions.append(sorted(region))
    return regions


def _connected(seeds: list[int], near: list[list[int]], allowed: np.ndarray) -> list[int]:
    """Return windows, and those allowed that touch them, or one another up to them."""
    region, waiting, left = [], list(seeds), allowed.copy()
    left[seeds] = False
    while waiting:
        region.append(waiting.pop())
        more = [j for j in near[region[-1]] if left[j]]
        left[more] = False
        waiting += more
    return region


def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = int(parent[i])
    return i


def _pixels(found: Windows, w: list[int], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels of some windows, each once [pixel, (y, x)]."""
    parts = [windows.shapes()[found.shape[i]] + (found.y[i], found.x[i]) for i in w]
    every = np.unique(np.concatenate(parts), axis=0)
    return np.asarray(every[((every >= 0) & (every < shape)).all(axis=1)])
