"""Minimum cuts of images on Dask: whole, or in tiles when they are too large for that.

Images are ``[phase, z, y, x]`` probabilities, and ``[channel, z, y, x]`` where edges are looked
for; z is 1 for a plane. Tiles are laid out here, whatever the chunks are, so that these have no
influence on the result.
"""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eds_xr.schema import EdsError
from eds_xr.segmentation.graph_cut.expansion import (
    COST_STEP,
    FORBIDDEN,
    Pairs,
    edge_pairs,
    energy_steps,
    minimise,
    pixel_bytes,
    squared_differences,
    uniform_pairs,
)
from eds_xr.workers import cluster, task_name

if TYPE_CHECKING:
    import dask.array as da

#: Probabilities are taken to be no nearer to 0 than this: no pixel outweighs all neighbours.
MIN_PROBABILITY = 1e-6
#: Sides of tiles [z, y, x], and what is seen around them, in a plane and in a volume.
PLANE_TILE, PLANE_HALO = (1, 2048, 2048), (0, 64, 64)
VOLUME_TILE, VOLUME_HALO = (160, 160, 160), (16, 16, 16)

Box = tuple[slice, ...]  # z, y, x
#: Where Dask computes, see :func:`eds_xr.workers.here`; nothing means: where it always does.
How = Mapping[str, Any]
#: From 0; in the memory of the workers where there is a cluster.
Labels = Any


class PottsModel(NamedTuple):
    """What a border costs: see :func:`eds_xr.graph_cut.smooth`."""

    smoothness: float
    neighbours: int
    edge_weight: float = 0.0
    edge_variance: float = 1.0

    def pairs(self, shape: tuple[int, ...], edges: np.ndarray | None) -> Pairs:
        """Return the pairs of neighbours of an image, or of a part of it."""
        if edges is None:
            depth, height, width = shape
            return uniform_pairs((depth, height, width), self.neighbours, self.smoothness)
        finite = np.ascontiguousarray(edges, np.float32)
        return edge_pairs(
            finite, self.neighbours, self.smoothness, self.edge_weight, self.edge_variance
        )

    @property
    def tile(self) -> tuple[int, int, int]:
        """Sides of a tile."""
        return PLANE_TILE if self.neighbours in (4, 8) else VOLUME_TILE

    @property
    def halo(self) -> tuple[int, int, int]:
        """What a tile sees around itself."""
        return PLANE_HALO if self.neighbours in (4, 8) else VOLUME_HALO


def bytes_needed(image: da.Array, edges: da.Array | None, model: PottsModel) -> int:
    """Return the memory that labelling an image in one piece takes."""
    channels = 0 if edges is None else edges.shape[0]
    return math.prod(image.shape[1:]) * pixel_bytes(image.shape[0], model.neighbours, channels)


def label_alone(image: da.Array, model: PottsModel, how: How) -> tuple[Labels, float]:
    """Return the most probable label of each pixel, without rounding. Computes: twice."""
    labels = _kept(image.rechunk({0: -1}).argmax(axis=0).astype(np.uint8), how)
    return labels, energy_of(labels, image, None, model, how)


def label_whole(
    image: da.Array, edges: da.Array | None, model: PottsModel, how: How
) -> tuple[Labels, float]:
    """Return labels (from 0) of least energy, and the energy. Computes: the whole image.

    On a cluster one worker does, and keeps the labels.
    """
    from dask.base import compute
    from dask.delayed import delayed

    shape = image.shape[1:]
    if not how and cluster() is not None:
        both = delayed(_whole_block, pure=False, nout=2)(image, edges, model).persist()
        labels = assembled([both[0]], tuple((n,) for n in shape)).persist()
        return labels, both[1].compute() * COST_STEP
    whole = image.rechunk({0: -1})
    costs, edge_values = compute(whole.map_blocks(costs_of, dtype=np.int32), edges, **how)
    pairs = model.pairs(shape, edge_values)
    found = minimise(costs, pairs)
    return found, energy_steps(costs, pairs, found, [slice(None)] * 3) * COST_STEP


