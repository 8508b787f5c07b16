"""Streams of words of 16 bits, taken in pieces, and tables of where their rows begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from eds_xr.schema import EdsError

#: ``read(start, stop)`` gives words of a stream as contiguous uint16.
ReadWords = Callable[[int, int], np.ndarray]

#: Words held in memory at a time.
_PIECE = 2**22
#: More rows than these, over all frames, are not indexed (128 MiB of row starts).
_MOST_ROWS = 2**24


def pieces(read: ReadWords, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the words from `start` to `stop` in pieces, each with its place."""
    for first in range(start, stop, _PIECE):
        yield first, read(first, min(first + _PIECE, stop))


def with_room(starts: np.ndarray, frames: int) -> np.ndarray:
    """Return a table of row starts ``[frame, y + 1]`` with room for so many frames.

    Raises
    ------
    EdsError
        If they have more rows than can be indexed.
    """
    if frames <= len(starts):
        return starts
    if frames * starts.shape[1] > _MOST_ROWS:
        raise EdsError(
            f"expected at most {_MOST_ROWS:,} image rows over all frames, found more than "
            f"{len(starts) or frames - 1:,} frames of {starts.shape[1] - 1} rows; the stream of "
            "events is damaged: copy the file again from its origin"
        )
    room = max(frames, 2 * len(starts)) - len(starts)
    return np.concatenate([starts, np.zeros((room, starts.shape[1]), np.int64)])
