"""The replayable history that results carry in their attributes.

Each step is one line of JSON, so that it survives Zarr and netCDF and stays readable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import xarray as xr


def package_version() -> str:
    """Return the installed version of eds_xr."""
    try:
        return version("eds-xr")
    except PackageNotFoundError:  # a source tree on the path
        return "unknown"


def with_step(attrs: Mapping[str, Any], step: str, **parameters: Any) -> dict[str, Any]:
    """Return attributes with one more step in their ``history``.

    Examples
    --------
    >>> with_step({}, "rebin", y=2)["history"]
    ['{"step": "rebin", "eds_xr": "...", "y": 2}']
    """
    record = {"step": step, "eds_xr": package_version(), **parameters}
    line = json.dumps(record, default=_as_plain)
    return {**attrs, "history": [*_lines(attrs), line]}


def of_the_recording(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes without those that describe the array, not how it was recorded."""
    return {str(k): v for k, v in attrs.items() if k not in ("long_name", "units")}


def history(data: xr.DataArray | xr.Dataset | xr.DataTree) -> list[dict[str, Any]]:
    """Return the steps that made `data`, oldest first; lines of other programs as a note."""
    return [_read(line) for line in _lines(data.attrs)]


def _read(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"step": "note", "text": line}


def _as_plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as Python's, all else as text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _lines(attrs: Mapping[Any, Any]) -> list[str]:
    lines = attrs.get("history", [])
    return [lines] if isinstance(lines, str) else list(lines)