def label_tiled(
    image: da.Array, edges: da.Array | None, model: PottsModel, how: How
) -> tuple[Labels, float]:
    """Return labels and energy, a tile a task. Computes: probabilities, twice.

    First every tile by itself with a halo. Then tiles that lie half a tile further, so that seams
    come to lie in the middle, with the labels at their rims held: no seam can raise the energy.
    """
    from dask.base import compute, persist

    shape = image.shape[1:]
    tiles = list(_boxes(shape, model.tile, 0))
    jobs = [(box, _grown(box, model.halo, shape)) for box in tiles]
    found = _tasks(_label_block, image, edges, model, jobs)
    first = assembled(found, _cuts(shape, model.tile, 0)).persist(**how)
    tiles = list(_boxes(shape, model.tile, 1))
    jobs = [(box, _grown(box, (1, 1, 1), shape)) for box in tiles]
    known = [(first[outer], _held(box, outer, shape)) for box, outer in jobs]
    pairs = persist(*_tasks(_repair_block, image, edges, model, jobs, known), **how)
    result = assembled([labels for labels, _ in pairs], _cuts(shape, model.tile, 1))
    return _kept(result, how), sum(compute(*(steps for _, steps in pairs), **how)) * COST_STEP


def energy_of(
    labels: Labels, image: da.Array, edges: da.Array | None, model: PottsModel, how: How
) -> float:
    """Return the energy of labels (from 0). Computes: the probabilities, a tile a task."""
    from dask.base import compute

    shape = image.shape[1:]
    jobs = [(box, _grown(box, (1, 1, 1), shape)) for box in _boxes(shape, model.tile, 0)]
    known = [(labels[outer],) for _, outer in jobs]
    tasks = _tasks(_energy_block, image, edges, model, jobs, known)
    return float(sum(compute(*tasks, **how)) * COST_STEP)


