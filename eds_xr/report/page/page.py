"""One self-contained HTML page of an analysis: pictures, tables, warnings, and how it was made."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import xarray as xr

from eds_xr.atomic_write import written_file
from eds_xr.provenance import package_version
from eds_xr.report.page.doubts import what_the_check_says
from eds_xr.report.page.html import STYLE, block, escaped, items, picture, section, table
from eds_xr.report.page.tables import budget_lines, comparison_table, elements_table, text_tables
from eds_xr.report.pictures.canvas import COLUMN
from eds_xr.report.pictures.components import plot_components, plot_rank
from eds_xr.report.pictures.errors import plot_budget, plot_partition
from eds_xr.report.pictures.fits import plot_fit
from eds_xr.report.pictures.maps import plot_maps
from eds_xr.report.pictures.phases import plot_phases
from eds_xr.schema import COMPONENT, ENERGY, PHASE, EdsError, phase_colors, phase_names, texts_of
from eds_xr.store.opening import is_store

#: Phases of a picture, so that it fits on a page of paper.
AT_ONCE = 4
#: Groups whose tables are shown, and what each is called.
TABULATED = {
    "composition": "Composition",
    "refined_composition": "Composition from all pixels",
    "partition": "Partition coefficients",
    "formula": "Formula",
    "lines": "Net counts",
}
_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<header><h1>$title</h1><p>$told</p></header>
<main>
$body
</main>
</body>
</html>
"""
)
_PYTHON = """import eds_xr

image = eds_xr.open({store})
tree = eds_xr.analyse(image, "recipe.toml")  # the recipe above
tree.eds.write_report("report.html")
"""


