import numpy as np
import pytest
import xarray as xr

from eds_xr.factorisation.ambiguity.bins_of_counts import binned_counts
from eds_xr.schema import EdsError


def image_of(shape: tuple[int, ...], mean: float) -> xr.DataArray:
    counts = np.random.default_rng(0).poisson(mean, (*shape, 8)).astype(np.uint16)
    dims = ("z", "y", "x")[3 - len(shape) :]
    return xr.DataArray(
        counts, {"energy": ("energy", np.arange(8) * 0.1 + 1, {"units": "keV"})}, (*dims, "energy"),
        "counts",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "mean", "bins"),
    [
        ((40, 48), 100.0, (40, 48)),  # each pixel holds enough
        ((40, 48), 1.0, (20, 24)),  # fewer bins would not tell phases apart
        ((130, 70), 100.0, (65, 35)),  # more are too many
        ((700,), 10.0, (350,)),
        ((4, 40, 40), 0.5, (2, 20, 20)),
    ],
)
def test_binned_counts__sums_whole_bins(shape, mean, bins):
    image = image_of(shape, mean)
    found = binned_counts(image)
    assert found.shape[:-1] == bins
    side = [n // b for n, b in zip(shape, bins, strict=True)]
    whole = image.isel({d: slice(b * s) for d, b, s in zip(image.dims, bins, side, strict=False)})
    assert found.sum() == int(whole.sum())
    corner = image.isel({d: slice(s) for d, s in zip(image.dims, side, strict=False)})
    np.testing.assert_array_equal(found[(0,) * len(bins)], corner.values.reshape(-1, 8).sum(0))


def test_binned_counts__eager_equals_lazy():
    image = image_of((130, 70), 3.0)
    np.testing.assert_array_equal(binned_counts(image.chunk(y=17, x=40)), binned_counts(image))


def test_binned_counts__refuses_an_image_without_counts():
    with pytest.raises(EdsError, match="no counts"):
        binned_counts(image_of((20, 20), 1.0) * 0)
