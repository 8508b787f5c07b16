"""Errors of a result by what they are due to: covariances of all effects, statistical or not.

``effect_covariance`` has the effects of net counts (counting, calibration, ...: the statistical
covariance) and those of ``error_effect`` (k_factor, absorption, ...: the systematic one). They are
independent, so that they sum to the total (JCGM 100:2008, 5.1.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import xarray as xr

EFFECT, ERROR, ERROR_EFFECT = "effect", "error", "error_effect"
#: Over the lines whose factors have the errors.
FACTOR_LINE = "factor_line"
#: The effect of errors of net counts that nothing tells apart.
COUNTING = "counting"


def of_systematic(by_error: xr.DataArray, dim: str | None) -> xr.DataArray:
    """Return the covariance of each systematic effect [effect, ..., dim, dim_other].

    Parameters
    ----------
    by_error : DataArray [..., dim, error]
        What one standard deviation of each error does, with the coordinate ``error_effect``.
    dim : str or None
        Over which numbers lie; None for single numbers, which have variances.
    """
    of_error = by_error[ERROR_EFFECT].values.tolist()
    bare = by_error.drop_vars(
        [n for n, c in by_error.coords.items() if n != dim and ERROR in c.dims]
    )
    other = bare.rename({dim: f"{dim}_other"}) if dim else bare
    parts = []
    for effect in dict.fromkeys(of_error):
        chosen = {ERROR: [e == effect for e in of_error]}
        made = xr.dot(bare.isel(chosen), other.isel(chosen), dim=ERROR)
        parts.append(made.expand_dims({EFFECT: [effect]}))
    return xr.concat(parts, EFFECT)


def with_systematic(
    statistical: xr.DataArray, by_error: xr.DataArray, dim: str | None
) -> xr.DataArray:
    """Return (co)variances of statistical effects, and then those of systematic ones.

    Parameters
    ----------
    statistical : DataArray [effect, ..., dim, dim_other]
    by_error : DataArray [..., dim, error]
    """
    last = (dim, f"{dim}_other") if dim else ()
    statistical = statistical.transpose(EFFECT, ..., *last)
    if not by_error.sizes[ERROR]:
        return statistical
    more = of_systematic(by_error, dim).transpose(*statistical.dims)
    more = more.drop_vars([n for n in more.coords if n != EFFECT])
    same = {n: c for n, c in statistical.coords.items() if n != EFFECT}
    joined = xr.concat([statistical, more.assign_coords(same)], EFFECT)
    return joined.assign_coords({EFFECT: joined[EFFECT].values.astype(str)})


def as_counting(covariance: xr.DataArray) -> xr.DataArray:
    """Return a covariance as that of counting, for numbers whose effects are not told apart."""
    return covariance.expand_dims({EFFECT: [COUNTING]})


#: Dimensions, values and attributes of a variable.
Described: TypeAlias = tuple[tuple[str, ...], np.ndarray, dict[str, str]]


class Parts(NamedTuple):
    """The errors of a composition's fractions as arrays, to be carried on by slopes.

    Attributes
    ----------
    effects : list of str
        Empty where effects are not told apart, as in maps.
    covariances : ndarray [effect, ..., element, element]
    by_error : ndarray [..., element, error]
    about_errors : dict
        Coordinates of ``error``, and ``factor_error``, as they stand in the composition.
    """

    effects: list[str]
    covariances: np.ndarray
    by_error: np.ndarray
    about_errors: dict[str, xr.DataArray]

    @classmethod
    def of(cls, composition: xr.Dataset, kind: str) -> Parts | None:
        """Return the parts of a composition; None where it names no errors."""
        if f"{kind}_by_error" not in composition or ERROR_EFFECT not in composition.coords:
            return None
        over = ("element", "element_other")
        by_error = composition[f"{kind}_by_error"].transpose(..., "element", ERROR).values
        named = {n: composition[n] for n in (ERROR_EFFECT, "factor_error") if n in composition}
        name = f"{kind}_effect_covariance"
        if name not in composition:
            return cls([], np.zeros((0, 1, 1)), by_error, named)
        table = composition[name].sel(element_other=composition["element"].values)
        table = table.transpose(EFFECT, ..., *over)
        return cls(table[EFFECT].values.tolist(), table.values, by_error, named)

    def carried(
        self, slope: np.ndarray, name: str, dims: Sequence[str], dim: str
    ) -> dict[str, Described]:
        """Return the variables of a result [*dims, dim] of these slopes [..., dim, element]."""
        by_error = np.asarray(slope @ self.by_error)
        about = {"long_name": f"what one standard deviation does to {name}", "units": "1"}
        found: dict[str, Described] = {f"{name}_by_error": ((*dims, dim, ERROR), by_error, about)}
        if self.effects:
            tables = np.asarray(slope @ self.covariances @ np.swapaxes(slope, -1, -2))
            about = {"long_name": f"covariance of {name} by what it is due to", "units": "1"}
            over = (EFFECT, *dims, dim, f"{dim}_other")
            found[f"{name}_effect_covariance"] = (over, tables, about)
        return found

    def named(self, result: xr.Dataset) -> xr.Dataset:
        """Return a result with the names of its errors and effects."""
        coords = {EFFECT: self.effects} if self.effects else {}
        return result.assign_coords(coords).assign(self.about_errors).set_coords(ERROR_EFFECT)


def effect_variance(result: xr.Dataset, quantity: str, variance: xr.DataArray) -> xr.DataArray:
    """Return the variance of a quantity by effect [effect, ...], systematic ones included.

    From what a result tells; else `variance`, the statistical one, is of counting.
    """
    prefix = "" if variance.name == "variance" else f"{quantity}_"
    if f"{prefix}effect_variance" in result:
        return result[f"{prefix}effect_variance"].clip(min=0)
    if f"{prefix}effect_covariance" in result:
        return _diagonal(result[f"{prefix}effect_covariance"]).clip(min=0)
    counting, by_error = as_counting(variance), result.get(f"{prefix}by_error")
    if by_error is None or ERROR_EFFECT not in by_error.coords:
        return counting
    of_error = (by_error**2).groupby(ERROR_EFFECT).sum(ERROR).rename({ERROR_EFFECT: EFFECT})
    order = list(dict.fromkeys(by_error[ERROR_EFFECT].values.tolist()))
    return xr.concat([counting, of_error.sel({EFFECT: order})], EFFECT, coords="minimal")


def _diagonal(covariance: xr.DataArray) -> xr.DataArray:
    """Return the variances of a covariance [..., name, name_other]."""
    other = next(str(d) for d in covariance.dims if str(d).endswith("_other"))
    dim = other.removesuffix("_other")
    if other in covariance.coords:  # the caller may have chosen some of them
        covariance = covariance.sel({other: covariance[dim].values})
    values = covariance.transpose(..., dim, other)
    diagonal = np.diagonal(values.values, axis1=-2, axis2=-1)
    return values.isel({other: 0}, drop=True).copy(data=diagonal)
