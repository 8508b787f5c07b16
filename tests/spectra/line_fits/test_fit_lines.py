import time

import numpy as np
import pytest
import xarray as xr
from support.line_spectra import (
    ELEMENTS,
    ENERGY,
    FOIL,
    PURE_SILICON,
    STRAY,
    TRUE_AXIS,
    as_spectra,
    draw,
    mean_counts,
    only_amounts,
)

from eds_xr import provenance, simulate
from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.chosen_lines import LeftOutWarning
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.shapes.background import Bremsstrahlung
from eds_xr.spectra.subtraction import subtract_phase
from eds_xr.xray.detector import peak_sigma_kev
from eds_xr.xray.lines import family


def pulls(mean, seeds, **options):
    """Return (found - true) / error of each line of each draw; the truth is a fit of no noise."""
    true = fit_lines(as_spectra(mean), ELEMENTS, stray=STRAY, calibration=TRUE_AXIS).net
    with only_amounts():
        found = [fit_lines(draw(mean, s), ELEMENTS, stray=STRAY, **options) for s in range(seeds)]
    return np.stack([((f.net - true) / scatter(f)).values for f in found])


def scatter(lines):
    """Return the standard deviation of net counts when all tables are right."""
    parts = lines.effect_covariance.sel(effect=["counting", "calibration"]).sum("effect")
    return lines.net.copy(data=np.diagonal(parts, axis1=-2, axis2=-1) ** 0.5)


# -- net counts and their errors -----------------------------------------------------------------


def test_only_amounts__changes_no_amount():
    spectra = draw(mean_counts(1e5), 0)
    with only_amounts():
        found = fit_lines(spectra, ELEMENTS, stray=STRAY)
    xr.testing.assert_identical(
        found.drop_vars("residual_z"),
        fit_lines(spectra, ELEMENTS, stray=STRAY).drop_vars("residual_z"),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("n_counts", "step"), [(3e6, 2), (3e3, 1)])
def test_fit_lines__is_unbiased_and_its_errors_right(n_counts, step):
    found = pulls(mean_counts(n_counts, energy=ENERGY[::step]), 40)
    assert np.abs(found.mean(axis=0)).max() < 0.5  # of 30 means, each +- 0.16
    # net counts of one to ten go with their own variance, so their pulls lean to negative
    assert abs(found.mean()) < (0.1 if n_counts > 1e4 else 0.15)
    spread = found.std(axis=0, ddof=1)
    assert 0.7 < spread.min() < spread.max() < 1.35
    assert spread.mean() == pytest.approx(1, abs=0.05)


def test_fit_lines__the_noiseless_net_is_the_true_number_of_counts():
    mean = mean_counts(1e6)
    lines = fit_lines(as_spectra(mean), ELEMENTS, stray=STRAY)
    iron = mean_counts(1e6, simulate.without(simulate.PYROLITE_71GPA, "Fe"))
    # leaving iron out changes how the counts are shared out, so compare peak to background
    continuum = [mean, iron]
    edge = [float(m.sel(phase="Fp", energy=slice(8.5, 8.8)).sum()) for m in continuum]
    alone = (mean - iron * edge[0] / edge[1]).sel(phase="Fp", energy=slice(6.0, 6.75)).sum()
    assert float(lines.net.sel(phase="Fp", line="Fe_Ka")) == pytest.approx(float(alone), rel=0.02)
    assert float(lines.reduced_chi2.max()) < 1e-6
    np.testing.assert_allclose(lines.model, mean.sel(energy=lines.energy), rtol=1e-3)


@pytest.mark.slow
def test_fit_lines__a_truth_without_rare_earths():
    phases = simulate.without(simulate.PYROLITE_71GPA, "Nd", "Sm")[:1]
    mean = mean_counts(1e6, phases).isel(phase=0)
    with only_amounts():
        lines = [fit_lines(draw(mean, s), ELEMENTS, stray=STRAY) for s in range(40)]
    for name in ("Nd_La", "Sm_La"):
        z = [float((f.net / scatter(f)).sel(line=name)) for f in lines]
        assert abs(np.mean(z)) < 0.4
        assert 0.75 < np.std(z, ddof=1) < 1.3


