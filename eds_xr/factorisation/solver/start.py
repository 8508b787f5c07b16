"""Loadings where the descent starts, from the binned image."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from eds_xr.factorisation.solver.loadings import as_table, check_spectra_table, unit_columns
from eds_xr.schema import COMPONENT, ENERGY, EdsError

#: The rough start needs no more channels than this.
ROUGH_CHANNELS = 256


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
    if loss == "poisson":
        start = _scaled_start(binned, rank, seed)
    else:
        start = _factorise(binned.astype(float), rank, seed).T
    # a channel at zero could never come back: give each a trace of the mean spectrum
    return unit_columns(unit_columns(start) + 1e-4 * mean[:, None])


def hold_first(start: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Return a start whose first columns are `known`, in place of those most like them."""
    from scipy.optimize import linear_sum_assignment

    if known is None:
        return start
    length = np.linalg.norm(known, axis=0)[:, None] * np.linalg.norm(start, axis=0)
    _, taken = linear_sum_assignment(-(known.T @ start) / length)
    return np.ascontiguousarray(np.hstack([known, np.delete(start, taken, axis=1)]))


def _given_start(init: xr.DataArray, rank: int, channels: int) -> np.ndarray:
    if dict(init.sizes) != {COMPONENT: rank, ENERGY: channels}:
        raise EdsError(
            f"init must be [component: {rank}, energy: {channels}], found {dict(init.sizes)}"
        )
    check_spectra_table(init, "init")
    return as_table(init)


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


def _factorise(rows: np.ndarray, rank: int, seed: int) -> np.ndarray:
    from sklearn.decomposition import NMF
    from threadpoolctl import threadpool_limits

    if rank > min(rows.shape):  # the decomposition behind the start has no more directions
        draw = np.random.default_rng(seed).gamma(1.0, size=(rank, rows.shape[1]))
        return draw * rows.mean(0)
    model = NMF(rank, init="nndsvda", max_iter=50, tol=1e-5, random_state=seed)
    # small matrices: more threads would only wait for each other
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # it is only a start: convergence comes later
        model.fit(rows)
    return model.components_
