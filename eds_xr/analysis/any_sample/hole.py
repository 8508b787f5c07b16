"""What is counted without the sample, in an analysis: read, subtracted, kept with the result."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import xarray as xr

from eds_xr.analysis.recipe import Recipe
from eds_xr.schema import ENERGY, LIVE_TIME, PHASE, PIXEL_LIVE_TIME, check_spectrum_image
from eds_xr.spectra.hole import BY_DOSE, subtract_hole
from eds_xr.spectra.subtraction import SubtractionWarning
from eds_xr.spectra.sums import every_pixel, sum_spectra
from eds_xr.store import conversion, opening, saving


def hole_of(recipe: Recipe) -> xr.Dataset | None:
    """Return the spectrum recorded in the hole, if the recipe names its file."""
    return None if recipe.instrument.hole is None else read_hole(recipe.instrument.hole)


def read_hole(source: str) -> xr.Dataset:
    """Return the sum of all pixels of a store, or of a vendor file, which is converted for it."""
    if "://" in source or opening.is_store(Path(source).expanduser()):
        return _summed(opening.open(source))
    with tempfile.TemporaryDirectory(prefix="eds_xr_hole_") as folder:
        return _summed(opening.open(conversion.convert(source, Path(folder) / "hole.zarr")))


def check_hole(image: xr.DataArray, hole: xr.Dataset | None, recipe: Recipe) -> None:
    """Raise, before the work, where a hole cannot be subtracted from spectra of an image."""
    if hole is None or recipe.instrument.hole_scale is not None:
        return
    corner = image.isel({d: slice(0, 1) for d in image.dims if d != ENERGY})
    without_hole(sum_spectra(corner, every_pixel(corner)), hole, recipe, ())


def without_hole(
    spectra: xr.Dataset, hole: xr.Dataset | None, recipe: Recipe, elements: Collection[str]
) -> xr.Dataset:
    """Return spectra less what was counted in the hole, where there is one."""
    if hole is None:
        return spectra
    with warnings.catch_warnings():  # the attribute `warnings` has them
        warnings.simplefilter("ignore", SubtractionWarning)
        return subtract_hole(
            spectra, hole, scale=recipe.instrument.hole_scale or BY_DOSE, elements=list(elements)
        )


def hole_of_a_pixel(
    total: xr.Dataset, hole: xr.Dataset | None, recipe: Recipe, elements: Collection[str]
) -> xr.Dataset | None:
    """Return what a pixel holds of the hole, from the spectrum of all pixels of an image."""
    if hole is None:
        return None
    whole = without_hole(total, hole, recipe, elements)
    share = float(whole.hole_scale) / float(total.n_pixels)
    own = hole[["counts", "variance"]].reset_coords(drop=True)
    return own.assign(counts=share * own.counts, variance=share**2 * own.variance)


def keep_hole(hole: xr.Dataset, place: Path) -> None:
    """Save the spectrum of a hole as an image of one pixel, which opens as any other."""
    counts = hole.counts.expand_dims({"y": [0.0], "x": [0.0]})
    attrs = dict(hole.attrs)
    if LIVE_TIME in hole:
        attrs |= {LIVE_TIME: float(hole[LIVE_TIME]), PIXEL_LIVE_TIME: float(hole[LIVE_TIME])}
    image = counts.astype(np.uint64).assign_attrs(attrs)
    for dim in ("y", "x"):
        image[dim].attrs = {"units": "nm", "long_name": f"{dim} position"}
    saving.save(image.drop_vars(PHASE, errors="ignore"), place)


def _summed(image: xr.DataArray) -> xr.Dataset:
    check_spectrum_image(image)
    return sum_spectra(image, every_pixel(image)).compute()
