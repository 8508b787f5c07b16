"""What ``fit_lines`` can fit beside families on a flexible background, and what it leaves."""

import json
import re

import numpy as np
import pytest
import xarray as xr
import xraydb
from support.line_spectra import (
    CALCIUM,
    ELEMENTS,
    ENERGY,
    FOIL,
    METHODS,
    STRAY,
    TRUE_AXIS,
    as_spectra,
    draw,
    mean_counts,
    only_amounts,
)

from eds_xr import simulate
from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning, fit_lines
from eds_xr.spectra.shapes.background import Bremsstrahlung
from eds_xr.xray.detector import escape_fraction

# -- Poisson's likelihood ------------------------------------------------------------------------


@pytest.mark.parametrize("n_counts", [300, 3000])
def test_fit_lines__likelihood_is_unbiased_where_counts_are_few(n_counts):
    mean = mean_counts(n_counts)
    options = {"stray": STRAY, "calibration": TRUE_AXIS, "method": "poisson"}
    true = fit_lines(as_spectra(mean), ELEMENTS, **options).net
    draws = xr.concat([draw(mean, s).counts for s in range(60)], "draw")
    with only_amounts():
        found = fit_lines(as_spectra(draws), ELEMENTS, **options)
    scatter = found.net.std("draw")
    bias = (found.net.mean("draw") - true) / scatter
    assert np.abs(bias).max() < 0.5  # of 30 means, each +- 0.13
    assert abs(float(bias.mean())) < 0.1
    stated = found.variance.mean("draw") ** 0.5
    assert 0.85 < float((scatter / stated).mean()) < 1.05


def test_fit_lines__likelihood_meets_least_squares_where_counts_are_many():
    spectra = draw(mean_counts(1e6), 0)
    a, b = (fit_lines(spectra, ELEMENTS, stray=STRAY, method=m) for m in METHODS)
    assert (abs(a.net - b.net) < 0.1 * a.variance**0.5).all()
    assert float(b.reduced_chi2.max()) < 1.2


def test_fit_lines__likelihood_is_the_greatest():
    spectra = draw(mean_counts(3e4).isel(phase=0), 3)
    logs = {}
    for method in METHODS:
        lines = fit_lines(spectra, ELEMENTS, stray=STRAY, calibration=TRUE_AXIS, method=method)
        counts = spectra.counts.sel(energy=lines.energy)
        assert float(lines.model.min()) > 0
        logs[method] = float((counts * np.log(lines.model) - lines.model).sum())
    assert logs["poisson"] > logs["least_squares"]
    assert float(lines.model.sum()) == pytest.approx(float(counts.sum()), abs=2)


def test_fit_lines__likelihood_expects_no_negative_counts():
    for seed in range(5):
        spectra = draw(mean_counts(100), seed)
        lines = fit_lines(spectra, ELEMENTS, stray=STRAY, calibration=TRUE_AXIS, method="poisson")
        assert float(lines.model.min()) > 0
        assert float(lines.net.min()) < 0  # amounts may be negative, so they are not biased


@pytest.mark.parametrize("change", ["scaled", "subtracted", "negative"])
def test_fit_lines__likelihood_refuses_what_are_no_counts(change):
    spectra = draw(mean_counts(1e4).isel(phase=0), 0)
    made = {
        "scaled": as_spectra(2 * spectra.counts, 4 * spectra.counts),
        "subtracted": as_spectra(spectra.counts - 1, spectra.counts + 1),
        "negative": as_spectra(-spectra.counts, spectra.counts),
    }
    with pytest.raises(EdsError, match='use method="least_squares"'):
        fit_lines(made[change], ELEMENTS, method="poisson")


# -- backgrounds ---------------------------------------------------------------------------------


def test_fit_lines__physical_background_of_a_thin_foil():
    mean = mean_counts(1e6)
    options = {"stray": STRAY, "calibration": TRUE_AXIS}
    flexible = fit_lines(as_spectra(mean), ELEMENTS, **options)
    physical = fit_lines(as_spectra(mean), ELEMENTS, background="physical", **options)
    assert float(physical.reduced_chi2.max()) < 0.01
    assert (abs(physical.net - flexible.net) < 0.15 * physical.variance**0.5).all()
    gain = flexible.variance / physical.variance
    assert float(gain.min()) >= 1
    assert float(gain.sel(line="Sm_La").min()) > 1.03


