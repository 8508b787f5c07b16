"""Subtraction of one phase's spectrum from that of a mixture, with errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import number, resolution_of
from eds_xr.axes import energy_step
from eds_xr.cluster.supervision import computes
from eds_xr.progress import warn
from eds_xr.schema import ENERGY, LINE, LIVE_TIME, EdsError, check_spectra
from eds_xr.spectra.hole_errors import hole_error_left
from eds_xr.spectra.reference_share import Share, find_share, lines_left
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV
from eds_xr.xray.detector import peak_sigma_kev
from eds_xr.xray.elements import element_names
from eds_xr.xray.lines import principal_lines, split_line

#: A difference this many standard deviations below zero is a warning.
NEGATIVE_SIGMA = 5.0
#: Lines that chance lets disagree so much, or be so far below zero, less often are a warning.
LEAST_CHANCE = 1e-3
#: Of several lines, the scale takes this part of one's own counts away: then it is zero by that
#: choice, or its counts are too few by so much that they are in doubt.
MOSTLY_PINNED, PARTLY_PINNED = 0.5, 0.05
_SUBTRACTED = {
    "counts": ("counts", "counts"),
    "variance": ("variance of the counts", "counts^2"),
    "scale": ("share of the reference per pixel", "1"),
    "scale_variance": ("variance of the scale, statistical", "1"),
    "scale_slope": ("counts per unit of scale", "counts"),
    "scale_by_counts": ("scale per count of the mixture", "1"),
    "pinned": ("lines that are zero by the choice of the scale", "1"),
    "pinned_in_part": ("lines that the choice of the scale lowers", "1"),
}


class SubtractionWarning(UserWarning):
    """The remainder of a subtraction is not a physical spectrum."""


@computes
def subtract_phase(
    mixture: xr.Dataset,
    reference: xr.Dataset,
    *,
    scale: str | float | Sequence[str],
    elements: Sequence[str] | None = None,
) -> xr.Dataset:
    """Subtract a phase that lies above or below the grains from the spectrum of a mixture.

    Computes: the two spectra, which are small.

    Parameters
    ----------
    mixture, reference : Dataset [energy]
        One spectrum each, from :func:`sum_spectra`, with ``n_pixels``.
    scale : str, float or sequence of str
        The share of the reference's counts per pixel that a pixel of the mixture holds. As the
        name of a line that only the reference emits (``"Si_Ka"``), it is the ratio of that line's
        net counts per pixel, and the line is zero in the result by construction: its element is
        assumed to be absent, not measured, and purity is judged by the others. Of several lines
        (``["Si_Ka", "Al_Ka"]``) it is their common ratio, with their covariance, and whether they
        agree is tested.
    elements : sequence of str, optional
        All that is in the two spectra, stray elements too; default is the attribute ``elements``.
        The net counts of the lines then come from a fit of the lines of all of them, as neighbours
        matter (Sm M beside Mg K). Without any, they come from :func:`net_counts`.

    Returns
    -------
    Dataset
        ``counts`` (never clipped) and ``variance`` [energy]; scalars ``n_pixels``, ``scale`` and
        ``scale_variance`` (statistical; a common factor of all channels, hence kept apart from
        ``variance`` = mixture + scale^2 reference: see :func:`add_common_errors`);
        ``scale_slope`` [energy; counts], what one unit of scale takes away, and
        ``scale_by_counts`` [energy], what one more count of the mixture adds to the scale;
        ``pinned``, the lines that are zero by the choice of the scale (``fit_lines`` marks them
        ``assumed``; of several lines those that decide it), and ``pinned_in_part``, others of the
        several (in ``doubt``: a true amount is lowered); attributes ``pinned_lines`` and
        ``warnings``, a list that is also issued as :class:`SubtractionWarning`. From several lines
        also ``line_scale`` and ``line_pull`` [line], the scale by each line alone and its distance
        from the common one over its standard deviation, and ``scale_p``, the probability of so
        large a disagreement by chance.

    Raises
    ------
    EdsError
        When the factor is above 1 by more than its error: more of the reference than where it is
        pure, so that the mixture's mask, or the line, is wrong; when it is not positive; when
        energy axes differ or ``n_pixels`` is missing or zero; for lines of one family.

    Notes
    -----
    A line that disagrees, of a larger share than the others, is emitted by what is left, too, or
    by a further phase in the mask. A single line has none to disagree with: that its element is
    absent shows to be wrong only where too much is subtracted for the lines of other elements.
    (Another family of the element tells nothing, the grain emits both.) Real matrices vary from
    place to place by a per cent or so, which lines of some 10^5 counts see.
    """
    mixture, reference = two_spectra(mixture, reference)
    share = _share(mixture, reference, scale, elements)
    _check_share(share)
    pixels = float(mixture.n_pixels) / float(reference.n_pixels)
    factor = share.value * pixels
    rest = xr.Dataset(
        {
            "counts": mixture.counts - factor * reference.counts,
            "variance": mixture.variance + factor**2 * reference.variance,
            "n_pixels": mixture.n_pixels,
            "scale": ((), share.value),
            "scale_variance": ((), share.variance),
            "scale_slope": (ENERGY, reference.counts.values * pixels),
            "scale_by_counts": (
                ENERGY,
                np.zeros(mixture.sizes[ENERGY]) if share.by_counts is None else share.by_counts,
            ),
            **_pinned(mixture, share),
            **hole_error_left(mixture, reference, factor),
        },
        attrs=provenance.with_step(
            mixture.attrs, "subtract_phase", scale=scale if _is_one(scale) else list(share.lines)
        ),
    )
    for name, (text, units) in _SUBTRACTED.items():
        rest[name].attrs = {"long_name": text, "units": units}
    if LIVE_TIME in mixture:
        rest = rest.assign({LIVE_TIME: mixture[LIVE_TIME]})
    rest = rest.assign(_consistency(share))
    spread = np.abs(rest.scale_slope) * np.sqrt(rest.scale_variance)
    why = "too much of the reference is subtracted, or the mask of the mixture holds another phase"
    told = [*_disagreement(share), *(f"{text}: {why}" for text in negative_regions(rest, spread))]
    rest.attrs["warnings"] = told or _too_low(mixture, reference, share, elements)
    rest.attrs |= {"pinned_lines": list(share.lines), "pinned_line": ", ".join(share.lines)}
    for message in rest.attrs["warnings"]:
        warn(message, SubtractionWarning)
    return rest


def two_spectra(mixture: xr.Dataset, reference: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return both, computed; the reference on the energy axis of the mixture."""
    mixture, reference = _one_spectrum(mixture, "mixture"), _one_spectrum(reference, "reference")
    check_same_energy(mixture, reference, "mixture", "reference")
    # axes that differ by rounding would have no channel in common
    return mixture, reference.assign_coords({ENERGY: mixture[ENERGY]})


