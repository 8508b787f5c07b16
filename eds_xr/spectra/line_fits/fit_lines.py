"""Net intensities of X-ray lines: whole families on a background, with covariance.

A spectrum is modelled as a sum of line families (one amount an element and shell) on a smooth
background. What is known of the peaks only within limits (calibration, weights and places of lines,
tails, escape peaks) is fitted to all spectra of a call together; given that, the model is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import (
    beam_energy_of,
    check_range_kev,
    resolution_of,
    with_beam_assumed,
)
from eds_xr.chunks import computed
from eds_xr.cluster.supervision import computes
from eds_xr.progress import warn
from eds_xr.schema import (
    ENERGY,
    LIVE_TIME,
    EdsError,
    check_energy_in_kev,
    check_one_of,
    check_spectra,
    texts_of,
)
from eds_xr.spectra.line_fits.chosen_lines import (
    LeftOutWarning,
    check_calibration,
    chosen_elements,
    fit_attrs,
    left_out,
    left_out_message,
    reported_lines,
)
from eds_xr.spectra.line_fits.fitted_lines import with_assumed
from eds_xr.spectra.line_fits.line_errors import ByParameter
from eds_xr.spectra.line_fits.line_results import fit_all
from eds_xr.spectra.line_fits.one_spectrum import SpectrumModel, solve
from eds_xr.spectra.shapes.background import Background, background_shapes
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV as FIT_RANGE_KEV
from eds_xr.spectra.shapes.calibration import find_calibration, learned_shapes
from eds_xr.spectra.shapes.families import Calibration as Calibration
from eds_xr.spectra.shapes.families import Family, Shapes, families_seen
from eds_xr.spectra.shapes.pile_up import SumPeaks, families_below
from eds_xr.spectra.shapes.weak_knowledge import CALIBRATION_PRIOR as CALIBRATION_PRIOR
from eds_xr.workers import in_one_thread
from eds_xr.xray.elements import element_names
from eds_xr.xray.own_detector import detector_of

METHODS = ("least_squares", "poisson")


class MissingLineWarning(UserWarning):
    """A fit leaves a peak that none of its elements accounts for."""


@computes
@in_one_thread
def fit_lines(
    spectra: xr.Dataset,
    elements: Sequence[str] | None = None,
    *,
    stray: Sequence[str] = (),
    lines: Sequence[str] | None = None,
    range_kev: tuple[float, float] = FIT_RANGE_KEV,
    calibration: Calibration | None = None,
    method: str = "least_squares",
    background: str | Background = "flexible",
    escape: bool = False,
    sum_peaks: bool = False,
) -> xr.Dataset:
    """Fit line families and background; return net counts of each element's line.

    Computes: all spectra, which are small; what they share of the peaks is fitted to all together.

    Parameters
    ----------
    spectra : Dataset [..., energy]
        ``counts`` and ``variance``, from ``sum_spectra`` or ``subtract_phase``.
    elements : sequence of str, optional
        Elements of the sample; default is the attribute ``elements``.
    stray : sequence of str
        Elements that are fitted for their overlaps but not of the sample (Cu of the grid, Ga and
        Pt of the ion beam).
    lines : sequence of str, optional
        Lines to report, ``["Fe_Ka", ...]``; default is the principal line of each element that
        has one in the range (the others are named in the attribute ``left_out``).
    range_kev : (float, float)
        Energies used [keV].
    calibration : Calibration, optional
        From :func:`calibrate`, kept as given; default fits it with all else.
    method : {"least_squares", "poisson"}
        ``"poisson"`` maximises the likelihood of counts that are their own variance; spectra
        that were scaled or subtracted need least squares.
    background : {"flexible", "physical"}, the name of a plug-in's, or Bremsstrahlung
        ``"flexible"``: Kramers' law as the detector counts it, times cubic B-splines.
        ``"physical"``: two terms of bremsstrahlung; with the foil's self-absorption as
        ``Bremsstrahlung({"Mg": 1, "O": 1}, mass_thickness_kg_m2=4e-4)``. It bends less, so small
        peaks gain, where the detector is as modelled. Other packages add some by name, see
        :class:`eds_xr.spectra.shapes.background.Background`.
    escape : bool
        Whether escape peaks, 1.74 keV below, are expected; their counts are then among the net
        counts of the line. Otherwise they are found as far as they are there, and not counted.
    sum_peaks : bool
        Whether there are sum peaks (pile-up) of the strong lines in the range, tied to one
        another by the rate at which their photons meet, and of those with the lines below the
        range of any element given, such as O.

    Returns
    -------
    Dataset over ``line``
        ``net`` [..., line; counts] with ``variance`` and ``covariance`` [..., line, line_other],
        in which all errors are: ``effect_covariance`` [effect, ..., line, line_other] tells them
        apart (counting, calibration, line_weights, shape, background), and sums to ``covariance``.
        What the spectra of the call share stands in ``shared_error`` [mode, ..., line; counts],
        what one standard deviation of each independent error does to all of them, with its effect
        ``mode_effect`` [mode]. ``doubt`` [..., line; str] says why a number is not to be believed,
        empty where it is; ``misfit`` [..., line], the variance found at a line over that expected.
        ``background`` (counts under the peak, within one full width at half maximum of its
        centre); limits after Currie (Anal. Chem. 40 (1968) 586), with ``s`` the standard
        deviation of the net counts if there were none: ``critical_level`` (``1.645 s``: chance
        exceeds it in 5 % of cases), ``detection_limit`` (``2.71 + 3.29 s``: a signal that is
        found in 95 % of cases) and ``quantification_limit`` (of 10 % relative standard
        deviation); ``element`` [line]; ``assumed`` [..., line; bool] where a subtraction was
        pinned to lines: these are zero, without error or limit; ``reduced_chi2`` [...];
        ``model``, ``background_model`` and ``residual_z`` [..., energy]; with `sum_peaks`, their
        counts ``sum_peaks`` and ``sum_peaks_variance`` [...]; ``live_time_s`` [...] of spectra
        that know it. The calibration is in the attributes,
        and ``calibration_source`` tells whether it was ``fitted``. The attribute ``warnings`` names
        peaks that are left.

    Raises
    ------
    EdsError
        For no elements, an element that does not exist, a line outside the range, elements
        whose families cannot be told apart in it, or `method` ``"poisson"`` with counts that are
        not their own variance.

    Warns
    -----
    LeftOutWarning
        When an element that is given has no line in the range to report; one of the attribute
        ``elements`` is only named in the attribute ``warnings``.
    MissingLineWarning
        When a peak is left that neither the elements account for, nor an escape or sum peak could
        (such a one is only named in the attribute ``warnings``): ``residual_z`` is the number
        of standard deviations by which a peak there would be above zero, with an allowance of
        2 % for the shape of fitted lines, and for how badly the spectrum is fitted elsewhere.
        Positive peaks are reported that chance shows in one call of ten thousand, anywhere in the
        spectra (after R. B. Davies, Biometrika 74 (1987) 33).

    Notes
    -----
    Least squares are weighted with the inverse of a *modelled* variance, the fit of the
    same shapes to the given variance: weights taken from the noisy counts themselves would pull
    the fit down by about a count a channel. Poisson's likelihood is maximised by Newton's method,
    with expected counts above zero and amounts of any sign; its covariance is the inverse of
    Fisher's information, at expected counts of amounts that are not negative.

    Where peaks nearly coincide, net counts depend on what no table knows well. Weights and places
    of lines have the uncertainties of :mod:`eds_xr.xray.lines`, calibration, tails, escape peaks
    and the detector's layers those of :mod:`eds_xr.spectra.shapes.weak_knowledge`. Well-counted
    spectra sharpen them, few counts leave them as they were; both reach the covariance. The
    scatter of the counts is ``counting``, or ``calibration`` as far as it comes by that; what was
    known before is short of the truth by the other effects. The attribute ``learned_shapes`` (JSON)
    tells what was found, in standard deviations of what was known before. A misfit at a line that
    chance does not explain widens its errors, as ``shape``.
    """
    check_spectra(spectra)
    check_energy_in_kev(spectra)
    check_one_of(method, METHODS, "method")
    check_calibration(calibration)
    spectra, stray, asked = computed(spectra), element_names(stray, "stray"), elements
    elements = chosen_elements(spectra.attrs, elements, "fit_lines(spectra, ['Mg', 'Si', ...])")
    part, beam = _in_range(spectra, range_kev), beam_energy_of(spectra.attrs)
    if method == "poisson":
        _check_own_variance(part)
    given = _Asked(elements, stray, lines, calibration, method, background, escape, sum_peaks)
    model, chosen = _model_of(part, given, beam)
    attrs = provenance.with_step(
        with_beam_assumed(spectra.attrs), "fit_lines", elements=elements, stray=list(stray),
        range_kev=list(range_kev), method=method, background=str(background), escape=escape,
        sum_peaks=sum_peaks,
    )  # fmt: skip
    told = texts_of(spectra.attrs, "warnings")
    if lines is None and (missed := left_out(elements, chosen)):
        told.append(left_out_message(missed, part[ENERGY].values.astype(float)))
        if asked is not None:
            warn(told[-1], LeftOutWarning)
    found, peaks = fit_all(part, model, list(chosen))
    for where, peak in peaks:
        if not peak.artefacts:
            warn(f"{where}{peak}", MissingLineWarning)
    attrs |= fit_attrs(elements, chosen, model.errors.learned)
    attrs["warnings"] = [*told, *(f"{where}{peak}" for where, peak in peaks)]
    found = with_assumed(found, spectra)
    if LIVE_TIME in spectra:
        found = found.assign({LIVE_TIME: spectra[LIVE_TIME]})
    return found.assign_attrs(attrs)


@computes
@in_one_thread
def calibrate(
    spectra: xr.Dataset,
    elements: Sequence[str],
    *,
    range_kev: tuple[float, float] = FIT_RANGE_KEV,
) -> Calibration:
    """Fit offset and gain of the energy axis and the width of the peaks.

    Computes: the sum of all spectra, which is small.

    Parameters
    ----------
    spectra : Dataset [..., energy]
    elements : sequence of str
        All that is in the spectra, stray elements too.
    range_kev : (float, float)

    Returns
    -------
    Calibration
        With the nominal axis when there are too few counts to tell; ``source`` says so.

    Notes
    -----
    As in :func:`fit_lines`, whose weak knowledge takes part; offset, gain and noise start where
    `CALIBRATION_PRIOR` expects them (the Fano slope is silicon's). So a single peak moves the
    offset and leaves the gain alone. The covariance comes with them, and reaches net counts.
    """
    check_spectra(spectra)
    check_energy_in_kev(spectra)
    part, beam = _in_range(computed(spectra), range_kev), beam_energy_of(spectra.attrs)
    energy = part[ENERGY].values.astype(float)
    detector = detector_of(spectra.attrs)
    families = families_seen(element_names(elements), energy, beam, detector=detector)
    counts, variance = (_total(part[name]) for name in ("counts", "variance"))
    resolution = resolution_of(spectra.attrs)
    return find_calibration(energy, counts, variance, families, beam, resolution, detector)


# -- what is fitted ------------------------------------------------------------------------------


def _in_range(spectra: xr.Dataset, range_kev: tuple[float, float]) -> xr.Dataset:
    check_range_kev(range_kev)
    part = spectra.sel({ENERGY: slice(*range_kev)})
    if not (np.isfinite(part.counts + part.variance).all() and (part.variance >= 0).all()):
        raise EdsError(
            "the spectra hold values that are not finite, or a variance that is negative or "
            "missing; look at the masks that they come from"
        )
    if part.counts.size == 0 and part.sizes[ENERGY]:
        raise EdsError(f"no spectra to fit, found sizes {dict(part.sizes)}")
    if part.sizes[ENERGY] < 20:
        raise EdsError(
            f"only {part.sizes[ENERGY]} channels between {range_kev[0]} and {range_kev[1]} "
            "keV: widen range_kev"
        )
    return part


def _check_own_variance(part: xr.Dataset) -> None:
    counts, variance = part.counts.values, part.variance.values
    if (counts < 0).any() or not np.allclose(counts, variance, rtol=1e-6, atol=1e-9):
        raise EdsError(
            'method="poisson" needs counts that are their own variance, found spectra that were '
            'scaled or subtracted; use method="least_squares", which is right for them'
        )


class _Asked(NamedTuple):
    """What is to be fitted, and how: the arguments of :func:`fit_lines`."""

    elements: list[str]
    stray: list[str]
    lines: Sequence[str] | None
    calibration: Calibration | None
    method: str
    background: str | Background
    escape: bool
    sum_peaks: bool


def _model_of(
    part: xr.Dataset, asked: _Asked, beam: float
) -> tuple[SpectrumModel, dict[str, tuple[int, float]]]:
    """Return the model that all spectra have, as they teach it, and the lines to report."""
    energy = part[ENERGY].values.astype(float)
    every = [*asked.elements, *asked.stray]
    detector = detector_of(part.attrs)
    seen = (f(every, energy, beam, detector=detector) for f in (families_seen, families_below))
    families, low = seen
    reported_lines(asked.elements, asked.lines, energy, beam, families)  # or an error, before a fit
    smooth = background_shapes(asked.background, energy, beam, part.attrs)
    known = asked.calibration or Calibration()
    tabulated = Shapes(energy, families, known, beam, background=smooth, detector=detector)
    counts, variance = _as_rows(part)
    learned = learned_shapes(
        energy, counts, variance, families, beam, resolution_of(part.attrs),
        calibration=asked.calibration,
        background=_all_smooth(part, tabulated, low, asked.sum_peaks), escape=asked.escape,
    )  # fmt: skip
    chosen = reported_lines(asked.elements, asked.lines, energy, beam, learned.families)
    tabulated.check_separable(column for column, _ in chosen.values())
    smooth = smooth * learned.background_factor[:, None]
    shapes = Shapes(
        energy, learned.families, learned.calibration, beam, background=smooth, detector=detector
    )
    sums = _sum_peaks(part, shapes, low)[0] if asked.sum_peaks else None
    columns, shares, windows = _reported(shapes, chosen)
    errors = ByParameter(learned, tuple(chosen), columns, shares)
    number = part.counts.size // energy.size
    model = SpectrumModel(shapes, columns, shares, windows, errors, asked.method, sums, number)
    return model, chosen


def _all_smooth(
    part: xr.Dataset, shapes: Shapes, low: Sequence[Family], sum_peaks: bool
) -> np.ndarray:
    """Return what is fitted beside families: background, and sum peaks [channel, term]."""
    smooth = shapes.design[:, len(shapes.families) :]
    if not sum_peaks:
        return smooth
    sums, amounts = _sum_peaks(part, shapes, low)
    return np.hstack([smooth, sums.columns(amounts)])


def _sum_peaks(
    part: xr.Dataset, shapes: Shapes, low: Sequence[Family]
) -> tuple[SumPeaks, np.ndarray]:
    """Return the sum peaks of the lines that are strong in the sum of all spectra; its amounts."""
    counts, variance = (_total(part[name]) for name in ("counts", "variance"))
    amounts = solve(shapes.design, counts, variance, "least_squares").amounts
    return SumPeaks(shapes, low, amounts), amounts


# -- the fit -------------------------------------------------------------------------------------


def _reported(
    shapes: Shapes, chosen: dict[str, tuple[int, float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return family and share of each reported line, and the channels of its background."""
    columns, shares = zip(*chosen.values(), strict=True)
    windows = np.stack([shapes.window(line) for line in chosen], axis=1).astype(float)
    return np.array(columns), np.array(shares), windows


def _as_rows(part: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and variance [spectrum, channel]."""
    counts, variance = (
        v.transpose(..., ENERGY).values.astype(float).reshape(-1, part.sizes[ENERGY])
        for v in xr.broadcast(part.counts, part.variance)
    )
    return counts, variance


def _total(values: xr.DataArray) -> np.ndarray:
    return np.asarray(values.sum([d for d in values.dims if d != ENERGY]).values, float)
