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

from eds_xr import masks as mk
from eds_xr._parts.deep_mantle import which_phases
from eds_xr._parts.study_notes import not_detected, too_noisy
from eds_xr.chunks import computed
from eds_xr.line_errors import add_variance, variation, with_model_variation
from eds_xr.line_fit import (
    FIT_RANGE_KEV,
    Calibration,
    MissingLineWarning,
    calibrate,
    fit_lines,
)
from eds_xr.maps import element_map
from eds_xr.mixing import move_shares, remove_baseline
from eds_xr.nmf import nmf
from eds_xr.progress import progress
from eds_xr.provenance import with_step
from eds_xr.quantify import quantify
from eds_xr.rank import suggest_rank
from eds_xr.schema import (
    COMPONENT,
    ENERGY,
    PHASE,
    EdsError,
    check_energy_in_kev,
    check_spectrum_image,
    spatial_dims,
)
from eds_xr.segment import segment
from eds_xr.spectra import SubtractionWarning, add_common_errors, subtract_phase, sum_spectra
from eds_xr.unmix import refine_spectra
from eds_xr.xray_lines import line_windows_kev

MATRIX, GRAINS = "Brg", ("Fp", "Ca-Pv")
PHASES = (MATRIX, *GRAINS)
ELEMENTS = ("Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Lu", "Hf", "U")
#: Lines that the sample does not emit, or not from the phases studied: grid, ion beam, pole piece.
STRAY = ("Na", "Cl", "Co", "Cu", "Ga", "Pt")
#: Where pixels are chosen; the L lines of the rare earths and of Hf lie above [keV].
MASK_RANGE_KEV = (0.3, 4.4)
#: The trace lines below: their windows are left out of the choice.
TRACE_LINES_IN_RANGE = ("U_Ma", "U_Mb")
#: The line of the matrix that its grains lack; it gives the matrix's share in a mixture.
PINNED = {"Fp": "Si_Ka", "Ca-Pv": "Mg_Ka"}
#: A grain stands this many standard deviations above the pure matrix ...
GRAIN_SIGMA = 8.0
#: ... and this is enough of the other grain to keep a pixel out of a mixture.
TRACE_SIGMA = 3.0
SMALLEST_GRAIN_PIXELS = 12
#: Ranges that are as good as the fit's own; they move the knots of the background [keV].
OTHER_RANGES_KEV = ((0.6, 12.5), (0.8, 12.5), (1.0, 12.5), (0.7, 11.5))
RECTANGLE_PIXELS = 30


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
    notes += not_detected(lines, PINNED)
    varied = _fit(sums.sel({PHASE: tiles[PHASE]}), calibration)
    lines = with_matrix_variation(lines, pure, varied, masks)
    refits = [_fit(pure, calibration, other) for other in OTHER_RANGES_KEV]
    lines = with_model_variation(lines, refits)
    say("unmixing: the spectra of the phases from all pixels")
    unmixed = refine_spectra(image, pure, seed=seed)
    unmixed_lines = lines_of_all_pixels(unmixed, _fit(unmixed, calibration), pure, lines)
    return Study(
        image, total, rank, factors, rotated, segmentation, masks, spectra, pure, lines, regions,
        quantify(lines), unmixed, unmixed_lines, quantify(unmixed_lines), correlation, seed, notes,
    )  # fmt: skip


def choosing_channels(image: xr.DataArray) -> xr.DataArray:
    """Return the part of the spectra on which pixels may be chosen: other channels are quantified.

    Lazy. Channels in :data:`MASK_RANGE_KEV`; those of trace lines in it are set to zero.
    """
    part = image.sel({ENERGY: slice(*MASK_RANGE_KEV)})
    energy = part[ENERGY]
    free = xr.ones_like(energy, dtype=bool)
    for line in TRACE_LINES_IN_RANGE:
        low, high = line_windows_kev(line)[0]
        free &= (energy < low) | (energy > high)
    return part.where(free, 0).assign_attrs(
        with_step(image.attrs, "choosing_channels", range_kev=MASK_RANGE_KEV)
    )


def factorise(image: xr.DataArray, *, seed: int = 0) -> xr.Dataset:
    """Factorise into the three phases and name them by their lines; scores are computed.

    Without a choice among mixtures: :func:`rotate` takes the baselines out, phase by phase.
    """
    with progress("NMF"):
        factors = nmf(image, len(PHASES), mixing="free", seed=seed, tol=1e-5)
    factors = factors.assign_coords({COMPONENT: which_phases(factors.loadings, PHASES)})
    factors = factors.sel({COMPONENT: list(PHASES)})
    with progress("scores"):
        return factors.assign(scores=computed(factors.scores))


def rotate(factors: xr.Dataset) -> xr.Dataset:
    """Take the baselines out of the scores: of the matrix, then of each grain in the other.

    First the matrix, in the pixels that are confidently pure. Then, in grains of Ca-Pv, the
    commonest ratio of the Fp score to the Ca-Pv score belongs to Ca-Pv alone (its loading holds
    too little of the matrix's Mg), and the other way round; more than that is overlap.
    """
    painted = mk.confident_pixels(factors.scores, matrix=MATRIX)
    core = painted == PHASES.index(MATRIX) + 1
    rotated = remove_baseline(factors, MATRIX, core)
    residual = rotated.attrs["rotation_residual"]
    above = mk.significance(rotated.scores, core)
    for grain, other in (GRAINS, GRAINS[::-1]):
        inside = above.sel({COMPONENT: grain}) > 2 * GRAIN_SIGMA
        if int(inside.sum()) >= SMALLEST_GRAIN_PIXELS:
            ratio = mk.commonest_ratio(rotated.scores, grain, inside)
            shares = ratio.where(ratio[COMPONENT] == other, 0.0)
            rotated = move_shares(rotated, grain, shares)
            residual = max(residual, rotated.attrs["rotation_residual"])
    rotated.attrs["rotation_residual"] = residual
    return rotated


