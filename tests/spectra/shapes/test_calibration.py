import numpy as np
import pytest
from support.line_spectra import (
    ELEMENTS,
    ENERGY,
    PURE_SILICON,
    STRAY,
    TRUE_AXIS,
    as_spectra,
    draw,
    mean_counts,
)

from eds_xr import simulate
from eds_xr.spectra.line_fits.fit_lines import calibrate, fit_lines
from eds_xr.xray.detector import peak_sigma_kev


@pytest.mark.parametrize(("gain", "offset"), [(1.001, -0.006), (0.998, 0.02), (1.0, 0.0)])
def test_calibrate__finds_a_planted_shift(gain, offset):
    spectra = draw(mean_counts(1e6), 1)
    shifted = spectra.assign_coords(energy=(ENERGY - offset) / gain)
    found = calibrate(shifted, [*ELEMENTS, *STRAY])
    assert found.source == "fitted"
    assert found.gain == pytest.approx(gain, abs=1.5e-4)
    assert found.offset_kev == pytest.approx(offset, abs=5e-4)
    assert found.noise_kev2 == pytest.approx(TRUE_AXIS.noise_kev2, rel=0.04)


def test_calibrate__finds_another_resolution():
    wide = simulate.Instrument(resolution_mnka_ev=145.0)
    loadings = simulate.phase_spectra(simulate.PYROLITE_71GPA, ENERGY, instrument=wide).loadings
    found = calibrate(draw(1e6 * loadings, 0), [*ELEMENTS, *STRAY])
    assert found.noise_kev2 == pytest.approx(float(peak_sigma_kev(0.0, 145.0) ** 2), rel=0.04)


def test_calibrate__keeps_the_nominal_axis_when_counts_are_few():
    for n_counts in (0, 30):
        spectra = draw(mean_counts(n_counts).isel(phase=0), 0)
        found = calibrate(spectra, ELEMENTS)
        assert (found.gain, found.offset_kev) == (1, 0)
        assert "too few counts" in found.source
        lines = fit_lines(spectra, ELEMENTS)
        assert "too few counts" in lines.attrs["calibration_source"]
        assert np.isfinite(lines.net).all()
        assert (lines.variance > 0).all()


def test_calibrate__one_peak_moves_the_offset_only():
    bare = simulate.Instrument(stray={})
    loadings = simulate.phase_spectra(PURE_SILICON, ENERGY, instrument=bare).loadings
    spectra = draw(1e5 * loadings, 0).assign_coords(energy=ENERGY + 0.01)
    found = calibrate(spectra, ["Si"])
    assert found.gain == pytest.approx(1, abs=2e-3)
    assert found.gain * 1.75 + found.offset_kev == pytest.approx(1.74, abs=1e-3)


def test_calibrate__in_a_narrow_range():
    spectra = draw(mean_counts(1e6), 0).assign_coords(energy=ENERGY + 0.006)
    found = calibrate(spectra, ["Fe", "Nd", "Sm"], range_kev=(4.6, 7.3))
    assert found.gain * 6.406 + found.offset_kev == pytest.approx(6.4, abs=1e-3)
    true = fit_lines(as_spectra(mean_counts(1e6)), ELEMENTS, stray=STRAY)
    lines = fit_lines(spectra, ["Fe", "Nd", "Sm"], range_kev=(4.6, 7.3))
    misfit = (lines.net - true.net.sel(line=lines.line)) / lines.variance**0.5
    assert np.abs(misfit).max() < 3.5
