"""Non-negative matrix factorisation of counts.

The image ``X[pixel, energy]`` is modelled as ``W H``: scores (counts a pixel) times loadings
(spectra that sum to 1). The image is read once: what stays are its non-zero counts, a few bytes
each, and a spatially binned copy on which the start is found and refined before the full image.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr._parts.counts import check_channels, compress_block, read_once, split_rows
from eds_xr._parts.descent import Fit, descend, project_block, unit_columns
from eds_xr._parts.one_mask import one_mask
from eds_xr._parts.start import check_spectra_table, choose_rank, hold_first, start_loadings
from eds_xr._parts.volume import purest_turn
from eds_xr.chunks import as_chunked
from eds_xr.progress import counting
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_one_of,
    check_same_grid,
    check_spectrum_image,
    spatial_dims,
)

#: In how many blocks the binned image is worked on.
BINNED_BLOCKS = 4
#: How much smaller the tolerance is on the binned image, where steps are cheap.
ROUGH_TOL = 25


def nmf(
    image: xr.DataArray,
    n_components: int | str = "auto",
    *,
    loss: str = "poisson",
    mixing: str = "purest",
    init: str | xr.DataArray | xr.Dataset = "scaled",
    fixed: xr.DataArray | None = None,
    mask: xr.DataArray | None = None,
    seed: int = 0,
    tol: float = 5e-5,
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
        Number of components; "auto" takes the suggestion of
        :func:`eds_xr.suggest_rank`.
    loss : {"poisson", "frobenius"}
        "poisson" is the likelihood of counts (Kullback-Leibler divergence). "frobenius" is plain
        least squares, for signals that are not counts; on counts it loses weak phases.
    mixing : {"purest", "free"}
        ``W H`` stays nearly the same when components mix. "purest" chooses among those solutions
        the one with the purest pixels, as :func:`eds_xr.purest` does (Poisson loss, nothing
        fixed); "free" leaves them where the descent ended.
    init : {"scaled", "random"}, DataArray [component, energy] or Dataset
        Start of the loadings: a factorisation of the binned image with Poisson scaling
        (Keenan & Kotula 2004, Surf. Interface Anal. 36, 203), chance, or spectra of your own.
        With the frobenius loss the scaled start is not scaled. An earlier result goes on where
        it ended (warm restart).
    fixed : DataArray [component, energy], optional
        Known spectra that stay as they are; they are the first components of the result, under
        their own names. For all components known see :func:`unmix`.
    mask : DataArray of bool [*spatial], optional
        Pixels to fit on; scores are given for all.
    seed : int
        Seed of whatever is random.
    tol : float
        The fit ends when a step lowers the deviance by less than this fraction. A lower deviance
        is not a truer loading: further steps fit the noise and let components mix.
    max_iter : int
        Largest number of steps on the full image; the binned one takes up to three times that.

    Returns
    -------
    Dataset
        ``scores`` [*spatial, component; counts], lazy; ``loadings`` [component, energy; sum 1],
        strongest component first; attributes ``loss``, ``deviance`` (before the choice among
        mixtures), ``iterations``, ``converged``, ``interrupted``, ``seed``. After Ctrl-C the
        last complete state is returned, ``interrupted`` is 1.

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
    _check_options(loss, mixing, init, seed, max_iter)
    if fixed is not None:
        _check_loadings(fixed, image, "fixed spectra")
    warm = isinstance(init, xr.Dataset)
    if isinstance(init, xr.Dataset):
        init, n_components = _earlier(init, n_components)
    image = as_chunked(image)
    counts = read_once(_masked(image, mask))
    rank = choose_rank(n_components, counts)
    held = _held(fixed, rank)
    start = start_loadings(counts.binned, rank, loss=loss, init=init, seed=seed)
    start = hold_first(start, None if fixed is None else _table(fixed))
    lower = partial(descend, loss=loss, fixed=held)
    with counting("NMF") as on_step:
        if not warm:
            rough = split_rows(counts.binned, BINNED_BLOCKS)
            fit = lower(rough, start, tol=tol / ROUGH_TOL, max_iter=3 * max_iter)
            start = fit.loadings
        if warm or not fit.interrupted:
            fit = lower(counts.full, start, tol=tol, max_iter=max_iter, on_step=on_step)
    table = _strongest_first(fit, held)
    if mixing == "purest" and loss == "poisson" and fixed is None:
        table = _purest(table, counts.binned)
    spectra = _as_loadings(table, image, fixed)
    step = provenance.with_step(
        image.attrs,
        "nmf",
        n_components=rank,
        loss=loss,
        mixing=mixing,
        seed=seed,
        tol=tol,
        max_iter=max_iter,
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
    table = _table(loadings)
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


def unmix(image: xr.DataArray, spectra: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Find how much of known phases every pixel holds, overlapping or not.

    Lazy: every block of pixels is solved on its own, by Poisson likelihood.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    spectra : DataArray or Dataset [phase, energy]
        The phases' spectra, on any scale; of a Dataset the variable ``counts``. Negative channels
        of a subtracted spectrum (noise about zero) count as zero.

    Returns
    -------
    Dataset
        ``amounts`` [*spatial, phase; counts]: what each phase adds to the pixel; and ``variance``,
        the inverse of the Fisher information, for the given spectra taken as exact.

    Raises
    ------
    EdsError
        When the energy axes differ, or a spectrum is NaN or nowhere positive.
    """
    check_spectrum_image(image)
    table = spectra["counts"] if isinstance(spectra, xr.Dataset) else spectra
    if set(table.dims) != {PHASE, ENERGY}:
        raise EdsError(f"the spectra must be [phase, energy], found {tuple(table.dims)}")
    known = table.compute().astype(float).clip(min=0).rename({PHASE: COMPONENT})
    _check_loadings(known, image, "the spectra")
    both = xr.apply_ufunc(
        _unmix_block,
        as_chunked(image).drop_vars(ENERGY),
        kwargs={"loadings": _table(known)},
        input_core_dims=[[ENERGY]],
        output_core_dims=[["quantity", PHASE]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"quantity": 2, PHASE: known.sizes[COMPONENT]}},
    )
    if PHASE in table.coords:
        both = both.assign_coords({PHASE: table[PHASE]})
    amounts, variance = (both.isel(quantity=i, drop=True) for i in range(2))
    return xr.Dataset(
        {
            "amounts": amounts.assign_attrs(long_name="counts of the phase", units="counts"),
            "variance": variance.assign_attrs(units="counts^2"),
        },
        attrs=provenance.with_step(image.attrs, "unmix"),
    )


