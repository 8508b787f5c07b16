"""How many components stand out of counting noise: eigenvalues, and foretelling held-out counts.

After division by the root of what independence expects, counting noise has unit variance (Keenan &
Kotula 2004), and its largest eigenvalue is known (Marchenko & Pastur 1967). Poisson counts split
at random, each for itself, are two independent images of half the dose (thinning): what a rank
explains of noise in one half does not come again in the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Eigenvalues this far above the edge of pure noise count as phases. Noise itself stays within
#: 1.07; absorption, drift and single odd objects reach 1.2.
NOISE_MARGIN = 1.25
#: Eigenvalues this far above it may be more than noise, when they foretell held-out counts.
POSSIBLE_MARGIN = 1.05
#: A gain counts when it is this many standard errors from zero.
SIGNIFICANT = 2.0
#: How often the counts are split.
SPLITS = 4
#: For the splits, rows beyond this are left out evenly: enough to see a phase.
MOST_ROWS = 4096
#: For the splits, channels are merged until they hold so many counts a row.
LEAST_COUNTS = 4.0
#: A predicted mean is no lower than this share of what independence expects.
LOWEST_SHARE = 0.02
#: Ranks beyond this are not held out.
MOST_RANKS = 16


class Evidence(NamedTuple):
    """What speaks for each number of components."""

    eigenvalues: np.ndarray  # in units of the edge of noise, largest first
    gains: np.ndarray  # [split, rank - 1; nats]: log-likelihood of held-out halves over rank 1
    suggested: int  # stand out of noise
    possible: int  # above the edge, and foretell held-out counts; at least `suggested`
    gap: float  # eigenvalue of the last suggested over the next


def rank_evidence(binned: np.ndarray, *, most: int = MOST_RANKS, seed: int = 0) -> Evidence:
    """Return the evidence for ranks up to `most` from binned counts ``[pixel, channel]``.

    Suggested are the eigenvalues above `NOISE_MARGIN`, unless a rank foretells held-out counts
    worse than the one before it.
    """
    values = noise_eigenvalues(binned)
    merged = _merge_weak_channels(binned.astype(float), LEAST_COUNTS)
    gains = _held_out_gains(merged, min(most, values.size), np.random.default_rng(seed))
    steps = np.diff(gains, axis=1)
    mean, error = steps.mean(0), steps.std(0, ddof=1) / np.sqrt(len(steps))
    above = values[1 : 1 + mean.size]
    stands_out = (above > NOISE_MARGIN) & (mean > -SIGNIFICANT * error - 1e-9)
    may_be = (above > POSSIBLE_MARGIN) & (mean > SIGNIFICANT * error) | stands_out
    suggested = 1 + _leading(stands_out)
    following = values[suggested] if suggested < values.size else 1.0  # none: as pure noise
    gap = float(values[suggested - 1] / max(following, 1e-9))
    return Evidence(values, gains, suggested, 1 + _leading(may_be), gap)


def noise_eigenvalues(binned: np.ndarray) -> np.ndarray:
    """Return the eigenvalues after Poisson scaling, largest first, in units of noise's edge."""
    counts = _merge_weak_channels(binned.astype(float))
    pixels, channels = counts.shape
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    scaled = counts / np.sqrt(expected)
    small = scaled @ scaled.T if pixels < channels else scaled.T @ scaled
    edge = (np.sqrt(pixels) + np.sqrt(channels)) ** 2
    return np.linalg.eigvalsh(small)[::-1] / edge


def _leading(flags: np.ndarray) -> int:
    """Return how many flags are set before the first that is not."""
    return int(np.argmin([*flags, False]))


def _held_out_gains(table: np.ndarray, ranks: int, random: np.random.Generator) -> np.ndarray:
    """Return the log-likelihood of held-out halves over that of rank 1, ``[split, rank]``."""
    table = np.rint(table[:: -(-len(table) // MOST_ROWS)]).astype(np.int64)
    table = table[table.any(1)][:, table.any(0)]
    gains = np.zeros((SPLITS, ranks))
    for gain in gains:
        half = random.binomial(table, 0.5)
        gain[:] = _gains(half.astype(float), (table - half).astype(float), ranks)
    return gains


def _gains(known: np.ndarray, held: np.ndarray, max_rank: int) -> np.ndarray:
    """Return the log-likelihood of `held` under the ranks of `known`, over that of rank 1."""
    expected = np.outer(known.sum(1), known.sum(0)) / max(known.sum(), 1.0)
    expected = np.maximum(expected, 1e-6)
    root = np.sqrt(expected)
    mean = expected.copy()
    gains = np.zeros(max_rank)
    for rank, part in enumerate(_shrunk_parts(known / root - root, max_rank - 1), start=1):
        mean += root * part
        ratio = np.maximum(mean / expected, LOWEST_SHARE)
        gains[rank] = (held * np.log(ratio) - expected * (ratio - 1)).sum()
        gains[rank + 1 :] = gains[rank]
    return gains


def _shrunk_parts(scaled: np.ndarray, most: int) -> list[np.ndarray]:
    """Return the strongest rank-1 parts above unit noise, each shrunk for least expected error.

    Gavish & Donoho 2017, IEEE Trans. Inf. Theory 63, 2137.
    """
    from scipy.linalg import eigh

    pixels, channels = scaled.shape
    wide = pixels < channels
    small = scaled @ scaled.T if wide else scaled.T @ scaled
    last = len(small) - 1
    if last < 0 or most < 1:
        return []
    values, vectors = eigh(small, subset_by_index=(max(0, last - most + 1), last))
    parts = []
    for square, vector in zip(values[::-1], vectors.T[::-1], strict=True):
        excess = (square - pixels - channels) ** 2 - 4 * pixels * channels
        if square <= pixels + channels or excess <= 0:
            break
        shrink = np.sqrt(excess) / square
        other = scaled.T @ vector if wide else scaled @ vector
        parts.append(shrink * (np.outer(vector, other) if wide else np.outer(other, vector)))
    return parts


def _merge_weak_channels(counts: np.ndarray, least: float = 1.0) -> np.ndarray:
    """Merge neighbours until each holds a count a pixel: rarer counts are not near-normal."""
    level = np.cumsum(counts.sum(0)) / (least * len(counts))
    group = np.floor(level * (1 - 1e-12)).astype(int)
    _, first = np.unique(group, return_index=True)
    merged = np.add.reduceat(counts, first, axis=1)
    return merged[:, merged.any(0)]
