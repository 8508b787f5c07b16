"""Bruker's maps: values of every packing, calibration, images, damage; against RosettaSciIO."""

import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.makers import bruker as maker

from eds_xr import readers
from eds_xr.readers.formats.bruker import container
from eds_xr.readers.formats.bruker import pixels as kernels
from eds_xr.readers.guards import xml
from eds_xr.schema import EdsError

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "map.bcf"


def some_counts(shape: tuple[int, int, int] = (9, 7, 300), *, most: int = 9) -> np.ndarray:
    """Sparse counts with peaks, an empty row, an empty pixel and one fullest channel."""
    profile = np.exp(-np.arange(shape[2]) / 20) + 0.02
    profile[shape[2] // 3 :][:4] = 5
    counts = np.random.default_rng(0).poisson(profile, shape)
    counts[2] = counts[-2, 3] = 0
    counts[-1, -1] = np.minimum(counts[-1, -1], most)
    counts[5, 5, 33] = most
    return counts


def write(path: Path, counts: np.ndarray, flavour: str = maker.MIXED, **more: Any) -> Path:
    return maker.write_bruker(path, maker.pack_lines(counts, flavour), counts.shape, **more)


def read_one(path: Path) -> readers.Recording:
    (recording,) = readers.read(path)
    return recording


def values(recording: readers.Recording, rows: int = 4) -> np.ndarray:
    return np.concatenate(list(recording.row_blocks(rows)))


def by_rosetta(path: Path, *, compiled: bool = True) -> np.ndarray:
    """Return the values as RosettaSciIO reads them, in a dtype that is wide enough."""
    from rsciio.bruker import _api

    file = _api.BCF_reader(str(path))
    spectra = file.header.spectra_data[0].data.size
    shape = (file.header.image.height, file.header.image.width, spectra)
    packed = file.get_file("EDSDatabase/SpectrumData0")
    parse = _api.unbcf_fast.parse_to_numpy if compiled else _api.py_parse_hypermap
    return parse(packed, shape, np.uint32 if compiled else np.int64)


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scatter", [None, 3], ids=["in_order", "scattered"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("flavour", maker.FLAVOURS)
def test_row_blocks__every_packing(
    path: Path, flavour: str, packed: bool, scatter: int | None
) -> None:
    counts = some_counts()
    write(path, counts, flavour, packed=packed, scatter=scatter)
    found = values(read_one(path))
    np.testing.assert_array_equal(found, counts)
    np.testing.assert_array_equal(found, by_rosetta(path))


@pytest.mark.parametrize("rows", [1, 4, 9, 100])
def test_row_blocks__any_number_of_rows(path: Path, rows: int) -> None:
    counts = some_counts()
    recording = read_one(write(path, counts))
    blocks = list(recording.row_blocks(rows))
    assert all(len(block) == rows for block in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate(blocks), counts)


@pytest.mark.parametrize("page_bytes", [1024, 8192])
def test_row_blocks__any_size_of_page(path: Path, page_bytes: int) -> None:
    counts = some_counts((40, 30, 300))  # so that tables continue in further pages
    write(path, counts, page_bytes=page_bytes)
    np.testing.assert_array_equal(values(read_one(path)), counts)


@pytest.mark.parametrize("block_bytes", [100, 1000, 2**20])
def test_row_blocks__any_size_of_block(path: Path, block_bytes: int) -> None:
    counts = some_counts()
    write(path, counts, packed=True, block_bytes=block_bytes)
    np.testing.assert_array_equal(values(read_one(path)), counts)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(*[st.integers(0, n - 1) for n in (4, 3, 90)], st.integers(1, 2**17)), max_size=30
    ),
    st.sampled_from([maker.INSTRUCTED, maker.PULSES_16, maker.PULSES_12]),
)
def test_row_blocks__any_counts(
    path: Path, filled: list[tuple[int, int, int, int]], flavour: str
) -> None:
    counts = np.zeros((4, 3, 90), np.int64)
    for y, x, channel, number in filled:
        counts[y, x, channel] = number if flavour == maker.INSTRUCTED else number % 1000
    lines = [maker.pack_line(line, flavour) for line in counts]
    recording = read_one(maker.write_bruker(path, lines, counts.shape))
    np.testing.assert_array_equal(values(recording), counts)
    assert recording.dtype == np.min_scalar_type(int(counts.max()))


