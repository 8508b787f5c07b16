"""How much of one component another may hold."""

import numpy as np
import pytest

from eds_xr.factorisation.purest.shares import pixel_share, spectral_share

#: Three spectra, each with channels that the others do not have.
SPECTRA = np.kron(np.eye(3), np.ones(20)) / 20
AMOUNTS = np.random.default_rng(2).uniform(0, 1, (400, 3)) * [5000.0, 2000.0, 2000.0]
MANY = np.random.default_rng(3).uniform(0, 1e6, (400, 2))
#: Two lines on a continuum, and one line at another place on twice as much of it.
CHANNEL = np.arange(400.0)
LINE = [np.exp(-0.5 * ((CHANNEL - at) / 4) ** 2) for at in (80, 200, 320)]


def test_spectral_share__is_the_lowest_ratio_but_for_noise():
    mixed = np.vstack([SPECTRA[0], 0.7 * SPECTRA[1] + 0.3 * SPECTRA[0], SPECTRA[2]])
    assert spectral_share(AMOUNTS, mixed, 1, 0) == pytest.approx(0.3, abs=0.05)
    assert spectral_share(AMOUNTS, mixed, 1, 2) == pytest.approx(0.0, abs=0.05)


def test_pixel_share__is_what_the_purest_pixels_hold_of_the_other():
    scores = np.array([[0.0, 100.0], [20.0, 80.0], [10.0, 90.0], [11.0, 89.0]] * 50)
    assert -0.13 < pixel_share(scores, np.eye(2), 1, 0) <= 0
    assert pixel_share(np.array([[5.0, 0.0]] * 9), np.eye(2), 1, 0) == 0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_spectral_share__lines_leave_a_continuum_without_holes(share):
    host = 5 * LINE[0] + 3 * LINE[1] + 0.05
    own = 4 * LINE[2] + 0.1
    host, own = host / host.sum(), own / own.sum()
    mixed = np.vstack([host, share * host + (1 - share) * own])
    assert spectral_share(MANY, mixed, 1, 0, 10) == pytest.approx(share, abs=0.01)
    # all counts at the host's lines, as if there were no continuum: too much
    assert spectral_share(MANY, mixed, 1, 0) > share + 0.015


def test_spectral_share__gives_back_what_makes_holes():
    host, own = 5 * LINE[0] + 0.05, 4 * LINE[2] + 0.1
    host, own = host / host.sum(), own / own.sum()
    mixed = np.vstack([host, (own - 0.05 * host) / 0.95])
    assert spectral_share(MANY, mixed, 1, 0, 10) < -0.02
