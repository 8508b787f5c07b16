"""The whole road, for any sample: from a spectrum image to quantified phases."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace

import xarray as xr

from eds_xr.analysis.any_sample import said
from eds_xr.analysis.any_sample.hole import check_hole, hole_of
from eds_xr.analysis.any_sample.measured import Measured, measure
from eds_xr.analysis.any_sample.phases_found import Found, find_phases
from eds_xr.analysis.any_sample.pure_spectra import LEAST_IN_LINES
from eds_xr.analysis.any_sample.tree import as_tree
from eds_xr.analysis.recipe import ElementChoice, PhaseRecipe, Recipe, read_recipe
from eds_xr.analysis.self_check.quick import self_checked
from eds_xr.cluster.supervision import computes
from eds_xr.composition.k_factors.factors import read_k_factors
from eds_xr.composition.minerals import formula
from eds_xr.composition.partition import partition_coefficients, shared_covariance
from eds_xr.composition.quantify import quantify
from eds_xr.composition.recording.thin_film import (
    beam_and_assumptions,
    needed_beam_kev,
    with_beam,
)
from eds_xr.progress import say_where_watched
from eds_xr.schema import (
    ENERGY,
    LINE,
    LIVE_TIME,
    PHASE,
    EdsError,
    check_energy_in_kev,
    check_spectrum_image,
    texts_of,
)
from eds_xr.segmentation.presence.hosts import hosts, matrix_of
from eds_xr.xray.own_detector import with_detector

_RECIPE_CURE = "[instrument] beam_energy_kev = 200 or assume_thin_film = true"
#: All lines of a phase that is quantified stand so many deviations above zero.
LEAST_SIGMA = 5.0


@computes
def analyse(
    image: xr.DataArray,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    *,
    say: Callable[[str], None] = say_where_watched,
) -> xr.DataTree:
    """Carry out the whole analysis of a spectrum image, of any sample.

    Computes: everything but the scores; reads `image` block by block, some ten times. On a
    cluster all that is as large as the image stays with the workers: save the result there.

    Elements are identified; NMF finds the phases, presence and purity are found pixel by pixel; the
    matrix is the phase in which others are embedded. Each phase's spectrum is that of its pure
    pixels where there are enough, otherwise that of a mixture less its other phase; all pixels
    together give it once more. Lines are fitted and quantified. What cannot be had is said.

    Parameters
    ----------
    image : DataArray [y, x, energy; counts]
        Energy in keV.
    recipe : Recipe or path, optional
        Choices; those left open are found by the data.
    say : callable
        Told of every step; by default they are printed on a terminal and in Jupyter.

    Returns
    -------
    DataTree
        Groups, each usable alone: ``identification``, ``scribbles`` (where phases were painted),
        ``rank``, ``factors`` (scores lazy),
        ``segmentation``, ``masks`` (regions), ``spectra`` (their sums), ``pure`` (of the phases),
        ``lines``, ``composition``, ``partition`` (against the matrix), ``formula``, ``refined``,
        ``refined_lines``, ``refined_composition`` (from all pixels), ``comparison`` of the two
        compositions, ``strangers`` (:func:`find_strangers`), ``zoning`` (:func:`zoning`) and
        ``check``, tests of what the model leaves out (:func:`check` adds what the intervals
        hold). Groups that cannot be had are missing. Attributes: ``recipe``, TOML with all
        choices, found ones too; ``warnings``, what is to be said; ``matrix``; ``hosts``.

    Raises
    ------
    EdsError
        For no spectrum image, one without counts, or a recipe that does not fit it.

    Examples
    --------
    >>> from eds_xr import simulate
    >>> tree = analyse(simulate.spectrum_image((48, 48, 1024), 200.0))      # doctest: +SKIP
    >>> tree["composition"].atomic_fraction                                 # doctest: +SKIP
    """
    tree, image, found = _carried_out(image, recipe, say)
    return self_checked(tree, image, found, say)


def analysed(
    image: xr.DataArray, recipe: Recipe, say: Callable[[str], None] = say_where_watched
) -> xr.DataTree:
    """Return an analysis that does not check itself, as for images that are drawn to check one."""
    return _carried_out(image, recipe, say)[0]


def _carried_out(
    image: xr.DataArray,
    recipe: Recipe | str | os.PathLike[str] | None,
    say: Callable[[str], None],
) -> tuple[xr.DataTree, xr.DataArray, Found]:
    """Return an analysis, the image as it was taken, and its phases."""
    check_spectrum_image(image)
    if image.attrs.get("signal_type") == "EELS":
        raise EdsError(
            "this is an EELS image, and analyse is for X-rays; nmf, segment and sum_spectra take "
            "EELS as well"
        )
    check_energy_in_kev(image)
    chosen = _given(recipe)
    if chosen.detector.given() is not None:
        image = with_detector(image, chosen.detector.given())
    # images that ride along may be large, and no step needs them
    large = [n for n, c in image.coords.items() if c.chunks is not None and n != LIVE_TIME]
    image = image.drop_vars(large)
    image = with_beam(image, chosen.instrument.beam_energy_kev)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hole = hole_of(chosen)
        check_hole(image, hole, chosen)
        found = find_phases(image, chosen, say)
        host_of, matrix = _embedding(found.segmentation, chosen)
        measured = measure(image, found, host_of, chosen, say, hole)
        say("compositions")
        groups = _groups(found) | _measured_groups(measured)
        notes = [*found.notes, *measured.notes, *_of_hole(measured)]
        composed, told = _compositions(image, measured, chosen, matrix)
    notes += told + [str(w.message) for w in caught]
    done = _completed(chosen, found, measured, host_of, matrix)
    tree = as_tree(
        groups | composed, image, chosen.to_toml(), recipe=done.to_toml(),
        warnings=list(dict.fromkeys(notes)), matrix=matrix, hosts=host_of,
    )  # fmt: skip
    return tree, image, found


def with_counts(lines: xr.Dataset, spectra: xr.Dataset, notes: list[str]) -> xr.Dataset:
    """Return the lines of the phases that have any above chance, and not a trace on a film."""
    net, sd = lines.net.sum(LINE), lines.variance.sum(LINE) ** 0.5
    share = lines.net.clip(min=0).sum(LINE) / spectra.counts.sum(ENERGY)
    seen = ((net > LEAST_SIGMA * sd) & (share > LEAST_IN_LINES)).values
    for name in lines[PHASE].values[~seen]:
        note = (
            f"{name}: no composition, lines of the sample in the range of the fits hold less than "
            f"{100 * LEAST_IN_LINES:g} % of its counts, or no more than chance"
        )
        if note not in notes:
            notes.append(note)
    if not seen.any():
        raise EdsError("no phase has a line that stands out")
    return lines.sel({PHASE: seen})


def _given(recipe: Recipe | str | os.PathLike[str] | None) -> Recipe:
    if recipe is None:
        return Recipe()
    return recipe if isinstance(recipe, Recipe) else read_recipe(recipe)


def _embedding(segmentation: xr.Dataset, recipe: Recipe) -> tuple[dict[str, str], str]:
    """Return the host of each phase, and the matrix; the recipe's, or found."""
    names = segmentation[PHASE].values.tolist()
    host_of = hosts(segmentation["present"])
    told = {p.name: p.host for p in recipe.phases if p.host is not None}
    matrix = recipe.matrix
    if matrix is not None:
        if matrix and matrix not in names:
            raise EdsError(
                f"[phases] matrix is {matrix!r}, the map's phases are {', '.join(names)}"
            )
        host_of = {n: matrix if n != matrix else "" for n in names}
    host_of |= {name: host for name, host in told.items() if name in names}
    return host_of, matrix_of(host_of, segmentation["present"]) if matrix is None else matrix


