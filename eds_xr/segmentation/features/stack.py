"""Pixel features: what a classifier sees of each pixel and of its surroundings.

Filters, scales and names are those of Trainable Weka Segmentation (Arganda-Carreras et al.,
Bioinformatics 33 (2017) 2424, doi:10.1093/bioinformatics/btx180), for any number of channels at
once: 76 features a channel by default, some 200 more on request.

    features = pixel_features(nmf_result.scores, kinds=("gaussian", "hessian"))
    same = pixel_features(other.scores, names=list(features.feature.values))
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.provenance import with_step
from eds_xr.schema import COMPONENT, ELEMENT, LINE, PHASE, EdsError, check_one_of, spatial_coords
from eds_xr.segmentation.features.kinds import KINDS
from eds_xr.segmentation.tiled_filters import TILE_PIXELS, tile_sizes, with_margins
from eds_xr.workers import task_name

FEATURE = "feature"
CHANNEL = "channel"
#: Weka's, where its smallest and largest sigma are 1 and 16.
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
#: What Weka has on by default; :data:`ALL_KINDS` has the optional ones, too.
DEFAULT_KINDS = (
    "intensity",
    "gaussian",
    "sobel",
    "hessian",
    "difference_of_gaussians",
    "membrane",
)
ALL_KINDS = tuple(KINDS)
#: Decoded size of the features of one tile.
TILE_BYTES = 64 * 2**20


def pixel_features(
    channels: xr.DataArray,
    *,
    scales: Sequence[float] = SCALES,
    kinds: Sequence[str] = DEFAULT_KINDS,
    names: Sequence[str] | None = None,
    tile_pixels: int | None = None,
) -> xr.DataArray:
    """Compute filtered versions of every channel, of which each pixel has one value a feature.

    Lazy: tiles are filtered with a margin as wide as the widest filter, so they join without
    seams: any tiling gives the whole image's values, to float32 rounding. Beyond the border of
    the image its mirror image is seen. Only what is chosen is computed, and what several filters
    share only once a tile. Anisotropic diffusion, bilateral, Lipschitz, Kuwahara and entropy need
    the lowest and highest value of each channel: one more pass over the channels.

    Parameters
    ----------
    channels : DataArray [channel (or component, line, element, phase), y, x]
        Score maps, element maps, images; in any order of dimensions, or a single image [y, x].
        A line scan [x] is filtered as an image of one row; images stacked along a leading
        dimension (frame, tilt, z) are filtered one by one.
    scales : sequence of float
        Weka's scales. The Gaussian of the default kinds has a standard deviation of 0.4 scale
        [pixels]; discs have it as radius, Gaussian derivatives as standard deviation.
    kinds : sequence of str
        Any of `ALL_KINDS`, see Notes.
    names : sequence of str, optional
        Just these features, in this order, as ``Fp:hessian_eig1_8``; for example those of a saved
        classifier, or its most important ones. `scales` and `kinds` are not looked at.
    tile_pixels : int, optional
        Side of a tile [pixels]. The default gives features of at most about 64 MiB a tile.

    Returns
    -------
    DataArray [feature, y, x; float32]
        Named as ``Fp:hessian_eig1_8``: channel, filter, scale. One chunk along ``feature``.

    Raises
    ------
    EdsError
        When there is nothing to compute, a kind or name is unknown, names are not unique; and,
        once computed, when the channels hold NaN or infinite values.

    Notes
    -----
    On by default: ``intensity``, ``gaussian``, ``sobel``, ``hessian`` (module, trace, determinant,
    eigenvalues, orientation, Lindeberg's two edge strengths), ``difference_of_gaussians``,
    ``membrane`` (lines in 10 directions). Sobel and Hessian also of the image as it is: scale 0.
    Optional: ``variance``, ``mean``, ``minimum``, ``maximum``, ``median``,
    ``anisotropic_diffusion``, ``bilateral``, ``lipschitz``, ``kuwahara``, ``gabor``,
    ``derivatives``, ``laplacian``, ``structure_tensor``, ``entropy``, ``neighbours``.

    Where Weka is different: its eigenvalues lie root 2 as far from their mean as they should; it
    repeats the border pixels; its anisotropic diffusion and Gabor filters scale with the extremes
    of what they filtered, which would leave seams, so here time steps and amplitudes are fixed.
    """
    if tile_pixels is not None and tile_pixels < 1:
        raise EdsError(f"tile_pixels must be 1 or more, found {tile_pixels}")
    stack = as_channels(channels)
    found = [str(name) for name in stack[CHANNEL].values]
    if names is None:
        kinds, scales = tuple(kinds), tuple(sorted({float(s) for s in scales}))
        features = feature_names(kinds, scales=scales)
        if not features:
            raise EdsError("no features chosen; difference_of_gaussians needs at least two scales")
        chosen = [f"{channel}:{feature}" for channel in found for feature in features]
        step: dict[str, Any] = {"kinds": list(kinds), "scales": list(scales)}
    else:
        chosen = [str(name) for name in names]
        kinds, scales = ALL_KINDS, scales_in(name.rpartition(":")[2] for name in chosen)
        step = {"names": chosen}
    works = _plan(chosen, found, groups(kinds, scales))
    return xr.DataArray(
        _map_tiles(stack, len(chosen), works, tile_pixels),
        dims=(FEATURE, *stack.dims[1:]),
        coords={FEATURE: chosen, **spatial_coords(stack.rename({CHANNEL: FEATURE}))},
        name="features",
        attrs=with_step(channels.attrs, "pixel_features", **step),
    )


def feature_names(
    kinds: Sequence[str] = DEFAULT_KINDS, *, scales: Sequence[float] = SCALES
) -> list[str]:
    """Return the names of the features that one channel gets, without the channel's.

    Examples
    --------
    >>> feature_names(("gaussian", "membrane"), scales=(1, 2))[:3]
    ['gaussian_1', 'gaussian_2', 'membrane_mean']
    >>> len(feature_names())
    76
    """
    kinds, scales = tuple(kinds), tuple(sorted({float(s) for s in scales}))
    if not kinds:
        raise EdsError(f"no kinds of features chosen; choose among {', '.join(KINDS)}")
    for kind in kinds:
        check_one_of(kind, KINDS, "a kind of feature")
    if len(set(kinds)) < len(kinds):
        raise EdsError(f"kinds of features must differ, found {kinds}")
    if not all(0 < s < math.inf for s in scales):
        raise EdsError(f"scales must be above 0 and finite, found {scales}")
    return [name for group in groups(kinds, scales) for name in group.names]


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
    channels = channels.transpose(CHANNEL, ...)
    if channels.ndim < 2 or channels.size == 0:
        raise EdsError(f"channels need pixels, found {dict(channels.sizes)}")
    if CHANNEL in channels.coords:
        names = [str(name) for name in channels[CHANNEL].values]
    else:
        names = [f"channel_{i}" for i in range(channels.sizes[CHANNEL])]
    if len(set(names)) < len(names):
        raise EdsError(f"names of channels must be unique, found {names}")
    return channels.assign_coords({CHANNEL: names})


def scales_in(names: Iterable[str]) -> tuple[float, ...]:
    """Return all numbers in names of features: among them are their scales.

    Examples
    --------
    >>> scales_in(["dog_2_8", "membrane_mean"])
    (2.0, 8.0)
    """
    parts = {part for name in names for part in name.split("_")}
    return tuple(sorted({float(p) for p in parts if p.replace(".", "", 1).isdigit()} - {0.0}))


class Group(NamedTuple):
    """Features that are computed together; `reach`: how many pixels away they look."""

    kind: str
    parameters: tuple[float, ...]
    names: tuple[str, ...]
    reach: int


class _Work(NamedTuple):
    """One group of features of one channel: which of its parts go to which rows of the result."""

    channel: int
    group: Group
    parts: tuple[int, ...]
    rows: tuple[int, ...]


def groups(kinds: Iterable[str], scales: Sequence[float]) -> list[Group]:
    """Return the groups of some kinds of features at some scales, in this order."""
    return [
        Group(name, run, tuple(f.format(*run) for f in kind.features), kind.reach(*run))
        for name, kind in ((name, KINDS[name]) for name in kinds)
        for run in kind.parameters(scales)
    ]


def _plan(chosen: list[str], channels: list[str], available: list[Group]) -> tuple[_Work, ...]:
    """Return the work that gives the chosen features, all of a channel together."""
    if not chosen:
        raise EdsError("no names of features given")
    if len(set(chosen)) < len(chosen):
        raise EdsError("names of features must differ")
    row = {name: i for i, name in enumerate(chosen)}
    works = []
    for (i, channel), group in itertools.product(enumerate(channels), available):
        full = (row.pop(f"{channel}:{name}", None) for name in group.names)
        wanted = [(part, at) for part, at in enumerate(full) if at is not None]
        if wanted:
            parts, rows = zip(*wanted, strict=True)
            works.append(_Work(i, group, parts, rows))
    if row:
        raise EdsError(
            f"no feature {next(iter(row))!r} of channels {', '.join(channels)}; names are "
            "channel:feature, with a feature of eds_xr.features.feature_names(ALL_KINDS)"
        )
    return tuple(works)


def _map_tiles(
    stack: xr.DataArray, n_features: int, works: tuple[_Work, ...], tile_pixels: int | None
) -> Any:
    """Return the features as a Dask array: cut with margins, mirror at the border, filter."""
    import dask.array as da

    halo = max(work.group.reach for work in works)
    fits = min(TILE_PIXELS, math.isqrt(TILE_BYTES // (4 * n_features)))
    tile = tile_pixels or max(fits, 3 * halo)  # or margins would be most of the work
    line = stack.ndim == 2
    array = da.asarray(stack.data)
    array = array[:, None] if line else array  # a line scan is an image of one row
    sides = [tile_sizes(n, tile, halo) for n in array.shape[-2:]]
    array = array.rechunk((-1, *((1,) * n for n in array.shape[1:-2]), *sides))
    extremes: list[Any] = []  # the lowest and highest value of each channel, in one block
    if any(KINDS[work.group.kind].grey_levels for work in works):
        rest = tuple(range(1, array.ndim))
        extremes = [da.stack([array.min(rest), array.max(rest)], axis=1).rechunk(-1)]
    result = with_margins(array, halo, 2).map_blocks(
        _features_block,
        *extremes,
        works=works,
        n_features=n_features,
        halo=halo,
        chunks=((n_features,), *array.chunks[1:]),
        meta=np.empty((0,) * array.ndim, np.float32),
    )
    return result[:, 0] if line else result


@task_name("features")
def _features_block(
    block: np.ndarray,
    extremes: np.ndarray | None = None,
    *,
    works: tuple[_Work, ...],
    n_features: int,
    halo: int,
    block_info: Any,
) -> np.ndarray:
    """Filter the channels of one tile ``(channel, ..., y, x)``: ``(feature, ..., y, x)``."""
    from eds_xr.segmentation.features.tile import Tile

    if not np.isfinite(block).all() or (extremes is not None and not np.isfinite(extremes).all()):
        raise EdsError("the channels hold NaN or infinite values; use da.fillna(0) first")
    images = _mirrored_block(block.astype(np.float32), halo, block_info[0])
    core = tuple(n - 2 * halo for n in images.shape[-2:])
    result = np.empty((n_features, *images.shape[1:-2], *core), np.float32)
    for at in np.ndindex(images.shape[1:-2]):
        for channel, same in itertools.groupby(works, key=lambda work: work.channel):
            low, high = (0.0, 0.0) if extremes is None else extremes[channel]
            tile = Tile(images[(channel, *at)], halo, float(low), float(high))
            for work in same:
                values = KINDS[work.group.kind].values(tile, *work.group.parameters)
                for part, row in zip(work.parts, work.rows, strict=True):
                    result[(row, *at)] = values[part]
    return result


def _mirrored_block(images: np.ndarray, halo: int, info: dict[str, Any]) -> np.ndarray:
    """Add the image's mirror image where a tile lies at its border, so that all have a margin."""
    places = zip(info["chunk-location"][-2:], info["num-chunks"][-2:], strict=True)
    sides = [(halo * (i == 0), halo * (i == n - 1)) for i, n in places]
    return np.pad(images, [(0, 0)] * (images.ndim - 2) + sides, mode="symmetric")
