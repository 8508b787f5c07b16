"""Recordings of many passes over the pixels: frames chosen, summed or kept, drift corrected.

A reader's :attr:`Recording.open_frames` gives the passes; what is here turns them into row
blocks, so that a recording of thousands of frames needs the memory of one block. Files whose
array has a dimension ``frame`` are read once into an anonymous temporary file, compressed, from
which any rows of any frame are then taken.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eds_xr.provenance import with_step
from eds_xr.readers.frames.spool import spooled
from eds_xr.readers.protocol import Axis, Frames, Recording, row_regions
from eds_xr.schema import LIVE_TIME, EdsError

OpenFrames = Callable[[], AbstractContextManager[Frames]]
Chosen = slice | int | Sequence[int] | None


@contextmanager
def with_frames(
    recording: Recording, chosen: Chosen = None, *, keep_frames: bool = False, align: bool = False
) -> Iterator[Recording]:
    """Give the recording of chosen frames: their sum, or with ``frame`` as first dimension.

    Computes: the drift where `align` is asked, and the counts of the frames' pixels, from which
    a dtype follows that cannot overflow. The values stay a stream of row blocks.

    A frame's drift is where its image (``image(frame)`` of the reader's frames, such as a HAADF
    image, else its counts) lies relative to that of all others; see
    :func:`.drift.estimate`. Frames are moved by whole pixels, so that counts stay
    counts; what leaves the field is lost and reported. In the attributes: ``drift_px``, a pair
    (y, x) for each frame, ``drift_applied_px``, the whole pixels of it that were taken back,
    ``counts_lost_to_drift``, and ``covered_by_all_frames_px``, first and last row, first and last
    column of the field that every frame covers (empty where there is none); how many frames
    cover each pixel is the image ``coverage``.

    Parameters
    ----------
    recording : Recording
    chosen : slice, int or sequence of int, optional
        Which frames; all when not given.
    keep_frames, align : bool

    Raises
    ------
    EdsError
        If the recording holds no frames, or not those that are chosen.
    """
    stacked = recording.dims[0] == "frame"
    if chosen is None and not align and (stacked or not keep_frames):
        yield recording
        return
    if not stacked and recording.open_frames is None:
        raise EdsError(
            f"{recording.name!r} is stored as one image, so that no frames can be chosen, kept or "
            f"aligned; found the dimensions {recording.dims}: convert it without these options"
        )
    opened = spooled(recording) if stacked else recording.open_frames
    assert opened is not None
    with opened() as frames:
        yield _prepared(recording, frames, _indices(chosen, frames.number), keep_frames, align)


def summed(
    open_frames: OpenFrames,
    shape: tuple[int, ...],
    dtype: np.dtype,
    rows: int,
    chosen: Sequence[int] | None = None,
) -> Iterator[np.ndarray]:
    """Yield the sum of frames in row blocks, as :attr:`Recording.row_blocks` does.

    Parameters
    ----------
    open_frames : callable
        ``with open_frames() as frames`` gives the passes.
    shape : (y, x, energy)
    dtype : dtype
        Of the blocks, wide enough for the fullest pixel.
    rows : int
        Image rows a block, at most.
    chosen : sequence of int, optional
        Which frames to sum; all when not given.

    Yields
    ------
    array [rows, x, energy; counts]
    """
    with open_frames() as frames:
        moves = _Move.none(range(frames.number) if chosen is None else chosen)
        for region in row_regions(shape, rows):
            yield _sum_rows(frames, region[0], dtype, moves)  # bound to no name: one in memory


@dataclass(frozen=True)
class _Move:
    """A frame, and how far its pixels are moved."""

    frame: int
    y: int = 0
    x: int = 0

    @staticmethod
    def none(chosen: Sequence[int]) -> list[_Move]:
        return [_Move(frame) for frame in chosen]


def _indices(chosen: Chosen, number: int) -> Sequence[int]:
    """Return the chosen frames as numbers from 0."""
    if chosen is None:
        return range(number)
    try:
        if isinstance(chosen, slice):
            found: Sequence[int] = range(number)[chosen]
        else:
            listed = chosen if isinstance(chosen, Sequence | np.ndarray) else [chosen]
            found = [range(number)[operator.index(i)] for i in listed]
    except IndexError:
        raise EdsError(
            f"frames {chosen!r} are not all there: found {number} frames, from 0 to {number - 1}"
        ) from None
    except TypeError as error:
        raise EdsError(f"frames must be a slice or whole numbers, found {chosen!r}") from error
    if not found:
        raise EdsError(f"frames {chosen!r} chooses none of the {number} frames, from 0")
    if len(set(found)) < len(found):
        raise EdsError(f"frames {chosen!r} names a frame twice; its counts would count twice")
    return found


def _prepared(
    recording: Recording, frames: Frames, chosen: Sequence[int], keep_frames: bool, align: bool
) -> Recording:
    moves, attrs = _moves(recording, frames, chosen, align)
    share = len(chosen) / frames.number
    if recording.open_frames is not None:  # the times are those of all passes together
        attrs |= {k: attrs[k] * share for k in ("live_time_s", "real_time_s") if k in attrs}
    attrs = with_step(
        attrs,
        "frames",
        chosen=_as_text(chosen),
        of=frames.number,
        kept=keep_frames,
        **{k: v for k, v in attrs.items() if k not in recording.attrs},
    )
    images = dict(recording.images)
    images |= _live_times(images, attrs, share, frames if align else None, moves)
    if keep_frames and LIVE_TIME in images:  # of a pixel of one frame
        images[LIVE_TIME] = images[LIVE_TIME] / len(chosen)
    if align:
        images["coverage"] = _coverage(frames.shape[:2], moves)
    dtype = _dtype(recording, frames, moves, keep_frames)
    height, width, channels = frames.shape

    def kept_blocks(rows: int) -> Iterator[np.ndarray]:
        for move in moves:
            for region in row_regions((height, width, channels), rows):
                yield _sum_rows(frames, region[0], dtype, [move])[None]

    def sum_blocks(rows: int) -> Iterator[np.ndarray]:
        for region in row_regions((height, width, channels), rows):
            yield _sum_rows(frames, region[0], dtype, moves)

    return replace(
        recording,
        axes=_axes(recording, chosen, keep_frames),
        dtype=dtype,
        row_blocks=kept_blocks if keep_frames else sum_blocks,
        attrs=attrs,
        images=images,
        open_frames=None,
    )


def _live_times(
    images: Mapping[str, np.ndarray], attrs: Mapping[str, Any], share: float,
    moved: Frames | None, moves: Sequence[_Move],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the live time of each pixel where it is told, or where frames cover it unequally [s].

    `attrs` have that of the frames chosen, together.
    """
    told, total = images.get(LIVE_TIME), attrs.get(LIVE_TIME)
    if moved is None or (told is None and total is None):
        return {} if told is None else {LIVE_TIME: np.asarray(told) * share}
    shape = moved.shape[:2]
    covered = _coverage(shape, moves) / len(moves)
    one = share * float(np.mean(told)) if told is not None else float(total or 0) / math.prod(shape)
    return {LIVE_TIME: (covered * one).astype(np.float32)}