def _of_hole(measured: Measured) -> list[str]:
    """Say what the subtraction of a hole says."""
    if measured.hole is None or measured.spectra is None:
        return []
    return texts_of(measured.spectra.attrs, "warnings")


def _groups(found: Found) -> dict[str, xr.Dataset]:
    parts = {"rank": found.rank, "factors": found.factors, "segmentation": found.segmentation}
    painted = None if found.scribbles is None else found.scribbles.to_dataset(name="label")
    told = {"identification": found.identification, "kinds": found.kinds, "scribbles": painted}
    return {name: part for name, part in told.items() if part is not None} | parts


def _measured_groups(measured: Measured) -> dict[str, xr.Dataset]:
    parts = {
        "masks": None if measured.masks is None else measured.masks.to_dataset(name="mask"),
        "spectra": measured.spectra,
        "pure": measured.pure,
        "lines": measured.lines,
        "refined": measured.refined,
        "refined_lines": measured.refined_lines,
    }
    return {name: part for name, part in parts.items() if part is not None}


def _compositions(
    image: xr.DataArray, measured: Measured, recipe: Recipe, matrix: str
) -> tuple[dict[str, xr.Dataset], list[str]]:
    """Return the groups that follow from lines, and what is said where they cannot be had."""
    ways = {
        "composition": (measured.lines, measured.pure),
        "refined_composition": (measured.refined_lines, measured.refined),
    }
    if measured.lines is None:
        return {}, ["no phase has a spectrum that could be quantified"]
    try:  # one reason for all phases, not each its own
        table = factors_of_lines(recipe)
        beam, _ = beam_and_assumptions(
            image.attrs, table, assume_thin_film=recipe.instrument.assume_thin_film
        )
        if table is None:
            needed_beam_kev(beam)
    except EdsError as refusal:
        return {}, [f"{refusal}; or say so in the recipe, {_RECIPE_CURE}"]
    made: dict[str, xr.Dataset] = {}
    notes: list[str] = []
    for name, (lines, spectra) in ways.items():
        if lines is None or spectra is None:
            continue
        try:
            made[name] = quantified(with_counts(lines, spectra, notes), table, recipe)
            told = texts_of(made[name].attrs, "warnings")
            notes += [w for w in told if w not in texts_of(lines.attrs, "warnings")]
        except EdsError as error:
            notes.append(f"{name.replace('_', ' ')}: not had, {error}")
    if len(made.keys() & ways.keys()) == len(ways):
        made["comparison"] = said.compared(made["composition"], made["refined_composition"])
        notes += said.disagreements(made["comparison"])
        made |= {n: said.with_contradictions(made[n], made["comparison"]) for n in ways}
    if "composition" in made:
        made |= _partition(measured, made["composition"], matrix, notes)
        made |= _formulae(made["composition"], recipe, notes)
    return made, notes


