"""Ratios of elements of a composition, with their errors."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any

import xarray as xr

from eds_xr.cluster.supervision import computes
from eds_xr.composition.fractions import check_composition
from eds_xr.composition.uncertainty import marks
from eds_xr.image.block_by_block import block_by_block
from eds_xr.schema import ASSUMED, DOUBT, ELEMENT, EdsError, spatial_dims

#: What a ratio needs of a composition.
_USED = ("", "_covariance", "_systematic_covariance", "_by_error", "_effect_covariance")


@computes
def ratio(composition: xr.Dataset, element: str, *, other: str) -> xr.Dataset:
    """Return the ratio of the atoms of two elements, with its variance.

    Computes: small arrays only; lazy where the composition is.

    Parameters
    ----------
    composition : Dataset over ``element``
        From :func:`quantify`.
    element, other : str

    Returns
    -------
    Dataset
        ``ratio``, ``variance`` (statistical) and ``systematic_variance`` [...], the covariance
        of the two taken into account; NaN where there is none of `other`. First order: good
        where `other` is far above its error. ``effect_variance`` [effect, ...] and ``by_error``
        [..., error], as the composition tells them apart: what both have in common cancels.

    Raises
    ------
    EdsError
        For an element that the composition lacks.
    """
    check_composition(composition)
    known = [str(e) for e in composition[ELEMENT].values]
    for name in (element, other):
        if name not in known:
            raise EdsError(f"{name} is not in the composition: {known}")
    names = [n for n in map("atomic_fraction{}".format, _USED) if n in composition]
    found: dict[Hashable, Any] = dict(
        block_by_block(
            partial(_ratio, names=(element, other)), composition[names],
            spatial_dims(composition.atomic_fraction), "ratios",
        ).data_vars
    )  # fmt: skip
    found |= {n: composition[n] for n in ("factor_error",) if n in composition}
    one, two = (composition.sel({ELEMENT: n}, drop=True) for n in (element, other))
    if DOUBT in composition:
        found[DOUBT] = marks.joined(one[DOUBT], two[DOUBT])
    if ASSUMED in composition:
        divisor = two["atomic_fraction"]
        found[ASSUMED] = one[ASSUMED] & divisor.where(divisor != 0).notnull()
    return xr.Dataset(found, attrs=composition.attrs)


def _ratio(composition: xr.Dataset, names: tuple[str, str]) -> xr.Dataset:
    """Return a ratio and its errors, of the fractions of a composition."""
    a, b = (composition.atomic_fraction.sel({ELEMENT: n}, drop=True) for n in names)
    b = b.where(b != 0)
    value = a / b
    about = {"long_name": "{} / {}, atoms".format(*names), "units": "1"}
    found = {"ratio": value.assign_attrs(about)}
    for end in ("", "systematic_"):
        if f"atomic_fraction_{end}covariance" in composition:
            text = f"{end or 'statistical_'}variance of the ratio".replace("_", " ")
            table = composition[f"atomic_fraction_{end}covariance"]
            spread = _spread(table, names, value, b)
            found[f"{end}variance"] = spread.assign_attrs(long_name=text, units="1")
    return xr.Dataset(found | _parts(composition, names, value, b))


def _parts(
    composition: xr.Dataset, names: tuple[str, str], value: xr.DataArray, b: xr.DataArray
) -> dict[str, xr.DataArray]:
    """Return what single errors do to a ratio, and its variance by effect."""
    found = {}
    if "atomic_fraction_by_error" in composition:
        of = composition.atomic_fraction_by_error
        one, two = (of.sel({ELEMENT: n}, drop=True) for n in names)
        about = {"long_name": "what one standard deviation does to the ratio", "units": "1"}
        found["by_error"] = ((one - value * two) / b).assign_attrs(about)
    if "atomic_fraction_effect_covariance" in composition:
        table = composition.atomic_fraction_effect_covariance
        about = {"long_name": "variance of the ratio by what it is due to", "units": "1"}
        found["effect_variance"] = _spread(table, names, value, b).assign_attrs(about)
    return found


def _spread(
    table: xr.DataArray, names: tuple[str, str], value: xr.DataArray, b: xr.DataArray
) -> xr.DataArray:
    """Return the variance of a / b, first order, from their covariance."""
    element, other = names
    aa, ab, bb = (
        table.sel({ELEMENT: x, "element_other": y}, drop=True)
        for x, y in ((element, element), (element, other), (other, other))
    )
    return (aa - 2 * value * ab + value**2 * bb) / b**2
