"""Recordings of given counts, as a reader hands them over."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr

from eds_xr import readers, store
from eds_xr.readers.protocol import Axis, Recording, row_regions

RECORDED = np.random.default_rng(1).poisson(0.3, (13, 9, 32)).astype(np.uint8)
Y = {"name": "height", "scale": 0.002, "offset": 0.0, "units": "µm", "navigate": True}
X = {**Y, "name": "width"}
E = {"name": "Energy", "scale": 0.01, "offset": -0.1, "units": "keV", "navigate": False}
COUNTS = np.random.default_rng(1).poisson(0.3, (7, 5, 32)).astype(np.uint16)


def recording_of(counts: np.ndarray, pause: float = 0.0) -> Recording:
    """Return a recording whose row blocks take `pause` seconds each."""
    names = ("frame", "y", "x", "energy")[4 - counts.ndim :] if counts.ndim > 2 else ("x", "energy")
    axes = tuple(
        Axis(n, 2.0 * np.arange(size), "keV" if n == "energy" else "nm", n)
        for n, size in zip(names, counts.shape, strict=True)
    )

    def blocks(rows: int) -> Iterator[np.ndarray]:
        for region in row_regions(counts.shape, rows):
            time.sleep(pause)
            yield counts[region].copy()

    images = {"haadf": np.arange(counts[..., 0].size, dtype="f4").reshape(counts.shape[:-1])}
    images = images if counts.ndim == 3 else {}
    return Recording("EDS", axes, counts.dtype, blocks, images=images)


def image_of(counts: np.ndarray) -> xr.DataArray:
    """Return counts ``[y, x, energy]`` as a spectrum image."""
    return xr.DataArray(counts, {"energy": np.arange(counts.shape[-1])}, ("y", "x", "energy"))


def convert_counts(
    counts: np.ndarray, target: Any, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Any:
    """Convert counts as if a vendor file held them."""
    monkeypatch.setattr(readers, "read", lambda _: [recording_of(counts)])
    return store.convert("a.emd", target, **options)
