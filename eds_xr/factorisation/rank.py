"""How many components an image holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.chunks import as_chunked
from eds_xr.factorisation.one_read import finest_grid, read_once
from eds_xr.image.stored_sums import summed_pixels
from eds_xr.schema import COMPONENT, EdsError, check_spectrum_image

#: A rank is clear when its eigenvalue is this many times the next one.
CLEAR_GAP = 5.0

#: Channels are merged until they hold so many counts a row: fewer numbers hold less noise.
LEAST_COUNTS = 16.0
#: Noise's own largest eigenvalue scatters about the edge; this many of Johnstone's scales above
#: it (2001, Ann. Stat. 29, 295), it is no noise.
SCALES = 4.0
#: A phase carries at least this inertia (chi-squared a count). Absorption, drift and single odd
#: objects carry less, whatever the dose: 3.4e-4 in the published 71 GPa map; a phase of 1 % of
#: the pixels, or one that differs little, has 4e-4 and more.
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


def suggest_rank(image: xr.DataArray, *, max_rank: int = 10, seed: int = 0) -> xr.Dataset:
    """Suggest how many components stand out of the counting noise, with the evidence.

    Computes: reads `image` once, or its sums of pixels where its store holds them.

    Two witnesses, both on the binned image. *Eigenvalues*: divided by the root of its expected
    value under independence (Keenan & Kotula 2004, Surf. Interface Anal. 36, 203), counting noise
    has unit variance, and its largest eigenvalue lies at ``(sqrt(pixels) + sqrt(channels))**2``
    (Marchenko & Pastur 1967). *Held-out counts*: each count goes to one of two halves by chance;
    the mean that each rank finds in the first (shrunk as Gavish & Donoho 2017 have it) is scored
    by its Poisson likelihood on the second.

    ``possible`` are the eigenvalues above noise (by four times the scatter of its largest), as
    long as none foretells held-out counts worse than the rank before. Suggested are those of
    them with the *inertia* of a phase: chi-squared a count, noise taken off (Benaych-Georges &
    Nadakuditi 2012, J. Multivar. Anal. 111, 120), of 3.8e-4 at least. Absorption, drift and
    single odd objects have less, whatever the dose.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    max_rank : int
        Number of ranks to show. The suggestion does not depend on it.
    seed : int
        Splits the counts.

    Returns
    -------
    Dataset
        ``eigenvalue`` [component; in units of the edge of noise]; ``inertia`` [component; 1];
        ``held_out`` [component; nats],
        the log-likelihood of a held-out half over that of one component, the mean over splits;
        ``gain``, the same over one component less; ``held_out_error`` and ``gain_error``, their
        standard errors; attributes ``suggested``, ``possible``, ``gap``
        (of the suggested eigenvalue over the next) and ``clear`` (1 when the gap is at least 5).

    Raises
    ------
    EdsError
        When `image` is no spectrum image, or holds no counts.
    """
    check_spectrum_image(image)
    if max_rank < 1 or seed < 0:
        raise EdsError(f"expected max_rank >= 1 and seed >= 0, found {max_rank!r} and {seed!r}")
    summed, _ = summed_pixels(as_chunked(image), finest_grid(image.shape).size)
    found = rank_evidence(read_once(summed).binned, seed=seed)
    return _as_dataset(found, min(max_rank, MOST_RANKS)).assign_attrs(
        suggested=found.suggested,
        possible=found.possible,
        gap=found.gap,
        clear=int(found.gap >= CLEAR_GAP),
    )


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
    mean, error = steps.mean(0), _standard_error(steps)
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


def choose_rank(n_components: int | str, image: xr.DataArray, coarse: np.ndarray) -> int:
    """Return the number of components asked for, or the suggestion for "auto"."""
    if isinstance(n_components, str) and n_components == "auto":
        return rank_evidence(coarse).suggested
    if isinstance(n_components, bool) or not isinstance(n_components, int | np.integer):
        raise EdsError(f"n_components must be a number or 'auto', found {n_components!r}")
    most = min(image.size // image.shape[-1], image.shape[-1])
    if not 1 <= n_components <= most:
        raise EdsError(
            f"n_components must lie between 1 and {most} (pixels and channels of the image), "
            f"found {n_components}"
        )
    return int(n_components)


def _as_dataset(found: Evidence, shown: int) -> xr.Dataset:
    values, gains = found.eigenvalues[:shown], found.gains[:, :shown]
    steps = np.diff(gains, axis=1, prepend=0)
    edge = {"long_name": "eigenvalue over the edge of noise", "units": "1"}
    inertia = {"long_name": "chi-squared a count, without noise", "units": "1"}
    whole = {"long_name": "log-likelihood of held-out counts over rank 1", "units": "nats"}
    step = {"long_name": "gain over one component less", "units": "nats"}
    error = {"long_name": "standard error", "units": "nats"}
    return xr.Dataset(
        {
            "eigenvalue": (COMPONENT, values, edge),
            "inertia": (COMPONENT, found.inertia[:shown], inertia),
            "held_out": (COMPONENT, gains.mean(0), whole),
            "held_out_error": (COMPONENT, _standard_error(gains), error),
            "gain": (COMPONENT, steps.mean(0), step),
            "gain_error": (COMPONENT, _standard_error(steps), error),
        },
        coords={COMPONENT: np.arange(1, values.size + 1)},
    )


def _standard_error(draws: np.ndarray) -> np.ndarray:
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
