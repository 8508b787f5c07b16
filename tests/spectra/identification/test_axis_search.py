"""The energy axis of spectra of the second simulator, found without knowing their elements."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from support.independent.detector import Detector
from support.independent.materials import by_name
from support.independent.spectra import Microscope, draw, truth

from eds_xr.composition.traces import upper_limits
from eds_xr.spectra.identification.axis_search import AxisSearch, make_pattern, prior_odds, shifted
from eds_xr.spectra.identification.identify import AxisWarning, identify
from eds_xr.spectra.shapes.families import Calibration
from eds_xr.xray.elements import NATURAL_ELEMENTS, STRAY_LINES


@pytest.fixture(scope="module")
def pattern():
    return make_pattern(NATURAL_ELEMENTS, STRAY_LINES, (0.22, 12.5), 130.0, 200.0)


def recorded(atoms, counts, offset_ev, gain, seed=0):
    microscope = Microscope(detector=Detector(offset_ev=offset_ev, gain=gain))
    return draw(truth(atoms, counts, microscope=microscope), seed)


def search(spectrum, pattern):
    counts = spectrum.counts.values.astype(float)
    made = AxisSearch(spectrum.energy.values, counts, counts, pattern[0])
    axes = made.find()
    return axes[0], made.doubt(axes)


# 2 channels, and the corners of +-40 eV and +-1 %
@pytest.mark.parametrize(
    ("name", "offset_ev", "gain"),
    [
        ("monazite", 20, 1),
        ("monazite", 40, 1.01),
        ("monazite", -40, 1.01),
        ("uranium dioxide", -20, 1),
        ("uranium dioxide", -40, 0.99),
        ("uranium dioxide", 40, 0.99),
    ],
)
def test_find__an_axis_that_is_off(pattern, name, offset_ev, gain):
    found, doubt = search(recorded(by_name(name).atoms, 1e5, offset_ev, gain), pattern)
    assert doubt == ""
    for energy in (0.5, 2.0):  # all have lines there
        there = found.gain * (gain * energy + offset_ev / 1000) + found.offset_kev
        assert there == pytest.approx(energy, abs=0.006)


def test_find__channels_as_wide_as_peaks(pattern):
    """Counts moved as if they were even within a channel widen peaks, and the axis strays."""
    spectrum = recorded({"Mg": 1.0, "Si": 1.0, "O": 3.0}, 5e6, 10, 1)
    parts = {"energy": slice(spectrum.sizes["energy"] // 4 * 4)}
    coarse = spectrum.isel(parts).coarsen(energy=4)
    found, doubt = search(coarse.sum().assign_coords(energy=coarse.mean().energy), pattern)
    assert doubt == ""
    assert found.chi2 < 1.2
    assert found.gain * 1.52 + found.offset_kev == pytest.approx(1.51, abs=0.002)


@pytest.mark.parametrize(("offset_ev", "gain"), [(250, 1), (-150, 1), (0, 0.95)])
def test_doubt__of_an_axis_too_far_off(pattern, offset_ev, gain):
    _, doubt = search(recorded(by_name("InGaAs").atoms, 1e5, offset_ev, gain), pattern)
    assert "no elements fit its peaks within 48 eV and 1.2 %" in doubt


def test_doubt__of_a_spectrum_without_peaks(pattern):
    flat = recorded({"Si": 1.0}, 1e5, 0, 1)
    counts = np.random.default_rng(0).poisson(5.0, flat.energy.size)
    _, doubt = search(flat.assign(counts=("energy", counts)), pattern)
    assert doubt == "no peak stands out"


def test_shifted__moves_peaks_where_the_fit_saw_them():
    moved = shifted(Calibration(gain=1.002, offset_kev=-0.01), np.array([0.004, 0.001, 0.1, 0.0]))
    seen = 6.4 + 0.004 + 0.001 * 6.4  # on the old axis
    nominal = (seen + 0.01) / 1.002
    assert moved.gain * nominal + moved.offset_kev == pytest.approx(6.4, abs=1e-4)
    assert moved.noise_kev2 == pytest.approx(1.1 * Calibration().noise_kev2)


def test_identify__says_that_an_axis_could_not_be_found():
    far = recorded(by_name("InGaAs").atoms, 1e5, 250, 1)
    with pytest.warns(AxisWarning, match="of 1 of 1 spectra could not be found: no elements fit"):
        found = identify(far, candidates=["In", "Ga", "As", "Cu"])
    assert found.attrs["axis"].startswith("no elements fit its peaks")
    assert found.axis.item() == found.attrs["axis"]
    near = identify(recorded(by_name("InGaAs").atoms, 1e4, 0, 1), candidates=["In", "Ga", "As"])
    assert near.attrs["axis"] == near.axis.item() == "found"


@pytest.mark.parametrize("seed", range(2))
def test_identify__pure_platinum_raises_nothing(seed):
    spectrum = recorded({"Pt": 1.0}, 1e5, 12, 1.003, seed)
    found = identify(spectrum)
    assert {"Pt", "Cu"} <= set(found.element.values[found.found.values])


def test_identify__keeps_uranium_dioxide():
    found = identify(recorded(by_name("uranium dioxide").atoms, 1e5, 0, 1))
    assert set(found.element.values[found.found.values]) == {"U", "O", "Cu", "C"}
    assert abs(float(found.offset_kev)) < 0.005
    assert float(found.sigma.sel(element="U")) > 20


@pytest.mark.vendor
def test_identify__names_what_is_in_a_real_spectrum_of_iron_platinum(vendor_file):
    """exSpy's FePt nanoparticles: Lu at 27 sigma (for Pt Mz), Rh, Er, Ir, Os once."""
    import h5py

    with h5py.File(vendor_file("EDS_TEM_FePt_nanoparticles.hspy")) as file:
        counts = file["Experiments/EDS TEM Spectrum/data"][:].astype(float)
    energy = 0.169315 + 0.020028 * np.arange(counts.size)
    spectrum = xr.DataArray(counts, {"energy": energy}, ("energy",))
    attrs = {"beam_energy_kev": 200.0, "energy_resolution_mnka_ev": 133.3}
    found = identify(xr.Dataset({"counts": spectrum, "variance": spectrum}, attrs=attrs))
    elements = set(found.element.values[found.found.values])
    assert {"Fe", "Pt", "C", "Cu"} <= elements
    assert elements <= {"Fe", "Pt", "C", "Cu", "O", "Si", "Zr", "Co"}  # film, grid, collimator
    assert found.attrs["axis"] == "found"


