"""Grains and counts of a simulated spectrum image, block by block; NumPy in, NumPy out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eds_xr.workers import task_name

#: Pixels of a row that share a random stream. Streams belong to absolute positions, so that the
#: chunks of the image do not matter; runs are short so that a narrow chunk wastes little.
RUN = 64
#: Rims rise from nothing to full depth over the outer part of a grain.
_RIM = 3.0


@dataclass(frozen=True)
class GrainRecipe:
    """All that a block of the image needs to know.

    Attributes
    ----------
    seed, width : int
        `width` is the number of pixels in a row of the whole image.
    grains : tuple of ndarray (n, 6)
        For each phase but the matrix: centre y, x, semi-axes, angle, depth [pixels; rad; 1].
    rates : ndarray (phase,)
        Mean counts from a full thickness.
    loadings : ndarray (phase, energy)
    contrast : ndarray (phase,)
        HAADF intensity of each phase.
    """

    seed: int
    width: int
    grains: tuple[np.ndarray, ...]
    rates: np.ndarray
    loadings: np.ndarray
    contrast: np.ndarray


def place_grains(
    random: np.random.Generator,
    shape: tuple[int, int],
    area_fraction: float,
    size: tuple[float, float],
    depth: float,
) -> np.ndarray:
    """Return random grains (n, 6) that are expected to touch a share of the pixels.

    Overlapping ellipses at random cover ``1 - exp(-n a / A)`` of an area A (Boolean model).
    """
    small, large = size
    mean_area = math.pi * ((small + large) / 2) ** 2  # of two independent, uniform semi-axes
    count = max(1, round(-math.log1p(-area_fraction) * shape[0] * shape[1] / mean_area))
    return np.column_stack(
        [
            random.uniform(-0.5, shape[0] - 0.5, count),
            random.uniform(-0.5, shape[1] - 0.5, count),
            random.uniform(small, large, count),
            random.uniform(small, large, count),
            random.uniform(0, np.pi, count),
            depth * random.uniform(0.6, 1.0, count),
        ]
    )


@task_name("simulated amounts")
def amounts_block(
    rows: np.ndarray, columns: np.ndarray, grains: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Return amounts (phase, y, x) at absolute, consecutive rows and columns."""
    found = np.zeros((len(grains) + 1, rows.size, columns.size))
    for phase, listed in enumerate(grains, start=1):
        reach = listed[:, 2:4].max(axis=1)
        near = (listed[:, 0] + reach >= rows[0]) & (listed[:, 0] - reach <= rows[-1])
        near &= (listed[:, 1] + reach >= columns[0]) & (listed[:, 1] - reach <= columns[-1])
        for grain in listed[near]:
            _lay_grain(found[phase], rows, columns, grain)
    total = found[1:].sum(axis=0)
    found[1:] /= np.maximum(total, 1)
    found[0] = 1 - found[1:].sum(axis=0)
    return found.clip(0, 1).astype(np.float32)


@task_name("simulated HAADF")
def haadf_block(rows: np.ndarray, columns: np.ndarray, recipe: GrainRecipe) -> np.ndarray:
    """Return the HAADF image (y, x): mean contrast, with 2 % noise."""
    mean = np.tensordot(recipe.contrast, amounts_block(rows, columns, recipe.grains), 1)
    for i, row in enumerate(rows):
        for first in _runs(columns):
            noise = _stream(recipe.seed, 2, row, first).normal(1, 0.02, RUN)
            where = (columns >= first) & (columns < first + RUN)
            mean[i, where] *= noise[columns[where] - first]
    return mean.astype(np.float32)


@task_name("simulated counts")
def counts_block(
    rows: np.ndarray, columns: np.ndarray, recipe: GrainRecipe, out_dtype: str
) -> np.ndarray:
    """Return counts (y, x, energy): per phase a Poisson number of photons, each in a channel.

    Drawing photons costs by the count, not by the channel: nineteen of twenty channels are
    empty.
    """
    channels = recipe.loadings.shape[1]
    cumulative = np.cumsum(recipe.loadings, axis=1)
    # one rising table for all phases: phase p occupies p to p + 1
    table = (cumulative / cumulative[:, -1:] + np.arange(len(cumulative))[:, None]).ravel()
    runs = _runs(columns)
    whole = np.arange(runs[0], min(runs[-1] + RUN, recipe.width))
    means = amounts_block(rows, whole, recipe.grains) * recipe.rates[:, None, None]
    counts = np.zeros((rows.size, columns.size, channels), out_dtype)
    one = counts.dtype.type(1)
    for i, row in enumerate(rows):
        for first in runs:
            part = means[:, i, first - runs[0] :][:, :RUN]
            random = _stream(recipe.seed, 1, row, first)
            pixel, channel = _photons(random, part, table, channels)
            pixel += first - columns[0]
            inside = (pixel >= 0) & (pixel < columns.size)
            np.add.at(counts[i].reshape(-1), (pixel * channels + channel)[inside], one)
    return counts


def _photons(
    random: np.random.Generator, means: np.ndarray, table: np.ndarray, channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixel and channel of every photon of a run; `means` is (phase, pixel)."""
    numbers = random.poisson(means)
    phase = np.repeat(np.arange(len(means)), numbers.sum(axis=1))
    pixel = np.repeat(np.tile(np.arange(means.shape[1]), len(means)), numbers.ravel())
    index = np.searchsorted(table, random.random(phase.size) + phase, side="right")
    return pixel, np.minimum(index - phase * channels, channels - 1)


def _lay_grain(layer: np.ndarray, rows: np.ndarray, columns: np.ndarray, grain: np.ndarray) -> None:
    """Raise one phase's amounts (y, x), in place, to the grain's depth where it is thicker."""
    centre_y, centre_x, long, short, angle, depth = grain
    reach = max(long, short)
    ys = slice(*np.searchsorted(rows, (centre_y - reach, centre_y + reach)))
    xs = slice(*np.searchsorted(columns, (centre_x - reach, centre_x + reach)))
    y, x = rows[ys, None] - centre_y, columns[None, xs] - centre_x
    u = (y * math.cos(angle) + x * math.sin(angle)) / long
    v = (x * math.cos(angle) - y * math.sin(angle)) / short
    profile = depth * np.clip(_RIM * (1 - u**2 - v**2), 0, 1)
    np.maximum(layer[ys, xs], profile, out=layer[ys, xs])


def _runs(columns: np.ndarray) -> range:
    """Return the first pixels of the runs that columns touch."""
    return range(int(columns[0]) // RUN * RUN, int(columns[-1]) + 1, RUN)


def _stream(seed: int, purpose: int, row: int, first: int) -> np.random.Generator:
    key = (purpose, int(row), int(first) // RUN)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
