import numpy as np
import pytest

from eds_xr.spectra.identification.nuisance_shapes import places, sum_peaks
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
    bumps = places(ENERGY[60:], Calibration())
    assert (bumps >= 0).all()
    np.testing.assert_allclose(bumps[:, :-1].sum(axis=1), 0.025)
    assert bumps[0, -1] == pytest.approx(0)
    assert bumps[-1, -1] == pytest.approx(0.02)  # beyond the silicon edge
