"""Small spectrum images."""

from typing import Any

import numpy as np
import xarray as xr

ENERGY_KEV = 0.05 + 0.1 * np.arange(64)


def small_image() -> xr.DataArray:
    peaks_kev = np.array([[1.74, 3.69], [1.25, 6.40]])  # Si and Ca; Mg and Fe
    peaks = np.exp(-0.5 * ((ENERGY_KEV - peaks_kev[..., None]) / 0.1) ** 2).sum(axis=1)
    amount = np.zeros((12, 15, 2))
    amount[:, :8, 0] = amount[:, 8:, 1] = 6
    amount[4:8, 5:10] = 3  # where both overlap
    counts = np.random.default_rng(0).poisson(amount @ peaks + 0.2).astype(np.uint8)
    coords: dict[str, Any] = {
        "y": ("y", 1.5 * np.arange(12), {"units": "nm", "long_name": "y position"}),
        "x": ("x", 1.5 * np.arange(15), {"units": "nm", "long_name": "x position"}),
        "energy": ("energy", ENERGY_KEV, {"units": "keV", "long_name": "X-ray energy"}),
    }
    attrs = {"signal_type": "EDS_TEM", "beam_energy_kev": 200.0, "elements": ["Mg", "Fe"]}
    return xr.DataArray(counts, coords, ("y", "x", "energy"), name="counts", attrs=attrs)


def counts_image(values: np.ndarray, **coords: object) -> xr.DataArray:
    """Return counts ``[y, x, energy]`` as a spectrum image from 0.05 keV in steps of 0.1 keV."""
    energy = 0.05 + 0.1 * np.arange(values.shape[-1])
    return xr.DataArray(values, {"energy": energy, **coords}, ("y", "x", "energy"), name="counts")


def refuse(*args: object, **kwargs: object) -> None:
    """Stand in for Dask's scheduler where nothing may be computed."""
    raise AssertionError("something was computed")