def _moves(
    recording: Recording, frames: Frames, chosen: Sequence[int], align: bool
) -> tuple[list[_Move], dict[str, Any]]:
    """Return how frames are moved, and the attributes with what there is to say of it."""
    attrs = dict(recording.attrs)
    if not align:
        return _Move.none(chosen), attrs
    from eds_xr.readers.frames.drift import estimate

    image = getattr(frames, "image", frames.counts)
    drift = estimate(lambda i: np.asarray(image(chosen[i]), float), len(chosen))
    applied = np.rint(drift).astype(int)
    moves = [_Move(f, -int(y), -int(x)) for f, (y, x) in zip(chosen, applied, strict=True)]
    attrs["drift_px"] = np.round(drift, 3).tolist()
    attrs["drift_applied_px"] = applied.tolist()
    attrs["counts_lost_to_drift"] = _lost(frames, moves)
    attrs["covered_by_all_frames_px"] = _covered_by_all(frames.shape[:2], moves)
    return moves, attrs


def _axes(recording: Recording, chosen: Sequence[int], keep_frames: bool) -> tuple[Axis, ...]:
    *leading, y, x, energy = recording.axes
    if not keep_frames:
        return (y, x, energy)
    if leading:
        return (replace(leading[0], values=leading[0].values[list(chosen)]), y, x, energy)
    return (Axis("frame", np.array(chosen, float), "1", "frame"), y, x, energy)


