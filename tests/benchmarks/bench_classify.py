"""Training and prediction against scikit-image's TrainableSegmenter: same features, same forest.

``python tests/benchmarks/bench_classify.py [--pixels 1024] [--quick]``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))
from common import best_of, show, timed  # noqa: E402

from eds_xr.schema import label_array  # noqa: E402
from eds_xr.segmentation.classify.classifier import PixelClassifier
from eds_xr.segmentation.classify.quality import score_by_stroke
from eds_xr.segmentation.classify.training import predict, train  # noqa: E402
from eds_xr.segmentation.scribbles import line, paint  # noqa: E402

PHASES = ("Brg", "Fp", "Ca-Pv")
#: Expected counts a pixel in each channel, of each pure phase.
CHANNELS = np.array([[0.80, 0.10, 0.10], [0.15, 0.75, 0.10], [0.10, 0.20, 0.70]])
N_FEATURES = 60


def main() -> None:
    """Print a table for few painted pixels, and for more than are learnt from by default."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--pixels", type=int, default=1024)
    made.add_argument("--quick", action="store_true", help="a small image")
    options = made.parse_args()
    pixels = 256 if options.quick else options.pixels
    for share, dose in ((0.002, 12), (0.02, 4)):
        truth, features = _problem(pixels, dose)
        painted = _painted(truth, features, share)
        rows = _measured(truth, features, painted, 1 if options.quick else 3)
        show(f"{pixels} x {pixels}, {N_FEATURES} features, {share:.1%} painted, dose {dose}", rows)


def _measured(
    truth: np.ndarray, features: xr.DataArray, painted: xr.DataArray, times: int
) -> list[tuple[str, str, str]]:
    """Return the rows of a table; each time is the best of some runs."""
    ours = train(features, painted)  # also compiles
    predict(ours, features.isel(y=slice(8))).compute()
    tiles = features.chunk(y=256, x=256)
    fitting = best_of(times, lambda: train(features, painted))
    predicting = best_of(times, lambda: predict(ours, tiles).compute())
    scoring = timed(lambda: score_by_stroke(features, painted))
    probability = predict(ours, tiles).compute()
    peer = _peer(ours, features, painted, times)
    label = probability.argmax("phase").values + 1
    exact = np.array_equal(probability.values, peer["probability"])
    total, peers = fitting + predicting, peer["fit"] + peer["predict"]
    return [
        ("training", f"{fitting:.2f} s", f"TrainableSegmenter {peer['fit']:.2f} s"),
        ("prediction", f"{predicting:.2f} s", f"TrainableSegmenter {peer['predict']:.2f} s"),
        ("both", f"{total:.2f} s", f"{peers:.2f} s: {peers / total:.1f} times; goal 2"),
        ("accuracy", f"{(label == truth).mean():.4f}", f"{(peer['label'] == truth).mean():.4f}"),
        ("probabilities equal", str(exact), "to the last bit of float32"),
        ("score by stroke", f"{scoring[1].attrs['accuracy']:.4f}", f"in {scoring[0]:.2f} s"),
        ("out of bag", f"{ours.out_of_bag_accuracy:.4f}", "flattered by neighbours"),
        ("pixels learnt from", str(sum(ours.n_painted)), f"{int((painted > 0).sum())}"),
    ]


def _peer(
    ours: PixelClassifier, features: xr.DataArray, painted: xr.DataArray, times: int
) -> dict[str, Any]:
    """Return times and result of scikit-image, which takes features pixel by pixel."""
    from skimage.future import TrainableSegmenter
    from sklearn.base import clone

    values = np.ascontiguousarray(features.transpose("y", "x", "feature").values)
    label = painted.values
    forest = clone(ours.model).set_params(n_jobs=-1, oob_score=False)  # it does not ask for it
    segmenter = TrainableSegmenter(clf=forest, features_func=lambda image: image)
    fit = best_of(times, lambda: segmenter.fit(values, label))
    seconds, found = min(
        (timed(lambda: segmenter.predict(values)) for _ in range(times)), key=lambda run: run[0]
    )
    probability = ours.model.predict_proba(values.reshape(-1, values.shape[-1]))
    return {
        "fit": fit,
        "predict": seconds,
        "label": found,
        "probability": probability.T.reshape(-1, *label.shape).astype(np.float32),
    }


def _problem(pixels: int, dose: float) -> tuple[np.ndarray, xr.DataArray]:
    """Return true labels of a noisy image of three channels, and scikit-image's features of it."""
    from scipy.ndimage import gaussian_filter
    from skimage.feature import multiscale_basic_features

    rng = np.random.default_rng(0)
    fields = [gaussian_filter(rng.normal(size=(pixels, pixels)), 6) for _ in PHASES]
    truth = np.argmax(np.stack(fields), axis=0) + 1
    amount = np.stack([gaussian_filter((truth == i).astype(float), 1.5) for i in (1, 2, 3)], -1)
    counts = rng.poisson(dose * amount @ CHANNELS).astype(np.float32)
    values = multiscale_basic_features(counts, channel_axis=-1, sigma_min=0.5, sigma_max=8)
    values = np.ascontiguousarray(np.moveaxis(values, -1, 0)[:N_FEATURES], np.float32)
    names = [f"feature_{i}" for i in range(len(values))]
    return truth, xr.DataArray(values, {"feature": names}, ("feature", "y", "x"))


def _painted(truth: np.ndarray, features: xr.DataArray, share: float) -> xr.DataArray:
    """Return strokes of some twenty pixels in each phase, until that share is painted."""
    rng, size = np.random.default_rng(1), len(truth)
    strokes = []
    for _ in range(int(share * truth.size / 20)):
        start = rng.uniform(20, size - 20, 2)
        angle = rng.uniform(0, 2 * np.pi)
        along = start + np.arange(20)[:, None] * [np.sin(angle), np.cos(angle)]
        label = truth[tuple(along.astype(int).T)]
        kept = along[: np.argmax(label != label[0]) or len(along)]
        strokes.append(line(PHASES[label[0] - 1], kept))
    painted = paint(strokes, features.isel(feature=0, drop=True), phases=PHASES)
    right = label_array(truth, features, PHASES) == painted
    return painted.where(right, 0).astype(np.uint8).assign_attrs(painted.attrs)


if __name__ == "__main__":
    main()
