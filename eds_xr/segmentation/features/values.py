"""The values of pixel features in one tile of one channel: NumPy in, NumPy out.

What each filter is called, and how far it looks, is in :mod:`feature_groups`. A tile comes with a
margin of the image around it, from which every filter takes what it needs, so none of them needs
to know of borders. Results that several filters share are made once a tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from eds_xr.segmentation.features import convolve, diffusion, discs, gabor, line_filters, tensors
from eds_xr.segmentation.features.catalogue import (
    BILATERAL_SIGMAS,
    DERIVATIVE_SIGMAS,
    DIFFUSION_STEPS,
    DIRECTIONS,
    EDGE,
    GREY_LEVELS,
    INTEGRATION_SIGMAS,
    PATCH,
    SIGMA_PER_SCALE,
    disc_radius,
    gaussian_radius,
    neighbour_distance,
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
        return _cropped(self.image, self.margin - margin)

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

    @cached_property
    def ranks(self) -> tuple[np.ndarray, np.ndarray]:
        """The rank of each pixel among the different values of the tile, and those values."""
        values, ranks = np.unique(self.image, return_inverse=True)
        return ranks.reshape(self.image.shape).astype(np.int32), values


@lru_cache(maxsize=64)
def gaussian(sigma: float, order: int = 0, sigmas: float = 4.0) -> np.ndarray:
    """Return the weights that correlate with a Gaussian, or with a derivative of it."""
    radius = gaussian_radius(sigma, sigmas)
    impulse = np.zeros(2 * radius + 1)
    impulse[radius] = 1
    response = gaussian_filter1d(impulse, sigma, order=order, radius=radius, mode="constant")
    return np.ascontiguousarray(response[::-1], np.float32)


def _cropped(image: np.ndarray, by: int) -> np.ndarray:
    """Cut the edge off; kernels want their rows side by side."""
    height, width = image.shape
    return np.ascontiguousarray(image[by : height - by, by : width - by])


def _intensity(tile: Tile) -> Sequence[np.ndarray]:
    return [tile.within(0)]


def _gaussian(tile: Tile, scale: float) -> Sequence[np.ndarray]:
    return [_cropped(tile.blurred(scale), EDGE)]


def _sobel(tile: Tile, scale: float) -> Sequence[np.ndarray]:
    dy, dx = (_cropped(d, 1) for d in tile.gradient(scale))
    return [tensors.length(dy, dx)]


def _hessian(tile: Tile, scale: float) -> Sequence[np.ndarray]:
    """Sobel's derivatives twice. Orientation: of the first eigenvector, from the y axis [rad]."""
    dy, dx = tile.gradient(scale)
    yy, xy = convolve.sobel(dy)
    _, xx = convolve.sobel(dx)
    out = np.empty((8, *yy.shape), np.float32)
    tensors.hessian_measures(yy, xy, xx, out)
    out[3], out[4] = tensors.eigenvalues(yy, xy, xx)
    np.arctan2(2 * xy, yy - xx, out=out[5])
    out[5] *= np.float32(0.5)
    return list(out)


def _difference_of_gaussians(tile: Tile, fine: float, coarse: float) -> Sequence[np.ndarray]:
    return [_cropped(tile.blurred(coarse), EDGE) - _cropped(tile.blurred(fine), EDGE)]


def _membrane(tile: Tile) -> Sequence[np.ndarray]:
    reach = PATCH // 2
    image = tile.within(reach)
    # Weka's line of thickness 1 is two pixels wide.
    planes = [
        convolve.taps(image, dy, dx, np.full(dy.size, 1 / dy.size, np.float32), reach)
        for dy, dx in line_filters.line_offsets(PATCH, 2, DIRECTIONS)
    ]
    return list(line_filters.projections(np.stack(planes)))


def _mean(tile: Tile, scale: float) -> Sequence[np.ndarray]:
    rows = discs.disc(scale)
    total = discs.disc_sum(tile.within(disc_radius(scale)), rows)
    return [total / (2 * rows + 1).sum()]


def _variance(tile: Tile, scale: float) -> Sequence[np.ndarray]:
    rows, image = discs.disc(scale), tile.within(disc_radius(scale)).astype(float)
    number = (2 * rows + 1).sum()
    mean = discs.disc_sum(image, rows) / number
    return [np.maximum(discs.disc_sum(image**2, rows) / number - mean**2, 0)]


def _minimum(tile: Tile, scale: float) -> Sequence[np.ndarray]:
    return [discs.disc_minimum(tile.within(disc_radius(scale)), discs.disc(scale))]


def _maximum(tile: Tile, scale: float) -> Sequence[np.ndarray]:
    return [-discs.disc_minimum(-tile.within(disc_radius(scale)), discs.disc(scale))]


def _median(tile: Tile, scale: float) -> Sequence[np.ndarray]:
    ranks, values = tile.ranks
    cut = _cropped(ranks, tile.margin - disc_radius(scale))
    return [discs.disc_median(cut, values, discs.disc(scale))]


def _entropy(tile: Tile, scale: float, bins: int) -> Sequence[np.ndarray]:
    levels = tile.grey(disc_radius(scale)) * np.float32(bins / (GREY_LEVELS + 1))
    return [discs.disc_entropy(levels.astype(np.uint8), int(bins), discs.disc(scale))]