def quantified(lines: xr.Dataset, table: xr.Dataset | None, recipe: Recipe) -> xr.Dataset:
    """Return the composition of lines as a recipe has it."""
    choice = recipe.quantification
    return quantify(
        lines, table, oxygen=choice.oxygen, valences=choice.valences,
        thickness=choice.thickness, thickness_nm=choice.thickness_nm,
        density_g_cm3=choice.density_g_cm3, assume_thin_film=recipe.instrument.assume_thin_film,
        take_off_angle_deg=recipe.instrument.take_off_angle_deg, fluorescence=choice.fluorescence,
    )  # fmt: skip


def factors_of_lines(recipe: Recipe) -> xr.Dataset | None:
    """Return the table of k-factors that a recipe names; None where they are computed."""
    name = recipe.quantification.k_factors
    return None if name is None else read_k_factors(name)


def _partition(
    measured: Measured, composition: xr.Dataset, matrix: str, notes: list[str]
) -> dict[str, xr.Dataset]:
    """Return partition coefficients of every phase against the matrix."""
    names = composition[PHASE].values.tolist()
    if matrix not in names or measured.lines is None or measured.pure is None:
        return {}
    subtracted = {s.phase for s in measured.sources if s.reference == matrix}
    parts = []
    for name in (n for n in names if n != matrix):
        between = None
        if name in subtracted & set(measured.pinned):
            one, other = (measured.pure.sel({PHASE: p}) for p in (name, matrix))
            factor = float(one.scale * one.n_pixels / other.n_pixels)
            between = shared_covariance(
                measured.lines, composition, phase=name, reference=matrix, factor=factor
            )
        try:
            parts.append(
                partition_coefficients(composition, name, reference=matrix, between=between)
            )
        except EdsError as error:
            notes.append(f"{name}: no partition coefficients, {error}")
    return {"partition": _joined(parts)} if parts else {}


def _formulae(composition: xr.Dataset, recipe: Recipe, notes: list[str]) -> dict[str, xr.Dataset]:
    """Return formulae of the phases whose oxygens the recipe names."""
    parts = []
    for phase in recipe.phases:
        if phase.oxygens is None or phase.name not in composition[PHASE].values:
            continue
        try:
            parts.append(formula(composition.sel({PHASE: phase.name}), oxygens=phase.oxygens))
        except EdsError as error:
            notes.append(f"{phase.name}: no formula, {error}")
    return {"formula": _joined(parts)} if parts else {}


def _joined(parts: list[xr.Dataset]) -> xr.Dataset:
    return xr.concat(parts, dim=PHASE, combine_attrs="override", coords="minimal", join="exact")


def _completed(
    recipe: Recipe, found: Found, measured: Measured, host_of: Mapping[str, str], matrix: str
) -> Recipe:
    """Return the recipe with what the data chose."""
    elements = found.elements
    told = {p.name: p for p in recipe.phases}
    phases = []
    for name, shares in zip(found.factors["component"].values.tolist(), found.shares, strict=True):
        if name not in host_of:
            continue
        one = told.get(name, PhaseRecipe(name))
        shown = {e: round(v, 3) for e, v in shares.items() if v >= 0.001}
        like = one.like or shown or None
        phases.append(
            replace(
                one, like=like, host=host_of[name], pinned=measured.pinned.get(name, one.pinned)
            )
        )
    return replace(
        recipe,
        elements=ElementChoice(elements.sample, elements.stray, elements.majors),
        # of components; painted phases may each be several
        number=recipe.number if found.scribbles is not None else found.factors.sizes["component"],
        matrix=None,
        phases=tuple(phases),
    )
