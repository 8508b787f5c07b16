"""Subtraction of what is counted without the sample: stray counts of grid and microscope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import (
    check_fits,
    number,
    number_or_array,
    relative_uncertainty,
    with_assumptions,
)
from eds_xr.cluster.supervision import computes
from eds_xr.progress import warn
from eds_xr.schema import ENERGY, LIVE_TIME, EdsError, check_spectra, leading_dims, spatial_dims
from eds_xr.spectra.hole_errors import HOLE_BY_COUNTS, HOLE_ERROR, HOLE_SCALE, HOLE_SLOPE
from eds_xr.spectra.reference_share import find_share
from eds_xr.spectra.subtraction import (
    SubtractionWarning,
    check_same_energy,
    elements_known,
    negative_regions,
    one_spectrum,
)
from eds_xr.spectra.sums import every_pixel, sum_spectra
from eds_xr.xray.lines import split_line

#: The scale is the ratio of the electrons: live time times current.
BY_DOSE = "dose"


class _Scale(NamedTuple):
    """By how much the hole's counts are multiplied, for each spectrum."""

    value: xr.DataArray
    variance: xr.DataArray
    by_counts: xr.DataArray  # [..., energy]: what one more count of the spectrum adds to it
    relative: float  # error that the counts do not make, the same in all spectra
    pinned: tuple[str, ...]
    assumed: tuple[str, ...]


@computes
def subtract_hole(
    spectra: xr.Dataset,
    hole: xr.Dataset | xr.DataArray,
    *,
    scale: str | float | xr.DataArray | Sequence[str] = BY_DOSE,
    scale_uncertainty: float = 0.0,
    elements: Sequence[str] | None = None,
) -> xr.Dataset:
    """Subtract what the detector counts without the sample, with errors.

    Computes: the spectra, which are small.

    Electrons and X-rays that strike grid, holder and pole piece make counts wherever the beam
    stands (Williams and Carter, Transmission Electron Microscopy, 2009, 33.4). Recorded with the
    beam in a hole, or on the support alone, they are subtracted, and an element of the grid can
    be quantified in the sample.

    Parameters
    ----------
    spectra : Dataset [..., energy]
        From ``sum_spectra``. Subtract the hole before phases are subtracted from each other.
    hole : Dataset [energy], or spectrum image
        ``counts`` and ``variance`` recorded there under the same conditions; of an image, all
        pixels together.
    scale : "dose", float, DataArray, or name(s) of lines
        What the hole's counts are multiplied with. ``"dose"``: the ratio of live times times
        probe currents; where one of the two recordings tells no current, it is assumed to be the
        same, which the attribute ``assumptions`` says. Of a line that only the grid emits
        (``"Cu_Ka"``): the ratio of its net counts; that element is then zero by construction.
    scale_uncertainty : float
        Relative standard uncertainty of a scale that is no line's, 0.1 for 10 %, such as that of
        currents; the same error in all spectra.
    elements : sequence of str, optional
        All that is in the spectra, for a scale by lines; as in :func:`eds_xr.subtract_phase`.

    Returns
    -------
    Dataset
        As `spectra`; ``counts`` (never clipped), ``variance`` = spectra + scale^2 hole;
        ``hole_scale`` [...] and ``hole_scale_variance`` [...]; ``hole_slope`` and
        ``hole_by_counts`` [..., energy], the error of a scale by lines, and ``hole_error`` [...,
        energy; counts], one standard deviation of one that is not: :func:`add_common_errors` adds
        them to lines, as the effect ``hole``. ``pinned`` as :func:`eds_xr.subtract_phase` has it.

    Raises
    ------
    EdsError
        When energy axes or beams differ, when nothing tells the scale or it is negative, when
        ``hole`` is several spectra, or was subtracted already.

    Warns
    -----
    SubtractionWarning
        Where more is subtracted than there is; in the attribute ``warnings``, too.

    Notes
    -----
    What is stray differs between a hole and a thick film, which scatters electrons to the grid
    itself: a hole's spectrum is the least that is stray. The support's shows more of it. The
    noise of the hole's counts is in ``variance`` of every spectrum; that it is the same noise is
    left out, so that errors of differences between phases are a little too large.
    """
    check_spectra(spectra)
    if HOLE_SCALE in spectra:
        raise EdsError("a hole was subtracted from these spectra already; subtract it once")
    spectra, alone = spectra.compute(), _one_spectrum(hole)
    check_same_energy(spectra, alone, "spectra", "hole")
    _check_beams(spectra, alone)
    alone = alone.assign_coords({ENERGY: spectra[ENERGY]})
    lead = leading_dims(spectra)
    found = _scale(spectra, alone, scale, scale_uncertainty, elements)
    rest = spectra.assign(_remainder(spectra, alone, found, lead))
    rest = rest.assign_attrs(_attrs(spectra, alone, scale, found))
    told = _too_much(rest, lead)
    for message in told:
        warn(message, SubtractionWarning)
    before = list(spectra.attrs.get("warnings", []))
    return rest.assign_attrs(warnings=[*before, *told]) if before or told else rest


