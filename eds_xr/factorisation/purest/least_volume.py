"""The turn of a factorisation to its purest components, on plain arrays.

Scores are divided by their noise, so that distances are in standard deviations. The matrix is the
composition that most pixels have. Seen from there, pixels in which one phase lies over the matrix
form a ray, whatever their share of the phase; overlaps of phases lie between rays. The components
are the matrix and the rays on which most pixels lie. How far along its ray a component lies, no
pixel tells when the phase is nowhere without matrix: its spectrum can be as far as it stays
non-negative, and is at least as far as its purest pixels. A phase that is always in or on another
one has no ray of its own: its host is taken out afterwards.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eds_xr.factorisation.purest.hosts_of_rays import hosts_of
from eds_xr.factorisation.purest.ray_ends import (
    PILE_WIDTH,
    Grid,
    is_one_flat_grain,
    lies_in_several_places,
    ray_end,
)
from eds_xr.factorisation.purest.shares import pixel_share, score_noise, spectral_share

#: Rows of scores beyond this are left out evenly: directions need no more.
MOST_ROWS = 8192
#: Points tried as the commonest composition, and directions tried as rays.
MOST_TRIED = 1024
#: Fractions vary by this much beyond counting: thickness, absorption, drift.
MODEL_ERROR = 0.003
#: A pixel this many standard deviations from the matrix tells a direction.
SIGNIFICANT = 5.0
#: Directions vary by this much beyond counting, and pixels beyond this many squared standard
#: deviations off count no more: they are overlaps, not worse fits.
DIRECTION_ERROR, FAR_OFF = 0.03, 30.0
#: A pixel lies on a ray when other rays have no larger share of its counts than this, within noise;
#: of fewer pixels than that nothing is said.
NO_SHARE, FEWEST_ON_RAY = 0.05, 16
#: Pixels end no farther than this along a ray, and behind the matrix.
FARTHEST, FARTHEST_BACK = 1.06, 0.5
#: Piles are also sought in sums over neighbours when so many remain.
FEWEST_COARSE = 128
#: Counts of a phase that vary by more than this (:func:`_lies_on`).
UNEVEN = 0.2
#: A spectrum that stays less different from its host than this [degrees] is the same phase a second
#: time, as far as noise tells: it holds none of it.
DIFFERENT_DEG = 45.0

#: Components end where their pixels pile up, or where their spectrum touches zero.
AT_PIXELS, AT_SPECTRUM = "pixels", "spectrum"


def purest_turn(
    scores: np.ndarray,
    loadings: np.ndarray,
    *,
    reach: str = "auto",
    grid: Grid | None = None,
    fine: tuple[np.ndarray, Grid] | None = None,
    line_channels: int = 0,
) -> tuple[np.ndarray, list[str]]:
    """Return the change of basis ``T`` to the purest components, and where each of them ends.

    Parameters
    ----------
    scores : ndarray [pixel, component; counts]
        Summed over neighbouring pixels to some thousand counts each.
    loadings : ndarray [component, channel; sum 1]
    reach : {"auto", "spectra", "pixels"}
        How far components lie from the matrix: as far as their spectra stay non-negative, or as
        their purest pixels; "auto" takes pixels where they pile up.
    grid : Grid, optional
        Where the pixels lie; otherwise each counts as a grain of its own.
    fine : (ndarray [pixel, component; counts], Grid), optional
        Scores of smaller bins, without bias: where coarser ones mix phases at their boundaries,
        these may show where pixels pile up.
    line_channels : int
        Channels that belong to a line; 0 when spectra are not lines on a continuum.

    Returns
    -------
    turn : ndarray [component, component]
        ``T @ loadings`` are the new loadings (sum 1, non-negative within noise), strongest
        first; ``scores @ inv(T)`` the new scores. The identity where nothing is to be told:
        one component, or no counts.
    ends_at : list of str
        ``pixels`` or ``spectrum``, of each component.
    """
    rows = even_rows(scores)
    if rows.shape[1] < 2 or len(rows) < 2:
        return np.eye(loadings.shape[0]), [AT_PIXELS] * len(loadings)
    turn = _matrix_and_rays(rows, loadings)
    for _ in range(2):  # noise is estimated from the spectra, which change
        now, spectra = rows @ np.linalg.inv(turn), turn @ loadings
        step = np.eye(len(turn))
        if reach == "pixels":
            bounds = [pixel_share(now, spectra, c, 0) for c in range(1, len(turn))]
        else:
            bounds = [
                spectral_share(now, spectra, c, 0, line_channels) for c in range(1, len(turn))
            ]
        step[1:, 0] = -np.array(bounds)
        turn = _unit_sum(step @ turn, loadings)
    at_pixels = np.full(len(turn), reach == "pixels")
    at_pixels[0] = True
    if reach == "auto":
        found, at_pixels = _to_ends_of_most(scores, loadings, turn, grid, fine)
        turn, at_pixels = _out_of_hosts(rows, loadings, found, at_pixels, line_channels)
    order = np.argsort(-(rows @ np.linalg.inv(turn)).sum(0), kind="stable")
    return turn[order], [AT_PIXELS if at_pixels[c] else AT_SPECTRUM for c in order]


def even_rows(scores: np.ndarray) -> np.ndarray:
    """Return the rows that hold counts, evenly thinned."""
    rows = np.asarray(scores, float)
    rows = rows[rows.sum(1) > 0]
    return rows[:: -(-len(rows) // MOST_ROWS)] if len(rows) else rows


def _matrix_and_rays(rows: np.ndarray, loadings: np.ndarray) -> np.ndarray:
    """Return the turn to the matrix (first) and one component on each ray."""
    size = len(loadings)
    matrix = _commonest_composition(rows, score_noise(rows, loadings))
    replaced = int(matrix.argmax())
    others = [c for c in range(size) if c != replaced]
    turn = np.vstack([matrix, np.eye(size)[others]])
    now, spectra = rows @ np.linalg.inv(turn), turn @ loadings
    half = np.linalg.cholesky(score_noise(now, spectra)[1:, 1:])
    counts = np.maximum(now.sum(1, keepdims=True), 1.0)
    directions = half @ _rays(np.linalg.solve(half, now[:, 1:].T).T / np.sqrt(counts))
    step = np.eye(size)
    step[1:, 1:] = directions.T / abs(directions.sum(0))[:, None]
    for c in range(1, size):  # a difference of spectra: give it of the matrix what it lacks
        lack = -(step[c] @ spectra) / np.maximum(spectra[0], 1e-9)
        step[c, 0] = max(0.0, lack[spectra[0] > 0.02 * spectra[0].max()].max()) + 0.1
    return _unit_sum(step @ turn, loadings)


class _Ends(NamedTuple):
    """Where rays end: the turn, which of them at piles of pixels, which lie on the matrix."""

    turn: np.ndarray
    at_pixels: np.ndarray
    lies_on: np.ndarray


def _to_ends_of_most(
    scores: np.ndarray, loadings: np.ndarray, turn: np.ndarray, grid: Grid | None,
    fine: tuple[np.ndarray, Grid] | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the turn of the bins in which most rays end where pixels pile up, and which rays do.

    Large bins mix phases at boundaries, and noise hides the piles of small ones. What lies on the
    matrix shows in the larger ones.
    """
    levels = [(scores, grid), fine, _coarser(scores, grid)]
    found, lies_on = None, np.zeros(len(turn), bool)
    for rows, places in (level for level in levels if level is not None):
        ends = _to_ends_of_pixels(rows, loadings, turn, places, lies_on)
        lies_on |= ends.lies_on
        if found is None or ends.at_pixels.sum() > found.at_pixels.sum():
            found = ends
        if found.at_pixels.all():
            break
    assert found is not None
    return found.turn, found.at_pixels


