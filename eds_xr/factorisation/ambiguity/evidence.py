"""What counts say against a mixing of components, on plain arrays.

A mixing ``T`` of the spectra ``H`` (rows) has spectra ``T H`` and, in a bin of pixels whose counts
make the scores ``w``, scores ``w inv(T)``. Both are linear, and none may be below zero by more than
noise. Every such condition is a row with its own covariance:

    w f + z sqrt(f' C f) >= 0    for each bin, ``f`` a column of ``inv(T)``,
    t h + z sqrt(t' N t) >= 0    for each group of channels and net count, ``t`` a row of ``T``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eds_xr.factorisation.purest.shares import equal_groups
from eds_xr.factorisation.rotation import halved_maps

#: Rounds in which scores and spectra are fitted in turn, none held above zero.
ROUNDS = 2
#: Scores vary by this share of a bin's counts beyond counting: thickness, absorption, drift.
SCORE_ERROR = 0.003
#: Spectra and net counts by this share of the counts that make them up: a phase is not the same
#: everywhere, it absorbs more where it is thick.
SPECTRUM_ERROR = 0.005
#: No channel weighs as if it held less than this part of the mean one: few counts say little.
LEAST_COUNTED = 0.02
#: Coarser sums over bins are looked at until no more than these remain.
FEWEST_BINS = 16


class Conditions(NamedTuple):
    """Values that may not be negative, linear in what is looked for, and their covariances."""

    rows: np.ndarray  # [condition, component]
    noise: np.ndarray  # [condition, component, component]

    def at(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return values, standard deviations and covariances for directions [component, any].

        Values and standard deviations [condition, direction], the covariance with the others
        [condition, direction, direction].
        """
        size, number = directions.shape
        pairs = np.einsum("ad,be->abde", directions, directions).reshape(size**2, number**2)
        both = (self.noise.reshape(-1, size**2) @ pairs).reshape(-1, number, number)
        spread = np.sqrt(np.maximum(np.einsum("idd->id", both), 1e-30))
        return self.rows @ directions, spread, both


class Evidence(NamedTuple):
    """The counts as they bear on mixings of spectra."""

    spectra: np.ndarray  # [component, channel; sum 1], may be negative by noise
    bins: Conditions  # scores of bins: no negative ones
    limits: Conditions  # counts of groups of channels, and net counts: no negative ones
    groups: np.ndarray  # [group]: first channel of each
    applies: np.ndarray  # [limit, component; bool]: to which components
    values: np.ndarray  # [functional, component]: net counts of each spectrum
    value_noise: np.ndarray  # [functional, functional, component, component]


def gathered(
    counts: np.ndarray, loadings: np.ndarray, functionals: np.ndarray, absent: np.ndarray,
    errors: np.ndarray | None = None,
) -> Evidence:  # fmt: skip
    """Return what counts in bins [*bins, channel] say of the mixings of loadings.

    Parameters
    ----------
    counts : ndarray [*bins, channel]
    loadings : ndarray [component, channel; sum 1]
    functionals : ndarray [functional, channel]
        Weights of net counts. None is negative in the spectrum of a phase.
    absent : ndarray of bool [functional, component]
        Net counts that are known to be zero.
    errors : ndarray [functional, error, component], optional
        What one standard deviation of each error that is no counting does to the net counts of the
        loadings.
    """
    table = counts.reshape(-1, counts.shape[-1]).astype(float)
    held, total = table.sum(1) > 0, table.sum(0)
    scores, spectra = _two_tables(table[held], loadings, total)
    full = np.zeros((len(table), len(loadings)))
    full[held] = scores
    groups, none = equal_groups(total), absent.any(1)
    weights = np.concatenate([_membership(groups, len(total)), functionals, -functionals[none]])
    everywhere = np.ones((len(groups) + len(functionals), len(loadings)), bool)
    limit_noise, value_noise = _noise(weights, functionals, spectra, scores)
    if errors is not None:
        value_noise += np.einsum("qma,rmb->qrab", errors, errors)
        by_error = np.einsum("qma,qmb->qab", errors, errors)
        limit_noise[len(groups) :] += np.concatenate([by_error, by_error[none]])
    return Evidence(
        spectra,
        _of_bins(full.reshape(*counts.shape[:-1], -1), spectra, total),
        Conditions(weights @ spectra.T, limit_noise),
        groups,
        np.concatenate([everywhere, absent[none]]),
        functionals @ spectra.T,
        value_noise,
    )


