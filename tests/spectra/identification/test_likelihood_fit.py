import numpy as np
import pytest
import xarray as xr

from eds_xr import simulate
from eds_xr.spectra.identification.candidates import make_candidates
from eds_xr.spectra.identification.channels import bin_starts
from eds_xr.spectra.identification.likelihood_fit import fit
from eds_xr.spectra.identification.nuisance_shapes import make_spectrum
from eds_xr.spectra.shapes.families import Calibration

ENERGY = -0.2 + 0.01 * np.arange(1300)

ATTRS = {"beam_energy_kev": 200.0, "energy_resolution_mnka_ev": 130.0}


def phase(atoms, **stray):
    instrument = simulate.Instrument(stray=stray)
    one = simulate.Phase("one", atoms)
    return simulate.phase_spectra([one], ENERGY, instrument=instrument).loadings.isel(phase=0)


def as_spectra(counts, **attrs):
    return xr.Dataset({"counts": counts, "variance": abs(counts)}, attrs=ATTRS | attrs)


def draw(shape, n_counts, seed=0, **attrs):
    drawn = np.random.default_rng(seed).poisson(n_counts * shape / shape.sum()).astype(float)
    return as_spectra(xr.DataArray(drawn, {"energy": ENERGY}, ("energy",)), **attrs)


def test_fit__begins_where_a_similar_one_ended():
    drawn = draw(phase({"Si": 1.0, "Fe": 0.3}), 1e5)
    counts, part = drawn.counts.values, slice(60, ENERGY.size)
    starts = bin_starts(ENERGY[part], 130.0)
    spectrum = make_spectrum(ENERGY, counts, counts, part, starts, Calibration(), 200.0)
    silicon, iron = make_candidates(["Si", "Fe"], ENERGY[part], starts, Calibration(), 200.0)
    cold = fit(spectrum, [iron, silicon])
    warm = fit(spectrum, [iron, silicon], fit(spectrum, [silicon]))
    assert warm.deviance == pytest.approx(cold.deviance, abs=0.5)
    for one, other in zip(warm.amounts, cold.amounts, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.01)
