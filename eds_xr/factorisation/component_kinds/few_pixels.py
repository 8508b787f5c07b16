"""Components that a few pixels hold: found where the scores are, not brought together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT
from eds_xr.workers import calls, task_name

#: Odd pixels: so few hold half of a component.
FEW_PIXELS = 3
#: A pixel stands out of noise from so many standard deviations on.
STANDS_OUT = 5.0

Held = tuple[np.ndarray, np.ndarray]  # strongest pixels [pixel, component], sums [component]


def in_few(rows: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return of which components few pixels hold half of what stands out of noise [component].

    Parameters
    ----------
    rows : ndarray [pixel, component; counts]
    spread : ndarray [component]
        Standard deviation of a component's counts in a pixel of one count.
    """
    return _is_in_few(_strongest_block(rows, spread))


def pixels_in_few(scores: xr.DataArray, spread: np.ndarray) -> np.ndarray:
    """Return the same of all pixels of a map. Computes: the scores, where they are.

    Parameters
    ----------
    scores : DataArray [*spatial, component; counts]
    """
    if scores.chunks is None:
        return in_few(scores.values.reshape(-1, scores.sizes[COMPONENT]), spread)
    tiles = scores.data.rechunk({-1: -1}).to_delayed().ravel()
    held = calls(_strongest_block, [(tile, spread) for tile in tiles])
    while len(held) > 1:
        held = calls(_strongest_of, [(held[i : i + 16],) for i in range(0, len(held), 16)])
    return _is_in_few(held[0].compute())


def _is_in_few(held: Held) -> np.ndarray:
    strongest, total = held
    found: np.ndarray = strongest.sum(0) > 0.5 * total
    return found


@task_name("pixels that stand out")
def _strongest_block(block: np.ndarray, spread: np.ndarray) -> Held:
    """Return what the strongest pixels hold of each component, and what all do that stand out."""
    rows = block.reshape(-1, block.shape[-1])
    counts = np.maximum(rows.sum(1, keepdims=True), 1.0)
    own = np.where(rows > STANDS_OUT * spread * np.sqrt(counts), rows, 0).astype(float)
    return np.sort(own, axis=0)[::-1][:FEW_PIXELS], own.sum(0)


@task_name("pixels that stand out")
def _strongest_of(held: Sequence[Held]) -> Held:
    strongest = np.concatenate([pixels for pixels, _ in held])
    return np.sort(strongest, axis=0)[::-1][:FEW_PIXELS], np.sum([total for _, total in held], 0)
