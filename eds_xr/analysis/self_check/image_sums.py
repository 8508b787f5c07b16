"""What tests of an image need of it: spectra of bands, and counts place by place."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.chunks import as_chunked
from eds_xr.image.blocks import add_delayed, boxes
from eds_xr.image.weighted_sums import lazy_maps, weighted_block
from eds_xr.schema import ENERGY, LINE, PHASE, spatial_dims
from eds_xr.segmentation.tiled_filters import cut_out
from eds_xr.spectra.sums import every_pixel, sum_spectra
from eds_xr.workers import calls, task_name

#: Bands of rows, and of columns, whose spectra are compared.
BANDS = 8
#: Channels are taken together in so many groups of about equal counts.
GROUPS = 16
#: Pixels are taken together until a mean one holds so many counts.
LEAST_COUNTS = 30.0
#: Counts are compared within places of so many of these pixels a side ...
PLACE = 4
#: ... and added up in tiles of so many pixels a side, whatever the chunks are.
TILE = 128
#: What a tile adds up of each phase; see :func:`_tile_block`.
ADDED = (
    "places", "pixels", "pixels2", "counts", "counts2", "place_counts2",
    "difference2", "expected", "expected_variance", "chi2", "chance", "chance_variance",
)  # fmt: skip


class ImageSums(NamedTuple):
    """What is added up over an image."""

    bands: dict[str, xr.Dataset]  # by dimension: spectra of bands along it [phase, energy]
    phases: xr.Dataset  # spectra of the phases' pure pixels [phase, energy]
    places: dict[str, np.ndarray]  # of each phase [phase], named in `ADDED`
    pixel: int  # pixels a side that were taken as one


def image_sums(image: xr.DataArray, pure: xr.DataArray, total: np.ndarray) -> ImageSums:
    """Return sums over an image. Computes: two passes.

    In one, chunks would wait for their neighbours in memory, a dozen of them at a time.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    pure : DataArray [phase, *spatial; bool]
        Pixels that hold one phase.
    total : ndarray [channel; counts]
        All pixels' spectrum.
    """
    image, dims = as_chunked(image), spatial_dims(image)
    masks = [_band_masks(image, d) for d in dims if image.sizes[d] >= BANDS]
    names = [f"band {i} of {d}" for d in dims if image.sizes[d] >= BANDS for i in range(BANDS)]
    phases = [str(n) for n in pure[PHASE].values]
    coord = xr.DataArray([*names, *phases], dims=PHASE, name=PHASE)
    own = pure.drop_vars([PHASE, *dims], errors="ignore").transpose(PHASE, *dims)
    own = own.chunk({PHASE: -1, **{d: image.chunksizes[d] for d in dims}})
    every = xr.concat([*masks, own], dim=PHASE, join="override").assign_coords({PHASE: coord})
    aligned = every.assign_coords({d: image[d] for d in dims if d in image.coords})
    size = _pixels_taken_together(image, total)
    spectra = sum_spectra(image, aligned).compute()
    places = _place_sums(image, own, total, size).compute()
    of = {d: spectra.sel({PHASE: [n for n in names if n.endswith(f" of {d}")]}) for d in dims}
    return ImageSums(
        {d: bands for d, bands in of.items() if bands.sizes[PHASE]},
        spectra.sel({PHASE: phases}),
        dict(zip(ADDED, places, strict=True)),
        size,
    )


def _band_masks(image: xr.DataArray, dim: str) -> xr.DataArray:
    """Return bands of equal width along a dimension ``[phase, *spatial; bool]``. Lazy."""
    dims = spatial_dims(image)
    number = np.arange(image.sizes[dim]) * BANDS // image.sizes[dim]
    inside = xr.DataArray(number[None] == np.arange(BANDS)[:, None], dims=(PHASE, dim))
    whole = every_pixel(image.drop_vars(dims, errors="ignore"))
    return (whole & inside).transpose(PHASE, *dims)


def _pixels_taken_together(image: xr.DataArray, total: np.ndarray) -> int:
    mean = float(total.sum()) / max(1, image.size // image.sizes[ENERGY])
    power = 1 / min(2, len(spatial_dims(image)))
    return min(max(1, int(np.ceil((LEAST_COUNTS / max(mean, 1e-9)) ** power))), TILE // 8)


def _place_sums(image: xr.DataArray, pure: xr.DataArray, total: np.ndarray, size: int) -> Any:
    """Return the sums `ADDED` of all tiles, each ``[phase]``, delayed. Lazy.

    Tiles begin at the image's corner, so that chunks change nothing.
    """
    from dask.array.core import normalize_chunks

    dims = spatial_dims(image)
    table = _groups_of_channels(total)
    sizes = 1, table.shape[1]
    (maps,) = lazy_maps(image, weighted_block, sizes, np.dtype(np.int64), table=table, whole=True)
    side = max(1, TILE // (PLACE * size)) * PLACE * size
    lengths = [1] * (len(dims) - 2) + [side] * min(2, len(dims))
    tiles = boxes(normalize_chunks(lengths, [image.sizes[d] for d in dims]))
    counts = cut_out(maps.transpose(LINE, *dims).data, tiles)
    there = cut_out(pure.data, tiles)
    return add_delayed(
        calls(_tile_block, [(*both, size) for both in zip(counts, there, strict=True)])
    )


def _groups_of_channels(total: np.ndarray) -> np.ndarray:
    """Return in which group of about equal counts a channel is ``[channel, group]``."""
    before = np.cumsum(total) - total / 2
    number = np.clip(before / max(float(total.sum()), 1e-9) * GROUPS, 0, GROUPS - 1).astype(int)
    return (number[:, None] == np.arange(GROUPS)).astype(float)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("counts of places")
def _tile_block(counts: np.ndarray, pure: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Return the sums `ADDED` of a tile, each ``[phase]``.

    `counts` are ``[group, *spatial]``; `pure` is ``[phase, *spatial; bool]``.
    """
    line = counts.ndim == 2
    height, width = (1, *counts.shape[-1:]) if line else counts.shape[-2:]
    counts, pure = (v.reshape(len(v), height, width) for v in (counts, pure))
    sizes = (1 if line else size), size
    merged = _merged(counts, sizes)
    alone = _merged(pure, sizes) == np.prod(sizes)
    sums = [_of_phase(merged, there) for there in alone]
    return tuple(np.array(sums, float).T)


