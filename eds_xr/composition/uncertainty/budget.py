"""The uncertainty budget of a result: what contributes to each number, what would lower it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.arguments import number
from eds_xr.chunks import computed
from eds_xr.cluster.supervision import computes
from eds_xr.composition.uncertainty.effects import (
    EFFECT,
    ERROR,
    ERROR_EFFECT,
    effect_variance,
)
from eds_xr.composition.uncertainty.marks import ASSUMED_TEXT, mark_of
from eds_xr.composition.uncertainty.measurements import ALL_LINES, Measurement, measurements
from eds_xr.composition.uncertainty.number_text import value_text
from eds_xr.composition.uncertainty.quantities import (
    PERCENT,
    chosen_quantity,
    units_of,
    variance_name,
)
from eds_xr.schema import ASSUMED, ELEMENT, LINE, EdsError

MEASUREMENT = "measurement"
#: Contributions of less than this share of the variance are not written out, nor more than so many.
LEAST_SHARE, MOST_NAMED = 0.05, 3
#: A measurement is worth its while if the total falls below this share of what it was; a standard
#: with all lines, which asks for more, if it falls as far below what the next best leaves.
WORTH = 0.9


@computes
def budget(
    result: xr.Dataset,
    quantity: str | None = None,
    *,
    counting_times: float = 4.0,
    standard_counts: float = 1e5,
    standard_uncertainty: float = 0.01,
) -> xr.Dataset:
    """Say what the error of each number is made of, and which measurement would lower it most.

    Computes: the result, which is small.

    Totals hold statistical and systematic errors (JCGM 100:2008, 5.1.2, as ISO 22309:2011 asks for
    of EDS). Independent errors add in squares: shares are of the variance.

    Parameters
    ----------
    result : Dataset
        A composition, oxides, formula, ratio or partition coefficients; of lines, there are
        statistical errors alone.
    quantity : str, optional
        The first by default.
    counting_times : float
        How many times longer one could count.
    standard_counts, standard_uncertainty : float
        Of a standard that could be measured: net counts of each line, and the relative standard
        uncertainty of each amount in it.

    Returns
    -------
    Dataset
        Over the dimensions of the quantity: ``value``; standard deviations ``total``,
        ``statistical`` and ``systematic``; ``deviation`` and ``share`` [effect, ...] and, of
        single systematic errors, ``error_deviation`` [error, ...]; ``total_after`` [measurement,
        ...], were that one measured: more counts, a standard with these lines (of k-factors,
        which are ratios, two or all; what it measures replaces what was known before, weighted by
        errors), what is assumed known without error. ``best`` names the measurement that lowers
        the total most, with ``best_total``; empty where none does by a tenth. ``text`` says it in
        a line a number. :func:`eds_xr.to_table` makes a table of it.

    Raises
    ------
    EdsError
        For a quantity without variance, numbers that are not positive.

    Examples
    --------
    >>> lines = xr.Dataset({"net": ("line", [9e4, 4e4]), "variance": ("line", [9e4, 4e4])},
    ...                    {"line": ["Mg_Ka", "Fe_Ka"]}, {"beam_energy_kev": 200.0})
    >>> from eds_xr import quantify
    >>> found = budget(quantify(lines), standard_counts=1e4)
    >>> float(found.total.sel(element="Fe").round(3)), found.best.item(0)
    (0.025, 'a standard with Mg_Ka and Fe_Ka')
    """
    name, result = chosen_quantity(result, quantity), computed(result)
    options = {
        what: _positive(given, what)
        for what, given in (
            ("counting_times", counting_times), ("standard_counts", standard_counts),
            ("standard_uncertainty", standard_uncertainty),
        )
    }  # fmt: skip
    values, variance = result[name], result[variance_name(result, name)]
    parts = effect_variance(result, name, variance)
    errors = _errors_of(result, name, variance, values)
    found = _totals(values, parts, errors)
    after = _after(result, parts, errors, options)
    found = found.assign(total_after=after.transpose(MEASUREMENT, *values.dims))
    best, lowest = _best(found.total, after)
    found = found.assign(best=best, best_total=lowest)
    texts = _texts(found, parts, errors, name, result.attrs)
    assumed = mark_of(result, ASSUMED, values)
    by_choice = _labels(values) + f" {ASSUMED_TEXT}"
    found = found.assign(text=texts.where(~assumed, by_choice).astype(str))
    attrs = provenance.with_step(result.attrs, "budget", quantity=name, **options)
    return _described(found, values).assign_attrs(attrs | {"quantity": name})


def _positive(given: Any, what: str) -> float:
    if not 0 < number(given, what) < np.inf:
        raise EdsError(f"{what} must be positive, found {given!r}")
    return float(given)


def _errors_of(
    result: xr.Dataset, name: str, variance: xr.DataArray, values: xr.DataArray
) -> xr.DataArray | None:
    """Return what single systematic errors do [error, ...]; None where there are none."""
    by_error = result.get("by_error" if variance.name == "variance" else f"{name}_by_error")
    if by_error is None or ERROR_EFFECT not in by_error.coords:
        return None
    return by_error.transpose(ERROR, *values.dims)


def _totals(values: xr.DataArray, parts: xr.DataArray, errors: xr.DataArray | None) -> xr.Dataset:
    """Return standard deviations: the total, its two halves, by effect, by error."""
    parts = parts.transpose(EFFECT, *values.dims)
    whole = parts.sum(EFFECT, skipna=False)
    systematic = xr.zeros_like(whole) if errors is None else (errors**2).sum(ERROR, skipna=False)
    found = {
        "value": values,
        "total": whole**0.5,
        "statistical": (whole - systematic).clip(min=0) ** 0.5,
        "systematic": systematic**0.5,
        "deviation": parts**0.5,
        "share": parts / whole.where(whole > 0),
    }
    found |= {} if errors is None else {"error_deviation": abs(errors)}
    made = xr.Dataset({n: v.drop_attrs() for n, v in found.items()})
    return made.drop_vars([n for n in made.coords if str(n).endswith("_other")])


def _after(
    result: xr.Dataset, parts: xr.DataArray, errors: xr.DataArray | None, options: dict[str, float]
) -> xr.DataArray:
    """Return the totals after each measurement [measurement, ...].

    Of standards with two lines, for each line the one is kept that lowers most in all.
    """
    systematic = [] if errors is None else list(dict.fromkeys(errors[ERROR_EFFECT].values.tolist()))
    statistical = parts.sel({EFFECT: [e for e in parts[EFFECT].values if e not in systematic]})
    found: dict[str, xr.DataArray] = {}
    pairs: dict[str, tuple[str, ...]] = {}
    for one in measurements(
        result, errors, counting_times=options["counting_times"], counts=options["standard_counts"],
        uncertainty=options["standard_uncertainty"],
    ):  # fmt: skip
        kept = [one.kept.get(e, 1.0) for e in statistical[EFFECT].values.tolist()]
        left = (statistical * xr.DataArray(kept, dims=EFFECT)).sum(EFFECT, skipna=False)
        if errors is not None:
            left = left + _systematic_after(errors, one)
        found[one.name] = left.clip(min=0) ** 0.5
        pairs |= {one.name: one.pair} if one.pair else {}
    names = _kept_standards(found, pairs, parts.sum(EFFECT) ** 0.5)
    stacked = xr.concat([found[n].reset_coords(drop=True) for n in names], MEASUREMENT)
    return stacked.assign_coords({MEASUREMENT: names})


def _systematic_after(errors: xr.DataArray, one: Measurement) -> xr.DataArray:
    """Return the systematic variance that a measurement leaves."""
    if one.covariance is None:
        return (errors**2).sum(ERROR, skipna=False)
    values = np.moveaxis(errors.values, 0, -1)
    left = np.einsum("...e,ef,...f->...", values, one.covariance, values)
    return errors.isel({ERROR: 0}, drop=True).copy(data=left)


def _kept_standards(
    found: dict[str, xr.DataArray], pairs: dict[str, tuple[str, ...]], total: xr.DataArray
) -> list[str]:
    """Return the names of measurements, of standards with two lines the best of each line."""
    lines = dict.fromkeys(line for pair in pairs.values() for line in pair)
    left = {n: float((found[n] / total.where(total > 0)).sum()) for n in pairs}
    kept = {
        min((n for n, pair in pairs.items() if line in pair), key=left.__getitem__)
        for line in lines
    }
    return [n for n in found if n not in pairs or n in kept]


def _best(total: xr.DataArray, after: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the measurement that lowers each total most, and the total then."""
    # what asks for more than two lines must be worth it
    wanted = after[MEASUREMENT] == ALL_LINES
    weighed = xr.where(wanted, after / WORTH, after).fillna(np.inf)
    place = weighed.argmin(MEASUREMENT)
    lowest = after.isel({MEASUREMENT: place}).reset_coords(drop=True)
    names = after[MEASUREMENT].isel({MEASUREMENT: place}).reset_coords(drop=True)
    return names.where(lowest < WORTH * total, "").astype(str), lowest


