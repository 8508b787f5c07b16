"""Analyses of files: each written to a folder of its own; several of one sample compared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.analysis.any_sample.hole import hole_of, keep_hole
from eds_xr.analysis.painted_phases import KEPT, kept_beside
from eds_xr.analysis.recipe import Recipe, write_recipe
from eds_xr.atomic_write import written_file, written_folder
from eds_xr.composition.uncertainty.quantities import quantities
from eds_xr.places import check_free
from eds_xr.progress import progress
from eds_xr.report.page.page import write_report
from eds_xr.report.tables import save_table, to_table, write_csv
from eds_xr.schema import ELEMENT, PHASE, STRANGER, EdsError
from eds_xr.store import conversion, opening

#: The tree of all results; its recipe; what it tabulates; what was converted for it; the page.
TREE, RECIPE, TABLES, COUNTS, FACTORS, HOLE, PAGE = (
    "analysis.zarr", "recipe.toml", "tables", "counts.zarr", "k_factors.csv", "hole.zarr",
    "report.html",
)  # fmt: skip
#: Groups of the tree that are written as tables, where it has them.
TABULATED = (
    "identification", "lines", "composition", "partition", "formula", "refined_lines",
    "refined_composition", "comparison", "strangers", "zoning", "check", "coverage",
)  # fmt: skip
#: Of several maps, compositions side by side; these columns of them.
COMPARISON = "comparison.csv"
COMPARED = (
    "atomic_fraction", "atomic_fraction_sd", "atomic_fraction_upper_limit", "assumed",
)  # fmt: skip


def analyse_file(
    source: str | os.PathLike[str],
    out: Path,
    *,
    recipe: Recipe | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda message: None,
) -> Path:
    """Analyse a file and write all results to a folder of its name in `out`.

    Computes: everything. The folder appears whole or not at all.

    Parameters
    ----------
    source : path or URL
        A vendor file, which is converted, or a store.
    out : Path
    recipe : Recipe, optional
        What is chosen; all else is found by the data.
    overwrite : bool
        Replace the results of an earlier analysis.
    say : callable
        Told of every step.

    Returns
    -------
    Path
        The folder: ``analysis.zarr`` (:func:`open_analysis`), ``recipe.toml`` with all that was
        chosen or found, ``tables``, ``report.html``, a page of it all, and ``counts.zarr`` where
        a file was converted; strokes, k-factors and the spectrum of a hole that the recipe named
        are copied.

    Raises
    ------
    EdsError
        When there are such results already, or the folder holds anything else; as
        :func:`eds_xr.analyse`.
    """
    from eds_xr.analysis.analyse import analyse

    target = out / _stem(source)
    check = partial(_check_replaceable, target, overwrite=overwrite)
    check()  # before the work, too
    with written_folder(target, check) as folder:
        tree = analyse(opened(source, folder / COUNTS), recipe, say=say)
        tree.attrs["source"] = str(source) if "://" in str(source) else os.path.abspath(source)
        write_recipe(_with_files_beside(tree, folder), folder / RECIPE)
        with progress("writing the analysis"):
            stored = _with_texts(tree, object).map_over_datasets(_in_even_chunks)
            stored.to_zarr(folder / TREE, consolidated=False)
        for name in TABULATED:
            if name in tree.children:
                _write_table(tree[name].to_dataset(), folder / TABLES / f"{name}.csv")
        with progress("drawing the report"):
            write_report(open_analysis(folder), folder / PAGE)
    return target


def analyse_files(
    sources: Sequence[str | os.PathLike[str]],
    out: Path,
    *,
    recipe: Recipe | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda message: None,
) -> Iterator[tuple[str, Path | EdsError]]:
    """Analyse one file after another with the same recipe; see :func:`analyse_file`.

    Yields
    ------
    (str, Path or EdsError)
        The name of the file, and its folder; or, with several files, what is wrong with it.

    Raises
    ------
    EdsError
        When two files have one name; as :func:`analyse_file` for a single one.
    """
    names = [_stem(source) for source in sources]
    if twice := {name for name in names if names.count(name) > 1}:
        raise EdsError(
            f"two files are called {min(twice)}; analyse them in two calls with another folder each"
        )
    if len(names) > 1:
        check_free(out / COMPARISON, overwrite=overwrite)  # before the work, too
    for name, source in zip(names, sources, strict=True):
        try:
            yield name, analyse_file(source, out, recipe=recipe, overwrite=overwrite, say=say)
        except EdsError as error:
            if len(names) == 1:
                raise
            yield name, error


def opened(source: str | os.PathLike[str], converted: Path) -> xr.DataArray:
    """Open a store lazily; a vendor file is converted first, to the store `converted`."""
    if "://" not in str(source) and not opening.is_store(Path(source).expanduser()):
        source = conversion.convert(source, converted)
    return opening.open(source)


def open_analysis(result: str | os.PathLike[str]) -> xr.DataTree:
    """Open the tree that an analysis wrote: its folder, or the Zarr group.

    Lazy: what is as large as the image.

    Raises
    ------
    EdsError
        If there is none.
    """
    from eds_xr.readers.guards.zarr import guarded

    place = Path(result).expanduser()
    place = place / TREE if (place / TREE).is_dir() else place
    try:
        tree = xr.open_datatree(guarded(place), engine="zarr", chunks={}, consolidated=False)
        return _with_texts(tree, str)
    except (OSError, ValueError, KeyError) as error:
        raise EdsError(
            f"{result} holds no analysis that can be opened ({error}); make one with "
            "eds-xr analyse FILE"
        ) from error


def write_comparison(
    compositions: Mapping[str, xr.Dataset], out: Path, *, overwrite: bool = False
) -> Path:
    """Write compositions side by side to a CSV file, whole or not at all.

    Computes: the Datasets. A row for each phase and element, phases by their names; columns for
    each map: the atomic fraction, its standard deviation and upper limit, and what is assumed.

    Parameters
    ----------
    compositions : mapping of str to Dataset
        By the name of the map.
    out : Path
        A folder.
    overwrite : bool
    """
    import pandas as pd  # type: ignore[import-untyped]

    parts = []
    for name, composition in compositions.items():
        table = to_table(composition).set_index([PHASE, ELEMENT])
        kept = [c for c in table.columns if str(c).split(" [")[0] in COMPARED]
        parts.append(table[kept].add_prefix(f"{name} "))
    table = pd.concat(parts, axis=1, sort=False).rename_axis([PHASE, ELEMENT]).reset_index()
    with written_file(out / COMPARISON, overwrite=overwrite) as unfinished:
        save_table(table, unfinished)
    return out / COMPARISON


def _stem(source: str | os.PathLike[str]) -> str:
    """Return the name of a file or store without its suffix."""
    return Path(str(source).rstrip("/").rsplit("/", 1)[-1]).stem


def _write_table(part: xr.Dataset, path: Path) -> None:
    """Write a result; one without errors, such as a comparison, as its plain variables."""
    if STRANGER in part.dims:  # a row each, without their lines and their places in the image
        part = part.drop_dims([d for d in part.dims if d != STRANGER])
    if quantities(part):
        write_csv(part, path)
        return
    dims = next(iter(part.data_vars.values())).dims
    plain = part[[n for n, v in part.data_vars.items() if set(v.dims) <= {*dims}]]
    path.parent.mkdir(exist_ok=True)
    save_table(plain.to_dataframe(dim_order=list(dims)).reset_index(), path)


def _with_texts(tree: xr.DataTree, dtype: type) -> xr.DataTree:
    """Return a tree with its texts as objects, of which alone Zarr has a specification, or back."""

    def texts(part: xr.Dataset) -> xr.Dataset:
        found = {n: v for n, v in part.variables.items() if v.dtype.kind in "UOT"}
        made: dict[Any, Any] = {
            n: (v.dims, np.array(v.values.tolist(), dtype), v.attrs) for n, v in found.items()
        }
        return part.assign({n: made[n] for n in made if n in part.data_vars}).assign_coords(
            {n: made[n] for n in made if n in part.coords}
        )

    nodes = {node.path: texts(node.to_dataset(inherit=False)) for node in tree.subtree}
    return xr.DataTree.from_dict(nodes)


def _in_even_chunks(part: xr.Dataset) -> xr.Dataset:
    """Return a Dataset in chunks as Zarr has them: all of one size, but for the last.

    What a cluster's workers keep lies in tiles that differ by a pixel.
    """
    lazy = {n: v.chunksizes for n, v in part.variables.items() if v.chunks is not None}
    return part.assign(
        {n: part[n].chunk({d: sizes[0] for d, sizes in of.items()}) for n, of in lazy.items()}
    )


def _check_replaceable(target: Path, *, overwrite: bool) -> None:
    """Raise unless there is no `target`, or it may be replaced and holds an analysis, only."""
    check_free(target, overwrite=overwrite)
    if not target.exists():
        return
    found = {p.name for p in target.iterdir()} if target.is_dir() else set()
    ours = {TREE, RECIPE, TABLES, COUNTS, FACTORS, HOLE, PAGE}
    others = sorted(name for name in found - ours if not name.startswith(f"{KEPT}."))
    if others or TREE not in found:
        raise EdsError(
            f"{target} holds {', '.join(others[:3]) or 'no analysis'}, so it is never replaced; "
            "choose another folder (--out), or move that elsewhere"
        )


def _with_files_beside(tree: xr.DataTree, folder: Path) -> Recipe:
    """Return a tree's recipe with the files that it names copied, so that the folder can move."""
    recipe = Recipe.from_toml(str(tree.attrs["recipe"]), source="the recipe of the analysis")
    painted = kept_beside(recipe, folder)
    recipe = replace(recipe, segmentation=replace(recipe.segmentation, scribbles=painted))
    if (hole := hole_of(recipe)) is not None:
        keep_hole(hole, folder / HOLE)
        recipe = replace(recipe, instrument=replace(recipe.instrument, hole=HOLE))
    if recipe.quantification.k_factors is None:
        return recipe
    with suppress(shutil.SameFileError):
        shutil.copyfile(recipe.quantification.k_factors, folder / FACTORS)
    return replace(recipe, quantification=replace(recipe.quantification, k_factors=FACTORS))
