"""Spectra, lines and compositions of the phases that were found."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import xarray as xr

from eds_xr.analysis.any_sample import said, variation
from eds_xr.analysis.any_sample.from_components import BY_NMF, with_components, with_impurity
from eds_xr.analysis.any_sample.hole import hole_of_a_pixel, without_hole
from eds_xr.analysis.any_sample.line_fit import LineFit
from eds_xr.analysis.any_sample.phases_found import Found, Say, presence_and_amounts, scores_of
from eds_xr.analysis.any_sample.pure_spectra import (
    PureSpectra,
    nets_of_a_count,
    shows_nothing_of,
    too_noisy,
)
from eds_xr.analysis.any_sample.regions import (
    LEAST_PIXELS,
    Region,
    Source,
    region_masks,
    regions_of,
    sources_of,
)
from eds_xr.analysis.recipe import Recipe
from eds_xr.chunks import kept
from eds_xr.factorisation.known_spectra.refine import refine_spectra
from eds_xr.factorisation.purest.least_volume import AT_PIXELS
from eds_xr.image.split import split_counts
from eds_xr.progress import progress
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    LIVE_TIME,
    PHASE,
    EdsError,
    spatial_dims,
    zero_where_assumed,
)
from eds_xr.segmentation import masks as mk
from eds_xr.segmentation.presence.purity import alone_pixels
from eds_xr.spectra.common_errors import add_common_errors, carries_common_errors
from eds_xr.spectra.line_fits.model_errors import with_model_variation
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.spectra.sums import sum_spectra

#: Tiles of a phase that hold fewer counts tell nothing of its variation.
LEAST_TILE_COUNTS = 5000.0
#: Of pixels without other phases so many are pure, unless the phase varies.
MOSTLY_PURE = 0.75
#: Why a phase's composition from its region is not to be believed; all pixels may hold enough.
FEW_COUNTS = "too few counts for a spectrum"


@dataclass
class Measured:
    """What is measured of the phases; parts that cannot be had are None."""

    sources: list[Source] = field(default_factory=list)  # in the end, the subtractions
    hole: xr.Dataset | None = None  # recorded without the sample; subtracted from all spectra
    pinned: dict[str, tuple[str, ...]] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)  # why a phase's composition is in doubt
    notes: list[str] = field(default_factory=list)
    masks: xr.DataArray | None = None  # of the regions
    spectra: xr.Dataset | None = None  # of the regions
    pure: xr.Dataset | None = None  # of the phases
    lines: xr.Dataset | None = None
    refined: xr.Dataset | None = None
    refined_lines: xr.Dataset | None = None


def measure(
    image: xr.DataArray,
    found: Found,
    host_of: Mapping[str, str],
    recipe: Recipe,
    say: Say,
    hole: xr.Dataset | None = None,
) -> Measured:
    """Return spectra and lines of the phases, as far as they can be had; less those of a hole."""
    made = Measured(hole=hole)
    if not found.elements.sample:
        made.notes.append("no element of the sample was identified: phases are all that can be had")
        return made
    fit = LineFit(found.elements, recipe.fit, image[ENERGY])
    calibration = fit.calibrate(found.total)
    names = found.segmentation[PHASE].values.tolist()
    if recipe.choice.by != "halves" and len(names) > 1:
        varied = with_varied(made, image, found, fit, calibration)
        found = replace(found, segmentation=varied)
    regions = regions_of(found.segmentation, found.amounts)
    made.sources = sources_of(regions, names, host_of, may_lie_over(host_of, found.factors))
    if made.sources:
        say("spectra of all regions, in one pass")
        spectra, calibration = _measure_regions(
            made, image, found, regions, host_of, fit, recipe, say
        )
    else:
        total = found.total.expand_dims({PHASE: ["all"]})
        spectra = without_hole(total, hole, recipe, found.elements.all)
    missing = names if made.pure is None else [n for n in names if n not in made.pure[PHASE]]
    if missing or made.pure is None:
        made.pure = with_components(made.pure, found, missing)
        made.doubts |= dict.fromkeys(missing, BY_NMF)
        made.notes.append(
            f"{', '.join(missing)}: no region to take a spectrum from; what NMF makes of it is "
            "given, and nothing else says that it is pure: do not report its composition"
        )
    say("lines of the phases: families and background fitted")
    made.lines = _lines_of_phases(made, made.pure, spectra, fit, calibration, found.may_be)
    say("the same from all pixels")
    _measure_all_pixels(made, image, found, fit, calibration, recipe)
    return made


def may_lie_over(host_of: Mapping[str, str], factors: xr.Dataset) -> dict[str, str]:
    """Return the hosts of the phases that no pixels show to be pure.

    Where pixels pile up along the ray of a phase, it is somewhere as thick as the foil.
    """
    ends = factors.attrs.get("ends_at", [])
    names = factors[COMPONENT].values.tolist()
    pure = {n for n, end in zip(names, ends, strict=False) if end == AT_PIXELS}
    return {name: host for name, host in host_of.items() if host and name not in pure}


def with_varied(
    made: Measured, image: xr.DataArray, found: Found, fit: LineFit, calibration: Calibration
) -> xr.Dataset:
    """Return a segmentation in which all pixels of a phase without others are pure, if it varies.

    Computes: one pass, where few are pure. Lines of these pixels show nothing of the others.

    Along a gradient a phase is nowhere like its component but in its middle: what it differs by
    counts as others', and the pixels that are left are no fair choice.
    """
    pure = found.segmentation["pure"]
    alone = kept(alone_pixels(found.segmentation["present"]).transpose(*pure.dims))
    pixels = xr.Dataset({"alone": alone, "pure": pure}).sum(spatial_dims(pure)).compute()
    size, few = pixels.alone, pixels.pure < MOSTLY_PURE * pixels.alone
    varied = pure[PHASE].values[(few & (size >= LEAST_PIXELS)).values].tolist()
    if not varied or not bool((size >= LEAST_PIXELS).all()):
        return found.segmentation
    sums = sum_spectra(image, alone).compute()
    nets = nets_of_a_count(sums, fit.fit(sums, calibration))
    of = {name: nets.sel({PHASE: name}, drop=True) for name in pure[PHASE].values.tolist()}
    most = found.segmentation.attrs["pure_share"]
    shown = [n for n in varied if all(shows_nothing_of(of[n], of[q], most) for q in of if q != n)]
    if not shown:
        return found.segmentation
    made.notes += [
        f"{n}: varies from place to place; all pixels without others are its region" for n in shown
    ]
    chosen = xr.where(pure[PHASE].isin(shown), alone, pure).transpose(*pure.dims)
    return found.segmentation.assign(pure=kept(chosen))


def _measure_regions(
    made: Measured, image: xr.DataArray, found: Found, regions: Mapping[str, Region],
    host_of: Mapping[str, str], fit: LineFit, recipe: Recipe, say: Say,
) -> tuple[xr.Dataset, Calibration]:  # fmt: skip
    """Add the spectra of regions and of phases; return those of tiles, too, and the calibration."""
    used = {r for s in made.sources for r in (s.phase, s.region, s.reference)}
    chosen = {name: r.phases for name, r in regions.items() if name in used}
    tiled = [name for name, phases in chosen.items() if len(phases) == 1]
    made.masks = kept(region_masks(found.segmentation, found.amounts, chosen))
    with progress("sums over regions"):
        spectra = _region_sums(image, found, made.masks, chosen, tiled, recipe)
        spectra = without_hole(spectra, made.hole, recipe, found.elements.all)
    made.spectra = sums = spectra.sel({PHASE: list(chosen)})
    say("lines of the regions, pure spectra")
    calibration = fit.calibrate(sums)
    told = {p.name: p.pinned for p in recipe.phases if p.pinned}
    pure = PureSpectra(
        sums, fit.fit(sums, calibration), lambda one: fit.fit(one, calibration), told, host_of,
        may_lie_over(host_of, found.factors), fit.elements.all,
        {name: regions[name].counts for name in chosen},
    )  # fmt: skip
    made.pure = pure.make(made.sources)
    made.pinned, made.sources, made.doubts = pure.pinned, pure.sources, pure.doubts
    made.notes += pure.notes
    return spectra, calibration


def _region_sums(
    image: xr.DataArray,
    found: Found,
    masks: xr.DataArray,
    chosen: Mapping[str, tuple[str, ...]],
    tiled: Collection[str],
    recipe: Recipe,
) -> xr.Dataset:
    """Return the spectra of regions, and of tiles of some.

    By halves, the counts of one half are summed where the other chose, and the two are added.
    """
    if recipe.choice.by != "halves":
        return sum_spectra(image, _with_tiles(masks, tiled)).compute()
    first, second = split_counts(image, seed=recipe.seed)
    parts = []
    for choosing, measuring in ((first, second), (second, first)):
        factors = found.factors.assign(scores=scores_of(choosing, found.factors, found.free))
        segmentation, amounts = presence_and_amounts(
            choosing, factors, found.free, recipe, found.scribbles
        )
        of_half = kept(region_masks(segmentation, amounts, chosen))
        parts.append(sum_spectra(measuring, _with_tiles(of_half, tiled)).compute())
    one, other = xr.align(*parts, join="outer", fill_value=0)
    added = one[["counts", "variance"]] + other[["counts", "variance"]]
    # a pixel of a half holds half the counts of one
    pixels = (one.n_pixels + other.n_pixels) / 2
    added = added.assign(n_pixels=pixels).assign_attrs(parts[0].attrs)
    if LIVE_TIME in one:  # of a half, half as long
        added = added.assign({LIVE_TIME: one[LIVE_TIME] + other[LIVE_TIME]})
    return added


def _with_tiles(masks: xr.DataArray, tiled: Collection[str]) -> xr.DataArray:
    """Return the masks of regions, then the tiles of some, called ``name@2,0``."""
    parts = [masks]
    for name in tiled:
        one = masks.sel({PHASE: name}, drop=True)
        if bool(one.any()):
            tiles = mk.tiles(one)
            parts.append(tiles.assign_coords({PHASE: [f"{name}@{t}" for t in tiles[PHASE].values]}))
    return xr.concat(parts, dim=PHASE)


def _lines_of_phases(
    made: Measured, pure: xr.Dataset, spectra: xr.Dataset, fit: LineFit, calibration: Calibration,
    may_be: Mapping[str, str],
) -> xr.Dataset:  # fmt: skip
    """Return the lines of the pure spectra with all their errors."""
    fitted = fit.fit(pure, calibration)
    lines = with_impurity(_with_common(fitted, pure), pure, fitted)
    for name in pure[PHASE].values.tolist():
        if too_noisy(name, pure.sel({PHASE: name})):
            made.doubts.setdefault(name, FEW_COUNTS)
    lines = lines.assign(doubt=said.doubted(lines.doubt, made.doubts))
    lines = lines.assign(doubt=said.doubted_elements(lines, may_be))
    made.notes += lines.attrs["warnings"]
    made.notes += said.not_detected(lines)
    if made.masks is None:
        nothing = xr.zeros_like(lines.variance)
        lines = lines.assign(matrix_variance=nothing, place_variance=nothing)
    else:
        tiles = _lines_of_tiles(spectra, fit, calibration)
        lines = variation.with_place_variation(
            lines, pure, made.sources, made.pinned, tiles, made.masks
        )
    sums = spectra if made.spectra is None else made.spectra
    refits = [fit.fit(pure, fit.calibrate(sums, other), other) for other in fit.others or ()]
    if refits:
        return with_model_variation(lines, refits)
    return lines.assign(model_variance=xr.zeros_like(lines.variance))


def _lines_of_tiles(
    spectra: xr.Dataset, fit: LineFit, calibration: Calibration
) -> dict[str, xr.Dataset]:
    """Return the lines of the tiles of each phase that has several, ``name@2,0``."""
    named = xr.DataArray(["@" in str(name) for name in spectra[PHASE].values], dims=PHASE)
    part = spectra.sel({PHASE: (named & (spectra.counts.sum(ENERGY) >= LEAST_TILE_COUNTS)).values})
    of_phase = [str(name).rpartition("@")[0] for name in part[PHASE].values]
    several = [name for name in dict.fromkeys(of_phase) if of_phase.count(name) > 1]
    if not several:
        return {}
    lines = fit.fit(part, calibration)
    return {name: lines.isel({PHASE: [n == name for n in of_phase]}) for name in several}


def _with_common(lines: xr.Dataset, pure: xr.Dataset) -> xr.Dataset:
    return add_common_errors(lines, pure) if carries_common_errors(pure) else lines


def _measure_all_pixels(
    made: Measured, image: xr.DataArray, found: Found, fit: LineFit, calibration: Calibration,
    recipe: Recipe,
) -> None:  # fmt: skip
    """Add the spectra and lines of all pixels, or say why they cannot be had.

    The phases' spectra decide what is pure.
    """
    if made.pure is None or made.lines is None:
        return
    if made.pure.sizes[PHASE] < 2:
        made.notes.append("one phase: its region tells all, nothing is refined")
        return
    stray = hole_of_a_pixel(found.total, made.hole, recipe, found.elements.all)
    try:
        refined = refine_spectra(image, made.pure, stray=stray, seed=recipe.seed)
    except EdsError as error:
        made.notes.append(f"spectra of all pixels: not had, {error}")
        return
    # as if nothing were assumed, to see whether all pixels agree
    free = fit.fit(refined.drop_vars("pinned", errors="ignore"), calibration)
    made.refined = refined
    overlap = variation.overlaps(found.segmentation, found.amounts)
    free = variation.lines_of_all_pixels(refined, free, made.pure, made.lines, overlap)
    if "assumed" in made.lines:
        made.notes += said.contradicted(free, made.lines.assumed)
        free = zero_where_assumed(free.assign(assumed=made.lines.assumed))
    unproven = {name: why for name, why in made.doubts.items() if why != FEW_COUNTS}
    free = free.assign(doubt=said.doubted(free.doubt, unproven))
    made.refined_lines = free.assign(doubt=said.doubted_elements(free, found.may_be))
