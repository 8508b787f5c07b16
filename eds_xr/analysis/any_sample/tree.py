"""The result of an analysis as one DataTree, in a form that Zarr and netCDF hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.provenance import with_step


def as_tree(
    groups: Mapping[str, xr.Dataset], image: xr.DataArray, given: str, **told: Any
) -> xr.DataTree:
    """Return groups as a tree, with what is told of the whole in its attributes.

    The history keeps the recipe that was `given`: with the completed one, less would be found.
    """
    tree = xr.DataTree.from_dict({name: plain(part) for name, part in groups.items()})
    attrs = with_step({"history": image.attrs.get("history", [])}, "analyse", recipe=given)
    tree.attrs = {
        "source": str(image.attrs.get("source", "")),
        "history": attrs["history"],
        **{name: _plain_value(value) for name, value in told.items()},
    }
    return tree


def plain(part: xr.Dataset) -> xr.Dataset:
    """Return a Dataset whose attributes and texts a file can hold."""
    text = {n: v.astype(object) for n, v in part.variables.items() if v.dtype.kind == "U"}
    plain = part.assign({n: v for n, v in text.items() if n in part.data_vars})
    plain = plain.assign_coords({n: v for n, v in text.items() if n in part.coords})
    plain.attrs = {str(k): _plain_value(v) for k, v in plain.attrs.items()}
    for name in plain.variables:
        one = plain[name].attrs
        plain[name].attrs = {str(k): _plain_value(v) for k, v in one.items()}
    return plain


def _plain_value(value: Any) -> Any:
    """Return numbers, text and lists as they are, dictionaries as JSON."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, tuple):
        return list(value)
    return value
