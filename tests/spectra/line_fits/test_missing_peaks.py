import json
import re

import numpy as np
import pytest
import xarray as xr
from support.line_spectra import (
    ELEMENTS,
    ENERGY,
    STRAY,
    TRUE_AXIS,
    as_spectra,
    draw,
    mean_counts,
)

from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning, fit_lines


def test_fit_lines__reports_an_element_that_was_left_out():
    spectra = draw(mean_counts(1e6), 0)
    without = [e for e in ELEMENTS if e != "Ca"]
    with pytest.warns(MissingLineWarning) as caught:
        lines = fit_lines(spectra, without, stray=STRAY)
    assert [str(w.message) for w in caught] == lines.attrs["warnings"]
    brg, perovskite = lines.attrs["warnings"]  # Fp has none, and its Kb comes with the Ka
    assert re.fullmatch(r"phase Brg: a peak at 3\.[67]\d keV .* perhaps Ca_Ka", brg)
    assert re.fullmatch(r"phase Ca-Pv: a peak at 3\.[67]\d keV .* perhaps Ca_Ka", perovskite)
    top = lines.residual_z.sel(phase="Ca-Pv").idxmax("energy")
    assert float(top) == pytest.approx(3.69, abs=0.03)


def test_fit_lines__reports_a_trace_that_was_left_out():
    spectra = draw(mean_counts(2e6).isel(phase=0, drop=True), 0)
    fitted = fit_lines(spectra, ELEMENTS, stray=STRAY)
    assert fitted.attrs["warnings"] == []
    assert float(fitted.net.sel(line="Lu_La")) < 0.003 * float(spectra.counts.sum())
    for element, energy in (("Lu", r"7\.6"), ("Hf", r"7\.[89]"), ("Sm", r"5\.6")):
        with pytest.warns(MissingLineWarning) as caught:
            fit_lines(spectra, [e for e in ELEMENTS if e != element], stray=STRAY)
        message = str(caught[0].message)  # its other lines come with the first
        assert re.fullmatch(rf"a peak at {energy}\d keV .* perhaps {element}_La.*", message)
        assert len(caught) == 1


@pytest.mark.slow
def test_fit_lines__does_not_cry_wolf_when_counts_are_few():
    for n_counts in (30, 300, 3000):
        draws = xr.concat([draw(mean_counts(n_counts), s).counts for s in range(8)], "draw")
        lines = fit_lines(as_spectra(draws), ELEMENTS, stray=STRAY, calibration=TRUE_AXIS)
        assert lines.attrs["warnings"] == []
        assert float(lines.residual_z.std()) < 1.05


@pytest.mark.parametrize("bend_kev", [0.011, 0.012])
def test_fit_lines__does_not_cry_wolf_on_flanks_of_peaks_that_fit_badly(bend_kev):
    bent = ENERGY + bend_kev * np.sin(3 * ENERGY)  # no gain and offset put this right
    mean = mean_counts(3e6).isel(phase=0)
    counts = np.interp(bent, ENERGY, mean)
    spectra = draw(mean.copy(data=counts), 0)
    lines = fit_lines(spectra, ELEMENTS, stray=STRAY)
    assert float(lines.reduced_chi2) > 1.15
    assert lines.attrs["warnings"] == []


def test_fit_lines__earlier_warnings_ride_along():
    spectra = draw(mean_counts(1e5), 0).assign_attrs(warnings=["too much is subtracted"])
    lines = fit_lines(spectra, ELEMENTS, stray=STRAY)
    assert lines.attrs["warnings"] == ["too much is subtracted"]
    json.dumps(lines.attrs)
