"""NumPy's files: values in either order, the calibration beside them, damage."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.reading import COUNTS, streamed

from eds_xr import readers, store
from eds_xr.schema import EdsError

SAID = {"energy_offset_kev": -0.2, "energy_step_kev": 0.01, "pixel_size_nm": 1.5}


def write(path: Path, values: np.ndarray, said: Any = SAID) -> Path:
    np.save(path, values)
    path.with_suffix(".json").write_text(json.dumps(said))
    return path


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<i4", "f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_read__values(tmp_path: Path, dtype: str, order: Any, rows: int) -> None:
    path = write(tmp_path / "a.npy", np.asarray(COUNTS, dtype=dtype, order=order))
    (recording,) = readers.read(path)
    np.testing.assert_array_equal(streamed(recording, rows), COUNTS)


def test_convert__with_all_that_is_said(tmp_path: Path) -> None:
    attrs = {"beam_energy_kev": 200, "elements": ["Mg"], "signal_type": "EDS_TEM"}
    image = store.open(store.convert(write(tmp_path / "a.npy", COUNTS, {**SAID, "attrs": attrs})))
    np.testing.assert_array_equal(image, COUNTS)
    np.testing.assert_allclose(image.energy, -0.2 + 0.01 * np.arange(32))
    np.testing.assert_allclose(image.y, 1.5 * np.arange(7))
    assert (image.energy.units, image.x.units) == ("keV", "nm")
    assert attrs.items() <= image.attrs.items()


def test_read__energy_loss(tmp_path: Path) -> None:
    said = {"energy_offset_ev": 400, "energy_step_ev": 0.5, "attrs": {"signal_type": "EELS"}}
    (recording,) = readers.read(write(tmp_path / "a.npy", COUNTS, said))
    assert [a.units for a in recording.axes] == ["px", "px", "eV"]
    assert recording.axes[-1].values[-1] == 415.5


def test_read__line_and_frames(tmp_path: Path) -> None:
    (line,) = readers.read(write(tmp_path / "a.npy", COUNTS[0]))
    (frames,) = readers.read(write(tmp_path / "b.npy", np.stack([COUNTS, COUNTS])))
    assert line.dims == ("x", "energy")
    assert [(a.name, a.units) for a in frames.axes[:2]] == [("frame", "px"), ("y", "nm")]
    np.testing.assert_array_equal(streamed(frames), np.stack([COUNTS, COUNTS]))


def test_read__without_calibration(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy", COUNTS)
    path.with_suffix(".json").unlink()
    with pytest.raises(EdsError, match=r"no calibration; write a\.json beside it: .*eds_xr\.save"):
        readers.read(path)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([1], "must hold an object, found list"),
        ({}, "energy_step_kev must be a number, found None"),
        ({"energy_step_kev": "10 eV"}, "energy_step_kev must be a number, found '10 eV'"),
        ({"energy_step_kev": float("nan")}, "must be a number, found nan"),
        ({"energy_step_kev": -1}, "rise in equal steps"),
        ({**SAID, "attrs": 7}, "'attrs' must be an object"),
    ],
)
def test_read__calibration_that_is_none(tmp_path: Path, said: Any, message: str) -> None:
    with pytest.raises(EdsError, match=message):
        readers.read(write(tmp_path / "a.npy", COUNTS, said))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([{"a": 1}]), "holds an array .* of object"),
        (COUNTS.astype("c8"), "complex64, expected numbers in 2 to 4 dimensions"),
        (COUNTS[0, 0], r"array \(32,\) of uint16"),
        (np.zeros((2, 0, 4)), "expected 1 to 2,147,483,648 positions"),
    ],
)
def test_read__no_counts(tmp_path: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(EdsError, match=message):
        readers.read(write(tmp_path / "a.npy", values))


@pytest.mark.parametrize("kept", [7, 60, 128, 1000])
def test_read__cut_short(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "a.npy", COUNTS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(EdsError, match="header of a.npy cannot be read|is cut short"):
        readers.read(path)
