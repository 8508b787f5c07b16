"""What known spectra tell: the amounts of phases in every pixel, and known amounts their spectra.

The counterpart of :mod:`eds_xr.nmf`, where neither is known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr._parts.counts import check_channels, compress_block
from eds_xr._parts.descent import project_block
from eds_xr._parts.projection import lazy_scores
from eds_xr._parts.refined import Refined, refine
from eds_xr._parts.tables import as_loadings, as_table, check_loadings
from eds_xr.chunks import as_chunked
from eds_xr.progress import progress
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_masks,
    check_one_of,
    check_same_grid,
    check_spectra,
    check_spectrum_image,
    spatial_dims,
)

OTHER = "phase_other"
#: Bounds on the pixels a side over which shares are averaged, and the counts that these hold.
LEAST_WINDOW, MOST_WINDOW, COUNTS_IN_WINDOW = 3, 9, 500
_BOTH = ("counts", "variance")


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
    low. For sums over pixels use :func:`eds_xr.spectra.sum_spectra`, for spectra of the phases
    :func:`refine_spectra`. In a pixel without counts the variance is infinite.
    """
    check_spectrum_image(image)
    table = _phase_table(spectra, image)
    loadings = as_table(table)
    image = as_chunked(image)
    counts, names = image.drop_vars(ENERGY), table[COMPONENT].values
    sizes, known = {PHASE: names.size, OTHER: names.size}, {"loadings": loadings}
    amounts = _by_pixel(_amounts_block, [counts], [[ENERGY]], [PHASE], sizes, known)
    covariance = _by_pixel(
        _covariance_block, [counts, amounts], [[ENERGY], [PHASE]], [PHASE, OTHER], sizes, known
    )
    variance = _by_pixel(_diagonal_block, [covariance], [[PHASE, OTHER]], [PHASE], sizes, {})
    found = {
        "amounts": (amounts, "counts of the phase", "counts"),
        "variance": (variance, "variance of the counts of the phase", "counts^2"),
        "covariance": (covariance, "covariance of the counts of the phases", "counts^2"),
    }
    return xr.Dataset(
        {n: v.assign_attrs(long_name=text, units=units) for n, (v, text, units) in found.items()},
        coords={PHASE: names, OTHER: names} if _is_named(spectra) else None,
        attrs=provenance.of_the_recording(provenance.with_step(image.attrs, "unmix")),
    )