def test_row_blocks__counts_of_four_bytes(path: Path) -> None:
    counts = some_counts(most=5_000_000)
    write(path, counts, maker.INSTRUCTED, packed=True)
    found = values(read_one(path))
    np.testing.assert_array_equal(found, counts)
    # the compiled one reads such runs wrong where they have several channels
    np.testing.assert_array_equal(found, by_rosetta(path, compiled=False))


def test_row_blocks__pixel_recorded_twice_adds_up(path: Path) -> None:
    spectrum = np.full(20, 200)
    pixel = maker.pack_pixel(1, spectrum, maker.INSTRUCTED)
    maker.write_bruker(path, [struct.pack("<I", 2) + 2 * pixel], (1, 2, 20))
    recording = read_one(path)
    assert recording.dtype == np.uint16
    np.testing.assert_array_equal(values(recording)[0], [0 * spectrum, 2 * spectrum])
    np.testing.assert_array_equal(values(recording), by_rosetta(path))


def test_row_blocks__counts_above_the_axis_are_reported(path: Path) -> None:
    counts = some_counts()
    lines = maker.pack_lines(counts)
    recording = read_one(maker.write_bruker(path, lines, (9, 7, 100)))
    with pytest.warns(UserWarning, match=f"{counts[..., 100:].sum()} counts lie above the end"):
        found = values(recording)
    np.testing.assert_array_equal(found, counts[..., :100])


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_row_blocks__bounded_memory(path: Path, packed: bool) -> None:
    line = maker.pack_line(np.eye(32, 4096, dtype=np.int64))
    maker.write_bruker(path, [line] * 400, (400, 32, 4096), packed=packed)
    recording = read_one(path)
    values(read_one(write(path.with_name("b.bcf"), some_counts())))  # compiles
    tracemalloc.start()
    try:
        total = sum(int(block.sum()) for block in recording.row_blocks(2))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 400 * 32
    assert peak < 6 * 2**20 < 400 * 32 * 4096 / 8


# --- dtype -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "most", "dtype"),
    [
        (maker.INSTRUCTED, 255, "uint8"),
        (maker.INSTRUCTED, 256, "uint16"),
        (maker.INSTRUCTED, 65_535, "uint16"),
        (maker.INSTRUCTED, 65_536, "uint32"),
        (maker.PULSES_12, 255, "uint8"),
        (maker.PULSES_12, 256, "uint16"),
    ],
)
def test_dtype__smallest_that_holds_the_fullest(
    path: Path, flavour: str, most: int, dtype: str
) -> None:
    recording = read_one(write(path, some_counts(most=most), flavour))
    assert recording.dtype == dtype
    assert values(recording).dtype == dtype


def test_dtype__looked_for_on_first_use_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans: list[int] = []
    find = kernels.find_largest

    def counting(*arguments: Any) -> int:
        scans.append(1)
        return find(*arguments)

    monkeypatch.setattr(kernels, "find_largest", counting)
    recording = read_one(write(path, some_counts()))
    assert not scans
    values(recording)
    assert recording.dtype == np.uint8
    assert len(scans) == 1


# --- what the header says ----------------------------------------------------------------------


def test_read__axes_and_attributes(path: Path) -> None:
    recording = read_one(write(path, some_counts()))
    y, x, energy = recording.axes
    assert (y.units, x.units, energy.units) == ("nm", "nm", "keV")
    np.testing.assert_allclose(y.values, 2.5 * np.arange(9))
    np.testing.assert_allclose(x.values, 1.5 * np.arange(7))
    np.testing.assert_allclose(energy.values, -0.475 + 0.01 * np.arange(300))
    assert recording.attrs.pop("energy_resolution_mnka_ev") == pytest.approx(130.8, abs=0.1)
    assert recording.attrs.pop("real_time_s") == pytest.approx(9 * 3 * 7 * 100e-6)
    assert recording.attrs == {
        "signal_type": "EDS_TEM",
        "beam_energy_kev": 200.0,
        "tilt_deg": 12.5,
        "elevation_angle_deg": 18.0,
        "azimuth_angle_deg": 45.0,
        "elements": ["Ti", "O"],
    }


