import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.schema import EdsError
from eds_xr.xray import lines as xray_lines
from eds_xr.xray.detector import escape_fraction


@given(fwhm=st.floats(118, 250))
def test_peak_sigma_kev__gives_back_the_resolution(fwhm):
    sigma = xray_lines.peak_sigma_kev(xray_lines.MN_KA_KEV, fwhm)
    assert 2000 * math.sqrt(2 * math.log(2)) * float(sigma) == pytest.approx(fwhm)


def test_peak_sigma_kev__of_the_published_map():
    energy = np.array([0.5, 1.7, 6.4, 8.0])
    found = xray_lines.peak_sigma_kev(energy, 132.4)
    np.testing.assert_allclose(found**2, 6.6e-4 + 4.23e-4 * energy, rtol=0.01)


def test_peak_sigma_kev__refuses_the_impossible():
    with pytest.raises(EdsError, match="below the limit of silicon"):
        xray_lines.peak_sigma_kev(5.9, 0.13)


@given(st.lists(st.floats(-1, 30), min_size=1, max_size=5))
def test_detector_efficiency__is_a_share(energies):
    found = xray_lines.detector_efficiency(energies)
    assert found.shape == (len(energies),)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[np.array(energies) < 0.1] == 0).all()


def test_detector_efficiency__what_each_layer_does():
    low, middle, high = xray_lines.detector_efficiency([0.277, 6.4, 20.0])
    assert 0.5 < low < 0.9
    assert middle > 0.99
    assert high < 0.5  # passes through the crystal
    assert xray_lines.detector_efficiency(20.0, thickness_mm=1.0) > 1.5 * high
    assert xray_lines.detector_efficiency(0.525, window_nm=300) < 0.9
    below, above = xray_lines.detector_efficiency([1.83, 1.85], dead_layer_nm=100)
    assert above < below  # silicon K edge


def test_detector_efficiency__keeps_scalars_and_shapes():
    assert xray_lines.detector_efficiency(5.0).shape == ()
    assert xray_lines.detector_efficiency(np.ones((2, 3))).shape == (2, 3)
    assert xray_lines.detector_efficiency([]).shape == (0,)


def test_escape_fraction__is_that_of_silicon():
    energy = np.array([1.0, 1.83, 1.85, 2.0, 4.0, 5.895, 8.04, 12.0])
    share = escape_fraction(energy)
    assert (share[:2] == 0).all()
    assert (np.diff(share[2:]) < 0).all()
    assert 0.01 < share[2] < 0.02
    assert share[5] == pytest.approx(0.004, rel=0.15)
    assert escape_fraction(3.69).shape == ()