def _to_ends_of_pixels(
    rows: np.ndarray, loadings: np.ndarray, turn: np.ndarray, grid: Grid | None, on: np.ndarray
) -> _Ends:
    """Return the turn with rays that end where pixels pile up, but those known to lie `on`.

    The matrix, too, is moved to where its pixels end: the commonest composition may be a mixture.
    """
    scores = rows @ np.linalg.inv(turn)
    counts = scores.sum(1)
    bright = counts > 0.3 * np.median(counts[counts > 0])
    counts = np.where(bright, counts, 1.0)[:, None]
    share = scores / counts
    sigma = np.sqrt(np.diag(score_noise(scores, turn @ loadings)) / counts)
    without = abs(share) < 2 * sigma + NO_SHARE
    at_pixels, lies_on = np.zeros((2, len(turn)), bool)
    step = np.eye(len(turn))
    for c in range(1, len(turn)):
        alone = bright & np.delete(without, [0, c], axis=1).all(1)
        if np.count_nonzero(alone) < FEWEST_ON_RAY:
            continue
        along, noise = share[alone, c], sigma[alone, c]
        end = ray_end(along, noise, FARTHEST)
        if end.piled:
            near = abs(share[:, c] - end.share) < 2 * np.hypot(sigma[:, c], PILE_WIDTH * end.share)
            apart = grid is None or lies_in_several_places(alone & near, grid)
            apart |= is_one_flat_grain(alone & near, share[:, c] > 0.5 * end.share, end.share)
            lies_on[c] = apart and _lies_on(scores[alone], along, c, end.share)
            at_pixels[c] = apart and not (lies_on[c] or on[c])
        top = end.share if at_pixels[c] else 1.0
        back = ray_end(end.share - along, noise, end.share + FARTHEST_BACK)
        low = min(0.0, end.share - back.share)
        step[c, [0, c]] = 1 - top, top
        step[0, [0, c]] += -low, low
    at_pixels[0] = True
    return _Ends(_unit_sum(step @ turn, loadings), at_pixels, lies_on)