def test_read__decimal_comma(path: Path) -> None:
    counts = some_counts()
    recording = read_one(write(path, counts, header=maker.header_xml(counts.shape, decimal=",")))
    assert recording.axes[1].values[1] == pytest.approx(1.5)


def test_read__times_that_the_file_gives(path: Path) -> None:
    counts = some_counts()
    times = b"<RealTime>5000</RealTime><LifeTime>4000</LifeTime><Amplification>"
    header = maker.header_xml(counts.shape).replace(b"<Amplification>", times)
    recording = read_one(write(path, counts, header=header))
    assert (recording.attrs["real_time_s"], recording.attrs["live_time_s"]) == (5.0, 4.0)


def test_read__lines_passed_over_more_often_have_more_live_time(path: Path) -> None:
    counts = some_counts()
    times = b"<RealTime>5000</RealTime><LifeTime>4000</LifeTime><Amplification>"
    header = maker.header_xml(counts.shape).replace(b"<Amplification>", times)
    first, last = header.split(b"<LineCounter>")[1].split(b"</LineCounter>")[0], b"3"
    assert first.split(b",") == [last] * 9
    stopped = header.replace(first, b"3,3,3,3,3,2,2,2,2")
    recording = read_one(write(path, counts, header=stopped))
    time = recording.images["live_time_s"]
    assert float(time.sum()) == pytest.approx(4.0)
    np.testing.assert_allclose(time[0] / time[-1], 1.5)
    assert "live_time_s" not in read_one(write(path, counts, header=header)).images


def test_read__no_pixel_size_is_pixels(path: Path) -> None:
    counts = some_counts()
    header = maker.header_xml(counts.shape).replace(b"DX>", b"D>").replace(b"DY>", b"D>")
    assert [axis.units for axis in read_one(write(path, counts, header=header)).axes[:2]] == [
        "px",
        "px",
    ]


def test_read__low_voltage_is_sem(path: Path) -> None:
    counts = some_counts()
    header = maker.header_xml(counts.shape).replace(b">2E2<", b">1.5E1<")
    attrs = read_one(write(path, counts, header=header)).attrs
    assert (attrs["signal_type"], attrs["beam_energy_kev"]) == ("EDS_SEM", 15.0)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_read__images_on_the_grid_that_are_not_empty(path: Path, dtype: str) -> None:
    image = np.arange(63, dtype=dtype).reshape(9, 7)
    images = {"HAADF": image, "BF": 0 * image, "x": image}
    found = read_one(write(path, some_counts(), images=images)).images
    assert list(found) == ["haadf", "x_2"]
    np.testing.assert_array_equal(found["haadf"], image)
    assert found["haadf"].dtype == dtype


def test_read__images_of_another_size_stay_away(path: Path) -> None:
    images = {"overview": np.ones((20, 30), np.uint16)}
    assert not read_one(write(path, some_counts(), images=images)).images


def test_read__original_metadata_is_the_whole_header_without_values(path: Path) -> None:
    image = np.ones((9, 7), np.uint16)
    tree = read_one(write(path, some_counts(), images={"HAADF": image})).original_metadata
    assert tree["Name"] == "Map µ"
    assert tree["TRTSEMData"]["HV"] == "200"
    assert tree["TRTImageData"]["Plane0"]["Data"] == "168 characters, left out"
    regions = tree["TRTContainerClass"]["ChildClassInstances"]["TRTElementInformationList"]
    regions = regions["TRTSpectrumRegionList"]["ChildClassInstances"]["TRTSpectrumRegion"]
    assert [region["Name"] for region in regions] == ["Ti", "O", "Ti"]


