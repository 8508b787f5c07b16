"""Results as tables: rows of numbers, text with errors in brackets, CSV files."""

from __future__ import annotations

import csv
import os
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import check_confidence
from eds_xr.atomic_write import written_file
from eds_xr.chunks import computed
from eds_xr.cluster.supervision import computes
from eds_xr.composition.fractions import systematic_deviation
from eds_xr.composition.uncertainty import marks
from eds_xr.composition.uncertainty.limits import as_text, limits_of
from eds_xr.composition.uncertainty.quantities import (
    PERCENT,
    chosen_quantity,
    deviation,
    quantities,
    units_of,
)
from eds_xr.csv_text import plain_text
from eds_xr.report.budget_table import budget_table, is_budget
from eds_xr.report.foot import foot
from eds_xr.schema import ASSUMED, DOUBT, texts_of

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

#: What may be too small to be seen, and has an upper limit.
AMOUNTS = (
    "net", "atomic_fraction", "weight_fraction", "atoms_per_area", "cations",
    "partition_coefficient",
)  # fmt: skip


@computes
def to_table(dataset: xr.Dataset, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return a result as a table, a row for each phase and line, element or channel.

    Computes: the Dataset.

    Parameters
    ----------
    dataset : Dataset
        Spectra, lines, composition, oxides, formula, partition coefficients, compared regions;
        a budget, whose shares are in per cent.
    confidence : float
        One-sided, of the upper limits.

    Returns
    -------
    pandas.DataFrame
        Columns are named ``net [counts]``. Every quantity is followed by its standard deviations,
        ``_sd`` (statistical) and ``_systematic_sd``, and, for amounts of elements, by
        ``_detected`` and ``_upper_limit``, as :func:`eds_xr.upper_limits` has them; then
        all else of the same dimensions (an empty text, as of no doubt, is missing). What has
        others (covariances) is left out.

    Raises
    ------
    EdsError
        For a Dataset in which nothing has a variance.
    """
    check_confidence(confidence)
    if is_budget(dataset):
        return budget_table(dataset)
    first = chosen_quantity(dataset, None)
    dims = dataset[first].dims
    if not dims:  # one number: a table of one row
        dataset, dims = dataset.expand_dims("row"), ("row",)
    columns = _columns(dataset.compute(), dims, confidence)
    table = xr.Dataset(columns).to_dataframe(dim_order=list(dims)).reset_index()
    keys = [c for c in table.columns if c not in columns]
    found = table[[*(k for k in keys if k != "row"), *columns]]
    units = {c: units_of(columns[c] if c in columns else dataset[c]) for c in found.columns}
    return found.rename(columns={c: f"{c} [{u}]" for c, u in units.items() if u not in ("1", "")})


@computes
def to_text(
    dataset: xr.Dataset, quantity: str | None = None, *, confidence: float = 0.95
) -> xr.DataArray:
    """Return a quantity as text: ``13.4(2)``, the error in brackets; ``< 0.1`` where undetected.

    Computes: the Dataset.

    Parameters
    ----------
    dataset : Dataset
        Lines, composition, oxides, formula or partition coefficients; of a budget, what it says.
    quantity : str, optional
        The first by default. Fractions are in per cent, as the attribute ``units`` says.
    confidence : float
        One-sided, of the upper limits.

    Returns
    -------
    DataArray of str
        With the dimensions of the quantity. Signs, as of footnotes, follow numbers that are not
        to be believed; what is assumed is ``0 (assumed)``. The attribute ``notes`` says what
        each sign means, and which elements were left out; ``foot`` what the brackets hold, what
        they do not, and what is assumed.

    Raises
    ------
    EdsError
        For a quantity that has no variance.
    """
    check_confidence(confidence)
    if is_budget(dataset):
        return dataset["text"].assign_attrs(long_name="budget", units="1", notes=[], foot=[])
    name = chosen_quantity(dataset, quantity)
    scale, units = (100.0, PERCENT[name]) if name in PERCENT else (1.0, units_of(dataset[name]))
    text = as_text(computed(dataset), name, confidence, scale)
    long_name = str(dataset[name].attrs.get("long_name", name))
    about = {"long_name": long_name, "units": units, "confidence": confidence}
    return text.assign_attrs(about | {"foot": foot(dataset, name)})


@computes
def write_csv(
    dataset: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    confidence: float = 0.95,
    overwrite: bool = False,
) -> Path:
    """Write the table of a result to a CSV file, with units and history.

    Computes: the Dataset. The file appears whole or not at all. ``pandas.read_csv(path,
    comment="#")`` gives :func:`to_table` again; but a name that a spreadsheet would take for a
    formula (it begins with ``=``, ``+``, ``-``, ``@``, a tab or a return, and is no number) gets an
    apostrophe in front.

    Parameters
    ----------
    dataset : Dataset
        As for :func:`to_table`. Covariances are not in the table: keep them with
        ``dataset.to_netcdf``.
    path : str or path
    confidence : float
        One-sided, of the upper limits.
    overwrite : bool
        Replace what is there.

    Returns
    -------
    Path

    Raises
    ------
    EdsError
        When there is such a file already, when it cannot be written, or when nothing in the
        Dataset has a variance.
    """
    table = to_table(dataset, confidence=confidence)
    target = Path(path)
    with written_file(target, overwrite=overwrite) as partial:
        save_table(table, partial, _comments(dataset, confidence))
    return target


def save_table(table: pd.DataFrame, path: Path, comments: Iterable[str] = ()) -> None:
    """Write a table to a CSV file in which nothing is taken for a formula, comments first."""
    table = table.map(lambda cell: plain_text(cell) if isinstance(cell, str) else cell)
    table = table.rename(columns=plain_text)
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(f"# {line}\n" for line in comments)
        # quoted, a # in a name is no comment
        table.to_csv(stream, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def _columns(
    dataset: xr.Dataset, dims: tuple[Hashable, ...], confidence: float
) -> dict[str, xr.DataArray]:
    """Return the columns in their order: quantities with what belongs to them, then the rest."""
    columns = {str(n): c for n, c in dataset.coords.items() if n not in dims and _fits(c, dims)}
    for name in quantities(dataset):
        if _fits(dataset[name], dims):
            columns |= _with_errors(dataset, name, confidence)
    for name, values in _rest(dataset).items():
        if _fits(values, dims):
            columns.setdefault(name, values)
    return {n: c.drop_vars([v for v in c.coords if v not in c.dims]) for n, c in columns.items()}


def _with_errors(dataset: xr.Dataset, name: str, confidence: float) -> dict[str, xr.DataArray]:
    values, systematic = dataset[name], systematic_deviation(dataset, name)
    measured = ~marks.mark_of(dataset, ASSUMED, values)
    found = {name: values, f"{name}_sd": deviation(dataset, name).where(measured)}
    if systematic is not None:
        spread = systematic.where(measured)
        found[f"{name}_systematic_sd"] = spread.assign_attrs(units=units_of(values))
    if name in AMOUNTS:
        limits = limits_of(dataset, name, confidence)
        found |= {f"{name}_{n}": limits[n] for n in ("detected", "upper_limit")}
    return found


def _rest(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return all variables; intervals of several coverages as one each, variances as roots."""
    found = {}
    for name, values in dataset.data_vars.items():
        if "coverage" in values.dims:
            for share in dataset["coverage"].values:
                found[f"{name}_{100 * share:g}"] = values.sel(coverage=share, drop=True)
        elif str(name).endswith("_variance"):
            spread = values.clip(min=0) ** 0.5
            units = units_of(values).removesuffix("^2")
            found[f"{str(name).removesuffix('variance')}sd"] = spread.assign_attrs(units=units)
        elif values.dtype.kind in "UOT":  # no text is a missing value, as a CSV file has it
            found[str(name)] = values.astype(object).where(values != "")
        elif name != "variance":
            found[str(name)] = values
    return found


def _fits(values: xr.DataArray, dims: tuple[Hashable, ...]) -> bool:
    return set(values.dims) <= set(dims)


def _comments(dataset: xr.Dataset, confidence: float) -> list[str]:
    """Return what the file is, for those who find it without its Dataset."""
    names = [n for n in quantities(dataset) if dataset[n].attrs.get("long_name")]
    lines = [
        f"eds_xr {provenance.package_version()}",
        *(f"{n}: {dataset[n].attrs['long_name']}" for n in names),
        "_sd: one standard deviation, statistical (in brackets); _systematic_sd: apart",
        f"_upper_limit: one-sided, {100 * confidence:g} % confidence; "
        "_detected: above the critical level",
    ]
    if DOUBT in dataset:
        lines.append("doubt: why a number is not to be believed; empty where it is")
    if ASSUMED in dataset:
        lines.append("assumed: zero by the choice of a subtraction's scale, not measured")
    lines += marks.left_out_note(dataset.attrs)
    lines += [] if is_budget(dataset) else foot(dataset, chosen_quantity(dataset, None))
    warned = [f"warning: {w}" for w in texts_of(dataset.attrs, "warnings")]
    steps = [f"history: {line}" for line in texts_of(dataset.attrs, "history")]
    return [plain_text(" ".join(line.split())) for line in [*lines, *warned, *steps]]
