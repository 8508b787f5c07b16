"""How many components stand out of the counting noise: the evidence, from binned counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.schema import EdsError

#: Channels are merged until they hold so many counts a row: fewer numbers hold less noise.
LEAST_COUNTS = 16.0
#: Noise's own largest eigenvalue scatters about the edge; this many of Johnstone's scales above
#: it (2001, Ann. Stat. 29, 295), it is no noise.
SCALES = 4.0
#: A main phase carries at least this inertia (chi-squared a count); a phase of 1 % of the pixels,
#: or one that differs little, has 4e-4 and more, a single thin needle 3.4e-4. Absorption and drift
#: may carry more: their kind tells them.
LEAST_INERTIA = 3.8e-4
#: A gain counts when it is this many standard errors from zero.
SIGNIFICANT = 2.0
#: How often the counts are split.
SPLITS = 4
#: For the splits, rows beyond this are left out evenly: enough to see a phase.
MOST_ROWS = 4096
#: A predicted mean is no lower than this share of what independence expects.
LOWEST_SHARE = 0.02
#: Ranks beyond this are not held out.
MOST_RANKS = 16


class Evidence(NamedTuple):
    """What speaks for each number of components."""

    eigenvalues: np.ndarray  # in units of the edge of noise, largest first
    inertia: np.ndarray  # chi-squared a count that each carries, noise taken off
    gains: np.ndarray  # [split, rank - 1; nats]: log-likelihood of held-out halves over rank 1
    suggested: int  # stand out of noise as phases do
    possible: int  # are no noise; at least `suggested`
    gap: float  # eigenvalue of the last suggested over the next


def rank_evidence(binned: np.ndarray, *, most: int = MOST_RANKS, seed: int = 0) -> Evidence:
    """Return the evidence for ranks up to `most` from binned counts ``[pixel, channel]``.

    Possible are the eigenvalues above noise that foretell held-out counts no worse than the rank
    before; suggested are those of them with the inertia of a phase.
    """
    merged = _merge_weak_channels(binned.astype(float))
    values = noise_eigenvalues(merged)
    inertia = _inertia(values, merged)
    gains = _held_out_gains(merged, min(most, values.size), np.random.default_rng(seed))
    steps = np.diff(gains, axis=1)
    mean, error = steps.mean(0), standard_error(steps)
    following = slice(1, 1 + mean.size)
    no_noise = values[following] > 1 + SCALES * _edge_scale(*merged.shape)
    no_noise &= mean > -SIGNIFICANT * error - 1e-9
    suggested = 1 + _leading(no_noise & (inertia[following] > LEAST_INERTIA))
    after = values[suggested] if suggested < values.size else 1.0  # none: as pure noise
    gap = float(values[suggested - 1] / max(after, 1e-9))
    return Evidence(values, inertia, gains, suggested, 1 + _leading(no_noise), gap)


def noise_eigenvalues(merged: np.ndarray) -> np.ndarray:
    """Return the eigenvalues after Poisson scaling, largest first, in units of noise's edge."""
    pixels, channels = merged.shape
    expected = np.outer(merged.sum(1), merged.sum(0)) / merged.sum()
    scaled = merged / np.sqrt(expected)
    small = scaled @ scaled.T if pixels < channels else scaled.T @ scaled
    return np.linalg.eigvalsh(small)[::-1] / _edge(pixels, channels)


def choose_rank(
    n_components: int | str, image: xr.DataArray, coarse: np.ndarray
) -> tuple[int, Evidence | None]:
    """Return the number of components asked for; for "auto" all that are no noise, and why."""
    if isinstance(n_components, str) and n_components == "auto":
        evidence = rank_evidence(coarse)
        return evidence.possible, evidence
    if isinstance(n_components, bool) or not isinstance(n_components, int | np.integer):
        raise EdsError(f"n_components must be a number or 'auto', found {n_components!r}")
    most = min(image.size // image.shape[-1], image.shape[-1])
    if not 1 <= n_components <= most:
        raise EdsError(
            f"n_components must lie between 1 and {most} (pixels and channels of the image), "
            f"found {n_components}"
        )
    return int(n_components), None


def standard_error(draws: np.ndarray) -> np.ndarray:
    """Return the standard error of the mean of draws ``[draw, ...]``."""
    return draws.std(0, ddof=1) / np.sqrt(len(draws))


def _edge(pixels: int, channels: int) -> float:
    return float((np.sqrt(pixels) + np.sqrt(channels)) ** 2)


def _edge_scale(pixels: int, channels: int) -> float:
    """Return the scatter of noise's largest eigenvalue, in units of the edge."""
    roots = np.sqrt([pixels, channels])
    return float((1 / roots).sum() ** (1 / 3) / roots.sum())


def _inertia(values: np.ndarray, merged: np.ndarray) -> np.ndarray:
    """Return what an eigenvalue is without the noise that adds to it, a count.

    Benaych-Georges & Nadakuditi 2012, J. Multivar. Anal. 111, 120; zero below the edge.
    """
    pixels, channels = merged.shape
    excess = values * _edge(pixels, channels) - pixels - channels
    square = np.maximum(excess**2 - 4.0 * pixels * channels, 0)
    return np.where(values > 1, (excess + np.sqrt(square)) / 2, 0) / merged.sum()


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


def _merge_weak_channels(counts: np.ndarray) -> np.ndarray:
    """Merge neighbours until each holds so many counts a pixel."""
    level = np.cumsum(counts.sum(0)) / (LEAST_COUNTS * len(counts))
    group = np.floor(level * (1 - 1e-12)).astype(int)
    _, first = np.unique(group, return_index=True)
    merged = np.add.reduceat(counts, first, axis=1)
    return merged[:, merged.any(0)]
