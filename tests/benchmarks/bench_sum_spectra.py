"""Masked sums of many masks against one plain read of the store.

``python tests/benchmarks/bench_sum_spectra.py [pixels] [masks]``
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import eds_xr.store
from eds_xr import simulate
from eds_xr.spectra.sums import sum_spectra


def main(pixels: int = 512, n_masks: int = 20) -> None:
    """Print a table of the best of three runs each."""
    with tempfile.TemporaryDirectory() as folder:
        image = _stored(Path(folder) / "image.zarr", pixels)
        masks = _masks(image, n_masks)
        read = _best_s(lambda: image.max().compute())
        plain = _best_s(lambda: image.data.map_blocks(_touch, dtype=bool).compute())
        rows = [("plain read", plain), ("read and maximum", read)]
        for n in (1, 3, n_masks):
            some = masks.isel(phase=slice(n))
            rows.append((f"{n} masks", _best_s(lambda some=some: sum_spectra(image, some).load())))
        print(f"{'x'.join(map(str, image.shape))} {image.dtype}, {image.nbytes / 1e6:.0f} MB")
        for name, seconds in rows:
            print(f"{name:>18} {seconds:7.3f} s {seconds / plain:6.2f} x plain read")


def _stored(path: Path, pixels: int) -> xr.DataArray:
    eds_xr.save(simulate.spectrum_image((pixels, pixels, 2048), 180, seed=0), path)
    return eds_xr.store.open(path)


def _masks(image: xr.DataArray, n: int) -> xr.DataArray:
    """Return random blobs that overlap, each some 40 % of the image."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(0).normal(size=(n, image.sizes["y"], image.sizes["x"]))
    smooth = gaussian_filter(noise, (0, 8, 8))
    coords = {"phase": [f"mask_{i}" for i in range(n)], "y": image.y, "x": image.x}
    return xr.DataArray(smooth > 0.25 * smooth.std(), coords, ("phase", "y", "x"))


def _touch(block: np.ndarray) -> np.ndarray:
    return block[..., :1] > 0


def _best_s(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
