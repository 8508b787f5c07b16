"""Spectra as the kernels take them, ``[channel, component]``, and back as labelled loadings."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT, ENERGY, EdsError


def as_table(spectra: xr.DataArray) -> np.ndarray:
    """Return spectra as columns that sum to 1."""
    return unit_columns(spectra.transpose(ENERGY, COMPONENT).values)


def as_loadings(
    table: np.ndarray, image: xr.DataArray, fixed: xr.DataArray | None = None
) -> xr.DataArray:
    """Return columns as loadings ``[component, energy; sum 1]``; the first have `fixed`'s names."""
    values = table.T.astype(float)
    names = np.arange(len(values))
    if fixed is not None and COMPONENT in fixed.coords:
        free = [str(i) for i in range(len(values) - fixed.sizes[COMPONENT])]
        names = np.array([*fixed[COMPONENT].values.astype(str), *free])
    return xr.DataArray(
        values / values.sum(axis=1, keepdims=True),
        dims=(COMPONENT, ENERGY),
        coords={COMPONENT: names, ENERGY: image[ENERGY]},
        attrs={"long_name": "NMF loading", "units": "1"},
    )


def check_loadings(loadings: xr.DataArray, image: xr.DataArray, what: str = "loadings") -> None:
    """Raise unless spectra ``[component, energy]`` lie on the energy axis of the image."""
    if set(loadings.dims) != {COMPONENT, ENERGY}:
        raise EdsError(f"{what} must be [component, energy], found {tuple(loadings.dims)}")
    if loadings.sizes[ENERGY] != image.sizes[ENERGY] or not np.allclose(
        loadings[ENERGY], image[ENERGY]
    ):
        raise EdsError(
            f"{what} and image have different energy axes; select the same range, "
            "image.sel(energy=loadings.energy)"
        )
    check_spectra_table(loadings, what)


def unit_columns(table: np.ndarray) -> np.ndarray:
    """Return non-negative columns brought to sum 1, as the kernels take them."""
    table = np.asarray(table, float)
    total = table.sum(0)
    return np.ascontiguousarray(table / np.where(total > 0, total, 1), dtype=np.float32)


def check_spectra_table(spectra: xr.DataArray, what: str) -> None:
    """Raise unless spectra ``[component, energy]`` are finite, not negative and not all zero."""
    values = spectra.transpose(ENERGY, COMPONENT).values
    if not (np.isfinite(values).all() and (values >= 0).all() and values.any(axis=0).all()):
        raise EdsError(f"{what} must be spectra: finite, not negative, none of them all zero")