def test_fit_lines__tells_nd_lb1_from_sm_la():
    phases = simulate.without(simulate.PYROLITE_71GPA, "Sm")[2:]  # Ca-Pv, with much Nd
    mean = mean_counts(1e6, phases).isel(phase=0)
    lines = fit_lines(as_spectra(mean), ELEMENTS, stray=STRAY, lines=["Nd_La", "Nd_Lb1", "Sm_La"])
    net = lines.net
    assert float(net.sel(line="Nd_Lb1")) > 20 * float(lines.variance.sel(line="Sm_La")) ** 0.5
    assert float(net.sel(line="Sm_La")) == pytest.approx(0, abs=0.1)
    counting = lines.effect_covariance.sel(line="Nd_Lb1", line_other="Sm_La", effect="counting")
    assert float(counting) < 0


def test_fit_lines__shares_of_a_family_are_fixed():
    lines = fit_lines(as_spectra(mean_counts(1e6)), ELEMENTS, stray=STRAY, lines=["Ca_Ka", "Ca_Kb"])
    weights = {line.name: line.weight for line in family("Ca", "K")}
    ratio = lines.net.sel(line="Ca_Kb") / lines.net.sel(line="Ca_Ka")
    assert ratio.values == pytest.approx(weights["Ca_Kb"] / weights["Ca_Ka"], rel=0.01)


def test_fit_lines__any_number_of_leading_dimensions():
    counts = draw(mean_counts(1e5), 0).counts
    three = fit_lines(as_spectra(counts), ELEMENTS, stray=STRAY, calibration=TRUE_AXIS)
    one = fit_lines(as_spectra(counts.isel(phase=1)), ELEMENTS, stray=STRAY, calibration=TRUE_AXIS)
    cube = as_spectra(xr.concat([counts, counts], "half"))
    many = fit_lines(cube, ELEMENTS, stray=STRAY, calibration=TRUE_AXIS)
    assert three.net.dims == ("phase", "line")
    assert one.net.dims == ("line",)
    assert set(many.covariance.dims) == {"half", "phase", "line", "line_other"}
    for name in ("net", "covariance", "background", "detection_limit", "reduced_chi2", "model"):
        np.testing.assert_array_equal(many[name].isel(half=0), many[name].isel(half=1))
    for more in (three, many.isel(half=1)):  # they know the peaks better, each their own counts
        off = (more.net.isel(phase=1) - one.net) / one.variance**0.5
        assert float(abs(off).max()) < 0.5


def test_fit_lines__takes_lazy_spectra():
    spectra = draw(mean_counts(1e5), 0)
    eager, lazy = (fit_lines(s, ELEMENTS, stray=STRAY) for s in (spectra, spectra.chunk()))
    xr.testing.assert_allclose(eager, lazy)


def test_fit_lines__describes_itself():
    with pytest.warns(LeftOutWarning, match="no results for O, without a strong line"):
        lines = fit_lines(draw(mean_counts(1e6), 0), [*ELEMENTS, "O", "Mg"], stray=STRAY)
    assert lines.attrs["left_out"] == ["O"]
    with pytest.warns(LeftOutWarning, match="U_Ma at 3.17 keV"):
        low = fit_lines(draw(mean_counts(1e6), 0), ELEMENTS, stray=STRAY, range_kev=(0.7, 3.0))
    assert "U" in low.attrs["left_out"]  # of uranium it sees but the weak Mz
    assert lines.attrs["calibration_source"] == "fitted"
    assert list(lines.element.values) == ELEMENTS
    assert lines.net.attrs["units"] == "counts"
    assert provenance.history(lines)[-1]["stray"] == STRAY
    np.testing.assert_allclose(
        lines.variance, np.diagonal(lines.covariance.values, axis1=-2, axis2=-1)
    )