def test_read__several_maps(path: Path) -> None:
    one, two = some_counts(), some_counts() * 2
    more = [maker.pack_lines(two)]
    found = readers.read(write(path, one, more_maps=more))
    assert [r.name for r in found] == ["SpectrumData0", "SpectrumData1"]
    for recording, counts in zip(found, (one, two), strict=True):
        np.testing.assert_array_equal(values(recording), counts)
    with pytest.raises(EdsError, match="2 spectrum images: choose signal="):
        readers.select(found, None)


# --- damage ------------------------------------------------------------------------------------


def patched(path: Path, at: int, content: bytes) -> Path:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
    return path


def with_lines(path: Path, lines: list[bytes], **more: Any) -> readers.Recording:
    return read_one(maker.write_bruker(path, lines, (len(lines), 4, 20), **more))


PIXEL = maker.pack_pixel(1, np.arange(20), maker.INSTRUCTED)
ONE = struct.pack("<I", 1)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("part", [0.001, 0.02, 0.1, 0.5, 0.9, 0.99])
def test_read__truncated(path: Path, part: float, packed: bool) -> None:
    content = write(path, some_counts((40, 30, 300)), packed=packed).read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(EdsError, match="map.bcf is cut short"):
        read_one(path)


@pytest.mark.parametrize("cut", [1, 3, 21, 40])
def test_row_blocks__map_ends_before_its_last_row(path: Path, cut: int) -> None:
    lines = [ONE + PIXEL] * 3
    recording = with_lines(path, [*lines[:2], lines[2][:-cut]])
    with pytest.raises(EdsError, match="its map ends in row 2, before the last one"):
        values(recording)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (struct.pack("<I", 5) + 5 * PIXEL, "a line has more pixels than the map is wide"),
        (ONE + struct.pack("<I", 4) + PIXEL[4:], "a pixel lies outside the map"),
        (ONE + PIXEL[:18] + b"\xff\xff\xff\x7f" + PIXEL[22:], "contradict their size"),
        (ONE + PIXEL[:18] + bytes(4) + PIXEL[22:], "contradict their size"),
        (ONE + PIXEL[:12] + b"\1\0\0\0\xff\xff" + PIXEL[18:], "contradict their size"),
        (ONE + PIXEL[:12] + b"\0\0\0\0\xff\xff" + PIXEL[18:], "contradict their size"),
        (ONE + PIXEL[:22] + b"\3" + PIXEL[23:], "contradict their size"),
        (ONE + PIXEL[:22] + b"\2\xff" + PIXEL[24:], "contradict their size"),
        (
            ONE + PIXEL[:18] + struct.pack("<I", 18) + b"\x08\1" + b"\xff" * 8 + bytes(8),
            "more counts than can be",
        ),
    ],
)
def test_row_blocks__damaged_pixel(path: Path, line: bytes, message: str) -> None:
    recording = with_lines(path, [line])
    with pytest.raises(EdsError, match=rf"map.bcf is damaged: .*{message}.* \(in row 0\)"):
        values(recording)


@pytest.mark.parametrize(("flag", "pulses"), [(1, 1), (1, 2), (1, 3), (0, 1)])
def test_row_blocks__pulses_at_the_very_end(path: Path, flag: int, pulses: int) -> None:
    short = struct.pack("<IHHIHHHI", 0, 20, 0, 0, flag, 0, pulses, 1) + b"\1"
    with pytest.raises(EdsError, match="contradict their size"):
        values(with_lines(path, [ONE + short]))


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (2**31, 4), (65_535, 2**16)])
def test_read__hostile_size_of_the_map(path: Path, size: tuple[int, int]) -> None:
    content = write(path, some_counts()).read_bytes()
    at = content.index(struct.pack("<III", 9, 7, 4096))
    with pytest.raises(EdsError, match="its map would have"):
        read_one(patched(path, at, struct.pack("<II", *size)))


def test_read__row_that_no_memory_holds(path: Path) -> None:
    content = write(path, some_counts()).read_bytes()
    at = content.index(struct.pack("<III", 9, 7, 4096))
    header = maker.header_xml((9, 7, 60_000))
    content = write(path, some_counts(), header=header).read_bytes()
    at = content.index(struct.pack("<III", 9, 7, 4096))
    with pytest.raises(EdsError, match="its map would have 9 x 65000 x 60000 values"):
        read_one(patched(path, at, struct.pack("<II", 9, 65_000)))


