"""The kinds of pixel features in one table: names, reach and values of each filter.

Filters and parameters are those of Trainable Weka Segmentation. A tile comes with a margin of the
image around it, from which every filter takes what it needs, so none of them needs to know of
borders. Compiled code is imported where values are computed: the table itself loads quickly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eds_xr.segmentation.features.parameters import (
    BILATERAL_SIGMAS,
    DERIVATIVE_SIGMAS,
    DIFFUSION_STEPS,
    DIRECTIONS,
    EDGE,
    GREY_LEVELS,
    INTEGRATION_SIGMAS,
    PATCH,
    SIGMA_PER_SCALE,
    gaussian_radius,
)

if TYPE_CHECKING:
    from eds_xr.segmentation.features.tile import Tile

HESSIAN = (
    "module", "trace", "determinant", "eig1", "eig2", "orientation", "square_difference",
    "normalized_difference",
)  # fmt: skip
COMPASS = ("nw", "n", "ne", "w", "e", "sw", "s", "se")

Scales = Sequence[float]
Planes = Sequence[np.ndarray]


@dataclass(frozen=True)
class FeatureKind:
    """A filter, and the features that it gives.

    Attributes
    ----------
    name : str
    features : tuple of str
        Names of what one run of the filter gives, to be formatted with its parameters.
    parameters : callable
        Returns the parameters of each run at some scales, which are Weka's: the radius of discs,
        the distance of neighbours, the standard deviation of Gaussian derivatives, and 2.5 times
        that of the Gaussian of the default kinds.
    reach : callable
        Returns how many pixels away a run looks, from its parameters.
    values : callable
        Returns the features of a tile, in the order of their names, from it and the parameters.
    grey_levels : bool
        Whether it needs to know the lowest and the highest value of the whole image.
    """

    name: str
    features: tuple[str, ...]
    parameters: Callable[[Scales], Iterable[tuple[float, ...]]]
    reach: Callable[..., int]
    values: Callable[..., Planes]
    grey_levels: bool = False


# -- parameters and reach -------------------------------------------------------------------------


def _each(scales: Scales) -> list[tuple[float, ...]]:
    return [(s,) for s in scales]


def _each_and_unblurred(scales: Scales) -> list[tuple[float, ...]]:
    return [(0.0,), *_each(scales)]


def _each_with(*others: float) -> Callable[[Scales], Iterable[tuple[float, ...]]]:
    return lambda scales: itertools.product(scales, others)


def _gabor_parameters(scales: Scales) -> list[tuple[float, ...]]:
    """Weka's: standard deviation, aspect ratio, phase [degrees], periods in the kernel's side."""
    fine = [(1.0, gamma, degrees, 2) for degrees in (0, 90) for gamma in (1.0, 0.5, 0.25)]
    return [*fine, *itertools.product((2.0, 4.0), (1.0, 2.0), (0, 90), (2, 3))]


def _blur_reach(scale: float) -> int:
    return gaussian_radius(SIGMA_PER_SCALE * scale) + EDGE


def _derivative_reach(sigma: float, *_: float) -> int:
    return gaussian_radius(sigma, DERIVATIVE_SIGMAS)


def _disc_reach(scale: float, *_: float) -> int:
    return math.isqrt(int(scale * scale + 1))


def _neighbour_distance(scale: float) -> int:
    return max(1, round(scale))


def _lipschitz_reach(slope: float) -> int:
    return math.ceil(GREY_LEVELS / slope)


# -- values ---------------------------------------------------------------------------------------


def _sobel(tile: Tile, scale: float) -> Planes:
    from eds_xr.segmentation.features import tensors
    from eds_xr.segmentation.features.tile import cropped

    dy, dx = (cropped(d, 1) for d in tile.gradient(scale))
    return [tensors.length(dy, dx)]


def _hessian(tile: Tile, scale: float) -> Planes:
    """Sobel's derivatives twice. Orientation: of the first eigenvector, from the y axis [rad]."""
    from eds_xr.segmentation.features import convolve, tensors

    dy, dx = tile.gradient(scale)
    yy, xy = convolve.sobel(dy)
    _, xx = convolve.sobel(dx)
    out = np.empty((8, *yy.shape), np.float32)
    tensors.hessian_measures(yy, xy, xx, out)
    out[3], out[4] = tensors.eigenvalues(yy, xy, xx)
    np.arctan2(2 * xy, yy - xx, out=out[5])
    out[5] *= np.float32(0.5)
    return list(out)


def _membrane(tile: Tile) -> Planes:
    from eds_xr.segmentation.features import convolve, line_filters

    reach = PATCH // 2
    image = tile.within(reach)
    # Weka's line of thickness 1 is two pixels wide.
    planes = [
        convolve.taps(image, dy, dx, np.full(dy.size, 1 / dy.size, np.float32), reach)
        for dy, dx in line_filters.line_offsets(PATCH, 2, DIRECTIONS)
    ]
    return list(line_filters.projections(np.stack(planes)))