def test_fit_lines__elements_from_the_attributes():
    silicon = simulate.Instrument(stray={})
    loadings = simulate.phase_spectra(PURE_SILICON, ENERGY, instrument=silicon).loadings
    for elements in (["Si", "Fe"], "Si"):
        lines = fit_lines(draw(1e5 * loadings, 0).assign_attrs(elements=elements))
        assert set(lines.element.values) == set(["Si"] if elements == "Si" else elements)


def test_fit_lines__says_which_elements_it_leaves_out():
    spectrum = draw(mean_counts(1e5), 0)
    with pytest.warns(LeftOutWarning) as caught:
        lines = fit_lines(spectrum, ["O", *ELEMENTS, "H"], stray=STRAY)
    (message,) = [str(w.message) for w in caught]
    assert "no results for O, H, " in message
    assert "between 0.70 and 12.49 keV: widen range_kev (O_Ka at 0.52 keV), or leave" in message
    assert (lines.attrs["left_out"], lines.attrs["warnings"]) == (["O", "H"], [message])
    # nobody asked for these by name in the call: no warning, but the result tells
    of_attrs = fit_lines(spectrum.assign_attrs(elements=["O", *ELEMENTS]), stray=STRAY)
    assert (of_attrs.attrs["left_out"], len(of_attrs.attrs["warnings"])) == (["O"], 1)
    chosen = fit_lines(spectrum, ["O", *ELEMENTS], stray=STRAY, lines=["Mg_Ka"])
    assert chosen.attrs["warnings"] == []


def test_fit_lines__background_is_what_lies_under_the_peak():
    flat = xr.DataArray(np.full(1300, 50.0), {"energy": ENERGY}, ("energy",))
    lines = fit_lines(as_spectra(flat), ["Fe"], calibration=TRUE_AXIS)
    fwhm = 2.3548 * float(peak_sigma_kev(6.40))
    assert float(lines.background.sel(line="Fe_Ka")) == pytest.approx(100 * fwhm / 0.01, rel=0.04)


# -- detection limit -----------------------------------------------------------------------------


def test_fit_lines__three_limits_of_one_blank():
    lines = fit_lines(draw(mean_counts(1e5), 0), ELEMENTS, stray=STRAY)
    sd = lines.critical_level / 1.645
    np.testing.assert_allclose(lines.detection_limit, 2.71 + 2 * lines.critical_level)
    # at the limit of quantification the standard deviation is a tenth
    np.testing.assert_allclose(
        (lines.quantification_limit + sd**2) ** 0.5, lines.quantification_limit / 10
    )


def test_fit_lines__detection_limit_is_that_of_the_blank():
    with_nd, blank = simulate.PYROLITE_71GPA, simulate.without(simulate.PYROLITE_71GPA, "Nd")
    limits = []
    for phases in (with_nd, blank):
        mean = mean_counts(1e6, phases[2:]).isel(phase=0)
        lines = fit_lines(as_spectra(mean), ELEMENTS, stray=STRAY, calibration=TRUE_AXIS)
        limits.append(float(lines.detection_limit.sel(line="Nd_La")))
        spread = float(lines.variance.sel(line="Nd_La")) ** 0.5
    assert limits[1] == pytest.approx(2.71 + 3.29 * spread, rel=0.01)  # nothing but the blank
    # the peak's own 20,000 counts do not raise it; without them there is a little more of the rest
    assert limits[0] == pytest.approx(limits[1], rel=0.06)


@pytest.mark.slow
def test_fit_lines__blank_exceeds_its_critical_level_in_one_of_twenty():
    mean = mean_counts(2e5, simulate.without(simulate.PYROLITE_71GPA, "Sm")[:1]).isel(phase=0)
    draws = xr.concat([draw(mean, s).counts for s in range(200)], "draw")
    with only_amounts():
        lines = fit_lines(as_spectra(draws), ELEMENTS, stray=STRAY, calibration=TRUE_AXIS)
    false = (lines.net > lines.critical_level).sel(line="Sm_La").mean()
    assert float(false) == pytest.approx(0.05, abs=0.04)


