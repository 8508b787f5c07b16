"""Scores in small bins, which show where the shares of a phase end."""

from __future__ import annotations

import numpy as np

from eds_xr.factorisation.bins import bin_size, binned
from eds_xr.factorisation.purest.ray_ends import Grid
from eds_xr.image.blocks import Rows, Sparse, flat_places, of_each_block
from eds_xr.image.weighted_sums import counts_times_table, linear_weights
from eds_xr.workers import task_name

#: Counts that such a bin should hold: boundaries mix in larger ones.
END_COUNTS = 200


def smaller_bins(full: Rows, more: int) -> Rows | None:
    """Return counts in smaller bins than of `more` pixels a side; None of what has too few.

    Where counts are read anew each time, so are these: what is found does not depend on memory.
    """
    size = bin_size(full.shape, full.counts, END_COUNTS)
    if size >= more:
        return None
    return binned(full, size) if size > 1 else full


def unbiased_scores(
    rows: Rows | None, table: np.ndarray, total: np.ndarray, most: int
) -> tuple[np.ndarray, Grid] | None:
    """Return scores that no bound at zero biases, at most about so many, and where they lie.

    `table` are loadings [channel, component], `total` is the sum of all pixels [channel].
    """
    from dask.base import compute

    if rows is None:
        return None
    every = -(-rows.pixels // most)
    weights = linear_weights(table.T.astype(float), total / rows.pixels)
    scores = compute(*of_each_block(_linear_scores_block, rows, weights.T.copy(), every))
    return np.concatenate(scores), thinned_grid(rows, every)


def thinned_grid(rows: Rows, every: int) -> Grid:
    """Return where every so many of the pixels of each block lie."""
    held = [np.concatenate([flat_places(box, rows.shape) for box in p]) for p in rows.places]
    return Grid(np.concatenate([places[::every] for places in held]), rows.shape)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("unbiased NMF scores")
def _linear_scores_block(block: Sparse, weights: np.ndarray, every: int) -> np.ndarray:
    return counts_times_table(block, weights)[::every]
