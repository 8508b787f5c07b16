"""Spectra, lines and compositions of the phases that were found."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import xarray as xr

from eds_xr.analysis.any_sample import said, variation
from eds_xr.analysis.any_sample.all_pixels import Measured, measure_all_pixels
from eds_xr.analysis.any_sample.line_fit import LineFit
from eds_xr.analysis.any_sample.phases_found import Found, Say, amounts_of, find_presence, scores_of
from eds_xr.analysis.any_sample.pure_spectra import PureSpectra, too_noisy
from eds_xr.analysis.any_sample.regions import region_masks, regions_of, sources_of
from eds_xr.analysis.recipe import Recipe
from eds_xr.image.split import split_counts
from eds_xr.progress import progress
from eds_xr.schema import ENERGY, PHASE
from eds_xr.segmentation import masks as mk
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.line_fits.model_errors import with_model_variation
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.spectra.sums import sum_spectra

#: Tiles of a reference that hold fewer counts tell nothing of its variation.
LEAST_TILE_COUNTS = 5000.0


def measure(
    image: xr.DataArray, found: Found, host_of: Mapping[str, str], recipe: Recipe, say: Say
) -> Measured:
    """Return spectra and lines of the phases, as far as they can be had."""
    made = Measured()
    if not found.elements.sample:
        made.notes.append("no element of the sample was identified: phases are all that can be had")
        return made
    fit = LineFit(found.elements, recipe.fit, image[ENERGY])
    calibration = fit.calibrate(found.total)
    names = found.segmentation[PHASE].values.tolist()
    regions = regions_of(found.segmentation, found.amounts)
    made.sources = sources_of(regions, names, host_of)
    if made.sources:
        say("spectra of all regions, in one pass")
        used = {r for s in made.sources for r in (s.phase, s.region, s.reference)}
        chosen = {name: r.phases for name, r in regions.items() if name in used}
        calibration = _measure_regions(made, image, found, chosen, host_of, fit, recipe, say)
    say("the same from all pixels")
    measure_all_pixels(made, image, found, fit, calibration, recipe.seed)
    return made


def _measure_regions(
    made: Measured, image: xr.DataArray, found: Found, chosen: Mapping[str, tuple[str, ...]],
    host_of: Mapping[str, str], fit: LineFit, recipe: Recipe, say: Say,
) -> Calibration:  # fmt: skip
    """Add the spectra of regions, of phases, and their lines; return the calibration."""
    references = {s.reference for s in made.sources} | {*host_of.values()}
    references &= set(chosen)
    with progress("sums over regions"):
        spectra = _region_sums(image, found, chosen, references, recipe)
    masks = made.masks = region_masks(found.segmentation, found.amounts, chosen)
    made.spectra = sums = spectra.sel({PHASE: list(chosen)})
    say("lines of the regions, pure spectra")
    calibration = fit.calibrate(sums)
    told = {p.name: p.pinned for p in recipe.phases if p.pinned}
    pure = PureSpectra(
        sums, fit.fit(sums, calibration), lambda one: fit.fit(one, calibration), told, host_of,
        fit.elements.all,
    )  # fmt: skip
    made.pure = pure.make(made.sources)
    made.pinned, made.sources, made.unproven = pure.pinned, pure.sources, pure.unproven
    made.notes += pure.notes
    if made.pure is not None:
        say("lines of the phases: families and background fitted")
        made.lines = _lines_of_phases(made, made.pure, masks, spectra, fit, calibration)
    return calibration


def _region_sums(
    image: xr.DataArray,
    found: Found,
    chosen: Mapping[str, tuple[str, ...]],
    references: Collection[str],
    recipe: Recipe,
) -> xr.Dataset:
    """Return the spectra of regions, and of the tiles of references.

    By halves, the counts of one half are summed where the other chose, and the two are added.
    """
    if recipe.choice.by != "halves":
        return sum_spectra(
            image, _with_tiles(found.segmentation, found.amounts, chosen, references)
        ).compute()
    first, second = split_counts(image, seed=recipe.seed)
    parts = []
    for choosing, measuring in ((first, second), (second, first)):
        factors = found.factors.assign(scores=scores_of(choosing, found.factors, found.free))
        segmentation = find_presence(choosing, factors, found.free, recipe)
        amounts = amounts_of(choosing, found.factors, found.free)
        masks = _with_tiles(segmentation, amounts, chosen, references)
        parts.append(sum_spectra(measuring, masks).compute())
    one, other = xr.align(*parts, join="outer", fill_value=0)
    added = one[["counts", "variance"]] + other[["counts", "variance"]]
    # a pixel of a half holds half the counts of one
    pixels = (one.n_pixels + other.n_pixels) / 2
    return added.assign(n_pixels=pixels).assign_attrs(parts[0].attrs)


def _with_tiles(
    segmentation: xr.Dataset,
    amounts: xr.DataArray,
    chosen: Mapping[str, tuple[str, ...]],
    references: Collection[str],
) -> xr.DataArray:
    """Return the masks of regions, then the tiles of references, called ``name@2,0``."""
    masks = region_masks(segmentation, amounts, chosen)
    parts = [masks]
    for name in references:
        one = masks.sel({PHASE: name}, drop=True)
        if bool(one.any()):
            tiles = mk.tiles(one)
            parts.append(tiles.assign_coords({PHASE: [f"{name}@{t}" for t in tiles[PHASE].values]}))
    return xr.concat(parts, dim=PHASE)


def _lines_of_phases(
    made: Measured, pure: xr.Dataset, masks: xr.DataArray, spectra: xr.Dataset, fit: LineFit,
    calibration: Calibration,
) -> xr.Dataset:  # fmt: skip
    """Return the lines of the pure spectra with all their errors."""
    lines = _with_common(fit.fit(pure, calibration), pure)
    for name in pure[PHASE].values.tolist():
        why = "too few counts for a spectrum" if too_noisy(name, pure.sel({PHASE: name})) else ""
        if name in made.unproven:
            why = "nothing but one line tells how much of another phase was taken out"
        own = lines[PHASE] == name
        lines["doubt"] = lines.doubt.where(~own | (lines.doubt != "") | (why == ""), why)
    made.notes += lines.attrs["warnings"]
    made.notes += said.not_detected(lines)
    tiles = {}
    for name in {s.reference for s in made.sources if s.phase in made.pinned}:
        own = [p for p in spectra[PHASE].values.tolist() if p.startswith(f"{name}@")]
        part = spectra.sel({PHASE: own})
        part = part.sel({PHASE: (part.counts.sum(ENERGY) >= LEAST_TILE_COUNTS).values})
        if part.sizes[PHASE] > 1:
            tiles[name] = fit.fit(part, calibration)
    lines = variation.with_reference_variation(lines, pure, made.sources, made.pinned, tiles, masks)
    sums = spectra.sel({PHASE: masks[PHASE].values})
    refits = [fit.fit(pure, fit.calibrate(sums, other), other) for other in fit.others or ()]
    if refits:
        return with_model_variation(lines, refits)
    return lines.assign(model_variance=xr.zeros_like(lines.variance))


def _with_common(lines: xr.Dataset, pure: xr.Dataset) -> xr.Dataset:
    return add_common_errors(lines, pure) if "scale_slope" in pure else lines