def test_fit_lines__self_absorption_bends_the_background():
    angle, mass_thickness = 22.0, 2e-3  # some 500 nm
    depth = 10 * mass_thickness / np.sin(np.radians(angle))  # kg/m^2 to g/cm^2 is 1/10 ...
    depth *= xraydb.material_mu("MgSiO3", 1000 * np.clip(ENERGY, 0.1, None), density=1) / 100
    peaks = simulate.Instrument(background=0.0)
    lines_only = simulate.phase_spectra(simulate.PYROLITE_71GPA, ENERGY, instrument=peaks).loadings
    # what is bremsstrahlung in the simulation, absorbed
    smooth = mean_counts(1e7) - 0.83e7 * lines_only
    absorbed = mean_counts(1e7) - smooth * (1 - -np.expm1(-depth) / depth)
    spectra = as_spectra(absorbed.isel(phase=0)).assign_attrs(elevation_angle_deg=angle)
    chi2 = {
        t: float(fit_lines(spectra, ELEMENTS, stray=STRAY, calibration=TRUE_AXIS,
                           background=Bremsstrahlung(FOIL, t)).reduced_chi2)
        for t in (0.0, 1e-3, 2e-3, 4e-3)
    }  # fmt: skip
    assert min(chi2, key=chi2.get) == mass_thickness
    assert chi2[mass_thickness] < 0.2 * chi2[0.0]


# -- escape and sum peaks ------------------------------------------------------------------------


def calcium(background):
    bare = simulate.Instrument(stray={}, background=background)
    return 1e6 * simulate.phase_spectra(CALCIUM, ENERGY, instrument=bare).loadings[0]


def test_escape_fraction__is_that_of_silicon():
    energy = np.array([1.0, 1.83, 1.85, 2.0, 4.0, 5.895, 8.04, 12.0])
    share = escape_fraction(energy)
    assert (share[:2] == 0).all()
    assert (np.diff(share[2:]) < 0).all()
    assert 0.01 < share[2] < 0.02
    assert share[5] == pytest.approx(0.004, rel=0.15)
    assert escape_fraction(3.69).shape == ()


def test_fit_lines__escape_peaks_are_part_of_the_line():
    mean, share = calcium(0.17), float(escape_fraction(3.70))
    lines = (0.83 * calcium(0)).where(mean.energy > 3.2, 0)
    moved = (share * lines).shift(energy=-174, fill_value=0)
    spectra = as_spectra(mean - share * lines + moved)
    true = fit_lines(as_spectra(mean), ["Ca"], calibration=TRUE_AXIS).net
    with_escape = fit_lines(spectra, ["Ca"], calibration=TRUE_AXIS, escape=True)
    without = fit_lines(spectra, ["Ca"], calibration=TRUE_AXIS)
    assert float(with_escape.net[0]) == pytest.approx(float(true[0]), rel=1e-3)
    assert float(without.net[0]) == pytest.approx((1 - share) * float(true[0]), rel=5e-4)
    assert float(with_escape.reduced_chi2) < 0.1 * float(without.reduced_chi2)
    # it is named, but is no missing line: no warning
    assert "perhaps the escape peak of Ca_Ka" in without.attrs["warnings"][0]
    assert with_escape.attrs["warnings"] == []


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
    off = [float(abs(f.net / 0.99 - true).sel(line="U_Ma")) for f in (summed, without)]
    assert off[0] < 0.2 * off[1]


def test_fit_lines__no_sum_peaks_where_there_are_none():
    spectra = draw(mean_counts(1e6), 0)
    plain = fit_lines(spectra, ELEMENTS, stray=STRAY)
    summed = fit_lines(spectra, ELEMENTS, stray=STRAY, sum_peaks=True)
    assert (abs(summed.sum_peaks) < 4 * summed.sum_peaks_variance**0.5).all()
    assert (abs(summed.net - plain.net) < 2 * plain.variance**0.5).all()


# -- what is left --------------------------------------------------------------------------------


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


def test_fit_lines__does_not_cry_wolf_when_counts_are_few():
    for n_counts in (30, 300, 3000):
        draws = xr.concat([draw(mean_counts(n_counts), s).counts for s in range(15)], "draw")
        lines = fit_lines(as_spectra(draws), ELEMENTS, stray=STRAY, calibration=TRUE_AXIS)
        assert lines.attrs["warnings"] == []
        assert float(lines.residual_z.std()) < 1.05


@pytest.mark.parametrize("bend_kev", [0.002, 0.004])
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
