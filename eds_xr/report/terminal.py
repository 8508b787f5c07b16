"""Results printed on the terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from eds_xr.report.tables import to_text
from eds_xr.schema import ELEMENT, PHASE, spatial_dims


def print_analysis(tree: xr.DataTree) -> None:
    """Print the phases of a map, how much of it they fill, their composition, and warnings."""
    if "segmentation" in tree.children:
        found = tree["segmentation"].to_dataset()[["present", "pure"]]
        found = found.mean(spatial_dims(found)).compute()
        for phase in found[PHASE].values:
            shares = (100 * float(found[name].sel({PHASE: phase})) for name in found)
            print("  {}: in {:.3g} % of the pixels, pure in {:.3g} %".format(phase, *shares))
    for warning in tree.attrs.get("warnings", []):
        print(f"warning: {warning}")
    if "composition" in tree.children:
        print_table(tree["composition"].to_dataset(), "atomic_fraction")
    else:
        print("no composition; the warnings say why")


def print_table(composition: xr.Dataset, quantity: str) -> None:
    """Print a quantity of a composition, an element a row, a phase a column."""
    from rich.console import Console
    from rich.table import Table

    text = to_text(composition, quantity).transpose(ELEMENT, PHASE)
    title = f"{text.attrs['long_name']} ({text.attrs['units']}); in brackets one standard deviation"
    table = Table(title=title, title_style="", min_width=len(title))
    table.add_column("")
    for phase in text[PHASE].values:
        table.add_column(str(phase), justify="right")
    for row in text:
        table.add_row(str(row[ELEMENT].values), *map(str, row.values))
    Console().print(table)
    for note in [*text.attrs["notes"], *text.attrs["foot"]]:
        print(note)
    for thickness in _thicknesses(composition):
        print(thickness)


def _thicknesses(composition: xr.Dataset) -> Iterator[str]:
    """Yield the film's thickness by the charge balance, a phase a line."""
    if "mass_thickness_lower" not in composition:
        return
    named = "thickness_nm" if "thickness_nm" in composition else "mass_thickness"
    units = composition[named].attrs["units"].replace("m-2", "/ m2")
    for phase in composition[PHASE].values:
        one = composition.sel({PHASE: phase})
        best = float(one[named])
        if np.isnan(best):
            yield f"{phase}: no thickness balances the charges"
            continue
        ends = (float(one[f"{named}_{end}"].sel(coverage=0.95)) for end in ("lower", "upper"))
        low, high = (f"{end:.3g}" for end in ends)
        yield f"{phase}: thickness by the charge balance {best:.3g} {units} (95 %: {low} to {high})"