def _of_bins(maps: np.ndarray, spectra: np.ndarray, total: np.ndarray) -> Conditions:
    """Return the scores of bins [*bins, component], and of sums over neighbours, that hold any."""
    rows = np.concatenate(_levels(maps))
    rows = rows[rows.sum(1) > 0]
    noise = np.einsum("ic,cab->iab", np.maximum(rows, 1.0), _score_noise(spectra, total))
    noise += (SCORE_ERROR * rows.sum(1))[:, None, None] ** 2 * np.eye(len(spectra))
    return Conditions(rows, noise)


def _noise(
    weights: np.ndarray, functionals: np.ndarray, spectra: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariances of weighted sums over spectra.

    Of all `weights` each for itself, and of the `functionals` with one another.
    """
    per_score, positive = _spectrum_noise(scores), np.maximum(spectra, 0.0)
    one = np.einsum("qe,ce,cab->qab", weights**2, positive, per_score, optimize=True)
    gross = SPECTRUM_ERROR * (abs(weights) @ positive.T)
    one += gross[:, :, None] * gross[:, None, :]
    pairs = np.einsum(
        "qe,re,ce,cab->qrab", functionals, functionals, positive, per_score, optimize=True
    )
    own, gross = np.arange(len(functionals)), SPECTRUM_ERROR * (abs(functionals) @ positive.T)
    pairs[own, own] += gross[:, :, None] * gross[:, None, :]
    return one, pairs


def _two_tables(
    table: np.ndarray, loadings: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores [bin, component] and spectra [component, channel], free of any bound.

    Least squares with weights that are the same for all bins, and for all channels (Keenan and
    Kotula 2004, Surf. Interface Anal. 36, 203): noise leads neither astray.
    """
    spectra = loadings.astype(float)
    for _ in range(ROUNDS):
        scores = table @ _left_inverse(spectra, total).T
        spectra = _mean_of_scores(scores) @ table
        spectra /= spectra.sum(1, keepdims=True)
    return table @ _left_inverse(spectra, total).T, spectra


def _left_inverse(spectra: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return ``B`` [component, channel]: ``counts @ B.T`` are the scores."""
    weighted = spectra / np.maximum(total, LEAST_COUNTED * total.mean())
    return np.linalg.solve(weighted @ spectra.T, weighted)


def _mean_of_scores(scores: np.ndarray) -> np.ndarray:
    """Return ``A`` [component, bin]: ``A @ counts`` are the spectra."""
    weighted = scores.T / np.maximum(scores.sum(1), 1e-9)
    return np.linalg.solve(weighted @ scores, weighted)


def _score_noise(spectra: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return the covariance of scores for each count of each component [component, ., .]."""
    inverse = _left_inverse(spectra, total)
    return np.einsum("ae,be,ce->cab", inverse, inverse, np.maximum(spectra, 0), optimize=True)


def _spectrum_noise(scores: np.ndarray) -> np.ndarray:
    """Return the covariance of spectra in a channel for each component's share of it."""
    mean = _mean_of_scores(scores)
    return np.einsum("ai,bi,ic->cab", mean, mean, np.maximum(scores, 0), optimize=True)


def _membership(first: np.ndarray, channels: int) -> np.ndarray:
    """Return which channels are in each group, 1 or 0 [group, channel]."""
    of = np.searchsorted(first, np.arange(channels), side="right") - 1
    return (of == np.arange(len(first))[:, None]).astype(float)


def _levels(maps: np.ndarray) -> list[np.ndarray]:
    """Return scores of the bins, and of sums over two, four, ... a side [bin, component]."""
    found = [maps.reshape(-1, maps.shape[-1])]
    while len(found[-1]) > FEWEST_BINS:
        maps = halved_maps(maps)
        found.append(maps.reshape(-1, maps.shape[-1]))
    return found