def test_fit_lines__detection_limit_keeps_what_was_subtracted():
    mean = mean_counts(1e6)
    pure = as_spectra(mean).assign(n_pixels=("phase", [1000.0] * 3))
    mixture = pure.isel(phase=0).copy()
    for name in ("counts", "variance"):
        mixture[name] = 0.5 * pure[name].isel(phase=0) + 0.5 * pure[name].isel(phase=1)
    rest = subtract_phase(mixture, pure.isel(phase=0), scale=0.5)
    limit, alone = (
        fit_lines(s, ELEMENTS, stray=STRAY, calibration=TRUE_AXIS).detection_limit.sel(line="Si_Ka")
        for s in (rest, as_spectra(0.5 * mean.isel(phase=1)))
    )
    silicon = fit_lines(pure.isel(phase=0), ELEMENTS, stray=STRAY, calibration=TRUE_AXIS)
    taken = float(silicon.net.sel(line="Si_Ka"))
    assert float(limit) > 3.29 * (0.75 * taken) ** 0.5 > 2 * float(alone)


# -- calibration ---------------------------------------------------------------------------------


# -- errors and speed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"elements": []}, "no elements to fit"),
        ({"elements": ["Xx"]}, "no chemical element 'Xx'"),
        ({"elements": ["Fe"], "stray": ["Qq"]}, "no chemical element 'Qq'"),
        ({"elements": ["Fe"], "lines": ["Si_Ka"]}, "Si_Ka lies outside .* or its element is not"),
        ({"elements": ["Mo"], "lines": ["Mo_Ka"]}, r"Mo_Ka lies outside 0.70 to 12.49 keV"),
        ({"elements": ["Fe"], "lines": ["Fe"]}, "expected a line such as 'Fe_Ka'"),
        ({"elements": ["O"]}, "none of O has a principal line between 0.70 and 12.49 keV"),
        ({"elements": ["Fe"], "range_kev": (6.3, 6.4)}, "channels between 6.3 and 6.4 keV"),
        ({"elements": ["Fe"], "method": "ml"}, "method must be one of 'least_squares', 'poisson'"),
        ({"elements": ["Fe"], "background": "linear"}, "background must be one of 'flexible'"),
        ({"elements": ["Fe"], "background": Bremsstrahlung(FOIL, 4e-4)}, "elevation_angle_deg"),
        ({"elements": ["Fe"], "background": Bremsstrahlung({}, 4e-4, 20)}, "composition of the fo"),
        ({"elements": ["Fe"], "background": Bremsstrahlung(FOIL, -1)}, "mass_thickness_kg_m2 must"),
        (
            {"elements": ["Zr"], "stray": ["Pt"], "range_kev": (2.02, 2.4)},
            "the L lines of Zr and the M lines of Pt coincide in this range",
        ),
    ],
)
def test_fit_lines__errors(arguments, message):
    spectra = as_spectra(mean_counts(1e5).isel(phase=0))
    with pytest.raises(EdsError, match=message):
        fit_lines(spectra, **arguments)


def test_fit_lines__families_that_coincide_but_are_not_asked_for():
    spectra = draw(mean_counts(1e6), 0)
    lines = fit_lines(spectra, [*ELEMENTS, "Co", "Te"], stray=STRAY)  # Co L is as Te M
    plain = fit_lines(spectra, ELEMENTS, stray=STRAY)
    change = (lines.net.sel(line=plain.line) - plain.net) / plain.variance**0.5
    assert np.abs(change).max() < 1
    cobalt = lines.sel(line=["Co_Ka", "Te_La"])
    assert (np.abs(cobalt.net) < 4 * cobalt.variance**0.5).all()


@pytest.mark.parametrize(
    ("name", "value"), [("counts", np.nan), ("variance", -1), ("variance", np.nan)]
)
def test_fit_lines__refuses_values_that_are_none(name, value):
    spectra = as_spectra(mean_counts(1e5).isel(phase=0)).copy(deep=True)
    spectra[name] = spectra[name].where(spectra.energy < 2, value)
    with pytest.raises(EdsError, match="values that are not finite, or a variance"):
        fit_lines(spectra, ["Fe"])