def _texts(
    found: xr.Dataset, parts: xr.DataArray, errors: xr.DataArray | None, name: str,
    attrs: dict[Any, Any],
) -> xr.DataArray:  # fmt: skip
    """Return a line a number: what it is made of, and what would make it better."""
    systematic = [] if errors is None else errors[ERROR_EFFECT].values.tolist()
    kept = [e not in systematic for e in parts[EFFECT].values]
    names = [str(e).replace("_", " ") for e in parts[EFFECT].values[kept]]
    variances = [parts.isel({EFFECT: kept}).rename({EFFECT: "part"})]
    if errors is not None:
        names += [_spoken(str(e), attrs) for e in errors[ERROR].values]
        variances.append((errors**2).rename({ERROR: "part"}))
    bare = [v.drop_vars([n for n, c in v.coords.items() if n not in found["value"].dims])
            for v in variances]  # fmt: skip
    scale, units = (100.0, f" {PERCENT[name]}") if name in PERCENT else (1.0, "")
    return xr.apply_ufunc(
        _line, _labels(found["value"]), scale * found["value"], scale * found["total"],
        xr.concat(bare, "part"), found["best"], scale * found["best_total"],
        kwargs={"names": names, "units": units},
        input_core_dims=[[], [], [], ["part"], [], []], vectorize=True, output_dtypes=[object],
    ).astype(str)  # fmt: skip