# -- helpers -------------------------------------------------------------------------------------


def _one_spectrum(hole: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Return the hole's spectrum, computed; of an image, that of all its pixels."""
    if isinstance(hole, xr.DataArray):
        if spatial_dims(hole):
            hole = sum_spectra(hole, every_pixel(hole))
        else:
            attrs = provenance.of_the_recording(hole.attrs)
            hole = xr.Dataset({"counts": hole, "variance": hole.astype(float)}, attrs=attrs)
    return one_spectrum(hole, "hole")


def _check_beams(spectra: xr.Dataset, hole: xr.Dataset) -> None:
    told = [s.attrs["beam_energy_kev"] for s in (spectra, hole) if "beam_energy_kev" in s.attrs]
    beams = [number(beam, "the attribute beam_energy_kev") for beam in told]
    if len(beams) == 2 and abs(beams[0] - beams[1]) > 1e-3 * beams[0]:
        raise EdsError(
            f"the spectra were recorded at {beams[0]:g} keV, the hole at {beams[1]:g} keV: what "
            "is stray differs; record the hole with the same beam"
        )


def _scale(
    spectra: xr.Dataset,
    hole: xr.Dataset,
    scale: str | float | xr.DataArray | Sequence[str],
    uncertainty: float,
    elements: Sequence[str] | None,
) -> _Scale:
    relative = relative_uncertainty(uncertainty, "scale_uncertainty")
    if isinstance(scale, xr.DataArray) or (not isinstance(scale, str) and np.ndim(scale) == 0):
        value = scale if isinstance(scale, xr.DataArray) else number(scale, "scale")
        return _given(spectra, number_or_array(value, "scale"), relative, ())
    if scale == BY_DOSE:
        return _given(spectra, *_ratio_of_doses(spectra, hole, relative))
    lines = [scale] if isinstance(scale, str) else [str(name) for name in scale]  # type: ignore[union-attr]
    for name in lines:
        split_line(name)
    if relative:
        raise EdsError("a scale by lines has the error of their counts; leave scale_uncertainty")
    return _of_lines(spectra, hole, lines, elements_known(spectra, elements))


def _given(
    spectra: xr.Dataset, value: xr.DataArray, relative: float, assumed: tuple[str, ...]
) -> _Scale:
    one = spectra.counts.isel({ENERGY: 0}, drop=True)
    check_fits(value, one, "the scale")
    if not bool(((value >= 0) & np.isfinite(value)).all()):
        raise EdsError(f"the scale of the hole must be 0 or more, found {float(value.min()):g}")
    value = (xr.zeros_like(one, dtype=float) + value).transpose(*one.dims)
    nothing = xr.zeros_like(spectra.counts, dtype=float)
    return _Scale(value, (relative * value) ** 2, nothing, relative, (), assumed)


def _ratio_of_doses(
    spectra: xr.Dataset, hole: xr.Dataset, relative: float
) -> tuple[xr.DataArray, float, tuple[str, ...]]:
    """Return live time times current of the spectra over those of the hole."""
    times = [_live_time(s) for s in (spectra, hole)]
    if times[0] is None or times[1] is None:
        lacks = " and ".join(
            n for n, t in zip(("spectra", "hole"), times, strict=True) if t is None
        )
        raise EdsError(
            f"no live time is known of the {lacks}, so nothing tells the hole's scale; give it as "
            "scale=0.5 (electrons of the spectra over those of the hole), or by a line that only "
            "the grid emits: scale='Cu_Ka'"
        )
    if not bool((times[1] > 0).all()):
        raise EdsError("the live time of the hole must be positive")
    currents = [s.attrs.get("probe_current_na") for s in (spectra, hole)]
    if None in currents:
        said = "the same probe current at the sample and in the hole: a recording tells none"
        return times[0] / times[1], relative, (said,)
    mine, other = (number(c, "the attribute probe_current_na") for c in currents)
    if not (mine > 0 and other > 0):
        raise EdsError(f"probe currents must be positive, found {mine:g} and {other:g} nA")
    return times[0] / times[1] * (mine / other), relative, ()


def _live_time(spectra: xr.Dataset) -> xr.DataArray | None:
    if LIVE_TIME in spectra:
        return spectra[LIVE_TIME].reset_coords(drop=True)
    whole = spectra.attrs.get(LIVE_TIME)
    single = "n_pixels" not in spectra and spectra.counts.ndim == 1
    return None if whole is None or not single else xr.DataArray(number(whole, LIVE_TIME))


def _of_lines(
    spectra: xr.Dataset, hole: xr.Dataset, lines: list[str], elements: list[str]
) -> _Scale:
    """Return the ratios of net counts of lines, each spectrum's own."""
    lead = leading_dims(spectra)
    one = spectra.counts.isel({ENERGY: 0}, drop=True).transpose(*lead)
    whole = hole[["counts", "variance"]].assign(n_pixels=1).assign_attrs(hole.attrs)
    value, variance = (np.empty(one.shape) for _ in range(2))
    by_counts = np.zeros((*one.shape, spectra.sizes[ENERGY]))
    pinned: list[str] = []
    for index in np.ndindex(one.shape):
        here = dict(zip(lead, index, strict=True))
        each = spectra[["counts", "variance"]].isel(here).assign(n_pixels=1)
        share = find_share(each, whole, lines, elements)
        if share.value < -3 * share.variance**0.5:
            raise EdsError(
                f"the scale of the hole is {share.value:.3g} by {', '.join(lines)}: these lines "
                "are not in the spectra; scale by dose, or take a line that the grid emits"
            )
        value[index], variance[index] = share.value, share.variance
        by_counts[index] = 0.0 if share.by_counts is None else share.by_counts
        pinned = [n for n, part in zip(lines, share.taken, strict=True) if part >= 0.5]
    over = xr.DataArray(by_counts, dims=(*lead, ENERGY))
    scales = [one.copy(data=part).reset_coords(drop=True) for part in (value, variance)]
    return _Scale(scales[0], scales[1], over, 0.0, tuple(pinned), ())


def _remainder(
    spectra: xr.Dataset, hole: xr.Dataset, scale: _Scale, lead: Sequence[str]
) -> dict[str, xr.DataArray]:
    """Return the variables that a subtraction makes."""
    order = (*lead, ENERGY)
    bare = hole[["counts", "variance"]].reset_coords(drop=True)
    slope = xr.ones_like(spectra.counts, dtype=float) * bare.counts
    by_lines = bool(scale.pinned) or bool((scale.by_counts != 0).any())
    left = spectra.counts - scale.value * bare.counts
    made = {
        "counts": (left, "counts", "counts"),
        "variance": (
            spectra.variance + scale.value**2 * bare.variance, "variance of the counts", "counts^2",
        ),
        HOLE_SCALE: (scale.value, "factor of the hole's counts", "1"),
        f"{HOLE_SCALE}_variance": (scale.variance, "variance of the hole's factor", "1"),
        HOLE_SLOPE: (slope if by_lines else 0 * slope, "counts per unit of the factor", "counts"),
        HOLE_BY_COUNTS: (scale.by_counts, "factor per count of the spectrum", "1"),
        HOLE_ERROR: (
            -scale.relative * scale.value * bare.counts, "error of the ratio of doses", "counts",
        ),
    }  # fmt: skip
    found = {}
    for name, (values, text, units) in made.items():
        dims = [d for d in order if d in values.dims]
        found[name] = values.transpose(*dims).assign_attrs(long_name=text, units=units)
    if scale.pinned:
        found["pinned"] = xr.full_like(scale.value, ", ".join(scale.pinned), dtype=object)
    return found


def _attrs(
    spectra: xr.Dataset, hole: xr.Dataset,
    scale: str | float | xr.DataArray | Sequence[str], found: _Scale,
) -> dict[str, object]:  # fmt: skip
    how: object = "given" if isinstance(scale, xr.DataArray) else scale
    attrs = provenance.with_step(
        with_assumptions(spectra.attrs, *found.assumed), "subtract_hole",
        scale=list(how) if isinstance(how, list | tuple) else how,
        scale_uncertainty=found.relative, hole=provenance.history(hole),
        hole_source=str(hole.attrs.get("source", "")),
    )  # fmt: skip
    return attrs | ({"pinned_lines": list(found.pinned)} if found.pinned else {})


def _too_much(rest: xr.Dataset, lead: Sequence[str]) -> list[str]:
    """Name the regions in which more was subtracted than there is."""
    told = []
    for index in np.ndindex(*(rest.sizes[d] for d in lead)):
        one = rest.isel(dict(zip(lead, index, strict=True)))
        spread = one[HOLE_ERROR] ** 2 + one[f"{HOLE_SCALE}_variance"] * one[HOLE_SLOPE] ** 2
        where = "".join(f"{one[d].item()}: " for d in lead if d in one.coords)
        told += [
            f"{where}{text}: too much of the hole is subtracted, or it was recorded under other "
            "conditions"
            for text in negative_regions(one, spread**0.5)
        ]
    return told
