"""Several detectors of a file: apart, summed, or refused."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.makers.velox import frame_words, write_velox
from support.recordings import convert_counts

import eds_xr
from eds_xr import EdsError, readers
from eds_xr.readers.detectors import with_detectors

NAMES = ["SuperX1", "SuperX2", "SuperX3"]
EACH = [np.random.default_rng(i).poisson(0.3, (7, 5, 64)).astype(np.uint16) for i in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    streams = {n: [frame_words(c), frame_words(c[::-1])] for n, c in zip(NAMES, EACH, strict=True)}
    return write_velox(tmp_path / "a.emd", streams, (7, 5, 64), detectors=NAMES)


def both_frames(counts):
    return counts + counts[::-1]


def test_convert__detectors_apart(path, tmp_path):
    image = eds_xr.open(eds_xr.convert(path, tmp_path / "a.zarr", detectors="apart"))
    assert image.dims == ("detector", "y", "x", "energy")
    assert image.detector.values.tolist() == NAMES
    for i, counts in enumerate(EACH):
        np.testing.assert_array_equal(image[i], both_frames(counts))
    assert image.azimuth_angle_deg.dims == ("detector",)
    assert len(set(image.azimuth_angle_deg.values)) == 3
    assert "azimuth_angle_deg" not in image.attrs
    assert image.attrs["elevation_angle_deg"] == 18.0
    expected = image.attrs["live_time_s"] / 35
    assert image.attrs["pixel_live_time_s"] == pytest.approx(expected)
    again = eds_xr.open(eds_xr.sum_detectors(image).eds.save(tmp_path / "sum.zarr"))
    whole = eds_xr.open(eds_xr.convert(path, tmp_path / "whole.zarr"))
    np.testing.assert_array_equal(again, whole)
    np.testing.assert_array_equal(
        whole, eds_xr.open(eds_xr.convert(path, tmp_path / "b.zarr", detectors="sum"))
    )


def test_convert__detectors_apart_of_some_frames(path, tmp_path):
    store = eds_xr.convert(path, tmp_path / "a.zarr", detectors="apart", frames=1, pyramid=True)
    image = eds_xr.open(store)
    np.testing.assert_array_equal(image, [c[::-1] for c in EACH])
    np.testing.assert_array_equal(eds_xr.open(store, binned=2), image.eds.rebin(y=2, x=2))


def test_convert__detectors_errors(path, tmp_path, monkeypatch):
    for how, message in [
        ({"detectors": "apart", "align": True}, "leave signal, keep_frames and align out"),
        ({"detectors": "apart", "signal": "SuperX1"}, "leave signal"),
        ({"detectors": "each"}, "detectors must be one of 'apart', 'sum'"),
    ]:
        with pytest.raises(EdsError, match=message):
            eds_xr.convert(path, tmp_path / "a.zarr", **how)
    with pytest.raises(EdsError, match="nothing to keep apart"):
        convert_counts(EACH[0], tmp_path / "b.zarr", monkeypatch, detectors="apart")


def test_with_detectors__of_other_pixels_are_refused(path):
    one, two = (r for r in readers.read(path) if not r.preferred and r.name != NAMES[2])
    short = replace(two, axes=(replace(two.axes[0], values=two.axes[0].values[:-1]), *two.axes[1:]))
    with (
        pytest.raises(EdsError, match="other pixels or energies"),
        with_detectors([one, short], "apart"),
    ):
        pass


def test_info__of_a_store_with_detectors(path, tmp_path):
    store = eds_xr.convert(path, tmp_path / "a.zarr", detectors="apart")
    (found,) = eds_xr.info(store)["spectrum_images"]
    assert found["sizes"]["detector"] == 3
    assert found["counts"] == sum(int(both_frames(c).sum()) for c in EACH)


@pytest.mark.vendor
def test_convert__a_real_super_x(vendor_file, tmp_path):
    with zipfile.ZipFile(vendor_file("velox_emd_version11.zip")) as archive:
        path = Path(archive.extract("Test SI 16x16 215 kx.emd", tmp_path))
    image = eds_xr.open(eds_xr.convert(path, tmp_path / "a.zarr", detectors="apart"))
    assert image.detector.values.tolist() == [f"SuperXG2{i}" for i in range(1, 5)]
    assert image.azimuth_angle_deg.values.tolist() == [45.0, 135.0, 225.0, 315.0]
    assert int(eds_xr.sum_detectors(image).sum()) == 42_097
