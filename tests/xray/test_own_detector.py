"""A detector of one's own: one description, which fits, identification and k-factors all take."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.independent import detector as independent
from support.independent.foil import Foil
from support.independent.spectra import MICROSCOPE, Microscope, truth

import eds_xr
from eds_xr.schema import EdsError
from eds_xr.spectra.shapes.background import background_shapes
from eds_xr.spectra.shapes.families import families_seen
from eds_xr.xray.detector import detector_efficiency
from eds_xr.xray.own_detector import TYPICAL, detector_from_text, detector_of, with_detector

BLIND = independent.Detector(contact_nm=60.0, dead_layer_nm=250.0, ice_nm=0.0, crystal_mm=0.5)
LAYERS = {"contact_nm": 60.0, "dead_layer_nm": 250.0, "thickness_mm": 0.5}
TABLE_KEV = np.geomspace(0.05, 30.0, 2000)


def table():
    return xr.DataArray(
        independent.efficiency(BLIND, TABLE_KEV),
        {"energy": ("energy", TABLE_KEV, {"units": "keV"})},
        ("energy",),
    )


# -- what describes it ---------------------------------------------------------------------------


def test_detector_of__nothing_is_a_windowless_one():
    energy = np.array([0.277, 0.525, 1.74, 6.4, 20.0])
    np.testing.assert_array_equal(detector_of({}).efficiency(energy), detector_efficiency(energy))
    assert detector_of({"beam_energy_kev": 200.0}) == TYPICAL


@given(
    st.floats(0, 1000), st.floats(0, 500), st.floats(0, 200), st.floats(0.1, 2),
)  # fmt: skip
@settings(max_examples=20)
def test_with_detector__layers_come_back(window, dead, contact, thickness):
    given_all = {
        "window_nm": window, "dead_layer_nm": dead, "contact_nm": contact, "thickness_mm": thickness
    }  # fmt: skip
    data = with_detector(xr.DataArray([1.0], dims="energy"), given_all)
    own = detector_of(data.attrs)
    energy = np.array([0.3, 0.6, 1.9, 15.0])
    np.testing.assert_array_equal(own.efficiency(energy), detector_efficiency(energy, **given_all))
    assert own.described == tuple(given_all)


def test_with_detector__another_replaces_it_and_none_removes_it():
    data = xr.DataArray([1.0], dims="energy", attrs={"beam_energy_kev": 200.0})
    one = with_detector(data, {"window_nm": 300})
    two = with_detector(one, table())
    assert "detector_window_nm" not in two.attrs
    assert len(two.attrs["detector_efficiency"]) == TABLE_KEV.size
    none = with_detector(two, None)
    assert set(none.attrs) == {"beam_energy_kev", "history"}
    assert data.attrs == {"beam_energy_kev": 200.0}
    steps = eds_xr.history(none)
    assert [s["step"] for s in steps] == ["with_detector"] * 3
    assert steps[0]["detector"] == {"window_nm": 300.0}


def test_with_detector__of_a_file_an_array_and_a_text(tmp_path):
    path = tmp_path / "efficiency.csv"
    path.write_text("# measured\nefficiency,note,energy_kev\n0.5,a,0.1\n1.0,b,2\n")
    data = xr.DataArray([1.0], dims="energy")
    from_file = with_detector(data, path)
    assert detector_of(from_file.attrs).table == ((0.1, 0.5), (2.0, 1.0))
    ev = xr.DataArray([0.5, 1.0], {"energy": ("energy", [100.0, 2000.0], {"units": "eV"})})
    from_array = with_detector(data, ev)
    assert detector_of(from_array.attrs) == detector_of(from_file.attrs)
    assert detector_from_text(str(path)) == str(path)
    assert detector_from_text("window_nm=300, dead_layer_nm=50") == {
        "window_nm": 300.0, "dead_layer_nm": 50.0
    }  # fmt: skip


def test_efficiency__of_a_table_is_linear_between_its_energies():
    own = detector_of(with_detector(xr.DataArray(0), {
        "energy_kev": [0.1, 1.0, 10.0], "efficiency": [0.2, 0.8, 1.0]}).attrs)  # fmt: skip
    np.testing.assert_allclose(own.efficiency([0.1, 0.55, 1.0, 5.5]), [0.2, 0.5, 0.8, 0.9])
    own.check_covers(0.1, 10.0)
    with pytest.raises(EdsError, match=r"goes from 0.1 to 10 keV, asked for is 0.05 to 10 keV"):
        own.check_covers(0.05, 10.0)
    own.held().check_covers(0.0, 100.0)
    np.testing.assert_allclose(own.held().efficiency([0.01, 50.0]), [0.2, 1.0])


@pytest.mark.parametrize(
    ("given_one", "message"),
    [
        ({"colour": 1}, "no property colour of a detector; there are window_nm"),
        ({"window_nm": -1}, "window_nm of the detector must lie between 0 and"),
        ({"window_nm": float("nan")}, "window_nm of the detector must lie"),
        ({"thickness_mm": 0}, "thickness_mm of the detector must lie between 0.001"),
        ({"window_nm": "thin"}, "window_nm of the detector must be a number"),
        ({"energy_kev": [1, 2]}, "needs energy_kev and efficiency"),
        ({"energy_kev": [1, 2], "efficiency": [1]}, "as many energies as efficiencies"),
        ({"energy_kev": [2, 1], "efficiency": [1, 1]}, r"must rise, found \[2.0, 1.0\]"),
        ({"energy_kev": [1, 2], "efficiency": [50, 90]}, "divide by 100"),
        ({"energy_kev": [1, 2], "efficiency": [0, 1]}, "above 0 and up to 1, found 0"),
        ({"energy_kev": [1, 2], "efficiency": [1, 1], "window_nm": 3}, "keep one of them"),
        ({"energy_kev": ["a", 2], "efficiency": [1, 1]}, "must be numbers"),
        (3.0, "expected a detector"),
        (xr.DataArray([1.0, 1.0], dims="x"), "must lie over 'energy'"),
        (
            xr.DataArray([1.0, 1.0], {"energy": ("energy", [1, 2], {"units": "nm"})}),
            "in keV, found",
        ),
    ],
)
def test_with_detector__says_what_is_wrong(given_one, message):
    with pytest.raises(EdsError, match=message):
        with_detector(xr.DataArray(0), given_one)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a header 'energy_kev,efficiency'"),
        ("energy,efficiency\n1,1\n", "expected a header"),
        ("energy_kev,efficiency\n1,1\n2;1\n", "'2;1'; expected a number"),
        ("energy_kev,efficiency\n1\n", "efficiency is ''"),
    ],
)
def test_with_detector__names_the_file(tmp_path, text, message):
    path = tmp_path / "seen.csv"
    path.write_text(text)
    with pytest.raises(EdsError, match=message):
        with_detector(xr.DataArray(0), path)
    with pytest.raises(EdsError, match="cannot read"):
        with_detector(xr.DataArray(0), tmp_path / "other.csv")


def test_uncertainty__what_is_described_is_known_better():
    energy = np.array([0.277, 0.392, 0.525, 1.74, 6.4])
    described = {"window_nm": 0.0, "dead_layer_nm": 10.0, "contact_nm": 30.0, "thickness_mm": 0.45}
    known = detector_of(with_detector(xr.DataArray(0), described).attrs).uncertainty(energy)
    typical = TYPICAL.uncertainty(energy)
    assert (known < typical).all()
    assert (typical[:2] > 0.1).all()
    assert typical[2] == pytest.approx(0.1, abs=0.05)
    assert (typical[3:] < 0.03).all()
    of_table = detector_of(with_detector(xr.DataArray(0), table()).attrs)
    np.testing.assert_allclose(of_table.uncertainty(energy), 0.05)


def test_uncertainty__holds_the_second_simulators_detectors():
    """Layers of 10 to 45 nm, ice: the efficiency against silicon's within two deviations."""
    energy = np.array([0.277, 0.392, 0.525, 1.012])
    own, doubt = TYPICAL.efficiency([*energy, 1.74]), TYPICAL.uncertainty(energy)
    for dead, contact, ice in ((10, 10, 0), (40, 20, 20), (20, 30, 50), (40, 45, 0)):
        made = independent.Detector(dead_layer_nm=dead, contact_nm=contact, ice_nm=ice)
        seen = independent.efficiency(made, [*energy, 1.74])
        apart = np.log((seen[:-1] / seen[-1]) / (own[:-1] / own[-1]))
        assert (np.abs(apart) < 2 * doubt + 0.03).all()


