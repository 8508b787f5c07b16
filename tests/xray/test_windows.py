import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.schema import EdsError
from eds_xr.xray import lines as xray_lines
from eds_xr.xray import windows

ENERGY = -0.2 + 0.01 * np.arange(2048)


@given(level=st.floats(0, 1e4), slope=st.floats(-100, 100))
def test_window_weights__a_linear_background_cancels(level, slope):
    weights = windows.window_weights(ENERGY, "Fe_Ka")
    background = level + slope * ENERGY
    assert abs(background @ weights) < 1e-6 * (1 + np.abs(background) @ np.abs(weights))


def test_window_weights__keep_the_peak():
    centre = xray_lines.line_energy_kev("Fe_Ka")
    peak = np.exp(-0.5 * ((ENERGY - centre) / xray_lines.peak_sigma_kev(centre)) ** 2)
    for background in (True, False):
        weights = windows.window_weights(ENERGY, "Fe_Ka", background=background)
        assert peak @ weights == pytest.approx(peak.sum(), rel=0.025)
    assert set(np.unique(weights)) == {0.0, 1.0}


def test_window_weights__errors():
    with pytest.raises(EdsError, match="choose another line of the element"):
        windows.window_weights(ENERGY, "Nd_Ka")
    with pytest.raises(EdsError, match="channels are too wide for the windows of Fe_Ka"):
        windows.window_weights(np.arange(0, 20, 1.0), "Fe_Ka")


def test_overlaps__those_of_the_study():
    pairs = windows.overlaps(["Hf_La", "Cu_Ka", "Nd_Lb1", "Sm_La", "Si_Ka", "Nd_La"])
    assert [pair[:2] for pair in pairs] == [("Sm_La", "Nd_Lb1"), ("Hf_La", "Cu_Ka")]
    assert pairs[0].distance_kev == pytest.approx(0.086, abs=0.01)
    assert 0.4 < pairs[0].alike < 0.6
    assert pairs[0].alike > pairs[1].alike > 0.2


def test_overlaps__elements_stand_for_their_lines():
    pairs = windows.overlaps(["Nd", "Sm", "Ca"])
    assert ("Sm_La", "Nd_Lb1") in [pair[:2] for pair in pairs]
    assert not any("Ca" in line for pair in pairs for line in pair[:2])
    high = windows.overlaps(["Nd", "Sm"], range_kev=(5.0, 6.0))
    assert [pair[:2] for pair in high] == [("Sm_La", "Nd_Lb1")]
    with pytest.raises(EdsError, match="no chemical element 'Xx'"):
        windows.overlaps(["Xx"])


@given(st.floats(0.5, 10), st.floats(0, 0.5), st.floats(120, 180))
def test_overlaps__likeness_is_the_cosine_of_two_peaks(low, distance, resolution):
    axis = np.arange(-1, 13, 0.002)
    centres = (low, low + distance)
    sigmas = [float(xray_lines.peak_sigma_kev(c, resolution)) for c in centres]
    a, b = (np.exp(-0.5 * ((axis - c) / s) ** 2) for c, s in zip(centres, sigmas, strict=True))
    cosine = a @ b / np.sqrt(a @ a * (b @ b))
    assert windows._alike(*centres, resolution) == pytest.approx(cosine, abs=1e-6)
