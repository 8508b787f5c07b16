"""Velox files: streams of several detectors and frames, images, metadata, damage."""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.makers.velox import END_OF_PIXEL, SEGMENTS, frame_words, random_words, write_velox

from eds_xr import readers
from eds_xr.readers.formats.velox import reader
from eds_xr.readers.frames import sums as frame_sums
from eds_xr.schema import EdsError

SHAPE = (7, 5, 64)
ARCHIVE = "velox_emd_version11.zip"
STREAM = f"Data/SpectrumStream/{0:032x}"
RNG = np.random.default_rng(3)
#: [detector, frame, y, x, energy; counts]
COUNTS = RNG.poisson(0.05, (4, 3, *SHAPE)).astype(np.uint16)
HAADF = RNG.integers(0, 60_000, (7, 5, 3)).astype(np.uint16)


def streams(counts: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Return the words by detector of counts [detector, frame, y, x, energy]."""
    return {
        name: [frame_words(frame) for frame in frames]
        for name, frames in zip(SEGMENTS, counts, strict=False)
    }


def whole(recording: readers.Recording, rows: int = 3) -> np.ndarray:
    blocks = list(recording.row_blocks(rows))
    assert all(block.dtype == recording.dtype for block in blocks)
    return np.concatenate(blocks)


def taken(path: Path) -> readers.Recording:
    return readers.select(readers.read(path), None)


def by_rosettasciio(path: Path, **options: Any) -> list[np.ndarray]:
    from rsciio.emd import file_reader

    found = file_reader(str(path), select_type="spectrum_image", SI_dtype="uint32", **options)
    return [entry["data"] for entry in found]


@pytest.fixture
def four(tmp_path: Path) -> Path:
    maps = {"Fe": np.ones(SHAPE[:2], np.float32)}
    return write_velox(tmp_path / "map.emd", streams(COUNTS), SHAPE, haadf=HAADF, element_maps=maps)


# --- counts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_read__sum_of_detectors_and_each_of_them(four: Path, rows: int) -> None:
    found = {r.name: r for r in readers.read(four)}
    assert list(found) == ["sum of detectors", *SEGMENTS]
    np.testing.assert_array_equal(whole(found["sum of detectors"], rows), COUNTS.sum((0, 1)))
    for name, counts in zip(SEGMENTS, COUNTS, strict=True):
        np.testing.assert_array_equal(whole(found[name], rows), counts.sum(0))
    assert taken(four).name == "sum of detectors"


def test_read__as_rosettasciio_reads(four: Path) -> None:
    (total,) = by_rosettasciio(four)
    np.testing.assert_array_equal(whole(taken(four)), total)
    each = by_rosettasciio(four, sum_EDS_detectors=False)
    for name, values in zip(SEGMENTS, each, strict=True):
        np.testing.assert_array_equal(whole(readers.select(readers.read(four), name)), values)


@pytest.mark.parametrize("chosen", [(0, 1), (1, 3), (2, 3), (0, 3)])
def test_open_frames__some_frames_as_rosettasciio_reads(four: Path, chosen: tuple) -> None:
    recording = taken(four)
    first, last = chosen
    frames = range(first, last)
    blocks = frame_sums.summed(recording.open_frames, SHAPE, recording.dtype, 4, frames)
    (expected,) = by_rosettasciio(four, first_frame=first, last_frame=last)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), expected)


def test_open_frames__each_frame(four: Path) -> None:
    with taken(four).open_frames() as frames:
        assert (frames.number, frames.shape) == (3, SHAPE)
        for i, expected in enumerate(COUNTS.sum(0)):
            np.testing.assert_array_equal(frames.counts(i), expected.sum(-1))
            out = np.ones((3, *SHAPE[1:]), np.uint8)
            frames.add(i, slice(2, 5), out)
            np.testing.assert_array_equal(out - 1, expected[2:5])


def test_open_frames__image_of_each_frame(four: Path) -> None:
    with taken(four).open_frames() as frames:
        for i in range(3):
            np.testing.assert_array_equal(frames.image(i), HAADF[..., i])


def test_open_frames__no_image_of_each_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.emd"
    maps = {"Fe": np.ones(SHAPE[:2], np.float32)}
    write_velox(path, streams(COUNTS), SHAPE, haadf=HAADF[..., :2], element_maps=maps)
    with taken(path).open_frames() as frames:
        assert not hasattr(frames, "image")


@settings(max_examples=25)
@given(data=st.data())
def test_read__any_grid_frames_and_end(tmp_path_factory: Any, data: st.DataObject) -> None:
    height, width, frames = (data.draw(st.integers(1, n)) for n in (6, 6, 4))
    table, detectors = data.draw(st.booleans()), data.draw(st.integers(1, 2))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    counts = rng.poisson(0.3, (detectors, frames, height, width, 9)).astype(np.uint16)
    words = streams(counts)
    for frame_list in words.values():  # stopped anywhere in the last frame
        frame_list[-1] = frame_list[-1][: data.draw(st.integers(1, frame_list[-1].size))]
    path = tmp_path_factory.mktemp("velox") / "a.emd"
    images = np.zeros((height, width, 1), np.uint16)
    write_velox(path, words, (height, width, 9), haadf=images, frame_table=table)
    (expected,) = by_rosettasciio(path)
    np.testing.assert_array_equal(whole(taken(path), data.draw(st.integers(1, 7))), expected)


@pytest.mark.parametrize(("mean", "dtype"), [(1, "uint8"), (300, "uint16")])
def test_read__dtype_holds_the_fullest_pixel(tmp_path: Path, mean: int, dtype: str) -> None:
    words = [random_words(RNG, 35, 64, mean)]
    recording = taken(write_velox(tmp_path / "a.emd", {"SuperXG21": words}, SHAPE))
    assert recording.dtype == dtype
    with frame_sums.with_frames(recording, slice(None)) as all_frames:
        assert all_frames.dtype == recording.dtype
    assert whole(recording).sum() == words[0].size - 35


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_read__compressed_chunks(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.emd"
    write_velox(path, streams(COUNTS[:1]), SHAPE, compression=compression, chunk=100)
    np.testing.assert_array_equal(whole(taken(path)), COUNTS[0].sum(0))


def test_read__pieces_of_the_stream_meet(four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eds_xr.readers.frames import event_words

    monkeypatch.setattr(event_words, "_PIECE", 5)
    np.testing.assert_array_equal(whole(taken(four)), COUNTS.sum((0, 1)))
    with taken(four).open_frames() as frames:
        np.testing.assert_array_equal(frames.counts(1), COUNTS[:, 1].sum((0, -1)))


# --- frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [True, False])
def test_read__stopped_in_the_last_frame(tmp_path: Path, table: bool) -> None:
    words = streams(COUNTS[:1])
    ends = np.flatnonzero(words["SuperXG21"][-1] == END_OF_PIXEL)
    words["SuperXG21"][-1] = words["SuperXG21"][-1][: ends[11] + 1]
    path = write_velox(tmp_path / "a.emd", words, SHAPE, haadf=HAADF, frame_table=table)
    (recording,) = readers.read(path)
    expected = COUNTS[0, :2].sum(0)
    expected.reshape(35, -1)[:12] += COUNTS[0, 2].reshape(35, -1)[:12]
    np.testing.assert_array_equal(whole(recording), expected)
    found = recording.original_metadata["SpectrumStream"]["SuperXG21"]["stream"]
    assert (found["frames"], found["pixels_of_incomplete_last_frame"]) == (3, 12)
    # the image was stopped, too: its last frame would darken what it did not reach
    np.testing.assert_allclose(recording.images["haadf"], HAADF[..., :2].mean(-1), rtol=1e-6)


def test_read__stopped_in_the_first_frame(tmp_path: Path) -> None:
    words = frame_words(COUNTS[0, 0])
    ends = np.flatnonzero(words == END_OF_PIXEL)
    path = tmp_path / "a.emd"
    write_velox(path, {"SuperXG21": [words[: ends[9] + 1]]}, SHAPE)
    expected = COUNTS[0, 0].reshape(35, -1).copy()
    expected[10:] = 0
    np.testing.assert_array_equal(whole(taken(path)), expected.reshape(SHAPE))


def test_read__mark_of_the_very_last_pixel_may_lack(tmp_path: Path) -> None:
    words = streams(COUNTS[:1])
    words["SuperXG21"] = [frame[:-1] for frame in words["SuperXG21"]]
    recording = taken(write_velox(tmp_path / "a.emd", words, SHAPE))
    np.testing.assert_array_equal(whole(recording), COUNTS[0].sum(0))
    found = recording.original_metadata["SpectrumStream"]["SuperXG21"]["stream"]
    assert found["pixels_of_incomplete_last_frame"] is None


def test_read__frames_that_velox_does_not_show_count_too(tmp_path: Path) -> None:
    path = write_velox(tmp_path / "a.emd", streams(COUNTS), SHAPE, shown_frames=2)
    recording = taken(path)
    np.testing.assert_array_equal(whole(recording), COUNTS.sum((0, 1)))
    assert recording.original_metadata["SpectrumImageSettings"]["endFramePosition"] == "2"


@pytest.mark.parametrize("starts", [[0, 9, 4], [5, 90, 99], [0, 0, 3]])
def test_read__frames_are_counted_where_the_table_is_wrong(four: Path, starts: list) -> None:
    with h5py.File(four, "r+") as file:
        file[f"{STREAM}/FrameLocationTable"][:, 0] = starts
    recording = readers.select(readers.read(four), SEGMENTS[0])
    np.testing.assert_array_equal(whole(recording), COUNTS[0].sum(0))
    found = recording.original_metadata["SpectrumStream"][SEGMENTS[0]]["stream"]
    assert found["frames_found_by"] == "counting pixels"


def test_read__a_lost_mark_shifts_only_its_own_frame(tmp_path: Path) -> None:
    words = streams(COUNTS[:1])["SuperXG21"]
    lost = np.flatnonzero(words[1] == END_OF_PIXEL)[20]
    words[1] = np.delete(words[1], lost)
    recording = taken(write_velox(tmp_path / "a.emd", {"SuperXG21": words}, SHAPE))
    with recording.open_frames() as frames:
        for i in (0, 2):
            np.testing.assert_array_equal(frames.counts(i), COUNTS[0, i].sum(-1))
        assert frames.counts(1).sum() == COUNTS[0, 1].sum()


def test_read__words_beyond_the_channels_are_counted_and_left_out(tmp_path: Path) -> None:
    words = streams(COUNTS[:1])
    words["SuperXG21"][1] = np.insert(words["SuperXG21"][1], 3, [64, 65534])
    recording = taken(write_velox(tmp_path / "a.emd", words, SHAPE))
    np.testing.assert_array_equal(whole(recording), COUNTS[0].sum(0))
    found = recording.original_metadata["SpectrumStream"]["SuperXG21"]["stream"]
    assert found["words_beyond_channels"] == 2
    assert found["photons"] == COUNTS[0].sum()


# --- metadata ----------------------------------------------------------------------------------


def test_read__axes_and_attributes(four: Path) -> None:
    recording = taken(four)
    y, x, energy = recording.axes
    assert [(a.name, a.units) for a in recording.axes] == [
        ("y", "nm"), ("x", "nm"), ("energy", "keV"),
    ]  # fmt: skip
    np.testing.assert_allclose(y.values, -30 + 2 * np.arange(7))
    np.testing.assert_allclose(x.values, -40 + 2 * np.arange(5))
    np.testing.assert_allclose(energy.values, -0.25 + 0.01 * np.arange(64))
    assert recording.attrs == {
        "beam_energy_kev": 200.0,
        "tilt_deg": pytest.approx(np.degrees(0.1), abs=1e-6),
        "elevation_angle_deg": 18.0,
        "live_time_s": pytest.approx(0.6),
        "real_time_s": pytest.approx(0.75),
        "signal_type": "EDS_TEM",
        "elements": ["Mg", "Si", "Fe"],
    }
    azimuths = [r.attrs.get("azimuth_angle_deg") for r in readers.read(four)]
    assert azimuths == [None, 45.0, 135.0, 225.0, 315.0]


def test_read__calibration_as_rosettasciio_reads(four: Path) -> None:
    from rsciio.emd import file_reader

    (entry,) = file_reader(str(four), select_type="spectrum_image")
    for axis, told in zip(taken(four).axes, entry["axes"], strict=True):
        expected = told["offset"] + told["scale"] * np.arange(told["size"])
        assert axis.units == told["units"]
        np.testing.assert_allclose(axis.values, expected, rtol=1e-9, atol=1e-9)


def test_read__without_pixel_size_positions_are_pixels(four: Path) -> None:
    change_metadata(four, lambda tree: tree["BinaryResult"].pop("PixelSize"))
    y, x, _ = readers.select(readers.read(four), SEGMENTS[0]).axes
    assert (y.units, x.units) == ("px", "px")
    np.testing.assert_array_equal(y.values, np.arange(7))


def test_read__part_of_a_larger_scan(tmp_path: Path) -> None:
    path = write_velox(tmp_path / "a.emd", streams(COUNTS), SHAPE, scan_size=(128, 256))
    np.testing.assert_array_equal(whole(taken(path)), COUNTS.sum((0, 1)))


def test_read__grid_of_the_images_where_the_scan_is_not_told(four: Path) -> None:
    change_metadata(four, lambda tree: tree.pop("Scan"))
    np.testing.assert_array_equal(whole(taken(four)), COUNTS.sum((0, 1)))


def test_read__stream_that_sums_the_segments_of_a_detector(tmp_path: Path) -> None:
    words = {"SuperXG2": streams(COUNTS[:1])["SuperXG21"]}
    (recording,) = readers.read(write_velox(tmp_path / "a.emd", words, SHAPE))
    assert recording.name == "SuperXG2"
    assert not recording.preferred
    assert recording.attrs["elevation_angle_deg"] == 18.0
    assert "azimuth_angle_deg" not in recording.attrs


def test_read__detectors_of_two_energy_scales_are_not_summed(tmp_path: Path) -> None:
    path = tmp_path / "a.emd"
    write_velox(path, streams(COUNTS[:2]), SHAPE, scale_ev={"SuperXG22": (-250, 5)})
    found = readers.read(path)
    assert [r.name for r in found] == list(SEGMENTS[:2])
    assert found[1].axes[-1].values[-1] == pytest.approx(-0.25 + 0.005 * 63)
    with pytest.raises(EdsError, match="choose signal= 'SuperXG21', 'SuperXG22'"):
        readers.select(found, None)


def test_read__images_of_the_grid(four: Path) -> None:
    with h5py.File(four, "r+") as file:  # one of another grid
        file.copy(f"Data/Image/{1:032x}", f"Data/Image/{9:032x}")
        del file[f"Data/Image/{9:032x}/Data"]
        file[f"Data/Image/{9:032x}/Data"] = np.zeros((4, 4, 1))
    images = taken(four).images
    assert sorted(images) == ["haadf", "map_fe"]
    np.testing.assert_allclose(images["haadf"], HAADF.mean(-1), rtol=1e-6)
    assert images["haadf"].dtype == np.float32


def test_read__one_frame_of_an_image_is_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "a.emd"
    write_velox(path, streams(COUNTS), SHAPE, haadf=HAADF[..., :1])
    haadf = taken(path).images["haadf"]
    assert haadf.dtype == np.uint16
    np.testing.assert_array_equal(haadf, HAADF[..., 0])


def test_read__original_metadata_is_json(four: Path) -> None:
    tree = json.loads(json.dumps(taken(four).original_metadata, allow_nan=False))
    stream = tree["SpectrumStream"]["SuperXG23"]
    assert stream["Metadata"]["Optics"]["AccelerationVoltage"] == "200000"
    assert stream["AcquisitionSettings"]["bincount"] == "64"
    assert tree["Info"] == {"applicationVersion": "3.10.1"}


def test_read__file_is_closed_afterwards(four: Path) -> None:
    recording = taken(four)
    whole(recording)
    assert recording.images["haadf"].shape == SHAPE[:2]
    with h5py.File(four, "w") as file:  # HDF5 refuses while anyone has it open
        assert not file.keys()


# --- files without a spectrum image --------------------------------------------------------------


def test_read__pruned_file(four: Path) -> None:
    with h5py.File(four, "r+") as file:
        for name in file["Data/SpectrumStream"]:
            del file["Data/SpectrumStream"][name]
    with pytest.raises(EdsError, match=r"map.emd: its spectrum image was pruned.*'Fe', 'HAADF'"):
        readers.read(four)


def test_read__images_only(four: Path) -> None:
    with h5py.File(four, "r+") as file:
        del file["Data/SpectrumStream"], file["Data/SpectrumImage"]
    with pytest.raises(EdsError, match=r"no spectrum image, but 0 single spectra, images: 'Fe'"):
        readers.read(four)


def test_read__single_spectrum(tmp_path: Path) -> None:
    path = write_velox(tmp_path / "a.emd", streams(COUNTS[:1]), SHAPE, frame_table=False)
    with h5py.File(path, "r+") as file:
        replace_text(file, f"{STREAM}/AcquisitionSettings", {"bincount": "64"})
        del file["Data/SpectrumImage"]
        file[f"Data/Spectrum/{0:032x}/Data"] = np.zeros((64, 1))
    with pytest.raises(EdsError, match="no spectrum image, but 1 single spectra, images: none"):
        readers.read(path)


def test_read__hdf5_of_other_software(tmp_path: Path) -> None:
    path = tmp_path / "a.emd"
    with h5py.File(path, "w") as file:
        file.attrs["version_major"] = 0
        file["data/x/data"] = np.zeros((3, 3))
    with pytest.raises(EdsError, match=r"a.emd: expected Velox's own layout, found another"):
        readers.read(path)


# --- damage --------------------------------------------------------------------------------------


def replace_text(file: h5py.File, name: str, tree: Any) -> None:
    del file[name]
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    file.create_dataset(name, data=[text], dtype=h5py.string_dtype())


def change_metadata(path: Path, change: Callable[[dict], Any]) -> None:
    """Change the JSON texts of the first stream, and of all others."""
    with h5py.File(path, "r+") as file:
        for group in file["Data/SpectrumStream"].values():
            for column in range(group["Metadata"].shape[1]):
                tree = json.loads(group["Metadata"][:, column].tobytes().rstrip(b"\0"))
                change(tree)
                text = json.dumps(tree).encode().ljust(len(group["Metadata"]), b"\0")
                group["Metadata"][:, column] = np.frombuffer(text, np.uint8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bincount": "64", "StreamEncoding": "uint32"}, "StreamEncoding is 'uint32', expected"),
        ({"bincount": "70000"}, "bincount of 1 to 65535 channels, found '70000'"),
        ({"bincount": "1e400"}, "bincount of 1 to 65535"),
        ({"bincount": -4}, "bincount of 1 to 65535"),
        ({}, "bincount of 1 to 65535 channels, found None"),
        (b"{" * 100, "is no valid JSON"),
        (b'{"a":' * 100_000, "is no valid JSON"),
        (b"[1]", "is JSON of type list"),
        (b" " * 5_000_000, "is damaged, or larger than 4194304"),
        (b'{"bincount": ' + b"9" * 10_000 + b"}", "is no valid JSON"),
        ({"bincount": "2"}, "are no channel of 2"),
    ],
)
def test_read__hostile_settings(four: Path, settings: Any, message: str) -> None:
    with h5py.File(four, "r+") as file:
        replace_text(file, f"{STREAM}/AcquisitionSettings", settings)
    with pytest.raises(EdsError, match=message):
        readers.read(four)


@pytest.mark.parametrize(
    ("scan", "message"),
    [
        ({"width": "1e9", "height": "1e9"}, "scan of at most 67108864 pixels"),
        ({"width": "-5", "height": "-7"}, "scan of at most|pixels end in the first frame"),
        ({"width": "1e308", "height": "1e308"}, "scan of at most 67108864 pixels"),
    ],
)
def test_read__hostile_scan_size(four: Path, scan: Mapping[str, str], message: str) -> None:
    change_metadata(four, lambda tree: tree["Scan"].update(ScanSize=scan))
    with pytest.raises(EdsError, match=message):
        readers.read(four)


def test_read__grid_that_does_not_fit_the_stream(tmp_path: Path) -> None:
    path = write_velox(tmp_path / "a.emd", streams(COUNTS), SHAPE)
    size = {"width": "9", "height": "9"}
    change_metadata(path, lambda tree: tree["Scan"].update(ScanSize=size))
    with h5py.File(path, "r+") as file:
        replace_text(file, f"{STREAM}/AcquisitionSettings", {"bincount": "64"})
    with pytest.raises(EdsError, match="35 pixels end in the first frame .* scan of 9 x 9"):
        readers.read(path)


def test_read__large_grid_nearly_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.emd"
    write_velox(path, {"SuperXG21": [np.full(99, END_OF_PIXEL, np.uint16)]}, (8192, 8192, 4096))
    with pytest.raises(EdsError, match="only 99 of 67108864 pixels were recorded"):
        readers.read(path)


def test_read__no_energy_scale(four: Path) -> None:
    change_metadata(four, lambda tree: tree.pop("Detectors"))
    with pytest.raises(EdsError, match="one energy scale .* of the detector 'SuperXG2"):
        readers.read(four)


def test_read__empty_stream(tmp_path: Path) -> None:
    path = write_velox(tmp_path / "a.emd", {"SuperXG21": []}, SHAPE)
    with pytest.raises(EdsError, match="stopped before its first pixel"):
        readers.read(path)


@pytest.mark.parametrize("name", ["Data", "Metadata", "AcquisitionSettings"])
def test_read__missing_part(four: Path, name: str) -> None:
    with h5py.File(four, "r+") as file:
        del file[f"{STREAM}/{name}"]
    with pytest.raises(EdsError, match=f"no dataset {STREAM}/{name}"):
        readers.read(four)


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (2**40, 1), "chunks": (8192, 1)},  # none of its chunks was written
        {"shape": (2**40, 1), "chunks": (8192, 1), "compression": "gzip"},
        {"shape": (2**30, 1), "chunks": (2**29, 1)},
    ],
)
def test_read__stream_shorter_than_it_says(four: Path, options: Mapping[str, Any]) -> None:
    with h5py.File(four, "r+") as file:
        del file[f"{STREAM}/Data"]
        file.create_dataset(f"{STREAM}/Data", dtype=np.uint16, **options)
    with pytest.raises(EdsError, match="is shorter than its shape says|far too large"):
        readers.read(four)


def test_read__stream_in_another_file(four: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros((99, 1), np.uint16)
    with h5py.File(four, "r+") as file:
        del file[f"{STREAM}/Data"]
        file[f"{STREAM}/Data"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    with pytest.raises(EdsError, match="lie in another file"):
        readers.read(four)


def test_read__stream_of_other_words(four: Path) -> None:
    with h5py.File(four, "r+") as file:
        del file[f"{STREAM}/Data"]
        file[f"{STREAM}/Data"] = np.zeros((99, 2), np.uint16)
    with pytest.raises(EdsError, match=r"uint16 of shape \(99, 2\), expected a column of uint16"):
        readers.read(four)


@pytest.mark.parametrize("part", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_read__truncated(four: Path, part: float) -> None:
    content = four.read_bytes()
    four.write_bytes(content[: int(part * len(content))])
    with pytest.raises(EdsError, match="cut short or damaged"):
        readers.read(four)


def test_read__too_many_rows_over_all_frames(four: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eds_xr.readers.frames import event_words

    monkeypatch.setattr(event_words, "_MOST_ROWS", 10)
    with pytest.raises(EdsError, match="at most 10 image rows over all frames"):
        readers.read(four)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 12)):
        at, size = rng.integers(len(damaged)), rng.integers(1, 9)
        damaged[at : at + size] = rng.integers(0, 256, size, np.uint8).tobytes()
    return bytes(damaged)


def test_read__mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    path = write_velox(tmp_path / "a.emd", streams(COUNTS[:1, :1]), SHAPE, haadf=HAADF)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        path.write_bytes(mutated(content, rng))
        try:
            for recording in readers.read(path):
                assert whole(recording).shape == recording.shape
                outcomes.add("read")
        except EdsError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


# --- real file ---------------------------------------------------------------------------------


@pytest.fixture
def real_files(
    vendor_file: Callable[[str], Path], tmp_path: Path
) -> Iterator[Callable[[str], Path]]:
    with zipfile.ZipFile(vendor_file(ARCHIVE)) as archive:
        yield lambda name: Path(archive.extract(name, tmp_path))


@pytest.mark.vendor
def test_read__real_file_as_rosettasciio_reads(real_files: Callable[[str], Path]) -> None:
    path = real_files("Test SI 16x16 215 kx.emd")
    found = {r.name: r for r in reader.read(path)}
    assert list(found) == ["sum of detectors", *SEGMENTS]
    total = whole(found["sum of detectors"])
    assert (total.shape, total.sum()) == ((16, 16, 4096), 42_097)
    np.testing.assert_array_equal(total, by_rosettasciio(path)[0])
    each = by_rosettasciio(path, sum_EDS_detectors=False)
    names = ["SuperXG23", "SuperXG21", "SuperXG24", "SuperXG22"]  # in the order of their ids
    for name, values in zip(names, each, strict=True):
        np.testing.assert_array_equal(whole(found[name]), values)


@pytest.mark.vendor
@pytest.mark.parametrize("frame", [0, 1])
def test_open_frames__real_frames_as_rosettasciio_reads(
    real_files: Callable[[str], Path], frame: int
) -> None:
    path = real_files("Test SI 16x16 215 kx.emd")
    recording = taken(path)
    blocks = frame_sums.summed(recording.open_frames, recording.shape, recording.dtype, 5, [frame])
    (expected,) = by_rosettasciio(path, first_frame=frame, last_frame=frame + 1)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), expected)


@pytest.mark.vendor
def test_read__real_spectra_are_velox_s_own_sums(real_files: Callable[[str], Path]) -> None:
    path = real_files("Test SI 16x16 215 kx.emd")
    own = {}
    with h5py.File(path) as file:
        for group in file["Data/Spectrum"].values():
            tree = json.loads(group["Metadata"][:, 0].tobytes().rstrip(b"\0"))
            own[tree["BinaryResult"]["Detector"]] = group["Data"][:, 0]
    for recording in readers.read(path)[1:]:
        np.testing.assert_array_equal(whole(recording).sum((0, 1)), own[recording.name])


@pytest.mark.vendor
def test_read__real_metadata(real_files: Callable[[str], Path]) -> None:
    recording = taken(real_files("Test SI 16x16 215 kx.emd"))
    y, x, energy = recording.axes
    assert (x.values[1] - x.values[0], y.units) == (pytest.approx(3.5992492559614689), "nm")
    assert energy.values[[0, -1]] == pytest.approx([-0.25, 40.7])
    assert recording.attrs["elements"] == ["C", "O", "Ca", "Cu"]
    assert recording.attrs["beam_energy_kev"] == 300.0
    assert recording.attrs["real_time_s"] == pytest.approx(2 * 256 * 1e-3, rel=1e-4)
    assert sorted(recording.images) == ["haadf", "map_c", "map_ca", "map_cu", "map_o"]
    assert recording.images["haadf"].mean() == pytest.approx(9225.916)


@pytest.mark.vendor
def test_read__real_pruned_file(real_files: Callable[[str], Path]) -> None:
    path = real_files("Test SI 16x16 ReducedData 215 kx.emd")
    with pytest.raises(EdsError, match=r"was pruned.*4 single spectra, images: 'C'.*'HAADF'"):
        readers.read(path)
