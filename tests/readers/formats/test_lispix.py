"""Lispix files: every type and order of values, calibration, damage; RosettaSciIO agrees."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rsciio.ripple import file_reader
from support.makers.lispix import write_lispix
from support.reading import COUNTS, streamed

from eds_xr import readers, store
from eds_xr.schema import EdsError

KEV = {"depth_scale": 0.01, "depth_origin": -0.1, "depth_units": "keV"}


@pytest.mark.parametrize("record_by", ["vector", "image"])
@pytest.mark.parametrize("offset", [0, 7])
@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "<u2", ">u2", "<i4", ">i4", "<u8", "<f4", ">f4", "<f8", ">f8"]
)
def test_read__every_type_and_order(
    tmp_path: Path, dtype: str, record_by: str, offset: int
) -> None:
    counts = COUNTS.astype(dtype)
    path = write_lispix(tmp_path / "a.rpl", counts, record_by=record_by, offset=offset, **KEV)
    (recording,) = readers.read(path)
    assert recording.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(streamed(recording), COUNTS)
    theirs = file_reader(str(path))[0]["data"]
    ours = COUNTS if record_by == "vector" else np.moveaxis(COUNTS, -1, 0)
    np.testing.assert_array_equal(theirs, ours)


def test_read__calibration_and_instrument(tmp_path: Path) -> None:
    more = {"width_scale": 2.0, "width_units": "nm", "width_origin": 1.0, "beam_energy": 200}
    path = write_lispix(
        tmp_path / "a.rpl", COUNTS, title="grain 3", signal="EDS_TEM", **KEV, **more
    )
    (recording,) = readers.read(path)
    y, x, energy = recording.axes
    assert (recording.name, y.units, x.units, energy.units) == ("grain 3", "px", "nm", "keV")
    np.testing.assert_allclose(x.values, 1 + 2 * np.arange(5))
    np.testing.assert_allclose(energy.values, -0.1 + 0.01 * np.arange(32))
    assert recording.attrs == {"beam_energy_kev": 200.0, "signal_type": "EDS_TEM"}
    assert recording.original_metadata["rpl"]["width-units"] == "nm"


def test_read__energy_loss_in_ev(tmp_path: Path) -> None:
    more = {"depth_scale": 0.5, "depth_origin": 400.0, "depth_units": "eV", "signal": "EELS"}
    (recording,) = readers.read(write_lispix(tmp_path / "a.rpl", COUNTS, **more))
    energy = recording.axes[-1]
    assert (energy.units, energy.values[0], recording.attrs["signal_type"]) == ("eV", 400, "EELS")


def test_read__width_of_a_channel_alone(tmp_path: Path) -> None:
    (recording,) = readers.read(write_lispix(tmp_path / "a.rpl", COUNTS, ev_per_chan=10))
    np.testing.assert_allclose(recording.axes[-1].values, 0.01 * np.arange(32))


def test_read__oxford_s_header(tmp_path: Path) -> None:
    path = write_lispix(tmp_path / "a.rpl", COUNTS)
    keys = {"WIDTH": 5, "HEIGHT": 7, "DEPTH": 32, "OFFSET": 0, "DATA-LENGTH": 2}
    texts = {"DATA-TYPE": "unsigned", "BYTE-ORDER": "little-endian", "RECORD-BY": "vector"}
    pairs = {**keys, **texts, "ev-per-chan": 10}
    path.write_text("(HEADER)\n" + "\n".join(f"(MLX::{k} : {v})" for k, v in pairs.items()))
    np.testing.assert_array_equal(streamed(readers.read(path)[0]), COUNTS)


def test_read__either_of_the_two_files(tmp_path: Path) -> None:
    path = write_lispix(tmp_path / "a.rpl", COUNTS, **KEV)
    np.testing.assert_array_equal(streamed(readers.read(path.with_suffix(".raw"))[0]), COUNTS)
    np.testing.assert_array_equal(store.open(store.convert(path)), COUNTS)


@pytest.mark.parametrize(("given", "missing"), [(".rpl", ".raw"), (".raw", ".rpl")])
def test_read__one_of_the_two_files_is_missing(tmp_path: Path, given: str, missing: str) -> None:
    path = write_lispix(tmp_path / "a.rpl", COUNTS, **KEV)
    path.with_suffix(missing).unlink()
    with pytest.raises(EdsError, match=rf"no a\{missing} beside a\{given}.*both are needed"):
        readers.read(path.with_suffix(given))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "does not calibrate the energy axis; add a line 'ev-per-chan'"),
        ({**KEV, "depth_units": "nm"}, "the unit of the energy axis is 'nm'"),
        ({**KEV, "data_type": "float"}, "data-length must be one of 4, 8, found '2'"),
        ({**KEV, "data_type": "text"}, "data-type must be one of unsigned, signed, float"),
        ({**KEV, "record_by": "colour"}, "record-by must be one of vector, image"),
        ({**KEV, "width": "wide"}, "width must be a number, found 'wide'"),
        ({**KEV, "width": "5.5"}, "width must be a whole number"),
        ({**KEV, "width": -5}, "1 to 2,147,483,648 positions"),
        ({**KEV, "width": 10**15}, "1 to 2,147,483,648 positions"),
        ({**KEV, "height": 8}, "need 2,560 bytes, found 2,240"),
        ({**KEV, "depth": 100_000}, "1 to 65,535 channels"),
        ({**KEV, "offset": -1}, "cut short, or its header is damaged"),
        ({**KEV, "depth_scale": 0}, "energies that rise in equal steps"),
        ({**KEV, "depth_scale": "nan"}, "depth-scale must be a number"),
    ],
)
def test_read__header_that_cannot_be_right(
    tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    path = write_lispix(tmp_path / "a.rpl", COUNTS)
    named = {key.replace("_", "-"): value for key, value in keys.items()}
    lines = path.read_text().splitlines()
    kept = [line for line in lines if line.split("\t")[0] not in named]
    path.write_text("\n".join([*kept, *(f"{key}\t{value}" for key, value in named.items())]))
    with pytest.raises(EdsError, match=message):
        readers.read(path)


def test_read__no_header_at_all(tmp_path: Path) -> None:
    path = write_lispix(tmp_path / "a.rpl", COUNTS)
    path.write_bytes(COUNTS.tobytes())
    with pytest.raises(EdsError, match="is no Lispix header: it lacks data-length, data-type"):
        readers.read(path)


def test_row_blocks__file_cut_short_meanwhile(tmp_path: Path) -> None:
    path = write_lispix(tmp_path / "a.rpl", COUNTS, **KEV)
    (recording,) = readers.read(path)
    path.with_suffix(".raw").write_bytes(COUNTS.tobytes()[:100])
    with pytest.raises(EdsError, match="was cut short while it was read"):
        list(recording.row_blocks(3))
