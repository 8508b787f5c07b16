"""Binary minimum cuts of images in tiles: pixel by pixel the cut of the whole image.

The least minimum cut (of all minimum cuts that with fewest pixels of the second label) rises with
what is held around a part of the image: edges only ever favour agreement (Kolmogorov & Zabih, IEEE
Trans. Pattern Anal. Mach. Intell. 26 (2004) 147, doi:10.1109/TPAMI.2004.1262177). So a tile is cut
twice, what surrounds it held at one label and then at the other. Where both agree, that is the
label of the whole image, wherever tiles begin. The few pixels that are left are looked at again
with more around them, what is decided held.
"""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from eds_xr.progress import warn
from eds_xr.segmentation.graph_cut.expansion import FORBIDDEN, minimise, pixel_bytes
from eds_xr.segmentation.graph_cut.tiles import PottsModel, costs_of
from eds_xr.segmentation.tiled_filters import inside_margins, margins, with_margins
from eds_xr.workers import task_name

if TYPE_CHECKING:
    import dask.array as da

#: What is seen around a tile [pixels]: at first, and where that leaves a pixel open.
NEAR, FAR = 24, 64
#: A wider look is this many times as far.
WIDER = 4
#: Beyond so many pixels around a tile the next window is the whole plane, if that needs no more
#: memory than this: one task must hold it. (A tile and its widest window take 0.4 GB.)
WIDEST, PLANE_BYTES = 1024, 4e9
#: Of a pixel that what was seen does not decide.
OPEN = 2

Sides = tuple[tuple[int, int], ...]  # pixels around a tile, before and after it along each axis
Place = tuple[int, ...]


def cut_in_tiles(probability: da.Array, model: PottsModel) -> da.Array:
    """Return which pixels of each map have the second label ``[map, *leading, y, x; bool]``.

    Every plane of every map is cut by itself, between 1 - p and p. Computes: the cuts, a task a
    tile; probabilities (which should be persisted) once, and around open pixels again. The result
    stays where it is made, and depends on neither tiles nor chunks.

    Parameters
    ----------
    probability : dask array [map, *leading, y, x]
        In tiles, each at least `FAR` wide unless it is the only one; one along leading axes.
    model : PottsModel
        In the plane, without edges.
    """
    axes = min(2, probability.ndim - 1)
    codes = with_margins(probability, FAR, axes).map_blocks(
        _first_block, dtype=np.uint8, chunks=probability.chunks, model=model, axes=axes,
        meta=np.empty((0,) * probability.ndim, np.uint8),
    )  # fmt: skip
    around = FAR
    codes, places = _kept(codes)
    plane = math.prod(probability.shape[-axes:]) * pixel_bytes(2, model.neighbours)
    while places:
        around *= WIDER
        if around > WIDEST and plane > PLANE_BYTES:
            warn(
                f"{len(places)} tiles hold pixels that nothing within {WIDEST} pixels decides, and "
                "the image is too large to be cut whole: the phase is taken to be absent there. "
                "Give less smoothness"
            )
            break
        codes, places = _kept(_looked_at_again(probability, codes, model, places, around, axes))
    return codes == 1


def _kept(codes: Any) -> tuple[Any, list[Place]]:
    """Return codes that stay where they are made, and the places of tiles with open pixels."""
    from dask.base import compute

    codes = codes.persist()
    open_pixels = codes.map_blocks(
        _open_block, dtype=np.int64, chunks=tuple((1,) * len(c) for c in codes.chunks)
    )
    (found,) = compute(open_pixels)
    return codes, [tuple(map(int, place)) for place in np.argwhere(found)]


def _looked_at_again(
    probability: da.Array, codes: da.Array, model: PottsModel, places: list[Place], around: int,
    axes: int,
) -> da.Array:  # fmt: skip
    """Return codes of which those of some tiles are found anew, with so many pixels around."""
    import dask.array as da
    from dask.delayed import delayed
    from dask.highlevelgraph import HighLevelGraph

    edges = [np.cumsum([0, *sizes]).tolist() for sizes in codes.chunks]
    name = f"graph cut at seams-{uuid.uuid4().hex}"
    layer: dict[Any, Any] = {
        (name, *place): (codes.name, *place) for place in np.ndindex(codes.numblocks)
    }
    late, tasks = delayed(_again_block, pure=False), []
    for place in places:
        box = [slice(e[i], e[i + 1]) for e, i in zip(edges, place, strict=True)]
        outer = _window(box, codes.shape, around, axes)
        sides = tuple((b.start - o.start, o.stop - b.stop) for b, o in zip(box, outer, strict=True))
        beyond = tuple((o.start > 0, o.stop < n)
                       for o, n in zip(outer, codes.shape, strict=True))  # fmt: skip
        window = tuple(outer)
        tasks.append(late(probability[window], codes[window], sides, beyond, model, axes))
        layer[(name, *place)] = tasks[-1].key
    needed: list[Any] = [codes, *tasks]
    graph = HighLevelGraph.from_collections(name, layer, dependencies=needed)
    return da.Array(graph, name, codes.chunks, meta=codes._meta)


