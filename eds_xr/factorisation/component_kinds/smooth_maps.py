"""Maps that change smoothly, across the field or with thickness, or between two compositions."""

from __future__ import annotations

import numpy as np

from eds_xr.factorisation.purest.least_volume import even_rows
from eds_xr.factorisation.purest.shares import score_noise

#: A cubic surface explains at least this of a smooth map: of a step it explains 0.86.
SMOOTH = 0.9
#: Two phases are a continuum where at least this part of the pixels lies between them.
BETWEEN = 0.2
#: Noise of a share is at least this part of the bound of its variance.
LEAST_OF_NOISE = 0.2
#: Where at least this part does, there are no two phases, but one whose composition changes.
ONE_PHASE = 0.3
#: Where what thickness does to a phase is more than half of its largest share [quantile], it and
#: the phase are this share of most pixels.
MOST_PIXELS, TOGETHER = 0.99, 0.7

#: A share that scatters as noise has so many times its variance at most, neighbours that are so
#: much alike, and the few largest shares within so many standard deviations.
LIKE_NOISE, ALIKE, TAIL = 3.0, 0.2, 4.0


def scatters_as_noise(share: np.ndarray, variance: np.ndarray) -> bool:
    """Return whether shares are alike everywhere but for noise, which a component may describe.

    Parameters
    ----------
    share, variance : ndarray [*bin]
        Of a component in the counts, and that of its noise.
    """
    seen = share.var()
    if not 0 < seen < LIKE_NOISE * np.median(variance):
        return False
    away = np.quantile(share, MOST_PIXELS) - np.median(share)
    alike = [
        1 - (np.diff(share, axis=axis) ** 2).mean() / (2 * seen)
        for axis, n in enumerate(share.shape)
        if n > 1
    ]
    return bool(max(alike, default=1.0) < ALIKE and away**2 < TAIL**2 * seen)


def continua(
    maps: np.ndarray, loadings: np.ndarray, phases: list[int]
) -> list[tuple[int, int, str, bool]]:
    """Return pairs between which compositions change smoothly, why, and whether they are one."""
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
            variance = noise[b] / total  # at most: spectra nearly alike
            seen = _between_neighbours(share, there) / float(np.median(variance))
            variance *= np.clip(seen, LEAST_OF_NOISE, 1.0)
            smooth = cubic_share(share, there, variance)
            if between > BETWEEN and smooth > SMOOTH:
                why = f"{between:.0%} of their pixels lie between, changing smoothly"
                found.append((a, b, why, between > ONE_PHASE))
    return found


def _between_neighbours(share: np.ndarray, there: np.ndarray) -> float:
    """Return the variance between neighbours along the axis where it is least, edges left out."""
    seen = []
    for axis, size in enumerate(share.shape):
        near, far = (np.take(there, range(*of), axis) for of in ((0, size - 1), (1, size)))
        if (near & far).any():
            seen.append(np.median(abs(np.diff(share, axis=axis)[near & far])))
    return float((min(seen, default=np.inf) / 0.6745) ** 2 / 2)


def share_by_thickness(maps: np.ndarray, c: int, parent: int, variance: np.ndarray) -> float:
    """Return how much of the share of `c` in its parent the counts of both explain.

    A cubic of the logarithm of their counts, which grow with thickness, whatever boundaries its map
    has. Nothing where `c` is without the parent.
    """
    rows = maps.reshape(-1, maps.shape[-1])
    total = np.maximum(rows.sum(1), 1.0)
    share, both = rows[:, c] / total, rows[:, c] + rows[:, parent]
    there = (both > TOGETHER * total) & (total > 0.1 * np.median(total))
    rich = share > 0.5 * np.quantile(share, MOST_PIXELS)
    if not (rich.any() and there.any()) or there[rich].mean() < TOGETHER:
        return 0.0
    level = np.log(both[there])
    place = 2 * (level - level.min()) / max(np.ptp(level), 1e-9) - 1
    table = place[:, None] ** np.arange(4)
    return _explained(table, rows[there, c] / both[there], variance.ravel()[there])


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
    return _explained(np.stack(columns, 1), values[there], variance[there])


def _explained(table: np.ndarray, values: np.ndarray, variance: np.ndarray) -> float:
    """Return the share of the variance of values that columns explain, noise taken off."""
    weight = 1 / np.sqrt(variance)
    table, wanted = table * weight[:, None], values * weight
    flat = wanted - weight * (weight @ wanted) / (weight @ weight)
    kept = wanted - table @ np.linalg.lstsq(table, wanted, rcond=None)[0]
    whole = flat @ flat - len(flat)
    return float(1 - max(0.0, kept @ kept - len(flat)) / whole) if whole > 0 else 0.0