def _coarser(scores: np.ndarray, grid: Grid | None) -> tuple[np.ndarray, Grid] | None:
    """Return sums over two neighbours a side, where enough remain."""
    if grid is None or math.prod(grid.shape) != len(scores) or min(grid.shape) < 2:
        return None
    table = np.empty_like(scores)
    table[grid.places] = scores
    sums = table.reshape(*grid.shape, -1)
    for axis, size in enumerate(grid.shape):
        sums = np.add.reduceat(sums, np.arange(0, size, 2), axis)
    rows = sums.reshape(-1, sums.shape[-1])
    if len(rows) < FEWEST_COARSE:
        return None
    return rows, Grid(np.arange(len(rows)), sums.shape[:-1])


def _out_of_hosts(
    rows: np.ndarray, loadings: np.ndarray, turn: np.ndarray, at_pixels: np.ndarray,
    line_channels: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the turn without the hosts that components lie in everywhere, and are mixed with.

    The host is taken out until the spectrum touches zero, and what is then too much of the matrix.
    """
    at_pixels = at_pixels.copy()
    for c in range(1, len(turn)):
        scores, spectra = rows @ np.linalg.inv(turn), turn @ loadings
        counts = np.maximum(scores.sum(1, keepdims=True), 1.0)
        bright = counts[:, 0] > 0.3 * np.median(counts)
        share, sigma = scores / counts, np.sqrt(np.diag(score_noise(scores, spectra)) / counts)
        others = [h for h in range(1, len(turn)) if h != c]
        hosts = hosts_of(share[bright], sigma[bright], c, others, piled=bool(at_pixels[c]))
        for h in hosts:
            spectra = turn @ loadings
            less = _less(rows, loadings, turn, c, h, line_channels)
            if _angle_deg(less[c] @ loadings, spectra[h]) > DIFFERENT_DEG:
                for other in (h, 0):  # of little that is left, the first step took but a rough part
                    less = _less(rows, loadings, less, c, other, line_channels)
                turn, at_pixels[c] = less, False
    return turn, at_pixels


def _less(
    rows: np.ndarray, loadings: np.ndarray, turn: np.ndarray, c: int, h: int, line_channels: int
) -> np.ndarray:
    """Return the turn with as much of `h` taken out of `c` as its spectrum allows.

    Where too much was taken before, so that lines are holes, some is given back.
    """
    scores, spectra = rows @ np.linalg.inv(turn), turn @ loadings
    step = np.eye(len(turn))
    step[c, h] = -spectral_share(scores, spectra, c, h, line_channels)
    return _unit_sum(step @ turn, loadings)


def _lies_on(scores: np.ndarray, share: np.ndarray, one: int, end: float) -> bool:
    """Return whether a phase lies on the matrix, as particles on a film do.

    Shares pile up then because they cannot grow beyond 1, however the thickness of the phase
    varies, and more than that of the matrix.
    """
    at_end, bare = scores[share > 0.8 * end, one], scores[share < 0.1 * end, 0]
    if not (at_end.size and bare.size):
        return False
    spread, usual = at_end.std() / at_end.mean(), bare.std() / bare.mean()
    return bool(spread**2 > UNEVEN**2 + 2 * usual**2)


def _angle_deg(one: np.ndarray, other: np.ndarray) -> float:
    cosine = one @ other / np.sqrt((one @ one) * (other @ other))
    return float(np.degrees(np.arccos(min(1.0, cosine))))


def _unit_sum(turn: np.ndarray, loadings: np.ndarray) -> np.ndarray:
    return turn / (turn @ loadings.sum(1))[:, None]


def _commonest_composition(rows: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the densest point of the fractions, by mean shift from the point of most neighbours.

    Cheng 1995, IEEE Trans. Pattern Anal. 17, 790.
    """
    counts = rows.sum(1)
    typical = np.median(counts)
    bright = counts > 0.3 * typical
    fractions = rows[bright] / counts[bright, None]
    spread = noise / typical + MODEL_ERROR**2 * np.eye(len(noise))
    half = np.linalg.cholesky(spread)
    points = np.linalg.solve(half, fractions.T).T
    tried = points[:: -(-len(points) // MOST_TRIED)]
    reach = 1.5 * np.sqrt(max(1, len(noise) - 1))
    near = [int((((points - t) ** 2).sum(1) < reach**2).sum()) for t in tried]
    centre = tried[int(np.argmax(near))]
    for _ in range(50):
        weight = np.exp(-0.5 * ((points - centre) ** 2).sum(1) / (reach / 1.5) ** 2)
        previous, centre = centre, weight @ points / weight.sum()
        if abs(centre - previous).max() < 1e-9:
            break
    found: np.ndarray = half @ centre
    return found / found.sum()


def _rays(points: np.ndarray) -> np.ndarray:
    """Return as many unit directions (columns) as there are dimensions, most pixels first.

    Each next one explains most of what the cone of those before does not: the drop of the squared
    distances of pixels, none counting more than `FAR_OFF`.
    """
    size = points.shape[1]
    length = np.sqrt((points**2).sum(1))
    points, length = points[length > SIGNIFICANT], length[length > SIGNIFICANT]
    tolerance = 1 + (DIRECTION_ERROR * length) ** 2
    tried = (points / length[:, None])[:: max(1, -(-len(points) // MOST_TRIED))]
    off = _squared_distances(points, length, tried) / tolerance[:, None]
    rays: np.ndarray = np.zeros((size, 0))
    for _ in range(size):
        left = np.minimum(_squared_to_cone(points, rays) / tolerance, FAR_OFF)
        gain = np.maximum(left[:, None] - off, 0).sum(0)
        if not gain.size or gain.max() < 2 * FAR_OFF:  # no pixel tells: the least explained axis
            ray = np.eye(size)[(np.linalg.qr(rays)[0] ** 2).sum(1).argmin()]
        else:
            ray = _centred(tried[int(gain.argmax())], points, length, tolerance, left)
        rays = np.column_stack([rays, ray])
    return rays if np.linalg.cond(rays) < 1e4 else np.eye(size)


def _squared_distances(points: np.ndarray, length: np.ndarray, tried: np.ndarray) -> np.ndarray:
    """Return squared distances of pixels to rays ``[pixel, ray]``."""
    along = np.maximum(points @ tried.T, 0)
    return np.maximum(length[:, None] ** 2 - along**2, 0)


def _squared_to_cone(points: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Return squared distances to the non-negative sums of rays, by coordinate descent."""
    gram, along = rays.T @ rays, points @ rays
    amounts = np.zeros_like(along)
    for _ in range(60):
        for j in range(rays.shape[1]):
            step = (along[:, j] - amounts @ gram[:, j]) / gram[j, j]
            amounts[:, j] = np.maximum(0, amounts[:, j] + step)
    return ((points - amounts @ rays.T) ** 2).sum(1)


def _centred(
    ray: np.ndarray, points: np.ndarray, length: np.ndarray, tolerance: np.ndarray, left: np.ndarray
) -> np.ndarray:
    """Return the ray moved to the middle of the pixels about it that are not explained yet."""
    for _ in range(30):
        off = _squared_distances(points, length, ray[None])[:, 0] / tolerance
        weight = np.exp(-off / 8) * (points @ ray > 0) * (left > 4) / tolerance
        if not weight.sum() > 0:
            return ray
        moved = np.linalg.eigh((points * weight[:, None]).T @ points)[1][:, -1]
        moved *= np.sign(moved @ ray)
        previous, ray = ray, moved
        if abs(ray - previous).max() < 1e-9:
            break
    return ray
