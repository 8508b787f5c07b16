"""Files in the layout of JEOL's ``.pts``, written frame by frame, so that they may be large."""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Upper four bits of the words.
REAL_TIME, LIVE_TIME, COLUMN, ROW, IMAGE, EVENT = (k << 12 for k in (6, 7, 8, 9, 10, 11))
CHANNELS = 4096
HEADER_BYTES = 32768
#: Header node types.
U2, I4, F4, F8, U2S, I4S, F8S, FLAG, TEXT, TEXTS, CHOICE = 2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14
_FORMATS = {U2: "<u2", I4: "<i4", F4: "<f4", F8: "<f8", U2S: "<u2", I4S: "<i4", F8S: "<f8"}
_FORMATS |= {FLAG: "?", CHOICE: "<u2"}


def write_pts(
    path: Path,
    frames: Iterable[np.ndarray],
    grid: tuple[int, int],
    *,
    tree: bytes | None = None,
    title: str = "View001",
    length_from_file: bool = False,
    **measured: Any,
) -> Path:
    """Write frames of words, as :func:`frame_words` makes them.

    Parameters
    ----------
    path : path
    frames : iterable of uint16 arrays
        Words of each frame; the last may be cut short.
    grid : (height, width)
        Powers of two up to 4096.
    tree : bytes, optional
        The header's tree; `header_tree` of `measured` when not given.
    title : str
    length_from_file : bool
        Count the stream's length from the start of the file, as some versions do.
    """
    tree = header_tree(grid, **measured) if tree is None else tree
    with path.open("wb") as file:
        file.write(bytes(HEADER_BYTES))
        for words in frames:
            file.write(words.astype("<u2", copy=False).tobytes())
        length = file.tell() - (0 if length_from_file else HEADER_BYTES)
        file.seek(0)
        fixed = (304, b"PTTDFILE", 131072, 1, 305, len(tree), HEADER_BYTES, length % 2**32)
        file.write(struct.pack("<I8sIIIIII", *fixed))
        file.seek(0xA4)
        file.write(title.encode("cp932"))
        file.seek(0x128)
        file.write(struct.pack("<d", 42832.76158564815))  # 2017-04-07 18:16:41
        file.seek(305)
        file.write(tree)
    return path


