"""What known spectra tell: the amounts of phases in every pixel, and known amounts their spectra.

The counterpart of :mod:`eds_xr.nmf`, where neither is known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.chunks import as_chunked
from eds_xr.cluster.supervision import computes
from eds_xr.factorisation.scores import lazy_scores
from eds_xr.factorisation.solver.loadings import as_loadings, as_table, check_loadings
from eds_xr.image.blocks import check_channels, compress_block
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_one_of,
    check_same_grid,
    check_spectra,
    check_spectrum_image,
    spatial_dims,
)
from eds_xr.workers import task_name

OTHER = "phase_other"


@computes
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
    check_loadings(loadings, image)
    return lazy_scores(image, loadings, loss)


@computes
def unmix(image: xr.DataArray, spectra: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Find how much of known phases every pixel holds, overlapping or not.

    Lazy: every block of pixels is solved on its own, by Poisson likelihood; the errors cost
    nothing until they are computed.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    spectra : DataArray or Dataset [phase, energy]
        The phases' spectra, on any scale; of a Dataset the variable ``counts``. Negative channels
        of a subtracted spectrum (noise about zero) count as zero.

    Returns
    -------
    Dataset
        ``amounts`` [*spatial, phase; counts]: what each phase adds to the pixel, never negative;
        ``variance``, and ``covariance`` [*spatial, phase, phase_other]: the inverse of the Fisher
        information, for the given spectra taken as exact.

    Raises
    ------
    EdsError
        When the energy axes differ, or a spectrum is NaN or nowhere positive.

    Notes
    -----
    The errors are those of amounts free to be negative, so 68 % intervals hold the truth in 68 %
    of the pixels where amounts are some standard deviations from zero. A phase that is not in a
    pixel is found at zero in half of them, above it by chance in the others: its amount scatters
    by less than the error says, and its mean over many pixels is too high, that of the others too
    low. For sums over pixels use :func:`eds_xr.sum_spectra`, for spectra of the phases
    :func:`refine_spectra`. In a pixel without counts the variance is infinite.
    """
    check_spectrum_image(image)
    table = phase_table(spectra, image)
    image = as_chunked(image)
    counts, names = image.drop_vars(ENERGY), table[COMPONENT].values
    sizes = {PHASE: names.size, OTHER: names.size}
    # given as an array: as keyword it would travel with every task
    known = xr.DataArray(as_table(table), dims=(ENERGY, "column"))
    scores = lazy_scores(image, table, "poisson").drop_vars(COMPONENT).drop_attrs()
    amounts = scores.rename({COMPONENT: PHASE})
    covariance = _by_pixel(
        _covariance_block, [counts, amounts, known], [[ENERGY], [PHASE], [ENERGY, "column"]],
        [PHASE, OTHER], sizes,
    )  # fmt: skip
    variance = _by_pixel(_diagonal_block, [covariance], [[PHASE, OTHER]], [PHASE], sizes)
    found = {
        "amounts": (amounts, "counts of the phase", "counts"),
        "variance": (variance, "variance of the counts of the phase", "counts^2"),
        "covariance": (covariance, "covariance of the counts of the phases", "counts^2"),
    }
    return xr.Dataset(
        {n: v.assign_attrs(long_name=text, units=units) for n, (v, text, units) in found.items()},
        coords={PHASE: names, OTHER: names} if is_named(spectra) else None,
        attrs=provenance.of_the_recording(provenance.with_step(image.attrs, "unmix")),
    )


@computes
def extend_loadings(image: xr.DataArray, result: xr.Dataset, *, max_iter: int = 8) -> xr.DataArray:
    """Find the loadings in all channels of an image for scores that were fitted on some of them.

    Computes: reads `image` and the scores once, or for every step where its non-zero counts do not
    fit in memory; the scores stay as they are.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
        All energies, the same pixels.
    result : Dataset
        From :func:`nmf` on a part of the energies.
    max_iter : int
        Steps of Newton's method on each channel.

    Returns
    -------
    DataArray [component, energy; sum 1]

    Raises
    ------
    EdsError
        When there are no scores, or they lie on another grid.
    """
    from eds_xr.factorisation.known_spectra.fisher_information import known_scores_loadings

    check_spectrum_image(image)
    if not isinstance(result, xr.Dataset) or "scores" not in result:
        found = list(result) if isinstance(result, xr.Dataset) else type(result).__name__
        raise EdsError(f"expected a factorisation with scores, from nmf(), found {found}")
    scores = result["scores"].transpose(*spatial_dims(image), COMPONENT)
    check_same_grid(image, scores, "the scores")
    image = as_chunked(image)
    table = known_scores_loadings(image, scores.clip(min=0), max_iter)
    return as_loadings(table, image).assign_coords({COMPONENT: result[COMPONENT]})


def _by_pixel(
    block: Callable[..., np.ndarray], given: list[xr.DataArray], core: list[list[str]],
    out: list[str], sizes: dict[str, int],
) -> xr.DataArray:  # fmt: skip
    """Apply a block kernel to every pixel, lazily; ``[*spatial, *out; float32]``."""
    return xr.apply_ufunc(
        block,
        *given,
        input_core_dims=core,
        output_core_dims=[out],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {d: sizes[d] for d in out}},
    ).drop_attrs()


def phase_table(spectra: xr.DataArray | xr.Dataset, image: xr.DataArray) -> xr.DataArray:
    """Return checked spectra ``[component, energy]``, without negative channels."""
    if isinstance(spectra, xr.Dataset):
        check_spectra(spectra)
    table = spectra["counts"] if isinstance(spectra, xr.Dataset) else spectra
    if not isinstance(table, xr.DataArray) or table.size == 0:
        raise EdsError(f"expected spectra [phase, energy] of some phases, found {table!r:.80}")
    if set(table.dims) != {PHASE, ENERGY}:
        raise EdsError(f"the spectra must be [phase, energy], found {tuple(table.dims)}")
    known = table.compute().astype(float).clip(min=0).rename({PHASE: COMPONENT})
    check_loadings(known, image, "the spectra")
    return known


def is_named(spectra: xr.DataArray | xr.Dataset) -> bool:
    """Return whether the spectra bear the names of phases."""
    return PHASE in spectra.coords


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


@task_name("covariance of amounts")
def _covariance_block(block: np.ndarray, amounts: np.ndarray, loadings: np.ndarray) -> np.ndarray:
    from eds_xr.factorisation.known_spectra.fisher_information import fisher_covariance

    phases = loadings.shape[1]
    found = fisher_covariance(compress_block(block), loadings, amounts.reshape(-1, phases))
    return found.reshape(*block.shape[:-1], phases, phases)


@task_name("variance of amounts")
def _diagonal_block(covariance: np.ndarray) -> np.ndarray:
    return np.einsum("...pp->...p", covariance)
