"""Non-negative matrix factorisation of counts: fit, choose the rank, resolve the mixing.

The image ``X[pixel, energy]`` is modelled as ``W H``: scores (counts a pixel) times loadings
(spectra that sum to 1). The image is read once: what stays are its non-zero counts, a few bytes
each, and a spatially binned copy on which the start is found and refined before the full image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr._parts.counts import check_channels, compress_block, read_once, split_rows
from eds_xr._parts.descent import Fit, descend, project_block, unit_columns
from eds_xr._parts.mixing import check_component, matrix_shares, pick, thinned, turn
from eds_xr._parts.start import (
    check_spectra_table,
    choose_rank,
    count_signals,
    noise_eigenvalues,
    start_loadings,
)
from eds_xr.chunks import as_chunked
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_masks,
    check_one_of,
    check_same_grid,
    check_spectrum_image,
    spatial_dims,
)

#: A rank is clear when its eigenvalue is this many times the next one.
CLEAR_GAP = 5.0
#: In how many blocks the binned image is worked on.
BINNED_BLOCKS = 4
#: The baseline needs no more pixels than this of the core.
CORE_PIXELS = 2**20


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
        The fit ends when a step lowers the deviance by less than this fraction.
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
        another grid, a number of components that the image cannot hold, or a start of another
        shape.

    Notes
    -----
    Each step solves the scores of every pixel by Newton's method and takes one step of Newton's
    on every channel of the loadings, each with a length that cannot overshoot. Where steps become
    small they gain momentum, as mixing of components changes the deviance little.
    """
    check_spectrum_image(image)
    check_one_of(loss, ("poisson", "frobenius"), "loss")
    if isinstance(init, str):
        check_one_of(init, ("scaled", "random"), "init")
    if seed < 0 or max_iter < 1:
        raise EdsError(f"expected seed >= 0 and max_iter >= 1, found {seed!r} and {max_iter!r}")
    image = as_chunked(image)
    counts = read_once(_masked(image, mask))
    rank = choose_rank(n_components, counts)
    start = start_loadings(counts.binned, rank, loss=loss, init=init, seed=seed)
    rough = split_rows(counts.binned, BINNED_BLOCKS)
    near = descend(rough, start, loss, tol=tol / 5, max_iter=3 * max_iter)
    fit = descend(counts.full, near.loadings, loss, tol=tol, max_iter=max_iter)
    spectra = _as_loadings(_strongest_first(fit), image)
    step = provenance.with_step(
        image.attrs, "nmf", n_components=rank, loss=loss, seed=seed, tol=tol, max_iter=max_iter
    )
    return xr.Dataset(
        {"scores": project(image, spectra, loss=loss), "loadings": spectra},
        attrs=step | {"loss": loss, "seed": seed} | _outcome(fit),
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
        When the energy axes differ, or loadings are negative, NaN or all zero.
    """
    check_spectrum_image(image)
    check_channels(image.sizes[ENERGY])
    check_one_of(loss, ("poisson", "frobenius"), "loss")
    _check_loadings(loadings, image)
    table = unit_columns(loadings.transpose(ENERGY, COMPONENT).values)
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
    values = noise_eigenvalues(read_once(as_chunked(image)).binned)
    suggested, gap = count_signals(values)
    values = values[:max_rank]
    return xr.Dataset(
        {"eigenvalue": (COMPONENT, values, {"long_name": "eigenvalue over the edge of noise"})},
        coords={COMPONENT: np.arange(1, values.size + 1)},
        attrs={"suggested": suggested, "gap": gap, "clear": int(gap >= CLEAR_GAP)},
    )


def remove_baseline(result: xr.Dataset, matrix: int | str, core: xr.DataArray) -> xr.Dataset:
    """Take the matrix phase's share out of the other scores, without changing ``W H``.

    Lazy: but for the ratios, from at most a million pixels evenly spread over the core.

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
        again. Attribute ``rotation_residual`` is the largest change of ``W H`` in the core,
        relative to its largest value.

    Raises
    ------
    EdsError
        When `core` is not boolean, is empty or lies on another grid, or when `matrix` is not a
        component, or has no counts in the core.
    """
    scores = result["scores"]
    check_component(scores, matrix)
    pure = pick(scores, thinned(_on_grid(scores, core, "the core").values, CORE_PIXELS))
    shares = matrix_shares(pure, matrix)
    return move_shares(result, matrix, shares, check=pure)


def move_shares(
    result: xr.Dataset, component: Any, shares: xr.DataArray, *, check: xr.DataArray | None = None
) -> xr.Dataset:
    """Move shares of other components into one, without changing ``W H``.

    Lazy: nothing of the image is computed.

    ``W_f - s_f W_b`` replaces every other score ``W_f``, and ``H_b + sum_f s_f H_f`` replaces
    ``H_b``; then loadings are brought to sum 1 again.

    Parameters
    ----------
    result : Dataset
        From :func:`nmf`.
    component : label of a component
        ``b`` above.
    shares : DataArray [component]
        ``s_f``; that of `component` itself must be zero.
    check : DataArray [pixel, component], optional
        Scores on which the change of ``W H`` is measured; by default one pixel of each component
        alone: all others are sums of these.

    Returns
    -------
    Dataset
        As `result`; attribute ``rotation_residual`` is the largest change of ``W H``, relative
        to its largest value.
    """
    scores, loadings = result["scores"], result["loadings"]
    check_component(scores, component)
    if float(shares.sel({COMPONENT: component})) != 0:
        raise EdsError(f"the share of {component!r} in itself must be zero")
    kept = loadings.sel({COMPONENT: component}, drop=True) + (shares * loadings).sum(COMPONENT)
    turned = loadings.where(loadings[COMPONENT] != component, kept)
    total = turned.sum(ENERGY)
    spectra = (turned / total).assign_attrs(loadings.attrs)
    rotated = turn(scores, component, shares, total)
    sample = _unit_scores(scores) if check is None else check[:: -(-len(check) // 4096)]
    sample = sample.astype(scores.dtype)  # rounding included
    change = abs(turn(sample, component, shares, total) @ spectra - sample @ loadings).max()
    attrs = provenance.with_step(
        result.attrs, "move_shares", component=str(component), shares=shares.values.tolist()
    )
    attrs["rotation_residual"] = float(change / (sample @ loadings).max())
    return xr.Dataset({"scores": rotated.rename("scores"), "loadings": spectra}, attrs=attrs)


def _unit_scores(scores: xr.DataArray) -> xr.DataArray:
    one = np.eye(scores.sizes[COMPONENT], dtype=scores.dtype)
    return xr.DataArray(one, {COMPONENT: scores[COMPONENT].values}, ("pixel", COMPONENT))


def _masked(image: xr.DataArray, mask: xr.DataArray | None) -> xr.DataArray:
    if mask is None:
        return image
    # a pixel without counts adds nothing to any sum
    return image.where(_on_grid(image, mask, "the mask"), 0)


def _on_grid(image: xr.DataArray, mask: xr.DataArray, what: str) -> xr.DataArray:
    """Return a mask in the order of the image's dimensions, bare of coordinates, checked."""
    check_masks(image, mask)
    check_same_grid(image, mask, what)
    if PHASE in mask.dims:
        raise EdsError(f"{what} must be one mask, found one a phase; use mask.sel(phase=...)")
    dims = spatial_dims(image)
    return xr.DataArray(mask.transpose(*dims).data, dims=dims)


def _strongest_first(fit: Fit) -> np.ndarray:
    return fit.loadings[:, np.argsort(-fit.weights, kind="stable")]


def _outcome(fit: Fit) -> dict[str, float | int]:
    return {
        "deviance": fit.deviance,
        "iterations": fit.iterations,
        "converged": int(fit.converged),
    }


def _as_loadings(table: np.ndarray, image: xr.DataArray) -> xr.DataArray:
    values = table.T.astype(float)
    return xr.DataArray(
        values / values.sum(axis=1, keepdims=True),
        dims=(COMPONENT, ENERGY),
        coords={COMPONENT: np.arange(len(values)), ENERGY: image[ENERGY]},
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
    check_spectra_table(loadings, "loadings")


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _project_block(block: np.ndarray, *, loadings: np.ndarray, loss: str) -> np.ndarray:
    scores = project_block(compress_block(block), loadings, loss)
    return scores.reshape(*block.shape[:-1], loadings.shape[1])
