"""Which elements are of the sample, which are stray, and which of them may choose pixels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from eds_xr.analysis.recipe import ElementChoice
from eds_xr.provenance import of_the_recording
from eds_xr.schema import COMPONENT, ELEMENT, ENERGY, LINE, LIVE_TIME, PHASE, EdsError, spatial_dims
from eds_xr.spectra.identification.identify import identify
from eds_xr.spectra.line_fits.chosen_lines import LeftOutWarning
from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning, fit_lines
from eds_xr.spectra.sums import every_pixel, live_time_of, sum_spectra
from eds_xr.xray.elements import STRAY_LINES
from eds_xr.xray.lines import line_energy_kev

#: An element is a major where it gives this share of the net counts of a phase.
MAJOR_SHARE = 0.1
#: Of the sample is what some phase has more of, or less, by this factor and by so many deviations,
#: for all its counts: what comes from grid, holder or beam follows these.
DIFFERS_BY, DIFFERS_SIGMA = 3.0, 8.0
#: The grid's copper follows them least.
GRID_DIFFERS_BY = 5.0
#: So, too, what gives this share of all net counts: columns and detectors give less ...
STRONG_SHARE = 0.03
#: ... but grids and films under a thin sample may give as much as it.
STRONG_BESIDE = {"Cu": 0.4, "C": 0.4, "Ni": 0.06, "Au": 0.06, "Mo": 0.06}
#: A peak that the elements of the whole map leave: its spectrum is asked on its own.
LEFT_SIGMA = 6.0
#: An element accounts for a peak that lies so near to its line [keV].
NEAR_KEV = 0.1
#: A component's richest pixels, which few outliers do not decide.
RICH_QUANTILE = 0.995


class Elements(NamedTuple):
    """Elements by their part in an analysis."""

    sample: tuple[str, ...]
    stray: tuple[str, ...]
    majors: tuple[str, ...]  # of the sample; the others are traces, which choose no pixel
    notes: tuple[str, ...]

    @property
    def all(self) -> list[str]:
        """Those whose lines are fitted."""
        return [*self.sample, *self.stray]

    @property
    def traces(self) -> list[str]:
        """Those of the sample that choose no pixel."""
        return [e for e in self.sample if e not in self.majors]


def total_spectrum(image: xr.DataArray) -> xr.Dataset:
    """Return the sum over all pixels, with its variance. Computes: one pass."""
    dims = spatial_dims(image)
    counts = image.sum(dims, dtype=np.uint64).compute().astype(float)
    pixels = int(np.prod([image.sizes[d] for d in dims]))
    whole = xr.Dataset({"counts": counts, "variance": counts, "n_pixels": pixels})
    if (time := live_time_of(image, every_pixel(image), xr.DataArray(pixels))) is not None:
        whole = whole.assign({LIVE_TIME: time.compute()})
    if float(counts.sum()) <= 0:
        raise EdsError(
            "the spectrum image holds no counts: nothing to analyse; look at eds-xr info"
        )
    return whole.assign_attrs(of_the_recording(image.attrs))


def identified(total: xr.Dataset, choice: ElementChoice) -> tuple[xr.Dataset, list[str]]:
    """Identify the elements of the whole map; return the table, and what was warned of."""
    expected = [*(choice.sample or ()), *(choice.stray or ())]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = identify(total, expected=expected or None)
    return found, [str(w.message) for w in caught]


def elements_found(table: xr.Dataset) -> list[str]:
    """Return what was identified."""
    return [str(e) for e in table[ELEMENT].values[table.found.values]]


def component_spectra(factors: xr.Dataset, attrs: Mapping[str, Any]) -> xr.Dataset:
    """Return nearly the spectra of phases ``[phase, energy]``: loadings times all their counts.

    Their noise is nearly that of counts.
    """
    counts = factors.scores.sum(spatial_dims(factors.scores)).compute().astype(float)
    spectra = (factors.loadings * counts).transpose(COMPONENT, ENERGY).clip(min=0)
    table = xr.Dataset({"counts": spectra, "variance": spectra}).rename({COMPONENT: PHASE})
    return table.assign_attrs(of_the_recording(attrs))


def component_lines(spectra: xr.Dataset, elements: Sequence[str]) -> xr.Dataset:
    """Return net counts of the elements in each component ``[phase, line]``."""
    with warnings.catch_warnings():
        for told in (MissingLineWarning, LeftOutWarning):  # the phases' own fits will tell
            warnings.simplefilter("ignore", told)
        return fit_lines(spectra, list(elements))


def rich_spectra(image: xr.DataArray, factors: xr.Dataset) -> xr.Dataset:
    """Return sums over the pixels that are rich in each component ``[phase, energy]``.

    Computes: one pass. Real counts: what NMF makes of a spectrum has false peaks.
    """
    scores = factors.scores.compute()
    share = scores / scores.sum(COMPONENT).clip(min=1e-9)
    most = share.quantile(RICH_QUANTILE, spatial_dims(scores)).drop_vars("quantile")
    masks = (share > 0.5 * most).rename({COMPONENT: PHASE})
    return sum_spectra(image, masks.transpose(PHASE, ...)).compute()


def elements_of_places(spectra: xr.Dataset, elements: Sequence[str]) -> list[str]:
    """Return elements that only some places show, those of phases that are a small part of the map.

    Sums are asked in whose spectra the elements of the whole map leave a peak.
    """
    rest = component_lines(spectra, elements).residual_z > LEFT_SIGMA
    places = spectra[PHASE].values[rest.any(ENERGY).values]
    if not places.size:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the axis, which the whole map was asked about
        table = identify(spectra.sel({PHASE: places}), expected=list(elements))
    found = []
    for place in places:
        one, peaks = table.sel({PHASE: place}), rest[ENERGY].values[rest.sel({PHASE: place}).values]
        for element in one[ELEMENT].values[one.found.values].tolist():
            line = str(one.line.sel({ELEMENT: element}).item())
            if abs(peaks - line_energy_kev(line)).min() < NEAR_KEV:
                found.append(element)
    return [e for e in dict.fromkeys(found) if e not in elements]


def sorted_elements(
    found: Sequence[str],
    lines: xr.Dataset,
    counts: xr.DataArray,
    choice: ElementChoice,
    listed: Sequence[str],
) -> Elements:
    """Return which elements are the sample's and which are stray, and the majors.

    What the recipe says holds. Then what the file lists is the sample's; what is found beside it
    is fitted, not quantified. A file that lists none leaves it to the map: an element that grids,
    holders or the microscope may emit is of the sample when it differs between phases.
    """
    notes: list[str] = []
    stray = list(choice.stray or ())
    if choice.sample is not None:
        sample = list(choice.sample)
    elif listed:
        sample = [e for e in listed if e in found and e not in stray]
        lost = [e for e in listed if e not in found and e not in stray]
        if lost:
            notes.append(f"{', '.join(lost)}: named by the file, not found in the map's spectrum")
        sample += lost
    else:
        sample = [e for e in found if e not in stray and _is_of_the_sample(e, lines, counts)]
    if choice.stray is None:
        stray = [e for e in found if e not in sample]
        for e in stray:
            source = STRAY_LINES.get(e, "")
            why = f"perhaps from {source}" if source else "not named by the file"
            notes.append(f"{e}: found, {why}; fitted as stray, not quantified")
    majors = choice.majors
    if majors is None:
        majors = tuple(e for e in sample if _is_major(e, lines, sample))
    return Elements(tuple(sample), tuple(stray), tuple(majors), tuple(notes))


def _is_of_the_sample(element: str, lines: xr.Dataset, counts: xr.DataArray) -> bool:
    if element not in STRAY_LINES:
        return True
    names = lines[ELEMENT].values.tolist()
    if element not in names:
        return False
    one = lines.isel({LINE: names.index(element)})
    all_nets = float(lines.net.clip(min=0).sum())
    if float(one.net.sum()) > STRONG_BESIDE.get(element, STRONG_SHARE) * all_nets:
        return True
    usual = counts * float(one.net.sum() / counts.sum())
    factor = GRID_DIFFERS_BY if element == "Cu" else DIFFERS_BY
    apart = abs(one.net - usual) > DIFFERS_SIGMA * one.variance**0.5
    return bool((apart & ((one.net > factor * usual) | (factor * one.net < usual))).any())


def _is_major(element: str, lines: xr.Dataset, sample: Sequence[str]) -> bool:
    names = lines[ELEMENT].values.tolist()
    if element not in names:
        return False
    own = [names.index(e) for e in sample if e in names]
    share = lines.net.clip(min=0) / lines.net.isel({LINE: own}).clip(min=0).sum(LINE)
    return bool((share.isel({LINE: names.index(element)}) >= MAJOR_SHARE).any())
