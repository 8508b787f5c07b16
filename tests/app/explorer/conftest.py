"""A simulated assemblage to explore."""

import pytest
import xarray as xr

from eds_xr import simulate

RECIPE = {"shape": (64, 80, 1024), "dose": 300.0, "seed": 5}


@pytest.fixture(scope="package")
def grains() -> xr.DataArray:
    """Image of a simulated pyrolite, in memory."""
    return simulate.spectrum_image(**RECIPE).compute()
