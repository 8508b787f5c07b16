"""One self-contained HTML page of an analysis: pictures, tables, warnings, and how it was made."""

from __future__ import annotations

import os
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
from eds_xr.report.page.html import STYLE, block, escaped, items, picture, section, table
from eds_xr.report.page.tables import comparison_table, elements_table, text_tables
from eds_xr.report.pictures.components import plot_components, plot_rank
from eds_xr.report.pictures.errors import plot_budget, plot_partition
from eds_xr.report.pictures.fits import plot_fit
from eds_xr.report.pictures.maps import plot_maps
from eds_xr.report.pictures.phases import plot_phases
from eds_xr.schema import COMPONENT, ENERGY, PHASE, EdsError, phase_colors, phase_names, texts_of

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

image = eds_xr.open({source})  # a vendor file: eds_xr.open(eds_xr.convert(FILE))
tree = eds_xr.analyse(image, "recipe.toml")  # the recipe above
tree.eds.write_report("report.html")
"""


def write_report(
    tree: xr.DataTree, path: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write an analysis as one HTML page that needs nothing else, and asks nothing of the network.

    Computes: what is drawn, scores too. The file appears whole or not at all.

    Parameters
    ----------
    tree : DataTree
        From :func:`eds_xr.analyse`, or opened again. Groups that are missing are left out.
    path : str or path
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
    body = "\n".join(part for part in _sections(tree, parts, source) if part)
    title, told = escaped(name), escaped(f"{source or 'a spectrum image'}; {_versions()}")
    text = _PAGE.substitute(title=title, style=STYLE, told=told, body=body)
    with written_file(Path(path), overwrite=overwrite) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return Path(path)


def _sections(tree: xr.DataTree, parts: dict[str, xr.Dataset], source: str) -> Iterator[str]:
    """Yield the page from top to bottom."""
    warned = texts_of(tree.attrs, "warnings")
    yield section("Warnings", items(warned) if warned else "<p>None.</p>", kind="warnings")
    yield _phases(tree, parts)
    yield _maps(parts)
    yield _fits(parts)
    yield _tables(parts)
    yield _errors(parts)
    yield _found(parts)
    recipe = str(tree.attrs.get("recipe", ""))
    repeat = block(_PYTHON.format(source=repr(source or "map.zarr")))
    made = "<p>All choices, found ones too: <code>recipe.toml</code>.</p>" + block(recipe)
    yield section("Recipe", made, kind="columns") if recipe else ""
    yield section("Again", f"<p>The Python that repeats it:</p>{repeat}")


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
    return section("Phases", f"{drawn}<div>{said}</div>", kind="pairs")


def _maps(parts: dict[str, xr.Dataset]) -> str:
    made = ""
    if "segmentation" in parts and "probability" in parts["segmentation"]:
        shown = parts["segmentation"]["probability"].assign_attrs(units="probability")
        made += picture(partial(plot_maps, shown, ranges="common"), "Probability of presence.")
    if "factors" in parts:
        factors, colors, lines = parts["factors"], _colors(parts), parts.get("lines")
        energies = None if lines is None else (0.0, float(lines[ENERGY].max()))
        for few in _few(factors, COMPONENT):
            made += picture(
                partial(plot_components, few, lines=lines, energies=energies, colors=colors),
                "Components: scores, and their spectra.",
            )
    return section("Presence and scores", made, kind="pairs") if made else ""


def _fits(parts: dict[str, xr.Dataset]) -> str:
    if not {"pure", "lines"} <= set(parts):
        return ""
    lines, colors = parts["lines"], _colors(parts)
    made = ""
    for name in lines[PHASE].values.tolist():
        one = parts["pure"].sel({PHASE: [name]}), lines.sel({PHASE: [name]})
        made += picture(partial(plot_fit, *one, colors=colors), f"{name}: fit and residual.")
    return section("Spectra and fits", made, kind="pairs")


def _tables(parts: dict[str, xr.Dataset]) -> str:
    shown = {n: t for n, t in TABULATED.items() if n in parts}
    made = "".join(f"<h3>{title}</h3>{text_tables(parts[n])}" for n, title in shown.items())
    if "comparison" in parts:
        made += f"<h3>Regions against all pixels</h3>{comparison_table(parts['comparison'])}"
    return section("Results", made, kind="columns") if made else ""


def _errors(parts: dict[str, xr.Dataset]) -> str:
    colors, made = _colors(parts), ""
    name = "composition" if "composition" in parts else "lines"
    for few in _few(parts.get(name), PHASE):
        said = f"What the errors of the {name} are made of."
        made += picture(partial(plot_budget, few), said, "svg")
    if "partition" in parts:
        drawn = partial(plot_partition, parts["partition"], colors=colors)
        made += picture(drawn, "Partition coefficients.", "svg")
    return section("Errors", made, kind="pairs") if made else ""


def _found(parts: dict[str, xr.Dataset]) -> str:
    made = ""
    if "identification" in parts:
        made += f"<div><h3>Elements</h3>{elements_table(parts['identification'])}</div>"
    if "rank" in parts:
        made += picture(partial(plot_rank, parts["rank"]), "How many components there are.", "svg")
    return section("How it was found", made, kind="pairs") if made else ""


def _few(data: xr.Dataset | None, dim: str) -> Iterator[xr.Dataset]:
    """Yield a result in parts that fit on a page of paper."""
    if data is not None and dim in data.dims:
        for i in range(0, data.sizes[dim], AT_ONCE):
            yield data.isel({dim: slice(i, i + AT_ONCE)})


def _colors(parts: dict[str, xr.Dataset]) -> dict[str, str]:
    """Return the colours of the phases, the same in every picture."""
    label = parts.get("segmentation", xr.Dataset()).get("label")
    return {} if label is None else dict(zip(phase_names(label), phase_colors(label), strict=True))


def _numbers(pure: xr.Dataset) -> list[Any]:
    number = pure["n_pixels"]
    return (number if PHASE in number.dims else number.broadcast_like(pure[PHASE])).values.tolist()


def _versions() -> str:
    others = ", ".join(f"{n} {version(n)}" for n in ("xarray", "dask", "numpy", "scipy"))
    python = ".".join(map(str, sys.version_info[:3]))
    return f"eds_xr {package_version()}, Python {python}, {others}"
