"""What info says of a recording and of a store, in plain types and in lines."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from support.makers.velox import frame_words, write_velox
from support.reading import COUNTS, E, WriteHspy, X, Y

from eds_xr import readers, store
from eds_xr.readers import summary


@pytest.fixture
def recording(write_hspy: WriteHspy, tmp_path: Path) -> readers.Recording:
    return readers.read(write_hspy(tmp_path / "a.hspy", {"EDX": (COUNTS, [Y, X, E])}))[0]


def test_of_recording__all_of_it(recording: readers.Recording) -> None:
    found = summary.of_recording(recording)
    assert json.loads(json.dumps(found)) == found
    assert found["sizes"] == {"y": 7, "x": 5, "energy": 32}
    assert found["axes"]["y"] == pytest.approx([0, 12, "nm"])
    assert found["counts"] == COUNTS.sum()
    assert (found["dtype"], found["dense_bytes"]) == ("uint16", 2240)
    assert (found["has_frames"], found["images"]) == (False, [])
    assert found["attributes"]["beam_energy_kev"] == 200.0


def test_of_recording__does_not_read_what_is_large(
    recording: readers.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "_QUICK_BYTES", 100)
    assert "counts" not in summary.of_recording(recording)
    assert summary.of_recording(recording, counts=True)["counts"] == COUNTS.sum()
    assert "counts" not in summary.of_recording(recording, counts=False)


def test_of_recording__frames(tmp_path: Path) -> None:
    streams = {"one": [frame_words(COUNTS)] * 3}
    path = write_velox(tmp_path / "a.emd", streams, COUNTS.shape, detectors=["one"])
    found = summary.of_recording(readers.read(path)[0])
    assert (found["frames"], found["counts"]) == (3, 3 * COUNTS.sum())


def test_of_image__says_the_same(recording: readers.Recording, tmp_path: Path) -> None:
    image = store.open(store.convert(tmp_path / "a.hspy"))
    of_store, of_file = summary.of_image(image), summary.of_recording(recording)
    same = ("sizes", "dtype", "axes", "images", "counts", "dense_bytes", "convert_bytes")
    assert [of_store[key] for key in same] == [of_file[key] for key in same]


def test_of_image__values_that_are_no_integers() -> None:
    image = xr.DataArray(np.full((2, 3, 4), 0.3), {"energy": np.arange(4.0)}, ("y", "x", "energy"))
    assert summary.of_image(image)["counts"] == pytest.approx(7.2)


def test_as_lines__for_people(recording: readers.Recording) -> None:
    lines = dict(summary.as_lines(summary.of_recording(recording)))
    assert lines["size"] == "7 y x 5 x x 32 energy, uint16"
    assert lines["energy"] == "-0.1 to 0.21 keV, 10 eV a channel"
    assert lines["y"] == "0 to 12 nm, 2 nm steps"
    total = COUNTS.sum()
    assert lines["counts"] == f"{total} ({total / 35:.4g} a pixel)"
    assert lines["live_time_s"] == "12.5"
    assert lines["memory to convert"].endswith("GB")


def test_as_lines__of_the_largest(recording: readers.Recording) -> None:
    large = {**summary.of_recording(recording), "dense_bytes": 8.6e9, "images": ["haadf"]}
    lines = dict(summary.as_lines(large))
    assert (lines["decoded"], lines["images"]) == ("8.6 GB", "haadf")
