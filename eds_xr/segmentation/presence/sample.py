"""The part of an image that a rehearsal looks at: all of it, or some square windows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import xarray as xr

from eds_xr.schema import COMPONENT, EdsError, spatial_dims

#: Images of no more pixels are looked at whole; of larger ones as many pixels, in windows.
SAMPLE_PIXELS = 2**18
WINDOW = 128
#: Windows are compared by sums over squares of so many pixels a side.
SQUARE = 4


def sample_windows(counts: xr.DataArray) -> np.ndarray:
    """Return amounts ``[window, y, x, component]`` to learn from; a small image whole.

    Half of the windows lie evenly, half where each component has most counts: a rare phase must be
    among them. They lie on a grid of the image's own, so chunks have no influence.

    Computes: the windows, and sums over squares of the whole image.
    """
    dims = spatial_dims(counts)
    counts = counts.transpose(*dims, COMPONENT)
    shape = tuple(counts.sizes[d] for d in dims)
    if math.prod(shape) <= SAMPLE_PIXELS:
        return _finite(counts.values)[None]
    sides = [1] * (len(dims) - 2) + [min(n, WINDOW) for n in shape[-2:]]
    if len(dims) == 1:
        sides = [min(shape[0], WINDOW**2)]
    places = [
        sorted({*range(0, n - side + 1, side), n - side})
        for n, side in zip(shape, sides, strict=True)
    ]
    corners = list(itertools.product(*places))
    wanted = max(1, SAMPLE_PIXELS // math.prod(sides))
    even = corners[:: -(-2 * len(corners) // wanted)]
    rich = _richest(counts, dims, corners, sides, wanted // 2)
    chosen = list(dict.fromkeys([*even, *rich]))
    boxes = [
        {d: slice(a, a + s) for d, a, s in zip(dims, corner, sides, strict=True)}
        for corner in chosen
    ]
    from dask.base import compute

    parts = compute(*(counts.isel(box).data for box in boxes))
    return _finite(np.stack(parts).reshape(len(parts), *sides[-2:], -1))


def _richest(
    counts: xr.DataArray, dims: tuple[str, ...], corners: list[tuple[int, ...]], sides: list[int],
    most: int,
) -> list[tuple[int, ...]]:  # fmt: skip
    """Return the windows in which a component's share stands out most, each in turn."""
    side = {d: min(SQUARE, s) for d, s in zip(dims, sides, strict=True)}
    sums = counts.coarsen(side, boundary="trim").sum().values
    share = (sums / np.maximum(sums.sum(-1, keepdims=True), 1.0)).clip(0, 1)
    steps = [side[d] for d in dims]
    score = []
    for corner in corners:
        box = (slice(a // n, (a + s) // n) for a, s, n in zip(corner, sides, steps, strict=True))
        score.append((share[tuple(box)] ** 2).reshape(-1, share.shape[-1]).sum(0))
    ranked = np.argsort(-np.array(score), axis=0, kind="stable")[:most].ravel()
    return [corners[i] for i in dict.fromkeys(ranked.tolist())][:most]


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise EdsError("the scores hold NaN or infinite values; use da.fillna(0)")
    return values.astype(float)
