"""Marks on numbers that are not simply measured: what is in doubt, and what is assumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from eds_xr.schema import DOUBT, texts_of
from eds_xr.workers import task_name

#: What is printed of a number that is assumed.
ASSUMED_TEXT = "0 (assumed)"
_SIGNS = "†‡§¶"


def joined(*doubts: xr.DataArray) -> xr.DataArray:
    """Return several doubts of the same numbers as one, each said once."""
    joined = xr.apply_ufunc(
        _joined, *doubts, vectorize=True, dask="parallelized", output_dtypes=[object]
    )
    return joined.astype(str)


def signs(doubt: xr.DataArray) -> tuple[xr.DataArray, list[str]]:
    """Return the sign of each doubt, as of footnotes, and what each sign means.

    Examples
    --------
    >>> found, notes = signs(xr.DataArray(["", "beside Zn", "misfit", "beside Zn"], dims="line"))
    >>> found.values.tolist(), notes
    (['', '†', '‡', '†'], ['† beside Zn', '‡ misfit'])
    """
    texts = [t for t in dict.fromkeys(doubt.values.ravel().tolist()) if t]
    sign = {text: _SIGNS[i % 4] * (1 + i // 4) for i, text in enumerate(texts)}
    found = [sign.get(text, "") for text in doubt.values.ravel().tolist()]
    marked = doubt.copy(data=np.reshape(np.array(found, dtype=str), doubt.shape))
    return marked, [f"{s} {text}" for text, s in sign.items()]


def mark_of(dataset: xr.Dataset, name: str, values: xr.DataArray) -> xr.DataArray:
    """Return a mark of each of a Dataset's numbers; none where the Dataset has none for them."""
    nothing = "" if name == DOUBT else False
    mark = dataset.get(name, xr.DataArray(nothing))
    if not set(mark.dims) <= set(values.dims):
        mark = xr.DataArray(nothing)
    # lines with and without marks that were joined have NaN for none
    return mark.fillna(nothing).astype(type(nothing)).broadcast_like(values)


def left_out_note(attrs: dict[Any, Any]) -> list[str]:
    """Return which elements were asked for and have no number; nothing where all have."""
    names = texts_of(attrs, "left_out")
    return [f"left out, without a line in the range: {', '.join(names)}"] if any(names) else []


@task_name("doubts")
def _joined(*texts: str) -> str:
    return "; ".join(dict.fromkeys(t for text in texts for t in text.split("; ") if t))
