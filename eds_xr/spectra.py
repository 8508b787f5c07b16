"""Spectra of regions: masked sums of counts, and the subtraction of one phase from another.

Counts and variance travel together; a sum of counts is its own variance.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr._parts.line_solver import FIT_RANGE_KEV, beam_kev, fitted_nets, resolution_ev
from eds_xr.chunks import as_chunked
from eds_xr.schema import (
    ENERGY,
    PHASE,
    EdsError,
    check_counts_block,
    check_energy_in_kev,
    check_masks,
    check_spectra,
    check_spectrum_image,
    energy_step,
    spatial_dims,
)
from eds_xr.xray_lines import line_energy_kev, peak_sigma_kev, window_weights

#: A difference this many standard deviations below zero is a warning.
NEGATIVE_SIGMA = 5.0


class SubtractionWarning(UserWarning):
    """The remainder of a subtraction is not a physical spectrum."""


def sum_spectra(image: xr.DataArray, masks: xr.DataArray) -> xr.Dataset:
    """Sum the spectra of all pixels of each mask.

    Lazy: a graph of one pass over the image for all masks; ``.compute()`` runs it.

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    masks : DataArray of bool [*spatial] or [phase, *spatial]
        Masks may overlap.

    Returns
    -------
    Dataset
        ``counts`` and ``variance`` [phase, energy; counts], exact integers where `image` has
        integers (both are the same number: Poisson); ``n_pixels`` [phase].

    Raises
    ------
    EdsError
        For masks that are not boolean or lie on another grid; for NaN or negative counts when
        computed.
    """
    check_spectrum_image(image)
    check_masks(image, masks)
    several = masks if PHASE in masks.dims else masks.expand_dims(PHASE)
    if several.sizes[PHASE] == 0:
        raise EdsError("expected at least one mask, found none along 'phase'")
    counts = _masked_sums(as_chunked(image), several)
    dims = (PHASE, ENERGY)
    spectra = xr.Dataset(
        {
            "counts": (dims, counts, {"long_name": "counts", "units": "counts"}),
            "variance": (
                dims,
                counts,
                {"long_name": "variance of the counts", "units": "counts^2"},
            ),
            "n_pixels": several.sum(spatial_dims(image)).drop_attrs(),
        },
        coords={ENERGY: image[ENERGY]},
        attrs=provenance.with_step(_of_the_recording(image), "sum_spectra"),
    )
    if PHASE in several.coords:
        spectra = spectra.assign_coords({PHASE: several[PHASE]})
    return spectra if PHASE in masks.dims else spectra.isel({PHASE: 0})


def subtract_phase(
    mixture: xr.Dataset,
    reference: xr.Dataset,
    *,
    scale: str | float,
    elements: Sequence[str] | None = None,
) -> xr.Dataset:
    """Subtract a phase that lies above or below the grains from the spectrum of a mixture.

    Computes: the two spectra, which are small.

    Parameters
    ----------
    mixture, reference : Dataset [energy]
        One spectrum each, from :func:`sum_spectra`, with ``n_pixels``.
    scale : str or float
        The share of the reference's counts per pixel that a pixel of the mixture holds. As the
        name of a line that only the reference emits (``"Si_Ka"``), it is the ratio of that line's
        net counts per pixel, and the line is zero in the result by construction: judge purity by
        the others.
    elements : sequence of str, optional
        All that is in the two spectra, stray elements too; default is the attribute ``elements``.
        The net counts of the line then come from a fit of the lines of all of them, as neighbours
        matter (Sm M beside Mg K). Without any, they come from :func:`net_counts`.

    Returns
    -------
    Dataset
        ``counts`` (never clipped) and ``variance`` [energy]; scalars ``n_pixels``, ``scale`` and
        ``scale_variance`` (statistical; a common factor of all channels, hence kept apart from
        ``variance`` = mixture + scale^2 reference); attribute ``warnings``, a list that is
        also issued as :class:`SubtractionWarning`.

    Raises
    ------
    EdsError
        When the factor is above 1 by more than its error: more of the reference than where it is
        pure, so that the mixture's mask, or the line, is wrong; when it is not positive; when
        energy axes differ or ``n_pixels`` is missing or zero.
    """
    mixture, reference = _one_spectrum(mixture, "mixture"), _one_spectrum(reference, "reference")
    _check_same_energy(mixture, reference)
    pinned = scale if isinstance(scale, str) else None
    known = mixture.attrs.get("elements", ()) if elements is None else elements
    known = [known] if isinstance(known, str) else list(known)
    share, variance = _share(mixture, reference, scale, known)
    _check_share(share, variance, pinned)
    factor = share * float(mixture.n_pixels) / float(reference.n_pixels)
    rest = xr.Dataset(
        {
            "counts": mixture.counts - factor * reference.counts,
            "variance": mixture.variance + factor**2 * reference.variance,
            "n_pixels": mixture.n_pixels,
            "scale": ((), share, {"long_name": "share of the reference per pixel"}),
            "scale_variance": ((), variance),
        },
        attrs=provenance.with_step(mixture.attrs, "subtract_phase", scale=scale),
    )
    rest["counts"].attrs = {"long_name": "counts", "units": "counts"}
    shift = reference.counts * (float(mixture.n_pixels) / float(reference.n_pixels))
    rest.attrs["warnings"] = _negative_regions(rest, shift)
    rest.attrs["pinned_line"] = pinned or ""
    for message in rest.attrs["warnings"]:
        warnings.warn(message, SubtractionWarning, stacklevel=2)
    return rest


def net_counts(spectra: xr.Dataset, line: str) -> xr.Dataset:
    """Return classical net counts of a line: its window less a linear background beside it.

    Computes: nothing but the given spectra. For overlapping lines use ``fit_lines``.

    Parameters
    ----------
    spectra : Dataset [..., energy]
    line : str

    Returns
    -------
    Dataset
        ``net`` and ``variance`` [...].
    """
    check_spectra(spectra)
    check_energy_in_kev(spectra)
    energy, resolution = spectra[ENERGY].values, resolution_ev(spectra)
    weights = xr.DataArray(window_weights(energy, line, resolution), dims=ENERGY)
    return xr.Dataset(
        {
            "net": (spectra.counts * weights).sum(ENERGY),
            "variance": (spectra.variance * weights**2).sum(ENERGY),
        }
    )


def _of_the_recording(image: xr.DataArray) -> dict[str, Any]:
    """Return the attributes without those that describe the array, not how it was recorded."""
    return {str(k): v for k, v in image.attrs.items() if k not in ("long_name", "units")}


def _masked_sums(image: xr.DataArray, masks: xr.DataArray) -> Any:
    """Return a lazy ``[phase, energy]`` array: per block a partial sum, then a tree of sums."""
    import dask.array as da

    dims = spatial_dims(image)
    places = da.asarray(masks.transpose(*dims, PHASE).data)
    places = places.rechunk({i: c for i, c in enumerate(image.data.chunks[:-1])} | {len(dims): -1})
    axes = tuple(range(len(dims)))
    phase, energy = len(dims), len(dims) + 1
    dtype = _exact_dtype(image.dtype)
    partial = da.blockwise(
        _sum_block, (*axes, phase, energy), image.data, (*axes, energy), places, (*axes, phase),
        adjust_chunks={axis: 1 for axis in axes}, dtype=dtype, align_arrays=False,
    )  # fmt: skip
    return partial.sum(axis=axes)


def _exact_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float64 if dtype.kind == "f" else np.int64)


def _one_spectrum(spectrum: xr.Dataset, what: str) -> xr.Dataset:
    check_spectra(spectrum)
    if spectrum.counts.dims != (ENERGY,):
        raise EdsError(
            f"the {what} must be one spectrum, found dimensions {spectrum.counts.dims}; "
            "choose one, e.g. spectra.sel(phase='Brg')"
        )
    if "n_pixels" not in spectrum or float(spectrum.n_pixels) <= 0:
        raise EdsError(f"the {what} needs n_pixels above zero: the scale is a share per pixel")
    return spectrum.compute()


def _check_same_energy(mixture: xr.Dataset, reference: xr.Dataset) -> None:
    mine, other = mixture[ENERGY].values, reference[ENERGY].values
    close = 0.1 * energy_step(mixture)
    if mine.size != other.size or not np.allclose(mine, other, rtol=0, atol=close):
        raise EdsError(
            f"mixture and reference have different energy axes ({mine.size} channels from "
            f"{mine[0]:g}, {other.size} from {other[0]:g}); select the same range of both"
        )


def _share(
    mixture: xr.Dataset, reference: xr.Dataset, scale: str | float, elements: Sequence[str]
) -> tuple[float, float]:
    """Return the share of the reference in a pixel of the mixture, and its variance."""
    if not isinstance(scale, str):
        return float(scale), 0.0
    (mine, other), (spread, other_spread) = _nets_of_both(mixture, reference, scale, elements)
    if not other > 5 * other_spread**0.5:
        raise EdsError(
            f"the reference has no significant {scale}: {other:.0f} +- {other_spread**0.5:.0f} "
            "net counts; pin a line that it emits"
        )
    pixels = float(reference.n_pixels) / float(mixture.n_pixels)
    share = pixels * mine / other
    return share, (pixels**2 * spread + share**2 * other_spread) / other**2


def _nets_of_both(
    mixture: xr.Dataset, reference: xr.Dataset, line: str, elements: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Return net counts of the line in mixture and reference, and their variances."""
    low, high = FIT_RANGE_KEV
    inside = max(low, mixture[ENERGY].values[0]), min(high, mixture[ENERGY].values[-1])
    if not (elements and inside[0] < line_energy_kev(line) < inside[1]):
        found = [net_counts(spectrum, line) for spectrum in (mixture, reference)]
        return [float(f.net) for f in found], [float(f.variance) for f in found]
    check_energy_in_kev(mixture)
    parts = [s.sel({ENERGY: slice(low, high)}) for s in (mixture, reference)]
    net, variance = fitted_nets(
        np.stack([p.counts.values.astype(float) for p in parts]),
        np.stack([p.variance.values.astype(float) for p in parts]),
        parts[0][ENERGY].values.astype(float),
        line,
        elements=elements,
        beam_kev=beam_kev(mixture),
        resolution_mnka_ev=resolution_ev(mixture),
    )
    return net.tolist(), variance.tolist()


