"""What a Dataset of fitted lines must be, and whether two are of the same spectra."""

from __future__ import annotations

import xarray as xr

from eds_xr.schema import ENERGY, LINE, EdsError

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


def with_own_covariance(lines: xr.Dataset) -> xr.Dataset:
    """Return lines whose covariance is of themselves alone, after some of them were chosen."""
    return lines.sel({"line_other": lines[LINE].values})