def write_report(
    tree: xr.DataTree,
    path: str | os.PathLike[str],
    *,
    repeat: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an analysis as one HTML page that needs nothing else, and asks nothing of the network.

    Computes: what is drawn, scores too. The file appears whole or not at all.

    Parameters
    ----------
    tree : DataTree
        From :func:`eds_xr.analyse`, or opened again. Groups that are missing are left out.
    path : str or path
    repeat : str, optional
        What is to be typed to have it once more; default is the Python of :func:`eds_xr.analyse`.
    overwrite : bool
        Replace what is there.

    Returns
    -------
    Path

    Raises
    ------
    EdsError
        When there is such a file already, or the tree is no analysis.
    """
    if "segmentation" not in tree.children and "factors" not in tree.children:
        found = ", ".join(map(str, tree.children)) or "nothing"
        raise EdsError(f"expected the tree of eds_xr.analyse, with its groups, found {found}")
    source = str(tree.attrs.get("source", ""))
    name = source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or "Analysis"
    parts = {str(n): node.to_dataset() for n, node in tree.children.items()}
    body = "\n".join(part for part in _sections(tree, parts, repeat) if part)
    title, told = escaped(name), escaped(f"{source or 'a spectrum image'}; {_versions()}")
    text = _PAGE.substitute(title=title, style=STYLE, told=told, body=body)
    with written_file(Path(path), overwrite=overwrite) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return Path(path)


def _sections(tree: xr.DataTree, parts: dict[str, xr.Dataset], repeat: str | None) -> Iterator[str]:
    """Yield the page from top to bottom."""
    warned = texts_of(tree.attrs, "warnings")
    told = items(warned) if warned else "<p>None.</p>"
    yield section("Warnings", told, kind="warnings")
    seen = _phases(tree, parts) + _spectra(parts)
    yield section("Phases and their spectra", seen, kind="columns") if seen else ""
    yield _tables(parts)
    yield _errors(parts)
    recipe = str(tree.attrs.get("recipe", ""))
    said = "<p>All choices, found ones too. Those left open: <code>recipe.toml</code>.</p>"
    made = said + block(_chosen(recipe))
    yield section("Recipe", made, kind="columns") if recipe else ""
    if repeat is None:
        repeat = _python(str(tree.attrs.get("source", "")))
    yield section("Again", f"<p>What repeats it:</p>{block(repeat)}")


def _chosen(recipe: str) -> str:
    """Return a recipe without the choices that are left open, and tables that hold none else."""
    tables = [re.sub(r"^# \w+ =.*\n?", "", one, flags=re.M) for one in recipe.split("\n\n")]
    return "\n\n".join(one for one in tables if not re.fullmatch(r"\[\w+\]\s*", one))


def _phases(tree: xr.DataTree, parts: dict[str, xr.Dataset]) -> str:
    if "segmentation" not in parts:
        return ""
    found = parts["segmentation"]
    drawn = picture(
        partial(plot_phases, found), "Phases that are present along the beam, with their shares of "
        "the pixels; overlaps are striped in the colours of all phases of the pixel.",
    )  # fmt: skip
    matrix = str(tree.attrs.get("matrix", ""))
    said = f"<p>Matrix: {escaped(matrix)}</p>" if matrix else ""
    if "pure" in parts and "way" in parts["pure"]:
        pure = parts["pure"]
        rows = [
            [name, way, str(int(n))]
            for name, way, n in zip(
                pure[PHASE].values, pure["way"].values, _numbers(pure), strict=True
            )
        ]
        said += table(["phase", "its spectrum is that of", "pixels"], rows)
    if "probability" in found:
        shown = found["probability"].assign_attrs(units="probability")
        maps = partial(plot_maps, shown, ranges="common", width=COLUMN)
        said += picture(maps, "Probability of presence.")
    return f"{drawn}<div>{said}</div>"


def _spectra(parts: dict[str, xr.Dataset]) -> str:
    colors, made, lines = _colors(parts), "", parts.get("lines")
    if "factors" in parts:
        energies = None if lines is None else (0.0, float(lines[ENERGY].max()))
        for few in _few(parts["factors"], COMPONENT):
            made += picture(
                partial(
                    plot_components, few, lines=lines, energies=energies, colors=colors,
                    width=COLUMN,
                ),
                "Components: scores, and their spectra.",
            )  # fmt: skip
    if lines is None or "pure" not in parts:
        return made
    for name in lines[PHASE].values.tolist():
        one = parts["pure"].sel({PHASE: [name]}), lines.sel({PHASE: [name]})
        drawn = partial(plot_fit, *one, colors=colors, width=COLUMN)
        made += picture(drawn, f"{name}: fit and residual.")
    return made


def _tables(parts: dict[str, xr.Dataset]) -> str:
    shown = {n: t for n, t in TABULATED.items() if n in parts}
    made = "".join(
        f"<div><h3>{title}</h3>{text_tables(few)}</div>"
        for n, title in shown.items()
        for few in _few(parts[n], PHASE)
    )
    for few in _few(parts.get("comparison"), PHASE):
        made += f"<div><h3>Regions against all pixels</h3>{comparison_table(few)}</div>"
    made += "".join(budget_lines(few) for few in _few(parts.get("composition"), PHASE))
    return section("Results", made, kind="columns") if made else ""


def _errors(parts: dict[str, xr.Dataset]) -> str:
    colors, made = _colors(parts), ""
    name = "composition" if "composition" in parts else "lines"
    for few in _few(parts.get(name), PHASE):
        said = f"What the errors of the {name} are made of."
        made += picture(partial(plot_budget, few), said, "svg", across=True)
    if "partition" in parts:
        drawn = partial(plot_partition, parts["partition"], colors=colors, width=COLUMN)
        made += picture(drawn, "Partition coefficients.", "svg")
    if "rank" in parts:
        made += picture(partial(plot_rank, parts["rank"]), "How many components there are.", "svg")
    if "identification" in parts:
        made += f"<div><h3>Elements</h3>{elements_table(parts['identification'])}</div>"
    made += what_the_check_says(parts)
    return section("Errors, and how it was found", made, kind="columns") if made else ""


def _few(data: xr.Dataset | None, dim: str) -> Iterator[xr.Dataset]:
    """Yield a result in parts of about the same size that fit on a page of paper."""
    if data is not None and dim in data.dims:
        number = data.sizes[dim]
        size = -(-number // max(1, -(-number // AT_ONCE)))
        for i in range(0, number, size):
            yield data.isel({dim: slice(i, i + size)})


def _colors(parts: dict[str, xr.Dataset]) -> dict[str, str]:
    """Return the colours of the phases, the same in every picture."""
    label = parts.get("segmentation", xr.Dataset()).get("label")
    return {} if label is None else dict(zip(phase_names(label), phase_colors(label), strict=True))


def _python(source: str) -> str:
    """Return the Python that repeats an analysis of this file or store."""
    store = repr(source or "map.zarr")
    if source and "://" not in source and not is_store(Path(source)):
        store = f"eds_xr.convert({store})"
    return _PYTHON.format(store=store)


def _numbers(pure: xr.Dataset) -> list[Any]:
    number = pure["n_pixels"]
    return (number if PHASE in number.dims else number.broadcast_like(pure[PHASE])).values.tolist()


def _versions() -> str:
    others = ", ".join(f"{n} {version(n)}" for n in ("xarray", "dask", "numpy", "scipy"))
    python = ".".join(map(str, sys.version_info[:3]))
    return f"eds_xr {package_version()}, Python {python}, {others}"
