import numpy as np
import xarray as xr
from support.line_spectra import (
    ELEMENTS,
    STRAY,
    TRUE_AXIS,
    as_spectra,
    draw,
    mean_counts,
)

from eds_xr.spectra.line_fits.fit_lines import fit_lines


def piled_up(mean, share):
    """Return a spectrum, a share of whose photons comes in twos."""
    whole = np.convolve(mean, mean)[20 : 20 + mean.size]  # energy 0 is at channel 20
    return (1 - share) * mean + share / 2 * whole / float(mean.sum())


def test_fit_lines__sum_peaks_are_tied_by_how_often_photons_meet():
    plain = mean_counts(3e6).isel(phase=2)
    spectra = as_spectra(xr.apply_ufunc(piled_up, plain, kwargs={"share": 0.01}))
    options = {"stray": [*STRAY, "O"], "calibration": TRUE_AXIS}
    true = fit_lines(as_spectra(plain), ELEMENTS, **options).net
    without = fit_lines(spectra, ELEMENTS, **options)
    summed = fit_lines(spectra, ELEMENTS, sum_peaks=True, **options)
    assert "the sum peak of" in str(without.attrs["warnings"])
    assert summed.attrs["warnings"] == []
    assert float(summed.reduced_chi2) < 0.3 * float(without.reduced_chi2)
    assert float(summed.sum_peaks) > 8 * float(summed.sum_peaks_variance) ** 0.5
    off = abs((summed.net / 0.99 - true) / summed.variance**0.5)
    assert float(off.max()) < 1


def test_fit_lines__no_sum_peaks_where_there_are_none():
    spectra = draw(mean_counts(1e6), 0)
    plain = fit_lines(spectra, ELEMENTS, stray=STRAY)
    summed = fit_lines(spectra, ELEMENTS, stray=STRAY, sum_peaks=True)
    assert (abs(summed.sum_peaks) < 4 * summed.sum_peaks_variance**0.5).all()
    assert (abs(summed.net - plain.net) < 2 * plain.variance**0.5).all()
