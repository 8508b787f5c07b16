"""The study of an overlapping deep-mantle assemblage, from its counts to its compositions.

A matrix (bridgmanite, Brg) with grains of ferropericlase (Fp) and Ca-perovskite (Ca-Pv) that
overlap along the beam. After H. Chen et al. (EPFL): NMF locates the phases, a pixel classifier and
a graph cut find the pure matrix, its spectrum summed over the whole mask lifts trace elements out
of the noise, and subtracted from the mixtures it leaves the spectra of the grains.

Pixels are chosen on 0.3 to 4.4 keV, without the windows of trace lines that are then quantified:
chance cannot both choose a pixel and be measured in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from eds_xr.analysis.deep_mantle.matrix_errors import lines_of_all_pixels, with_matrix_variation
from eds_xr.analysis.deep_mantle.notes import contradicted, not_detected
from eds_xr.analysis.deep_mantle.steps import (
    ELEMENTS,
    MATRIX,
    PHASES,
    RECIPE,
    STRAY,
    choosing_channels,
    factorise,
    find_masks,
    pure_spectra,
    rotate,
)
from eds_xr.analysis.segment import segment
from eds_xr.composition.quantify import quantify
from eds_xr.factorisation.known_spectra.refine import refine_spectra
from eds_xr.factorisation.rank import suggest_rank
from eds_xr.image.element_maps import element_map
from eds_xr.progress import progress
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_energy_in_kev,
    check_spectrum_image,
    zero_where_assumed,
)
from eds_xr.segmentation import masks as mk
from eds_xr.spectra.common_errors import add_common_errors
from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning, calibrate, fit_lines
from eds_xr.spectra.line_fits.model_errors import with_model_variation
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.spectra.sums import sum_spectra


@dataclass
class Study:
    """What the study found; every part is labelled xarray, computed.

    Attributes
    ----------
    image : DataArray
        The spectrum image, lazy.
    total : DataArray [y, x; counts]
    rank : Dataset
        From ``suggest_rank``.
    factors, rotated : Dataset
        NMF with phases as components, as found and with the baselines taken out.
    segmentation : Dataset
        Labels and probabilities.
    masks : DataArray of bool [phase, y, x]
        ``Brg``, the binaries ``Fp`` and ``Ca-Pv``, their ``intersection``, the mixtures
        ``Fp+Brg`` and ``Ca-Pv+Brg``, and the confined ``rectangle``.
    spectra : Dataset
        Sums over the masks.
    pure : Dataset [phase, energy]
        ``Brg``, and the grains after subtraction.
    lines, regions, composition : Dataset
        Fits of the pure spectra, and of the matrix's mask and rectangle; compositions.
    unmixed, unmixed_lines, unmixed_composition : Dataset
        The phases from all pixels, those where all three overlap too: another way to the same.
    map_correlation : dict
        Score maps against the element maps.
    seed : int
    warnings : list of str
    """

    image: xr.DataArray
    total: xr.DataArray
    rank: xr.Dataset
    factors: xr.Dataset
    rotated: xr.Dataset
    segmentation: xr.Dataset
    masks: xr.DataArray
    spectra: xr.Dataset
    pure: xr.Dataset
    lines: xr.Dataset
    regions: xr.Dataset
    composition: xr.Dataset
    unmixed: xr.Dataset
    unmixed_lines: xr.Dataset
    unmixed_composition: xr.Dataset
    map_correlation: dict[str, float]
    seed: int = 0
    warnings: list[str] = field(default_factory=list)


def run(
    image: xr.DataArray, *, seed: int = 0, say: Callable[[str], None] = lambda message: None
) -> Study:
    """Carry out the study on a spectrum image of the assemblage.

    Computes: everything; the image itself is read block by block, some seven times.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
        Energy in keV, with the K lines of Mg, Si and Ca and the L lines of the rare earths.
    seed : int
    say : callable
        Told of every step.

    Returns
    -------
    Study

    Raises
    ------
    EdsError
        When the image is none, when fewer than three components stand out of its noise, when
        they are not these three phases, or when a subtraction is impossible.
    """
    check_spectrum_image(image)
    check_energy_in_kev(image)
    notes: list[str] = []
    chosen = choosing_channels(image)
    say("how many components stand out of the noise?")
    rank = _checked_rank(chosen, notes)
    say("Poisson NMF with three components")
    factors = factorise(chosen, seed=seed)
    total, correlation = _maps(image, factors)
    say("matrix and mixing: baselines out of the scores")
    rotated = rotate(factors)
    say("segmentation of the pure matrix: forest and graph cut")
    segmentation = segment(image, channels=rotated, seed=seed).compute()
    masks = find_masks(rotated, segmentation)
    tiles = mk.tiles(masks.sel({PHASE: MATRIX}, drop=True))
    say("spectra of all masks, in one pass")
    with progress("sums over masks"):
        sums = sum_spectra(image, xr.concat([masks, tiles], dim=PHASE)).compute()
    spectra = sums.sel({PHASE: masks[PHASE]})
    say("the grains: the matrix's share subtracted")
    pure = pure_spectra(spectra, notes)
    say("lines: families and background fitted; composition")
    calibration = calibrate(spectra, [*ELEMENTS, *STRAY])
    lines = add_common_errors(_fit(pure, calibration), pure)
    notes += lines.attrs["warnings"]
    regions = _fit(spectra.sel({PHASE: [MATRIX, "rectangle"]}), calibration)
    notes += not_detected(lines)
    varied = _fit(sums.sel({PHASE: tiles[PHASE]}), calibration)
    lines = with_matrix_variation(lines, pure, varied, masks)
    refits = [
        _fit(pure, calibrate(spectra, [*ELEMENTS, *STRAY], range_kev=other), other)
        for other in RECIPE.fit.other_ranges_kev or ()
    ]
    lines = with_model_variation(lines, refits)
    say("unmixing: the spectra of the phases from all pixels")
    unmixed = refine_spectra(image, pure, seed=seed)
    # as if nothing were assumed, to see whether all pixels agree
    free = lines_of_all_pixels(unmixed, _fit(unmixed.drop_vars("pinned"), calibration), pure, lines)
    notes += contradicted(free, lines.assumed)
    unmixed_lines = zero_where_assumed(free.assign(assumed=lines.assumed))
    return Study(
        image, total, rank, factors, rotated, segmentation, masks, spectra, pure, lines, regions,
        quantify(lines), unmixed, unmixed_lines, quantify(unmixed_lines), correlation, seed, notes,
    )  # fmt: skip


def _checked_rank(image: xr.DataArray, notes: list[str]) -> xr.Dataset:
    with progress("rank"):
        rank = suggest_rank(image)
    suggested = int(rank.attrs["suggested"])
    if suggested < len(PHASES):
        raise EdsError(
            f"only {suggested} of {len(PHASES)} components stand out of the counting noise: too "
            "few counts to tell the phases apart, or fewer phases; record longer, or sum pixels "
            "with da.eds.rebin"
        )
    if suggested > len(PHASES) or not rank.attrs["clear"]:
        notes.append(
            f"three components are not a clear choice: {suggested} stand out of the noise, the "
            f"last {rank.attrs['gap']:.1f} times the next"
        )
    return rank


def _maps(image: xr.DataArray, factors: xr.Dataset) -> tuple[xr.DataArray, dict[str, float]]:
    """Return the image of all counts, and how the score maps agree with element maps."""
    from dask.base import compute

    lines = {"Fp": "Mg_Ka", "Ca-Pv": "Ca_Ka"}
    found = {g: element_map(image, line, background=False) for g, line in lines.items()}
    with progress("element maps"):
        total, *maps = compute(image.sum(ENERGY), *found.values())
    total = total.astype(np.uint32).assign_attrs(long_name="counts", units="counts").rename("total")
    agreement = {
        g: _correlation(factors.scores.sel({COMPONENT: g}), m)
        for g, m in zip(found, maps, strict=True)
    }
    return total, agreement


def _correlation(score: xr.DataArray, image: xr.DataArray) -> float:
    from scipy.ndimage import uniform_filter

    smooth = [uniform_filter(m.values.astype(float), 3).ravel() for m in (score, image)]
    return float(np.corrcoef(*smooth)[0, 1])


def _fit(
    spectra: xr.Dataset,
    calibration: Calibration,
    range_kev: tuple[float, float] = FIT_RANGE_KEV,
) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingLineWarning)  # the lines' attributes tell
        return fit_lines(
            spectra, ELEMENTS, stray=STRAY, calibration=calibration, range_kev=range_kev
        )