@pytest.mark.parametrize(
    ("at", "content", "message"),
    [
        (0x128, bytes(4), "its pages would have 0 bytes"),
        (0x128, b"\xff" * 4, "its pages would have 4294967295 bytes"),
        (0x140, b"\xff" * 4, "asks for page 4294967295"),
        (0x144, b"\xff" * 4, "asks for page"),
    ],
)
def test_read__hostile_head(path: Path, at: int, content: bytes, message: str) -> None:
    write(path, some_counts())
    with pytest.raises(EdsError, match=f"map.bcf is damaged: .*{message}"):
        read_one(patched(path, at, content))


def entry_of(content: bytes, name: bytes) -> int:
    """Return where the directory's entry for a file begins."""
    return content.index(name + b"\0") - 224


@pytest.mark.parametrize(
    ("field", "content", "message"),
    [
        (0, b"\xff" * 4, "asks for page 4294967295"),
        (4, b"\xff" * 8, "asks for page"),
        (40, struct.pack("<i", 1), "a folder of its directory lies in none"),
        (40, struct.pack("<i", 9), "a folder of its directory lies in none"),
    ],
)
def test_read__hostile_directory(path: Path, field: int, content: bytes, message: str) -> None:
    at = entry_of(write(path, some_counts()).read_bytes(), b"HeaderData") + field
    with pytest.raises(EdsError, match=message):
        read_one(patched(path, at, content))


def test_read__table_in_a_circle(path: Path) -> None:
    content = write(path, some_counts((60, 40, 300)), page_bytes=1024).read_bytes()
    (table,) = struct.unpack_from("<I", content, entry_of(content, b"SpectrumData0"))
    at = 0x118 + table * 1024
    with pytest.raises(EdsError, match=f"page {table} continues itself"):
        read_one(patched(path, at, struct.pack("<I", table)))


def test_read__page_used_twice(path: Path) -> None:
    content = write(path, some_counts((60, 40, 300))).read_bytes()
    (table,) = struct.unpack_from("<I", content, entry_of(content, b"SpectrumData0"))
    at = 0x118 + table * PAGE + 32
    with pytest.raises(EdsError, match="a page is used twice"):
        read_one(patched(path, at, 2 * content[at : at + 4]))


def test_read__block_that_grows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "_block", lambda content: bomb(2**24))
    write(path, some_counts(), packed=True)
    with pytest.raises(EdsError, match="unpacks to other than the 65536 bytes"):
        read_one(path)


def test_read__many_blocks_that_grow(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "_LARGEST_UNPACKED", 2**20)
    lines = [bytes(4)] * 60_000
    maker.write_bruker(path, lines, (60_000, 4, 20), packed=True)
    assert values(read_one(path), 60_000).shape == (60_000, 4, 20)  # 240 kB are harmless
    monkeypatch.setattr(container, "_LARGEST_UNPACKED", 2**16)
    with pytest.raises(EdsError, match="would unpack to more than 100 times"):
        values(read_one(path))


def bomb(size: int) -> bytes:
    stored = zlib.compress(bytes(size))
    return struct.pack("<IIII", len(stored), size, 0, len(stored) + 16) + stored


ENTITIES = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">'
    + "".join(f'<!ENTITY c{i} "{f"&{chr(98 + i)};" * 10}">' for i in range(8))
    + "]><a>&c7;</a>"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_read__entities_that_grow(path: Path, encoding: str) -> None:
    write(path, some_counts(), header=ENTITIES.encode(encoding))
    with pytest.raises(EdsError, match="header of map.bcf declares a document type"):
        read_one(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"<a>" * 200, "too many elements"),
        (b"", "is not XML"),
        (b"\x00\x01encrypted", "is not XML"),
        (b'<?xml version="1.0" encoding="none-such"?><a/>', "is not XML"),
        (b"<a/>", "describes no map"),
    ],
)
def test_read__header_of_another_kind(path: Path, header: bytes, message: str) -> None:
    with pytest.raises(EdsError, match=message):
        read_one(write(path, some_counts(), header=header))


