"""Vendor files: axes, units, attributes, streams of row blocks, damage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rsciio.hspy import file_reader as hspy_reader
from support.reading import WriteHspy

from eds_xr import readers
from eds_xr.readers import metadata
from eds_xr.schema import EdsError


def axis(name: str, scale: float, units: str | None, *, offset: float = 0, **more: Any) -> dict:
    attrs = {"name": name, "scale": scale, "offset": offset, "navigate": name != "Energy", **more}
    return attrs if units is None else {**attrs, "units": units}


Y, X = axis("height", 0.002, "µm"), axis("width", 0.002, "µm")
E = axis("Energy", 0.01, "keV", offset=-0.1)
COUNTS = np.random.default_rng(1).poisson(0.3, (7, 5, 32)).astype(np.uint16)


def streamed(recording: readers.Recording, rows: int) -> np.ndarray:
    whole = np.zeros(recording.shape, recording.dtype)
    regions = readers.row_regions(recording.shape, rows)
    for region, block in zip(regions, recording.row_blocks(rows), strict=True):
        whole[region] = block
    return whole


# --- row regions -------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=4).map(tuple),
    st.integers(1, 9),
)
def test_row_regions__cover_each_value_once(shape: tuple[int, ...], rows: int) -> None:
    hits = np.zeros(shape, int)
    regions = list(readers.row_regions(shape, rows))
    for region in regions:
        hits[region] += 1
        assert hits[region].shape[max(0, len(shape) - 3)] <= rows
    assert (hits == 1).all()
    assert len(regions) == readers.count_regions(shape, rows)


# --- HyperSpy files ----------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_read__blocks_are_the_file_s_values(
    write_hspy: WriteHspy, tmp_path: Path, rows: int
) -> None:
    path = write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, [Y, X, E])})
    (recording,) = readers.read(path)
    assert recording.dtype == np.uint16
    np.testing.assert_array_equal(streamed(recording, rows), COUNTS)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_read__energy_may_be_any_axis_of_the_file(
    write_hspy: WriteHspy, tmp_path: Path, position: int
) -> None:
    axes = [Y, X]
    axes.insert(position, E)
    values = np.moveaxis(COUNTS, -1, position)
    (recording,) = readers.read(write_hspy(tmp_path / "a.hspy", {"EDX": (values, axes)}))
    assert recording.dims == ("y", "x", "energy")
    np.testing.assert_array_equal(streamed(recording, 3), COUNTS)


@pytest.mark.parametrize(
    ("units", "factor"), [("µm", 1e3), ("um", 1e3), ("nm", 1), ("mm", 1e6), ("Å", 0.1)]
)
def test_read__positions_become_nm(
    write_hspy: WriteHspy, tmp_path: Path, units: str, factor: float
) -> None:
    axes = [axis("height", 2.0, units, offset=1.0), axis("width", 2.0, units), E]
    (recording,) = readers.read(write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, axes)}))
    y = recording.axes[0]
    assert (y.name, y.units) == ("y", "nm")
    np.testing.assert_allclose(y.values, factor * (1 + 2 * np.arange(7)))


def test_read__positions_without_unit_are_pixels(write_hspy: WriteHspy, tmp_path: Path) -> None:
    axes = [axis("height", 1.0, None), axis("width", 1.0, "<undefined>"), E]
    (recording,) = readers.read(write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, axes)}))
    assert [a.units for a in recording.axes] == ["px", "px", "keV"]


@pytest.mark.parametrize(
    ("signal_type", "units", "first", "expected_units"),
    [
        ("EDS_TEM", "keV", -0.1, "keV"),
        ("EDS_TEM", "eV", -0.0001, "keV"),
        ("EELS", "eV", -0.1, "eV"),
        ("EELS", "keV", -100.0, "eV"),
    ],
)
def test_read__energy_in_kev_and_energy_loss_in_ev(
    write_hspy: WriteHspy,
    tmp_path: Path,
    signal_type: str,
    units: str,
    first: float,
    expected_units: str,
) -> None:
    axes = [Y, X, axis("Energy", 0.01, units, offset=-0.1)]
    path = write_hspy(tmp_path / "a.hspy", {"S": (COUNTS, axes)}, signal_type=signal_type)
    (recording,) = readers.read(path)
    energy = recording.axes[-1]
    assert energy.units == expected_units
    assert energy.values[0] == pytest.approx(first)
    assert recording.attrs["signal_type"] == signal_type


def test_read__instrument_becomes_attributes_and_all_else_is_kept(
    write_hspy: WriteHspy, tmp_path: Path
) -> None:
    (recording,) = readers.read(write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, [Y, X, E])}))
    assert recording.attrs == {
        "live_time_s": 12.5,
        "elevation_angle_deg": 22.0,
        "beam_energy_kev": 200.0,
        "signal_type": "EDS_TEM",
    }
    assert recording.original_metadata["original_metadata"]["Vendor"]["shift"] == [0, 1, 2]


def test_read__line_scan_and_frames(write_hspy: WriteHspy, tmp_path: Path) -> None:
    frames = np.stack([COUNTS, COUNTS + 1])
    signals = {"line": (COUNTS[0], [X, E]), "frames": (frames, [axis("t", 1, "s"), Y, X, E])}
    found = {r.name: r for r in readers.read(write_hspy(tmp_path / "a.hspy", signals))}
    assert found["line"].dims == ("x", "energy")
    assert found["frames"].dims == ("frame", "y", "x", "energy")
    np.testing.assert_array_equal(streamed(found["line"], 2), COUNTS[0])
    np.testing.assert_array_equal(streamed(found["frames"], 2), frames)


def test_read__images_on_the_grid_ride_along_others_do_not(
    write_hspy: WriteHspy, tmp_path: Path
) -> None:
    haadf = np.arange(35, dtype=np.float32).reshape(7, 5)
    finer = [axis("y", 0.001, "µm", navigate=False), axis("x", 0.001, "µm", navigate=False)]
    signals = {
        "EDX": (COUNTS, [Y, X, E]),
        "HAADF": (haadf, [{**Y, "navigate": False}, {**X, "navigate": False}]),
        "overview": (haadf, finer),
        "large": (np.zeros((14, 10)), finer),
    }
    (recording,) = readers.read(write_hspy(tmp_path / "a.hspy", signals))
    assert list(recording.images) == ["haadf"]
    np.testing.assert_array_equal(recording.images["haadf"], haadf)


def test_read__file_is_closed_afterwards(write_hspy: WriteHspy, tmp_path: Path) -> None:
    path = write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, [Y, X, E])})
    (recording,) = readers.read(path)
    streamed(recording, 3)
    with h5py.File(path, "w") as file:  # HDF5 refuses while anyone has it open
        assert not file.keys()


def test_read__image_only(write_hspy: WriteHspy, tmp_path: Path) -> None:
    path = write_hspy(tmp_path / "a.hspy", {"HAADF": (COUNTS[..., 0], [Y, X])})
    with pytest.raises(EdsError, match=r"no spectrum image.*'HAADF' with axes height \(7, µm\)"):
        readers.read(path)


def test_read__energy_without_unit(write_hspy: WriteHspy, tmp_path: Path) -> None:
    axes = [Y, X, axis("Energy", 0.01, None)]
    path = write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, axes)})
    with pytest.raises(EdsError, match=r"Energy \(32, no unit\); .* set it in HyperSpy"):
        readers.read(path)


# --- which reader ------------------------------------------------------------------------------


def test_read__missing(tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="no such file"):
        readers.read(tmp_path / "none.hspy")


def test_read__folder(tmp_path: Path) -> None:
    with pytest.raises(EdsError, match="expected a file, found a folder"):
        readers.read(tmp_path)


def test_read__unknown_extension(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(b"PK")
    with pytest.raises(EdsError, match=r"no reader for \.docx; .* read: \.bcf, .*\.hspy"):
        readers.read(path)


def test_read__text_renamed(tmp_path: Path) -> None:
    path = tmp_path / "a.hspy"
    path.write_text("energy,counts\n")
    with pytest.raises(EdsError, match=r"content is of another kind .*b'energy,c'"):
        readers.read(path)


def test_read__empty(tmp_path: Path) -> None:
    path = tmp_path / "a.hspy"
    path.touch()
    with pytest.raises(EdsError, match=r"is empty \(0 bytes\)"):
        readers.read(path)


def test_read__other_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.hspy"
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2]
    with pytest.raises(EdsError, match="cannot read a.hspy: .* not a valid HyperSpy"):
        readers.read(path)


@pytest.mark.parametrize("ending", [".hdf5", ".h5"])
def test_read__hyperspy_under_its_older_ending(
    write_hspy: WriteHspy, tmp_path: Path, ending: str
) -> None:
    path = write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, [Y, X, E])})
    (recording,) = readers.read(path.rename(path.with_suffix(ending)))
    np.testing.assert_array_equal(streamed(recording, 3), COUNTS)


def test_read__single_spectrum(write_hspy: WriteHspy, tmp_path: Path) -> None:
    path = write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS[0, 0], [E])})
    with pytest.raises(
        EdsError, match=r"a single spectrum .*32 channels\), which has no positions"
    ):
        readers.read(path)


@pytest.mark.parametrize("part", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_read__truncated(write_hspy: WriteHspy, tmp_path: Path, part: float) -> None:
    path = write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, [Y, X, E])})
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(EdsError, match="cut short or damaged"):
        readers.read(path)


def test_row_blocks__damaged_chunk(write_hspy: WriteHspy, tmp_path: Path) -> None:
    path = write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, [Y, X, E])})
    with h5py.File(path) as file:
        place = file["Experiments/EDX/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + 64] = bytes(64)
    path.write_bytes(content)
    (recording,) = readers.read(path)
    with pytest.raises(EdsError, match="cut short or damaged"):
        list(recording.row_blocks(100))


def test_select__several(write_hspy: WriteHspy, tmp_path: Path) -> None:
    signals = {"one": (COUNTS, [Y, X, E]), "two": (COUNTS, [Y, X, E])}
    found = readers.read(write_hspy(tmp_path / "a.hspy", signals))
    with pytest.raises(EdsError, match="2 spectrum images: choose signal= 'one', 'two'"):
        readers.select(found, None)
    with pytest.raises(EdsError, match="no spectrum image is named 'three'"):
        readers.select(found, "three")
    assert readers.select(found, "two").name == "two"


# --- metadata ----------------------------------------------------------------------------------


def test_plain__what_json_cannot_hold() -> None:
    tree = {1: np.float64("nan"), "b": b"\xff", "c": (np.int32(2), None), "d": np.eye(2)}
    expected = {"1": None, "b": "\ufffd", "c": [2, None], "d": [[1.0, 0.0], [0.0, 1.0]]}
    assert metadata.plain(tree) == expected
    assert metadata.plain(np.zeros((200, 200))) == "array of float64, 200 x 200"


def test_axis_values__uneven_axis_and_function() -> None:
    np.testing.assert_array_equal(metadata.axis_values({"axis": [1, 2, 4]}), [1, 2, 4])
    with pytest.raises(EdsError, match="given by a function"):
        metadata.axis_values({"name": "E", "expression": "x**2"})


# --- real files --------------------------------------------------------------------------------


@pytest.mark.vendor
@pytest.mark.parametrize(
    ("name", "shape", "dtype", "last_ev", "last_x_nm"),
    [
        ("CuZn_EELS_mapping_tutorial.hspy", (50, 40, 162), "int16", 1988.0, 35.934),
        ("LSMO_linescan.hspy", (40, 586), "float32", 721.0, 125.541),
    ],
)
def test_read__real_energy_loss_spectra(
    vendor_file: Callable[[str], Path],
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    last_ev: float,
    last_x_nm: float,
) -> None:
    path = vendor_file(name)
    (recording,) = readers.read(path)
    assert (recording.shape, str(recording.dtype)) == (shape, dtype)
    assert (recording.axes[-1].units, recording.attrs["signal_type"]) == ("eV", "EELS")
    assert recording.axes[-1].values[-1] == pytest.approx(last_ev)
    assert recording.axes[-2].values[-1] == pytest.approx(last_x_nm, abs=1e-3)
    with h5py.File(path) as file:
        (group,) = file["Experiments"].values()
        np.testing.assert_array_equal(streamed(recording, 7), group["data"][()])
    (theirs,) = hspy_reader(str(path))
    np.testing.assert_array_equal(streamed(recording, 100), theirs["data"])