def _dtype(
    recording: Recording, frames: Frames, moves: Sequence[_Move], keep_frames: bool
) -> np.dtype:
    kind = recording.dtype.kind
    if kind not in "ui" or (keep_frames and recording.dims[0] == "frame"):
        return recording.dtype
    if kind == "i":  # the counts of a pixel bound nothing where some are negative
        most = -int(np.iinfo(recording.dtype).min) * (1 if keep_frames else len(moves))
        return np.min_scalar_type(-most)
    return np.min_scalar_type(_fullest(frames, moves, together=not keep_frames))


def _fullest(frames: Frames, moves: Sequence[_Move], *, together: bool) -> int:
    """Return the most counts in a pixel, of the sum of frames or of any single one."""
    total, fullest = np.zeros(frames.shape[:2], np.uint64), 0
    for move in moves:
        target, source = _overlap(frames.shape[:2], move)
        total[target] += frames.counts(move.frame)[source].astype(np.uint64, copy=False)
        if not together:
            fullest = max(fullest, int(total.max(initial=0)))
            total[:] = 0
    return max(fullest, int(total.max(initial=0)))


def _sum_rows(frames: Frames, rows: slice, dtype: np.dtype, moves: Sequence[_Move]) -> np.ndarray:
    """Return rows of the sum of moved frames ``[rows, x, energy]``."""
    height, width, channels = frames.shape
    margin = max(abs(move.x) for move in moves)
    wide = np.zeros((rows.stop - rows.start, width + 2 * margin, channels), dtype)
    for move in moves:
        first, last = max(rows.start, move.y), min(rows.stop, height + move.y)
        if first >= last:
            continue
        at, columns = first - rows.start, slice(margin + move.x, margin + move.x + width)
        source = slice(first - move.y, last - move.y)
        if margin == 0:
            frames.add(move.frame, source, wide[at : at + last - first])
            continue
        for row in range(last - first):  # a single row of a wider array is contiguous
            one = slice(source.start + row, source.start + row + 1)
            frames.add(move.frame, one, wide[at + row : at + row + 1, columns])
    return wide[:, margin : margin + width]


def _overlap(shape: Sequence[int], move: _Move) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the pixels that a moved frame covers, and which of its own come to lie there."""
    steps = (move.y, move.x)
    target = [slice(max(0, d), max(0, n + min(0, d))) for n, d in zip(shape, steps, strict=True)]
    source = [slice(max(0, -d), max(0, n - max(0, d))) for n, d in zip(shape, steps, strict=True)]
    return (target[0], target[1]), (source[0], source[1])


def _lost(frames: Frames, moves: Sequence[_Move]) -> int | float:
    """Return how many counts leave the field."""
    lost = 0
    for move in moves:
        counts = frames.counts(move.frame)
        _, source = _overlap(frames.shape[:2], move)
        lost += (counts.sum() - counts[source].sum()).item()
    return lost


def _coverage(shape: Sequence[int], moves: Sequence[_Move]) -> np.ndarray:
    """Return how many frames cover each pixel."""
    coverage = np.zeros(shape, np.min_scalar_type(len(moves)))
    for move in moves:
        coverage[_overlap(shape, move)[0]] += 1
    return coverage


def _covered_by_all(shape: Sequence[int], moves: Sequence[_Move]) -> list[int]:
    """Return first and last row, first and last column that all frames cover; empty if none."""
    covered = [_overlap(shape, move)[0] for move in moves]
    found = []
    for axis in (0, 1):
        first = max(place[axis].start for place in covered)
        last = min(place[axis].stop for place in covered) - 1
        if first > last:
            return []
        found += [first, last]
    return found


def _as_text(chosen: Sequence[int]) -> str | list[int]:
    """Return numbers that are a range as ``"start:stop:step"``."""
    if isinstance(chosen, range):
        return f"{chosen.start}:{chosen.stop}:{chosen.step}"
    return list(chosen)
