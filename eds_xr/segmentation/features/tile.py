"""One tile of a channel with a margin, and the filtered images that several features share."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from eds_xr.segmentation.features import convolve
from eds_xr.segmentation.features.parameters import (
    DERIVATIVE_SIGMAS,
    EDGE,
    GREY_LEVELS,
    REACH_SIGMAS,
    SIGMA_PER_SCALE,
    gaussian_radius,
)


class Tile:
    """One tile of a channel, with a margin [pixels], and what filters share.

    `lowest` and `highest` are those of the whole image, for filters that work on grey levels.
    """

    def __init__(self, image: np.ndarray, margin: int, lowest: float, highest: float) -> None:
        self.image = image
        self.margin = margin
        self.lowest = np.float32(lowest)
        self.per_grey = np.float32((highest - lowest) / GREY_LEVELS) or np.float32(1)
        self._blurred: dict[float, np.ndarray] = {}
        self._gradient: dict[float, tuple[np.ndarray, np.ndarray]] = {}

    def within(self, margin: int) -> np.ndarray:
        """Return the image with a smaller margin."""
        return cropped(self.image, self.margin - margin)

    def grey(self, margin: int) -> np.ndarray:
        """Return the image stretched to grey levels."""
        return (self.within(margin) - self.lowest) / self.per_grey

    def from_grey(self, levels: np.ndarray) -> np.ndarray:
        """Return grey levels in the units of the image."""
        return levels * self.per_grey + self.lowest

    def blurred(self, scale: float) -> np.ndarray:
        """Return the image blurred at a scale, with a margin of `EDGE`; 0 leaves it as it is."""
        if scale not in self._blurred:
            weights = gaussian(SIGMA_PER_SCALE * scale) if scale else np.ones(1, np.float32)
            image = self.within(EDGE + weights.size // 2)
            self._blurred[scale] = convolve.separable(image, weights, weights) if scale else image
        return self._blurred[scale]

    def gradient(self, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Return Sobel's derivatives along y and x at a scale, with a margin of one pixel."""
        if scale not in self._gradient:
            self._gradient[scale] = convolve.sobel(self.blurred(scale))
        return self._gradient[scale]

    def differentiated(self, sigma: float, order_y: int, order_x: int, left: int = 0) -> np.ndarray:
        """Return a Gaussian derivative of the image, with a margin of `left`."""
        along_y = gaussian(sigma, order_y, DERIVATIVE_SIGMAS)
        along_x = gaussian(sigma, order_x, DERIVATIVE_SIGMAS)
        return convolve.separable(self.within(left + along_y.size // 2), along_y, along_x)

    @cached_property
    def ranks(self) -> tuple[np.ndarray, np.ndarray]:
        """The rank of each pixel among the different values of the tile, and those values."""
        values, ranks = np.unique(self.image, return_inverse=True)
        return ranks.reshape(self.image.shape).astype(np.int32), values


@lru_cache(maxsize=64)
def gaussian(sigma: float, order: int = 0, sigmas: float = REACH_SIGMAS) -> np.ndarray:
    """Return the weights that correlate with a Gaussian, or with a derivative of it."""
    radius = gaussian_radius(sigma, sigmas)
    impulse = np.zeros(2 * radius + 1)
    impulse[radius] = 1
    response = gaussian_filter1d(impulse, sigma, order=order, radius=radius, mode="constant")
    return np.ascontiguousarray(response[::-1], np.float32)


def cropped(image: np.ndarray, by: int) -> np.ndarray:
    """Cut the edge off; kernels want their rows side by side."""
    height, width = image.shape
    return np.ascontiguousarray(image[by : height - by, by : width - by])
