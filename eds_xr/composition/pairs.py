"""Two phases to be divided: values, errors by effect, and what both share and so cancels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.composition.fractions import OTHER, by_error, diagonal, propagated
from eds_xr.composition.uncertainty.effects import (
    COUNTING,
    EFFECT,
    ERROR,
    ERROR_EFFECT,
    of_systematic,
)
from eds_xr.composition.uncertainty.limits import ratio_interval
from eds_xr.schema import ELEMENT, EdsError

QUANTITY = "partition_coefficient"


class Pair(NamedTuple):
    """Two normal estimates to be divided, an element a place.

    Values, variances and covariance; what each systematic error does to both [element, error].
    """

    a: np.ndarray
    b: np.ndarray
    of_a: np.ndarray
    of_b: np.ndarray
    of_both: np.ndarray
    errors_of_a: np.ndarray
    errors_of_b: np.ndarray
    slopes: tuple[np.ndarray, np.ndarray]  # by the fractions of both phases [element, element]

    @property
    def value(self) -> np.ndarray:
        """The ratios; NaN where the divisor is nothing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(self.b == 0, np.nan, self.a / self.b))

    @property
    def variance(self) -> np.ndarray:
        """Statistical variance, first order."""
        spread = self.of_a - 2 * self.value * self.of_both + self.value**2 * self.of_b
        return np.asarray(np.maximum(spread, 0) / np.where(self.b == 0, np.nan, self.b) ** 2)

    @property
    def by_error(self) -> np.ndarray:
        """What one standard deviation of each systematic error does: what both share cancels."""
        b = np.where(self.b == 0, np.nan, self.b)[:, None]
        return np.asarray((self.errors_of_a - self.value[:, None] * self.errors_of_b) / b)

    @property
    def systematic_variance(self) -> np.ndarray:
        """The sum of the squares of `by_error`."""
        return np.asarray((self.by_error**2).sum(-1))

    def interval(self, sigma: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Return Fieller's interval."""
        return ratio_interval(self.a, self.b, (self.of_a, self.of_b, self.of_both), sigma)


def pair_of(
    one: xr.Dataset, other: xr.Dataset, shared: np.ndarray, per: str | None, kind: str
) -> Pair:
    """Return what is divided: fractions, or with `per` their ratios to one element."""
    parts = (one, other)
    values = [part[kind].values.astype(float) for part in parts]
    unit = np.eye(values[0].size)
    if per is None:
        ratios, slopes = values, [unit, unit]
    else:
        at = list(one[ELEMENT].values).index(per)
        ratios = [v / v[at] for v in values]
        # d(x_i / x_p) = (dx_i - ratio_i dx_p) / x_p
        slopes = [
            (unit - np.outer(r, unit[at])) / v[at] for r, v in zip(ratios, values, strict=True)
        ]
    of_a, of_b = (
        diagonal(propagated(s, table_of(p[f"{kind}_covariance"], p)))
        for s, p in zip(slopes, parts, strict=True)
    )
    of_both = np.diagonal(slopes[0] @ shared @ slopes[1].T)
    errors = [s @ by_error(p, kind) for s, p in zip(slopes, parts, strict=True)]
    both = (slopes[0], slopes[1])
    return Pair(ratios[0], ratios[1], of_a, of_b, of_both, errors[0], errors[1], both)


def by_effect(
    parts: tuple[xr.Dataset, xr.Dataset], pair: Pair, kind: str, between: np.ndarray
) -> dict[str, xr.DataArray]:
    """Return the variance of coefficients by effect, and what single errors do to them."""
    if not all(ERROR_EFFECT in part.coords for part in parts):
        return {}
    one, other = parts
    by_error = xr.DataArray(pair.by_error, dims=(ELEMENT, ERROR)).assign_coords(
        {n: one[n] for n in (ERROR, ERROR_EFFECT)}
    )
    found = {n: one[n] for n in ("factor_error",) if n in one}
    found[f"{QUANTITY}_by_error"] = by_error.assign_attrs(
        long_name="what one standard deviation does to the partition coefficient", units="1"
    )
    name = f"{kind}_effect_covariance"
    if not all(name in part for part in parts):
        return found
    systematic = set(one[ERROR_EFFECT].values.tolist())
    effects = [e for e in one[EFFECT].values.tolist() if e not in systematic]
    rows = []
    for effect in effects:
        tables = (table_of(p[name].sel({EFFECT: effect}), one) for p in parts)
        of = [diagonal(propagated(s, t)) for s, t in zip(pair.slopes, tables, strict=True)]
        shared = shared_of(one, other, kind, effect) + (between if effect == COUNTING else 0.0)
        of_both = np.diagonal(pair.slopes[0] @ shared @ pair.slopes[1].T)
        rows.append(pair._replace(of_a=of[0], of_b=of[1], of_both=of_both).variance)
    statistical = xr.DataArray(np.reshape(rows, (len(rows), -1)), dims=(EFFECT, ELEMENT))
    made = of_systematic(by_error.rename({ELEMENT: "part"}), None).rename(part=ELEMENT)
    made = xr.concat([statistical.assign_coords({EFFECT: effects}), made], EFFECT)
    about = {"long_name": "variance of the partition coefficient by what it is due to"}
    return found | {f"{QUANTITY}_effect_variance": made.assign_attrs(about, units="1")}


def table_of(covariance: xr.DataArray, part: xr.Dataset) -> np.ndarray:
    """Return a covariance in the order of the elements."""
    table = covariance.sel({OTHER: part[ELEMENT].values})
    return np.asarray(table.transpose(ELEMENT, OTHER).values)


def between_of(one: xr.Dataset, between: xr.DataArray | None) -> np.ndarray:
    """Return what the caller gives as covariance of two phases; nothing by default."""
    names = one[ELEMENT].values
    if between is None:
        return np.zeros((names.size, names.size))
    dims = tuple(getattr(between, "dims", ()))
    if set(dims) != {ELEMENT, OTHER}:
        raise EdsError(f"between must be [element, element_other], a DataArray; found {dims}")
    missing = set(names) - (set(between[ELEMENT].values) & set(between[OTHER].values))
    if missing:
        raise EdsError(f"between lacks {', '.join(sorted(missing))}")
    table = between.sel({ELEMENT: names, OTHER: names}).transpose(ELEMENT, OTHER)
    return np.asarray(table.values)


def shared_of(one: xr.Dataset, other: xr.Dataset, kind: str, effect: str = "") -> np.ndarray:
    """Return the covariance of two phases by what their lines share [element, element_other].

    Of one effect, where one is named.
    """
    name = f"{kind}_shared_error"
    if name not in one or (effect and "mode_effect" not in one[name].coords):
        return np.zeros((one.sizes[ELEMENT],) * 2)
    chosen = (one["mode_effect"] == effect).values if effect else slice(None)
    modes = (part[name].transpose("mode", ELEMENT).isel(mode=chosen) for part in (one, other))
    errors = [m.fillna(0.0).values for m in modes]
    return np.asarray(errors[0].T @ errors[1])