def _window(box: list[slice], shape: tuple[int, ...], around: int, axes: int) -> list[slice]:
    """Return a box with pixels around it; the whole plane beyond `WIDEST`."""
    lead, around = len(box) - axes, around if around <= WIDEST else max(shape)
    return [
        slice(max(0, b.start - around), min(n, b.stop + around)) if i >= lead else b
        for i, (b, n) in enumerate(zip(box, shape, strict=True))
    ]


def decided(
    probability: np.ndarray, model: PottsModel, beyond: Sides, known: np.ndarray | None = None
) -> np.ndarray:
    """Return codes of a plane or a line: 0 and 1 are decided, `OPEN` is not.

    Parameters
    ----------
    probability : ndarray of float32 [y, x] or [x]
    model : PottsModel
    beyond : ((bool, bool), ...)
        Along each axis, whether the image goes on before and after.
    known : ndarray of uint8, optional
        Codes that are known.
    """
    shape = (1,) * (3 - probability.ndim) + probability.shape
    costs = costs_of(np.stack([1 - probability, probability]).reshape(2, *shape))
    if known is not None:
        for label in (0, 1):
            costs[1 - label][known.reshape(shape) == label] = FORBIDDEN
    pairs = model.pairs(shape, None)
    rim = _rim(probability.shape, beyond).reshape(shape)
    free = rim if known is None else rim & (known.reshape(shape) == OPEN)
    least = _cut(costs, pairs, free, 0)
    if not free.any():
        return least.reshape(probability.shape)
    # what is second with the first held around it is second in any case
    costs[0][least == 1] = FORBIDDEN
    most = _cut(costs, pairs, free, 1)
    return np.where(least == most, least, np.uint8(OPEN)).reshape(probability.shape)


def _cut(costs: np.ndarray, pairs: Any, held: np.ndarray, label: int) -> np.ndarray:
    """Return the least minimum cut with some pixels held at a label."""
    kept = costs[1 - label][held]
    costs[1 - label][held] = FORBIDDEN
    found = minimise(costs, pairs, in_parallel=map)
    costs[1 - label][held] = kept
    return found


def _rim(shape: tuple[int, ...], beyond: Sides) -> np.ndarray:
    """Return the outermost pixels, on the sides where the image goes on."""
    rim: np.ndarray = np.zeros(shape, bool)
    for axis, (before, after) in enumerate(beyond):
        at = np.moveaxis(rim, axis, 0)
        at[0] |= bool(before)
        at[-1] |= bool(after)
    return rim


def _first_look(probability: np.ndarray, model: PottsModel, sides: Sides) -> np.ndarray:
    """Return codes of a tile, with as little around it as decides all, if anything does."""
    size = tuple(n - a - b for n, (a, b) in zip(probability.shape, sides, strict=True))
    for most in (NEAR, FAR):
        seen = tuple((min(a, most), min(b, most)) for a, b in sides)
        part = tuple(
            slice(a - s, a + n + t) for (a, _), (s, t), n in zip(sides, seen, size, strict=True)
        )
        inner = tuple(slice(s, s + n) for (s, _), n in zip(seen, size, strict=True))
        codes = decided(np.ascontiguousarray(probability[part]), model, seen)[inner]
        if seen == sides or not (codes == OPEN).any():
            break
    return codes


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("graph cut")
def _first_block(block: np.ndarray, *, model: PottsModel, axes: int, block_info: Any) -> np.ndarray:
    sides = margins(block_info[0], FAR, axes)
    codes: np.ndarray = np.empty_like(
        block[inside_margins(block, block_info[0], FAR, axes)], np.uint8
    )
    for index in np.ndindex(block.shape[:-axes]):
        codes[index] = _first_look(block[index], model, sides)
    return codes


@task_name("graph cut at seams")
def _again_block(
    block: np.ndarray, codes: np.ndarray, sides: Sides, beyond: Sides, model: PottsModel, axes: int
) -> np.ndarray:
    inner = tuple(
        slice(a, n - b) for n, (a, b) in zip(block.shape[-axes:], sides[-axes:], strict=True)
    )
    found = codes.copy()
    for index in np.ndindex(block.shape[:-axes]):
        if (codes[index][inner] == OPEN).any():
            found[index] = decided(
                np.ascontiguousarray(block[index]), model, beyond[-axes:], codes[index]
            )
    tile: Any = (Ellipsis, *inner)
    return np.asarray(found[tile])


@task_name("open pixels")
def _open_block(codes: np.ndarray) -> np.ndarray:
    return np.full((1,) * codes.ndim, np.count_nonzero(codes == OPEN))
