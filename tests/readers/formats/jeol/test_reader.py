"""JEOL's recordings: streams of events of several sweeps, the header's tree, damage."""

import json
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.makers.jeol import (
    CHANNELS,
    COLUMN,
    EVENT,
    F4,
    ROW,
    TEXT,
    frame_words,
    header_tree,
    leaf,
    node,
    random_words,
    with_ticks,
    write_pts,
)

from eds_xr import readers
from eds_xr.readers.formats.jeol import header, reader
from eds_xr.readers.frames import event_words
from eds_xr.readers.frames import sums as frame_sums
from eds_xr.schema import EdsError

REAL = "View000_0000006.pts"
GRID = (8, 8)
RNG = np.random.default_rng(5)
#: [frame, y, x, energy; counts], and the electron detector's signal [frame, y, x].
COUNTS = RNG.poisson(0.004, (3, *GRID, CHANNELS)).astype(np.uint8)
IMAGES = RNG.integers(0, 4096, (3, *GRID))


def frames(counts: np.ndarray = COUNTS, **options: Any) -> list[np.ndarray]:
    return [with_ticks(frame_words(frame, rng=RNG, **options)) for frame in counts]


def written(path: Path, **options: Any) -> Path:
    return write_pts(path / "map.pts", frames(), GRID, **{"sweeps": 3, **options})


def only(path: Path) -> readers.Recording:
    (recording,) = readers.read(path)
    return recording


def whole(recording: readers.Recording, rows: int = 3) -> np.ndarray:
    blocks = list(recording.row_blocks(rows))
    assert all(block.dtype == recording.dtype for block in blocks)
    assert sum(len(block) for block in blocks) == recording.shape[0]
    return np.concatenate(blocks)


def stream_of(recording: readers.Recording) -> dict[str, Any]:
    return recording.original_metadata["stream"]


def by_rosettasciio(path: Path, **options: Any) -> list[np.ndarray]:
    from rsciio.jeol import file_reader

    options = {"SI_dtype": np.uint16, **options}
    return [entry["data"] for entry in file_reader(str(path), **options)]


# --- counts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 8, 100])
@pytest.mark.parametrize("length_from_file", [True, False])
def test_read__every_count_of_all_frames(tmp_path: Path, rows: int, length_from_file: bool) -> None:
    recording = only(written(tmp_path, length_from_file=length_from_file))
    assert recording.shape == (*GRID, CHANNELS)
    np.testing.assert_array_equal(whole(recording, rows), COUNTS.sum(0))


def test_read__as_rosettasciio(tmp_path: Path) -> None:
    words = [with_ticks(frame_words(c, image=i)) for c, i in zip(COUNTS, IMAGES, strict=True)]
    path = write_pts(tmp_path / "a.pts", words, GRID, sweeps=3)
    recording = only(path)
    counts, image = by_rosettasciio(path, read_em_image=True)
    np.testing.assert_array_equal(whole(recording), counts)
    np.testing.assert_allclose(recording.images["electron_image"], image / 3, rtol=1e-6)


@pytest.mark.parametrize("chosen", [[0], [2], [0, 2], [1, 2]])
def test_open_frames__chosen_as_rosettasciio(tmp_path: Path, chosen: list[int]) -> None:
    path = written(tmp_path)
    recording = only(path)
    assert recording.open_frames is not None
    (expected,) = by_rosettasciio(path, frame_list=chosen)
    blocks = frame_sums.summed(
        recording.open_frames, (*GRID, CHANNELS), np.dtype(np.uint16), 3, chosen
    )
    np.testing.assert_array_equal(np.concatenate(list(blocks)), expected)


def test_open_frames__each_frame(tmp_path: Path) -> None:
    recording = only(written(tmp_path))
    assert recording.open_frames is not None
    with recording.open_frames() as found:
        assert (found.number, found.shape) == (3, (*GRID, CHANNELS))
        for i, frame in enumerate(COUNTS):
            np.testing.assert_array_equal(found.counts(i), frame.sum(-1))
            out = np.ones((4, 8, CHANNELS), np.uint8)
            found.add(i, slice(3, 7), out)
            np.testing.assert_array_equal(out - 1, frame[3:7])