# -- who takes it --------------------------------------------------------------------------------


def spectra_of(microscope, **given_one):
    known = truth({"Mg": 1.0, "Si": 1.0, "O": 3.0, "Cu": 0.3}, 2e6, microscope=microscope,
                  foil=Foil(thickness_nm=10), strays={})  # fmt: skip
    counts = known.expected.rename("counts")
    found = xr.Dataset({"counts": counts, "variance": counts}, attrs=known.attrs)
    return known, with_detector(found, given_one.get("detector")) if given_one else found


@pytest.mark.parametrize("how", ["layers", "table"])
def test_fit_lines__takes_it_for_weights_in_a_family_and_background(how):
    """Cu La to Lb, and all that is behind layers that absorb half of oxygen's photons."""
    detector = LAYERS if how == "layers" else table()
    plain = spectra_of(Microscope(detector=BLIND))[1]
    told = with_detector(plain, detector)
    energy = plain.energy.sel(energy=slice(0.3, 3.0)).values
    one, two = (
        next(f for f in families_seen(["Cu"], energy, 200.0, detector=detector_of(s.attrs)))
        for s in (plain, told)
    )
    # behind thick layers the softest line of the family weighs less
    assert two.groups["Cu_Ll"] < 0.97 * one.groups["Cu_Ll"]
    smooth = [background_shapes("physical", energy, 200.0, s.attrs)[:, 0] for s in (plain, told)]
    assert smooth[1][0] / smooth[1][-1] < 0.7 * smooth[0][0] / smooth[0][-1]
    lines = eds_xr.fit_lines(told, ["Mg", "Si", "O", "Cu"], range_kev=(0.3, 12.0))
    assert lines.attrs["detector_efficiency" if how == "table" else "detector_contact_nm"]