def frame_words(
    counts: np.ndarray,
    *,
    image: np.ndarray | None = None,
    grid: tuple[int, int] | None = None,
    corner: tuple[int, int] = (0, 0),
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Return the words of one frame ``[y, x, channel; counts]``.

    Parameters
    ----------
    counts : array of int [y, x, up to 4096 channels]
    image : array of int [y, x], optional
        Values of the electron detector; with them every pixel is named, else those with events.
    grid : (height, width), optional
        Of the whole grid; that of `counts` when not given.
    corner : (row, column)
        Where `counts` lie in the grid.
    rng : Generator, optional
        Puts events of a pixel in random order.
    """
    places = np.repeat(np.argwhere(counts), counts[np.nonzero(counts)], axis=0)
    if rng is not None:
        places = rng.permutation(places)
    row, column, channel = places.T
    return _words(row, column, channel, counts.shape[:2], image, grid or counts.shape[:2], corner)


def random_words(
    rng: np.random.Generator, grid: tuple[int, int], counts_per_pixel: float
) -> np.ndarray:
    """Return the words of one frame in which every pixel has the same Poisson spectrum."""
    height, width = grid
    number = rng.poisson(counts_per_pixel * height * width)
    pixel = rng.integers(0, height * width, number)
    channel = np.minimum(rng.exponential(300, number) + 96, CHANNELS - 1).astype(np.int64)
    return _words(pixel // width, pixel % width, channel, grid, None, grid, (0, 0))


def with_ticks(words: np.ndarray, every: int = 50) -> np.ndarray:
    """Return words with marks of time among them."""
    places = np.arange(every, words.size, every)
    marks = np.where(np.arange(places.size) % 2, LIVE_TIME, REAL_TIME)
    return np.insert(words, places, marks.astype(words.dtype))


def header_tree(
    grid: tuple[int, int],
    *,
    sweeps: int = 1,
    aim_area: Sequence[int] | None = None,  # left, top, right, bottom
    channels: int = 2048,
    step_kev: float = 0.01,
    offset_kev: float = -0.00122558,
    zero_channel: int = 96,
    beam_kev: float = 200.0,
    magnification: int = 40000,
    maps: Sequence[str] = ("SEI", "C K", "Pd L"),
    live_time_s: float = 325.46,
    extra: bytes = b"",
) -> bytes:
    """Return the tree of named values, as far as a reader may need it."""
    height, width = grid
    area = aim_area or (0, 0, width - 1, height - 1)
    measured = node(
        "AnalyzableMap MeasData",
        *(node("Doc", *_document(height, sweeps, step_kev, offset_kev, live_time_s)),),
        node(
            "Meas Cond",
            leaf("Tpl", TEXT, "T4"),
            leaf("Pixels", TEXT, f"{width}x{height}"),
            leaf("Aim Area", U2S, area),
        ),
        node("MeasCond", leaf("AccKV", F4, beam_kev), leaf("Mag", I4, magnification)),
    )
    spectrum = leaf("EDXRF", I4S, np.arange(channels))
    shown = leaf("CONDPAGE0", TEXT, "C.R", leaf("MiniOBJs", TEXTS, maps))
    return _root(
        node("PTTD Cond", node("Meas Cond", shown)),
        node("PTTD Param", node("Params", _detector_page(), _energy_page(channels, zero_channel))),
        node("PTTD Data", measured),
        node("EDS Data", node("AnalyzableMap MeasData", node("Data", spectrum))),
        extra,
    )


def leaf(name: str, kind: int, value: Any, *children: bytes) -> bytes:
    """Return a node of a header that has a value."""
    if kind == TEXT:
        raw = value.encode("cp932") + b"\0"
    elif kind == TEXTS:
        raw = b"".join(text.encode("cp932") + b"\0" for text in value) + b"\0"
    else:
        raw = np.asarray(value, _FORMATS[kind]).tobytes() if kind in _FORMATS else value
    return b"\1" + _text(name) + struct.pack("<II", kind, len(raw)) + raw + _ended(children)


def node(name: str, *children: bytes) -> bytes:
    """Return a node of a header that has children only."""
    return b"\1" + _text(name) + bytes(8) + _ended(children)


def _document(
    height: int, sweeps: int, step_kev: float, offset_kev: float, live_time_s: float
) -> tuple[bytes, ...]:
    tally = (leaf("n", I4, 1363), leaf("sum", F8S, (1419054, 1644962596)))
    return (
        leaf("LiveTime", F8, live_time_s),
        leaf("RealTime", F8, 366.9),
        leaf("CountRate", I4, 561, *tally),
        leaf("DwellTime(msec)", F8, 0.1),
        leaf("Sweep", U2, sweeps),
        leaf("ScanLine", U2, height),
        leaf("CoefA", F8, step_kev),
        leaf("CoefB", F8, offset_kev),
    )


def _detector_page() -> bytes:
    angles = {"XtiltAng": 5.0, "TakeAng": 22.3, "DirAng": 90.0, "ElevAng": 22.3}
    return leaf(
        "PARAMPAGE0",
        TEXT,
        "SEM",
        leaf("SEM", TEXT, "JEM-2100F(UHR)"),
        leaf("DetT", TEXT, "EX24075JGT"),
        leaf("ﾎﾟｰﾄ", TEXT, "ED"),
        leaf("MnKaRES", F4, 138.0),
        *(leaf(name, F4, angle) for name, angle in angles.items()),
        leaf("ScanSize", F4, 178.0),
        leaf("UseGA", FLAG, False),
    )


def _energy_page(channels: int, zero_channel: int) -> bytes:
    constants = ((f"T{i}", zero_channel + 4 - i) for i in range(1, 5))
    return leaf(
        "PARAMPAGE1",
        TEXT,
        "EDXRF",
        leaf("NumCH", I4, channels),
        leaf("CH Res", F8, 0.01),
        node("Tpl", *(node(name, leaf("DigZ", U2, zero)) for name, zero in constants)),
    )


def _root(*children: bytes) -> bytes:
    return struct.pack("<III", 0, 0, 0) + _ended(children)


def _ended(children: Sequence[bytes]) -> bytes:
    return b"".join(children) + b"\xff"


def _text(name: str) -> bytes:
    raw = name.encode("cp932") + b"\0"
    return struct.pack("<I", len(raw)) + raw


def _words(
    row: np.ndarray,
    column: np.ndarray,
    channel: np.ndarray,
    shape: tuple[int, ...],
    image: np.ndarray | None,
    grid: tuple[int, ...],
    corner: tuple[int, int],
) -> np.ndarray:
    """Return words in the order of the scan: row, then column, then events, then the image."""
    height, width = shape
    pixels = np.unique(row * width + column) if image is None else np.arange(height * width)
    values = np.zeros(0, np.int64) if image is None else np.ravel(image)
    row_words = ROW | (np.arange(height) + corner[0]) * (4096 // grid[0])
    column_words = COLUMN | (pixels % width + corner[1]) * (4096 // grid[1])
    words = np.concatenate([row_words, column_words, EVENT | channel, IMAGE | values])
    order = np.concatenate(
        [
            np.arange(height) * (3 * width + 1),
            _place(pixels, width, 0),
            _place(row * width + column, width, 1),
            _place(pixels[: values.size], width, 2),
        ]
    )
    return words[np.argsort(order, kind="stable")].astype(np.uint16)


def _place(pixel: np.ndarray, width: int, kind: int) -> np.ndarray:
    row, column = np.divmod(pixel, width)
    return row * (3 * width + 1) + 1 + 3 * column + kind