def test_fit_lines__refuses_energies_in_ev():
    mean = mean_counts(1e5).isel(phase=0)
    mean.energy.attrs["units"] = "eV"
    with pytest.raises(EdsError, match="X-ray lines need an energy axis in keV"):
        fit_lines(as_spectra(mean), ["Fe"])


def test_fit_lines__more_families_than_channels():
    coarse = -0.05 + 0.1 * np.arange(29)
    spectra = as_spectra(mean_counts(1e5, energy=coarse).isel(phase=0))
    with pytest.raises(EdsError, match=r"channels cannot tell \d+ families of lines"):
        fit_lines(spectra, [*ELEMENTS, "Na", "K", "Cl", "P", "S", "Ti", "Zr", "Mo", "Au", "Pb"])


def test_fit_lines__is_fast():
    spectra = draw(mean_counts(1e6), 0)
    fit_lines(spectra, ELEMENTS, stray=STRAY)  # reads tables
    start = time.process_time()
    fit_lines(spectra, ELEMENTS, stray=STRAY)
    assert time.process_time() - start < 0.5 * 4  # a busy machine gets four times as long


# -- the published map ---------------------------------------------------------------------------


@pytest.mark.network
def test_fit_lines__of_the_published_map(spectrum_of_71gpa):
    whole_map = as_spectra(spectrum_of_71gpa)
    stray = ["Cu", "Ga", "Pt", "Na", "Cl", "Co"]
    lines = fit_lines(whole_map, ELEMENTS, stray=stray)
    assert 1.0005 < lines.attrs["calibration_gain"] < 1.002
    assert -0.012 < lines.attrs["calibration_offset_kev"] < -0.003
    assert float(lines.reduced_chi2) < 6
    # no missing line, but pile-up shows once all else fits
    assert all("the sum peak of O_Ka and Si_Ka" in w for w in lines.attrs["warnings"])
    summed = fit_lines(whole_map, ELEMENTS, stray=[*stray, "O"], sum_peaks=True)
    assert float(summed.sum_peaks) > 8 * float(summed.sum_peaks_variance) ** 0.5
    assert float(summed.reduced_chi2) < 0.95 * float(lines.reduced_chi2)
    assert ((lines.net > 5 * lines.detection_limit).sel(line=["Nd_La", "Sm_La", "Hf_La"])).all()
    # the silicon Kb of the model is there: taking it away would leave more than the misfit
    near = lines.sel(energy=slice(1.80, 1.87))
    rest = whole_map.counts.sel(energy=near.energy) - near.model
    silicon_kb = fit_lines(whole_map, ELEMENTS, stray=stray, lines=["Si_Kb"]).net
    assert abs(float(rest.sum())) < 0.5 * float(silicon_kb.sel(line="Si_Kb"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"elements": 12}, "elements must be a list of symbols"),
        ({"stray": 5}, "stray must be a list of symbols"),
        ({"range_kev": 5}, "range_kev must be two energies"),
        ({"range_kev": (8, 1)}, "the lower first"),
        ({"calibration": {}}, "expected a calibration"),
        ({"background": None}, "background must be one of"),
        ({"lines": [5]}, "expected a line such as"),
    ],
)
def test_fit_lines__what_is_given_is_checked(how, message):
    spectra = _flat_spectra()
    with pytest.raises(EdsError, match=message):
        fit_lines(spectra, **{"elements": ["Mg", "Fe"], **how})


def test_fit_lines__a_beam_that_is_no_number():
    with pytest.raises(EdsError, match="attribute beam_energy_kev must be a number"):
        fit_lines(_flat_spectra().assign_attrs(beam_energy_kev="200 kV"), ["Mg"])


def test_fit_lines__a_single_stray_element_as_its_symbol():
    one, several = (
        fit_lines(_flat_spectra(), ["Mg", "Fe"], stray=stray) for stray in ("Cu", ["Cu"])
    )
    xr.testing.assert_identical(one, several)


def _flat_spectra():
    energy = ("energy", 0.5 + 0.02 * np.arange(500), {"units": "keV"})
    counts = xr.DataArray(np.full(500, 50.0), dims="energy")
    return xr.Dataset({"counts": counts, "variance": counts}, {"energy": energy})
