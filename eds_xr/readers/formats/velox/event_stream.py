"""Streams of events, pixel after pixel and frame after frame: indexed once, then read by rows.

Every word is the channel of one photon, or the mark that ends a pixel; pixels follow each other
along the rows of a frame. Compiled: imports numba, so import it late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np

from eds_xr.readers.frames.event_words import ReadWords, pieces, with_room

#: The word that ends a pixel; all others are channels.
END_OF_PIXEL = 65535


@dataclass(frozen=True, eq=False)
class Index:
    """Where the rows of a stream begin, and what one pass over all its words finds.

    Attributes
    ----------
    row_starts : array of int64 [frame, y + 1]
        The first word of each row; the last entry of a frame is its end.
    photons : int
    last_frame_pixels : int
        How many pixels the last frame reached.
    no_channel : int
        Words that are neither a channel nor the end of a pixel.
    surplus : int
        Photons and ends of pixels behind the last pixel of a frame.
    """

    row_starts: np.ndarray
    photons: int
    last_frame_pixels: int
    no_channel: int
    surplus: int

    @property
    def frames(self) -> int:
        """Number of frames, the last of which may be incomplete."""
        return len(self.row_starts)


@dataclass(frozen=True, eq=False)
class EventStream:
    """The words of one detector and their index."""

    read: ReadWords
    index: Index


class EventFrames:
    """The frames of one detector, or the sums of those of several; a `Frames` of the readers."""

    def __init__(
        self,
        streams: Sequence[EventStream],
        shape: tuple[int, int, int],
        image: Callable[[int], np.ndarray] | None = None,
    ):
        self._streams = tuple(streams)
        self.shape = shape
        if image is not None:  # [y, x] of a frame, recorded with it
            self.image = image
        self.number = max(stream.index.frames for stream in streams)

    def counts(self, frame: int) -> np.ndarray:
        """Return the counts of one frame ``[y, x]``, all energies together."""
        height, width, channels = self.shape
        counts = np.zeros(height * width, np.uint32)
        for words, at in self._words(frame, slice(0, height)):
            at[0] = _count_block(words, channels, at[0], counts)
        return counts.reshape(height, width)

    def add(self, frame: int, rows: slice, out: np.ndarray) -> None:
        """Add image rows of one frame to `out` ``[rows, x, energy; counts]``."""
        for words, at in self._words(frame, rows):
            _add_block(words, at, out)

    def _words(self, frame: int, rows: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the words of some rows in pieces, and where the piece before has ended."""
        for stream in self._streams:
            if frame < stream.index.frames:
                starts = stream.index.row_starts[frame]
                at = np.zeros(2, np.int64)
                for _, words in pieces(
                    stream.read, int(starts[rows.start]), int(starts[rows.stop])
                ):
                    yield words, at


def index_stream(
    read: ReadWords,
    length: int,
    shape: tuple[int, int, int],
    frame_starts: np.ndarray | None = None,
) -> tuple[Index, np.ndarray]:
    """Pass once over the words of a stream; return its index and its counts [y, x].

    Parameters
    ----------
    read : callable
    length : int
        Number of words.
    shape : (y, x, energy)
    frame_starts : array of int64, optional
        First words of the frames, rising from 0. Where they are not known, a frame begins
        behind the last pixel of the one before.

    Raises
    ------
    EdsError
        If there are more rows than can be indexed.
    """
    height, width, channels = shape
    known = np.zeros(0, np.int64) if frame_starts is None else frame_starts
    starts = with_room(np.zeros((0, height + 1), np.int64), max(1, known.size))
    counts = np.zeros(height * width, np.uint32)
    state = np.array([-1, height * width, 0, 0, 0], np.int64)
    for _, words in pieces(read, 0, length):
        more = 0 if known.size else words.size // (height * width) + 2
        starts = with_room(starts, max(len(starts), int(state[0]) + 1 + more))
        _index_block(words, known, width, channels, state, starts, counts)
    return _finished(state, starts, counts, length), counts.reshape(height, width)


def count_pixel_ends(read: ReadWords, start: int, stop: int) -> int:
    """Return how many pixels end among some words."""
    return sum(
        int(np.count_nonzero(words == END_OF_PIXEL)) for _, words in pieces(read, start, stop)
    )


def _finished(state: np.ndarray, starts: np.ndarray, counts: np.ndarray, length: int) -> Index:
    frame, pixel, _, no_channel, surplus = map(int, state)
    width = counts.size // (starts.shape[1] - 1)
    if length:  # rows that the last frame did not reach are empty
        starts[frame, pixel // width + 1 :] = length
    return Index(
        row_starts=starts[: frame + 1].copy(),
        photons=int(counts.sum(dtype=np.int64)),
        last_frame_pixels=pixel,
        no_channel=no_channel,
        surplus=surplus,
    )


@numba.njit(nogil=True, cache=True)
def _index_block(
    words: np.ndarray,
    frame_starts: np.ndarray,
    width: int,
    channels: int,
    state: np.ndarray,
    row_starts: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Go on over a piece of the stream; `state`: frame, pixel, place, no_channel, surplus."""
    frame, pixel, place, no_channel, surplus = state
    height, pixels = row_starts.shape[1] - 1, counts.size
    column = pixel % width
    for word in words:
        if frame_starts.size:
            begins = frame + 1 < frame_starts.size and place == frame_starts[frame + 1]
        else:
            begins = pixel == pixels
        if begins:
            if frame >= 0:
                for row in range(pixel // width + 1, height + 1):
                    row_starts[frame, row] = place
            frame, pixel, column = frame + 1, 0, 0
            row_starts[frame, 0] = place
        place += 1
        if word == END_OF_PIXEL:
            if pixel < pixels:
                pixel, column = pixel + 1, column + 1
                if column == width:
                    column = 0
                    row_starts[frame, pixel // width] = place
            else:
                surplus += 1
        elif word >= channels:
            no_channel += 1
        elif pixel < pixels:
            counts[pixel] += 1
        else:
            surplus += 1
    state[:] = frame, pixel, place, no_channel, surplus


@numba.njit(nogil=True, cache=True)
def _count_block(words: np.ndarray, channels: int, pixel: int, counts: np.ndarray) -> int:
    """Add the photons of each pixel to `counts`; return the pixel that is next."""
    for word in words:
        if word == END_OF_PIXEL:
            pixel += 1
        elif word < channels and pixel < counts.size:
            counts[pixel] += 1
    return pixel


@numba.njit(nogil=True, cache=True)
def _add_block(words: np.ndarray, at: np.ndarray, out: np.ndarray) -> None:
    """Add photons to `out` [rows, x, energy]; `at`: row and column of the pixel that is next."""
    row, column = at
    height, width, channels = out.shape
    for word in words:
        if word == END_OF_PIXEL:
            column += 1
            if column == width:
                row, column = row + 1, 0
        elif word < channels and row < height:
            out[row, column, word] += 1
    at[:] = row, column
