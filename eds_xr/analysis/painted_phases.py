"""Painted phases in an analysis: strokes from a file, and components made phases by them."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import xarray as xr

from eds_xr.analysis.phase_components import PhaseComponents, phase_components
from eds_xr.analysis.recipe import Recipe
from eds_xr.chunks import as_chunked
from eds_xr.factorisation.known_spectra.unmix import project
from eds_xr.schema import COMPONENT, ENERGY, EdsError, check_same_grid, phase_names
from eds_xr.segmentation import scribbles as files_of_scribbles
from eds_xr.segmentation.labelling.session import Session, scribbles_of
from eds_xr.segmentation.labelling.session_file import read_session
from eds_xr.segmentation.presence.of_strokes import (
    PhasesOfStrokes,
    canonical,
    phases_in,
    phases_of_strokes,
)

#: Ending of files of sessions; what strokes are called where a result keeps them.
SESSION, KEPT = ".edsx", "strokes"


def painted_of(recipe: Recipe, image: xr.DataArray) -> xr.DataArray | None:
    """Return the scribbles that a recipe names, on the grid of the image; None where it has none.

    Computes: reads the file.

    Raises
    ------
    EdsError
        When the file cannot be read, or was painted on another grid.
    """
    name = recipe.segmentation.scribbles
    if name is None:
        return None
    try:
        if Path(name).suffix.lower() == SESSION:
            return canonical(_of_session(read_session(name), image))
        return canonical(files_of_scribbles.read(name, image)).load()
    except EdsError as error:
        raise EdsError(f"[segmentation] scribbles: {error}") from error


def factors_of(
    image: xr.DataArray, recipe: Recipe, scribbles: xr.DataArray | None
) -> tuple[PhaseComponents, xr.Dataset | None]:
    """Return components, and what the painted phases make of them.

    The latter is None without scribbles; with them its components are the phases, by their names.

    Computes: NMF; anew where it finds fewer components than phases were painted.
    """
    found = phase_components(image, recipe.number or "auto", seed=recipe.seed)
    if scribbles is None:
        return found, None
    phases = phases_of_strokes(found.factors.scores, scribbles)
    if phases is None and recipe.number is None:
        number = max(len(phases_in(phase_names(scribbles))), found.factors.sizes[COMPONENT] + 1)
        found = phase_components(image, number, seed=recipe.seed)
        phases = phases_of_strokes(found.factors.scores, scribbles)
    if phases is None:
        raise EdsError(
            f"[segmentation] scribbles: {found.factors.sizes[COMPONENT]} components do not tell "
            "the painted phases apart; give more of them with [phases] number, or merge classes of "
            "the same composition"
        )
    return found, as_phases(image, found.factors, phases)


def as_phases(image: xr.DataArray, factors: xr.Dataset, phases: PhasesOfStrokes) -> xr.Dataset:
    """Return a factorisation whose components are painted phases. Lazy: the scores."""
    table = factors.loadings.transpose(COMPONENT, ENERGY).values
    named = {COMPONENT: phases.names, ENERGY: factors[ENERGY]}
    loadings = xr.DataArray(phases.composition @ table, named, (COMPONENT, ENERGY), "loadings")
    if phases.are_components:
        held = xr.DataArray(phases.components.astype(np.float32), dims=(COMPONENT, "phase_of"))
        scores = xr.dot(factors.scores.drop_vars(COMPONENT), held, dim=COMPONENT)
        scores = scores.rename(phase_of=COMPONENT).assign_coords({COMPONENT: phases.names})
    else:
        scores = project(as_chunked(image), loadings)
    attrs = {name: value for name, value in factors.attrs.items() if name != "ends_at"}
    made = xr.Dataset({"scores": scores, "loadings": loadings}, attrs=attrs)
    for name in made.data_vars:
        made[name].attrs = factors[name].attrs
    return made


def kept_beside(recipe: Recipe, folder: Path) -> str | None:
    """Copy the strokes of a recipe to a folder, and return their name there."""
    name = recipe.segmentation.scribbles
    if name is None:
        return None
    source = Path(name)
    target = folder / f"{KEPT}{source.suffix.lower()}"
    with suppress(shutil.SameFileError):
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    return target.name


def _of_session(session: Session, image: xr.DataArray) -> xr.DataArray:
    """Return the scribbles of the session's image that lies on this grid."""
    fitting, told = [], ""
    for one in session.images:
        try:
            check_same_grid(one.grid, image, f"the image, where {one.name!r} was painted,")
            fitting.append(one.name)
        except EdsError as error:
            told = f": {error}"
    stem = Path(str(image.attrs.get("source", ""))).stem
    if len(fitting) > 1 and stem:
        fitting = [name for name in fitting if Path(name).stem == stem] or fitting
    if not fitting:
        raise EdsError(f"no image of the session lies on the grid of this one{told}")
    if len(fitting) > 1:
        raise EdsError(
            f"{', '.join(map(repr, fitting))} of the session lie on the grid of this image; "
            "write a session with one of them"
        )
    return scribbles_of(session, fitting[0])
