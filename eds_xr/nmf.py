"""Non-negative matrix factorisation of counts: fit, choose the rank, resolve the mixing.

The image ``X[pixel, energy]`` is modelled as ``W H``: scores (counts a pixel) times loadings
(spectra that sum to 1). The image is read once: what stays are its non-zero counts, a few bytes
each, and a spatially binned copy on which the start is found and refined before the full image.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import dask
import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.chunks import as_chunked
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    EdsError,
    check_counts_block,
    check_masks,
    check_one_of,
    check_spectrum_image,
    spatial_dims,
)

#: Mean counts that a binned pixel should hold: enough to see a phase in one pixel.
COUNTS_PER_BIN = 2000
#: Bounds on the number of binned pixels: enough to tell phases apart, few enough for memory.
BINNED_PIXELS = (256, 8192)
#: Eigenvalues this far above the edge of pure noise count as phases. Noise itself stays within 1.05;
#: absorption, drift and single odd objects reach 1.2.
NOISE_MARGIN = 1.25
#: A rank is clear when its eigenvalue is this many times the next one.
CLEAR_GAP = 5.0


def nmf(
    image: xr.DataArray,
    n_components: int | str = "auto",
    *,
    loss: str = "poisson",
    init: str | xr.DataArray = "scaled",
    mask: xr.DataArray | None = None,
    seed: int = 0,
    tol: float = 1e-5,
    max_iter: int = 60,
) -> xr.Dataset:
    """Factorise a spectrum image into scores and loadings.

    Computes: reads `image` once and iterates on its non-zero counts, which stay with the workers.
    The scores of the result are lazy.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
        Select a range of energy first to fit on part of the spectrum,
        ``image.sel(energy=slice(0.3, 4.4))``.
    n_components : int or "auto"
        Number of components; "auto" takes the suggestion of :func:`suggest_rank`.
    loss : {"poisson", "frobenius"}
        "poisson" is the likelihood of counts (Kullback-Leibler divergence). "frobenius" is plain
        least squares, for signals that are not counts; on counts it loses weak phases.
    init : {"scaled", "random"} or DataArray [component, energy]
        Start of the loadings: a factorisation of the binned image with Poisson scaling
        (Keenan & Kotula 2004, Surf. Interface Anal. 36, 203), chance, or spectra of your own.
        With the frobenius loss the scaled start is not scaled.
    mask : DataArray of bool [*spatial], optional
        Pixels to fit on; scores are given for all.
    seed : int
        Seed of whatever is random.
    tol : float
        The fit ends when a step lowers the deviance by less than this fraction. Loadings drift
        along the mixing ambiguity when the last digit of the deviance is pursued.
    max_iter : int
        Largest number of steps on the full image; the binned one takes up to three times that.

    Returns
    -------
    Dataset
        ``scores`` [*spatial, component; counts], lazy; ``loadings`` [component, energy; sum 1],
        strongest component first; attributes ``loss``, ``deviance``, ``iterations``,
        ``converged``, ``seed``.

    Raises
    ------
    EdsError
        For an image without energy axis, NaN or negative values, no counts at all, a mask on
        another grid, or a number of components that the image cannot hold.

    Notes
    -----
    Each step solves the scores of every pixel by Newton's method and takes one step of Newton's
    on every channel of the loadings, each with a length that cannot overshoot.
    """
    check_spectrum_image(image)
    check_one_of(loss, ("poisson", "frobenius"), "loss")
    if isinstance(init, str):
        check_one_of(init, ("scaled", "random"), "init")
    image = as_chunked(image)
    data = _read_once(_masked(image, mask))
    rank = _rank(n_components, data)
    start = _start(data, rank, loss=loss, init=init, seed=seed)
    coarse = _descend(_Rows.split(data.binned), start, loss, tol=tol / 5, max_iter=3 * max_iter)
    fit = _descend(data.blocks, coarse.loadings, loss, tol=tol, max_iter=max_iter)
    loadings = _strongest_first(fit)
    attrs = provenance.with_step(
        image.attrs, "nmf", n_components=rank, loss=loss, seed=seed, tol=tol, max_iter=max_iter
    )
    attrs |= {
        "loss": loss,
        "deviance": fit.deviance,
        "iterations": fit.iterations,
        "converged": int(fit.converged),
        "seed": seed,
    }
    spectra = _as_loadings(loadings, image)
    return xr.Dataset(
        {"scores": project(image, spectra, loss=loss), "loadings": spectra}, attrs=attrs
    )


def project(image: xr.DataArray, loadings: xr.DataArray, *, loss: str = "poisson") -> xr.DataArray:
    """Find the scores of every pixel for known loadings.

    Lazy: every block of pixels is solved on its own.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    loadings : DataArray [component, energy]
        Spectra, non-negative; their scale does not matter, as they are brought to sum 1.
    loss : {"poisson", "frobenius"}

    Returns
    -------
    DataArray [*spatial, component; counts]

    Raises
    ------
    EdsError
        When the energy axes differ.
    """
    check_spectrum_image(image)
    _check_loadings(loadings, image)
    table = _unit_columns(loadings.transpose(ENERGY, COMPONENT).values)
    scores = xr.apply_ufunc(
        _project_block,
        as_chunked(image).drop_vars(ENERGY),
        kwargs={"loadings": table, "loss": loss},
        input_core_dims=[[ENERGY]],
        output_core_dims=[[COMPONENT]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {COMPONENT: table.shape[1]}},
    )
    scores = scores.assign_coords({COMPONENT: loadings[COMPONENT]})
    scores.attrs = {"long_name": "NMF score", "units": "counts"}
    return scores.rename("scores")


def suggest_rank(image: xr.DataArray, *, max_rank: int = 10) -> xr.Dataset:
    """Suggest how many components stand out of the counting noise.

    Computes: reads `image` once.

    The binned image is divided by the root of its expected value under independence (Keenan &
    Kotula 2004), after which counting noise has unit variance and the largest eigenvalue of
    pure noise lies at ``(sqrt(pixels) + sqrt(channels))**2`` (Marchenko & Pastur 1967). What
    stands above is structure.

    Returns
    -------
    Dataset
        ``eigenvalue`` [component], in units of that edge; attributes ``suggested``, ``gap`` (of
        the suggested eigenvalue over the next) and ``clear`` (1 when the gap is at least 5).
    """
    check_spectrum_image(image)
    values = _noise_eigenvalues(_read_once(as_chunked(image)).binned)[:max_rank]
    suggested, gap = _count_signals(values)
    return xr.Dataset(
        {"eigenvalue": (COMPONENT, values, {"long_name": "eigenvalue over the edge of noise"})},
        coords={COMPONENT: np.arange(1, values.size + 1)},
        attrs={"suggested": suggested, "gap": gap, "clear": int(gap >= CLEAR_GAP)},
    )


def remove_baseline(result: xr.Dataset, matrix: int, core: xr.DataArray) -> xr.Dataset:
    """Take the matrix phase's share out of the other scores, without changing ``W H``.

    Lazy: but for the ratios in the core.

    NMF is unique only up to mixing: other components may carry part of the matrix. Where the
    matrix is pure their scores must be zero, so with ``beta_f`` the median of ``W_f / W_b`` there,
    ``W_f - beta_f W_b`` replaces ``W_f``, and ``H_b + sum_f beta_f H_f`` replaces ``H_b``.

    Parameters
    ----------
    result : Dataset
        From :func:`nmf`.
    matrix : int
        The component of the matrix phase.
    core : DataArray of bool [*spatial]
        Pixels where the matrix is pure.

    Returns
    -------
    Dataset
        As `result`; scores may now be slightly negative (noise about zero), and loadings sum to 1
        again. Attribute ``rotation_residual`` is the largest relative change of ``W H``.

    Raises
    ------
    EdsError
        When `core` is empty or lies on another grid.
    """
    scores, loadings = result["scores"], result["loadings"]
    if not bool(core.any()):
        raise EdsError("the core is empty: no pixel of pure matrix to take the baseline from")
    ratios = _core_ratios(scores, matrix, core)
    turn = xr.zeros_like(ratios).where(ratios[COMPONENT] == matrix, ratios)
    base = scores.sel({COMPONENT: matrix}, drop=True)
    rotated = scores - turn.astype(scores.dtype) * base
    with_shares = loadings.sel({COMPONENT: matrix}, drop=True) + (turn * loadings).sum(COMPONENT)
    rotated_loadings = loadings.where(loadings[COMPONENT] != matrix, with_shares)
    total = rotated_loadings.sum(ENERGY)
    rotated = (rotated * total).astype(scores.dtype).assign_attrs(scores.attrs)
    rotated_loadings = (rotated_loadings / total).assign_attrs(loadings.attrs)
    residual = _product_change(scores, loadings, rotated, rotated_loadings, core)
    attrs = provenance.with_step(
        result.attrs, "remove_baseline", matrix=matrix, ratios=turn.values.tolist()
    )
    attrs["rotation_residual"] = residual
    return xr.Dataset(
        {"scores": rotated.rename("scores"), "loadings": rotated_loadings}, attrs=attrs
    )


# -- reading: one pass over the image ------------------------------------------------------------


class _Rows(NamedTuple):
    """Sparse rows of counts, as delayed blocks, and what describes them."""

    blocks: list[Any]  # delayed (starts, channels, counts)
    sizes: list[int]  # pixels of each block
    channels: int
    counts: float

    @classmethod
    def split(cls, rows: np.ndarray, pieces: int = 16) -> _Rows:
        """Cut dense `rows` ``[pixel, channel]`` into sparse blocks."""
        parts = [p for p in np.array_split(rows, pieces) if len(p)]
        blocks = [dask.delayed(_compress_block)(p) for p in parts]
        blocks = list(dask.persist(*blocks))
        return cls(blocks, [len(p) for p in parts], rows.shape[1], float(rows.sum()))


class _Data(NamedTuple):
    blocks: _Rows
    binned: np.ndarray  # [coarse pixel, channel], without empty coarse pixels


def _masked(image: xr.DataArray, mask: xr.DataArray | None) -> xr.DataArray:
    if mask is None:
        return image
    check_masks(image, mask)
    return image.where(mask, 0)  # a pixel without counts adds nothing to any sum


def _read_once(image: xr.DataArray) -> _Data:
    """Compress every chunk, and sum counts over bins of pixels aligned to the image's grid."""
    tiles = image.data.to_delayed().ravel()
    blocks = [dask.delayed(_compress_block)(tile) for tile in tiles]
    counts = [dask.delayed(_count_block)(block) for block in blocks]
    *blocks, sums = dask.persist(*blocks, dask.delayed(sum)(counts))
    total = float(sums.compute())
    if total == 0:
        raise EdsError("the spectrum image holds no counts (in the pixels and channels chosen)")
    shape, channels = image.shape[:-1], image.shape[-1]
    size = _bin_size(shape, total)
    binned = np.zeros(
        (int(np.prod([-(-n // size) for n in shape])), channels), _sum_dtype(image.dtype)
    )
    partial = [
        dask.delayed(_bin_block)(block, box, shape, size, channels)
        for block, box in zip(blocks, _boxes(image.data.chunks[:-1]), strict=True)
    ]
    for group in _groups(partial):
        for rows, values in dask.compute(*group):
            np.add.at(binned, rows, values)
    sizes = [
        int(np.prod([s.stop - s.start for s in box])) for box in _boxes(image.data.chunks[:-1])
    ]
    return _Data(_Rows(blocks, sizes, channels, total), binned[binned.any(1)])


def _sum_dtype(dtype: np.dtype) -> type:
    return np.float64 if dtype.kind == "f" else np.int64


def _groups(items: list[Any], size: int = 256) -> Iterable[list[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _boxes(chunks: tuple[tuple[int, ...], ...]) -> list[tuple[slice, ...]]:
    """Return the place of each chunk, in the order of ``to_delayed().ravel()``."""
    edges = [np.cumsum((0, *sizes)) for sizes in chunks]
    index = np.ndindex(*(len(c) for c in chunks))
    return [
        tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, where, strict=True)) for where in index
    ]


def _bin_size(shape: tuple[int, ...], counts: float) -> int:
    """Return the side of a bin, a power of two: counts enough for a start, pixels enough too."""
    few, many = BINNED_PIXELS
    size = 1
    while True:
        pixels = np.prod([-(-n // size) for n in shape])
        larger = np.prod([-(-n // (2 * size)) for n in shape])
        enough = counts / pixels >= COUNTS_PER_BIN
        if pixels <= many and (enough or larger < few):
            return size
        size *= 2


# -- rank and start: on the binned image ---------------------------------------------------------


def _rank(n_components: int | str, data: _Data) -> int:
    if n_components == "auto":
        return _count_signals(_noise_eigenvalues(data.binned))[0]
    if not isinstance(n_components, int | np.integer):
        raise EdsError(f"n_components must be a number or 'auto', found {n_components!r}")
    most = min(sum(data.blocks.sizes), data.blocks.channels)
    if not 1 <= n_components <= most:
        raise EdsError(f"n_components must lie between 1 and {most}, found {n_components}")
    return int(n_components)


def _noise_eigenvalues(binned: np.ndarray) -> np.ndarray:
    counts = _merge_weak_channels(binned.astype(float))
    pixels, channels = counts.shape
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    scaled = counts / np.sqrt(expected)
    small = scaled @ scaled.T if pixels < channels else scaled.T @ scaled
    edge = (np.sqrt(pixels) + np.sqrt(channels)) ** 2
    return np.linalg.eigvalsh(small)[::-1] / edge


def _merge_weak_channels(counts: np.ndarray, least: float = 1.0) -> np.ndarray:
    """Merge neighbours until each holds a count a pixel: rarer counts are not near-normal."""
    level = np.cumsum(counts.sum(0)) / (least * len(counts))
    group = np.floor(level * (1 - 1e-12)).astype(int)
    _, first = np.unique(group, return_index=True)
    merged = np.add.reduceat(counts, first, axis=1)
    return merged[:, merged.any(0)]


def _count_signals(values: np.ndarray) -> tuple[int, float]:
    rank = max(1, int((values > NOISE_MARGIN).sum()))
    gap = float(values[rank - 1] / values[rank]) if rank < values.size else np.inf
    return rank, gap


def _start(data: _Data, rank: int, *, loss: str, init: str | xr.DataArray, seed: int) -> np.ndarray:
    """Return the first loadings ``[channel, component]``."""
    channels = data.blocks.channels
    if isinstance(init, xr.DataArray):
        if init.sizes.get(ENERGY) != channels or init.sizes.get(COMPONENT) != rank:
            raise EdsError(
                f"init must be [component: {rank}, energy: {channels}], found {dict(init.sizes)}"
            )
        return _unit_columns(init.transpose(ENERGY, COMPONENT).values)
    mean = data.binned.sum(0) / data.binned.sum()
    if init == "random":
        draw = np.random.default_rng(seed).gamma(1.0, size=(channels, rank))
        return _unit_columns(draw * mean[:, None])
    spectra = (
        _scaled_start(data.binned, rank, seed)
        if loss == "poisson"
        else _plain_start(data.binned, rank, seed)
    )
    # a channel at zero could never come back: give each a trace of the mean spectrum
    return _unit_columns(_unit_columns(spectra) + 1e-4 * mean[:, None])


def _scaled_start(binned: np.ndarray, rank: int, seed: int) -> np.ndarray:
    bins = -(-binned.shape[1] // 256)
    starts = np.arange(0, binned.shape[1], bins)
    rough = np.add.reduceat(binned.astype(float), starts, axis=1)
    pixel, channel = np.sqrt(rough.mean(1) + 1e-9), np.sqrt(rough.mean(0) + 1e-9)
    spectra = _factorise(rough / pixel[:, None] / channel, rank, seed) * channel
    mean = binned.sum(0) + 1e-9
    within = mean / np.repeat(np.add.reduceat(mean, starts), bins)[: mean.size]
    return (np.repeat(spectra, bins, axis=1)[:, : mean.size] * within).T


def _plain_start(binned: np.ndarray, rank: int, seed: int) -> np.ndarray:
    return _factorise(binned.astype(float), rank, seed).T


def _factorise(rows: np.ndarray, rank: int, seed: int) -> np.ndarray:
    from sklearn.decomposition import NMF

    if rank > min(rows.shape):  # the decomposition behind the start has no more directions
        draw = np.random.default_rng(seed).gamma(1.0, size=(rank, rows.shape[1]))
        return draw * rows.mean(0)
    model = NMF(rank, init="nndsvda", max_iter=50, tol=1e-5, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is only a start: convergence comes later
        model.fit(rows)
    return model.components_


# -- descent: scores of every block, then the loadings -------------------------------------------


class _Fit(NamedTuple):
    loadings: np.ndarray
    weights: np.ndarray
    deviance: float
    iterations: int
    converged: bool


def _descend(rows: _Rows, loadings: np.ndarray, loss: str, *, tol: float, max_iter: int) -> _Fit:
    """Lower the deviance until it falls by less than the fraction `tol` in a step."""
    step, update = _LOSSES[loss]
    scores: list[Any] = [None] * len(rows.blocks)
    last = np.inf
    for iteration in range(1, max_iter + 1):
        scores, sums = _sweep(rows, scores, loadings, step)
        loadings, weights, deviance = update(loadings, sums, rows.counts)
        if last - deviance < tol * abs(deviance):
            return _Fit(loadings, weights, deviance, iteration, True)
        last = deviance
    return _Fit(loadings, weights, deviance, max_iter, False)


def _sweep(
    rows: _Rows, scores: list[Any], loadings: np.ndarray, step: Callable[..., Any]
) -> tuple[list[Any], tuple[Any, ...]]:
    """Solve all scores for the loadings; both stay with the workers, only sums come back."""
    table = dask.delayed(loadings)
    done = [
        dask.delayed(step, nout=2)(block, w, table)
        for block, w in zip(rows.blocks, scores, strict=True)
    ]
    sums = [d[1] for d in done]
    while len(sums) > 1:
        sums = [dask.delayed(_add)(group) for group in _groups(sums, 16)]
    *kept, total = dask.persist(*(d[0] for d in done), sums[0])
    return kept, total.compute()


def _add(parts: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(sum(values[1:], values[0]) for values in zip(*parts, strict=True))


def _poisson_update(
    loadings: np.ndarray, sums: Any, counts: float
) -> tuple[np.ndarray, np.ndarray, float]:
    from eds_xr import _poisson

    numerator, weights, likelihood, curvature = sums
    new = _poisson.poisson_loadings(loadings, numerator, weights, curvature)
    return _unit_columns(new), weights, float(2 * (likelihood + weights.sum() - counts))


def _frobenius_update(
    loadings: np.ndarray, sums: Any, counts: float
) -> tuple[np.ndarray, np.ndarray, float]:
    from eds_xr import _poisson

    cross, gram, square = sums
    table = loadings.astype(float)
    error = square - 2 * (cross * table).sum() + (gram * (table.T @ table)).sum()
    new = _poisson.frobenius_loadings(loadings, cross, gram)
    return _unit_columns(new), np.sqrt(np.diag(gram)), float(error)


def _strongest_first(fit: _Fit) -> np.ndarray:
    return fit.loadings[:, np.argsort(-fit.weights, kind="stable")]


def _unit_columns(table: np.ndarray) -> np.ndarray:
    table = np.asarray(table, float)
    total = table.sum(0)
    return np.ascontiguousarray(table / np.where(total > 0, total, 1), dtype=np.float32)


def _as_loadings(table: np.ndarray, image: xr.DataArray) -> xr.DataArray:
    return xr.DataArray(
        table.T.astype(float) / table.sum(0, dtype=float)[:, None],
        dims=(COMPONENT, ENERGY),
        coords={COMPONENT: np.arange(table.shape[1]), ENERGY: image[ENERGY]},
        attrs={"long_name": "NMF loading", "units": "1"},
    )


def _check_loadings(loadings: xr.DataArray, image: xr.DataArray) -> None:
    if set(loadings.dims) != {COMPONENT, ENERGY}:
        raise EdsError(f"loadings must be [component, energy], found {tuple(loadings.dims)}")
    if loadings.sizes[ENERGY] != image.sizes[ENERGY] or not np.allclose(
        loadings[ENERGY], image[ENERGY]
    ):
        raise EdsError(
            "loadings and image have different energy axes; select the same range, "
            "image.sel(energy=loadings.energy)"
        )


# -- mixing --------------------------------------------------------------------------------------


def _core_ratios(scores: xr.DataArray, matrix: int, core: xr.DataArray) -> xr.DataArray:
    """Return the median ratio of each component's score to the matrix's, in the core."""
    where = np.flatnonzero(core.values.ravel())
    flat = scores.transpose(*spatial_dims(scores), COMPONENT).data.reshape(
        -1, scores.sizes[COMPONENT]
    )
    values = np.asarray(flat)[where].astype(float)
    base = values[:, list(scores[COMPONENT].values).index(matrix)]
    ratio = np.median(values[base > 0] / base[base > 0, None], axis=0)
    return xr.DataArray(ratio, dims=COMPONENT, coords={COMPONENT: scores[COMPONENT]})


def _product_change(
    scores: xr.DataArray,
    loadings: xr.DataArray,
    new: xr.DataArray,
    new_loadings: xr.DataArray,
    core: xr.DataArray,
) -> float:
    """Return the largest change of ``W H``, relative to its largest value, over the core."""
    before = scores.where(core, 0) @ loadings
    change = abs(new.where(core, 0) @ new_loadings - before).max()
    return float(change / before.max())


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _compress_block(block: np.ndarray) -> tuple[np.ndarray, ...]:
    from eds_xr import _poisson

    check_counts_block(block)
    return _poisson.compress(np.ascontiguousarray(block).reshape(-1, block.shape[-1]))


def _count_block(block: tuple[np.ndarray, ...]) -> float:
    return float(block[2].sum(dtype=np.float64))


def _bin_block(
    block: tuple[np.ndarray, ...],
    box: tuple[slice, ...],
    shape: tuple[int, ...],
    size: int,
    channels: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bins that a block touches and the block's counts in them."""
    from eds_xr import _poisson

    grid = [-(-n // size) for n in shape]
    bins = np.meshgrid(*(np.arange(s.start, s.stop) // size for s in box), indexing="ij")
    rows, target = np.unique(
        np.ravel_multi_index([b.ravel() for b in bins], grid), return_inverse=True
    )
    binned = np.zeros((rows.size, channels), _sum_dtype(block[2].dtype))
    _poisson.add_binned(*block, target.ravel(), binned)
    return rows, binned


def _even_scores(block: tuple[np.ndarray, ...], components: int) -> np.ndarray:
    """Return the start of a block's scores: each pixel's counts in equal shares."""
    totals = np.concatenate([[0.0], np.cumsum(block[2], dtype=np.float64)])
    pixel = totals[block[0][1:]] - totals[block[0][:-1]]
    return np.repeat(pixel[:, None] / components, components, axis=1).astype(np.float32)


def _poisson_step_block(block: Any, scores: np.ndarray | None, loadings: np.ndarray) -> Any:
    from eds_xr import _poisson

    first = scores is None
    w = _even_scores(block, loadings.shape[1]) if scores is None else scores.copy()
    _poisson.poisson_scores(*block, loadings, w, 8 if first else 2)
    return w, _poisson.poisson_sums(*block, loadings, w)


def _frobenius_step_block(block: Any, scores: np.ndarray | None, loadings: np.ndarray) -> Any:
    from eds_xr import _poisson

    w = _even_scores(block, loadings.shape[1]) if scores is None else scores.copy()
    _poisson.frobenius_scores(*block, loadings, w)
    return w, _poisson.frobenius_sums(*block, loadings.shape[0], w)


def _project_block(block: np.ndarray, *, loadings: np.ndarray, loss: str) -> np.ndarray:
    from eds_xr import _poisson

    sparse = _compress_block(block)
    w = _even_scores(sparse, loadings.shape[1])
    if loss == "poisson":
        _poisson.poisson_scores(*sparse, loadings, w, 30)
    else:
        _poisson.frobenius_scores(*sparse, loadings, w)
    return w.reshape(*block.shape[:-1], loadings.shape[1])


_LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "poisson": (_poisson_step_block, _poisson_update),
    "frobenius": (_frobenius_step_block, _frobenius_update),
}
