"""Spectra summed over masks, with variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.chunks import as_chunked
from eds_xr.schema import (
    DETECTOR,
    ENERGY,
    LIVE_TIME,
    PHASE,
    PIXEL_LIVE_TIME,
    EdsError,
    check_counts_block,
    check_masks,
    check_spectrum_image,
    spatial_dims,
)
from eds_xr.workers import task_name


def sum_spectra(image: xr.DataArray, masks: xr.DataArray) -> xr.Dataset:
    """Sum the spectra of all pixels of each mask.

    Lazy: a graph of one pass over the image for all masks; ``.compute()`` runs it.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
        With ``detector``, the spectra have it, too.
    masks : DataArray of bool [*spatial] or [phase, *spatial]
        Masks may overlap.

    Returns
    -------
    Dataset
        ``counts`` and ``variance`` [phase, energy; counts], exact integers where `image` has
        integers (both are the same number: Poisson); ``n_pixels`` [phase]; ``live_time_s`` [phase]
        where the image knows it (a coordinate ``live_time_s``, or the attribute
        ``pixel_live_time_s``), so that ``quantify_zeta`` needs the current alone.

    Raises
    ------
    EdsError
        For masks that are not boolean or lie on another grid; for NaN or negative counts when
        computed.
    """
    check_spectrum_image(image, detectors=True)
    if DETECTOR in image.dims:
        return _of_each_detector(image, masks)
    check_masks(image, masks)
    several = masks if PHASE in masks.dims else masks.expand_dims(PHASE)
    if several.sizes[PHASE] == 0:
        raise EdsError("expected at least one mask, found none along 'phase'")
    counts = _masked_sums(as_chunked(image), several)
    pixels = several.sum(spatial_dims(image)).drop_attrs()
    dims = (PHASE, ENERGY)
    spectra = xr.Dataset(
        {
            "counts": (dims, counts, {"long_name": "counts", "units": "counts"}),
            "variance": (
                dims,
                counts,
                {"long_name": "variance of the counts", "units": "counts^2"},
            ),
            "n_pixels": pixels.assign_attrs(long_name="pixels of the mask", units="1"),
        },
        coords={ENERGY: image[ENERGY]},
        attrs=provenance.with_step(
            provenance.of_the_recording(image.attrs), "sum_spectra", masks=provenance.history(masks)
        ),
    )
    if PHASE in several.coords:
        spectra = spectra.assign_coords({PHASE: several[PHASE]})
    if (time := live_time_of(image, several, pixels)) is not None:
        spectra = spectra.assign({LIVE_TIME: time})
    return spectra if PHASE in masks.dims else spectra.isel({PHASE: 0})


def _of_each_detector(image: xr.DataArray, masks: xr.DataArray) -> xr.Dataset:
    """Return the sums ``[phase, detector, energy]`` of an image that keeps its detectors apart."""
    own = {n: c for n, c in image.coords.items() if c.dims == (DETECTOR,)}
    bare = image.drop_vars(list(own))
    each = [sum_spectra(bare.isel({DETECTOR: i}), masks) for i in range(image.sizes[DETECTOR])]
    names = ["counts", "variance"]
    sums = xr.concat([one[names] for one in each], dim=DETECTOR, combine_attrs="override")
    found = each[0].drop_vars(names).assign(sums.data_vars).assign_coords(own)
    lead = [d for d in (PHASE,) if d in found.counts.dims]
    return found.assign({n: found[n].transpose(*lead, DETECTOR, ENERGY) for n in names})


def every_pixel(image: xr.DataArray) -> xr.DataArray:
    """Return the mask of all pixels of an image. Lazy where the image is."""
    one = image.isel({d: 0 for d in (ENERGY, DETECTOR) if d in image.dims}, drop=True)
    return xr.ones_like(one, dtype=bool).reset_coords(drop=True).drop_attrs()


def live_time_of(
    image: xr.DataArray, masks: xr.DataArray, pixels: xr.DataArray
) -> xr.DataArray | None:
    """Return the live time of the pixels of each mask, if the image knows it [s]."""
    about = {"long_name": "live time of the pixels of the mask", "units": "s"}
    if LIVE_TIME in image.coords:
        time = image[LIVE_TIME].reset_coords(drop=True)
        dims = spatial_dims(image)
        return (
            xr.where(
                masks.drop_vars(dims, errors="ignore"), time.drop_vars(dims, errors="ignore"), 0
            )
            .sum(dims)
            .assign_attrs(about)
        )
    each = image.attrs.get(PIXEL_LIVE_TIME)
    return None if each is None else (pixels * float(each)).assign_attrs(about)


def _masked_sums(image: xr.DataArray, masks: xr.DataArray) -> Any:
    """Return a lazy ``[phase, energy]`` array: per block a partial sum, then a tree of sums."""
    import dask.array as da

    dims = spatial_dims(image)
    places = da.asarray(masks.transpose(*dims, PHASE).data)
    places = places.rechunk({i: c for i, c in enumerate(image.data.chunks[:-1])} | {len(dims): -1})
    axes = tuple(range(len(dims)))
    phase, energy = len(dims), len(dims) + 1
    dtype = np.dtype(np.float64 if image.dtype.kind == "f" else np.int64)
    partial = da.blockwise(
        _sum_block, (*axes, phase, energy), image.data, (*axes, energy), places, (*axes, phase),
        adjust_chunks={axis: 1 for axis in axes}, dtype=dtype, align_arrays=False,
    )  # fmt: skip
    # named: Dask fuses a block's sums with the first step of the tree, whose name remains
    return da.reduction(
        partial, np.sum, np.sum, axis=axes, dtype=dtype, name="sums over masks", concatenate=True
    )


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("sums over masks")
def _sum_block(block: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the sums of a block, ``[1, ..., phase, energy]``."""
    from eds_xr.spectra.masked_sums import masked_sums

    check_counts_block(block)
    rows = block.reshape(-1, block.shape[-1])
    sums = masked_sums(rows, masks.reshape(-1, masks.shape[-1]))
    return sums.reshape((1,) * (block.ndim - 1) + sums.shape)
