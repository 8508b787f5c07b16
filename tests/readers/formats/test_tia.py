"""FEI's TIA files: maps, lines, both sizes of offsets, what an .emi tells; as RosettaSciIO."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rsciio.tia import file_reader
from support.makers.tia import write_emi, write_image_ser, write_ser
from support.reading import COUNTS, HAADF, streamed

from eds_xr import readers, store
from eds_xr.schema import EdsError


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("options", [{}, {"version": 0x220}, {"gap": 5}])
def test_read__as_rosettasciio_does(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    path = write_ser(tmp_path / "map_1.ser", COUNTS.astype(dtype), **options)
    (recording,) = readers.read(path)
    (theirs,) = file_reader(str(path))
    assert recording.dtype == theirs["data"].dtype == dtype
    np.testing.assert_array_equal(streamed(recording), theirs["data"])
    for ours, axis in zip(recording.axes, theirs["axes"], strict=True):
        step = axis["scale"] * (1e-3 if axis["units"] == "eV" else 1)
        assert ours.values[1] - ours.values[0] == pytest.approx(step)
    assert [a.units for a in recording.axes] == ["nm", "nm", "keV"]
    assert recording.axes[-1].values[0] == pytest.approx(-0.2)


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_row_blocks__scanned_column_by_column(tmp_path: Path, rows: int) -> None:
    (recording,) = readers.read(write_ser(tmp_path / "map_1.ser", COUNTS, by_columns=True))
    assert recording.dims == ("y", "x", "energy")
    np.testing.assert_array_equal(streamed(recording, rows), COUNTS)


def test_read__line(tmp_path: Path) -> None:
    path = write_ser(tmp_path / "line_1.ser", COUNTS[0])
    (recording,) = readers.read(path)
    assert recording.dims == ("x", "energy")
    np.testing.assert_array_equal(streamed(recording, 2), file_reader(str(path))[0]["data"])


def test_read__what_was_not_recorded_is_zero(tmp_path: Path) -> None:
    path = write_ser(tmp_path / "map_1.ser", COUNTS, recorded=18)
    (recording,) = readers.read(path)
    expected = COUNTS.reshape(35, 32).copy()
    expected[18:] = 0
    np.testing.assert_array_equal(streamed(recording), expected.reshape(COUNTS.shape))
    np.testing.assert_array_equal(streamed(recording), file_reader(str(path))[0]["data"])
    assert recording.original_metadata["recorded"] == 18


@pytest.mark.parametrize("given", ["map.emi", "map_1.ser"])
def test_read__description_and_image_beside(tmp_path: Path, given: str) -> None:
    write_ser(tmp_path / "map_1.ser", COUNTS)
    write_image_ser(tmp_path / "map_2.ser", HAADF)
    write_emi(tmp_path / "map.emi", objects=2)
    (recording,) = readers.read(tmp_path / given)
    assert recording.attrs == {"beam_energy_kev": 200.0, "tilt_deg": -3.5}
    assert recording.original_metadata["emi"]["Mode"] == "STEM nP SA"
    if given == "map.emi":
        np.testing.assert_array_equal(recording.images["image_2"], HAADF)
        image = store.open(store.convert(tmp_path / given))
        np.testing.assert_array_equal(image.image_2, HAADF)


def test_read__two_detectors(tmp_path: Path) -> None:
    write_ser(tmp_path / "map_1.ser", COUNTS)
    write_ser(tmp_path / "map_2.ser", COUNTS + 1)
    found = readers.read(write_emi(tmp_path / "map.emi"))
    assert [r.name for r in found] == ["map_1", "map_2"]
    with pytest.raises(EdsError, match="choose signal= 'map_1', 'map_2'"):
        readers.select(found, None)
    np.testing.assert_array_equal(streamed(readers.select(found, "map_2")), COUNTS + 1)


def test_read__image_only(tmp_path: Path) -> None:
    path = write_image_ser(tmp_path / "map_1.ser", HAADF)
    with pytest.raises(EdsError, match=r"no spectrum image, found map_1\.ser: 1 image"):
        readers.read(path)


def test_read__description_without_values(tmp_path: Path) -> None:
    with pytest.raises(EdsError, match=r"no map_1\.ser beside map\.emi"):
        readers.read(write_emi(tmp_path / "map.emi"))


def test_read__entities_in_the_description(tmp_path: Path) -> None:
    write_ser(tmp_path / "map_1.ser", COUNTS)
    bomb = b'<ObjectInfo><!DOCTYPE a [<!ENTITY b "b">]><Data>&b;</Data></ObjectInfo>'
    (tmp_path / "map.emi").write_bytes(b"JK\0\2" + bytes(60) + bomb)
    with pytest.raises(EdsError, match=r"the description in map\.emi"):
        readers.read(tmp_path / "map.emi")


def test_row_blocks__spectra_of_different_lengths(tmp_path: Path) -> None:
    path = write_ser(tmp_path / "map_1.ser", COUNTS)
    content = bytearray(path.read_bytes())
    (table,) = struct.unpack_from("<I", content, 22)
    (place,) = struct.unpack_from("<I", content, table + 4 * 20)
    struct.pack_into("<I", content, place + 22, 31)
    path.write_bytes(content)
    (recording,) = readers.read(path)
    with pytest.raises(EdsError, match="spectra of different lengths or types, or is damaged"):
        streamed(recording)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (6, 7, "the header of map_1.ser is damaged"),
        (14, 2**31, "elements on a grid of"),
        (18, 36, "36 of 35 elements"),
        (22, 2**31, "bytes are expected at"),
        (26, 2**31, "the header of map_1.ser is damaged"),
        (30, 2**31, "elements on a grid of"),
    ],
)
def test_read__hostile_sizes(tmp_path: Path, place: int, value: int, message: str) -> None:
    path = write_ser(tmp_path / "map_1.ser", COUNTS)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, place, value)
    path.write_bytes(content)
    with pytest.raises(EdsError, match=message):
        readers.read(path)


@pytest.mark.parametrize("part", [0.001, 0.05, 0.3, 0.9])
def test_read__cut_short(tmp_path: Path, part: float) -> None:
    path = write_ser(tmp_path / "map_1.ser", COUNTS)
    path.write_bytes(path.read_bytes()[: int(5 + part * path.stat().st_size)])
    with pytest.raises(EdsError, match="it may be cut short or damaged"):
        streamed(readers.read(path)[0])