def _mean(tile: Tile, scale: float) -> Planes:
    from eds_xr.segmentation.features import discs

    rows = discs.disc(scale)
    total = discs.disc_sum(tile.within(rows.size // 2), rows)
    return [total / (2 * rows + 1).sum()]


def _variance(tile: Tile, scale: float) -> Planes:
    from eds_xr.segmentation.features import discs

    rows = discs.disc(scale)
    image = tile.within(rows.size // 2).astype(float)
    number = (2 * rows + 1).sum()
    mean = discs.disc_sum(image, rows) / number
    return [np.maximum(discs.disc_sum(image**2, rows) / number - mean**2, 0)]


def _minimum(tile: Tile, scale: float, sign: int = 1) -> Planes:
    from eds_xr.segmentation.features import discs

    rows = discs.disc(scale)
    return [sign * discs.disc_minimum(sign * tile.within(rows.size // 2), rows)]


def _median(tile: Tile, scale: float) -> Planes:
    from eds_xr.segmentation.features import discs
    from eds_xr.segmentation.features.tile import cropped

    rows, (ranks, values) = discs.disc(scale), tile.ranks
    return [discs.disc_median(cropped(ranks, tile.margin - rows.size // 2), values, rows)]


def _entropy(tile: Tile, scale: float, bins: int) -> Planes:
    from eds_xr.segmentation.features import discs

    rows = discs.disc(scale)
    levels = tile.grey(rows.size // 2) * np.float32(bins / (GREY_LEVELS + 1))
    return [discs.disc_entropy(levels.astype(np.uint8), int(bins), rows)]


def _anisotropic_diffusion(tile: Tile, scale: float, along: float) -> Planes:
    from eds_xr.segmentation.features import convolve, diffusion
    from eds_xr.segmentation.features.tile import gaussian

    weights = gaussian(SIGMA_PER_SCALE * scale)
    image = tile.grey(DIFFUSION_STEPS + 1 + weights.size // 2)
    tensor = diffusion.diffusivities(
        *convolve.sobel(convolve.separable(image, weights, weights)), along
    )
    found = diffusion.diffuse(tile.grey(DIFFUSION_STEPS), *tensor, DIFFUSION_STEPS)
    return [tile.from_grey(found)]


def _bilateral(tile: Tile, sigma: float, range_sigma: float) -> Planes:
    """Blur with weights from a few grey levels, and interpolate between them at each pixel.

    Yang, Tan & Ahuja, IEEE Conference on Computer Vision and Pattern Recognition (2009) 557.
    """
    from eds_xr.segmentation.features import convolve
    from eds_xr.segmentation.features.tile import gaussian

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


def _lipschitz(tile: Tile, slope: float) -> Planes:
    from eds_xr.segmentation.features import diffusion

    reach = _lipschitz_reach(slope)
    image = tile.grey(reach)
    above = diffusion.lipschitz_cover(image, slope)
    return [(image - above)[reach:-reach, reach:-reach] * tile.per_grey]


def _kuwahara(tile: Tile) -> Planes:
    """Take the mean along that line near the pixel that varies the least."""
    from eds_xr.segmentation.features import line_filters

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


def _gabor(tile: Tile, *parameters: float) -> Planes:
    from eds_xr.segmentation.features import gabor

    filters = gabor.filters(*parameters)
    image = tile.within(filters[0].half)
    highest = gabor.correlated(image, filters[0])
    lowest = highest.copy()
    for one in filters[1:]:
        plane = gabor.correlated(image, one)
        np.maximum(highest, plane, out=highest)
        np.minimum(lowest, plane, out=lowest)
    return [highest, lowest]


def _structure_tensor(tile: Tile, sigma: float) -> Planes:
    from eds_xr.segmentation.features import convolve, tensors
    from eds_xr.segmentation.features.tile import cropped, gaussian

    margin = gaussian_radius(max(INTEGRATION_SIGMAS))
    dy = tile.differentiated(sigma, 1, 0, margin)
    dx = tile.differentiated(sigma, 0, 1, margin)
    found: list[np.ndarray] = []
    for window in INTEGRATION_SIGMAS:
        weights = gaussian(window)
        by = margin - weights.size // 2
        tensor = (
            convolve.separable(cropped(part, by), weights, weights)
            for part in (dy * dy, dy * dx, dx * dx)
        )
        found.extend(tensors.eigenvalues(*tensor))
    return found


def _neighbours(tile: Tile, scale: float) -> Planes:
    away = _neighbour_distance(scale)
    image = tile.within(away)
    height, width = (n - 2 * away for n in image.shape)
    corners = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return [image[i * away :, j * away :][:height, :width] for i, j in corners]


def _of(prefix: str, parts: Iterable[str], suffix: str = "") -> tuple[str, ...]:
    return tuple(f"{prefix}_{part}{suffix}" for part in parts)


#: Every kind of feature; first those that are on by default.
KINDS = {
    kind.name: kind
    for kind in (
        FeatureKind(
            "intensity", ("intensity",), lambda scales: [()], lambda: 0,
            lambda tile: [tile.within(0)],
        ),
        FeatureKind(
            "gaussian", ("gaussian_{:g}",), _each, _blur_reach,
            lambda tile, scale: [tile.blurred(scale)[EDGE:-EDGE, EDGE:-EDGE]],
        ),
        FeatureKind("sobel", ("sobel_{:g}",), _each_and_unblurred, _blur_reach, _sobel),
        FeatureKind(
            "hessian", _of("hessian", HESSIAN, "_{:g}"), _each_and_unblurred, _blur_reach, _hessian
        ),
        FeatureKind(
            "difference_of_gaussians", ("dog_{:g}_{:g}",),
            lambda scales: itertools.combinations(sorted(scales), 2),
            lambda fine, coarse: _blur_reach(coarse),
            lambda tile, a, b: [(tile.blurred(b) - tile.blurred(a))[EDGE:-EDGE, EDGE:-EDGE]],
        ),
        FeatureKind(
            "membrane", _of("membrane", ("mean", "max", "min", "sum", "std", "median")),
            lambda scales: [()], lambda: PATCH // 2, _membrane,
        ),
        FeatureKind("variance", ("variance_{:g}",), _each, _disc_reach, _variance),
        FeatureKind("mean", ("mean_{:g}",), _each, _disc_reach, _mean),
        FeatureKind("minimum", ("minimum_{:g}",), _each, _disc_reach, _minimum),
        FeatureKind(
            "maximum", ("maximum_{:g}",), _each, _disc_reach,
            lambda tile, scale: _minimum(tile, scale, sign=-1),
        ),
        FeatureKind("median", ("median_{:g}",), _each, _disc_reach, _median),
        FeatureKind(
            "anisotropic_diffusion", ("diffusion_{:g}_{:g}",), _each_with(0.1, 0.35),
            lambda scale, along: _blur_reach(scale) + DIFFUSION_STEPS, _anisotropic_diffusion,
            grey_levels=True,
        ),
        FeatureKind(
            "bilateral", ("bilateral_{:g}_{:g}",),
            lambda scales: itertools.product((5, 10), (50, 100)),
            lambda sigma, _: gaussian_radius(sigma, BILATERAL_SIGMAS), _bilateral, grey_levels=True,
        ),
        FeatureKind(
            "lipschitz", ("lipschitz_{:g}",), lambda scales: _each((5, 10, 15, 20, 25)),
            _lipschitz_reach, _lipschitz, grey_levels=True,
        ),
        FeatureKind(
            "kuwahara", _of("kuwahara", ("variance", "variance_by_mean", "variance_by_square")),
            lambda scales: [()], lambda: 2 * (PATCH // 2), _kuwahara, grey_levels=True,
        ),
        FeatureKind(
            "gabor", _of("gabor", ("max", "min"), "_{:g}_{:g}_{:g}_{:g}"), _gabor_parameters,
            lambda sigma, gamma, *_: 3 * max(1, int(max(sigma, sigma / gamma))), _gabor,
        ),
        FeatureKind(
            "derivatives", ("derivative_{1:g}_{0:g}",), _each_with(2, 3, 4, 5), _derivative_reach,
            lambda tile, sigma, order: [tile.differentiated(sigma, order, order)],
        ),
        FeatureKind(
            "laplacian", ("laplacian_{:g}",), _each, _derivative_reach,
            lambda tile, s: [tile.differentiated(s, 2, 0) + tile.differentiated(s, 0, 2)],
        ),
        FeatureKind(
            "structure_tensor",
            tuple(
                f"structure_{which}_{{:g}}_{window}"
                for window in INTEGRATION_SIGMAS
                for which in ("largest", "smallest")
            ),
            _each,
            lambda sigma: _derivative_reach(sigma) + gaussian_radius(max(INTEGRATION_SIGMAS)),
            _structure_tensor,
        ),
        FeatureKind(
            "entropy", ("entropy_{:g}_{:g}",), _each_with(32, 64, 128, 256), _disc_reach, _entropy,
            grey_levels=True,
        ),
        FeatureKind(
            "neighbours", _of("neighbour", COMPASS, "_{:g}"), _each, _neighbour_distance,
            _neighbours,
        ),
    )
}  # fmt: skip
