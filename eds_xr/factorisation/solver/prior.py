"""Priors of score maps: smoothness in space, and few phases a pixel.

To half the deviance is added

    smoothness / (2 m) * sum over neighbours i, j of |w_i - w_j|**2
        + sparsity * sum over pixels i and components q of log(1 + w_iq)

where ``w_i`` are a pixel's scores in counts and ``m`` is the mean number of counts a pixel. The
first term is a Gaussian prior whose variance compares with that of the counts; the second is the
logarithmic penalty of Candes, Wakin & Boyd (2008, J. Fourier Anal. Appl. 14, 877).

Each sweep puts an upper bound in their place that touches them at the present scores and in which
pixels are on their own: De Pierro's (1995, IEEE Trans. Med. Imaging 14, 132) for the differences,
the tangent for the logarithm. So the objective falls with every step, and blocks need not know of
each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from eds_xr.image.blocks import Box

Bound = tuple[np.ndarray, np.ndarray]  # stiffness [pixel] and pull [pixel, component] of a block


class Prior:
    """What is wanted of the scores: of itself nothing, the likelihood decides."""

    def quadratic_bounds(self) -> Iterable[Bound | None]:
        """Return the bound's linear and quadratic part at the present scores, block by block."""
        return repeat(None)

    def update(self, scores: Sequence[Any]) -> float:
        """Take the scores of all blocks; return twice the penalty, to add to the deviance."""
        return 0.0


NO_PRIOR = Prior()


class SmoothSparse(Prior):
    """The prior above; holds the score maps ``[*spatial, component]`` in memory.

    Parameters
    ----------
    smoothness, sparsity : float
    places : sequence of sequence of Box
        Which parts of the image each block holds, in the order of its pixels.
    valid : array of bool [*spatial]
        Pixels that are fitted; others are nobody's neighbours.
    mean : float
        Counts of a pixel, on average.
    """

    def __init__(
        self,
        smoothness: float,
        sparsity: float,
        places: Sequence[Sequence[Box]],
        valid: np.ndarray,
        mean: float,
    ) -> None:
        self._stiff, self._sparsity = smoothness / mean, sparsity
        self._places, self._valid = places, valid
        self.maps: np.ndarray | None = None

    def quadratic_bounds(self) -> Iterable[Bound | None]:
        """Return the bound's linear and quadratic part at the present scores, block by block."""
        if self.maps is None:
            return repeat(None)
        neighbours, total = self._neighbours(self.maps)
        stiffness = 2 * self._stiff * neighbours
        pull = self._stiff * (neighbours[..., None] * self.maps + total)
        pull -= self._sparsity / (1 + self.maps)
        return [
            (_of_block(stiffness, boxes), _of_block(pull, boxes).reshape(-1, pull.shape[-1]))
            for boxes in self._places
        ]

    def update(self, scores: Sequence[Any]) -> float:
        """Take the scores of all blocks; return twice the penalty."""
        from dask.base import compute

        blocks = compute(*scores)
        maps: np.ndarray = np.zeros((*self._valid.shape, blocks[0].shape[1]), np.float32)
        for values, boxes in zip(blocks, self._places, strict=True):
            first = 0
            for box in boxes:
                shape = tuple(s.stop - s.start for s in box)
                last = first + int(np.prod(shape))
                maps[box] = values[first:last].reshape(*shape, -1)
                first = last
        self.maps = maps
        rough = 0.0
        for here, there in _pairs(maps.ndim - 1):
            both = (self._valid[here] & self._valid[there])[..., None]
            rough += float(np.sum(both * (maps[here] - maps[there]) ** 2, dtype=np.float64))
        sparse = float(np.log1p(maps[self._valid]).sum(dtype=np.float64))
        return self._stiff * rough + 2 * self._sparsity * sparse

    def _neighbours(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of each pixel's neighbours and the sum of their scores."""
        number: np.ndarray = np.zeros(self._valid.shape, np.float32)
        total = np.zeros_like(maps)
        for here, there in _pairs(maps.ndim - 1):
            both = self._valid[here] & self._valid[there]
            for one, other in ((here, there), (there, here)):
                number[one] += both
                total[one] += both[..., None] * maps[other]
        return number, total


def _pairs(dims: int) -> Iterable[tuple[Box, Box]]:
    """Yield the slices of neighbours along each dimension."""
    for axis in range(dims):
        before: Box = (slice(None),) * axis
        yield (*before, slice(1, None)), (*before, slice(None, -1))


def _of_block(image: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Return the values of a block's pixels, in their order."""
    dims = len(boxes[0])
    parts = [image[box].reshape(-1, *image.shape[dims:]) for box in boxes]
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)
