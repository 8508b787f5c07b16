"""Filters over the image planes of an array, tile by tile with margins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.image.blocks import Box
from eds_xr.schema import spatial_dims
from eds_xr.workers import calls, task_name

#: Side of a tile: small enough that all processors have work, wide against its margins.
TILE_PIXELS = 384


def tile_sizes(size: int, tile: int, margin: int = 0) -> tuple[int, ...]:
    """Cut `size` into equal parts of at most `tile`, but not narrower than a margin.

    Examples
    --------
    >>> tile_sizes(1025, 512, 28)
    (342, 342, 341)
    """
    count = max(1, min(math.ceil(size / tile), size // max(margin, 1)))
    return tuple(size // count + (i < size % count) for i in range(count))


def in_tiles(image: xr.DataArray) -> xr.DataArray:
    """Return an image on Dask in tiles that depend on its shape alone; whole along channels. Lazy.

    What is made tile by tile then depends on no chunks, and is few tasks however small these are.
    """
    planes, spatial = plane_dims(image), spatial_dims(image)
    return image.chunk(
        {
            d: tile_sizes(n, TILE_PIXELS) if d in planes else 1 if d in spatial else -1
            for d, n in image.sizes.items()
        }
    )


class Tiles(NamedTuple):
    """Tiles of images that lie above each other, in order, and how kernels are called on them.

    Attributes
    ----------
    blocks : list
        ``[image, *spatial]``, NumPy or delayed.
    grid : tuple of int
        Number of tiles along each spatial axis.
    call : callable
        ``call(kernel)(block)`` is what the kernel makes of it, at once or delayed.
    """

    blocks: list[Any]
    grid: tuple[int, ...]
    call: Callable[[Callable[..., Any]], Callable[..., Any]]

    def result(self, made: Any) -> Any:
        """Return what a call made, in this process: for what is small. Computes it."""
        from dask.base import is_dask_collection

        return made.compute() if is_dask_collection(made) else made


def tiles_of(images: xr.DataArray, margin: int = 0) -> Tiles:
    """Return tiles of images ``[image, *spatial]`` that see `margin` pixels more on each side.

    Lazy where the images are; on NumPy there is one tile.
    """
    if images.chunks is None:
        return Tiles([images.values], (1,) * (images.ndim - 1), lambda kernel: kernel)
    from dask.delayed import delayed

    wide = with_margins(in_tiles(images).data, margin, images.ndim - 1)
    return Tiles(
        wide.to_delayed().ravel().tolist(), wide.numblocks[1:], partial(delayed, pure=False)
    )


def plane_dims(image: xr.DataArray) -> list[str]:
    """Return the last two spatial dimensions (the only one of a line scan)."""
    return list(spatial_dims(image)[-2:])


def map_planes(
    image: xr.DataArray, kernel: Callable[..., np.ndarray], reach: int, **parameters: Any
) -> xr.DataArray:
    """Apply a filter over the last two spatial dimensions, with margins of `reach` pixels."""
    dims = plane_dims(image)
    ordered = image.transpose(..., *dims)
    if image.chunks is None:
        values = kernel(ordered.values, axes=len(dims), **parameters)
    else:
        import dask.array as da

        wide = with_margins(ordered.data, reach, len(dims))
        values = da.map_blocks(
            _filtered_block, wide, kernel, reach, len(dims), parameters,
            chunks=_widened(wide.chunks, -reach, len(dims)),
            dtype=image.dtype, meta=np.empty((0,) * image.ndim, image.dtype),
            token=kernel.__name__,
        )  # fmt: skip
    return ordered.copy(data=values).transpose(*image.dims)


def with_margins(array: Any, margin: int, planes: int) -> Any:
    """Return a Dask array whose tiles see `margin` pixels more along the last axes. Lazy.

    As :func:`dask.array.overlap.overlap`, in two tasks a tile instead of some ten: one hands on
    all that its neighbours need, one puts together what it was given. Tiles narrower than the
    margin are joined first.
    """
    import dask.array as da
    from dask.array.overlap import ensure_minimum_chunksize
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    wide = range(array.ndim - planes, array.ndim)
    sides = list(array.chunks)
    for axis in wide:
        size = array.shape[axis]
        sides[axis] = ensure_minimum_chunksize(margin, sides[axis]) if margin < size else (size,)
    array = array.rechunk(tuple(sides))
    if not margin or all(len(array.chunks[axis]) == 1 for axis in wide):
        return array
    token = tokenize(array, margin, planes)
    rims, name = f"rims of tiles-{token}", f"tiles with margins-{token}"
    steps = [step for step in itertools.product((-1, 0, 1), repeat=planes) if any(step)]
    rim_layer: dict[Any, Any] = {}
    layer: dict[Any, Any] = {}
    for place in np.ndindex(array.numblocks):
        rim_layer[(rims, *place)] = (_rims_block, (array.name, *place), margin, steps)
        near = {step: _neighbour(place, step, array.numblocks) for step in steps}
        there = {step: at for step, at in near.items() if at is not None}
        layer[(name, *place)] = (
            _with_rims_block,
            (array.name, *place),
            list(there),
            [(rims, *at) for at in there.values()],
        )
    graph = HighLevelGraph(
        {**array.dask.layers, rims: rim_layer, name: layer},
        {**array.dask.dependencies, rims: {array.name}, name: {array.name, rims}},
    )
    return da.Array(graph, name, _widened(array.chunks, margin, planes), meta=array._meta)


def cut_out(array: Any, boxes: Sequence[Box]) -> list[Any]:
    """Return parts of a Dask array, delayed: `boxes` of its last axes, which may overlap. Lazy.

    A part is one task, which waits for the blocks that it touches and for nothing else; a tile of
    :func:`with_margins` waits for all those around it, which are held meanwhile. The array has one
    block along the axes before.
    """
    from dask.base import optimize, tokenize

    before = array.ndim - len(boxes[0])
    assert all(n == 1 for n in array.numblocks[:before]), array.chunks
    (fused,) = optimize(array)  # what is delayed, Dask does not fuse any more
    blocks = fused.to_delayed(optimize_graph=False)[(0,) * before]
    ends = [np.cumsum(sizes) for sizes in array.chunks[before:]]
    arguments = []
    for box in boxes:
        each = [_touched(*along) for along in zip(ends, box, strict=True)]
        touched = [tuple(zip(*one, strict=True)) for one in itertools.product(*each)]
        shape = (*array.shape[:before], *(side.stop - side.start for side in box))
        taken = [blocks[place] for place, _, _ in touched]
        arguments.append((taken, [(own, to) for _, own, to in touched], shape))
    return calls(_cut_block, arguments, f"parts of an image-{tokenize(array, boxes)}")


def _touched(ends: np.ndarray, side: slice) -> list[tuple[int, slice, slice]]:
    """Return the blocks along an axis that `side` touches, what it takes, and where that goes."""
    found = []
    first, last = np.searchsorted(ends, [side.start, side.stop - 1], side="right").tolist()
    for number in range(first, last + 1):
        begin = int(ends[number - 1]) if number else 0
        start, stop = max(side.start, begin), min(side.stop, int(ends[number]))
        own = slice(start - begin, stop - begin)
        found.append((number, own, slice(start - side.start, stop - side.start)))
    return found


def _widened(
    chunks: tuple[tuple[int, ...], ...], by: int, planes: int
) -> tuple[tuple[int, ...], ...]:
    """Return sizes of tiles, along the last axes `by` more on each side that has a neighbour."""
    wide = tuple(
        tuple(n + by * ((i > 0) + (i < len(sizes) - 1)) for i, n in enumerate(sizes))
        for sizes in chunks[-planes:]
    )
    return (*chunks[:-planes], *wide)


def _neighbour(
    place: tuple[int, ...], step: tuple[int, ...], number: tuple[int, ...]
) -> tuple[int, ...] | None:
    first = len(place) - len(step)
    at = tuple(i + s for i, s in zip(place[first:], step, strict=True))
    inside = all(0 <= i < n for i, n in zip(at, number[first:], strict=True))
    return (*place[:first], *at) if inside else None


def margins(info: dict[str, Any], margin: int, planes: int) -> tuple[tuple[int, int], ...]:
    """Return the margins of a block of :func:`with_margins`, before and after it."""
    places = list(zip(info["chunk-location"], info["num-chunks"], strict=True))[-planes:]
    return tuple((margin * (i > 0), margin * (i < n - 1)) for i, n in places)


def inside_margins(
    block: np.ndarray, info: dict[str, Any], margin: int, planes: int
) -> tuple[slice, ...]:
    """Return where a block of :func:`with_margins` is the tile itself."""
    around = margins(info, margin, planes)
    sides = zip(block.shape[-planes:], around, strict=True)
    inner = tuple(slice(before, n - after) for n, (before, after) in sides)
    return (*(slice(None),) * (block.ndim - planes), *inner)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _filtered_block(
    block: np.ndarray, kernel: Callable[..., np.ndarray], margin: int, planes: int,
    parameters: dict[str, Any], *, block_info: Any,
) -> np.ndarray:  # fmt: skip
    """Return what a kernel makes of a tile with margins, without these."""
    inner = inside_margins(block, block_info[0], margin, planes)
    return np.ascontiguousarray(kernel(block, axes=planes, **parameters)[inner])


@task_name("parts of an image")
def _cut_block(
    blocks: list[np.ndarray], places: list[tuple[Box, Box]], shape: tuple[int, ...]
) -> np.ndarray:
    """Return a part put together from what it takes of blocks."""
    found: np.ndarray = np.empty(shape, blocks[0].dtype)
    for block, (own, to) in zip(blocks, places, strict=True):
        into: Any = (Ellipsis, *to)
        taken: Any = (Ellipsis, *own)
        found[into] = block[taken]
    return found


@task_name("rims of tiles")
def _rims_block(
    block: np.ndarray, margin: int, steps: list[tuple[int, ...]]
) -> dict[tuple[int, ...], np.ndarray]:
    """Return what each neighbour needs of a tile, by where it lies."""
    side = {-1: slice(0, margin), 0: slice(None), 1: slice(-margin, None)}
    found = {}
    for step in steps:
        part: Any = (Ellipsis, *(side[s] for s in step))
        found[step] = np.ascontiguousarray(block[part])
    return found


@task_name("tiles with margins")
def _with_rims_block(
    block: np.ndarray, steps: list[tuple[int, ...]], rims: list[dict[tuple[int, ...], np.ndarray]]
) -> np.ndarray:
    """Return a tile with the rims of its neighbours, which lie at `steps`, around it."""
    planes = len(steps[0])
    given = {step: rim[tuple(-s for s in step)] for step, rim in zip(steps, rims, strict=True)}
    size = block.shape[-planes:]
    before, after = np.zeros((2, planes), int)
    for axis in range(planes):
        for step, rim in given.items():
            if step[axis] and sum(map(abs, step)) == 1:
                (before if step[axis] < 0 else after)[axis] = rim.shape[axis - planes]
    shape = (*block.shape[:-planes], *(b + n + a for b, n, a in
                                       zip(before, size, after, strict=True)))  # fmt: skip
    found: np.ndarray = np.empty(shape, block.dtype)
    for step, part in [((0,) * planes, block), *given.items()]:
        at: Any = (Ellipsis, *(
            slice(0, b) if s < 0 else slice(b, b + n) if s == 0 else slice(b + n, None)
            for s, b, n in zip(step, before, size, strict=True)
        ))  # fmt: skip
        found[at] = part
    return found
