"""Errors of a result by what they are due to: covariances of all effects, statistical or not.

``effect_covariance`` has the effects of net counts (counting, calibration, ...: the statistical
covariance) and those of ``error_effect`` (k_factor, absorption, ...: the systematic one). They are
independent, so that they sum to the total (JCGM 100:2008, 5.1.2).
"""

from __future__ import annotations

import xarray as xr

EFFECT, ERROR, ERROR_EFFECT = "effect", "error", "error_effect"
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
    bare = by_error.drop_vars([n for n in by_error.coords if n != dim])
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
    return xr.concat([statistical, more.assign_coords(same)], EFFECT)


def as_counting(covariance: xr.DataArray) -> xr.DataArray:
    """Return a covariance as that of counting, for numbers whose effects are not told apart."""
    return covariance.expand_dims({EFFECT: [COUNTING]})
