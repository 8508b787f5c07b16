"""Uncertainty budgets as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from eds_xr.composition.uncertainty.quantities import PERCENT, units_of

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

#: Standard deviations of a budget, in the order of its columns.
DEVIATIONS = ("total", "statistical", "systematic")


def is_budget(dataset: xr.Dataset) -> bool:
    """Return whether a Dataset is one of :func:`eds_xr.budget`."""
    return isinstance(dataset, xr.Dataset) and {"share", "total_after"} <= set(dataset)


def budget_table(found: xr.Dataset) -> pd.DataFrame:
    """Return a budget, a row a number: value, deviations, shares of effects, what lowers it most.

    Computes: the Dataset. Fractions in per cent.
    """
    name = str(found.attrs.get("quantity", ""))
    scale, units = (100.0, PERCENT[name]) if name in PERCENT else (1.0, units_of(found["value"]))
    end = "" if units in ("1", "") else f" [{units}]"
    columns = {f"value{end}": scale * found["value"]}
    columns |= {f"{n}{end}": scale * found[n] for n in DEVIATIONS}
    columns |= {
        f"{effect.replace('_', ' ')} [% of variance]": 100 * found["share"].sel(effect=effect)
        for effect in found["effect"].values.tolist()
    }
    columns |= {
        "best measurement": found["best"],
        f"total after it{end}": scale * found["best_total"],
    }
    made = xr.Dataset(
        {n: v.drop_vars([c for c in v.coords if c not in v.dims]) for n, v in columns.items()}
    )
    dims = list(found["value"].dims)
    if not dims:
        made, dims = made.expand_dims("row"), ["row"]
    table = made.to_dataframe(dim_order=dims).reset_index()
    return table.drop(columns="row", errors="ignore")
