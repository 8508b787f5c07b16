"""Simulated spectra for the tests of the fit of lines."""

from unittest import mock

import numpy as np
import xarray as xr

from eds_xr import simulate
from eds_xr.spectra.line_fits import one_spectrum
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.xray.detector import peak_sigma_kev

ENERGY = -0.2 + 0.01 * np.arange(1300)
ELEMENTS = ["Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Lu", "Hf", "U"]
STRAY = ["Cu", "Ga"]
TRUE_AXIS = Calibration(noise_kev2=float(peak_sigma_kev(0.0) ** 2))
FOIL = {"Mg": 1, "Si": 1, "O": 3}
METHODS = ("least_squares", "poisson")
CALCIUM = (simulate.Phase("Ca", {"Ca": 1}),)
PURE_SILICON = (simulate.Phase("Si", {"Si": 1}),)
ATTRS = {"beam_energy_kev": 200.0, "energy_resolution_mnka_ev": 130.0}


def mean_counts(n_counts, phases=simulate.PYROLITE_71GPA, energy=ENERGY):
    return n_counts * simulate.phase_spectra(phases, energy).loadings


def as_spectra(counts, variance=None):
    variance = counts if variance is None else variance
    return xr.Dataset({"counts": counts, "variance": variance}, attrs=ATTRS)


def draw(mean, seed):
    return as_spectra(mean.copy(data=np.random.default_rng(seed).poisson(mean)))


def only_amounts():
    """Leave out the search for missing peaks, two thirds of a fit's time, on which no net depends.

    For tests that fit hundreds of spectra and look at amounts and errors only.
    """
    nothing = lambda left: np.zeros(left.rest.size)  # noqa: E731
    return mock.patch.object(one_spectrum, "one_more_peak_z", nothing)
