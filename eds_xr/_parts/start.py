"""The number of components, and where the descent starts: both from the binned image."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from eds_xr._parts.counts import Counts
from eds_xr._parts.descent import unit_columns
from eds_xr.schema import COMPONENT, ENERGY, EdsError

#: Eigenvalues this far above the edge of pure noise count as phases. Noise itself stays within
#: 1.05; absorption, drift and single odd objects reach 1.2.
NOISE_MARGIN = 1.25
#: The rough start needs no more channels than this.
ROUGH_CHANNELS = 256


def choose_rank(n_components: int | str, counts: Counts) -> int:
    """Return the number of components asked for, or the suggestion for "auto"."""
    if isinstance(n_components, str) and n_components == "auto":
        return count_signals(noise_eigenvalues(counts.binned))[0]
    if isinstance(n_components, bool) or not isinstance(n_components, int | np.integer):
        raise EdsError(f"n_components must be a number or 'auto', found {n_components!r}")
    most = min(counts.full.pixels, counts.full.channels)
    if not 1 <= n_components <= most:
        raise EdsError(
            f"n_components must lie between 1 and {most} (pixels and channels of the image), "
            f"found {n_components}"
        )
    return int(n_components)


def noise_eigenvalues(binned: np.ndarray) -> np.ndarray:
    """Return the eigenvalues after Poisson scaling, largest first, in units of noise's edge."""
    counts = _merge_weak_channels(binned.astype(float))
    pixels, channels = counts.shape
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    scaled = counts / np.sqrt(expected)
    small = scaled @ scaled.T if pixels < channels else scaled.T @ scaled
    edge = (np.sqrt(pixels) + np.sqrt(channels)) ** 2
    return np.linalg.eigvalsh(small)[::-1] / edge


def count_signals(values: np.ndarray) -> tuple[int, float]:
    """Return how many eigenvalues stand out, and the last one's ratio to the next."""
    rank = max(1, int((values > NOISE_MARGIN).sum()))
    following = values[rank] if rank < values.size else 1.0  # no more: compare with pure noise
    return rank, float(values[rank - 1] / max(following, 1e-9))


def start_loadings(
    binned: np.ndarray, rank: int, *, loss: str, init: str | xr.DataArray, seed: int
) -> np.ndarray:
    """Return the first loadings ``[channel, component]``."""
    if isinstance(init, xr.DataArray):
        return _given_start(init, rank, binned.shape[1])
    mean = binned.sum(0) / binned.sum()
    if init == "random":
        draw = np.random.default_rng(seed).gamma(1.0, size=(mean.size, rank))
        return unit_columns(draw * mean[:, None])
    start = _scaled_start if loss == "poisson" else _plain_start
    # a channel at zero could never come back: give each a trace of the mean spectrum
    return unit_columns(unit_columns(start(binned, rank, seed)) + 1e-4 * mean[:, None])


def check_spectra_table(spectra: xr.DataArray, what: str) -> None:
    """Raise unless spectra ``[component, energy]`` are finite, not negative and not all zero."""
    values = spectra.transpose(ENERGY, COMPONENT).values
    if not (np.isfinite(values).all() and (values >= 0).all() and values.any(axis=0).all()):
        raise EdsError(f"{what} must be spectra: finite, not negative, none of them all zero")


def _merge_weak_channels(counts: np.ndarray, least: float = 1.0) -> np.ndarray:
    """Merge neighbours until each holds a count a pixel: rarer counts are not near-normal."""
    level = np.cumsum(counts.sum(0)) / (least * len(counts))
    group = np.floor(level * (1 - 1e-12)).astype(int)
    _, first = np.unique(group, return_index=True)
    merged = np.add.reduceat(counts, first, axis=1)
    return merged[:, merged.any(0)]


def _given_start(init: xr.DataArray, rank: int, channels: int) -> np.ndarray:
    if dict(init.sizes) != {COMPONENT: rank, ENERGY: channels}:
        raise EdsError(
            f"init must be [component: {rank}, energy: {channels}], found {dict(init.sizes)}"
        )
    check_spectra_table(init, "init")
    return unit_columns(init.transpose(ENERGY, COMPONENT).values)


def _scaled_start(binned: np.ndarray, rank: int, seed: int) -> np.ndarray:
    """Factorise after dividing by the roots of mean image and mean spectrum (Keenan & Kotula)."""
    bins = -(-binned.shape[1] // ROUGH_CHANNELS)
    starts = np.arange(0, binned.shape[1], bins)
    rough = np.add.reduceat(binned.astype(float), starts, axis=1)
    pixel, channel = np.sqrt(rough.mean(1) + 1e-9), np.sqrt(rough.mean(0) + 1e-9)
    spectra = _factorise(rough / pixel[:, None] / channel, rank, seed) * channel
    mean = binned.sum(0) + 1e-9
    within = mean / np.repeat(np.add.reduceat(mean, starts), bins)[: mean.size]
    return (np.repeat(spectra, bins, axis=1)[:, : mean.size] * within).T


def _plain_start(binned: np.ndarray, rank: int, seed: int) -> np.ndarray:
    return _factorise(binned.astype(float), rank, seed).T


def _factorise(rows: np.ndarray, rank: int, seed: int) -> np.ndarray:
    from sklearn.decomposition import NMF

    if rank > min(rows.shape):  # the decomposition behind the start has no more directions
        draw = np.random.default_rng(seed).gamma(1.0, size=(rank, rows.shape[1]))
        return draw * rows.mean(0)
    model = NMF(rank, init="nndsvda", max_iter=50, tol=1e-5, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is only a start: convergence comes later
        model.fit(rows)
    return model.components_
