"""The steps of the deep-mantle study: factorise, rotate, find masks, take pure spectra."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from eds_xr.analysis.deep_mantle.notes import too_noisy
from eds_xr.analysis.recipe import read_recipe
from eds_xr.chunks import computed
from eds_xr.factorisation.mixing import move_shares, remove_baseline
from eds_xr.factorisation.nmf import nmf
from eds_xr.progress import progress
from eds_xr.provenance import with_step
from eds_xr.schema import COMPONENT, ENERGY, PHASE, EdsError
from eds_xr.segmentation import confident, morphology
from eds_xr.segmentation import masks as mk
from eds_xr.spectra.subtraction import SubtractionWarning, subtract_phase
from eds_xr.xray.windows import line_windows_kev

#: The study's choices. Pixels are chosen where the L lines of the rare earths and of Hf are not.
RECIPE = read_recipe(Path(__file__).with_name("deep_mantle.toml"))
PHASES = tuple(phase.name for phase in RECIPE.phases)
MATRIX, GRAINS = PHASES[0], PHASES[1:]
ELEMENTS, STRAY = RECIPE.elements.sample or (), RECIPE.elements.stray or ()
#: The trace lines below: their windows are left out of the choice.
TRACE_LINES_IN_RANGE = ("U_Ma", "U_Mb")
#: The line of the matrix that its grains lack; it gives the matrix's share in a mixture.
PINNED = {phase.name: phase.pinned[0] for phase in RECIPE.phases if phase.pinned}
#: A grain stands this many standard deviations above the pure matrix ...
GRAIN_SIGMA = 8.0
#: ... and this is enough of the other grain to keep a pixel out of a mixture.
TRACE_SIGMA = 3.0
SMALLEST_GRAIN_PIXELS = 12
RECTANGLE_PIXELS = 30


def which_phases(loadings: xr.DataArray, phases: Sequence[str]) -> list[str]:
    """Name the components by the `phases` (matrix, Fp, Ca-Pv).

    Most Ca is Ca-Pv; of the others the higher Mg / Si is Fp.
    """
    matrix, periclase, perovskite = phases
    mg, si, ca = (window_sum(loadings, line).values for line in ("Mg_Ka", "Si_Ka", "Ca_Ka"))
    richest = int(np.argmax(ca))
    ratio = np.where(np.arange(ca.size) == richest, -1.0, mg / (mg + si))
    names = [matrix] * ca.size
    names[richest], names[int(np.argmax(ratio))] = perovskite, periclase
    return names


def window_sum(spectra: xr.DataArray, line: str) -> xr.DataArray:
    """Return the sum in the window of a line [...], background included."""
    return spectra.sel({ENERGY: slice(*line_windows_kev(line)[0])}).sum(ENERGY)


def choosing_channels(image: xr.DataArray) -> xr.DataArray:
    """Return the part of the spectra on which pixels may be chosen: other channels are quantified.

    Lazy. Channels in the recipe's range; those of trace lines in it are set to zero.
    """
    part = image.sel({ENERGY: slice(*(RECIPE.choice.range_kev or ()))})
    energy = part[ENERGY]
    free = xr.ones_like(energy, dtype=bool)
    for line in TRACE_LINES_IN_RANGE:
        low, high = line_windows_kev(line)[0]
        free &= (energy < low) | (energy > high)
    return part.where(free, 0).assign_attrs(
        with_step(image.attrs, "choosing_channels", range_kev=RECIPE.choice.range_kev)
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
    above = confident.significance(rotated.scores, core)
    for grain, other in (GRAINS, GRAINS[::-1]):
        inside = above.sel({COMPONENT: grain}) > 2 * GRAIN_SIGMA
        if int(inside.sum()) >= SMALLEST_GRAIN_PIXELS:
            ratio = confident.commonest_ratio(rotated.scores, grain, inside)
            shares = ratio.where(ratio[COMPONENT] == other, 0.0)
            rotated = move_shares(rotated, grain, shares)
            residual = max(residual, rotated.attrs["rotation_residual"])
    rotated.attrs["rotation_residual"] = residual
    return rotated


def find_masks(rotated: xr.Dataset, segmentation: xr.Dataset) -> xr.DataArray:
    """Return all masks of the study, ``[phase, y, x; bool]``; see :class:`Study`."""
    brg = only_matrix(segmentation)
    if not bool(brg.any()):
        raise EdsError(f"no pixel of pure {MATRIX} was found: nothing to subtract")
    above = confident.significance(rotated.scores, brg)
    binary = {g: morphology.remove_small(above.sel({COMPONENT: g}, drop=True) > GRAIN_SIGMA,
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


def only_matrix(segmentation: xr.Dataset) -> xr.DataArray:
    """Return where the matrix is present and nothing else ``[y, x; bool]``.

    Not ``pure``, which needs a wide margin: it takes half as many pixels of the 71 GPa map.
    """
    present = segmentation["present"]
    others = present.sel({PHASE: (present[PHASE] != MATRIX).values}).any(PHASE)
    return present.sel({PHASE: MATRIX}, drop=True) & ~others


def pure_spectra(spectra: xr.Dataset, notes: list[str]) -> xr.Dataset:
    """Return the spectra of the phases, the grains after subtraction ``[phase, energy]``."""
    matrix = spectra.sel({PHASE: MATRIX}, drop=True)
    nothing = {"scale": 0.0, "scale_variance": 0.0, "pinned": "", "pinned_in_part": ""}
    parts = [matrix.assign(nothing)]
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