@pytest.mark.slow
def test_identify__a_found_element_has_a_detected_line():
    """The table agrees with itself, for elements that are nearly missed, too."""
    sample = {"Fe": 74.0, "Mn": 22.0, "Al": 3.0, "Mo": 0.3, "Si": 0.5, "P": 0.3}
    for seed in range(3):
        found = identify(recorded(sample, 2e4, 12, 1.003, seed))
        kept = found.isel(element=found.found.values)
        detected = upper_limits(kept[["net", "variance"]], "net").detected
        assert detected.all()
        assert (kept.net > 2.5 * np.hypot(kept.variance**0.5, kept.systematic)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts", "detector"),
    [
        ("gallium nitride", 1e4, Detector()),  # was tin
        ("gallium nitride", 1e6, Detector(tail=0.0, resolution_mnka_ev=126.0)),
        ("rutile", 1e6, Detector(tail=0.03, tail_kev=0.06)),  # nitrogen, for Ti Ll
        ("galena", 1e5, Detector(offset_ev=-30.0, gain=0.995)),  # rhenium, for Pb Mz
        ("hafnon", 1e6, Detector(resolution_mnka_ev=140.0)),  # arsenic, for Hf Mz
        ("Ni-Co on ceria", 1e5, Detector()),  # fluorine, for Ce Mz
        ("lead halide perovskite", 1e6, Detector(shelf=0.006)),  # five others
    ],
)
def test_identify__explains_weak_peaks_by_what_is_there(name, counts, detector):
    sample = by_name(name)
    microscope = replace(Microscope(), detector=detector)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = identify(draw(truth(sample.atoms, counts, microscope=microscope), 1))
    assert set(found.element.values[found.found.values]) == {*sample.atoms, "Cu", "C"}


def test_prior_odds__expected_common_and_seldom():
    found = prior_odds(["Al", "Br", "Fe", "I", "C"], {"Al", "I"})
    np.testing.assert_allclose(found, [10, 1 / 30, 1, 10, 1e4])
