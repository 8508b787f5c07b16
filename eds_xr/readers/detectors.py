"""Several detectors of one recording: one spectrum image with them apart, or their sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from eds_xr.readers.frames.sums import Chosen, with_frames
from eds_xr.readers.protocol import Axis, Recording
from eds_xr.schema import DETECTOR, DETECTOR_ATTRS, EdsError, check_one_of

APART, SUM = "apart", "sum"


@contextmanager
def with_detectors(
    recordings: Sequence[Recording], how: str, frames: Chosen = None
) -> Iterator[Recording]:
    """Give the detectors of a file as one recording; with ``"apart"``, along ``detector``.

    Parameters
    ----------
    recordings : sequence of Recording
        One a detector, and perhaps their sum.
    how : {"apart", "sum"}
    frames : slice, int or sequence of int, optional
        Passes over the pixels to sum, of each detector.

    Raises
    ------
    EdsError
        For less than two detectors, or those of other pixels or energies.
    """
    check_one_of(how, (APART, SUM), "detectors")
    each = [r for r in recordings if not r.preferred]
    if len(each) < 2:
        raise EdsError(
            f"the file holds {len(each) or len(recordings)} detector ("
            f"{', '.join(r.name for r in recordings)}): there is nothing to keep apart or to add "
            "up; leave detectors out"
        )
    _check_alike(each)
    with ExitStack() as opened:
        chosen = [opened.enter_context(with_frames(r, frames)) for r in each]
        yield _apart(chosen) if how == APART else _added(chosen)


def _apart(each: Sequence[Recording]) -> Recording:
    dtype = np.result_type(*(r.dtype for r in each))

    def row_blocks(rows: int) -> Iterator[np.ndarray]:
        for recording in each:
            for block in recording.row_blocks(rows):
                yield block.astype(dtype, copy=False)[None]

    names = np.array([r.name for r in each], dtype=object)
    told = {n: [r.attrs.get(n) for r in each] for n in DETECTOR_ATTRS}
    own = {
        n: np.array([np.nan if v is None else v for v in values], float)
        for n, values in told.items()
        if any(v is not None for v in values)
    }
    return replace(
        each[0],
        name="detectors",
        axes=(Axis(DETECTOR, names, "", "detector"), *each[0].axes),
        dtype=dtype,
        row_blocks=row_blocks,
        attrs=_common_attrs(each),
        original_metadata={r.name: r.original_metadata for r in each},
        open_frames=None,
        preferred=False,
        detector_values=own,
    )


def _added(each: Sequence[Recording]) -> Recording:
    most = sum(int(np.iinfo(r.dtype).max) for r in each if r.dtype.kind in "ui")
    whole = all(r.dtype.kind == "u" for r in each)
    dtype = np.min_scalar_type(most) if whole else np.result_type(*(r.dtype for r in each))

    def row_blocks(rows: int) -> Iterator[np.ndarray]:
        for blocks in zip(*(r.row_blocks(rows) for r in each), strict=True):
            total = blocks[0].astype(dtype)
            for block in blocks[1:]:
                total += block
            yield total

    return replace(
        each[0], name="sum of detectors", dtype=dtype, row_blocks=row_blocks,
        attrs=_common_attrs(each), open_frames=None, preferred=False,
        original_metadata={r.name: r.original_metadata for r in each},
    )  # fmt: skip


def _common_attrs(each: Sequence[Recording]) -> dict[str, Any]:
    """Return what all detectors agree on, and the mean of their times."""
    first = each[0].attrs
    found = {k: v for k, v in first.items() if all(r.attrs.get(k) == v for r in each)}
    for name in ("live_time_s", "real_time_s"):
        times = [r.attrs[name] for r in each if name in r.attrs]
        if times:
            found[name] = float(np.mean(times))
    if "history" in first:
        found["history"] = first["history"]
    return found


def _check_alike(each: Sequence[Recording]) -> None:
    first = each[0]
    for other in each[1:]:
        alike = other.dims == first.dims and all(
            a.values.size == b.values.size and np.allclose(a.values, b.values, rtol=1e-6)
            for a, b in zip(first.axes, other.axes, strict=True)
        )
        if not alike:
            raise EdsError(
                f"{first.name!r} and {other.name!r} have other pixels or energies: they cannot lie "
                f"in one image; convert one of them, signal={other.name!r}"
            )
