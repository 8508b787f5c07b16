"""Which elements a spectrum holds, how sure that is, and what else it could be.

Elements are hypotheses about the whole spectrum, not about peaks: each predicts all lines of its
K, L and M families at once. They are compared by how well the spectrum can be fitted with and
without them, by the likelihood of counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import beam_energy_of, number, resolution_of, with_beam_assumed
from eds_xr.chunks import computed
from eds_xr.cluster.supervision import computes
from eds_xr.progress import track, warn
from eds_xr.schema import ELEMENT, ENERGY, EdsError, check_energy_in_kev, check_spectra
from eds_xr.spectra.identification.axis_search import (
    AxisSearch,
    Pattern,
    make_pattern,
    prior_odds,
    shifted,
)
from eds_xr.spectra.identification.candidates import make_candidates
from eds_xr.spectra.identification.channels import bin_starts, detector_start_kev
from eds_xr.spectra.identification.likelihood_fit import AXIS_DOUBT
from eds_xr.spectra.identification.nuisance_shapes import make_spectrum
from eds_xr.spectra.identification.search import Search, select
from eds_xr.spectra.identification.verdicts import Finding, Reading
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.workers import in_one_thread
from eds_xr.xray.detector import peak_sigma_kev
from eds_xr.xray.elements import NATURAL_ELEMENTS, STRAY_LINES, element_names
from eds_xr.xray.own_detector import detector_of

#: Energies used when none are given end here [keV]; they begin where the detector does.
_LAST_KEV = 20.0
#: The axis is looked for by lines up to this energy, and this far below the lowest [keV].
_AXIS_LAST_KEV, _AXIS_MARGIN_KEV = 12.5, 0.05
#: Evidence of the first round, which only serves to calibrate the energy axis.
_FIRST_CHANCE = 1e-10
#: What an axis may still be off by once it is calibrated, see `AXIS_DOUBT`.
_CALIBRATED = (0.002, 0.0004, 0.03, 0.015)


class AxisWarning(UserWarning):
    """The energy axis of a spectrum could not be found from its peaks."""


@computes
@in_one_thread
def identify(
    spectra: xr.Dataset,
    *,
    expected: Sequence[str] | None = None,
    candidates: Sequence[str] | None = None,
    false_alarm: float = 0.01,
    range_kev: tuple[float, float] | None = None,
) -> xr.Dataset:
    """Identify the elements in spectra, with their evidence and their aliases.

    Computes: each spectrum on its own, some seconds each.

    Parameters
    ----------
    spectra : Dataset [..., energy]
        ``counts`` and ``variance``, from ``sum_spectra`` or ``subtract_phase``.
    expected : sequence of str, optional
        Elements to report on whether found or not; default is the attribute ``elements``. They
        and those of `STRAY_LINES` are `PRIOR_ODDS` times as likely as others beforehand, carbon
        `CARBON_ODDS` times; those of `SELDOM` are less likely, `SELDOM_ODDS` times.
    candidates : sequence of str, optional
        Elements to try; default is `NATURAL_ELEMENTS`. Expected ones are always tried.
    false_alarm : float
        Probability that in a spectrum of noise and known elements any other is found.
    range_kev : (float, float)
        Energies used [keV]; default is from where the detector starts to count, above its noise
        peak or its threshold, to 20.

    Returns
    -------
    Dataset over ``element`` (all found in any of the spectra, and all expected) and ``candidate``
        ``found`` [..., element]; ``verdict``: ``found``, ``alias`` (there are counts at its line,
        but others explain them), ``not found`` or ``out of range``; ``evidence`` (logarithm of the
        likelihood ratio with and without the element, over the misfit; nats); ``sigma``, the same
        as standard deviations; ``chance``, that noise gives as much for any of the elements
        tried; ``line``, the one that tells most, with ``net`` counts, their statistical
        ``variance``, their ``systematic`` standard deviation (what the shapes leave open) and,
        for elements not found, the ``detection_limit`` (Currie); ``misfit`` (variance at its
        lines over that expected, at least 1); ``alias``: for an element found, those that could
        replace it with more than that probability, best first (*Nd or Ce?*), otherwise those that
        explain the counts at its line;
        ``replaced`` [..., element, candidate; nats], likelihood when the candidate takes the
        element's place (NaN for elements not found); ``stray`` [element], where it may come from
        beside the sample; ``gain`` and ``offset_kev`` [...] of the energy axis, ``axis`` [...]
        ``found``, or why not. The attribute ``left_out`` names elements that have no line in the
        range to be tried by, ``axis`` sums up the variable.

    Warns
    -----
    AxisWarning
        Where the energy axis could not be found; elements are then named on the axis as it is.

    Raises
    ------
    EdsError
        For unknown elements, a probability outside 0 to 1, spectra without counts, and spectra
        whose variance is less than that of counts.

    Notes
    -----
    The axis is looked for within 48 eV and 1.2 %, by fits of the few elements that explain most on
    each of a grid of axes, then refined with all. It counts as not found when the best lies
    outside, leaves peaks unexplained, or another explains a spectrum of few peaks as well.

    Poisson likelihood. An element's families may depart from their tabulated ratio by a factor of
    4, so that a strong L family without its K family is no evidence; lines below 1.3 keV, and all
    but the hardest of `STRAY_LINES`, may nearly be missing beside harder ones. What a model of a
    spectrum is never sure of is free within its uncertainty, so that millions of counts do not turn
    misfit into elements: place, gain, width and tail of all peaks and of each family; weights and
    places of lines, as the tables doubt them (and 3 eV for chemistry); lines that no table has,
    0.05, 0.3 and 1.5 % of a K, L and M family at any place between its lines; half a percent of the
    counts in places as wide as a peak, 2 % in places three times as wide. Thus a weak peak is first
    explained by elements that are surely there. Sum and escape peaks are modelled. Candidates are
    added, exchanged and removed until none improves the fit, and a found element has a family that
    is visible by itself; the chance that noise gives as much is Perlman's bound for positive
    amounts (Ann. Math. Stat. 40 (1969) 549), corrected for the number of elements tried (Sidak, J.
    Am. Stat. Assoc. 62 (1967) 626).
    """
    check_spectra(spectra)
    check_energy_in_kev(spectra)
    asked = element_names(spectra.attrs.get("elements", []) if expected is None else expected)
    tried = list(dict.fromkeys([*asked, *element_names(candidates or NATURAL_ELEMENTS)]))
    if not 0 < number(false_alarm, "false_alarm") < 1:
        raise EdsError(f"false_alarm must lie between 0 and 1, found {false_alarm!r}")
    spectra = computed(spectra)
    _check_values(spectra)
    setting = _Setting(spectra, asked, tried, false_alarm, range_kev)
    leading = [d for d in spectra.counts.dims if d != ENERGY]
    places = list(product(*(range(spectra.sizes[d]) for d in leading)))
    parts = [
        setting.identify(spectra.isel(dict(zip(leading, place, strict=True))))
        for place in track(places, "identifying elements", total=len(places))
    ]
    attrs = provenance.with_step(
        with_beam_assumed(spectra.attrs), "identify", expected=asked,
        candidates=candidates and element_names(candidates), false_alarm=false_alarm,
        range_kev=range_kev and list(range_kev),
    )  # fmt: skip
    left_out = [e for e in tried if e not in setting.seen]
    doubts = list(dict.fromkeys(x.doubt for x in parts if x.doubt))
    if doubts:
        warn(
            f"the energy axis of {sum(bool(x.doubt) for x in parts)} of {len(parts)} spectra could "
            f"not be found: {'; '.join(doubts)}. Elements are named on the axis as it is, and may "
            "be wrong; correct it (assign_coords, calibrate), or give range_kev where peaks are",
            AxisWarning,
        )
    return _as_dataset(parts, spectra, leading, setting).assign_attrs(
        attrs, tried=len(tried), left_out=left_out, axis="; ".join(doubts) or "found"
    )


@dataclass(frozen=True)
class _Reported:
    """What is said of a spectrum; ``doubt`` is why its axis could not be found, "" if it was."""

    findings: dict[str, Finding]
    axis: Calibration
    doubt: str


class _Setting:
    """What all spectra of a call have in common."""

    def __init__(
        self, spectra: xr.Dataset, asked: list[str], tried: list[str], false_alarm: float,
        range_kev: tuple[float, float] | None,
    ) -> None:  # fmt: skip
        self.asked, self.tried, self.false_alarm = asked, tried, false_alarm
        self.seen: set[str] = set()
        self.energy = spectra[ENERGY].values.astype(float)
        self.range_kev = range_kev
        self.beam_kev, self.detector = beam_energy_of(spectra.attrs), detector_of(spectra.attrs)
        self.resolution = resolution_of(spectra.attrs)
        self.likely = {*asked, *STRAY_LINES}
        self._patterns: dict[tuple[float, float], tuple[Pattern, list[str]]] = {}

    def identify(self, one: xr.Dataset) -> _Reported:
        """Return what a spectrum says of each element found or asked for."""
        counts, variance = (one[name].values.astype(float) for name in ("counts", "variance"))
        part = self._part(counts)
        axis, names, doubt = self._axis(counts, variance, part)
        search = self._search(counts, variance, part, axis, AXIS_DOUBT, _FIRST_CHANCE)
        found, fitted = select(search, [search.names.index(e) for e in names if e in search.names])
        calibration = shifted(axis, fitted.axis)
        chance = 1 - (1 - self.false_alarm) ** (1 / len(search.candidates))
        search = self._search(counts, variance, part, calibration, _CALIBRATED, chance)
        found, fitted = select(search, found)
        calibration = shifted(calibration, fitted.axis)
        reading = Reading(search, found, fitted, self.false_alarm)
        return _Reported(reading.findings(self.asked), calibration, doubt)

    def _part(self, counts: np.ndarray) -> slice:
        """Return the channels used."""
        low, high = self.range_kev or (detector_start_kev(self.energy, counts), _LAST_KEV)
        inside = np.flatnonzero((self.energy >= low) & (self.energy <= high))
        if inside.size < 50:
            raise EdsError(
                f"only {inside.size} channels between {low:g} and {high:g} keV: widen range_kev"
            )
        self.detector.check_covers(*self.energy[inside[[0, -1]]].tolist())
        return slice(int(inside[0]), int(inside[-1]) + 1)

    def _axis(
        self, counts: np.ndarray, variance: np.ndarray, part: slice
    ) -> tuple[Calibration, list[str], str]:
        """Return the energy axis that the spectrum asks for, elements that say so, any doubt.

        With a doubt, the axis is the one that the spectrum came with.
        """
        pattern, names = self._pattern(part)
        search = AxisSearch(self.energy[part], counts[part], variance[part], pattern)
        axes = search.find()
        doubt = search.doubt(axes)
        noise = float(peak_sigma_kev(0.0, self.resolution) ** 2)
        if doubt:
            return Calibration(noise_kev2=noise, source=doubt), [], doubt
        best = axes[0]
        found = Calibration(best.gain, best.offset_kev, noise, source="fitted")
        return found, [names[i] for i in best.elements], ""

    def _pattern(self, part: slice) -> tuple[Pattern, list[str]]:
        low, high = float(self.energy[part.start]), float(self.energy[part.stop - 1])
        inside = max(low - _AXIS_MARGIN_KEV, 0.1), min(high, max(_AXIS_LAST_KEV, low + 5.0))
        if inside in self._patterns:
            return self._patterns[inside]
        # others than those to be tried may be there, and place the axis
        every = dict.fromkeys([*self.tried, *NATURAL_ELEMENTS])
        # the margins of the axis may lie beyond a table that covers the channels
        made = make_pattern(
            list(every), self.likely, inside, self.resolution, self.beam_kev, self.detector.held()
        )
        self._patterns[inside] = made
        return made

    def _search(
        self, counts: np.ndarray, variance: np.ndarray, part: slice, calibration: Calibration,
        doubt: tuple[float, float, float, float], chance: float,
    ) -> Search:  # fmt: skip
        axis, beam, detector = self.energy, self.beam_kev, self.detector
        starts = bin_starts(axis[part], self.resolution)
        spectrum = make_spectrum(axis, counts, variance, part, starts, calibration, beam, detector)
        made = make_candidates(self.tried, axis[part], starts, calibration, beam, detector)
        self.seen.update(x.element for x in made)
        odds = prior_odds([x.element for x in made], self.likely)
        return Search(replace(spectrum, axis=doubt), made, odds, chance)


# -- input and output ----------------------------------------------------------------------------


def _check_values(spectra: xr.Dataset) -> None:
    counts, variance = spectra.counts.values, spectra.variance.values
    if not (np.isfinite(counts).all() and np.isfinite(variance).all() and (variance >= 0).all()):
        raise EdsError("the spectra hold values that are not finite, or a negative variance")
    if not (counts.sum(axis=-1) > 0).all():
        raise EdsError("a spectrum holds no counts: look at the mask that it comes from")
    if (variance.sum(axis=-1) < 0.5 * counts.sum(axis=-1)).any():
        raise EdsError(
            "the variance is less than that of counts: identification needs sums of counts, not "
            "means or normalised spectra"
        )


_NUMBERS = {
    "evidence": ("log likelihood ratio with and without the element", "nats"),
    "sigma": ("evidence in standard deviations", "1"),
    "chance": ("chance of noise giving as much", "1"),
    "net": ("net counts of the line", "counts"),
    "variance": ("variance of the net counts", "counts^2"),
    "systematic": ("uncertainty of the net counts from shapes and background", "counts"),
    "detection_limit": ("detection limit (Currie) of the line", "counts"),
    "misfit": ("misfit at the lines", "1"),
}


def _as_dataset(
    parts: list[_Reported],
    spectra: xr.Dataset,
    leading: list[str],
    setting: _Setting,
) -> xr.Dataset:
    order = {name: i for i, name in enumerate(NATURAL_ELEMENTS)}
    reported = {e for one in parts for e in one.findings}
    names = sorted(reported, key=lambda e: (order.get(e, len(order)), e))
    rows = [[one.findings.get(e, Finding("not found")) for e in names] for one in parts]
    shape, dims = [spectra.sizes[d] for d in leading], [*leading, ELEMENT]

    def table(values: list[list[Any]], kind: type) -> xr.Variable:
        return xr.Variable(dims, np.array(values, kind).reshape(*shape, len(names)))

    def axis(values: list[Any], text: str) -> xr.Variable:
        return xr.Variable(leading, np.array(values).reshape(shape), {"long_name": text})

    lost = [[[(x.replaced or {}).get(c, math.nan) for c in setting.tried] for x in r] for r in rows]
    replaced = np.array(lost).reshape(*shape, len(names), len(setting.tried))
    about = {"long_name": "log likelihood ratio when replaced", "units": "nats"}
    variables = {
        "found": table([[x.verdict == "found" for x in row] for row in rows], bool),
        "verdict": table([[x.verdict for x in row] for row in rows], str),
        "line": table([[x.line for x in row] for row in rows], str),
        "alias": table([[", ".join(x.alias) for x in row] for row in rows], str),
        "replaced": xr.Variable([*dims, "candidate"], replaced, about),
        "gain": axis([x.axis.gain for x in parts], "gain of the energy axis"),
        "offset_kev": axis([x.axis.offset_kev for x in parts], "offset of the energy axis"),
        "axis": axis([x.doubt or "found" for x in parts], "whether the energy axis was found"),
    }
    for name, (text, units) in _NUMBERS.items():
        values = table([[getattr(x, name) for x in row] for row in rows], float)
        values.attrs = {"long_name": text, "units": units}
        variables[name] = values
    stray = [STRAY_LINES.get(e, "") for e in names]
    coords = {d: spectra[d] for d in leading if d in spectra.coords}
    labels = {ELEMENT: names, "candidate": setting.tried, "stray": (ELEMENT, stray)}
    return xr.Dataset(variables, coords={**coords, **labels})