def test_fit_lines__a_table_that_ends_too_early_is_no_silent_guess():
    plain = spectra_of(MICROSCOPE)[1]
    short = with_detector(plain, {"energy_kev": [1.0, 10.0], "efficiency": [0.9, 1.0]})
    with pytest.raises(EdsError, match="goes from 1 to 10 keV"):
        eds_xr.fit_lines(short, ["Mg", "Si"], range_kev=(0.5, 12.0))
    with pytest.raises(EdsError, match="goes from 1 to 10 keV"):
        eds_xr.identify(short)
    assert eds_xr.fit_lines(short, ["Mg", "Si", "Cu"], range_kev=(1.0, 9.9)).net.notnull().all()
    with pytest.raises(EdsError, match="goes from 1 to 10 keV"):
        eds_xr.standardless_k_factors(
            ["Si_Ka", "O_Ka"], beam_energy_kev=200, energy_kev=[1.0, 10.0], efficiency=[0.9, 1.0]
        )


def test_identify__takes_it():
    _, told = spectra_of(Microscope(detector=BLIND), detector=table())
    found = eds_xr.identify(told)
    assert {"Mg", "Si", "O", "Cu"} <= set(found.element.values[found.found.values])


def test_quantify__takes_it_from_the_lines():
    """O behind layers that absorb half of its photons: only who knows them finds all of it."""
    known, plain = spectra_of(Microscope(detector=BLIND))
    names = ["O_Ka", "Mg_Ka", "Si_Ka"]
    net = known.net.sel(line=names)
    lines = xr.Dataset({"net": net, "variance": net}, attrs=plain.attrs).drop_vars(
        ["element", "family"]
    )
    blind = eds_xr.quantify(lines).atomic_fraction.sel(element="O")
    told = [
        eds_xr.quantify(with_detector(lines, d)).atomic_fraction.sel(element="O")
        for d in (LAYERS, table())
    ]
    assert float(blind) < 0.85 * float(told[0])
    np.testing.assert_allclose(told[0], told[1], rtol=0.02)
