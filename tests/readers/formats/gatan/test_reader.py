"""DigitalMicrograph files of versions 3 and 4: values, axes, tags, damage; RosettaSciIO agrees."""

from pathlib import Path

import numpy as np
import pytest
from rsciio.digitalmicrograph import file_reader
from support.makers.gatan import write_gatan
from support.reading import COUNTS, HAADF, streamed

from eds_xr import readers, store
from eds_xr.schema import EdsError

VERSIONS = ["a.dm3", "a.dm4"]


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_read__as_rosettasciio_does(tmp_path: Path, name: str, dtype: str) -> None:
    path = write_gatan(tmp_path / name, COUNTS.astype(dtype), image=HAADF)
    (recording,) = readers.read(path)
    theirs, image = file_reader(str(path))
    assert recording.dtype == theirs["data"].dtype == dtype
    np.testing.assert_array_equal(streamed(recording), np.moveaxis(theirs["data"], 0, -1))
    np.testing.assert_array_equal(recording.images["haadf"], image["data"])
    energy, y, x = theirs["axes"]
    for ours, axis in zip(recording.axes, (y, x, energy), strict=True):
        expected = axis["offset"] + axis["scale"] * np.arange(axis["size"])
        np.testing.assert_allclose(ours.values, expected)
        assert ours.units == axis["units"]


@pytest.mark.parametrize("name", VERSIONS)
def test_read__big_endian(tmp_path: Path, name: str) -> None:
    (recording,) = readers.read(write_gatan(tmp_path / name, COUNTS, big_endian=True))
    np.testing.assert_array_equal(streamed(recording), COUNTS)


def test_read__energy_loss_in_ev(tmp_path: Path) -> None:
    path = write_gatan(tmp_path / "a.dm3", COUNTS)
    image = store.open(store.convert(path))
    assert (image.energy.units, image.attrs["signal_type"]) == ("eV", "EELS")
    np.testing.assert_allclose(image.energy, 400 + 0.5 * np.arange(32))
    np.testing.assert_array_equal(image, COUNTS)


def test_read__x_rays_in_kev(tmp_path: Path) -> None:
    options = {"signal": "X-ray", "units": "keV", "first": -0.2, "step": 0.01}
    (recording,) = readers.read(write_gatan(tmp_path / "a.dm4", COUNTS, **options))
    np.testing.assert_allclose(recording.axes[-1].values, -0.2 + 0.01 * np.arange(32))
    assert recording.attrs == {
        "beam_energy_kev": 200.0,
        "tilt_deg": 1.5,
        "live_time_s": 12.5,
        "elevation_angle_deg": 18.0,
        "signal_type": "EDS_TEM",
    }


def test_read__line(tmp_path: Path) -> None:
    (recording,) = readers.read(write_gatan(tmp_path / "a.dm3", COUNTS[0]))
    assert recording.dims == ("x", "energy")
    np.testing.assert_array_equal(streamed(recording, 2), COUNTS[0])


def test_read__other_tags_are_kept(tmp_path: Path) -> None:
    long = np.arange(20_000, dtype="i4")
    more = {"Session": {"Operator": "Ada", "Window": (1, 2, 3), "Curve": long}}
    (recording,) = readers.read(write_gatan(tmp_path / "a.dm4", COUNTS, more=more))
    said = recording.original_metadata
    assert said["Session"] == {
        "Operator": "Ada",
        "Window": [1, 2, 3],
        "Curve": "array of 80000 bytes",
    }
    assert said["ImageTags"]["Meta Data"]["Format"] == "Spectrum image"


def test_read__energy_without_unit(tmp_path: Path) -> None:
    path = write_gatan(tmp_path / "a.dm3", COUNTS, units="")
    with pytest.raises(EdsError, match="no spectrum image.*32, no unit.*calibrate the energy axis"):
        readers.read(path)


@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", VERSIONS)
def test_read__cut_short(tmp_path: Path, name: str, part: float) -> None:
    path = write_gatan(tmp_path / name, COUNTS)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(EdsError, match="ends beyond the file; copy it again"):
        readers.read(path)


def test_read__groups_within_groups_without_end(tmp_path: Path) -> None:
    deep: dict = {}
    for _ in range(100):
        deep = {"a": deep}
    path = write_gatan(tmp_path / "a.dm3", COUNTS, more={"deep": deep})
    with pytest.raises(EdsError, match="more than 64 groups deep"):
        readers.read(path)


def test_read__sizes_that_do_not_fit_the_data(tmp_path: Path) -> None:
    path = write_gatan(tmp_path / "a.dm3", COUNTS)
    content = path.read_bytes()
    place = content.rindex(b"Dimensions")
    at = content.index(b"\x05\x00\x00\x00", place)  # x
    path.write_bytes(content[:at] + b"\x04\0\0\0" + content[at + 4 :])
    with pytest.raises(EdsError, match="do not fill the 2,240 bytes that it holds"):
        readers.read(path)


def test_read__another_version(tmp_path: Path) -> None:
    path = tmp_path / "a.dm3"
    path.write_bytes(b"\0\0\0\5" + bytes(40))
    with pytest.raises(EdsError, match="content is of another kind"):
        readers.read(path)
