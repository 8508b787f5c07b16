"""The events of JEOL's ``.pts`` files: indexed once, then any rows of any frame are decoded.

The stream is a row of words of 16 bits. The upper four tell what the lower twelve are:

====  ==========================================================================
0x9   row of the events that follow, in 4096ths of the image's height
0x8   column of the events that follow, in 4096ths of the image's width
0xb   channel of one photon
0xa   value of the electron detector in the pixel, where it was recorded
0x6   10 ms of real time have gone by
0x7   10 ms of live time have gone by
====  ==========================================================================

Frames (JEOL's sweeps) follow each other without a mark: a new one begins where the rows go back,
or, in a recording of one row, the columns. (Where a sweep of one row holds next to no events,
the next one may seem to go on with it.) Compiled: imports numba, so import it late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numba
import numpy as np

from eds_xr.readers.frames.event_words import ReadWords, pieces, with_room
from eds_xr.schema import EdsError

#: Channels have twelve bits, also where the header speaks of fewer.
CHANNELS = 4096
KINDS = {0x6: "real time", 0x7: "live time", 0x8: "column", 0x9: "row", 0xA: "image", 0xB: "event"}

#: Channels shifted by so many bits are all the same.
_ALL_ENERGIES = 12


@dataclass(frozen=True, eq=False)
class Stream:
    """Where the words lie in a file, and of which scan they are.

    Attributes
    ----------
    offset : int
        Byte at which they begin.
    length : int
        Number of words.
    height, width : int
        Of the whole grid, in pixels.
    one_row : bool
        Only one row of the grid was scanned, over and over.
    """

    offset: int
    length: int
    height: int
    width: int
    one_row: bool

    def words(self, file: BinaryIO) -> ReadWords:
        """Return what reads the words, in an open file."""

        def read(start: int, stop: int) -> np.ndarray:
            file.seek(self.offset + 2 * start)
            words = np.frombuffer(file.read(2 * (stop - start)), "<u2")
            if words.size < stop - start:
                raise EdsError("the file became shorter while it was read; copy it again")
            return words

        return read


@dataclass(frozen=True, eq=False)
class Index:
    """Where the rows of a stream begin, and what one pass over all its words finds.

    Attributes
    ----------
    row_starts : array of int64 [frame, y + 1]
        The first word of each row; the last entry of a frame is its end.
    counts : array of uint32 [y, x]
        Photons of all frames.
    image_sum, image_visits : array of uint32 [y, x]
        Values of the electron detector, added up, and how many there are.
    words : array of int64 [kind]
        How many words there are of each of the 16 kinds.
    last_row : int
        The row that the last frame has reached.
    zeros : int
        Words that are zero; a microscope writes none.
    without_position : int
        Events before the first column of a row, which belong to no pixel.
    """

    row_starts: np.ndarray
    counts: np.ndarray
    image_sum: np.ndarray
    image_visits: np.ndarray
    words: np.ndarray
    last_row: int
    zeros: int
    without_position: int

    @property
    def frames(self) -> int:
        """Number of frames, the last of which may be incomplete."""
        return len(self.row_starts)


class JeolFrames:
    """The frames of a stream, within the part of the grid that was scanned."""

    def __init__(
        self,
        file: BinaryIO,
        stream: Stream,
        row_starts: np.ndarray,
        area: tuple[slice, slice],
    ):
        self._words, self._width, self._row_starts = stream.words(file), stream.width, row_starts
        self._top, self._left = area[0].start, area[1].start
        height, width = area[0].stop - self._top, area[1].stop - self._left
        self.shape: tuple[int, int, int] = (height, width, CHANNELS)
        self.number = len(row_starts)

    def counts(self, frame: int) -> np.ndarray:
        """Return the counts of one frame ``[y, x]``, all energies together."""
        height, width, _ = self.shape
        out = np.zeros((height, width, 1), np.uint32)
        self._add(frame, slice(0, height), _ALL_ENERGIES, out)
        return out[..., 0]

    def add(self, frame: int, rows: slice, out: np.ndarray) -> None:
        """Add image rows of one frame to `out` ``[rows, x, energy; counts]``."""
        self._add(frame, rows, 0, out)

    def _add(self, frame: int, rows: slice, shift: int, out: np.ndarray) -> None:
        first, last = self._top + rows.start, self._top + rows.stop
        starts, column = self._row_starts[frame, first : last + 1], -1
        for position, words in pieces(self._words, int(starts[0]), int(starts[-1])):
            column = _add_block(
                words, position, starts, self._width, self._left, column, shift, out
            )


def index_stream(file: BinaryIO, stream: Stream) -> Index:
    """Pass once over a stream and return where its rows begin.

    Raises
    ------
    EdsError
        If there are more rows than can be indexed, or the file ends before its stream.
    """
    grid = (stream.height, stream.width)
    counts, images = np.zeros(grid, np.uint32), np.zeros((2, *grid), np.uint32)
    starts, tally = np.zeros((1, stream.height + 1), np.int64), np.zeros(18, np.int64)
    at, done, words_of = np.full(4, -1, np.int64), 0, stream.words(file)
    while done < stream.length:
        position, words = next(pieces(words_of, done, stream.length))
        used = _index_block(words, position, stream.one_row, at, starts, counts, images, tally)
        done += used
        if used < words.size:
            starts = with_room(starts, 2 * len(starts))
    frame, last_row = int(at[0]), int(at[1])
    starts[frame, last_row + 1 :] = stream.length
    return Index(
        row_starts=starts[: frame + 1].copy(),
        counts=counts,
        image_sum=images[0],
        image_visits=images[1],
        words=tally[:16],
        last_row=last_row,
        zeros=int(tally[16]),
        without_position=int(tally[17]),
    )


@numba.njit(nogil=True, cache=True)
def _index_block(
    words: np.ndarray,
    position: int,
    one_row: bool,
    at: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    images: np.ndarray,
    tally: np.ndarray,
) -> int:
    """Go on over a piece of the stream; return how far there was room in `starts`.

    `at`: see `_move`. `tally`: words of each kind, zeros, events without a position.
    """
    width = counts.shape[1]
    for i in range(words.size):
        kind, value = words[i] >> 12, int(words[i] & 4095)
        row, column = at[1], at[2]
        if kind == 0xB:
            if column >= 0:
                counts[row, column] += 1
            else:
                tally[17] += 1
        elif kind == 0x8 or kind == 0x9:
            if not _move(kind, value, position + i, width, one_row, at, starts):
                return i
        elif kind == 0xA and column >= 0:
            images[0, row, column] += value
            images[1, row, column] += 1
        elif words[i] == 0:
            tally[16] += 1
        tally[kind] += 1
    return words.size


@numba.njit(nogil=True, cache=True)
def _move(
    kind: int, value: int, place: int, width: int, one_row: bool, at: np.ndarray, starts: np.ndarray
) -> bool:
    """Go to the row or column that a word names; return False if `starts` has no room for it.

    `at`: frame, row, column (-1 where a row has not named any yet), and the last column, which
    the next one of a frame cannot be left of.
    """
    frame, row, column, last_column = at
    names_row = kind == 0x9
    new_row = value * (starts.shape[1] - 1) >> 12 if names_row else row
    column = -1 if names_row else value * width >> 12
    goes_back = new_row < row or (one_row and not names_row and column < last_column)
    if goes_back or (frame < 0 and names_row):
        if frame + 1 == starts.shape[0]:
            return False
        if frame >= 0:
            starts[frame, row + 1 :] = place
        frame, last_column = frame + 1, -1
        starts[frame, : new_row + 1] = place
    elif new_row > row:
        starts[frame, row + 1 : new_row + 1] = place
        last_column = -1
    if frame >= 0:
        at[:] = frame, new_row, column, last_column if names_row else column
    return True


@numba.njit(nogil=True, cache=True)
def _add_block(
    words: np.ndarray,
    position: int,
    starts: np.ndarray,
    width: int,
    left: int,
    column: int,
    shift: int,
    out: np.ndarray,
) -> int:
    """Add a piece of the stream to `out` [row, x, energy]; take and return the column it is in.

    `starts`: the words at which the rows begin, and the end of the last one. `shift`: bits by
    which channels are made coarser.
    """
    rows, columns, _ = out.shape
    for row in range(rows):
        first, last = max(starts[row] - position, 0), min(starts[row + 1] - position, words.size)
        if first < last and starts[row] >= position:
            column = -1
        for i in range(first, last):
            kind, value = words[i] >> 12, int(words[i] & 4095)
            if kind == 0xB:
                if 0 <= column < columns:
                    out[row, column, value >> shift] += 1
            elif kind == 0x8:
                column = (value * width >> 12) - left
    return column
