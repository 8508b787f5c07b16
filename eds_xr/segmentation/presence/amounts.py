"""Counts of each phase in each pixel, without bias, and the noise that they have.

Non-negative scores of few counts are too large on average where a phase is absent. A linear fit is
not: ``amounts = counts @ weights``, with the weights of least variance for the mean spectrum. Its
noise follows from the composition, without looking at single counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.image.blocks import by_spectrum, compress_block
from eds_xr.image.stored_sums import total_spectrum
from eds_xr.image.weighted_sums import counts_times_table, linear_weights
from eds_xr.schema import COMPONENT, ENERGY, spatial_dims
from eds_xr.workers import task_name

#: Smoothed over so many counts, compositions are known well enough to tell the noise.
COUNTS_FOR_NOISE = 600.0
#: A composition is taken to hold this much of every phase, for its noise.
LEAST_SHARE = 0.01
#: Windows are of at most this sigma [pixels].
MOST_SIGMA = 4.0


class Amounts(NamedTuple):
    """Counts of each phase, and their noise.

    Attributes
    ----------
    counts : DataArray [*spatial, component; float32]
        Without bias: noise reaches below zero. They sum to the pixel's counts.
    noise : ndarray [component, component, component]
        Covariance of the amounts of a pixel that holds one count of the first, on average.
    """

    counts: xr.DataArray
    noise: np.ndarray


def amounts_of_image(image: xr.DataArray, loadings: xr.DataArray) -> Amounts:
    """Return the amounts of known `loadings` in an image on the same energies.

    Lazy: but for the mean spectrum, for which the weights are best.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    loadings : DataArray [component, energy; sum 1]
    """
    table = loadings.transpose(COMPONENT, ENERGY).values.astype(float)
    mean = total_spectrum(image) / (image.size / image.sizes[ENERGY])
    # of a mixture of the loadings: only then do the amounts sum to the pixel's counts
    weights = linear_weights(table, (linear_weights(table, mean) @ mean).clip(0) @ table)
    columns = np.ascontiguousarray(weights.T)
    counts = by_spectrum(image, _amounts_block, COMPONENT, columns)
    counts = counts.assign_coords({COMPONENT: loadings[COMPONENT]})
    noise = np.einsum("kc,pc,qc->kpq", table.clip(0), weights, weights, optimize=True)
    return Amounts(counts, noise)


def amounts_of_scores(scores: xr.DataArray, loadings: xr.DataArray | None) -> Amounts:
    """Return scores as amounts; without loadings, as if no two phases shared a channel."""
    counts = scores.transpose(*spatial_dims(scores), COMPONENT).astype(np.float32)
    counts = counts if counts.chunks is None else counts.chunk({COMPONENT: -1})
    size = counts.sizes[COMPONENT]
    if loadings is None:
        noise = np.zeros((size,) * 3)
        noise[(np.arange(size),) * 3] = 1
        return Amounts(counts, noise)
    table = loadings.transpose(COMPONENT, ENERGY).values.astype(float).clip(0)
    mean = counts.mean(spatial_dims(counts)).values @ table
    weights = linear_weights(table, mean)
    return Amounts(counts, np.einsum("kc,pc,qc->kpq", table, weights, weights, optimize=True))


def covariance(composition: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the covariance ``[..., component, component]`` of pixels of these mean counts."""
    return np.einsum("...k,kpq->...pq", composition, noise, optimize=True)


def smoothed(values: np.ndarray, sigma: float) -> np.ndarray:
    """Return ``[..., y, x, component]`` smoothed over the last two spatial axes (or the one)."""
    from scipy.ndimage import gaussian_filter

    axes = tuple(range(max(0, values.ndim - 3), values.ndim - 1))
    return gaussian_filter(values, sigma, axes=axes)


def width_gathering(counts: float, mean: float, least: float, most: float) -> float:
    """Return the sigma of a Gaussian that averages over so many counts [pixels]."""
    return float(np.clip(np.sqrt(counts / (4 * np.pi * max(mean, 1e-9))), least, most))


def local_composition(values: np.ndarray, mean: float) -> np.ndarray:
    """Return the counts of each phase that pixels hold on average, from their surroundings."""
    near = smoothed(values, noise_sigma(mean)).clip(0)
    return near + LEAST_SHARE * near.sum(-1, keepdims=True)


def noise_sigma(mean: float) -> float:
    """Return the sigma of the surroundings that tell the noise [pixels], at so many counts."""
    return width_gathering(COUNTS_FOR_NOISE, mean, 1.0, MOST_SIGMA)


@task_name("amounts of the components")
def _amounts_block(block: np.ndarray, weights: np.ndarray) -> np.ndarray:
    found = counts_times_table(compress_block(block), weights)
    return found.reshape(*block.shape[:-1], -1).astype(np.float32)
