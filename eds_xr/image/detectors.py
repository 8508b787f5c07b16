"""Images and spectra whose detectors are kept apart, added up."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.axes import sum_dtype
from eds_xr.schema import DETECTOR, DETECTOR_ATTRS, EdsError


def sum_detectors(data: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
    """Add up the counts of several detectors, exactly.

    Lazy: nothing is computed.

    Parameters
    ----------
    data : DataArray or Dataset [..., detector, ...]
        A spectrum image of ``convert(..., detectors="apart")``, or spectra of it.

    Returns
    -------
    DataArray or Dataset
        Without ``detector``; whole counts stay whole. ``elevation_angle_deg`` and
        ``azimuth_angle_deg`` are attributes where all detectors have the same; where they differ
        there are none, and an absorption correction asks for ``take_off_angle_deg``.

    Raises
    ------
    EdsError
        For data that do not keep detectors apart.
    """
    if DETECTOR not in data.dims:
        raise EdsError(f"there are no detectors to add up: found {tuple(map(str, data.dims))}")
    attrs = {**data.attrs, **_agreed(data)}
    attrs = provenance.with_step(attrs, "sum_detectors", detectors=_names(data))
    if isinstance(data, xr.DataArray):
        return _added(data).assign_attrs(attrs)
    kept = {n: v if DETECTOR not in v.dims else _added(v) for n, v in data.data_vars.items()}
    coords = {n: c for n, c in data.coords.items() if DETECTOR not in c.dims}
    return xr.Dataset(kept, coords, attrs)


def own_attrs(one: xr.DataArray | xr.Dataset) -> dict[str, float]:
    """Return attributes that a chosen detector has of its own, from its scalar coordinates."""
    told = {n: one.coords[n] for n in DETECTOR_ATTRS if n in one.coords and not one[n].ndim}
    return {n: float(c) for n, c in told.items() if np.isfinite(float(c))}


def _added(data: xr.DataArray) -> xr.DataArray:
    number = data.sizes[DETECTOR]
    dtype = sum_dtype(data.dtype, number) if data.dtype.kind in "ui" else data.dtype
    return data.sum(DETECTOR, dtype=dtype, keep_attrs=True)


def _agreed(data: xr.DataArray | xr.Dataset) -> dict[str, float]:
    told = {n: np.unique(data[n].values) for n in DETECTOR_ATTRS if n in data.coords}
    return {n: float(v[0]) for n, v in told.items() if v.size == 1 and np.isfinite(v[0])}


def _names(data: xr.DataArray | xr.Dataset) -> list[str]:
    return [str(n) for n in data[DETECTOR].values] if DETECTOR in data.coords else []