def _is_one(scale: str | float | Sequence[str]) -> bool:
    """Return whether the scale is a single line or a number (of any kind)."""
    return isinstance(scale, str) or np.ndim(scale) == 0


def _share(
    mixture: xr.Dataset,
    reference: xr.Dataset,
    scale: str | float | Sequence[str],
    elements: Sequence[str] | None,
) -> Share:
    if _is_one(scale) and not isinstance(scale, str):
        return Share(number(scale, "scale, unless it names lines,"), 0.0)
    lines = [scale] if isinstance(scale, str) else list(scale)  # type: ignore[arg-type]
    for line in lines:
        split_line(line)
    if not lines:
        raise EdsError("expected at least one line, such as scale=['Si_Ka', 'Al_Ka'], found none")
    return find_share(mixture, reference, lines, elements_known(mixture, elements))


def elements_known(mixture: xr.Dataset, elements: Sequence[str] | None) -> list[str]:
    """Return elements as given, or as the attribute ``elements`` names them."""
    return element_names(mixture.attrs.get("elements", ()) if elements is None else elements)


def _pinned(mixture: xr.Dataset, share: Share) -> dict[str, xr.DataArray]:
    """Return the lines that are zero by the choice of the scale, and those lowered by it.

    What an earlier subtraction made zero in the mixture stays so.
    """
    mostly, partly = (
        [n for n, part in zip(share.lines, share.taken, strict=True) if low <= part < high]
        for low, high in ((MOSTLY_PINNED, np.inf), (PARTLY_PINNED, MOSTLY_PINNED))
    )
    found = {}
    for name, lines in (("pinned", mostly), ("pinned_in_part", partly)):
        before = str(mixture[name].item()).split(", ") if name in mixture else []
        found[name] = xr.DataArray(", ".join(dict.fromkeys(n for n in [*before, *lines] if n)))
    return found


def _check_share(share: Share) -> None:
    how = f" (from {', '.join(share.lines)})" if share.lines else ""
    if not share.value > 0:
        raise EdsError(
            f"the scale is {share.value:.3f}{how}: nothing to subtract; the mixture holds none of "
            "the reference, or the line is wrong"
        )
    deviation = share.variance**0.5
    if share.value - 3 * deviation > 1 or (not share.lines and share.value > 1):
        raise EdsError(
            f"the scale is {share.value:.3f} +- {deviation:.3f}{how}: a mixture cannot hold more "
            "of the reference than where that is pure; check the masks, or pin another line"
        )


def _consistency(share: Share) -> dict[str, xr.DataArray]:
    """Return what several lines say of the scale, one by one and of each other."""
    if len(share.lines) < 2:
        return {}
    names = {LINE: list(share.lines)}
    each = xr.DataArray(share.each, names, (LINE,), attrs={"long_name": "scale by the line alone"})
    pull = xr.DataArray(share.pulls, names, (LINE,), attrs={"long_name": "pull", "units": "1"})
    chance = xr.DataArray(share.p_value, attrs={"long_name": "probability of the disagreement"})
    return {"line_scale": each, "line_pull": pull, "scale_p": chance}


