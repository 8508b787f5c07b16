"""What is measured of the phases, and their spectra from all pixels."""

from __future__ import annotations

from dataclasses import dataclass, field

import xarray as xr

from eds_xr.analysis.any_sample import said, variation
from eds_xr.analysis.any_sample.line_fit import LineFit
from eds_xr.analysis.any_sample.phases_found import Found
from eds_xr.analysis.any_sample.regions import Source
from eds_xr.factorisation.known_spectra.refine import refine_spectra
from eds_xr.schema import COMPONENT, PHASE, EdsError, zero_where_assumed
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.shapes.families import Calibration


@dataclass
class Measured:
    """What is measured of the phases; parts that cannot be had are None."""

    sources: list[Source] = field(default_factory=list)  # in the end, the subtractions
    pinned: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unproven: list[str] = field(default_factory=list)  # phases that rest on one line
    notes: list[str] = field(default_factory=list)
    masks: xr.DataArray | None = None  # of the regions
    spectra: xr.Dataset | None = None  # of the regions
    pure: xr.Dataset | None = None  # of the phases
    lines: xr.Dataset | None = None
    refined: xr.Dataset | None = None
    refined_lines: xr.Dataset | None = None


def measure_all_pixels(
    made: Measured, image: xr.DataArray, found: Found, fit: LineFit, calibration: Calibration,
    seed: int,
) -> None:  # fmt: skip
    """Add the spectra and lines of all pixels, or say why they cannot be had.

    The phases' spectra decide what is pure. Where a phase has none, NMF's loadings do, of all
    phases: then nothing but NMF says that they are pure.
    """
    names = found.segmentation[PHASE].values.tolist()
    missing = set(names) - set([] if made.pure is None else made.pure[PHASE].values.tolist())
    if len(names) < 2 and not missing:
        made.notes.append("one phase: its region tells all, nothing is refined")
        return
    given = made.pure
    if missing or given is None:
        loadings = found.factors.loadings.sel({COMPONENT: names}).clip(min=0)
        given = loadings.rename({COMPONENT: PHASE})
        made.notes.append(
            f"{', '.join(sorted(missing))}: no region to take a spectrum from; the spectra of all "
            "pixels rest on NMF's loadings, and nothing else says that these are pure"
        )
    try:
        refined = refine_spectra(image, given, seed=seed)
    except EdsError as error:
        made.notes.append(f"spectra of all pixels: not had, {error}")
        return
    # as if nothing were assumed, to see whether all pixels agree
    free = fit.fit(refined.drop_vars("pinned", errors="ignore"), calibration)
    made.refined = refined
    if isinstance(given, xr.DataArray) or made.lines is None:
        free = add_common_errors(free, refined)
        unproven = free.doubt.where(free.doubt != "", "purity rests on NMF alone")
        made.refined_lines = free.assign(doubt=unproven)
        return
    free = variation.lines_of_all_pixels(refined, free, given, made.lines)
    if "assumed" in made.lines:
        made.notes += said.contradicted(free, made.lines.assumed)
        free = zero_where_assumed(free.assign(assumed=made.lines.assumed))
    unproven = free[PHASE].isin(made.unproven) & (free.doubt == "")
    made.refined_lines = free.assign(doubt=made.lines.doubt.where(unproven, free.doubt))
