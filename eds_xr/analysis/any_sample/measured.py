"""Spectra, lines and compositions of the phases that were found."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import xarray as xr

from eds_xr.analysis.any_sample import said, variation
from eds_xr.analysis.any_sample.elements import Elements
from eds_xr.analysis.any_sample.phases_found import Found, Say, find_presence, scores_of
from eds_xr.analysis.any_sample.pure_spectra import PureSpectra
from eds_xr.analysis.any_sample.regions import Source, region_masks, regions_of, sources_of
from eds_xr.analysis.recipe import FitChoice, Recipe
from eds_xr.factorisation.known_spectra.refine import refine_spectra
from eds_xr.image.split import split_counts
from eds_xr.progress import progress
from eds_xr.schema import ENERGY, PHASE, EdsError, zero_where_assumed
from eds_xr.segmentation import masks as mk
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.line_fits.chosen_lines import LeftOutWarning
from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning, calibrate, fit_lines
from eds_xr.spectra.line_fits.model_errors import with_model_variation
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.spectra.sums import sum_spectra

#: Ranges that are as good as the fit's own; they move the knots of the background [keV].
OTHER_RANGES_KEV = ((0.6, 12.5), (1.0, 12.5))
#: Tiles of a reference that hold fewer counts tell nothing of its variation.
LEAST_TILE_COUNTS = 5000.0


@dataclass
class Measured:
    """What is measured of the phases; parts that cannot be had are None."""

    masks: xr.DataArray
    spectra: xr.Dataset
    sources: list[Source]
    pinned: dict[str, tuple[str, ...]]
    pure: xr.Dataset
    lines: xr.Dataset | None = None
    refined: xr.Dataset | None = None
    refined_lines: xr.Dataset | None = None
    notes: list[str] = field(default_factory=list)


class LineFit:
    """How lines are fitted: elements, range and calibration of one analysis."""

    def __init__(self, elements: Elements, choice: FitChoice, energy: xr.DataArray) -> None:
        self.elements = elements
        self.range_kev = choice.range_kev or FIT_RANGE_KEV
        self.others = choice.other_ranges_kev
        if self.others is None:
            self.others = OTHER_RANGES_KEV if choice.range_kev is None else ()
        first, last = float(energy[0]), float(energy[-1])
        # a range that the axis cuts is the same as another
        self.others = tuple(r for r in self.others if r[0] > first and r[1] < last)

    def calibrate(
        self, spectra: xr.Dataset, range_kev: tuple[float, float] | None = None
    ) -> Calibration:
        """Return the calibration that all spectra together give."""
        return calibrate(spectra, self.elements.all, range_kev=range_kev or self.range_kev)

    def fit(
        self,
        spectra: xr.Dataset,
        calibration: Calibration,
        range_kev: tuple[float, float] | None = None,
    ) -> xr.Dataset:
        """Return net counts; peaks that are left stand in the attribute ``warnings``."""
        with warnings.catch_warnings():
            for told in (MissingLineWarning, LeftOutWarning):  # the lines' attributes tell
                warnings.simplefilter("ignore", told)
            return fit_lines(
                spectra, self.elements.sample, stray=self.elements.stray, calibration=calibration,
                range_kev=range_kev or self.range_kev,
            )  # fmt: skip


def measure(
    image: xr.DataArray, found: Found, host_of: Mapping[str, str], recipe: Recipe, say: Say
) -> Measured:
    """Return spectra and lines of the phases."""
    names = found.segmentation[PHASE].values.tolist()
    regions = regions_of(found.segmentation, found.factors.scores)
    sources = sources_of(regions, names, host_of)
    used = {r for s in sources for r in (s.region, s.reference)} & set(regions)
    say("spectra of all regions, in one pass")
    chosen = {name: regions[name].phases for name in regions if name in used}
    references = {s.reference for s in sources} & set(chosen)
    with progress("sums over regions"):
        spectra = _region_sums(image, found, chosen, references, recipe)
    sums = spectra.sel({PHASE: list(chosen)})
    masks = region_masks(found.segmentation, chosen)
    say("lines of the regions, pure spectra")
    fit = LineFit(found.elements, recipe.fit, image[ENERGY])
    calibration = fit.calibrate(sums)
    told = {p.name: p.pinned for p in recipe.phases if p.pinned}
    pure = PureSpectra(
        sums, fit.fit(sums, calibration), lambda one: fit.fit(one, calibration), told,
        fit.elements.all,
    )  # fmt: skip
    made = Measured(
        masks, sums, sources, pure=pure.make(sources), pinned=pure.pinned, notes=pure.notes
    )
    if made.pure.sizes[PHASE]:
        say("lines of the phases: families and background fitted")
        made.lines = _lines_of_phases(made, spectra, fit, calibration)
        say("the same from all pixels")
        _refine(made, image, found, fit, calibration, recipe.seed)
    return made


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
        return sum_spectra(image, _with_tiles(found.segmentation, chosen, references)).compute()
    first, second = split_counts(image, seed=recipe.seed)
    parts = []
    for choosing, measuring in ((first, second), (second, first)):
        scores = scores_of(choosing, found.factors, found.free)
        segmentation = find_presence(image, found.factors.assign(scores=scores), recipe)
        masks = _with_tiles(segmentation, chosen, references)
        parts.append(sum_spectra(measuring, masks).compute())
    one, other = xr.align(*parts, join="outer", fill_value=0)
    added = one[["counts", "variance"]] + other[["counts", "variance"]]
    # a pixel of a half holds half the counts of one
    pixels = (one.n_pixels + other.n_pixels) / 2
    return added.assign(n_pixels=pixels).assign_attrs(parts[0].attrs)


def _with_tiles(
    segmentation: xr.Dataset, chosen: Mapping[str, tuple[str, ...]], references: Collection[str]
) -> xr.DataArray:
    """Return the masks of regions, then the tiles of references, called ``name@2,0``."""
    masks = region_masks(segmentation, chosen)
    parts = [masks]
    for name in references:
        one = masks.sel({PHASE: name}, drop=True)
        if bool(one.any()):
            tiles = mk.tiles(one)
            parts.append(tiles.assign_coords({PHASE: [f"{name}@{t}" for t in tiles[PHASE].values]}))
    return xr.concat(parts, dim=PHASE)


def _lines_of_phases(
    made: Measured, spectra: xr.Dataset, fit: LineFit, calibration: Calibration
) -> xr.Dataset:
    """Return the lines of the pure spectra with all their errors."""
    lines = _with_common(fit.fit(made.pure, calibration), made.pure)
    made.notes += lines.attrs["warnings"]
    made.notes += said.not_detected(lines)
    tiles = {}
    for name in {s.reference for s in made.sources if s.phase in made.pinned}:
        own = [p for p in spectra[PHASE].values.tolist() if p.startswith(f"{name}@")]
        part = spectra.sel({PHASE: own})
        part = part.sel({PHASE: (part.counts.sum(ENERGY) >= LEAST_TILE_COUNTS).values})
        if part.sizes[PHASE] > 1:
            tiles[name] = fit.fit(part, calibration)
    lines = variation.with_reference_variation(
        lines, made.pure, made.sources, made.pinned, tiles, made.masks
    )
    refits = [
        fit.fit(made.pure, fit.calibrate(made.spectra, other), other) for other in fit.others or ()
    ]
    if refits:
        return with_model_variation(lines, refits)
    return lines.assign(model_variance=xr.zeros_like(lines.variance))


def _with_common(lines: xr.Dataset, pure: xr.Dataset) -> xr.Dataset:
    return add_common_errors(lines, pure) if "scale_slope" in pure else lines


def _refine(
    made: Measured, image: xr.DataArray, found: Found, fit: LineFit, calibration: Calibration,
    seed: int,
) -> None:  # fmt: skip
    """Add the spectra and lines of all pixels, or say why they cannot be had."""
    lines = made.lines
    missing = set(found.segmentation[PHASE].values.tolist()) - set(made.pure[PHASE].values.tolist())
    if lines is None or missing or made.pure.sizes[PHASE] < 2:
        if missing:
            made.notes.append(
                f"spectra of all pixels: not had, {', '.join(sorted(missing))} has none to start by"
            )
        return
    try:
        made.refined = refine_spectra(image, made.pure, seed=seed)
    except EdsError as error:
        made.notes.append(f"spectra of all pixels: not had, {error}")
        return
    # as if nothing were assumed, to see whether all pixels agree
    free = variation.lines_of_all_pixels(
        made.refined, fit.fit(made.refined.drop_vars("pinned", errors="ignore"), calibration),
        made.pure, lines,
    )  # fmt: skip
    if "assumed" in lines:
        made.notes += said.contradicted(free, lines.assumed)
        free = zero_where_assumed(free.assign(assumed=lines.assumed))
    made.refined_lines = free
