"""The live time of pixels: from passes, from arrays, through frames, sums, bins and halves."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from support.makers.velox import frame_words, write_velox
from support.reading import COUNTS

import eds_xr
from eds_xr import readers, simulate
from eds_xr.readers import live_times, summary


def test_of_passes__a_pixel_passed_over_more_often_lives_longer():
    passes = np.array([[3, 3], [2, 2]])
    found = live_times.of_passes({"live_time_s": 20.0}, passes)["live_time_s"]
    np.testing.assert_allclose(found, [[6, 6], [4, 4]])
    assert live_times.of_passes({}, passes) == {}
    assert live_times.of_passes({"live_time_s": 20.0}, 0 * passes + 3) == {}


def test_of_values__only_times_on_the_grid():
    times = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(live_times.of_values(times, (1, 3))["live_time_s"], times)
    for bad, grid in [(12.5, (1, 3)), (times, (3, 1)), (-times, (1, 3)), (times * np.nan, (1, 3))]:
        assert live_times.of_values(bad, grid) == {}


def test_convert__velox_stopped_within_a_frame(tmp_path: Path):
    """Pixels that the last frame did not reach were looked at for shorter."""
    words = frame_words(COUNTS)
    ends = np.flatnonzero(words == 65535)
    streams = {"EDS": [words, words[: ends[9] + 1]]}
    path = write_velox(tmp_path / "a.emd", streams, COUNTS.shape, detectors=["EDS"])
    image = eds_xr.open(eds_xr.convert(path, tmp_path / "a.zarr"))
    total, each = image.attrs["live_time_s"], image.live_time_s
    assert each.attrs["units"] == "s"
    assert float(each.sum()) == pytest.approx(total)
    flat = each.values.ravel()
    np.testing.assert_allclose(flat[:10], 2 * flat[-1])
    assert "pixel_live_time_s" not in image.attrs


def test_convert__an_equal_share_where_the_file_tells_no_more(tmp_path: Path):
    words = frame_words(COUNTS)
    path = write_velox(tmp_path / "a.emd", {"EDS": [words]}, COUNTS.shape, detectors=["EDS"])
    image = eds_xr.open(eds_xr.convert(path, tmp_path / "a.zarr"))
    assert "live_time_s" not in image.coords
    expected = image.attrs["live_time_s"] / (image.sizes["y"] * image.sizes["x"])
    assert image.attrs["pixel_live_time_s"] == pytest.approx(expected)


def _image(times=None):
    image = simulate.spectrum_image((6, 7, 256), 50.0, seed=1).compute()
    if times is None:
        return image.assign_attrs(pixel_live_time_s=0.5, probe_current_na=2.0)
    return image.assign_coords(live_time_s=(("y", "x"), times)).assign_attrs(probe_current_na=2.0)


TIMES = np.random.default_rng(2).random((6, 7))
MASKS = np.random.default_rng(3).random((2, 6, 7)) < 0.5


@pytest.mark.parametrize("times", [None, TIMES])
@pytest.mark.parametrize("chunks", [None, {"y": 4, "x": 3}])
def test_sums__know_the_live_time_of_their_pixels(times, chunks):
    image = _image(times)
    image = image if chunks is None else image.chunk(chunks)
    masks = xr.DataArray(MASKS, {"phase": ["a", "b"]}, ("phase", "y", "x"))
    spectra = eds_xr.sum_spectra(image, masks).compute()
    each = np.full((6, 7), 0.5) if times is None else TIMES
    expected = [each[mask].sum() for mask in MASKS]
    np.testing.assert_allclose(spectra.live_time_s, expected)
    one = eds_xr.sum_spectra(image, masks.isel(phase=0, drop=True)).compute()
    assert float(one.live_time_s) == pytest.approx(expected[0])


@pytest.mark.parametrize("times", [None, TIMES])
def test_rebin__sums_live_times(times):
    image = _image(times)
    each = np.full((6, 7), 0.5) if times is None else TIMES
    binned = eds_xr.rebin(image, y=2, energy=4)
    everywhere = xr.ones_like(binned.isel(energy=0, drop=True), dtype=bool)
    assert float(eds_xr.sum_spectra(binned, everywhere).live_time_s) == pytest.approx(each.sum())
    one = everywhere & (binned.y == binned.y[0])
    assert float(eds_xr.sum_spectra(binned, one).live_time_s) == pytest.approx(each[:2].sum())


def test_rebin__a_part_empty_bin_has_the_time_of_its_pixels():
    image = _image(TIMES)
    binned = eds_xr.rebin(image, x=3)
    np.testing.assert_allclose(binned.live_time_s[:, -1], TIMES[:, 6])
    shared = eds_xr.rebin(_image(), x=3)  # 7 pixels: the last bin holds one of three
    everywhere = xr.ones_like(shared.isel(energy=0, drop=True), dtype=bool)
    assert float(eds_xr.sum_spectra(shared, everywhere).live_time_s) == pytest.approx(6 * 7 * 0.5)


@pytest.mark.parametrize("times", [None, TIMES])
def test_split_counts__halves_are_as_long_as_their_counts(times):
    image = _image(times).astype(np.uint16)
    everywhere = xr.ones_like(image.isel(energy=0, drop=True), dtype=bool)
    whole = float(eds_xr.sum_spectra(image, everywhere).live_time_s)
    for half in eds_xr.split_counts(image):
        assert float(eds_xr.sum_spectra(half, everywhere).live_time_s) == pytest.approx(whole / 2)


def test_quantify_zeta__needs_no_arithmetic_by_hand():
    spectra = eds_xr.sum_spectra(
        _image(TIMES), xr.DataArray(MASKS, {"phase": ["a", "b"]}, ("phase", "y", "x"))
    )
    names = ["Mg_Ka", "Si_Ka"]
    net = xr.DataArray([[900.0, 400], [500, 600]], {"phase": ["a", "b"], "line": names})
    lines = xr.Dataset({"net": net, "variance": net}, attrs=spectra.attrs)
    lines["live_time_s"] = spectra.live_time_s
    zeta = dict.fromkeys(names, 500.0)
    found = eds_xr.quantify_zeta(lines, zeta, absorption=False)
    dose = [2e-9 * TIMES[mask].sum() / 1.602176634e-19 for mask in MASKS]
    given = xr.DataArray(dose, {"phase": ["a", "b"]}, ("phase",))
    by_hand = eds_xr.quantify_zeta(lines, zeta, dose_electrons=given, absorption=False)
    np.testing.assert_allclose(found.mass_thickness, by_hand.mass_thickness)
    more = eds_xr.quantify_zeta(lines, zeta, probe_current_na=4.0, absorption=False)
    np.testing.assert_allclose(more.mass_thickness, by_hand.mass_thickness / 2)
    del lines.attrs["probe_current_na"]
    with pytest.raises(eds_xr.EdsError, match="the recording tells no current"):
        eds_xr.quantify_zeta(lines, zeta, absorption=False)


def test_info__tells_the_dead_time(tmp_path: Path):
    words = frame_words(COUNTS)
    path = write_velox(tmp_path / "a.emd", {"EDS": [words]}, COUNTS.shape, detectors=["EDS"])
    lines = dict(summary.as_lines(summary.of_recording(readers.read(path)[0])))
    assert lines["dead time"] == "20 %"  # 0.6 s live of 0.75 s
