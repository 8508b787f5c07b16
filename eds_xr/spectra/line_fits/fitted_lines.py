"""What a Dataset of fitted lines must be, and whether two are of the same spectra."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from eds_xr.schema import ASSUMED, DOUBT, ENERGY, LINE, EdsError, zero_where_assumed

_NEEDED = {"net", "variance", "covariance"}


def check_lines(lines: xr.Dataset) -> None:
    """Raise unless there are net counts over ``line``, with variance and covariance."""
    if not isinstance(lines, xr.Dataset) or not _NEEDED <= set(lines.data_vars):
        raise EdsError(
            "expected lines from fit_lines, with their history and calibration: a Dataset with "
            f"net, variance and covariance; found {type(lines).__name__}"
        )
    check_net(lines)


def check_net(lines: xr.Dataset) -> None:
    """Raise unless there are net counts over ``line``."""
    if not isinstance(lines, xr.Dataset) or "net" not in lines:
        raise EdsError(f"expected lines from fit_lines, found {type(lines).__name__} without net")
    if LINE not in lines.net.dims or LINE not in lines.coords:
        raise EdsError(f"expected lines along 'line', found {tuple(lines.net.dims)}")


def check_same_spectra(lines: xr.Dataset, other: xr.Dataset) -> None:
    """Raise unless both have the same dimensions, sizes and names beside lines and channels."""
    values = other.net if "net" in other else other.counts
    for dim in (set(lines.net.dims) | set(values.dims)) - {LINE, ENERGY}:
        sizes = [v.sizes.get(dim, 0) for v in (lines.net, values)]
        named = dim in lines.indexes and dim in other.indexes
        if sizes[0] != sizes[1] or (named and not lines.indexes[dim].equals(other.indexes[dim])):
            raise EdsError(
                f"expected the same spectra along {dim!r}, found {sizes[0]} in the lines and "
                f"{sizes[1]}, or other names: choose the same of both"
            )


def with_assumed(lines: xr.Dataset, spectra: xr.Dataset) -> xr.Dataset:
    """Return lines with those that a subtraction was pinned to set to zero, as ``assumed``.

    The whole family is: its lines were fitted as one. A line that was pinned in part is in doubt.
    """
    pinned = _pinned(lines, spectra, "pinned")
    if pinned is None:
        return lines
    lines = zero_where_assumed(lines.assign({ASSUMED: pinned}))
    partly = _pinned(lines, spectra, "pinned_in_part")
    if partly is None or not partly.any():
        return lines
    doubt = lines.get(DOUBT, xr.full_like(partly, "", dtype=object)).astype(object)
    lowered = "pinned in part, the subtraction lowers it"
    return lines.assign({DOUBT: doubt.where(~partly | (doubt != ""), lowered).astype(str)})


def with_own_covariance(lines: xr.Dataset) -> xr.Dataset:
    """Return lines whose covariance is of themselves alone, after some of them were chosen."""
    return lines.sel({"line_other": lines[LINE].values})


def with_error(lines: xr.Dataset, added: xr.DataArray, effect: str) -> xr.Dataset:
    """Return lines with a covariance [..., line, line_other] added, which is due to an effect."""
    lines = with_own_covariance(lines)
    diagonal = lines.variance.copy(data=_diagonal(added, lines.variance.dims))
    lines = lines.assign(
        variance=(lines.variance + diagonal).assign_attrs(lines.variance.attrs),
        covariance=(lines.covariance + added).assign_attrs(lines.covariance.attrs),
    )
    if "effect_covariance" not in lines:
        return lines
    parts = lines.effect_covariance
    effects = list(dict.fromkeys([*parts["effect"].values.tolist(), effect]))
    more = added.expand_dims(effect=[effect]).reindex(effect=effects, fill_value=0.0)
    total = parts.reindex(effect=effects, fill_value=0.0) + more
    total = total.transpose(*parts.dims).assign_attrs(parts.attrs)
    return lines.drop_dims("effect").assign(effect_covariance=total)


def _diagonal(covariance: xr.DataArray, dims: tuple[Hashable, ...]) -> np.ndarray:
    table = covariance.transpose(*(d for d in dims if d != LINE), LINE, "line_other").values
    return np.moveaxis(np.diagonal(table, axis1=-2, axis2=-1), -1, dims.index(LINE))


def _pinned(lines: xr.Dataset, spectra: xr.Dataset, name: str) -> xr.DataArray | None:
    """Return which lines [..., line; bool] belong to families that a variable of spectra names."""
    texts = spectra.get(name)
    if texts is None:  # variables may have been chosen; a single spectrum's attributes stay
        found = spectra.attrs.get("pinned_lines", [])
        if name != "pinned" or len(found) != 1 or spectra.counts.ndim > 1:
            return None
        texts = xr.DataArray(str(found[0]))
    families = [_family(str(n)) for n in lines[LINE].values]

    def named(text: object) -> np.ndarray:  # NaN for a phase that was not subtracted
        own = {_family(n) for n in text.split(", ")} if isinstance(text, str) else set()
        return np.array([f in own for f in families])

    return (
        xr.apply_ufunc(
            named, texts, vectorize=True, output_core_dims=[[LINE]], output_dtypes=[bool]
        )
        .assign_coords({LINE: lines[LINE]})
        .assign_attrs(long_name="zero by assumption")
    )


def _family(line: str) -> str:
    """Return element and shell of a line."""
    return line[: line.find("_") + 2]
