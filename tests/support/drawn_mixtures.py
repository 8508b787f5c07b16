"""Counts of bins that hold known mixtures of known spectra, and what they say of mixings."""

import numpy as np

from eds_xr.factorisation.ambiguity.evidence import Evidence, gathered

#: Lines of four elements on a continuum, in 80 channels; the phases' counts in each.
CHANNELS, PLACES = 80, (10, 28, 46, 64)
LINES = np.array([[5.0, 3, 0, 0], [0, 4, 5, 0], [1, 0, 3, 4], [3, 0, 0, 5], [0, 2, 1, 2]])


def spectra(phases: int) -> np.ndarray:
    """Return spectra of some phases [phase, channel; sum 1]."""
    channel = np.arange(CHANNELS)
    peaks = np.exp(-0.5 * ((channel - np.array(PLACES)[:, None]) / 1.5) ** 2)
    found = LINES[:phases] @ peaks + 0.15 * np.exp(-channel / 40)
    return found / found.sum(1, keepdims=True)


def net_weights() -> np.ndarray:
    """Return weights of the net counts of the four lines: a window, less its sides."""
    channel = np.arange(CHANNELS)
    away = abs(channel - np.array(PLACES)[:, None])
    return (away <= 4).astype(float) - 9 / 8 * ((away > 4) & (away <= 8))


def shares(phases: int, purest: float, seed: int, side: int = 16) -> np.ndarray:
    """Return shares of phases in bins [bin, bin, phase], of which each has `purest` at most."""
    drawn = np.random.default_rng(seed).dirichlet(np.full(phases, 0.3), (side, side))
    mean = np.full(phases, 1 / phases)
    room = (purest - 1 / phases) / (1 - 1 / phases)
    return mean + room * (drawn - mean)


def drawn(phases: int, *, purest: float = 0.8, counts: float = 4000.0, seed: int = 0) -> np.ndarray:
    """Return Poisson counts [bin, bin, channel]."""
    expected = counts * shares(phases, purest, seed) @ spectra(phases)
    return np.random.default_rng((seed, 1)).poisson(expected).astype(float)


def evidence(phases: int, **more: float) -> Evidence:
    """Return what drawn counts say, for loadings that are mixed a little."""
    mixed = (0.9 * np.eye(phases) + 0.1 / phases) @ spectra(phases)
    weights = net_weights()
    return gathered(drawn(phases, **more), mixed, weights, np.zeros((4, phases), bool))
