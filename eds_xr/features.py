"""Pixel features: what a classifier sees of each pixel and of its surroundings.

Filters, scales and names are those of Trainable Weka Segmentation (Arganda-Carreras et al.,
Bioinformatics 33 (2017) 2424, doi:10.1093/bioinformatics/btx180), for any number of channels at
once. A scale is Weka's: the Gaussian applied has a standard deviation of 0.4 times the scale.

    features = pixel_features(nmf_result.scores, kinds=("gaussian", "hessian"))
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.provenance import with_step
from eds_xr.schema import (
    COMPONENT,
    ELEMENT,
    LINE,
    PHASE,
    EdsError,
    check_one_of,
    spatial_coords,
)

FEATURE = "feature"
CHANNEL = "channel"
#: Standard deviation of the Gaussian, in pixels, at scale 1.
SIGMA_PER_SCALE = 0.4
#: Decoded size of the features of one tile.
TILE_BYTES = 64 * 2**20


def pixel_features(
    channels: xr.DataArray,
    *,
    scales: Sequence[float] = (1, 2, 4, 8, 16),
    kinds: Sequence[str] = (
        "intensity",
        "gaussian",
        "sobel",
        "hessian",
        "difference_of_gaussians",
    ),
    tile_pixels: int | None = None,
) -> xr.DataArray:
    """Compute filtered versions of every channel, of which each pixel has one value a feature.

    Lazy: tiles are filtered with a margin as wide as the widest filter, so they join without
    seams: any tiling gives the whole image's values, to float32 rounding. Beyond the border of
    the image its mirror image is seen.

    Parameters
    ----------
    channels : DataArray [channel (or component, line, element, phase), y, x]
        Score maps, element maps, images; in any order of dimensions, or a single image [y, x].
        A line scan [x] is filtered as an image of one row; images stacked along a leading
        dimension (frame, tilt, z) are filtered one by one.
    scales : sequence of float
        Weka's scales; the Gaussian has a standard deviation of 0.4 scale [pixels].
    kinds : sequence of str
        Any of ``intensity``, ``gaussian``, ``sobel``, ``hessian``, ``difference_of_gaussians``.
    tile_pixels : int, optional
        Side of a tile [pixels]. The default gives features of about 64 MiB a tile.

    Returns
    -------
    DataArray [feature, y, x; float32]
        Named as ``Fp:hessian_eig1_8``: channel, filter, scale. One chunk along ``feature``.

    Raises
    ------
    EdsError
        When there is nothing to compute, a kind is unknown, names are not unique; and, once
        computed, when the channels hold NaN or infinite values.
    """
    kinds, scales = tuple(kinds), tuple(sorted({float(s) for s in scales}))
    _check_choice(kinds, scales)
    if tile_pixels is not None and tile_pixels < 1:
        raise EdsError(f"tile_pixels must be 1 or more, found {tile_pixels}")
    stack = as_channels(channels)
    names = [
        f"{channel}:{name}"
        for channel, kind in itertools.product(stack[CHANNEL].values, kinds)
        for name in _KINDS[kind].names(scales)
    ]
    if not names:
        raise EdsError("no features chosen; difference_of_gaussians needs at least two scales")
    values = _map_tiles(stack, len(names), kinds, scales, tile_pixels)
    step = {"kinds": list(kinds), "scales": list(scales)}
    return xr.DataArray(
        values,
        dims=(FEATURE, *stack.dims[1:]),
        coords={FEATURE: names, **spatial_coords(stack.rename({CHANNEL: FEATURE}))},
        name="features",
        attrs=with_step(channels.attrs, "pixel_features", **step),
    )


def as_channels(channels: xr.DataArray) -> xr.DataArray:
    """Return `channels` as ``(channel, *spatial)`` with a name for each channel. Lazy."""
    if not isinstance(channels, xr.DataArray):
        raise EdsError(
            f"expected channels as a DataArray, found {type(channels).__name__}; take one "
            "variable out of a Dataset, or stack all of them with dataset.to_dataarray('channel')"
        )
    if "energy" in channels.dims:
        raise EdsError(
            "a spectrum image is no set of channels: reduce energy first, e.g. to the scores of "
            "da.eds.nmf() or to da.eds.element_maps([...])"
        )
    kinds = (CHANNEL, COMPONENT, LINE, ELEMENT, PHASE)
    found = [str(d) for d in channels.dims if d in kinds]
    if len(found) > 1:
        raise EdsError(f"channels may have one dimension of {kinds}, found {found}; pick from one")
    if not found:
        channels = channels.expand_dims({CHANNEL: [str(channels.name or "image")]})
    elif found[0] != CHANNEL:
        channels = channels.rename({found[0]: CHANNEL})
    return _with_unique_names(channels.transpose(CHANNEL, ...))


def _with_unique_names(channels: xr.DataArray) -> xr.DataArray:
    if channels.ndim < 2 or channels.size == 0:
        raise EdsError(f"channels need pixels, found {dict(channels.sizes)}")
    if CHANNEL in channels.coords:
        names = [str(name) for name in channels[CHANNEL].values]
    else:
        names = [f"channel_{i}" for i in range(channels.sizes[CHANNEL])]
    if len(set(names)) < len(names):
        raise EdsError(f"names of channels must be unique, found {names}")
    return channels.assign_coords({CHANNEL: names})


def _check_choice(kinds: Sequence[str], scales: Sequence[float]) -> None:
    if not kinds:
        raise EdsError(f"no kinds of features chosen; choose among {', '.join(_KINDS)}")
    for kind in kinds:
        check_one_of(kind, _KINDS, "a kind of feature")
    if len(set(kinds)) < len(kinds):
        raise EdsError(f"kinds of features must differ, found {kinds}")
    if not all(0 < s < math.inf for s in scales):
        raise EdsError(f"scales must be above 0 and finite, found {scales}")


def _map_tiles(
    stack: xr.DataArray,
    n_features: int,
    kinds: tuple[str, ...],
    scales: tuple[float, ...],
    tile_pixels: int | None,
) -> Any:
    """Return the features as a Dask array: cut with margins, filter, cut the margins off."""
    import dask.array as da

    halo = max(_KINDS[kind].halo(scales) for kind in kinds)
    tile = tile_pixels or math.isqrt(TILE_BYTES // (4 * n_features))
    line = stack.ndim == 2
    array = da.asarray(stack.data)
    array = array[:, None] if line else array  # a line scan is an image of one row
    sides = [_tile_sizes(n, tile, halo) for n in array.shape[-2:]]
    array = array.rechunk((-1, *((1,) * n for n in array.shape[1:-2]), *sides))
    depth = {array.ndim - 2 + i: halo if len(side) > 1 else 0 for i, side in enumerate(sides)}
    padded = da.overlap.overlap(array, depth=depth, boundary="none")
    filtered = padded.map_blocks(
        _features_block,
        kinds=kinds,
        scales=scales,
        chunks=((n_features,), *padded.chunks[1:]),
        meta=np.empty((0,) * array.ndim, np.float32),
    )
    result = da.overlap.trim_internal(filtered, depth, boundary="none")
    return result[:, 0] if line else result


def _tile_sizes(size: int, tile: int, halo: int) -> tuple[int, ...]:
    """Cut `size` into equal parts of at most `tile`, but not narrower than the margin `halo`.

    Examples
    --------
    >>> _tile_sizes(1025, 512, 28)
    (342, 342, 341)
    """
    count = max(1, min(math.ceil(size / tile), size // max(halo, 1)))
    return tuple(size // count + (i < size % count) for i in range(count))


class _Blurred(dict[float, np.ndarray]):
    """One image at every scale, blurred when first asked for and then kept; 0 is the image."""

    def __missing__(self, scale: float) -> np.ndarray:
        self[scale] = _gaussian_block(self[0.0], scale)
        return self[scale]


class _Kind(NamedTuple):
    """One kind of feature: its names, its values in the same order, its reach in pixels."""

    names: Callable[[tuple[float, ...]], list[str]]
    values: Callable[[_Blurred, tuple[float, ...]], Iterator[np.ndarray]]
    halo: Callable[[tuple[float, ...]], int]


def _radius(scale: float) -> int:
    return int(4.0 * SIGMA_PER_SCALE * scale + 0.5)


def _reach(scales: tuple[float, ...]) -> int:
    return max((_radius(s) for s in scales), default=0)


def _with_zero(scales: tuple[float, ...]) -> tuple[float, ...]:
    return (0.0, *scales)


_HESSIAN = ("module", "trace", "determinant", "eig1", "eig2")

# Weka takes Sobel and Hessian of the image as it is, too: scale 0.
_KINDS: dict[str, _Kind] = {
    "intensity": _Kind(lambda s: ["intensity"], lambda b, s: iter([b[0.0]]), lambda s: 0),
    "gaussian": _Kind(
        lambda s: [f"gaussian_{i:g}" for i in s],
        lambda b, s: (b[i] for i in s),
        _reach,
    ),
    "sobel": _Kind(
        lambda s: [f"sobel_{i:g}" for i in _with_zero(s)],
        lambda b, s: (_sobel_block(b[i]) for i in _with_zero(s)),
        lambda s: _reach(s) + 1,
    ),
    "hessian": _Kind(
        lambda s: [f"hessian_{k}_{i:g}" for i in _with_zero(s) for k in _HESSIAN],
        lambda b, s: (f for i in _with_zero(s) for f in _hessian_block(b[i])),
        lambda s: _reach(s) + 2,
    ),
    "difference_of_gaussians": _Kind(
        lambda s: [f"dog_{i:g}_{j:g}" for i, j in itertools.combinations(s, 2)],
        lambda b, s: (b[j] - b[i] for i, j in itertools.combinations(s, 2)),
        _reach,
    ),
}


def _features_block(
    block: np.ndarray, *, kinds: tuple[str, ...], scales: tuple[float, ...]
) -> np.ndarray:
    """Filter the channels of one tile ``(channel, ..., y, x)``: ``(feature, ..., y, x)``."""
    images = block.astype(np.float32)
    if not np.isfinite(images).all():
        raise EdsError("the channels hold NaN or infinite values; use da.fillna(0) first")
    rows: list[np.ndarray] = []
    for image in images:
        blurred = _Blurred({0.0: image})
        for kind in kinds:
            rows.extend(_KINDS[kind].values(blurred, scales))
    return np.stack(rows)


def _gaussian_block(image: np.ndarray, scale: float) -> np.ndarray:
    """Blur the last two axes with a standard deviation of 0.4 scale; 0 leaves them as they are."""
    from scipy.ndimage import gaussian_filter

    if scale == 0:
        return image
    sigma, radius = SIGMA_PER_SCALE * scale, _radius(scale)
    return gaussian_filter(image, sigma, radius=radius, mode="reflect", axes=(-2, -1))


def _derivative_block(image: np.ndarray, axis: int) -> np.ndarray:
    """Sobel's derivative: differences along `axis`, smoothed across it."""
    from scipy.ndimage import correlate1d

    along = correlate1d(image, np.array([-1.0, 0.0, 1.0]), axis=axis, mode="reflect")
    return correlate1d(along, np.array([1.0, 2.0, 1.0]), axis=-3 - axis, mode="reflect")


def _sobel_block(image: np.ndarray) -> np.ndarray:
    """Length of the gradient."""
    return np.hypot(_derivative_block(image, -2), _derivative_block(image, -1))


def _hessian_block(image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield module, trace, determinant, larger and smaller eigenvalue of the second derivatives."""
    dy, dx = _derivative_block(image, -2), _derivative_block(image, -1)
    yy, xx, xy = _derivative_block(dy, -2), _derivative_block(dx, -1), _derivative_block(dy, -1)
    trace, root = xx + yy, np.hypot(xx - yy, 2 * xy)
    yield np.sqrt(xx**2 + 2 * xy**2 + yy**2)
    yield trace
    yield xx * yy - xy**2
    yield (trace + root) / 2
    yield (trace - root) / 2
