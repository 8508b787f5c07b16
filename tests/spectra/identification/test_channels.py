import numpy as np
import pytest
from support.independent.detector import Detector
from support.independent.materials import by_name
from support.independent.spectra import Microscope, draw, truth

from eds_xr.spectra.identification.channels import (
    averaged,
    bin_starts,
    detector_start_kev,
    summed,
)

ENERGY = -0.2 + 0.01 * np.arange(1300)


def counted(threshold_kev, noise):
    """Photons from a threshold on, and a noise peak at zero."""
    photons = np.where(threshold_kev <= ENERGY, 100.0, 0.0)
    return photons + noise * np.exp(-0.5 * (ENERGY / 0.02) ** 2)


@pytest.mark.parametrize("noise", [0, 30, 1e4])
def test_detector_start__above_noise_and_threshold(noise):
    start = detector_start_kev(ENERGY, np.floor(counted(0.14, noise)))
    assert 0.14 <= start <= 0.21


def test_detector_start__of_an_axis_that_begins_later_is_its_begin():
    later = ENERGY[ENERGY > 0.165]
    assert detector_start_kev(later, np.full(later.size, 50.0)) == pytest.approx(later[0])
    hard = ENERGY[ENERGY > 0.83]
    assert detector_start_kev(hard, np.full(hard.size, 50.0)) == pytest.approx(hard[0])


@pytest.mark.parametrize("name", ["gallium nitride", "galena"])
@pytest.mark.parametrize("offset_ev", [-30, 12, 30])
def test_detector_start__lies_below_carbon_whatever_the_noise(name, offset_ev):
    microscope = Microscope(detector=Detector(offset_ev=offset_ev, gain=0.995))
    known = truth(by_name(name).atoms, 1e5, microscope=microscope)
    for seed in range(10):
        counts = draw(known, seed).counts
        assert detector_start_kev(counts.energy.values, counts.values.astype(float)) < 0.2


@pytest.mark.parametrize("step", [0.005, 0.01, 0.02])
def test_bins__keep_counts_and_are_a_quarter_of_a_peak_at_most(step):
    energy = np.arange(0.2, 15, step)
    starts = bin_starts(energy, 130.0)
    counts = np.random.default_rng(0).poisson(3, energy.size)
    assert summed(counts, starts).sum() == counts.sum()
    np.testing.assert_allclose(averaged(np.full(energy.size, 2.0), starts), 2)
    wide = np.diff(energy[starts])
    assert wide.max() <= 0.25 * 0.21 + 1e-9  # a peak at 15 keV is 0.21 keV wide
    assert wide[0] == pytest.approx(max(step, 0.01), abs=0.006)
