"""Compiled: Bruker's packed pixels. Imports numba, so import it late.

The stream begins with the numbers of lines and of pixels in a line. From byte 0x1A0 on come the
lines: the number of pixels that have counts, then these pixels. A pixel is a header of 22 bytes
(column, two numbers of channels, a constant, the flavour, a size, the number of pulses, the bytes
of its data), its data, and maybe pulses besides. Flavours of the data:

0
    a list of pulses, the channel of each in 16 bits;
1
    the same in 12 bits, the first pulse in the highest bits of 16-bit words;
others
    instructions for runs of up to 255 channels. Each has a size s and a number of channels: for
    s = 0 these are empty; for s = 1, 2, 4, 8 comes a base of s bytes, then what each channel has
    above the base in s/2 bytes (half a byte: the first channel in the lower one). Behind the
    instructions four bytes give the size of the additional pulses, 16 bits each.

All is little-endian. Nothing that the stream says makes a kernel read or write out of bounds.
"""

from __future__ import annotations

import numba
import numpy as np

#: Where the lines begin.
LINES_AT = 0x1A0
#: A pixel's data are smaller.
LARGEST_DATA = 2**20

#: What the walk along the stream remembers: its state [int64] has these elements.
AT, ROW, LEFT, COLUMN, FLAVOUR, PULSES, BYTES, LARGEST, OUTSIDE, SUMMED_ROW = range(10)
N_STATE = 10

#: What a kernel answers. MORE: the rest of a record is still to come.
DONE, MORE, PIXEL = 0, 1, 2
BAD_LINE, BAD_COLUMN, BAD_DATA, TOO_MANY = 10, 11, 12, 13

_PIXEL_HEADER = 22
_PULSES_16, _PULSES_12 = 0, 1
_LINE_AHEAD = -1  # in state[LEFT]: the number of pixels in the line is still to be read
_compiled = numba.njit(nogil=True, cache=True)
_Int = int | np.integer


@_compiled
def add_rows(data: np.ndarray, state: np.ndarray, first: int, out: np.ndarray, limit: int) -> int:
    """Add the pixels of the stream to `out`, as far as `data` and `out` go.

    Parameters
    ----------
    data : ndarray of uint8
        What lies in memory of the stream.
    state : ndarray of int64
        The walk's; ``state[AT]`` is a place in `data`.
    first : int
        Row of the image that is the first of `out`.
    out : ndarray of unsigned int [row, x, channel; counts]
    limit : int
        Largest value of the dtype of `out`.
    """
    status = _next_pixel(data, state, out.shape[1], first + out.shape[0])
    while status == PIXEL:
        spectrum = out[state[ROW] - first, state[COLUMN]]
        status = _add_pixel(data, state, spectrum, limit)
        if status == PIXEL:
            status = _next_pixel(data, state, out.shape[1], first + out.shape[0])
    return status


@_compiled
def find_largest(
    data: np.ndarray, state: np.ndarray, n_rows: int, row: np.ndarray, spectrum: np.ndarray
) -> int:
    """Find in ``state[LARGEST]`` the largest counts of any channel of any pixel.

    `row` [x; int64] and `spectrum` [channel; uint32] are room to work in, zero at first. A pixel
    that a line has more than once counts with the sum of its largest, so never too small.
    """
    largest = state[LARGEST]
    status = _next_pixel(data, state, row.size, n_rows)
    while status == PIXEL:
        if state[ROW] != state[SUMMED_ROW]:
            row[:] = 0
            state[SUMMED_ROW] = state[ROW]
        state[LARGEST] = 0
        status = _add_pixel(data, state, spectrum, np.int64(2**32 - 1))  # bare, compiled apart
        spectrum[:] = 0
        row[state[COLUMN]] += state[LARGEST]
        largest = max(largest, row[state[COLUMN]])
        if status == PIXEL:
            status = _next_pixel(data, state, row.size, n_rows)
    state[LARGEST] = largest
    return status


def new_state() -> np.ndarray:
    """Return the state of a walk that stands before the first line."""
    state = np.zeros(N_STATE, np.int64)
    state[LEFT] = _LINE_AHEAD
    return state


@_compiled
def _next_pixel(data: np.ndarray, state: np.ndarray, width: int, n_rows: int) -> int:
    """Step behind the header of the next pixel, if all of the pixel lies in `data`."""
    while state[LEFT] <= 0:
        if state[LEFT] == 0:
            state[ROW] += 1
            state[LEFT] = _LINE_AHEAD
        if state[ROW] == n_rows:
            return DONE
        if state[AT] + 4 > data.size:
            return MORE
        number = _u32(data, state[AT])
        if number > width:
            return BAD_LINE
        state[LEFT] = number
        state[AT] += 4
    at = state[AT]
    if at + _PIXEL_HEADER > data.size:
        return MORE
    state[COLUMN] = _u32(data, at)
    state[FLAVOUR] = _u16(data, at + 12)
    state[PULSES] = _u16(data, at + 16)
    state[BYTES] = _u32(data, at + 18)
    return _enter_pixel(data, state, width)


