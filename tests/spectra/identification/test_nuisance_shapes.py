import numpy as np
import pytest

from eds_xr.spectra.identification.nuisance_shapes import bumps, places, sum_peaks
from eds_xr.spectra.shapes.families import Calibration

ENERGY = -0.2 + 0.01 * np.arange(1300)


def test_sum_peaks__stand_at_sums_of_energies():
    counts = 1e6 * np.exp(-0.5 * ((ENERGY - 1.74) / 0.04) ** 2)
    counts += 1e6 * np.exp(-0.5 * ((ENERGY - 0.525) / 0.03) ** 2)
    shapes = sum_peaks(ENERGY, counts)
    np.testing.assert_allclose(shapes.sum(axis=0), 1)
    tops = {round(float(ENERGY[np.argmax(column)]), 2) for column in shapes.T}
    assert 3.48 in tops  # silicon twice
    with_oxygen = shapes[:, np.argmin(np.abs(ENERGY[shapes.argmax(axis=0)] - 2.265))]
    assert ENERGY[with_oxygen.argmax()] == pytest.approx(2.265, abs=0.011)
    assert sum_peaks(ENERGY, counts / 1e4).shape == (ENERGY.size, 0)


def test_places__cover_every_channel_alike():
    errors = places(ENERGY[60:], Calibration())
    assert (errors >= 0).all()
    share = errors[:, :-1].sum(axis=1)
    np.testing.assert_allclose(share[ENERGY[60:] > 5], 0.02, rtol=0.01)
    assert share[0] == pytest.approx(0.04)  # at 0.4 keV windows and foil absorb much
    assert (np.diff(share) <= 1e-12).all()
    assert errors[0, -1] == pytest.approx(0)
    assert errors[-1, -1] == pytest.approx(0.02)  # beyond the silicon edge
    np.testing.assert_allclose(bumps(ENERGY[60:], Calibration(), 1.0).sum(axis=1), 1)