def find_masks(rotated: xr.Dataset, segmentation: xr.Dataset) -> xr.DataArray:
    """Return all masks of the study, ``[phase, y, x; bool]``; see :class:`Study`."""
    brg = mk.from_labels(segmentation.label).sel({PHASE: MATRIX}, drop=True)
    if not bool(brg.any()):
        raise EdsError(f"no pixel of pure {MATRIX} was found: nothing to subtract")
    above = mk.significance(rotated.scores, brg)
    binary = {g: mk.remove_small(above.sel({COMPONENT: g}, drop=True) > GRAIN_SIGMA,
                                 min_pixels=SMALLEST_GRAIN_PIXELS) for g in GRAINS}  # fmt: skip
    traces = {g: (above.sel({COMPONENT: g}, drop=True) > TRACE_SIGMA) | binary[g] for g in GRAINS}
    found = {
        MATRIX: brg & ~binary["Fp"] & ~binary["Ca-Pv"],
        **binary,
        "intersection": mk.overlap(*binary.values()),
        "Fp+Brg": mk.exclude(binary["Fp"], traces["Ca-Pv"]),
        "Ca-Pv+Brg": mk.exclude(binary["Ca-Pv"], traces["Fp"]),
    }
    found["rectangle"] = mk.inner_square(found[MATRIX], pixels=RECTANGLE_PIXELS)
    names = xr.DataArray(list(found), dims=PHASE, name=PHASE)
    return xr.concat(found.values(), dim=names, coords="minimal", compat="override").rename("mask")


def pure_spectra(spectra: xr.Dataset, notes: list[str]) -> xr.Dataset:
    """Return the spectra of the phases, the grains after subtraction ``[phase, energy]``."""
    matrix = spectra.sel({PHASE: MATRIX}, drop=True)
    parts = [matrix.assign(scale=0.0, scale_variance=0.0)]
    for grain in GRAINS:
        mixture = spectra.sel({PHASE: f"{grain}+{MATRIX}"}, drop=True)
        if int(mixture.n_pixels) == 0:
            raise EdsError(
                "; ".join([f"no pixel of {grain} over {MATRIX} alone was found", *notes])
            )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SubtractionWarning)
            rest = subtract_phase(
                mixture, matrix, scale=PINNED[grain], elements=[*ELEMENTS, *STRAY]
            )
        notes += [f"pure {grain}: {w.message}" for w in caught]
        notes += too_noisy(grain, rest)
        parts.append(rest)
    names = xr.DataArray(list(PHASES), dims=PHASE, name=PHASE)
    attrs = with_step(spectra.attrs, "subtract_phase", pinned=PINNED)
    return xr.concat(parts, dim=names, combine_attrs="drop").assign_attrs(attrs)


def with_matrix_variation(
    lines: xr.Dataset, pure: xr.Dataset, tiles: xr.Dataset, masks: xr.DataArray
) -> xr.Dataset:
    """Add to the errors what the matrix varies from place to place.

    The matrix above and below a grain is not the average matrix. Ratios to the pinned line vary
    between tiles of its mask beyond chance, by a variance ``t`` a tile; the mean over a mask that
    spans ``k`` tiles by ``t / k``. That is an error of the matrix, as a phase, and what was
    subtracted carries it, for mixture and matrix.

    Returns
    -------
    Dataset
        As `lines`, ``variance`` and ``covariance`` with the addition, which ``matrix_variance``
        [phase, line] shows on its own.
    """
    matrix = lines.net.sel({PHASE: MATRIX})
    between = {line: variation(tiles, per=line).variance for line in PINNED.values()}
    used = [MATRIX, *(f"{grain}+{MATRIX}" for grain in GRAINS)]
    a_tile = {name: 1 / _tiles_spanned(masks.sel({PHASE: name})) for name in used}
    added = xr.zeros_like(lines.variance)
    base = PINNED[GRAINS[0]]
    added.loc[{PHASE: MATRIX}] = float(matrix.sel(line=base)) ** 2 * between[base] * a_tile[MATRIX]
    for grain in GRAINS:
        pixels = pure.n_pixels.sel({PHASE: [grain, MATRIX]}).values
        share = float(pure.scale.sel({PHASE: grain})) * pixels[0] / pixels[1]
        taken = share * float(matrix.sel(line=PINNED[grain]))
        spans = a_tile[f"{grain}+{MATRIX}"] + a_tile[MATRIX]
        added.loc[{PHASE: grain}] = taken**2 * between[PINNED[grain]] * spans
    attrs = {"long_name": "variance due to the matrix", "units": "counts^2"}
    return add_variance(lines, added).assign(matrix_variance=added.assign_attrs(attrs))


def lines_of_all_pixels(
    unmixed: xr.Dataset, fitted: xr.Dataset, pure: xr.Dataset, lines: xr.Dataset
) -> xr.Dataset:
    """Add to the errors of the unmixed spectra's lines what is beyond counting.

    What the phases share, and, relative to their counts, what matrix and model add to the errors
    of the pure spectra's `lines`. (The whole map spans more of the matrix than the masks do.)
    """
    size = unmixed.counts.sum(ENERGY) / pure.counts.sum(ENERGY)
    beyond = (lines.matrix_variance + lines.model_variance) * size**2
    return add_variance(add_common_errors(fitted, unmixed), beyond)


def _tiles_spanned(mask: xr.DataArray) -> float:
    """Return over how many tiles a mask is spread, evenly filled ones counting fully."""
    sizes = mk.tiles(mask, min_share=0).sum(spatial_dims(mask)).values.astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


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