@given(
    height=st.sampled_from([1, 2, 8]),
    width=st.sampled_from([1, 4, 32]),
    number=st.integers(1, 4),
    density=st.sampled_from([0.0001, 0.003]),
    seed=st.integers(0, 99),
)
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_read__any_scan(
    tmp_path: Path, height: int, width: int, number: int, density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(density, (number, height, width, CHANNELS))
    if height == 1:  # columns that go back are all that parts the frames of one row
        counts[:, :, [0, -1], 100] = 1
    path = write_pts(tmp_path / "a.pts", frames(counts), (height, width))
    np.testing.assert_array_equal(whole(only(path)), counts.sum(0))
    assert stream_of(only(path))["frames"] == (number if height * width > 1 else 1)


def test_read__pieces_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    for words in (1, 7, 1000):
        monkeypatch.setattr(event_words, "_PIECE", words)
        np.testing.assert_array_equal(whole(only(path)), COUNTS.sum(0))


def test_read__dtype_holds_the_fullest_pixel(tmp_path: Path) -> None:
    events = np.full(300, EVENT | 500)
    path = write_pts(tmp_path / "a.pts", [np.array([ROW, COLUMN, *events])], (1, 1))
    recording = only(path)
    assert (recording.dtype, recording.open_frames) == (np.uint16, None)
    assert whole(recording)[0, 0, 500] == 300


def test_row_blocks__memory_is_that_of_a_block(tmp_path: Path) -> None:
    grid = (256, 128)  # 128 MiB dense
    path = write_pts(tmp_path / "a.pts", [random_words(RNG, grid, 2)] * 2, grid)
    recording = only(path)
    tracemalloc.start()
    try:
        total = sum(int(block.sum(dtype=np.int64)) for block in recording.row_blocks(8))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == stream_of(recording)["words"]["event"]
    assert peak < 3 * 8 * 128 * CHANNELS


# --- parts of a grid, frames -------------------------------------------------------------------


def test_read__line_scan(tmp_path: Path) -> None:
    counts = np.zeros((4, 1, 16, CHANNELS), np.uint8)
    counts[:, 0, ::3, 100:103] = 1
    words = frames(counts, grid=(16, 16), corner=(5, 0))
    without_row = [words[0], words[1][1:], words[2], words[3][1:]]  # JEOL names it now and then
    path = write_pts(tmp_path / "a.pts", without_row, (16, 16), aim_area=(0, 5, 15, 5))
    recording = only(path)
    assert recording.shape == (1, 16, CHANNELS)
    assert recording.axes[0].values == pytest.approx([5 * 178e6 / 40000 / 16])
    np.testing.assert_array_equal(whole(recording), counts.sum(0))
    assert recording.open_frames is not None
    with recording.open_frames() as found:
        assert found.number == 4
        assert [found.counts(i).sum() for i in range(4)] == [18] * 4


def test_read__part_of_a_grid(tmp_path: Path) -> None:
    words = frames(COUNTS, grid=(16, 32), corner=(4, 20), image=IMAGES[0])
    path = write_pts(tmp_path / "a.pts", words, (16, 32), aim_area=(20, 4, 27, 11))
    recording = only(path)
    assert stream_of(recording)["first_row_and_column"] == [4, 20]
    assert stream_of(recording)["last_frame_is_complete"]
    np.testing.assert_allclose(recording.axes[1].values, 178e6 / 40000 / 32 * np.arange(20, 28))
    np.testing.assert_array_equal(whole(recording), COUNTS.sum(0))
    np.testing.assert_array_equal(recording.images["electron_image"], IMAGES[0])
    assert recording.open_frames is not None
    with recording.open_frames() as found:
        np.testing.assert_array_equal(found.counts(1), COUNTS[1].sum(-1))


@pytest.mark.parametrize("area", [(1, 1, 6, 6), (3, 3, 2, 2), (0, 0, 7, 8)])
def test_read__events_outside_of_the_area_are_kept(
    tmp_path: Path, area: tuple[int, int, int, int]
) -> None:
    recording = only(written(tmp_path, aim_area=area))
    np.testing.assert_array_equal(whole(recording), COUNTS.sum(0))


def test_read__last_frame_incomplete(tmp_path: Path) -> None:
    words = frames()
    second_half = np.flatnonzero(words[2] == (ROW | 4 * 512))[0]
    words[2] = words[2][:second_half]
    path = write_pts(tmp_path / "a.pts", words, GRID, sweeps=2)
    recording = only(path)
    expected = COUNTS.sum(0)
    expected[4:] -= COUNTS[2, 4:]
    np.testing.assert_array_equal(whole(recording), expected)
    said = stream_of(recording)
    assert (said["frames"], said["last_frame_is_complete"], said["last_frame_rows"]) == (
        3,
        False,
        4,
    )
    each = by_rosettasciio(path, sum_frames=False, only_valid_data=False)[0]
    np.testing.assert_array_equal(each.sum(0), expected)
    complete = frame_sums.summed(
        recording.open_frames, (*GRID, CHANNELS), np.dtype(np.uint16), 8, [0, 1]
    )
    np.testing.assert_array_equal(np.concatenate(list(complete)), by_rosettasciio(path)[0])


def test_read__image_is_the_mean_of_the_visits(tmp_path: Path) -> None:
    image = np.array([[10, 20], [30, 40]])
    empty = np.zeros((2, 2, CHANNELS), int)
    words = [frame_words(empty, image=image), frame_words(empty, image=3 * image)[:4]]
    recording = only(write_pts(tmp_path / "a.pts", words, (2, 2)))
    found = recording.images["electron_image"]
    np.testing.assert_array_equal(found, [[20, 20], [30, 40]])
    assert (found.dtype, recording.dtype) == (np.float32, np.uint8)


def test_read__no_image(tmp_path: Path) -> None:
    assert only(written(tmp_path)).images == {}


# --- header ------------------------------------------------------------------------------------


def test_read__axes(tmp_path: Path) -> None:
    y, x, energy = only(written(tmp_path, zero_channel=90)).axes
    assert [a.name for a in (y, x, energy)] == ["y", "x", "energy"]
    assert [a.units for a in (y, x, energy)] == ["nm", "nm", "keV"]
    np.testing.assert_allclose(x.values, 178e6 / 40000 / 8 * np.arange(8))
    np.testing.assert_allclose(y.values, x.values)
    np.testing.assert_allclose(energy.values, -0.00122558 + 0.01 * (np.arange(4096) - 90))


def test_read__attributes(tmp_path: Path) -> None:
    recording = only(written(tmp_path))
    assert recording.name == "View001"
    assert recording.attrs == {
        "beam_energy_kev": 200.0,
        "live_time_s": 325.46,
        "real_time_s": 366.9,
        "dwell_time_s": pytest.approx(1e-4),
        "elevation_angle_deg": 22.3,
        "azimuth_angle_deg": 90.0,
        "tilt_deg": 5.0,
        "energy_resolution_mnka_ev": 138.0,
        "elements": ["C", "Pd"],
        "signal_type": "EDS_TEM",
    }


def test_read__scanning_microscope(tmp_path: Path) -> None:
    assert only(written(tmp_path, beam_kev=20.0)).attrs["signal_type"] == "EDS_SEM"


def test_read__original_metadata_is_all_of_the_header(tmp_path: Path) -> None:
    found = only(written(tmp_path, sweeps=3)).original_metadata
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    page = found["header"]["PTTD Param"]["Params"]["PARAMPAGE0"]
    assert (page["_value"], page["SEM"], page["ﾎﾟｰﾄ"]) == ("SEM", "JEM-2100F(UHR)", "ED")
    document = found["header"]["PTTD Data"]["AnalyzableMap MeasData"]["Doc"]
    assert document["Sweep"] == 3
    assert document["CountRate"]["sum"] == [1419054, 1644962596]
    assert found["file"]["recorded"] == "2017-04-07T18:16:41"
    assert found["stream"]["words"]["row"] == 3 * 8
    assert found["stream"]["words"]["event"] == COUNTS.sum()
    assert found["stream"]["words"]["real time"] > 0


def test_read__no_magnification(tmp_path: Path) -> None:
    x = only(written(tmp_path, magnification=0)).axes[1]
    assert x.units == "px"
    np.testing.assert_array_equal(x.values, np.arange(8))


def test_read__file_without_title(tmp_path: Path) -> None:
    assert only(written(tmp_path, title="")).name == "map"


def test_read_tree__values_of_every_kind() -> None:
    extra = b"".join(
        [
            leaf("A", F4, 0.1),
            leaf("A", F4, 0.2),
            leaf("odd", 65553, b"\x01\x02"),
            leaf("long", 65553, bytes(100)),
            leaf("misfit", F4, [1.0, 2.0]),
            node("none"),
            node("both", leaf("x", TEXT, "y\0z")),
        ]
    )
    tree = header.read_tree(bytes(12) + extra + b"\xff")
    assert tree.pop("misfit") == struct.pack("<2f", 1, 2).hex()
    assert tree == {
        "A": 0.1,
        "A_1": 0.2,
        "odd": "0102",
        "long": "100 bytes of type 65553",
        "none": {},
        "both": {"x": "y"},
    }


# --- damage ------------------------------------------------------------------------------------


def test_recognises__only_jeol() -> None:
    assert reader.recognises(b"\x30\x01\0\0PTTDFILE\0\0")
    assert not reader.recognises(b"PTTDFILE")


def test_read__other_content(tmp_path: Path) -> None:
    path = tmp_path / "a.pts"
    path.write_bytes(b"[Playlist]" * 100)
    with pytest.raises(EdsError, match=r"is named \.pts, but its content is of another kind"):
        readers.read(path)


@pytest.mark.parametrize("part", [0.0005, 0.01, 0.2, 0.5, 0.7, 0.9, 0.9999])
@pytest.mark.parametrize("length_from_file", [True, False])
def test_read__truncated(tmp_path: Path, part: float, length_from_file: bool) -> None:
    path = written(tmp_path, length_from_file=length_from_file)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(EdsError, match=r"cut short|header is damaged|is of another kind"):
        readers.read(path)


def test_read__longer_than_the_header_says(tmp_path: Path) -> None:
    path = written(tmp_path)
    last = struct.pack("<3HB", ROW | 7 * 512, COLUMN | 7 * 512, EVENT | 9, 1)
    path.write_bytes(path.read_bytes() + last)
    expected = COUNTS.sum(0)
    expected[7, 7, 9] += 1
    np.testing.assert_array_equal(whole(only(path)), expected)


def test_read__no_events(tmp_path: Path) -> None:
    path = write_pts(tmp_path / "a.pts", [], GRID)
    with pytest.raises(EdsError, match=r"a\.pts: the file holds no events"):
        readers.read(path)


def test_read__stream_with_a_hole(tmp_path: Path) -> None:
    words = frames()
    words[1][40:140] = 0
    with pytest.raises(EdsError, match="100 words of its stream of events are zero"):
        readers.read(write_pts(tmp_path / "a.pts", words, GRID))


def test_read__what_is_no_event_is_counted(tmp_path: Path) -> None:
    words = [np.array([EVENT | 5, ROW, EVENT | 5, 0x1234, 0xF000, 0xF001]), *frames()]
    recording = only(write_pts(tmp_path / "a.pts", words, GRID))
    np.testing.assert_array_equal(whole(recording), COUNTS.sum(0))
    assert stream_of(recording)["events_without_position"] == 2
    assert stream_of(recording)["words_of_unknown_kind"] == {"0x1": 1, "0xf": 2}


def test_read__positions_between_pixels(tmp_path: Path) -> None:
    words = np.array([ROW | 511, COLUMN | 1023, EVENT | 7, ROW | 4095, COLUMN | 4095, EVENT | 8])
    found = whole(only(write_pts(tmp_path / "a.pts", [words], GRID)))
    assert np.argwhere(found).tolist() == [[0, 1, 7], [7, 7, 8]]


@pytest.mark.parametrize("grid", [(48, 64), (64, 8192), (0, 4)])
def test_read__impossible_grid(tmp_path: Path, grid: tuple[int, int]) -> None:
    path = written(tmp_path, tree=header_tree(grid, aim_area=(0, 0, 3, 3)))
    with pytest.raises(EdsError, match=rf"grid '{grid[1]}x{grid[0]}', expected .* powers of two"):
        readers.read(path)


@pytest.mark.parametrize(
    "wrong", [{"step_kev": 0.0}, {"step_kev": np.nan}, {"offset_kev": 1e30}, {"step_kev": 1e-12}]
)
def test_read__impossible_energies(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(EdsError, match="header does not calibrate the energies: width"):
        readers.read(written(tmp_path, **wrong))


def test_read__empty_tree(tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="the header gives the grid None"):
        readers.read(written(tmp_path, tree=bytes(12) + b"\xff"))


@pytest.mark.parametrize(
    ("tree", "match"),
    [
        (b"", "ends at byte 0"),
        (bytes(12) + b"\x07", "byte 13 of its tree is 7, expected 1 or 255"),
        (
            bytes(12) + b"\x01\xff\xff\xff\xff" + bytes(50),
            "ends at byte 67 of its tree, in a value",
        ),
        (bytes(12) + b"\x01\0\0\0\0\x0c\0\0\0\xff\xff\xff\x7f", "in a value"),
        (bytes(12) + (b"\x01" + bytes(12)) * 60, "too large or too deep"),
        (bytes(12) + (b"\x01" + bytes(12) + b"\xff") * 100_001, "too large or too deep"),
    ],
)
def test_read_tree__hostile(tree: bytes, match: str) -> None:
    with pytest.raises(EdsError, match=match):
        header.read_tree(tree)


def test_read__header_of_gigabytes(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = bytearray(path.read_bytes())
    content[24:28] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    with pytest.raises(EdsError, match="claims a header of 2,147,483,647 bytes"):
        readers.read(path)


def test_read__frames_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_words, "_MOST_ROWS", 1000)
    words = np.tile(np.array([ROW | 512, ROW]), 1000)
    with pytest.raises(
        EdsError, match=r"at most 1,000 image rows .* more than 64 frames of 8 rows"
    ):
        readers.read(write_pts(tmp_path / "a.pts", [words], GRID))


def test_row_blocks__file_was_changed(tmp_path: Path) -> None:
    path = written(tmp_path)
    recording = only(path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(EdsError, match=r"map\.pts was changed since it was opened"):
        next(recording.row_blocks(3))
    path.unlink()
    with pytest.raises(EdsError, match=r"cannot read map\.pts"):
        next(recording.row_blocks(3))


@pytest.mark.parametrize("seed", range(4))
def test_read__mutated(tmp_path: Path, seed: int) -> None:
    """Whatever the bytes: values, or an EdsError; nothing else."""
    dice, content = random.Random(seed), written(tmp_path).read_bytes()
    ends = (305 + len(header_tree(GRID)), len(content))
    path, outcomes = tmp_path / "b.pts", set()
    for _ in range(100):
        path.write_bytes(_mutated(content, dice, dice.choice(ends)))
        try:
            recording = only(path)
            assert all((np.diff(axis.values) > 0).all() for axis in recording.axes)
            json.dumps(recording.original_metadata, allow_nan=False)
            rows = max(1, 2**24 // (recording.shape[1] * CHANNELS))
            assert next(recording.row_blocks(rows)).dtype == recording.dtype
            outcomes.add("values")
        except EdsError:
            outcomes.add("error")
    assert outcomes == {"values", "error"}


def _mutated(content: bytes, dice: random.Random, end: int) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice([1, 1, 3, 10])):
        place, how = dice.randrange(end), dice.randrange(4)
        if how == 0:
            changed[place] = dice.randrange(256)
        elif how == 1:
            changed[place] ^= 1 << dice.randrange(8)
        elif how == 2:
            number = dice.choice([0, 1, 2**31 - 1, 2**32 - 1, dice.getrandbits(32)])
            changed[place : place + 4] = struct.pack("<I", number)
        else:
            del changed[place : place + dice.randrange(1, 9)]
    return bytes(changed)


# --- real files --------------------------------------------------------------------------------


@pytest.mark.vendor
def test_read__real_file(vendor_file: Callable[[str], Path]) -> None:
    recording = only(vendor_file(REAL))
    assert (recording.name, recording.shape) == ("View001", (512, 512, 4096))
    assert recording.dtype == np.uint8
    assert recording.attrs["beam_energy_kev"] == 200
    assert recording.attrs["elevation_angle_deg"] == 22.3
    assert recording.attrs["live_time_s"] == 325.46
    assert recording.axes[1].values[1] == pytest.approx(8.69140625)
    assert recording.axes[2].values[0] == pytest.approx(-0.960661325)
    said = stream_of(recording)
    assert (said["frames"], said["last_frame_is_complete"]) == (14, True)
    assert said["words"]["real time"] == pytest.approx(36690, rel=1e-3)  # 366.9 s in 10 ms
    assert said["words"]["live time"] == pytest.approx(32546, rel=1e-3)
    assert (said["events_without_position"], said["words_of_unknown_kind"]) == (0, {})


@pytest.mark.vendor
@pytest.mark.slow
@pytest.mark.parametrize("chosen", [None, [1, 7, 13]])
def test_read__real_file_as_rosettasciio(
    vendor_file: Callable[[str], Path], chosen: list[int] | None
) -> None:
    path = vendor_file(REAL)
    recording = only(path)
    (expected,) = by_rosettasciio(path, frame_list=chosen, SI_dtype=np.uint8)
    assert expected.sum(dtype=np.int64) == (308_261 if chosen is None else expected.sum())
    blocks = frame_sums.summed(
        recording.open_frames, expected.shape, np.dtype(np.uint8), 64, chosen
    )
    for start, block in zip(range(0, 512, 64), blocks, strict=True):
        # a gigabyte in all: the messages of np.testing would take most of the time
        assert np.array_equal(block, expected[start : start + 64]), start
