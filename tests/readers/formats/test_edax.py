"""EDAX maps: counts, axes from the files beside, damage; RosettaSciIO agrees."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from rsciio.edax import file_reader
from support.makers.edax import write_edax
from support.reading import COUNTS, streamed

from eds_xr import readers, store
from eds_xr.schema import EdsError


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_read__as_rosettasciio_does(tmp_path: Path, dtype: str) -> None:
    path = write_edax(tmp_path / "map.spd", COUNTS.astype(dtype), image="image.bmp")
    (recording,) = readers.read(path)
    (theirs,) = file_reader(str(path))
    assert recording.dtype == theirs["data"].dtype == dtype
    np.testing.assert_array_equal(streamed(recording), theirs["data"])
    y, x, energy = theirs["axes"]
    assert energy["offset"] + 31 * energy["scale"] == pytest.approx(recording.axes[-1].values[-1])
    assert 1e3 * 4 * x["scale"] == pytest.approx(recording.axes[1].values[-1])  # from µm
    assert y["size"] == recording.axes[0].values.size


def test_read__axes_and_instrument(tmp_path: Path) -> None:
    (recording,) = readers.read(write_edax(tmp_path / "map.spd", COUNTS))
    y, _, energy = recording.axes
    np.testing.assert_allclose(energy.values, -0.2 + 0.01 * np.arange(32), atol=1e-8)
    np.testing.assert_allclose(y.values, 2 * np.arange(7), rtol=1e-6)
    assert (energy.units, y.units) == ("keV", "nm")
    assert recording.attrs == {
        "live_time_s": 12.5,
        "beam_energy_kev": 200.0,
        "tilt_deg": 3.0,
        "azimuth_angle_deg": 45.0,
        "elevation_angle_deg": 22.0,
        "energy_resolution_mnka_ev": 131.0,
        "signal_type": "EDS_TEM",
        "elements": ["Mg", "Fe"],
    }
    assert recording.original_metadata["spd"]["nFrames"] == 1


def test_read__without_pixel_size(tmp_path: Path) -> None:
    (recording,) = readers.read(write_edax(tmp_path / "map.spd", COUNTS, pixel_um=None))
    assert [a.units for a in recording.axes] == ["px", "px", "keV"]


def test_read__the_image_is_looked_for_beside_the_map_only(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    path = write_edax(tmp_path / "maps" / "map.spd", COUNTS, image="../image.bmp")
    shutil.move(tmp_path / "maps" / "image.ipr", tmp_path / "image.ipr")
    assert readers.read(path)[0].axes[0].units == "px"


def test_read__without_energy_axis(tmp_path: Path) -> None:
    path = write_edax(tmp_path / "map.spd", COUNTS)
    path.with_suffix(".spc").unlink()
    with pytest.raises(EdsError, match=r"no map\.spc beside map\.spd: the energy axis is written"):
        readers.read(path)


@pytest.mark.parametrize("kept", [30, 200, 1068, 3000])
def test_read__cut_short(tmp_path: Path, kept: int) -> None:
    path = write_edax(tmp_path / "map.spd", COUNTS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(EdsError, match="is cut short"):
        readers.read(path)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (24, "1 to 2,147,483,648 positions"),
        (32, "65,535 channels"),
        (36, "expected 1, 2 or 4"),
        (40, "cut short, or its header is damaged"),
    ],
)
def test_read__hostile_sizes(tmp_path: Path, place: int, message: str) -> None:
    path = write_edax(tmp_path / "map.spd", COUNTS)
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    with pytest.raises(EdsError, match=message):
        readers.read(path)


def test_convert__keeps_counts(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        store.open(store.convert(write_edax(tmp_path / "map.spd", COUNTS))), COUNTS
    )
