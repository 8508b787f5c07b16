"""Features and scribbles to learn from."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.schema import label_array

SHAPE = (24, 30)


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests short."""
    monkeypatch.setattr("eds_xr.segmentation.classify.training.N_TREES", 40)


@pytest.fixture
def features() -> xr.DataArray:
    """Two features that tell left from right, and one of noise."""
    rng = np.random.default_rng(0)
    side = np.where(np.arange(SHAPE[1]) < 15, -1.0, 1.0) * np.ones(SHAPE)
    values = np.stack([side, -side, 0 * side]) + 0.3 * rng.standard_normal((3, *SHAPE))
    return xr.DataArray(
        values.astype(np.float32),
        dims=("feature", "y", "x"),
        coords={"feature": ["Fp:a", "Fp:b", "Fp:noise"], "x": np.arange(SHAPE[1]) * 1.7},
    )


@pytest.fixture
def scribbles(features: xr.DataArray) -> xr.DataArray:
    values = np.zeros(SHAPE, np.uint8)
    values[5:8, 2:8] = 1
    values[12:15, 20:27] = 2
    return label_array(values, features, ["matrix", "grain"])