def _anisotropic_diffusion(tile: Tile, scale: float, along: float) -> Sequence[np.ndarray]:
    weights = gaussian(SIGMA_PER_SCALE * scale)
    image = tile.grey(DIFFUSION_STEPS + 1 + weights.size // 2)
    dy, dx = convolve.sobel(convolve.separable(image, weights, weights))
    yy, xy, xx = diffusion.diffusivities(dy, dx, along)
    found = diffusion.diffuse(tile.grey(DIFFUSION_STEPS), yy, xy, xx, DIFFUSION_STEPS)
    return [tile.from_grey(found)]


def _bilateral(tile: Tile, sigma: float, range_sigma: float) -> Sequence[np.ndarray]:
    """Blur with weights from a few grey levels, and interpolate between them at each pixel.

    Yang, Tan & Ahuja, IEEE Conference on Computer Vision and Pattern Recognition (2009) 557.
    """
    weights = gaussian(sigma, 0, BILATERAL_SIGMAS)
    image, here = tile.grey(weights.size // 2), tile.grey(0)
    step = np.float32(range_sigma / 2)
    out = np.zeros_like(here)
    for level in np.arange(0, GREY_LEVELS + step, step, dtype=np.float32):
        near = np.exp(np.float32(-0.5) * ((image - level) / np.float32(range_sigma)) ** 2)
        total = convolve.separable(near, weights, weights)
        mean = convolve.separable(near * image, weights, weights) / total
        out += mean * np.maximum(0, 1 - np.abs(here - level) / step)
    return [tile.from_grey(out)]


def _lipschitz(tile: Tile, slope: float) -> Sequence[np.ndarray]:
    reach = math.ceil(GREY_LEVELS / slope)
    image = tile.grey(reach)
    return [_cropped(image - diffusion.lipschitz_cover(image, slope), reach) * tile.per_grey]


def _kuwahara(tile: Tile) -> Sequence[np.ndarray]:
    """Take the mean along that line near the pixel that varies the least."""
    reach = PATCH // 2
    image = tile.within(2 * reach) - tile.lowest
    shape = (3, *(n - 4 * reach for n in image.shape))
    least, chosen = np.full(shape, np.inf, np.float32), np.zeros(shape, np.float32)
    tiny = np.float32(1e-6) * tile.per_grey
    for dy, dx in line_filters.line_offsets(PATCH, 1, DIRECTIONS):
        mean, variance = line_filters.line_moments(image, dy, dx, reach)
        over = 1 / np.maximum(mean, tiny)
        for i, criterion in enumerate((variance, variance * over, variance * over * over)):
            line_filters.take_least(criterion, mean, dy, dx, least[i], chosen[i])
    return list(chosen + tile.lowest)


def _gabor(
    tile: Tile, sigma: float, gamma: float, quarters: int, frequency: int
) -> Sequence[np.ndarray]:
    filters = gabor.filters(sigma, gamma, quarters, frequency)
    image = tile.within(filters[0].half)
    highest = gabor.correlated(image, filters[0])
    lowest = highest.copy()
    for one in filters[1:]:
        plane = gabor.correlated(image, one)
        np.maximum(highest, plane, out=highest)
        np.minimum(lowest, plane, out=lowest)
    return [highest, lowest]


def _differentiated(tile: Tile, sigma: float, order_y: int, order_x: int, left: int) -> np.ndarray:
    """Return a Gaussian derivative of the image, with a margin of `left`."""
    along_y = gaussian(sigma, order_y, DERIVATIVE_SIGMAS)
    along_x = gaussian(sigma, order_x, DERIVATIVE_SIGMAS)
    return convolve.separable(tile.within(left + along_y.size // 2), along_y, along_x)


def _derivatives(tile: Tile, sigma: float, order: int) -> Sequence[np.ndarray]:
    return [_differentiated(tile, sigma, order, order, 0)]


def _laplacian(tile: Tile, sigma: float) -> Sequence[np.ndarray]:
    return [_differentiated(tile, sigma, 2, 0, 0) + _differentiated(tile, sigma, 0, 2, 0)]


def _structure_tensor(tile: Tile, sigma: float) -> Sequence[np.ndarray]:
    margin = gaussian_radius(max(INTEGRATION_SIGMAS))
    dy = _differentiated(tile, sigma, 1, 0, margin)
    dx = _differentiated(tile, sigma, 0, 1, margin)
    found: list[np.ndarray] = []
    for window in INTEGRATION_SIGMAS:
        weights = gaussian(window)
        by = margin - weights.size // 2
        tensor = (
            convolve.separable(_cropped(part, by), weights, weights)
            for part in (dy * dy, dy * dx, dx * dx)
        )
        found.extend(tensors.eigenvalues(*tensor))
    return found


def _neighbours(tile: Tile, scale: float) -> Sequence[np.ndarray]:
    away = neighbour_distance(scale)
    image = tile.within(away)
    height, width = (n - 2 * away for n in image.shape)
    corners = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return [image[i * away :, j * away :][:height, :width] for i, j in corners]


#: Values of the features of a group, in the order of its names.
VALUES: dict[str, Callable[..., Sequence[np.ndarray]]] = {
    "intensity": _intensity,
    "gaussian": _gaussian,
    "sobel": _sobel,
    "hessian": _hessian,
    "difference_of_gaussians": _difference_of_gaussians,
    "membrane": _membrane,
    "variance": _variance,
    "mean": _mean,
    "minimum": _minimum,
    "maximum": _maximum,
    "median": _median,
    "anisotropic_diffusion": _anisotropic_diffusion,
    "bilateral": _bilateral,
    "lipschitz": _lipschitz,
    "kuwahara": _kuwahara,
    "gabor": _gabor,
    "derivatives": _derivatives,
    "laplacian": _laplacian,
    "structure_tensor": _structure_tensor,
    "entropy": _entropy,
    "neighbours": _neighbours,
}
