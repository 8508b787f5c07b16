"""Compositions of spectra that keep several detectors apart: each with its own take-off angle."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import xarray as xr

from eds_xr.image.detectors import own_attrs
from eds_xr.schema import DETECTOR

Quantifies = Callable[..., xr.Dataset]


def of_each_detector(quantify: Quantifies) -> Quantifies:
    """Let a method take lines along ``detector``: each with its own elevation and azimuth."""

    @wraps(quantify)
    def each(lines: xr.Dataset, *args: Any, **how: Any) -> xr.Dataset:
        if not isinstance(lines, xr.Dataset) or "net" not in lines:
            return quantify(lines, *args, **how)
        if DETECTOR not in lines.net.dims:
            return quantify(lines.assign_attrs({**lines.attrs, **own_attrs(lines)}), *args, **how)
        found = []
        for i in range(lines.sizes[DETECTOR]):
            one, mine = lines.isel({DETECTOR: i}), {n: _of(v, i) for n, v in how.items()}
            found.append(each(one, *(_of(a, i) for a in args), **mine))
        names = lines[DETECTOR] if DETECTOR in lines.coords else DETECTOR
        return xr.concat(
            found, dim=names, combine_attrs="override", join="exact", coords="different",
            compat="equals",
        )  # fmt: skip

    return each


def _of(value: Any, i: int) -> Any:
    """Return what is of one detector of a parameter that has several."""
    own = isinstance(value, xr.DataArray) and DETECTOR in value.dims
    return value.isel({DETECTOR: i}, drop=True) if own else value
