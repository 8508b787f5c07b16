"""Which phases are present in each pixel, against other ways, on known assemblages.

    python tests/benchmarks/bench_segment.py [--seeds N] [--doses D ...] [--quick]

A phase is present where it gives more than a tenth of the counts. Judged: intersection over union,
the mean over grain phases and the worst of them, of

- the attainable: shares of scores for the true spectra, the Gaussian (0 to 2 pixels) and the
  threshold that are best by the truth;
- ``segment`` with nothing given, and its parts: evidence and cut alone (the draft), forest alone;
- ``segment`` with strokes on 0.2 % of the pixels, classes being combinations, and scikit-image's
  ``TrainableSegmenter`` on these strokes (total counts and element maps);
- the score share above 0.1, and k-means on shares of smoothed scores, a cluster present where its
  mean share is.

And, for ``segment`` alone: how often phases are present at each probability (it should be that),
and how much of what is called pure has less than 2 and 4 % of anything else.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import common
import numpy as np
import xarray as xr
from common import Row, say, show

import eds_xr
from eds_xr import simulate
from eds_xr.analysis.segment import segment
from eds_xr.schema import label_array
from eds_xr.segmentation.presence import amounts, evidence, sample

SHAPE = (192, 192, 2048)
PAINTED, STROKE = 0.002, 6
ELEMENTS = ("Mg", "Al", "Si", "Ca", "Fe")
TREES = 200
LEAST_SHARE = 0.1
METAL = simulate.Phase("metal", {"Fe": 0.9, "Ni": 0.1}, 0.08, (6.0, 16.0), 0.6, 1.2)
ASSEMBLAGES = (simulate.PYROLITE_71GPA, (*simulate.PYROLITE_71GPA, METAL))
BINS = np.linspace(0, 1, 6)


def main() -> None:
    """Print a table for each dose."""
    args = common.dose_arguments(__doc__, seeds=3, quick_seeds=1)
    for dose in args.doses:
        found: dict[str, list[np.ndarray]] = {}
        sure: list[np.ndarray] = []
        for seed, phases in product(range(args.seeds), ASSEMBLAGES):
            say(f"dose {dose:g}, seed {seed}, {len(phases)} phases")
            overlaps, calibration = methods(dose, seed, phases)
            sure.append(calibration)
            for name, result in overlaps.items():
                found.setdefault(name, []).append(result)
        title = f"{dose:g} counts a pixel, {args.seeds} seeds of {len(ASSEMBLAGES)} assemblages"
        show(title, [*rows(found), *sure_rows(np.mean(sure, axis=0))])


def methods(
    dose: float, seed: int, phases: tuple[simulate.Phase, ...]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return intersections over unions [grain phase] of each method; how sure ``segment`` is."""
    image = simulate.spectrum_image(SHAPE, dose, seed=seed, phases=phases).drop_vars("haadf")
    image = image.drop_vars("label", errors="ignore").compute()
    truth = simulate.truth(SHAPE, dose, seed=seed, phases=phases)
    share = truth.share.compute()
    true = share.values > LEAST_SHARE
    factors = eds_xr.nmf(image, len(phases), seed=seed).compute()
    factors = factors.assign_coords(component=matched(factors.scores, share))
    order = factors.component.values.tolist()
    by_name = {"component": share.phase.values.tolist()}
    factors = factors.sel(by_name).assign_coords(by_name)
    say(f"components in order {order}")
    ours = segment(image, channels=factors, seed=seed).compute()
    strokes = painted(true, share, np.random.default_rng(seed))
    by_strokes = segment(image, strokes, channels=factors, seed=seed).present.compute()
    known = amounts.amounts_of_image(image, factors.loadings)
    draft = evidence.draft_presence(sample.sample_windows(known.counts), known.noise, LEAST_SHARE)
    uncut = segment(image, channels=factors, smoothness=0.0, seed=seed).present
    judge = partial(overlaps_of, true=true)
    return {
        "attainable": attainable(image, truth.loadings, true),
        "eds_xr.segment": judge(full(ours.present, share)),
        "  evidence and cut alone": judge(np.moveaxis(draft[0], -1, 0)),
        "  forest without cut": judge(full(uncut, share)),
        "eds_xr.segment, with strokes": judge(full(by_strokes, share)),
        "scikit-image, TrainableSegmenter": judge(trained(image, strokes, share)),
        "score share > 0.1": judge(thresholded(factors.scores)),
        "k-means": judge(clustered(factors.scores, seed)),
    }, sureness(ours, share)


def matched(scores: xr.DataArray, share: xr.DataArray) -> list[str]:
    """Return the phase that each component is most like."""
    from scipy.optimize import linear_sum_assignment

    maps = amounts.smoothed(scores.values / scores.values.sum(-1, keepdims=True).clip(1), 1.5)
    size = maps.shape[-1]
    both = np.vstack([maps.reshape(-1, size).T, share.values.reshape(size, -1)])
    found = linear_sum_assignment(-np.corrcoef(both)[:size, size:])[1]
    return [str(share.phase.values[i]) for i in found]


def full(present: xr.DataArray, share: xr.DataArray) -> np.ndarray:
    """Return presence of all phases of the truth, nowhere where none was found."""
    return present.reindex(phase=share.phase.values, fill_value=False).values