def _disagreement(share: Share) -> list[str]:
    if not share.p_value < LEAST_CHANCE:
        return []
    own = share.each[share.lines.index(share.worst)]
    why = (
        "the mask of the mixture, or what is left of it, holds another phase with that line"
        if own > share.value
        else "around the mixture the reference holds less of that element than where it is pure"
    )
    return [
        f"the lines disagree on the scale (by chance with probability {share.p_value:.1g}): "
        f"{share.worst} gives {own:.3f}, all together {share.value:.3f}; {why}; leave it out"
    ]


def _too_low(
    mixture: xr.Dataset, reference: xr.Dataset, share: Share, elements: Sequence[str] | None
) -> list[str]:
    """Name the line that is left furthest below zero, if that is no chance.

    A grain adds to lines, so none allows a larger share of the reference than its own ratio.
    """
    from scipy.stats import norm

    known = elements_known(mixture, elements)
    energy, (low, high) = mixture[ENERGY].values, FIT_RANGE_KEV
    seen = float(max(low, energy[0])), float(min(high, energy[-1]))
    pinned = {line.split("_")[0] for line in share.lines}
    lines = principal_lines([e for e in known if e not in pinned], *seen)
    others = list(lines.values())
    if not (others and share.lines):
        return []
    z, left, sd = lines_left(mixture, reference, share, others, known)
    worst = int(np.argmin(z))
    if not norm.cdf(z[worst]) * len(others) < LEAST_CHANCE:
        return []
    names = ", ".join(dict.fromkeys(line.split("_")[0] for line in share.lines))
    return [
        f"{others[worst]} is left with {left[worst]:.0f} +- {sd[worst]:.0f} counts: too much of "
        f"the reference is subtracted; what is left holds {names} (assumed to be absent), or the "
        "mask of the mixture holds another phase"
    ]


def negative_regions(rest: xr.Dataset, spread: xr.DataArray) -> list[str]:
    """Name the regions, one peak wide, in which the counts of one spectrum are far below zero.

    Far: against counting statistics and the error [energy; counts] that all channels share.
    """
    energy = rest[ENERGY].values
    window = np.ones(_channels_of_a_peak(rest))
    counts, variance, common = (
        np.convolve(part.values, window, "same") for part in (rest.counts, rest.variance, spread)
    )
    deviation = np.sqrt(np.maximum(variance, 1) + common**2)
    low = np.flatnonzero(counts < -NEGATIVE_SIGMA * deviation)
    messages = []
    for run in np.split(low, np.flatnonzero(np.diff(low) > window.size) + 1) if low.size else []:
        worst = run[np.argmin(counts[run] / deviation[run])]
        messages.append(
            f"negative counts at {energy[worst]:.2f} {rest[ENERGY].attrs.get('units', 'keV')} "
            f"({counts[worst] / deviation[worst]:.1f} standard deviations)"
        )
    return messages


def _channels_of_a_peak(spectrum: xr.Dataset) -> int:
    step = energy_step(spectrum)
    if step == 0 or spectrum[ENERGY].attrs.get("units", "keV") != "keV":
        return 5
    middle = max(0.0, float(spectrum[ENERGY].mean()))
    sigma = float(peak_sigma_kev(middle, resolution_of(spectrum.attrs)))
    return min(spectrum.sizes[ENERGY], max(1, round(2 * sigma / step)))


def _one_spectrum(spectrum: xr.Dataset, what: str) -> xr.Dataset:
    spectrum = one_spectrum(spectrum, what)
    if "n_pixels" not in spectrum or spectrum.n_pixels.ndim or not spectrum.n_pixels > 0:
        raise EdsError(f"the {what} needs n_pixels above zero: the scale is a share per pixel")
    return spectrum


def one_spectrum(spectrum: xr.Dataset, what: str) -> xr.Dataset:
    """Return a spectrum, computed; raise unless it is one, of finite values."""
    check_spectra(spectrum)
    if spectrum.counts.dims != (ENERGY,):
        raise EdsError(
            f"the {what} must be one spectrum, found dimensions {spectrum.counts.dims}; "
            "choose one, e.g. spectra.isel(phase=0)"
        )
    spectrum = spectrum.compute()
    if not np.isfinite(spectrum.counts + spectrum.variance).all():
        raise EdsError(f"the {what} holds values that are not finite; look at its mask")
    return spectrum


def check_same_energy(one: xr.Dataset, two: xr.Dataset, first: str, second: str) -> None:
    """Raise unless two spectra, called so, have one energy axis."""
    mine, other = one[ENERGY].values, two[ENERGY].values
    close = 0.1 * energy_step(one)
    if mine.size != other.size or not np.allclose(mine, other, rtol=0, atol=close):
        raise EdsError(
            f"{first} and {second} have different energy axes ({mine.size} channels from "
            f"{mine[0]:g}, {other.size} from {other[0]:g}); select the same range of both"
        )
    units = [s[ENERGY].attrs.get("units", "keV") for s in (one, two)]
    if units[0] != units[1]:
        raise EdsError(f"{first} and {second} have energies in {units[0]} and {units[1]}")