def _check_share(share: float, variance: float, line: str | None) -> None:
    how = f" (from {line})" if line else ""
    if not share > 0:
        raise EdsError(
            f"the scale is {share:.3f}{how}: nothing to subtract; the mixture holds none of the "
            "reference, or the line is wrong"
        )
    if share - 3 * variance**0.5 > 1 or (line is None and share > 1):
        raise EdsError(
            f"the scale is {share:.3f} +- {variance**0.5:.3f}{how}: a mixture cannot hold more of "
            "the reference than where that is pure; check the masks, or pin another line"
        )


def _negative_regions(rest: xr.Dataset, reference: xr.DataArray) -> list[str]:
    """Name the regions, one peak wide, in which the counts are far below zero.

    Far: against counting statistics and what the error of the scale shifts there.
    """
    energy = rest[ENERGY].values
    window = np.ones(_channels_of_a_peak(rest))
    counts, variance, slope = (
        np.convolve(part.values, window, "same") for part in (rest.counts, rest.variance, reference)
    )
    deviation = np.sqrt(np.maximum(variance, 1) + float(rest.scale_variance) * slope**2)
    low = np.flatnonzero(counts < -NEGATIVE_SIGMA * deviation)
    messages = []
    for run in np.split(low, np.flatnonzero(np.diff(low) > window.size) + 1) if low.size else []:
        worst = run[np.argmin(counts[run] / deviation[run])]
        messages.append(
            f"negative counts at {energy[worst]:.2f} {rest[ENERGY].attrs.get('units', 'keV')} "
            f"({counts[worst] / deviation[worst]:.1f} standard deviations): too much of the "
            "reference is subtracted, or the mask of the mixture holds another phase"
        )
    return messages


def _channels_of_a_peak(spectrum: xr.Dataset) -> int:
    step = energy_step(spectrum)
    if step == 0 or spectrum[ENERGY].attrs.get("units", "keV") != "keV":
        return 5
    middle = max(0.0, float(spectrum[ENERGY].mean()))
    sigma = float(peak_sigma_kev(middle, resolution_ev(spectrum)))
    return min(spectrum.sizes[ENERGY], max(1, round(2 * sigma / step)))


# -- blocks: NumPy in, NumPy out -----------------------------------------------------------------


def _sum_block(block: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the sums of a block, ``[1, ..., phase, energy]``."""
    from eds_xr._parts.masked_sums import masked_sums

    check_counts_block(block)
    rows = block.reshape(-1, block.shape[-1])
    sums = masked_sums(rows, masks.reshape(-1, masks.shape[-1]))
    return sums.reshape((1,) * (block.ndim - 1) + sums.shape)
