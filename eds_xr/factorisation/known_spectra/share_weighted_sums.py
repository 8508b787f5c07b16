"""Sums of a whole map, every pixel weighted by its shares of the phases, in two passes.

Shares that are found on the counts they then weight would select chance. So each count falls at
random in one of two halves: the shares that one half tells weight the counts of the other. The
halves are made anew in the second pass: kept, those of most of the image wait for the shares of
their neighbours.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import xarray as xr
from dask.base import compute

from eds_xr.factorisation.solver.descent import project_block
from eds_xr.image.blocks import Box, Sparse, add_delayed, boxes, compress_block, join_rows
from eds_xr.image.split import half_block
from eds_xr.workers import calls, shared, task_name

#: A pixel and phase without counts weighs as if it had this many.
LEAST_COUNTS = 1e-3

#: A chunk is halved by so many bytes at a time: its dense halves are as large as itself.
DENSE_BYTES = 2**24


def share_weighted_sums(
    image: xr.DataArray, table: np.ndarray, inside: xr.DataArray, window: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sums ``[phase, channel]``, their covariance ``[phase, phase_other, channel]``, shares.

    The last, ``[phase]``, are those of all pixels together, in pixels.
    `table` holds the spectra [channel, phase; sum 1] that tell the shares; `inside` the pixels
    [*spatial; bool] that count; shares are averages over `window` pixels a side. They add up to 1
    in a pixel, so that the sums add up to all counts.
    """
    import dask.array as da

    chunks, phases = image.data.chunks[:-1], table.shape[1]
    amounts = image.data.map_blocks(
        _amounts_block, shared(table, "spectra of the phases"), shape=image.shape, seed=seed,
        chunks=(*chunks, (2 * phases,)), dtype=np.float32, meta=np.empty((0,) * image.ndim, "f4"),
    )  # fmt: skip
    weights = _averaged(amounts, window).persist()
    places = da.asarray(inside.data).rechunk(chunks)
    late = zip(
        image.data.to_delayed().ravel(), boxes(chunks), weights.to_delayed().ravel(),
        places.to_delayed().ravel(), strict=True,
    )  # fmt: skip
    sums = calls(_sums_block, [(*each, image.shape, seed) for each in late])
    ((total, pairs, shares),) = compute(add_delayed(sums))
    first, second = np.tril_indices(phases)
    covariance = np.empty((phases, phases, image.shape[-1]))
    covariance[first, second] = covariance[second, first] = pairs.T
    return total.T, covariance, shares


def _averaged(amounts: Any, window: int) -> Any:
    """Return sums of amounts over a window of pixels, in the chunks that they had."""
    import dask.array as da

    if window == 1:
        return amounts
    spatial = range(amounts.ndim - 1)
    sizes = {axis: window for axis in list(spatial)[-2:]}  # frames stay apart
    depth = {axis: window // 2 if axis in sizes else 0 for axis in range(amounts.ndim)}
    smooth = da.overlap.map_overlap(
        _averaged_block, amounts, depth=depth, boundary="none",
        dtype=np.float32, meta=amounts._meta, sizes=sizes,
    )  # fmt: skip
    return smooth.rechunk(amounts.chunks)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _halves(
    block: np.ndarray, box: Box, shape: tuple[int, ...], seed: int
) -> tuple[Sparse, Sparse]:
    step = max(1, DENSE_BYTES // block[0].nbytes)
    halves = []
    for first in range(0, len(block), step):
        lines, start = block[first : first + step], box[0].start + first
        place = (slice(start, start + len(lines)), *box[1:])
        half = half_block(lines, place, shape, seed)
        halves.append((compress_block(half), compress_block(lines - half)))
    one, other = (join_rows(each) for each in zip(*halves, strict=True))
    return one, other


@task_name("amounts of the phases")
def _amounts_block(
    block: np.ndarray, table: np.ndarray, *, shape: tuple[int, ...], seed: int, block_info: Any
) -> np.ndarray:
    """Return the amounts ``[*spatial, 2 phases]`` that each half tells."""
    box = tuple(slice(*ends) for ends in block_info[0]["array-location"])[:-1]
    found = [project_block(half, table, "poisson") for half in _halves(block, box, shape, seed)]
    return np.concatenate(found, axis=1).reshape(*block.shape[:-1], -1)


@task_name("averaged amounts")
def _averaged_block(amounts: np.ndarray, *, sizes: dict[int, int]) -> np.ndarray:
    from scipy.ndimage import uniform_filter1d

    smooth = amounts.astype(float)
    for axis, size in sizes.items():  # beyond the image there is nothing
        smooth = uniform_filter1d(smooth, size, axis, mode="constant")
    return smooth.astype(np.float32)


@task_name("sums weighted by shares")
def _sums_block(
    block: np.ndarray, box: Box, amounts: np.ndarray, inside: np.ndarray,
    shape: tuple[int, ...], seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return sums ``[channel, phase]``, and of the products of two shares ``[channel, pair]``.

    And the shares of all pixels ``[phase]``.
    """
    phases = amounts.shape[-1] // 2
    table = np.maximum(amounts.reshape(-1, 2, phases).astype(float), 0) + LEAST_COUNTS
    share = table / table.sum(axis=2, keepdims=True)
    share *= inside.reshape(-1, 1, 1)
    sums: np.ndarray = np.zeros((shape[-1], phases))
    pairs: np.ndarray = np.zeros((shape[-1], phases * (phases + 1) // 2))
    halves = _halves(block, box, shape, seed)
    for half, weights in zip(halves, (share[:, 1], share[:, 0]), strict=True):
        _add_weighted(*half, np.ascontiguousarray(weights), sums, pairs)
    return sums, pairs, share.sum(axis=(0, 1)) / 2


@numba.njit(cache=True, nogil=True)
def _add_weighted(
    starts: np.ndarray,
    channel: np.ndarray,
    count: np.ndarray,
    share: np.ndarray,
    sums: np.ndarray,
    pairs: np.ndarray,
) -> None:
    phases = share.shape[1]
    for i in range(share.shape[0]):
        for t in range(starts[i], starts[i + 1]):
            c, j = channel[t], 0
            for p in range(phases):
                part = share[i, p] * count[t]
                sums[c, p] += part
                for q in range(p + 1):
                    pairs[c, j] += part * share[i, q]
                    j += 1