@_compiled
def _enter_pixel(data: np.ndarray, state: np.ndarray, width: int) -> int:
    """Check what the header says, and step behind it."""
    if state[COLUMN] >= width:
        return BAD_COLUMN
    if state[BYTES] > LARGEST_DATA:
        return BAD_DATA
    if state[FLAVOUR] > _PULSES_12:
        if state[BYTES] < 4:
            return BAD_DATA
        state[BYTES] += 2 * state[PULSES]
    elif state[BYTES] < _bytes_of_pulses(state[PULSES], 12 if state[FLAVOUR] else 16):
        return BAD_DATA
    if state[AT] + _PIXEL_HEADER + state[BYTES] > data.size:
        return MORE
    state[AT] += _PIXEL_HEADER
    state[LEFT] -= 1
    return PIXEL


@_compiled
def _bytes_of_pulses(pulses: _Int, bits: int) -> _Int:
    return (pulses * bits + 15) // 16 * 2  # whole words


@_compiled
def _add_pixel(data: np.ndarray, state: np.ndarray, spectrum: np.ndarray, limit: _Int) -> int:
    """Add one pixel to its spectrum, and step behind it."""
    at, pulses = state[AT], state[PULSES]
    end = at + state[BYTES]
    state[AT] = end
    if state[FLAVOUR] == _PULSES_16:
        return _add_pulses_16(data, at, pulses, state, spectrum, limit)
    if state[FLAVOUR] == _PULSES_12:
        return _add_pulses_12(data, at, pulses, state, spectrum, limit)
    additional = end - 2 * pulses
    status = _add_instructed(data, at, additional - 4, state, spectrum, limit)
    if status != PIXEL or pulses == 0:
        return status
    if _u32(data, additional - 4) != 2 * pulses:
        return BAD_DATA
    return _add_pulses_16(data, additional, pulses, state, spectrum, limit)


@_compiled
def _add_pulses_16(
    data: np.ndarray, at: _Int, pulses: _Int, state: np.ndarray, spectrum: np.ndarray, limit: _Int
) -> int:
    for i in range(pulses):
        if not _add(_u16(data, at + 2 * i), 1, state, spectrum, limit):
            return TOO_MANY
    return PIXEL


@_compiled
def _add_pulses_12(
    data: np.ndarray, at: _Int, pulses: _Int, state: np.ndarray, spectrum: np.ndarray, limit: _Int
) -> int:
    held: _Int = 0
    bits = 0  # bits read from the words and not yet used
    for _ in range(pulses):
        if bits < 12:
            held = ((held << 16) | _u16(data, at)) & 0xFFFFFFF
            bits += 16
            at += 2
        bits -= 12
        if not _add((held >> bits) & 0xFFF, 1, state, spectrum, limit):
            return TOO_MANY
    return PIXEL


@_compiled
def _add_instructed(
    data: np.ndarray, at: _Int, end: _Int, state: np.ndarray, spectrum: np.ndarray, limit: _Int
) -> int:
    channel: _Int = 0
    while at < end:
        if at + 2 > end:
            return BAD_DATA
        size, number = np.int64(data[at]), np.int64(data[at + 1])
        at += 2
        if size > 0:
            values_at = at + size
            stop = values_at + (number * size + 1) // 2
            if stop > end or not (size == 1 or size == 2 or size == 4 or size == 8):
                return BAD_DATA
            base = _number(data, at, size)
            for i in range(number):
                counts = base + _value(data, values_at, size, i)
                if counts > 0 and not _add(channel + i, counts, state, spectrum, limit):
                    return TOO_MANY
            at = stop
        channel += number
    return PIXEL


@_compiled
def _value(data: np.ndarray, at: _Int, size: _Int, i: _Int) -> _Int:
    """Return the i-th value of a run whose values take half of `size` bytes each."""
    if size == 1:
        return (np.int64(data[at + i // 2]) >> (4 * (i % 2))) & 0xF
    return _number(data, at + i * size // 2, size // 2)


@_compiled
def _number(data: np.ndarray, at: _Int, size: _Int) -> _Int:
    """Return a number of `size` bytes; what would not fit a signed one as the largest that does."""
    number = np.int64(0)
    if size == 8 and data[at + 7] >= 0x40:
        return np.int64(2**62)
    for i in range(size):
        number |= np.int64(data[at + i]) << (8 * i)
    return number


@_compiled
def _add(channel: _Int, counts: _Int, state: np.ndarray, spectrum: np.ndarray, limit: _Int) -> bool:
    """Add counts to a channel; those above the energy axis are counted only."""
    if counts > limit:
        return False
    if channel >= spectrum.size:
        state[OUTSIDE] += counts
        return True
    total = np.int64(spectrum[channel]) + counts
    if total > limit:
        return False
    spectrum[channel] = total
    if total > state[LARGEST]:
        state[LARGEST] = total
    return True


@_compiled
def _u16(data: np.ndarray, at: _Int) -> _Int:
    return np.int64(data[at]) | (np.int64(data[at + 1]) << 8)


@_compiled
def _u32(data: np.ndarray, at: _Int) -> _Int:
    return _u16(data, at) | (_u16(data, at + 2) << 16)
