"""Which phases a map holds and where: elements, components, presence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from eds_xr.analysis.any_sample import said
from eds_xr.analysis.any_sample.elements import (
    Elements,
    component_lines,
    component_spectra,
    elements_found,
    elements_of_places,
    identified,
    rich_spectra,
    sorted_elements,
    total_spectrum,
)
from eds_xr.analysis.any_sample.recognised import line_shares, recognised
from eds_xr.analysis.painted_phases import factors_of, painted_of
from eds_xr.analysis.phase_components import kinds_said
from eds_xr.analysis.phase_names import STRAY, name_phases
from eds_xr.analysis.recipe import Recipe
from eds_xr.analysis.segment import phases_and_amounts
from eds_xr.chunks import as_chunked, kept
from eds_xr.factorisation.component_kinds.kinds import component_kinds
from eds_xr.factorisation.known_spectra.unmix import project
from eds_xr.factorisation.rank import evidence_of, suggestion
from eds_xr.image.split import held_out
from eds_xr.progress import progress
from eds_xr.schema import COMPONENT, ENERGY, EdsError
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV
from eds_xr.xray.elements import STRAY_LINES
from eds_xr.xray.lines import line_on_axis
from eds_xr.xray.windows import line_windows_kev

Say = Callable[[str], None]


@dataclass
class Found:
    """Phases of a map, and what led to them."""

    total: xr.Dataset
    identification: xr.Dataset | None  # None when the recipe names all elements
    elements: Elements
    may_be: dict[str, str]  # elements that others could stand in the place of, and these
    rank: xr.Dataset
    kinds: xr.Dataset | None
    factors: xr.Dataset
    free: xr.DataArray  # channels that choose pixels
    shares: list[dict[str, float]]  # of net counts, a component each
    segmentation: xr.Dataset  # with the workers, where there are any
    amounts: xr.DataArray  # [phase, *spatial; counts], likewise
    notes: list[str]
    scribbles: xr.DataArray | None = None  # painted phases, where the recipe names them


def find_phases(image: xr.DataArray, recipe: Recipe, say: Say) -> Found:
    """Return the phases of a map.

    Computes: identification, rank, NMF and segmentation; scores stay lazy.
    """
    scribbles = painted_of(recipe, image)  # before the work
    say("elements of the whole map")
    total, table = total_spectrum(image), None
    notes: list[str] = []
    if recipe.elements.sample is None or recipe.elements.stray is None:
        table, notes = identified(total, recipe.elements)
    say("phases: how many, and NMF")
    with progress("NMF"):
        found, painted = factors_of(image, recipe, scribbles)
    factors, kinds = found.factors, found.kinds
    with progress("rank"):
        evidence = found.evidence or evidence_of(image)
        rank = suggestion(evidence, component_kinds(factors) if kinds is None else kinds)
    if painted is not None:
        factors, kinds = painted, None
    elements, shares = _elements_of(image, factors, table, recipe)
    notes += elements.notes
    listed = image.attrs.get("elements", ())
    may_be = said.aliases(table, {*(recipe.elements.sample or ()), *listed, *elements.stray})
    notes += said.of_aliases(may_be)
    named = factors[COMPONENT].values.tolist()
    names = named if scribbles is not None else _names(factors, shares, elements, recipe)
    notes += kinds_said(kinds, dict(zip(named, names, strict=True)))
    factors = factors.assign_coords({COMPONENT: names})
    say("where each phase is present, and where it is pure")
    free = choosing_channels(image, elements, recipe)
    if not bool(free.all()):
        factors = factors.assign(scores=scores_of(image, factors, free))
    segmentation, amounts = presence_and_amounts(image, factors, free, recipe, scribbles)
    notes += list(segmentation.attrs.get("phase_notes", []))
    return Found(
        total, table, elements, may_be, rank, kinds, factors, free, shares, segmentation, amounts,
        notes, scribbles,
    )  # fmt: skip


def _elements_of(
    image: xr.DataArray, factors: xr.Dataset, table: xr.Dataset | None, recipe: Recipe
) -> tuple[Elements, list[dict[str, float]]]:
    """Return the elements by their part, and their shares of net counts in each component."""
    there = [] if table is None else elements_found(table)
    asked = [*(recipe.elements.sample or ()), *(recipe.elements.stray or ())]
    known = list(dict.fromkeys([*there, *asked]))
    if not known:
        return Elements((), (), (), ()), [{} for _ in factors[COMPONENT]]
    spectra = component_spectra(factors, image.attrs)
    lines = component_lines(spectra, known)
    if table is not None and (more := elements_of_places(rich_spectra(image, factors), known)):
        there += more
        lines = component_lines(spectra, [*known, *more])
    counts, listed = spectra.counts.sum(ENERGY), image.attrs.get("elements", ())
    elements = sorted_elements(there, lines, counts, recipe.elements, listed)
    return elements, line_shares(lines, elements.sample)


def choosing_channels(image: xr.DataArray, elements: Elements, recipe: Recipe) -> xr.DataArray:
    """Return the channels by which pixels are chosen ``[energy; bool]``.

    All in the recipe's range; where majors choose, without the lines of traces that are measured,
    as far as these do not cover those of majors.
    """
    energy, choice = image[ENERGY], recipe.choice
    measured = energy.sel({ENERGY: slice(*(recipe.fit.range_kev or FIT_RANGE_KEV))}).values
    free = xr.ones_like(energy, dtype=bool).drop_attrs()
    if choice.range_kev is not None:
        low, high = choice.range_kev
        free &= (energy >= low) & (energy <= high)
    majors, traces = (
        [e for e in group if _has_line(e, measured)] for group in (elements.majors, elements.traces)
    )
    if choice.by == "majors" and traces and majors:
        held = xr.DataArray(held_out(image, traces), dims=ENERGY)
        for line in (line_on_axis(e, energy.values) for e in majors):
            low, high = line_windows_kev(line)[0]
            held &= (energy < low) | (energy > high)
        free &= ~held
    if not bool(free.any()):
        raise EdsError("[choice] leaves no channel of the energy axis to choose pixels by")
    return free


def scores_of(image: xr.DataArray, factors: xr.Dataset, free: xr.DataArray) -> xr.DataArray:
    """Return the scores by some of the channels ``[*spatial, component; counts]``. Lazy."""
    scores = project(as_chunked(image).where(free, 0), _of_channels(factors, free))
    return scores.assign_coords({COMPONENT: factors[COMPONENT].values}).rename("scores")


def presence_and_amounts(
    image: xr.DataArray, factors: xr.Dataset, free: xr.DataArray, recipe: Recipe,
    scribbles: xr.DataArray | None = None,
) -> tuple[xr.Dataset, xr.DataArray]:  # fmt: skip
    """Segment by named components, some of the channels, and strokes.

    Returns also the counts of each phase in each pixel that it went by, without bias. On a cluster
    both stay with the workers.
    """
    choice = recipe.segmentation
    if not bool(free.all()):
        image = as_chunked(image).where(free, 0).assign_attrs(image.attrs)
        factors = factors.assign(loadings=_of_channels(factors, free))
    segmentation, amounts = phases_and_amounts(
        image, factors, seed=recipe.seed, least_share=choice.least_share,
        pure_share=choice.pure_share, smoothness=choice.smoothness, scribbles=scribbles,
    )  # fmt: skip
    return kept(segmentation), amounts


def _of_channels(factors: xr.Dataset, free: xr.DataArray) -> xr.DataArray:
    part = factors.loadings.where(free, 0.0).clip(min=0)
    return part / part.sum(ENERGY)


def _names(
    factors: xr.Dataset, shares: list[dict[str, float]], elements: Elements, recipe: Recipe
) -> list[str]:
    """Return a name for each component: the recipe's, or by what it is rich in."""
    stray = STRAY.union(e for e in elements.stray if e in STRAY_LINES)
    own = name_phases(factors.loadings, elements.all, stray)
    told = recognised(shares, recipe.phases)
    taken = {name for name in told if name}
    return [
        t or (f"{o}_{i + 1}" if o in taken else o)
        for i, (t, o) in enumerate(zip(told, own, strict=True))
    ]


def _has_line(element: str, energy: np.ndarray) -> bool:
    try:
        line_on_axis(element, energy)
    except EdsError:
        return False
    return True
