"""Pixel features against scikit-image's, kind by kind, and memory on a large image.

``python tests/benchmarks/bench_features.py [--quick]``
"""

import json
from typing import Any

import numpy as np
import xarray as xr
from common import best_of, gigabytes, in_fresh_process, parser, peak_bytes, show, timed

from eds_xr.segmentation.features.stack import ALL_KINDS, DEFAULT_KINDS, pixel_features

SIGMAS = (1, 2, 4, 8, 16)
#: Scales that give scikit-image's standard deviations.
SAME_SCALES = tuple(sigma / 0.4 for sigma in SIGMAS)
CHANNELS = ["Brg", "Fp", "Ca-Pv"]


def main() -> None:
    """Print the tables, or do the task of a fresh process."""
    arguments = parser(__doc__)
    arguments.add_argument("--task", type=json.loads, help="for this script's own processes")
    chosen = arguments.parse_args()
    if chosen.task is not None:
        print(json.dumps(large(**chosen.task)))
        return
    pixels = 512 if chosen.quick else 1024
    show(f"3 channels of {pixels} x {pixels}", side_by_side(pixels), ("features", "time", ""))
    show("one channel, by kind", kinds(pixels), ("kind", "a feature and megapixel", ""))
    side = 2048 if chosen.quick else 8192
    found = in_fresh_process(__file__, {"pixels": side})
    rows = [
        ("features", f"{found['features']:.0f}", ""),
        ("time", f"{found['seconds']:.1f} s", ""),
        ("most memory", gigabytes(found["bytes"]), "4 GB"),
    ]
    show(f"3 channels of {side} x {side}, the mean of each feature", rows)


def channels(pixels: int, n: int = 3) -> np.ndarray:
    """Return score maps [channel, y, x]: smooth grains with the noise of counts."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    grains = gaussian_filter(rng.normal(size=(n, pixels, pixels)), (0, 6, 6)) > 0
    return rng.poisson(np.where(grains, 60, 15)).astype(np.float32)


def side_by_side(pixels: int) -> list[tuple[str, str, str]]:
    """Return times of scikit-image's features, of the same ones, and of Weka's."""
    from skimage.feature import multiscale_basic_features

    images = channels(pixels)
    maps = xr.DataArray(images, {"channel": CHANNELS}, ("channel", "y", "x"))
    last = np.ascontiguousarray(np.moveaxis(images, 0, -1))

    def theirs() -> int:
        return multiscale_basic_features(last, sigma_min=1, sigma_max=16, channel_axis=-1).shape[-1]

    same = [
        f"{channel}:{name}_{scale:g}"
        for channel in CHANNELS
        for scale in SAME_SCALES
        for name in ("gaussian", "sobel", "hessian_eig1", "hessian_eig2")
    ]
    ours = {
        "eds_xr, the same 60": lambda: pixel_features(maps, names=same).compute().shape[0],
        "eds_xr, Weka's default": lambda: pixel_features(maps).compute().shape[0],
    }
    megapixels = pixels**2 / 1e6
    rows, base = [], 0.0
    for label, run in {"scikit-image": theirs, **ours}.items():
        number = run()  # compiles kernels, too
        seconds = best_of(3, run)
        each = 1e3 * seconds / number / megapixels
        base = base or each
        times = f"{number} in {seconds:.2f} s, {each:.1f} ms a feature and megapixel"
        rows.append((label, times, f"{base / each:.1f} x"))
    return rows


def kinds(pixels: int) -> list[tuple[str, str, str]]:
    """Return the time of each kind of feature, on counts and on real numbers."""
    counts = xr.DataArray(channels(pixels, 1)[0], dims=("y", "x"), name="scores")
    rng = np.random.default_rng(1)
    real = counts + rng.random(counts.shape).astype(np.float32)
    rows = []
    for kind in ALL_KINDS:
        each = []
        for image in (counts, real):
            lazy = pixel_features(image, kinds=(kind,))
            lazy[:, :64, :64].compute()
            seconds = timed(lazy.compute)[0]
            each.append(f"{1e9 * seconds / lazy.size:.1f} ms")
        default = "default" if kind in DEFAULT_KINDS else ""
        rows.append((f"{kind} ({lazy.shape[0]})", " / ".join(each), default))
    return rows


def large(pixels: int) -> dict[str, Any]:
    """Reduce the features of channels that are made tile by tile; return time and memory."""
    import dask.array as da

    made = da.random.default_rng(0).poisson(30, (3, pixels, pixels), chunks=(1, 1024, 1024))
    maps = xr.DataArray(made, {"channel": CHANNELS}, ("channel", "y", "x"))
    features = pixel_features(maps)
    seconds, mean = timed(lambda: features.mean(("y", "x")).compute())
    return {"seconds": seconds, "bytes": peak_bytes(), "features": mean.size}


if __name__ == "__main__":
    main()