def refine_spectra(
    image: xr.DataArray,
    spectra: xr.DataArray | xr.Dataset,
    *,
    mask: xr.DataArray | None = None,
    window: int | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Find the spectra of phases from all pixels of a map, those where phases overlap too.

    Computes: reads `image` once.

    Parameters
    ----------
    image : DataArray of integers [*spatial, energy; counts]
    spectra : Dataset or DataArray [phase, energy]
        The phases' spectra, from regions where they can be had pure: a Dataset with ``counts`` and
        ``variance`` of pixels of this very image (``sum_spectra``, ``subtract_phase``; with
        ``scale_slope`` and ``scale_variance``, the error of a subtraction is carried on). A
        DataArray is taken as exact, on any scale. No phase may be missing.
    mask : DataArray of bool [*spatial], optional
        Pixels to use: leave out what is none of the phases.
    window : int, optional
        Shares of the phases are averaged over so many pixels a side, an odd number. Default: 3,
        or as many as hold about 500 counts where the spectra say how many counts a pixel holds.
        It changes errors a little, and no expectation.
    seed : int
        Of the split of the counts.

    Returns
    -------
    Dataset
        ``counts`` [phase, energy; counts]: what the pixels hold of each phase. Over phases they
        add up to all counts of the pixels, channel by channel. Never clipped. ``variance`` and
        ``covariance`` [phase, phase_other, energy]: of counting, independent from channel to
        channel. ``common_error`` [mode, phase, energy; counts]: what all channels share, the
        error of how much of one phase is in another's spectrum, as independent errors of one
        standard deviation each (see :func:`eds_xr.spectra.add_common_errors`). ``misfit``
        [phase]: mean square of the given spectra less the refined ones, in their variance, about
        1 or less when the phases are the same everywhere. ``n_pixels``.

    Raises
    ------
    EdsError
        When counts are not whole numbers, the energy axes differ, a spectrum is NaN or nowhere
        positive, spectra are alike, or the map holds none of a phase.

    Notes
    -----
    Sums of the whole map, weighted by each pixel's shares of the phases, are mixtures of the
    phases' spectra: as many of them as phases. That combination of them is sought that is
    nearest to a given pure spectrum, which so decides what is pure, while all pixels decide on
    the counts. The shares are the Poisson-likeliest amounts; as the weights of least squares, they
    are those of greatest likelihood where phases are equally bright in a channel.

    No pixel's noise weighs itself: each count falls at random in one of two halves, and the
    shares that one half tells weight the counts of the other. The likeliest spectra for amounts
    as they are found (:func:`extend_loadings` with amounts of :func:`unmix`) take the noise of the
    amounts for signal instead: simulated with 100 counts a pixel, the Si of a matrix comes out
    6 % and the Ca of small grains 8 % too high.
    """
    from eds_xr._parts.soft_sums import soft_sums

    check_spectrum_image(image)
    if image.dtype.kind not in "ui":
        raise EdsError(f"only whole counts can be split in halves, found dtype {image.dtype}")
    inside = _inside(image, mask)
    table = _phase_table(spectra, image)
    size = _window(spectra) if window is None else window
    if not isinstance(size, int | np.integer) or size < 1 or size % 2 == 0:
        raise EdsError(f"window must be an odd number of pixels, found {window!r}")
    least = min(image.sizes[d] for d in spatial_dims(image)[-2:])
    if size // 2 > least:
        raise EdsError(f"window={size} is wider than the image of {least} pixels; give less")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise EdsError(f"seed must be a whole number, 0 or more, found {seed!r}")
    with progress("spectra of the whole map"):
        sums, spread = soft_sums(as_chunked(image), as_table(table), inside, size, seed)
    result = refine(sums, spread, *_given(spectra), names=table[COMPONENT].values.tolist())
    attrs = provenance.with_step(image.attrs, "refine_spectra", window=size, seed=seed)
    found = _labelled(result, spectra, image).assign(n_pixels=inside.sum(spatial_dims(image)))
    return found.assign_attrs(provenance.of_the_recording(attrs))


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


def _by_pixel(
    block: Callable[..., np.ndarray], given: list[xr.DataArray], core: list[list[str]],
    out: list[str], sizes: dict[str, int], known: dict[str, np.ndarray],
) -> xr.DataArray:  # fmt: skip
    """Apply a block kernel to every pixel, lazily; ``[*spatial, *out; float32]``."""
    return xr.apply_ufunc(
        block,
        *given,
        kwargs=known,
        input_core_dims=core,
        output_core_dims=[out],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {d: sizes[d] for d in out}},
    ).drop_attrs()


def _phase_table(spectra: xr.DataArray | xr.Dataset, image: xr.DataArray) -> xr.DataArray:
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


def _is_named(spectra: xr.DataArray | xr.Dataset) -> bool:
    return PHASE in spectra.coords


def _inside(image: xr.DataArray, mask: xr.DataArray | None) -> xr.DataArray:
    """Return the pixels to use, in the order of the image's dimensions."""
    dims = spatial_dims(image)
    if mask is None:
        return xr.DataArray(np.ones([image.sizes[d] for d in dims], bool), dims=dims)
    check_masks(image, mask)
    if PHASE in mask.dims:
        raise EdsError("expected one mask, found several; choose one, masks.sel(phase='...')")
    return mask.transpose(*dims)


def _window(spectra: xr.DataArray | xr.Dataset) -> int:
    """Return the least odd number of pixels a side that hold enough counts, 3 if unknown."""
    if not isinstance(spectra, xr.Dataset) or "n_pixels" not in spectra:
        return LEAST_WINDOW
    a_pixel = float(spectra["counts"].sum()) / max(1.0, float(spectra["n_pixels"].sum()))
    side = np.ceil(np.sqrt(COUNTS_IN_WINDOW / max(a_pixel, 1e-9)))
    return int(np.clip(side + (side % 2 == 0), LEAST_WINDOW, MOST_WINDOW))


def _given(
    spectra: xr.DataArray | xr.Dataset,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return given spectra, their variance [phase, channel], and what their channels share."""
    from eds_xr._parts.common_errors import common_errors

    order = (PHASE, ENERGY)
    if isinstance(spectra, xr.DataArray):
        values = spectra.transpose(*order).values.astype(float)
        return values, None, np.empty((0, *values.shape))
    check_spectra(spectra)
    values, noise = (spectra[v].transpose(*order).values.astype(float) for v in _BOTH)
    if not {"scale_slope", "scale_variance"} <= set(spectra) and "common_error" not in spectra:
        return values, noise, np.empty((0, *values.shape))
    return values, noise, common_errors(spectra).transpose("mode", *order).values


def _labelled(
    result: Refined, spectra: xr.DataArray | xr.Dataset, image: xr.DataArray
) -> xr.Dataset:
    one = (PHASE, ENERGY)
    variance = np.einsum("ppc->pc", result.covariance)
    names = {PHASE: spectra[PHASE].values, OTHER: spectra[PHASE].values}
    return xr.Dataset(
        {
            "counts": (one, result.counts, {"long_name": "counts", "units": "counts"}),
            "variance": (one, variance, {"long_name": "variance of counting", "units": "counts^2"}),
            "covariance": (
                (PHASE, OTHER, ENERGY),
                result.covariance,
                {"long_name": "covariance of counting", "units": "counts^2"},
            ),
            "common_error": (
                ("mode", *one),
                result.common,
                {"long_name": "error that all channels share", "units": "counts"},
            ),
            "misfit": (PHASE, result.misfit, {"long_name": "misfit per channel", "units": "1"}),
        },
        coords={ENERGY: image[ENERGY]} | (names if _is_named(spectra) else {}),
    )


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _amounts_block(block: np.ndarray, *, loadings: np.ndarray) -> np.ndarray:
    amounts = project_block(compress_block(block), loadings, "poisson")
    return amounts.reshape(*block.shape[:-1], -1)


def _covariance_block(
    block: np.ndarray, amounts: np.ndarray, *, loadings: np.ndarray
) -> np.ndarray:
    from eds_xr._parts.known import fisher_covariance

    phases = loadings.shape[1]
    found = fisher_covariance(compress_block(block), loadings, amounts.reshape(-1, phases))
    return found.reshape(*block.shape[:-1], phases, phases)


def _diagonal_block(covariance: np.ndarray) -> np.ndarray:
    return np.einsum("...pp->...p", covariance)
