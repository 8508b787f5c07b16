"""What known spectra tell: the amounts of phases in every pixel, and known amounts their spectra.

The counterpart of :mod:`eds_xr.nmf`, where neither is known.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr._parts.counts import check_channels, compress_block
from eds_xr._parts.descent import project_block
from eds_xr._parts.projection import lazy_scores
from eds_xr._parts.tables import as_loadings, as_table, check_loadings
from eds_xr.chunks import as_chunked
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
    check_loadings(known, image, "the spectra")
    both = xr.apply_ufunc(
        _unmix_block,
        as_chunked(image).drop_vars(ENERGY),
        kwargs={"loadings": as_table(known)},
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
    from eds_xr._parts.known import known_scores_loadings

    check_spectrum_image(image)
    scores = result["scores"].transpose(*spatial_dims(image), COMPONENT)
    check_same_grid(image, scores, "the scores")
    image = as_chunked(image)
    table = known_scores_loadings(image, scores.clip(min=0), max_iter)
    return as_loadings(table, image).assign_coords({COMPONENT: result[COMPONENT]})


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _unmix_block(block: np.ndarray, *, loadings: np.ndarray) -> np.ndarray:
    """Return amounts and their variance ``[..., 2, phase]``."""
    from eds_xr._parts.known import fisher_variance

    sparse = compress_block(block)
    amounts = project_block(sparse, loadings, "poisson")
    variance = fisher_variance(sparse, loadings, amounts)
    both = np.stack([amounts, variance], axis=-2)
    return both.reshape(*block.shape[:-1], 2, loadings.shape[1])
