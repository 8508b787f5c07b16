"""Evidence that a phase is present, from a pixel's own counts, and the cut that joins pixels."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.provenance import with_step
from eds_xr.schema import COMPONENT, PHASE
from eds_xr.segmentation.graph_cut.binary_tiles import cut_in_tiles
from eds_xr.segmentation.graph_cut.potts import smooth
from eds_xr.segmentation.graph_cut.tiles import PottsModel
from eds_xr.segmentation.presence.amounts import (
    Amounts,
    covariance,
    local_composition,
    noise_sigma,
)
from eds_xr.segmentation.tiled_filters import in_tiles, map_planes
from eds_xr.workers import cluster, task_name

#: No pixel's evidence outweighs this: what the model leaves out would pose as certainty.
MOST_EVIDENCE = 20.0
#: Cost of a unit length of border, in units of evidence, in the draft and after the forest.
DRAFT_SMOOTHNESS, SMOOTHNESS = 0.6, 0.4
#: Probabilities of forests are not certain beyond this.
LEAST_PROBABILITY = 0.005
#: Evidence to which the forest gives way.
DOUBT = 8.0


def share_evidence(counts: np.ndarray, noise: np.ndarray, level: float, mean: float) -> np.ndarray:
    """Return the log likelihood ratio of "share at least `level`" against "below".

    Each phase's counts less `level` times the pixel's, in their standard deviations z: the best
    share on the far side of the level is the level, so the ratio is ``z^2 / 2`` with z's sign.

    Parameters
    ----------
    counts : ndarray [..., y, x, component]
    noise : ndarray [component, component, component]
    level : float
    mean : float
        Counts of a pixel, on average.

    Returns
    -------
    ndarray [..., y, x, component]
        0 in pixels without counts.
    """
    covered = covariance(local_composition(counts, mean), noise)
    size = counts.shape[-1]
    contrast = np.eye(size) - level
    variance = np.einsum("...pq,kp,kq->...k", covered, contrast, contrast, optimize=True)
    z = (counts @ contrast.T) / np.sqrt(np.maximum(variance, 1e-12))
    return (np.sign(z) * z**2 / 2).clip(-MOST_EVIDENCE, MOST_EVIDENCE)


def draft_presence(counts: np.ndarray, noise: np.ndarray, level: float) -> np.ndarray:
    """Return the first guess of which phases are present ``[..., y, x, component; bool]``."""
    evidence = share_evidence(counts, noise, level, float(counts.sum(-1).mean()))
    present = 1 / (1 + np.exp(-evidence))
    dims = (*(f"axis_{i}" for i in range(evidence.ndim - 1)), PHASE)
    maps = xr.DataArray(present, dims=dims).transpose(PHASE, ...)
    return np.stack([_cut_of(one, DRAFT_SMOOTHNESS).values for one in maps], axis=-1)


def with_own_counts(
    probability: xr.DataArray, amounts: Amounts, level: float, mean: float
) -> xr.DataArray:
    """Return probabilities that give way where a pixel's own counts leave no doubt.

    A forest has seen few pixels of what is rare. Evidence beyond `DOUBT` decides by itself: those
    are odds of one in 3000 that it is chance.

    Lazy: like `probability`.

    Parameters
    ----------
    probability : DataArray [phase, *spatial]
    amounts : Amounts
        Of the same phases, in this order.
    level, mean : float
        As in :func:`share_evidence`.
    """
    counts = amounts.counts.rename({COMPONENT: PHASE})
    counts = counts.assign_coords({PHASE: probability[PHASE].values})
    reach = int(4 * noise_sigma(mean) + 0.5)
    evidence = map_planes(
        counts, _evidence_block, reach, noise=amounts.noise, level=level, mean=mean
    )
    least = 1 / (1 + np.exp(DOUBT - evidence))
    most = 1 / (1 + np.exp(-DOUBT - evidence))
    held = probability.clip(least.astype(np.float32), most.astype(np.float32))
    return held.transpose(*probability.dims).assign_attrs(probability.attrs)


def cut_presence(probability: xr.DataArray, smoothness: float) -> xr.DataArray:
    """Return which phases are present: one binary graph cut a phase.

    Computes: the cuts. On a cluster they are made in tiles and stay with the workers; otherwise
    each is one of the whole image, where that fits. Both give the same.

    Parameters
    ----------
    probability : DataArray [phase, y, x]
        Of presence, each phase for itself.
    smoothness : float
        1 is usual.
    """
    held = probability.clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    cost = smoothness * SMOOTHNESS
    if cluster() is not None and held.chunks is not None and cost > 0:
        tiles = in_tiles(held)
        present = tiles.copy(data=cut_in_tiles(tiles.data, PottsModel(cost, 8)))
    else:
        found = [_cut_of(one, cost) for one in held]
        present = xr.concat(found, dim=probability[PHASE])
    # what the label says of its numbers is not true of presence
    step = with_step(
        {"history": probability.attrs.get("history", [])}, "graph_cut", smoothness=cost,
        neighbours=8,
    )  # fmt: skip
    return present.rename("present").drop_attrs(deep=False).assign_attrs(step)


@task_name("evidence of presence")
def _evidence_block(
    block: np.ndarray, *, axes: int, noise: np.ndarray, level: float, mean: float
) -> np.ndarray:
    """Return the evidence of amounts ``[..., phase, y, x]``."""
    counts = np.moveaxis(block, -1 - axes, -1).astype(float)
    found = share_evidence(counts, noise, level, mean)
    return np.moveaxis(found, -1, -1 - axes).astype(np.float32)


def _cut_of(probability: xr.DataArray, smoothness: float) -> xr.DataArray:
    one = probability.drop_vars(PHASE, errors="ignore").drop_attrs()
    pair = xr.concat([1 - one, one], dim=PHASE)
    return smooth(pair, smoothness=smoothness) == 2
