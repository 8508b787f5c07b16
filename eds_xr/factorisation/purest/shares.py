"""How much of one component another may hold, by their spectra and by their pixels.

On plain arrays.
"""

from __future__ import annotations

import numpy as np

from eds_xr.factorisation.purest.continuum import continuum

#: Spectra are compared in groups of channels of equal counts; so many.
CHANNEL_GROUPS = 64
#: A spectrum may be below zero by so many standard deviations in its lowest group.
SPECTRUM_TOLERANCE = 0.5
#: A group of channels is of lines when they hold this share of it.
MOSTLY_LINES = 0.5
#: Share of the pixels rich in a component that may be purer than the component.
PUREST_QUANTILE = 0.95


def spectral_share(
    scores: np.ndarray, loadings: np.ndarray, one: int, other: int, line_channels: int = 0
) -> float:
    """Return how much of the loading `other` can be taken out of `one`, both non-negative.

    The lowest ratio of the two over groups of channels, plus a tolerance for noise. With
    `line_channels`, also that of their lines: what is left of `one` has a continuum with no hole.
    """
    first = equal_groups(loadings[other])
    grouped = np.maximum(np.add.reduceat(loadings, first, axis=1), 1e-9)
    noise = loading_noise(scores, grouped)
    of_one, of_other = np.add.reduceat(loadings[one], first), grouped[other]
    ratio = of_one / of_other
    spread = _ratio_noise(ratio, noise, one, other) / of_other
    found = float((ratio + SPECTRUM_TOLERANCE * spread).min())
    if not line_channels:
        return found
    under_one, under_other = (
        np.add.reduceat(continuum(loadings[c], line_channels), first) for c in (one, other)
    )
    height = of_other - under_other
    mostly = height > MOSTLY_LINES * of_other
    line = np.cumsum(np.diff(mostly.astype(int), prepend=0) == 1)[mostly]  # neighbours are one
    if line.size:
        weight, noise = height[mostly], noise[mostly]
        scale = np.bincount(line, weight**2)[1:]
        ratio = np.bincount(line, weight * (of_one - under_one)[mostly])[1:] / scale
        spread = _ratio_noise(ratio[line - 1], noise, one, other)
        spread = np.sqrt(np.bincount(line, (weight * spread) ** 2)[1:]) / scale
        found = min(found, float((ratio + SPECTRUM_TOLERANCE * spread).min()))
    return found


def _ratio_noise(ratio: np.ndarray, noise: np.ndarray, one: int, other: int) -> np.ndarray:
    """Return the standard deviation of ``one - ratio other`` in each group."""
    variance = (
        noise[:, one, one] + ratio**2 * noise[:, other, other] - 2 * ratio * noise[:, one, other]
    )
    deviation: np.ndarray = np.sqrt(np.maximum(variance, 0))
    return deviation


def pixel_share(scores: np.ndarray, loadings: np.ndarray, one: int, other: int) -> float:
    """Return as :func:`spectral_share`, at most zero: what pixels rich in `one` can spare.

    Taking a negative share out of a loading gives it some of `other`, which the scores of `other`
    lose; the purest pixels have none left.
    """
    share = scores[:, one] / np.maximum(scores.sum(1), 1e-9)
    rich = (share > 0) & (share > 0.5 * np.quantile(share, 0.995))
    if not rich.any():
        return 0.0
    return float(np.quantile(-scores[rich, other] / scores[rich, one], PUREST_QUANTILE))


def score_noise(rows: np.ndarray, loadings: np.ndarray) -> np.ndarray:
    """Return the covariance of the scores of a pixel with one count: the bound of Cramer and Rao.

    At the mean spectrum; a small ridge where loadings are alike.
    """
    mean = np.maximum(rows.sum(0) @ loadings, 0)
    weight = 1 / np.maximum(mean / mean.sum(), 1e-9)
    information = (loadings * weight) @ loadings.T
    information += 1e-6 * np.trace(information) * np.eye(len(information))
    return np.linalg.inv(information)


def loading_noise(scores: np.ndarray, grouped: np.ndarray) -> np.ndarray:
    """Return the covariance of loadings in each group of channels ``[group, one, other]``."""
    positive = np.maximum(scores, 1e-6 * scores.sum(1, keepdims=True).clip(1e-9))
    pairs = (positive[:, :, None] * positive[:, None, :]).reshape(len(positive), -1)
    information = (1 / np.maximum(positive @ grouped, 1e-9)).T @ pairs
    shaped = information.reshape(-1, scores.shape[1], scores.shape[1])
    ridge = 1e-9 * np.trace(shaped, axis1=1, axis2=2)[:, None, None]
    return np.linalg.inv(shaped + ridge * np.eye(scores.shape[1]))


def equal_groups(spectrum: np.ndarray, number: int = CHANNEL_GROUPS) -> np.ndarray:
    """Return the first channels of groups of equal counts."""
    level = np.cumsum(np.maximum(spectrum, 0))
    group = np.floor(level / max(level[-1], 1e-30) * number * (1 - 1e-12))
    return np.unique(group, return_index=True)[1]