def overlaps_of(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each phase but the matrix."""
    both, either = (f(found, true)[1:].sum((1, 2)) for f in (np.logical_and, np.logical_or))
    return both / np.maximum(either, 1)


def attainable(image: xr.DataArray, loadings: xr.DataArray, true: np.ndarray) -> np.ndarray:
    """Return the best that a Gaussian and a threshold reach, chosen by the truth."""
    known = loadings.rename(phase="component")
    scores = eds_xr.project(image, known).values
    best = np.zeros(len(true) - 1)
    for sigma in (0.0, 0.5, 0.75, 1.0, 1.5, 2.0):
        near = amounts.smoothed(scores, sigma) if sigma else scores
        shares = np.moveaxis(near / near.sum(-1, keepdims=True).clip(1e-6), -1, 0)
        for level in np.arange(0.02, 0.5, 0.01):
            best = np.maximum(best, overlaps_of(shares > level, true))
    return best


def painted(true: np.ndarray, share: xr.DataArray, random: np.random.Generator) -> xr.DataArray:
    """Return straight strokes within combinations of phases, on a set share of the pixels."""
    sets, code = np.unique(true.reshape(len(true), -1).T, axis=0, return_inverse=True)
    values = code.reshape(true.shape[1:]) + 1
    done = np.zeros(values.shape, np.uint8)
    each = max(2, round(PAINTED * values.size / STROKE / len(sets)))
    for label, _ in product(range(1, len(sets) + 1), range(each)):
        y, x = random.choice(np.argwhere(values == label))
        angle, step = random.uniform(0, np.pi), np.arange(STROKE)
        line = np.rint([y + step * np.sin(angle), x + step * np.cos(angle)]).astype(int)
        row, column = line[:, ((line >= 0) & (line < len(values))).all(0)]
        own = values[row, column] == label
        done[row[own], column[own]] = label
    names = ["+".join(share.phase.values[held]) for held in sets]
    return label_array(done, share.isel(phase=0, drop=True), names)


def trained(image: xr.DataArray, strokes: xr.DataArray, share: xr.DataArray) -> np.ndarray:
    """Return presence by scikit-image's TrainableSegmenter."""
    from skimage.feature import multiscale_basic_features
    from skimage.future import TrainableSegmenter
    from sklearn.ensemble import RandomForestClassifier

    maps = eds_xr.element_maps(image, ELEMENTS).transpose(..., "y", "x").values
    channels = np.stack([image.sum("energy").values, *maps], axis=-1).astype(np.float32)
    forest = RandomForestClassifier(TREES, random_state=0, n_jobs=-1)
    segmenter = TrainableSegmenter(forest, partial(multiscale_basic_features, channel_axis=-1))
    segmenter.fit(channels, strokes.values)
    classes = ["", *eds_xr.schema.phase_names(strokes)]
    held = np.array([[p in c.split("+") for c in classes] for p in share.phase.values])
    return held[:, segmenter.predict(channels)]


def thresholded(scores: xr.DataArray) -> np.ndarray:
    """Return where each component's own score is above a tenth of all."""
    values = scores.values
    return np.moveaxis(values / values.sum(-1, keepdims=True).clip(1) > LEAST_SHARE, -1, 0)


def clustered(scores: xr.DataArray, seed: int) -> np.ndarray:
    """Return presence by k-means, with a cluster more than phases for each grain phase."""
    from sklearn.cluster import KMeans

    near = amounts.smoothed(scores.values, 1.0)
    shares = near / near.sum(-1, keepdims=True).clip(1e-6)
    size = shares.shape[-1]
    means = KMeans(2 * size - 1, n_init=3, random_state=seed).fit(shares.reshape(-1, size))
    held = means.cluster_centers_[means.labels_] > LEAST_SHARE
    return held.T.reshape(size, *shares.shape[:2])


def sureness(found: xr.Dataset, share: xr.DataArray) -> np.ndarray:
    """Return how often grains are present in each bin of probability, and how pure is "pure"."""
    true = share.sel(phase=found.phase)
    p = found.probability.values[1:].ravel()
    there = (true.values > LEAST_SHARE)[1:].ravel()
    inside = np.digitize(p, BINS[1:-1])
    often = [there[inside == i].mean() for i in range(len(BINS) - 1)]
    pure = found.pure.values
    rest = (1 - true.values)[pure]
    return np.array([*often, (rest < 0.02).mean(), (rest < 0.04).mean(), pure.any(0).mean()])


def rows(found: dict[str, list[np.ndarray]]) -> list[Row]:
    """Return the rows of a table."""
    table = []
    for name, values in found.items():
        every = np.concatenate(values)
        against = np.concatenate([v / a for v, a in zip(values, found["attainable"], strict=True)])
        goal = "at least 0.97 of the attainable" if name == "eds_xr.segment" else ""
        text = f"IoU {every.mean():.3f}, worst {every.min():.3f}, of attainable {against.min():.3f}"
        table.append((name, text, goal))
    return table


def sure_rows(sure: np.ndarray) -> list[Row]:
    """Return the rows of calibration and purity."""
    bins = [f"{a:.1f}-{b:.1f}" for a, b in zip(BINS[:-1], BINS[1:], strict=True)]
    table = [
        (f"  present where p is {name}", f"{value:.3f}", "within the bin")
        for name, value in zip(bins, sure, strict=False)
    ]
    clean, nearly, area = sure[len(bins) :]
    text = f"{clean:.4f}, < 4 %: {nearly:.4f}; {area:.2f} of the pixels"
    return [*table, ("  pure has < 2 % of others", text, "at least 0.99")]


if __name__ == "__main__":
    main()