def extend_loadings(result: xr.Dataset, image: xr.DataArray, *, max_iter: int = 8) -> xr.DataArray:
    """Find the loadings in all channels of an image for scores that were fitted on some of them.

    Computes: reads `image` and the scores once; the scores stay as they are.

    Parameters
    ----------
    result : Dataset
        From :func:`nmf` on a part of the energies.
    image : DataArray [*spatial, energy; counts]
        All energies, the same pixels.
    max_iter : int
        Steps of Newton's method on each channel.

    Returns
    -------
    DataArray [component, energy; sum 1]

    Raises
    ------
    EdsError
        When the scores lie on another grid.
    """
    check_spectrum_image(image)
    scores = result["scores"].transpose(*spatial_dims(image), COMPONENT)
    check_same_grid(image, scores, "the scores")
    from eds_xr._parts.known import known_scores_loadings

    image = as_chunked(image)
    table = known_scores_loadings(image, scores.clip(min=0), max_iter)
    return _as_loadings(table, image).assign_coords({COMPONENT: result[COMPONENT]})


def _check_options(loss: str, mixing: str, init: object, seed: int, max_iter: int) -> None:
    check_one_of(loss, ("poisson", "frobenius"), "loss")
    check_one_of(mixing, ("purest", "free"), "mixing")
    if isinstance(init, str):
        check_one_of(init, ("scaled", "random"), "init")
    if seed < 0 or max_iter < 1:
        raise EdsError(f"expected seed >= 0 and max_iter >= 1, found {seed!r} and {max_iter!r}")


