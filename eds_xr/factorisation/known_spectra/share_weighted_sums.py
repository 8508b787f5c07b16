"""Sums of a whole map, every pixel weighted by its shares of the phases, in two passes.

Shares that are found on the counts they then weight would select chance. So each count falls at
random in one of two halves: the shares that one half tells weight the counts of the other. The
halves are made anew in the second pass: kept, those of most of the image wait for the shares of
their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import xarray as xr

from eds_xr.factorisation.solver.descent import project_block
from eds_xr.image.blocks import Sparse, compress_block, join_rows
from eds_xr.image.split import half_block
from eds_xr.workers import shared, task_name

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

    phases = table.shape[1]
    places = da.asarray(inside.data).rechunk(image.data.chunks[:-1])
    weights = _averaged(_amounts(image, table, seed), window).persist()
    # needs all weights: chunks that are read before these are there would wait for them
    shares = _sum_of_shares(weights, places).compute()
    rows = _sums(image, weights, places, seed).compute()
    first, second = np.tril_indices(phases)
    covariance = np.empty((phases, phases, image.shape[-1]))
    covariance[first, second] = covariance[second, first] = rows[phases:]
    return rows[:phases], covariance, shares


def _amounts(image: xr.DataArray, table: np.ndarray, seed: int) -> Any:
    """Return the amounts that the halves tell as one Dask array ``[*spatial, 2 phases]``. Lazy."""
    import dask.array as da

    # the columns lie along the energy: Dask reads within a task only what leaves out no dimension
    counts, axes = image.data, tuple(range(image.ndim))
    return da.blockwise(
        _amounts_block, axes, counts, axes, *_along(counts), align_arrays=False,
        adjust_chunks={axes[-1]: 2 * table.shape[1]}, dtype=np.float32,
        meta=np.empty((0,) * counts.ndim, np.float32),
        table=shared(table, "spectra of the phases"), shape=counts.shape, seed=seed,
    )  # fmt: skip


def _sum_of_shares(weights: Any, places: Any) -> Any:
    """Return the shares of all pixels together ``[phase]``. Lazy."""
    import dask.array as da

    axes = tuple(range(weights.ndim))
    sizes = dict.fromkeys(axes[:-1], 1) | {axes[-1]: weights.shape[-1] // 2}
    shares = da.blockwise(
        _shares_block, axes, weights, axes, places, axes[:-1], adjust_chunks=sizes, dtype=float,
        meta=np.empty((0,) * weights.ndim),
    )  # fmt: skip
    return shares.sum(axes[:-1])


def _sums(image: xr.DataArray, weights: Any, places: Any, seed: int) -> Any:
    """Return the sums of phases and of pairs of them ``[row, channel]``. Lazy."""
    import dask.array as da

    counts, phases = image.data, weights.shape[-1] // 2
    *spatial, energy, row = axes = tuple(range(image.ndim + 1))
    one_each = dict.fromkeys(spatial, 1)
    sums = da.blockwise(
        _sums_block, (*spatial, row, energy), counts, axes[:-1], weights, axes[:-1],
        places, axes[:-2], *_along(counts), align_arrays=False,
        new_axes={row: phases + phases * (phases + 1) // 2}, adjust_chunks=one_each,
        dtype=float, meta=np.empty((0,) * (counts.ndim + 1)), shape=counts.shape, seed=seed,
    )  # fmt: skip
    return sums.sum(tuple(spatial))


def _along(counts: Any) -> list[Any]:
    """Return the places of an image's pixels along each axis, as arguments of ``blockwise``."""
    import dask.array as da

    along: list[Any] = []
    for axis, sizes in enumerate(counts.chunks[:-1]):
        along += [da.arange(sum(sizes), chunks=(sizes,)), (axis,)]
    return along


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
    block: np.ndarray, along: Sequence[np.ndarray], shape: tuple[int, ...], seed: int
) -> tuple[Sparse, Sparse]:
    """Return the halves of the counts of a block whose pixels lie at these places `along` axes."""
    box = [slice(int(each[0]), int(each[-1]) + 1) for each in along]
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
    block: np.ndarray, *along: np.ndarray, table: np.ndarray, shape: tuple[int, ...], seed: int
) -> np.ndarray:
    """Return the amounts ``[*spatial, 2 phases]`` that each half tells."""
    halves = _halves(block, along, shape, seed)
    found = [project_block(half, table, "poisson") for half in halves]
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
    block: np.ndarray, amounts: np.ndarray, inside: np.ndarray, *along: np.ndarray,
    shape: tuple[int, ...], seed: int,
) -> np.ndarray:  # fmt: skip
    """Return sums of phases, then those of products of two shares ``[1, ..., row, channel]``."""
    share = _shares(amounts, inside)
    phases = share.shape[2]
    sums: np.ndarray = np.zeros((shape[-1], phases))
    pairs: np.ndarray = np.zeros((shape[-1], phases * (phases + 1) // 2))
    halves = _halves(block, along, shape, seed)
    for half, weights in zip(halves, (share[:, 1], share[:, 0]), strict=True):
        _add_weighted(*half, np.ascontiguousarray(weights), sums, pairs)
    rows = np.concatenate([sums.T, pairs.T])
    return rows.reshape((1,) * inside.ndim + rows.shape)


@task_name("shares of the phases")
def _shares_block(amounts: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the shares of all pixels together ``[1, ..., phase]``."""
    return _shares(amounts, inside).sum((0, 1)).reshape((1,) * inside.ndim + (-1,)) / 2


def _shares(amounts: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the shares that each half tells ``[pixel, half, phase]``, zero of pixels outside."""
    table = np.maximum(amounts.reshape(inside.size, 2, -1).astype(float), 0) + LEAST_COUNTS
    return table / table.sum(axis=2, keepdims=True) * inside.reshape(-1, 1, 1)


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
