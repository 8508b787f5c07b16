"""Components that a few pixels hold."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.factorisation.component_kinds.few_pixels import in_few, pixels_in_few


@pytest.mark.parametrize("chunks", [None, {"y": 40}, {"y": 3, "x": 4, "component": 1}])
def test_pixels_in_few__wherever_they_lie(chunks: dict[str, int] | None) -> None:
    rng = np.random.default_rng(0)
    values = rng.poisson((50, 2, 2, 2), (40, 30, 4)).astype(float)
    values[3, 4, 1], values[39, 29, 1] = 900, 700  # of two pixels
    values[::4, ::3, 2] += 60  # of many
    scores = xr.DataArray(values, dims=("y", "x", "component"))
    found = pixels_in_few(scores if chunks is None else scores.chunk(chunks), np.ones(4))
    assert found.tolist() == [False, True, False, False]
    np.testing.assert_array_equal(found, in_few(values.reshape(-1, 4), np.ones(4)))
