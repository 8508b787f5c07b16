"""What a file holds, in plain types, and as lines for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from eds_xr.chunks import as_chunked, chunk_shape
from eds_xr.progress import track
from eds_xr.readers.protocol import Recording, count_regions
from eds_xr.schema import DETECTOR, ENERGY

#: Up to this size counting takes a few seconds, so it is done unasked.
_QUICK_BYTES = 2 * 2**30
#: Blocks of rows in memory while a file is converted: read, checked, compressed.
_BLOCKS = 3
#: What Python and the libraries need.
_BASE_BYTES = 300 * 2**20


def of_recording(recording: Recording, *, counts: bool | None = None) -> dict[str, Any]:
    """Return what is known of a spectrum image in a vendor file.

    Parameters
    ----------
    recording : Recording
    counts : bool, optional
        Whether to add up its counts, which reads all of it, block by block, and to ask for the
        number of its frames; by default where that takes seconds.

    Returns
    -------
    dict
        ``name``, ``sizes``, ``dtype``, ``axes`` (first, last and unit of each), ``images``,
        ``attributes``, ``has_frames``, ``dense_bytes`` and ``convert_bytes`` (memory that a
        conversion needs); with `counts` also ``counts`` and ``frames``.
    """
    ends = {
        a.name: [float(a.values[0]), float(a.values[-1]), a.units]
        for a in recording.axes
        if a.name != DETECTOR
    }
    sizes = dict(zip(recording.dims, recording.shape, strict=True))
    found = {
        **_common(recording.name, sizes, recording.dtype, ends, recording.attrs),
        "images": sorted(recording.images),
        "has_frames": recording.open_frames is not None,
    }
    if _shall_count(counts, found):
        found["counts"] = _total(recording)
        if recording.open_frames is not None:
            with recording.open_frames() as frames:
                found["frames"] = frames.number
    return found


def of_image(image: xr.DataArray, *, counts: bool | None = None) -> dict[str, Any]:
    """Return the same of an opened store; ``has_frames`` tells of a dimension ``frame``."""
    ends = {
        str(d): [float(image[d][0]), float(image[d][-1]), str(image[d].attrs.get("units", ""))]
        for d in image.dims
        if d in image.coords and d != DETECTOR
    }
    sizes = {str(d): int(n) for d, n in image.sizes.items()}
    found = {
        **_common(str(image.name), sizes, image.dtype, ends, image.attrs),
        "images": sorted(str(n) for n, c in image.coords.items() if c.dims == ("y", "x")),
        "has_frames": "frame" in image.dims,
    }
    if _shall_count(counts, found):
        found["counts"] = _number(as_chunked(image).sum().compute().item())
    return found


def as_lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a summary as pairs of what and how much."""
    sizes, attributes = found["sizes"], found["attributes"]
    yield "size", " x ".join(f"{n:,} {dim}" for dim, n in sizes.items()) + f", {found['dtype']}"
    for dim, (first, last, units) in found["axes"].items():
        step = (last - first) / (sizes[dim] - 1) if sizes[dim] > 1 else 0.0
        width = f"{1e3 * step:.4g} eV a channel" if units == "keV" else f"{step:.4g} {units} steps"
        yield dim, f"{first:.6g} to {last:.6g} {units}, {width}"
    if "counts" in found:
        pixels = math.prod(sizes.values()) // sizes[ENERGY]
        yield "counts", f"{found['counts']:,} ({found['counts'] / pixels:,.4g} a pixel)"
    if "frames" in found or found["has_frames"]:
        yield "frames", str(found.get("frames", "several"))
    for name, value in attributes.items():
        if name not in ("history", "units", "long_name"):
            yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    real, live = (attributes.get(f"{n}_time_s") for n in ("real", "live"))
    if isinstance(real, int | float) and isinstance(live, int | float) and 0 < live <= real:
        yield "dead time", f"{100 * (1 - live / real):.3g} %"
    if found["images"]:
        yield "images", ", ".join(found["images"])
    yield "decoded", f"{found['dense_bytes'] / 1e9:,.3g} GB"
    yield "memory to convert", f"about {found['convert_bytes'] / 1e9:,.2g} GB"


def _common(
    name: str,
    sizes: Mapping[str, int],
    dtype: np.dtype,
    ends: Mapping[str, Any],
    attrs: Mapping[Any, Any],
) -> dict[str, Any]:
    shape = tuple(sizes.values())
    rows = chunk_shape(shape, dtype)[max(0, len(shape) - 3)]
    block = rows * math.prod(shape[max(0, len(shape) - 3) + 1 :]) * dtype.itemsize
    return {
        "name": name,
        "sizes": dict(sizes),
        "dtype": str(dtype),
        "axes": dict(ends),
        "attributes": {str(key): value for key, value in attrs.items()},
        "dense_bytes": math.prod(shape) * dtype.itemsize,
        "convert_bytes": _BASE_BYTES + _BLOCKS * block,
    }


def _shall_count(counts: bool | None, found: Mapping[str, Any]) -> bool:
    return found["dense_bytes"] <= _QUICK_BYTES if counts is None else counts


def _total(recording: Recording) -> int | float:
    rows = chunk_shape(recording.shape, recording.dtype)[max(0, len(recording.shape) - 3)]
    blocks = recording.row_blocks(rows)
    steps = count_regions(recording.shape, rows)
    exact = np.float64 if recording.dtype.kind == "f" else np.int64
    numbers = track(blocks, f"counting {recording.name}", total=steps)
    return _number(sum(block.sum(dtype=exact).item() for block in numbers))


def _number(value: float) -> int | float:
    """Return whole numbers as such."""
    return int(value) if float(value).is_integer() else float(value)
