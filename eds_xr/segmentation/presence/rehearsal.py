"""The image rehearsed: counts drawn anew from a draft of it, so that the truth is known.

A forest that learns from these knows what presence looks like at this dose, with these spectra and
grains of this size, to the boundary and where phases overlap (a parametric bootstrap: Efron &
Tibshirani 1993, An Introduction to the Bootstrap, chapter 6.5).
"""

from __future__ import annotations

import numpy as np

from eds_xr.segmentation.presence.amounts import covariance, smoothed, width_gathering

#: Shares within a phase's draft are averages over so many counts.
COUNTS_FOR_SHARE = 300.0
#: Thickness is smoothed by this [pixels].
THICKNESS_SIGMA = 0.7


def draft_shares(counts: np.ndarray, present: np.ndarray, level: float) -> np.ndarray:
    """Return each phase's share of the counts ``[..., y, x, component]``: 0 where it is absent.

    Where present it is the mean over its draft nearby, so that its borders stay sharp.
    """
    total = counts.sum(-1, keepdims=True)
    sigma = width_gathering(COUNTS_FOR_SHARE, float(total.mean()), 0.7, 3.0)
    near = smoothed(total * present, sigma)
    share = smoothed(counts * present, sigma) / np.maximum(near, 1e-6)
    share = present * share.clip(level)
    nothing = ~present.any(-1)
    share[nothing] = _strongest(smoothed(counts, sigma)[nothing])
    return np.asarray(share / share.sum(-1, keepdims=True))


def drawn_amounts(
    shares: np.ndarray, counts: np.ndarray, noise: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return amounts of these shares at the thickness of `counts`, with their noise."""
    total = smoothed(counts.sum(-1, keepdims=True), THICKNESS_SIGMA).clip(0)
    mean = total * shares
    values, vectors = np.linalg.eigh(covariance(mean, noise))
    normal = random.standard_normal(mean.shape) * np.sqrt(values.clip(0))
    return np.asarray(mean + np.einsum("...pq,...q->...p", vectors, normal))


def _strongest(counts: np.ndarray) -> np.ndarray:
    return np.asarray(np.eye(counts.shape[-1])[counts.argmax(-1)])
