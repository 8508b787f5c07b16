"""Phase maps from few scribbles against scikit-image's TrainableSegmenter, on known assemblages.

    python tests/benchmarks/bench_segment.py [--seeds N] [--doses D ...] [--quick]

Strokes on 0.2 % of the pixels, wherever a phase has most of the counts, so they hold mixtures.
eds_xr: ``segment`` with its defaults, on the NMF scores that it finds. scikit-image:
``multiscale_basic_features`` of the total counts and the element maps, and the same number of
trees. Judged: mean intersection over union with the phase of most counts in each pixel; how much of
what is labelled matrix is matrix in that sense, and how much is 90 % pure. Without strokes, eds_xr
paints pure pixels itself: those labels are for sums of pure matrix.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import common
import numpy as np
import xarray as xr
from common import Row, say, show

import eds_xr
from eds_xr import simulate
from eds_xr.schema import label_array

SHAPE = (192, 192, 1024)
PAINTED, STROKE = 0.002, 6
ELEMENTS = ("Mg", "Al", "Si", "Ca", "Fe")
#: Range without rare earths, as the study has it.
LIGHT = slice(0.3, 8.0)
TREES = 200
#: A pixel with this share of the matrix is pure enough to be summed.
PURE = 0.9

#: Mean intersection over union; share of the labelled matrix that is matrix, that is pure.
Judgement = tuple[float, float, float]


def main() -> None:
    """Print a table for each dose."""
    args = common.dose_arguments(__doc__, seeds=10, quick_seeds=2)
    for dose in args.doses:
        found: dict[str, list[Judgement]] = {}
        for seed in range(args.seeds):
            say(f"dose {dose:g}, seed {seed}")
            for name, result in methods(dose, seed).items():
                found.setdefault(name, []).append(result)
        show(f"{dose:g} counts a pixel, {args.seeds} seeds", rows(found))


def methods(dose: float, seed: int) -> dict[str, Judgement]:
    """Return the judgement on each method."""
    image = simulate.spectrum_image(SHAPE, dose, seed=seed).drop_vars("haadf").persist()
    image = image.drop_vars("label", errors="ignore")
    truth = simulate.truth(SHAPE, dose, seed=seed)
    scribbles = painted(truth.label, np.random.default_rng(seed))
    segment = partial(eds_xr.segment, image.sel(energy=LIGHT), scribbles, seed=seed)
    ours, uncut = (segment(smoothness=s).label for s in (1.0, 0.0))
    judge = partial(judged, truth=truth)
    alone = segment_alone(image.sel(energy=LIGHT), seed)
    return {
        "eds_xr.segment": judge(ours.values),
        "eds_xr.segment, smoothness=0": judge(uncut.values),
        "scikit-image, total counts and element maps": judge(peer(image, scribbles, seed)),
        "eds_xr.segment, without strokes": judge(alone),
    }


def segment_alone(image: xr.DataArray, seed: int) -> np.ndarray:
    """Return labels of phases that are not painted; the commonest one is the matrix, 1."""
    label = eds_xr.segment(image, seed=seed).label.values
    matrix = np.bincount(label.ravel()).argmax()
    return np.where(label == matrix, 1, label + 1)


def painted(label: xr.DataArray, random: np.random.Generator) -> xr.DataArray:
    """Return straight strokes inside single phases, on a set share of the pixels."""
    values, done = label.values, np.zeros(label.shape, np.uint8)
    phases = np.unique(values)
    each = max(1, round(PAINTED * values.size / STROKE / phases.size))
    for phase in phases:
        drawn = 0
        while drawn < each:
            y, x = random.choice(np.argwhere(values == phase))
            angle = random.uniform(0, np.pi)
            step = np.arange(STROKE)
            rows = np.rint(y + step * np.sin(angle)).astype(int)
            columns = np.rint(x + step * np.cos(angle)).astype(int)
            inside = (rows < values.shape[0]) & (columns < values.shape[1]) & (columns >= 0)
            inside[inside] &= values[rows[inside], columns[inside]] == phase
            done[rows[inside], columns[inside]] = phase
            drawn += 1
    names = str(label.attrs["flag_meanings"]).split()[1:]
    return label_array(done, label, names)


def peer(image: xr.DataArray, scribbles: xr.DataArray, seed: int) -> np.ndarray:
    """Return the labels of scikit-image's TrainableSegmenter."""
    from skimage.feature import multiscale_basic_features
    from skimage.future import TrainableSegmenter
    from sklearn.ensemble import RandomForestClassifier

    maps = eds_xr.element_maps(image, ELEMENTS).transpose(..., "y", "x").values
    channels = np.stack([image.sum("energy").values, *maps], axis=-1).astype(np.float32)
    features = partial(multiscale_basic_features, channel_axis=-1)
    forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=-1)
    segmenter = TrainableSegmenter(forest, features)
    segmenter.fit(channels, scribbles.values)
    return segmenter.predict(channels)


def judged(label: np.ndarray, truth: xr.Dataset) -> Judgement:
    """Compare labels with the truth."""
    true = truth.label.values
    overlap = [
        ((label == p) & (true == p)).sum() / ((label == p) | (true == p)).sum()
        for p in np.unique(true)
    ]
    pure = truth.share.isel(phase=0).values > PURE
    matrix = label == 1
    return float(np.mean(overlap)), float((true == 1)[matrix].mean()), float(pure[matrix].mean())


def rows(found: dict[str, list[Judgement]]) -> list[Row]:
    """Return the rows of a table."""
    mean: dict[str, Any] = {name: np.mean(values, axis=0) for name, values in found.items()}
    own, uncut, other, alone = mean.values()
    table = [
        (name, f"IoU {iou:.3f}, matrix {right:.4f}, pure matrix {pure:.3f}", "")
        for name, (iou, right, pure) in list(mean.items())[:-1]
    ]
    table.append(("  IoU above scikit-image", f"{own[0] - other[0]:+.3f}", "at least +0.02"))
    table.append(("  IoU gained by the graph cut", f"{own[0] - uncut[0]:+.3f}", "not below 0"))
    table.append(("  precision of the matrix", f"{own[1]:.4f}", "at least 0.97 at full dose"))
    table.append(("  pure matrix without strokes", f"{alone[2]:.4f}", "at least 0.97"))
    return table


if __name__ == "__main__":
    main()
