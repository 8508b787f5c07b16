"""Labels of least energy in an image: alpha expansion by exact minimum cuts of the whole image.

All is counted in whole steps of `COST_STEP`: costs ``[phase, *image]`` of giving a pixel a label,
weights ``[pixel, step]`` of giving two neighbours different ones. So energies are exact, and the
same however the work is shared out.

Each expansion lets any set of pixels change to one label ``alpha`` (Boykov, Veksler & Zabih, IEEE
Trans. Pattern Anal. Mach. Intell. 23 (2001) 1222, doi:10.1109/34.969114). Pixels that change are
those that can reach the sink of the graph; two neighbours a, b whose edge weighs w

- with one label: cost w when one of them changes, an edge of capacity w both ways;
- with two labels, none of them alpha: cost w unless both change, an edge of w/2 both ways, and
  changing is w/2 cheaper for each (so weights are even);
- when one has alpha already: changing is w cheaper for the other;
- when one is held, with a label that is not alpha: changing is w dearer for the other if it has
  the same label.

The first round is of the whole image. Later ones hold pixels in blocks neither in nor next to
which something changed since the last expansion of the same label: it would hardly change there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from eds_xr.segmentation.graph_cut import pymaxflow
from eds_xr.workers import in_threads

#: Costs are rounded to this. With weights below `MAX_WEIGHT` no sum of a pixel's exceeds 32 bits.
COST_STEP = 2e-5
MAX_WEIGHT = 1000.0
#: Cost of leaving a label that must stay; more than all neighbours can weigh together.
FORBIDDEN = 2**30
#: Expansions stop by themselves, when none lowers the energy; usually after three or four rounds.
MAX_ROUNDS = 100
#: The image is cut into bands of at least so many pixels, solved in threads and then joined.
BAND_PIXELS = 2**16

Map = Callable[..., Iterable[Any]]
Step = tuple[int, int, int]


class Pairs(NamedTuple):
    """Neighbours in an image of three dimensions, each pair once.

    Attributes
    ----------
    shape : (int, int, int)
        Of the image [z, y, x]; z is 1 for a plane.
    steps : ndarray of int64 [step, 3]
        From a pixel to its neighbours further on.
    weights : ndarray of int32 [pixel, step]
        What it costs when they differ; one row, where it is the same for all pixels.
    """

    shape: tuple[int, int, int]
    steps: np.ndarray
    weights: np.ndarray


def neighbour_steps(neighbours: int) -> list[Step]:
    """Return one of each two opposite steps to neighbours: 4 or 8 in (y, x), 6 or 26 in (z, y, x).

    Examples
    --------
    >>> neighbour_steps(4)
    [(0, 0, 1), (0, 1, 0)]
    >>> len(neighbour_steps(26))
    13
    """
    plane, straight = neighbours in (4, 8), neighbours in (4, 6)
    steps = itertools.product((0,) if plane else (-1, 0, 1), (-1, 0, 1), (-1, 0, 1))
    return [s for s in steps if s > (0, 0, 0) and (not straight or sum(map(abs, s)) == 1)]


def uniform_pairs(shape: tuple[int, int, int], neighbours: int, smoothness: float) -> Pairs:
    """Return neighbours that weigh `smoothness` over their distance."""
    steps = neighbour_steps(neighbours)
    weights = [[2 * round(smoothness / math.hypot(*step) / (2 * COST_STEP)) for step in steps]]
    return Pairs(shape, np.array(steps), np.array(weights, np.int32))


def edge_pairs(
    edges: np.ndarray, neighbours: int, smoothness: float, weight: float, variance: float
) -> Pairs:
    """Return neighbours that weigh more where `edges` ``[channel, z, y, x]`` are alike."""
    steps = neighbour_steps(neighbours)
    depth, height, width = edges.shape[1:]
    weights = np.zeros((depth, height, width, len(steps)), np.int32)
    for k, step in enumerate(steps):
        here, there = _slices(step)
        alike = np.exp(_squared_difference(edges, step) / (-2 * variance))
        alike = (smoothness + weight * alike) / math.hypot(*step)
        weights[..., k][here] = 2 * np.rint(alike / (2 * COST_STEP))
    return Pairs((depth, height, width), np.array(steps), weights.reshape(-1, len(steps)))


def squared_differences(edges: np.ndarray, neighbours: int) -> tuple[float, int]:
    """Return the sum of ``|e_i - e_j|**2`` over all neighbours, and their number."""
    found = [_squared_difference(edges, step) for step in neighbour_steps(neighbours)]
    return math.fsum(float(d.sum(dtype=float)) for d in found), sum(d.size for d in found)


def minimise(
    costs: np.ndarray, pairs: Pairs, labels: np.ndarray | None = None, in_parallel: Map = in_threads
) -> np.ndarray:
    """Return labels (from 0) of least energy.

    Two labels: the minimum. More: no expansion near a pixel that changed lowers the energy further.

    Parameters
    ----------
    costs : ndarray of int32 [phase, z, y, x; steps]
    pairs : Pairs
    labels : ndarray of uint8 [z, y, x], optional
        What more than two labels start from; by default the cheapest of each pixel.
    in_parallel : callable
        Like `map`.
    """
    if labels is None:
        labels = costs.argmin(axis=0).astype(np.uint8)
    cut = _Cut(costs.reshape(len(costs), -1), pairs, in_parallel)
    flat = labels.astype(np.uint8).ravel()
    if len(costs) == 2:  # from all-0, one expansion is the minimum
        flat[:] = 0
        cut.expand(flat, 1)
        return flat.reshape(pairs.shape)
    unchanged = 0
    for alpha in itertools.islice(itertools.cycle(range(len(costs))), MAX_ROUNDS * len(costs)):
        unchanged = 0 if cut.expand(flat, alpha) else unchanged + 1
        if unchanged == len(costs):
            break
    return flat.reshape(pairs.shape)


def energy_steps(
    costs: np.ndarray, pairs: Pairs, labels: np.ndarray, inner: Sequence[slice]
) -> int:
    """Return the energy of the pixels in `inner` and of their pairs, in steps of `COST_STEP`."""
    from eds_xr.segmentation.graph_cut.expansion_kernels import energy_block

    bounds = [s.indices(n)[:2] for s, n in zip(inner, pairs.shape, strict=True)]
    flat = np.ascontiguousarray(labels, np.uint8).ravel()
    return int(
        energy_block(
            costs.reshape(len(costs), -1), flat, pairs.weights, pairs.steps, pairs.shape,
            np.array(bounds),
        )
    )  # fmt: skip


def pixel_bytes(phases: int, neighbours: int, edge_channels: int = 0) -> int:
    """Return the memory that a pixel takes: graph, arguments, and these as blocks before."""
    graph = 4 * neighbours + 18
    edges = 2 * neighbours + 8 * edge_channels + 12 if edge_channels else 0
    return graph + edges + 8 * phases + 4


class _Cut:
    """Expansions of one image; the graph's memory is used again by each."""

    def __init__(self, costs: np.ndarray, pairs: Pairs, in_parallel: Map) -> None:
        from eds_xr.segmentation.graph_cut.expansion_kernels import BLOCK
        from eds_xr.segmentation.graph_cut.max_flow import new_flow

        steps = np.concatenate([pairs.steps, -pairs.steps[::-1]]).astype(np.int64)
        _, height, width = pairs.shape
        offsets = steps @ np.array([height * width, width, 1])
        self._flow, self._reach = new_flow(costs.shape[1], offsets)
        self._image = (costs, pairs.weights, steps, pairs.shape)
        self._by_pymaxflow = pymaxflow.solves(costs.shape[1])
        whole = [(0, costs.shape[1])]
        self._bands = whole if self._by_pymaxflow else _bands(costs.shape[1], width)
        self._map = in_parallel
        self._now = 0
        self._changed: np.ndarray = np.zeros([-(-n // BLOCK) for n in pairs.shape], np.int32)
        self._expanded = [-1] * len(costs)  # when each label was

    def expand(self, labels: np.ndarray, alpha: int) -> bool:
        """Change the best set of pixels to `alpha`; return whether there is one."""
        from eds_xr.segmentation.graph_cut.expansion_kernels import build, change

        active = _with_neighbours(self._changed > self._expanded[alpha])
        self._now += 1
        self._expanded[alpha] = self._now
        if not active.any():
            return False
        image, flow, now = (*self._image, labels, active, alpha), self._flow, self._now
        self._each(lambda a, b: build(flow, *image, a, b), self._bands)
        if self._by_pymaxflow:
            pymaxflow.solve(flow, self._reach)
        else:
            self._solve(image)
        known = (self._image[-1], labels, self._changed, alpha, now)
        return sum(self._each(lambda a, b: change(flow, *known, a, b), self._bands)) > 0

    def _solve(self, image: tuple[Any, ...]) -> None:
        """Solve the bands, then join neighbours until all is one."""
        from eds_xr.segmentation.graph_cut.expansion_kernels import join
        from eds_xr.segmentation.graph_cut.max_flow import solve, solve_on

        reach, flow = self._reach, self._flow

        def joined(first: int, middle: int, last: int, time: int) -> int:
            begin, end = max(first, middle - reach), min(last, middle + reach)
            arguments = (flow, *image, (first, middle, last), (begin, end))
            join(*arguments)
            shifted = (first + reach, last + reach, begin + reach, end + reach)
            return int(solve_on(flow, *shifted, time))

        bands = self._bands
        times = self._each(lambda a, b: int(solve(flow, a + reach, b + reach)), bands)
        while len(bands) > 1:
            two = [(*bands[i], bands[i + 1][1]) for i in range(0, len(bands) - 1, 2)]
            later = [max(times[i : i + 2]) for i in range(0, len(bands) - 1, 2)]
            done = self._each(joined, [(*t, time) for t, time in zip(two, later, strict=True)])
            odd = len(bands) % 2
            bands = [(a, c) for a, _, c in two] + bands[len(bands) - odd :]
            times = done + times[len(times) - odd :]

    def _each(
        self, function: Callable[..., Any], arguments: Sequence[tuple[int, ...]]
    ) -> list[Any]:
        return list(self._map(function, *zip(*arguments, strict=True)))


def _bands(pixels: int, width: int) -> list[tuple[int, int]]:
    """Return ranges of pixels that make up whole rows of the image."""
    rows = pixels // width
    height = -(-BAND_PIXELS // width)
    edges = [*range(0, max(1, rows - height // 2), height), rows]
    return [(a * width, b * width) for a, b in itertools.pairwise(edges)]


def _with_neighbours(blocks: np.ndarray) -> np.ndarray:
    """Return where a block or one next to it is true."""
    for axis in range(blocks.ndim):
        wide = np.pad(blocks, [(int(a == axis),) * 2 for a in range(blocks.ndim)])
        parts = [wide.take(range(s, s + blocks.shape[axis]), axis) for s in range(3)]
        blocks = parts[0] | parts[1] | parts[2]
    return blocks


def _slices(step: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where the first and where the second pixels of all pairs lie."""
    here = tuple(slice(max(0, -s), -s if s > 0 else None) for s in step)
    there = tuple(slice(max(0, s), s if s < 0 else None) for s in step)
    return here, there


def _squared_difference(edges: np.ndarray, step: Sequence[int]) -> np.ndarray:
    here, there = _slices(step)
    total: np.ndarray = np.zeros(edges[0][here].shape, np.float32)
    for channel in edges:
        total += (channel[here] - channel[there]) ** 2
    return total
