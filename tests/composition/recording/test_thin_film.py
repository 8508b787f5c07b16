"""Whether a recording is of a thin film: what is refused, what is assumed, and that it is said."""

import numpy as np
import pytest
import xarray as xr
from support.makers.lines import lines_of

import eds_xr
from eds_xr import EdsError
from eds_xr import k_factors as kf
from eds_xr.composition.recording.thin_film import beam_and_assumptions, with_beam

NAMES = ["Mg_Ka", "Si_Ka", "Fe_Ka"]
K = dict.fromkeys(NAMES, 1.0)
METHODS = {
    "quantify": lambda lines, **how: eds_xr.quantify(lines, K, **how),
    "zeta": lambda lines, **how: eds_xr.quantify_zeta(
        lines, dict.fromkeys(NAMES, 500.0), dose_electrons=1e9, absorption=False, **how
    ),
    "cross_section": lambda lines, **how: eds_xr.quantify_cross_sections(
        lines, dict.fromkeys(NAMES, 20.0), dose_electrons=1e9, absorption=False, **how
    ),
}


def lines(**attrs):
    made = lines_of([300.0, 200.0, 100.0], names=NAMES)
    return made.assign_attrs(attrs) if attrs else made


def without_beam(**attrs):
    made = lines()
    made.attrs = attrs
    return made


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lines(signal_type="EDS_SEM"), "recorded in an SEM at 200 keV"),
        (lines(beam_energy_kev=15.0), "a beam of 15 keV"),
        (lines(beam_energy_kev=39.9, signal_type="EDS_TEM"), "below 40"),
        (without_beam(signal_type="EDS_SEM"), "recorded in an SEM; k-factors"),
        (without_beam(), "neither beam_energy_kev nor signal_type"),
    ],
)
def test_methods__refuse_what_is_no_thin_film_unless_told(method, data, why):
    with pytest.raises(EdsError, match=why):
        METHODS[method](data)
    found = METHODS[method](data, assume_thin_film=True)
    (said,) = found.attrs["assumptions"]
    assert "assume_thin_film" in said
    assert eds_xr.history(found)[-1]["assumed"] == [said]
    thin = METHODS[method](lines())
    assert "assumptions" not in thin.attrs
    np.testing.assert_array_equal(found.atomic_fraction, thin.atomic_fraction)


def test_quantify__factors_from_tables_ask_for_a_beam():
    blind = without_beam(signal_type="EDS_TEM")
    with pytest.raises(EdsError, match="need the beam energy, and the recording has none"):
        eds_xr.quantify(blind)
    found = eds_xr.quantify(blind, beam_energy_kev=300)
    expected = eds_xr.quantify(lines(beam_energy_kev=300.0))
    np.testing.assert_array_equal(found.k_factor, expected.k_factor)
    assert found.attrs["assumptions"] == ["a beam of 300 keV, as given by hand"]
    with pytest.raises(EdsError, match="needs|need the beam energy"):
        eds_xr.quantify(without_beam(signal_type="EDS_SEM"), assume_thin_film=True)
    with pytest.raises(TypeError, match="beam_energy_kev"):
        eds_xr.standardless_k_factors(NAMES)


def test_quantify__a_tables_beam_stands_for_a_recording_without_one():
    table = kf.k_factors(K, beam_energy_kev=200)
    found = eds_xr.quantify(without_beam(), table)
    assert "200 keV of the table of factors" in found.attrs["assumptions"][0]
    with pytest.raises(EdsError, match="a beam of 20 keV"):
        eds_xr.quantify(without_beam(), kf.k_factors(K, beam_energy_kev=20))
    with pytest.raises(EdsError, match="are for a beam of 200 keV"):
        eds_xr.quantify(lines(beam_energy_kev=300.0), table)


def test_beam__two_that_disagree_are_refused():
    with pytest.raises(EdsError, match="recorded at 200 keV, beam_energy_kev says 300"):
        beam_and_assumptions({"beam_energy_kev": 200.0}, given_kev=300)
    with pytest.raises(EdsError, match="must be positive"):
        beam_and_assumptions({}, given_kev=-1)
    assert beam_and_assumptions({"beam_energy_kev": 200.0}, given_kev=200) == (200.0, [])
    image = xr.DataArray(np.zeros(3), attrs={"beam_energy_kev": 80.0})
    assert with_beam(image, None) is image


@pytest.mark.filterwarnings("ignore::eds_xr.MissingLineWarning")
def test_fit_lines__says_that_it_assumes_a_beam():
    """Weights of lines within a family hardly depend on it: said, and no error."""
    image = eds_xr.simulate.spectrum_image((12, 12, 1024), 3000.0, seed=1).compute()
    del image.attrs["beam_energy_kev"]
    image.attrs["elements"] = ["Mg", "Si", "Ca", "Fe"]
    spectra = eds_xr.sum_spectra(image, xr.ones_like(image.isel(energy=0, drop=True), bool))
    found = {
        "fit_lines": eds_xr.fit_lines(spectra, stray=["Cu"]),
        "fitted_maps": eds_xr.fitted_maps(image, stray=["Cu"]),
        "element_maps": eds_xr.element_maps(image),
        "hold_out": eds_xr.hold_out(image, ["Fe"])[0],
        "identify": eds_xr.identify(spectra, candidates=["Mg", "Si", "Ca", "Fe"]),
    }
    for name, one in found.items():
        said = one.attrs["assumptions"]
        assert len(said) == 1, name
        assert "a beam of 200 keV" in said[0], name
    # and what rests on it goes on saying so
    made = eds_xr.quantify(found["fit_lines"], beam_energy_kev=200)
    assert [text[:16] for text in made.attrs["assumptions"]] == ["a beam of 200 keV"[:16]] * 2