def _line(
    label: str, value: float, total: float, squares: np.ndarray, best: str, lowest: float, *,
    names: list[str], units: str,
) -> str:  # fmt: skip
    """Return the line of one number."""
    start = f"{label} " if label else ""
    if not total > 0:
        return f"{start}{value_text(value, 0.0)}{units}: without error"
    share = squares / squares.sum()
    order = np.argsort(-share, kind="stable")[:MOST_NAMED]
    named = [i for n, i in enumerate(order) if not n or share[i] >= LEAST_SHARE]
    told = ", ".join(f"{100 * share[i]:.0f} % {names[i]}" for i in named)
    text = f"{start}{value_text(value, total)}{units}: {told}"
    return f"{text}; {best} would make it {value_text(value, lowest)}" if best else text


def _labels(values: xr.DataArray) -> xr.DataArray:
    """Return the names of numbers: of elements, lines or oxides."""
    own = [d for d in values.dims if d in (ELEMENT, LINE, "oxide")]
    labels = values[own[0]] if own else xr.DataArray("")
    return labels.reset_coords(drop=True).astype(object)


def _spoken(error: str, attrs: dict[Any, Any]) -> str:
    """Return the name of an error, k-factors called by their name."""
    ratios = attrs.get("method") == "cliff_lorimer"
    return error.replace("factor of", "k-factor of") if ratios else error


def _described(found: xr.Dataset, values: xr.DataArray) -> xr.Dataset:
    what, units = str(values.attrs.get("long_name", values.name)), units_of(values)
    texts = {
        "value": what,
        "total": f"standard deviation of the {what}, statistical and systematic",
        "statistical": f"standard deviation of the {what}, statistical",
        "systematic": f"standard deviation of the {what}, systematic",
        "deviation": f"standard deviation of the {what} by what it is due to",
        "error_deviation": f"standard deviation of the {what} by single systematic errors",
        "total_after": "total if this were measured",
        "best": "measurement that would lower the total most",
        "best_total": "total after it",
    }
    for name, text in texts.items():
        if name in found:
            about = {"long_name": text} | ({} if name == "best" else {"units": units})
            found[name] = found[name].assign_attrs(about)
    found["share"] = found["share"].assign_attrs(long_name="share of the variance", units="1")
    return found
