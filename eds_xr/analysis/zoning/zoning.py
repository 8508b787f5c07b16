"""Zoning: composition against position within a phase, beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.analysis.strangers.known import Result, elements_of
from eds_xr.analysis.zoning.shares import DEEPEST, DEPTHS, Sums, zoned
from eds_xr.arguments import number, with_beam_assumed
from eds_xr.chunks import as_chunked
from eds_xr.cluster.supervision import computes
from eds_xr.image.blocks import add_delayed, boxes, compress_block
from eds_xr.image.weighted_sums import counts_times_table
from eds_xr.progress import progress
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_energy_in_kev,
    check_masks,
    check_spectrum_image,
    spatial_dims,
)
from eds_xr.segmentation.tiled_filters import map_planes
from eds_xr.spectra.line_fits.pixel_model import net_weights, pixel_model
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV
from eds_xr.workers import calls, task_name

#: Tiles along each side of the image, at most, and their least side [pixels].
TILES, LEAST_TILE = 16, 8
#: Pixels this near to another phase are left out: boundaries are inclined to the beam.
RIM = 2
#: A factorisation's phase is where it has this share of a pixel's counts.
PURE_SHARE = 0.9


class _Grid(NamedTuple):
    """Tiles of an image: their side and number along y and x."""

    side: int
    shape: tuple[int, int]


@computes
def zoning(
    image: xr.DataArray,
    result: Result,
    *,
    masks: xr.DataArray | None = None,
    elements: Sequence[str] | None = None,
    fdr: float = 0.05,
) -> xr.Dataset:
    """Find which lines of which phases vary with position by more than chance.

    Computes: reads `image` once, and once more for its total spectrum where there are no stored
    sums of pixels.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
    result : DataTree or Dataset
        Of :func:`analyse`: its pure pixels are looked at; of :func:`nmf`: pixels that hold a
        component nearly alone.
    masks : DataArray [phase, y, x; bool], optional
        Pixels of each phase, in place of those.
    elements : sequence of str, optional
        Whose lines; default is what the result says, or the attribute ``elements`` of the image.
    fdr : float
        Share of what is called zoned that chance may have made, on average.

    Returns
    -------
    Dataset [phase, line]
        ``share`` of the line in all net counts of the phase, and ``share_variance``;
        ``variation``, its relative standard deviation between places beyond chance;
        ``gradient_y``, ``gradient_x``, relative change a unit of length, with ``_variance``;
        ``gradient`` and ``direction`` [degrees, from x to y], its size, and whither it rises;
        ``inwards``, relative change a unit of length away from other phases, with ``_variance``;
        ``p_value``, the chance that a phase without zoning differs as much; ``q_value``, the same
        corrected for all phases and lines; ``zoned``; ``text``.

    Raises
    ------
    EdsError
        For a result without pixels of phases, unknown elements, or no image [y, x, energy].

    Notes
    -----
    Net counts of lines are one linear map of each pixel's counts, as in :func:`fitted_maps`; shares
    are compared between tiles, at most 16 along a side, of which pixels within 2 of another phase
    are left out. Three tests: do tiles differ more than counts scatter (chi-square); does the
    share rise along any direction; does it change with the distance to other phases (up to 16
    pixels). The least of their three chances counts, times three; Benjamini and Hochberg's
    correction over phases and lines. Of phases that hold fewer than 5 standard deviations of a
    line there is no number. What changes the shares without zoning is found as well: thickness,
    where the film absorbs, and another phase that lies in pixels that are taken for pure.

    Examples
    --------
    >>> from eds_xr import analyse, simulate
    >>> image = simulate.spectrum_image((64, 64, 1024), 200.0)             # doctest: +SKIP
    >>> found = zoning(image, analyse(image))                              # doctest: +SKIP
    >>> found.gradient.where(found.zoned)                                  # doctest: +SKIP
    """
    check_spectrum_image(image)
    check_energy_in_kev(image)
    if not 0 < number(fdr, "fdr") < 1:
        raise EdsError(f"fdr must be between 0 and 1, found {fdr!r}")
    dims = spatial_dims(image)
    if len(dims) != 2:
        raise EdsError(f"expected an image [y, x, energy], found {image.dims}; use image.isel(...)")
    given = _masks_of(result) if masks is None else masks
    check_masks(image, given)
    told = elements if elements is not None else elements_of(result)
    return zoning_of(image, given, told, fdr=fdr)


def zoning_of(
    image: xr.DataArray, masks: xr.DataArray, elements: Sequence[str] | None, *, fdr: float,
    total: xr.DataArray | None = None,
) -> xr.Dataset:  # fmt: skip
    """Return what :func:`zoning` finds, where the sum of all pixels [energy] may be known."""
    part = image.sel({ENERGY: slice(*FIT_RANGE_KEV)})
    known = None if total is None else total.sel({ENERGY: part[ENERGY]}).values.astype(float)
    with progress("zoning: the sum of all pixels"):
        model = pixel_model(part, elements, [], None, None, known)
    weights = net_weights(model.shapes.design, model.variance)[:, model.columns] * model.shares
    with progress("zoning"):
        sums = _sums(part, masks.transpose(PHASE, *spatial_dims(image)), weights).compute()
    lines = list(model.lines)
    found = zoned(Sums(sums, len(lines)), image, masks[PHASE].values.tolist(), lines, fdr)
    attrs = provenance.with_step(with_beam_assumed(image.attrs), "zoning", fdr=fdr)
    return found.assign_attrs(provenance.of_the_recording(attrs))


def _masks_of(result: Result) -> xr.DataArray:
    """Return the pixels [phase, y, x; bool] that hold one phase."""
    if isinstance(result, xr.DataTree) and "segmentation" in result.children:
        found = result["segmentation"].to_dataset()
        return found["pure"] if "pure" in found else found["present"]
    if isinstance(result, xr.Dataset):
        if "pure" in result or "present" in result:
            return result["pure"] if "pure" in result else result["present"]
        if "scores" in result:
            scores = result["scores"].clip(min=0)
            pure = (scores > PURE_SHARE * scores.sum(COMPONENT)).rename({COMPONENT: PHASE})
            names = pure[PHASE].values if PHASE in pure.coords else np.arange(pure.sizes[PHASE])
            return pure.assign_coords({PHASE: [str(name) for name in names]})
    raise EdsError(
        f"no pixels of phases in a {type(result).__name__}: give the result of analyse, segment or "
        "nmf, or masks [phase, y, x]"
    )


def _sums(part: xr.DataArray, masks: xr.DataArray, weights: np.ndarray) -> Any:
    """Return sums over tiles, then over depths, of each phase [phase, place, quantity]. Delayed.

    Quantities: net counts of lines, their variances, their covariances with all net counts; these
    and their variance; pixels, and the sums of their y, x and depth [pixels].
    """
    from dask.delayed import delayed

    image, whole = as_chunked(part), weights.sum(axis=1, keepdims=True)
    table = delayed(np.hstack([weights, weights**2, weights * whole, whole, whole**2]))
    depth = map_planes(masks.astype(np.uint8), _depth_block, DEEPEST).transpose(
        *masks.dims[1:], ...
    )
    chunks = image.data.chunks
    placed = depth.chunk(dict(zip(depth.dims, (*chunks[:-1], -1), strict=True))).data.to_delayed()
    side = max(LEAST_TILE, -(-max(image.shape[:2]) // TILES))
    grid = _Grid(side, (-(-image.shape[0] // side), -(-image.shape[1] // side)))
    blocks = zip(image.data.to_delayed().ravel(), placed.ravel(), boxes(chunks[:-1]), strict=True)
    each = [(block, inside, table, box, grid) for block, inside, box in blocks]
    return add_delayed(calls(_zoning_block, each))[0]


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("depth within phases")
def _depth_block(masks: np.ndarray, *, axes: int) -> np.ndarray:
    """Return the distance to the next pixel outside [phase, y, x; pixels], at most `DEEPEST`.

    Beyond the border of the image masks go on.
    """
    from scipy.ndimage import distance_transform_edt

    found = np.empty_like(masks)
    for one, made in zip(masks, found, strict=True):
        wide = np.pad(one, DEEPEST, "edge")
        far = distance_transform_edt(wide)[DEEPEST:-DEEPEST, DEEPEST:-DEEPEST]
        made[:] = np.minimum(np.where(wide.all(), DEEPEST, far), DEEPEST)
    return found


@task_name("sums over tiles of phases")
def _zoning_block(
    block: np.ndarray, depth: np.ndarray, table: np.ndarray, box: tuple[slice, ...], grid: _Grid
) -> tuple[np.ndarray]:
    """Return sums [phase, tile and then depth, quantity]: see :func:`_sums`."""
    counts = counts_times_table(compress_block(block), table)
    y, x = (i.ravel() for i in np.mgrid[box[0], box[1]])
    tiles = grid.shape[0] * grid.shape[1]
    tile = (y // grid.side) * grid.shape[1] + x // grid.side
    found = np.zeros((depth.shape[-1], tiles + DEPTHS, table.shape[1] + 4))
    for far, sums in zip(depth.reshape(-1, depth.shape[-1]).T, found, strict=True):
        inside = far > RIM
        places = np.stack([np.ones(inside.sum()), y[inside], x[inside], far[inside]], axis=1)
        values = np.hstack([counts[inside], places])
        np.add.at(sums, tile[inside], values)
        np.add.at(sums, tiles + far[inside].astype(int), values)
    return (found,)
