"""What tests of an image need of it, added up without many of its chunks in memory."""

import dask
import dask.array as da
import numpy as np
import xarray as xr
from support.held import Held

from eds_xr.analysis.self_check.image_sums import image_sums

CHANNELS, SIDE, CHUNKS = 256, 32, 6


def test_image_sums__few_chunks_are_in_memory_at_once() -> None:
    """Tiles of pixels are not those of the chunks: in one pass with the spectra, a dozen waited."""
    side = SIDE * CHUNKS
    counts = da.random.default_rng(1).poisson(
        0.2, (side, side, CHANNELS), chunks=(SIDE, SIDE, CHANNELS)
    )
    energy = ("energy", 0.02 * np.arange(1, CHANNELS + 1), {"units": "keV"})
    image = xr.DataArray(counts.astype(np.uint32), {"energy": energy}, ("y", "x", "energy"))
    pure = xr.ones_like(image.isel(energy=0, drop=True), dtype=bool).expand_dims(phase=["a", "b"])
    with dask.config.set(scheduler="synchronous"), Held() as held:
        found = image_sums(image, pure, np.full(CHANNELS, 1e4))
    assert int(found.phases.counts.sum()) > 0
    assert held.most < 4 * SIDE**2 * CHANNELS * 4
