"""What is said of results that are not there, or that two ways contradict."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import xarray as xr

from eds_xr.composition.uncertainty import marks
from eds_xr.composition.uncertainty.limits import limits_of
from eds_xr.schema import ASSUMED, DOUBT, ELEMENT, LINE, PHASE

#: Of upper limits.
CONFIDENCE = 0.95
#: Two ways contradict each other from so many standard deviations on.
CONTRADICTION_SIGMA = 3.0
#: An element is seen, whichever it is, from so many standard deviations on.
ELEMENT_SIGMA = 3.0
#: What is said at numbers of which two ways say different things.
CONTRADICTED = "regions and all pixels give different numbers"


def not_detected(lines: xr.Dataset) -> list[str]:
    """Name the lines that chance explains, without those assumed to be zero in a phase."""
    limits = limits_of(lines, "net", CONFIDENCE)
    notes = []
    for phase in lines[PHASE].values.tolist():
        one = limits.sel({PHASE: phase})
        open_ = ~one.detected & ~lines[ASSUMED].sel({PHASE: phase})
        names = [str(line).split("_")[0] for line in one[LINE].values[open_.values]]
        if names:
            notes.append(f"{phase}: not detected: {', '.join(names)} (limits stand in the tables)")
    return notes


def doubted(doubt: xr.DataArray, why: Mapping[str, str]) -> xr.DataArray:
    """Return the doubts of numbers [phase, ...] with those of whole phases."""
    names = doubt[PHASE].values.tolist()
    texts = xr.DataArray([why.get(name, "") for name in names], {PHASE: names}, (PHASE,))
    return marks.joined(doubt, texts).transpose(*doubt.dims).assign_attrs(doubt.attrs)


def aliases(identification: xr.Dataset | None, named: Collection[str]) -> dict[str, str]:
    """Return, by element that was identified, which others could stand in its place.

    Those that the recipe or the file has `named` are taken for granted.
    """
    if identification is None:
        return {}
    there = identification.sel({ELEMENT: identification.found.values})
    pairs = zip(there[ELEMENT].values.tolist(), there["alias"].values.tolist(), strict=True)
    return {e: alias for e, alias in pairs if alias and e not in named}


def of_aliases(may_be: Mapping[str, str]) -> list[str]:
    """Say which elements may be others."""
    return [
        f"{e}: may be {other} instead, the spectrum does not tell; name the elements in the recipe"
        for e, other in may_be.items()
    ]


def doubted_elements(lines: xr.Dataset, why: Mapping[str, str]) -> xr.DataArray:
    """Return the doubts of lines, with those of elements that are seen, and may be others."""
    doubt = lines[DOUBT]
    of_line = [why.get(e, "") for e in lines[ELEMENT].values.tolist()]
    texts = [f"may be {other} instead" if other else "" for other in of_line]
    seen = lines.net > ELEMENT_SIGMA * lines.variance**0.5
    table = xr.where(seen, xr.DataArray(texts, dims=LINE), "")
    return marks.joined(doubt, table).transpose(*doubt.dims).assign_attrs(doubt.attrs)


def with_contradictions(composition: xr.Dataset, comparison: xr.Dataset) -> xr.Dataset:
    """Return a composition in doubt where two ways say different things."""
    doubt = composition[DOUBT]
    same = {d: doubt[d] for d in (PHASE, ELEMENT)}
    agree = comparison.agree.reindex(same, fill_value=True)
    joined = marks.joined(doubt, xr.where(agree, "", CONTRADICTED)).transpose(*doubt.dims)
    return composition.assign({DOUBT: joined.assign_attrs(doubt.attrs)})


def contradicted(lines: xr.Dataset, assumed: xr.DataArray) -> list[str]:
    """Name the lines that are assumed to be zero in a phase, and are not by another way."""
    notes = []
    for phase in lines[PHASE].values.tolist():
        for line in assumed[LINE].values[assumed.sel({PHASE: phase}).values].tolist():
            one = lines.sel({PHASE: phase, LINE: line})
            net, sd = float(one.net), float(one.variance) ** 0.5
            if abs(net) > CONTRADICTION_SIGMA * sd:
                notes.append(
                    f"{phase}: the subtraction takes {line} for zero, all pixels give it "
                    f"{net:.0f} +- {sd:.0f} counts"
                )
    return notes


def compared(composition: xr.Dataset, refined: xr.Dataset) -> xr.Dataset:
    """Return how far the compositions of regions and of all pixels are apart.

    Returns
    -------
    Dataset [phase, element]
        ``difference`` of the atomic fractions, ``sigma``, the same over its standard deviation if
        they were independent (they share counts, so it is less than that of equal truths), and
        ``agree``, within 3.
    """
    both = [composition, refined]
    difference = both[1].atomic_fraction - both[0].atomic_fraction
    spread = sum(one.atomic_fraction_variance for one in both)
    sigma = xr.where(spread > 0, difference / np.sqrt(spread), 0.0)
    return xr.Dataset(
        {
            "difference": difference.assign_attrs(
                long_name="atomic fraction, all pixels less regions", units="1"
            ),
            "sigma": sigma.assign_attrs(long_name="in standard deviations", units="1"),
            "agree": abs(sigma) <= CONTRADICTION_SIGMA,
        }
    )


def disagreements(comparison: xr.Dataset) -> list[str]:
    """Name the elements of which regions and all pixels say different things."""
    notes = []
    for phase in comparison[PHASE].values.tolist():
        one = comparison.sel({PHASE: phase})
        apart = one[ELEMENT].values[~one.agree.values].tolist()
        if apart:
            notes.append(
                f"{phase}: regions and all pixels give different {', '.join(apart)} (by "
                f"{float(abs(one.sigma).max()):.1f} standard deviations); the phase varies from "
                "place to place, or a region holds another phase"
            )
    return notes