def _merged(values: np.ndarray, sizes: tuple[int, int]) -> np.ndarray:
    """Return the sums of `sizes` neighbours ``[..., y, x]``; those that are incomplete left out."""
    *first, height, width = values.shape
    down, across = height // sizes[0], width // sizes[1]
    cut = values[..., : down * sizes[0], : across * sizes[1]].astype(np.int64)
    return np.asarray(cut.reshape(*first, down, sizes[0], across, sizes[1]).sum(axis=(-3, -1)))


def _of_phase(counts: np.ndarray, there: np.ndarray) -> list[float]:
    total = counts.sum(axis=0)
    return [*_between_places(total, there), *_second_differences(total, there),
            *_neighbours(counts, there)]  # fmt: skip


def _between_places(total: np.ndarray, there: np.ndarray) -> list[float]:
    """Return sums for an analysis of variance of pixels in places of several a side."""
    sizes = min(PLACE, total.shape[0]), PLACE
    inside, counts = (_merged(v, sizes) for v in (there, np.where(there, total, 0)))
    squares = _merged(np.where(there, total**2, 0), sizes)
    used = inside >= PLACE
    n, c, s = (v[used].astype(float) for v in (inside, counts, squares))
    return [float(n.size), n.sum(), (n**2).sum(), c.sum(), s.sum(), (c**2 / n).sum()]


def _second_differences(total: np.ndarray, there: np.ndarray) -> list[float]:
    """Return squares of ``a - 2 b + c`` of three in a row; their mean and variance by chance."""
    parts = [(total[:, i::3][:, : total.shape[1] // 3], there[:, i::3]) for i in range(3)]
    width = total.shape[1] // 3
    used = np.logical_and.reduce([t[:, :width] for _, t in parts])
    a, b, c = (v[used].astype(float) for v, _ in parts)
    expected = a + 4 * b + c
    variance = 2 * expected**2 + a + 16 * b + c
    return [float(((a - 2 * b + c) ** 2).sum()), expected.sum(), variance.sum()]


def _neighbours(counts: np.ndarray, there: np.ndarray) -> list[float]:
    """Return chi-squares of neighbours' shares of the groups; their mean and variance by chance.

    The mean of Pearson's chi-square of a table with fixed margins is ``N / (N - 1)`` times its
    degrees of freedom; the totals may differ.
    """
    width = counts.shape[2] // 2
    used = there[:, 0::2][:, :width] & there[:, 1::2][:, :width]
    a, b = (counts[:, :, i::2][:, :, :width][:, used].astype(float) for i in range(2))
    left, right = a.sum(axis=0), b.sum(axis=0)
    some = (left > 0) & (right > 0)
    a, b, left, right = a[:, some], b[:, some], left[some], right[some]
    both, whole = a + b, left + right
    chi2 = ((a * right - b * left) ** 2 / np.maximum(both, 1)).sum(axis=0) / (left * right)
    free = (both > 0).sum(axis=0) - 1
    return [float(chi2.sum()), float((free * whole / (whole - 1)).sum()), float(2 * free.sum())]