def test_parse__too_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "_MOST_ELEMENTS", 10)
    assert len(xml.parse([b"<a>", b"<b/>" * 9, b"</a>"], "it")) == 9
    with pytest.raises(EdsError, match="it has too many elements"):
        xml.parse([b"<a>", b"<b/>" * 10, b"</a>"], "it")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"CalibLin", b"CalibNot", "the calibration of its energy axis is missing"),
        (b">1.0E-2<", b">0<", "the calibration of its energy axis is missing"),
        (b"<Channels>", b"<Chan/><Channels>" + b"1," * 70_000, "would have 70300 channels"),
        (b"<Data>AAAA", b"<Data>", "image 'BF' are amiss"),
        (b"<ItemSize>2", b"<ItemSize>3", "image 'BF' are amiss"),
    ],
)
def test_read__header_that_lacks(path: Path, old: bytes, new: bytes, message: str) -> None:
    counts = some_counts()
    header = maker.header_xml(counts.shape).replace(old, new)
    with pytest.raises(EdsError, match=message):
        read_one(write(path, counts, header=header))


def test_read__other_container(path: Path) -> None:
    content = write(path, some_counts()).read_bytes()
    patched(path, content.index(b"EDSDatabase\0"), b"EBSDData\0\0\0")
    with pytest.raises(EdsError, match=r"no X-ray map: .* found 'EBSDData/HeaderData'"):
        read_one(path)


def test_read__renamed(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" * 100)
    with pytest.raises(EdsError, match="its content is of another kind"):
        read_one(path)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_read__mutations_give_values_or_a_clear_error(path: Path, packed: bool) -> None:
    random = np.random.default_rng(5)
    counts = some_counts((6, 6, 90))
    content = write(path, counts, packed=packed, block_bytes=2000).read_bytes()
    outcomes = set()
    for _ in range(150):
        mutated = np.frombuffer(content, np.uint8).copy()
        low = random.choice([0, 0x118, PAGE, len(content) - 2 * PAGE])
        places = random.integers(low, min(low + 5 * PAGE, len(content)), random.integers(1, 9))
        mutated[places] = random.choice([0, 1, 255, random.integers(256)], places.size)
        path.write_bytes(mutated.tobytes())
        outcomes.add(_outcome(path))
    assert outcomes == {"values", "error"}


def _outcome(path: Path) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # counts above the axis
            for recording in readers.read(path):
                values(recording)
    except EdsError:
        return "error"
    return "values"


# --- the real file -----------------------------------------------------------------------------


@pytest.mark.vendor
def test_read__real_map_equals_rosettasciio(vendor_file: Callable[[str], Path]) -> None:
    from rsciio.bruker import file_reader

    path = vendor_file("test_TEM.bcf")
    image, spectra = file_reader(str(path))
    recording = read_one(path)
    assert (recording.shape, recording.dtype) == ((64, 64, 2048), np.uint8)
    found = values(recording, 7)
    assert found.sum() == 26_005
    np.testing.assert_array_equal(found, spectra["data"])
    np.testing.assert_array_equal(recording.images["haadf"], image["data"])
    y, x, energy = recording.axes
    assert (x.units, x.values[1]) == ("nm", pytest.approx(1e3 * spectra["axes"][1]["scale"]))
    assert (y.units, y.values[1]) == ("nm", pytest.approx(1e3 * spectra["axes"][0]["scale"]))
    np.testing.assert_allclose(energy.values[:2], [-0.47544754, -0.46544654])
    detector = spectra["metadata"]["Acquisition_instrument"]["TEM"]["Detector"]["EDS"]
    assert recording.attrs["beam_energy_kev"] == 200
    assert recording.attrs["elevation_angle_deg"] == detector["elevation_angle"]
    assert recording.attrs["azimuth_angle_deg"] == detector["azimuth_angle"]
    assert recording.attrs["real_time_s"] == pytest.approx(detector["real_time"])
    assert sorted(recording.attrs["elements"]) == spectra["metadata"]["Sample"]["elements"]