def assembled(tasks: Sequence[Any], chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """Return what delayed tasks make of each tile, in order, as one array of labels. Lazy."""
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    name = f"labels of the graph cut-{uuid.uuid4().hex}"
    places = np.ndindex(*(len(sizes) for sizes in chunks))
    layer: dict[Any, Any] = {
        (name, *place): task.key for place, task in zip(places, tasks, strict=True)
    }
    graph = HighLevelGraph.from_collections(name, layer, dependencies=tasks)
    return da.Array(graph, name, chunks, dtype=np.uint8)


def _kept(labels: da.Array, how: How) -> Labels:
    """Return labels in memory: that of the workers, where these compute."""
    found: Labels = labels.compute(**how) if how or cluster() is None else labels.persist()
    return found


def difference_sums(edges: da.Array, model: PottsModel, how: How) -> tuple[float, int]:
    """Return the sum of the squared differences of neighbours, and their number, tile by tile."""
    from dask.base import compute
    from dask.delayed import delayed

    boxes = _boxes(edges.shape[1:], model.tile, 0)
    function = delayed(_differences_block, pure=False)
    tasks = [function(edges[(slice(None), *box)], model.neighbours) for box in boxes]
    found = compute(*tasks, **how)
    return math.fsum(total for total, _ in found), sum(n for _, n in found)


def _tasks(
    function: Any, image: da.Array, edges: da.Array | None, model: PottsModel,
    jobs: list[tuple[Box, Box]], known: list[tuple[Any, ...]] | None = None,
) -> list[Any]:  # fmt: skip
    """Return delayed ``function(probabilities, edges, model, inner, *known)`` of each job."""
    from dask.delayed import delayed

    late = delayed(function, pure=False, nout=2 if function is _repair_block else None)
    return [
        late(
            image[(slice(None), *outer)],
            None if edges is None else edges[(slice(None), *outer)],
            model,
            _within(box, outer),
            *more,
        )
        for (box, outer), more in zip(jobs, known or [()] * len(jobs), strict=True)
    ]


def _cuts(
    shape: tuple[int, ...], tile: tuple[int, ...], half_tiles: int
) -> tuple[tuple[int, ...], ...]:
    """Return the sides of tiles that fill the image along each axis.

    The first borders lie half a tile further if asked.
    """
    sides = []
    for n, side in zip(shape, tile, strict=True):
        start = side // 2 if half_tiles and n > side else 0
        edges = [0, *range(start or side, n, side), n]
        sides.append(tuple(b - a for a, b in itertools.pairwise(edges)))
    return tuple(sides)


def _boxes(shape: tuple[int, ...], tile: tuple[int, ...], half_tiles: int) -> Iterator[Box]:
    """Yield boxes that fill the image, as :func:`_cuts` has them."""
    edges = [np.cumsum((0, *sides)).tolist() for sides in _cuts(shape, tile, half_tiles)]
    yield from itertools.product(
        *([slice(a, b) for a, b in itertools.pairwise(along)] for along in edges)
    )


def _grown(box: Box, by: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    return tuple(
        slice(max(0, s.start - n), min(size, s.stop + n))
        for s, n, size in zip(box, by, shape, strict=True)
    )


def _within(box: Box, outer: Box) -> Box:
    return tuple(
        slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True)
    )


def _held(box: Box, outer: Box, shape: tuple[int, ...]) -> Box:
    """Return where labels are free within `outer`: not at rims that another tile sees."""
    free = tuple(
        slice(s.start + (s.start > 0), s.stop - (s.stop < n))
        for s, n in zip(box, shape, strict=True)
    )
    return _within(free, outer)


@task_name("costs of the graph cut")
def costs_of(values: np.ndarray) -> np.ndarray:
    """Return -ln p in whole steps; refuse what is no probability."""
    from eds_xr.segmentation.graph_cut.expansion_kernels import costs_block

    costs: np.ndarray = np.empty(values.shape, np.int32)
    flat = np.ascontiguousarray(values, np.float32).reshape(len(values), -1)
    least, lowest, highest = costs_block(
        flat, costs.reshape(len(values), -1), MIN_PROBABILITY, COST_STEP
    )
    if not least >= -1e-6:  # NaN is not either
        raise EdsError("probabilities must be 0 to 1, found NaN, infinite or negative values")
    if max(abs(lowest - 1), abs(highest - 1)) > 1e-3:
        raise EdsError(
            f"probabilities must sum to 1 over 'phase', found sums of {lowest:.4g} to "
            f"{highest:.4g}; divide by p.sum('phase') where that is meant"
        )
    return costs


@task_name("graph cut")
def _label_block(
    values: np.ndarray, edges: np.ndarray | None, model: PottsModel, inner: Box
) -> np.ndarray:
    pairs = model.pairs(values.shape[1:], edges)
    return minimise(costs_of(values), pairs, in_parallel=map)[inner]


@task_name("graph cut")
def _whole_block(
    values: np.ndarray, edges: np.ndarray | None, model: PottsModel
) -> tuple[np.ndarray, int]:
    """Return labels of an image, and the energy in steps."""
    costs = costs_of(values)
    pairs = model.pairs(values.shape[1:], edges)
    found = minimise(costs, pairs, in_parallel=map)
    return found, energy_steps(costs, pairs, found, [slice(None)] * 3)


@task_name("graph cut at seams")
def _repair_block(
    values: np.ndarray, edges: np.ndarray | None, model: PottsModel, inner: Box,
    labels: np.ndarray, free: Box,
) -> tuple[np.ndarray, int]:  # fmt: skip
    """Return new labels of the inner box, free ones changed, and its share of the energy."""
    costs = costs_of(values)
    pairs = model.pairs(values.shape[1:], edges)
    fixed = np.ones(labels.shape, bool)
    fixed[free] = False
    others = np.arange(len(costs))[:, None, None, None] != labels
    held = np.where(fixed & others, np.int32(FORBIDDEN), costs)
    found = minimise(held, pairs, labels, in_parallel=map)
    return found[inner], energy_steps(costs, pairs, found, inner)


@task_name("energy of the graph cut")
def _energy_block(
    values: np.ndarray, edges: np.ndarray | None, model: PottsModel, inner: Box, labels: np.ndarray
) -> int:
    pairs = model.pairs(values.shape[1:], edges)
    return energy_steps(costs_of(values), pairs, labels, inner)


@task_name("edges of the graph cut")
def _differences_block(edges: np.ndarray, neighbours: int) -> tuple[float, int]:
    if not np.isfinite(edges).all():
        raise EdsError("the edge image holds NaN or infinite values; use .fillna(0) first")
    return squared_differences(np.ascontiguousarray(edges, np.float32), neighbours)