def _earlier(result: xr.Dataset, n_components: int | str) -> tuple[xr.DataArray, int | str]:
    """Return the start that an earlier result gives, and the number of its components."""
    if "loadings" not in result:
        raise EdsError(f"expected an earlier result of nmf as init, found {list(result)}")
    known = result["loadings"]
    return known, known.sizes[COMPONENT] if n_components == "auto" else n_components


def _held(fixed: xr.DataArray | None, rank: int) -> np.ndarray:
    """Return which components stay as they are: the first ones ``[component; bool]``."""
    count = 0 if fixed is None else fixed.sizes[COMPONENT]
    if count >= rank and count:
        raise EdsError(
            f"{count} fixed spectra leave none of {rank} components free; ask for more components, "
            "or use unmix when all are known"
        )
    return np.arange(rank) < count


def _purest(table: np.ndarray, binned: np.ndarray) -> np.ndarray:
    """Return the loadings of the purest components, found on the binned image."""
    rows = project_block(compress_block(binned), table, "poisson")
    turned = purest_turn(rows, table.T.astype(float)) @ table.T
    return unit_columns(turned.T.clip(min=0))


def _table(spectra: xr.DataArray) -> np.ndarray:
    return unit_columns(spectra.transpose(ENERGY, COMPONENT).values)


def _masked(image: xr.DataArray, mask: xr.DataArray | None) -> xr.DataArray:
    if mask is None:
        return image
    # a pixel without counts adds nothing to any sum
    return image.where(one_mask(image, mask, "the mask"), 0)


def _strongest_first(fit: Fit, held: np.ndarray) -> np.ndarray:
    """Return the loadings, those held first, then by what they explain."""
    weights = np.where(held, np.inf, fit.weights)
    return fit.loadings[:, np.argsort(-weights, kind="stable")]


def _outcome(fit: Fit) -> dict[str, float | int]:
    return {
        "deviance": fit.deviance,
        "iterations": fit.iterations,
        "converged": int(fit.converged),
        "interrupted": int(fit.interrupted),
    }


def _as_loadings(
    table: np.ndarray, image: xr.DataArray, fixed: xr.DataArray | None = None
) -> xr.DataArray:
    values = table.T.astype(float)
    names = np.arange(len(values))
    if fixed is not None and COMPONENT in fixed.coords:
        free = [str(i) for i in range(len(values) - fixed.sizes[COMPONENT])]
        names = np.array([*fixed[COMPONENT].values.astype(str), *free])
    return xr.DataArray(
        values / values.sum(axis=1, keepdims=True),
        dims=(COMPONENT, ENERGY),
        coords={COMPONENT: names, ENERGY: image[ENERGY]},
        attrs={"long_name": "NMF loading", "units": "1"},
    )


def _check_loadings(loadings: xr.DataArray, image: xr.DataArray, what: str = "loadings") -> None:
    if set(loadings.dims) != {COMPONENT, ENERGY}:
        raise EdsError(f"{what} must be [component, energy], found {tuple(loadings.dims)}")
    if loadings.sizes[ENERGY] != image.sizes[ENERGY] or not np.allclose(
        loadings[ENERGY], image[ENERGY]
    ):
        raise EdsError(
            f"{what} and image have different energy axes; select the same range, "
            "image.sel(energy=loadings.energy)"
        )
    check_spectra_table(loadings, what)


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _project_block(block: np.ndarray, *, loadings: np.ndarray, loss: str) -> np.ndarray:
    scores = project_block(compress_block(block), loadings, loss)
    return scores.reshape(*block.shape[:-1], loadings.shape[1])


def _unmix_block(block: np.ndarray, *, loadings: np.ndarray) -> np.ndarray:
    """Return amounts and their variance ``[..., 2, phase]``."""
    from eds_xr._parts.known import fisher_variance

    sparse = compress_block(block)
    amounts = project_block(sparse, loadings, "poisson")
    variance = fisher_variance(sparse, loadings, amounts)
    both = np.stack([amounts, variance], axis=-2)
    return both.reshape(*block.shape[:-1], 2, loadings.shape[1])
