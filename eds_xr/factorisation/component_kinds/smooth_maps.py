"""Maps that change smoothly across the field: of a thickness, or between two compositions."""

from __future__ import annotations

import numpy as np

from eds_xr.factorisation.least_volume import even_rows, score_noise

#: A cubic surface explains at least this of a smooth map: of a step it explains 0.86.
SMOOTH = 0.9
#: Two phases are a continuum where at least this part of the pixels lies between them.
BETWEEN = 0.2


def continua(
    maps: np.ndarray, loadings: np.ndarray, phases: list[int]
) -> list[tuple[int, int, str]]:
    """Return pairs of phases between which compositions change smoothly, and why."""
    total = np.maximum(maps.sum(-1), 1.0)
    noise = np.diag(score_noise(even_rows(maps.reshape(-1, len(loadings))), loadings))
    found = []
    for i, a in enumerate(phases):
        for b in phases[i + 1 :]:
            both = maps[..., a] + maps[..., b]
            there = both > 0.8 * total
            if there.mean() < 0.3:
                continue
            share = maps[..., b] / np.maximum(both, 1.0)
            between = float(((share > 0.2) & (share < 0.8))[there].mean())
            smooth = cubic_share(share, there, noise[b] / total)
            if between > BETWEEN and smooth > SMOOTH:
                why = f"{between:.0%} of their pixels lie between, changing smoothly"
                found.append((a, b, why))
    return found


def cubic_share(values: np.ndarray, there: np.ndarray, variance: np.ndarray) -> float:
    """Return how much of a map a cubic surface explains, its noise taken off."""
    index = np.argwhere(there)
    if len(index) < 32:
        return 0.0
    extent = np.maximum(np.array(values.shape) - 1, 1)
    place = 2 * index / extent - 1
    columns = [np.ones(len(place))]
    for powers in np.ndindex(*(4,) * values.ndim):
        if 0 < sum(powers) <= 3:
            columns.append(np.prod(place ** np.array(powers), axis=1))
    weight = 1 / np.sqrt(variance[there])
    table, wanted = np.stack(columns, 1) * weight[:, None], values[there] * weight
    flat = wanted - weight * (weight @ wanted) / (weight @ weight)
    kept = wanted - table @ np.linalg.lstsq(table, wanted, rcond=None)[0]
    whole = flat @ flat - len(flat)
    return float(1 - max(0.0, kept @ kept - len(flat)) / whole) if whole > 0 else 0.0
