"""Conditions of factors: kept, compared before use, and what is said where they differ."""

import numpy as np
import pytest
import xarray as xr

import eds_xr
from eds_xr import k_factors as kf
from eds_xr.schema import EdsError

NAMES = ["Mg_Ka", "Si_Ka", "O_Ka"]


def lines_with(**attrs):
    net = np.array([4e4, 5e4, 6e4])
    return xr.Dataset(
        {"net": ("line", net), "variance": ("line", net)},
        {"line": NAMES},
        {"beam_energy_kev": 200.0, "elevation_angle_deg": 20.0, **attrs},
    )


@pytest.mark.parametrize(
    ("measured", "recorded", "message"),
    [
        ({"detector_dead_layer_nm": 30.0}, {"detector_dead_layer_nm": 90.0},
         "are for a detector with 30 nm of dead layer, the spectra are from one with 90"),
        ({"detector_window_nm": 0.0}, {"detector_window_nm": 300.0}, "nm of window"),
        ({"detector_contact_nm": 30.0}, {"detector_contact_nm": 60.0}, "nm of contact"),
        ({"detector_thickness_mm": 0.45}, {"detector_thickness_mm": 1.0}, "mm of silicon"),
        ({}, {"elevation_angle_deg": 35.0}, "20 degrees of elevation, .* 35"),
        ({"detector": "one"}, {"detector": "other"}, "are of the detector 'one', the spectra of"),
        ({}, {"beam_energy_kev": 80.0}, "are for a beam of 200 keV, the spectra .* 80"),
        ({}, {"tilt_deg": 15.0, "azimuth_angle_deg": 0.0},
         "at a take-off angle of 20 degrees, without correction for absorption; .* at 35"),
        ({"detector_dead_layer_nm": 30.0}, {"detector_dead_layer_nm": 30.5}, None),
        ({"detector_dead_layer_nm": 30.0}, {}, None),
        ({"detector": "one"}, {}, None),
    ],
)  # fmt: skip
def test_quantify__refuses_factors_of_another_detector(measured, recorded, message, tmp_path):
    table = kf.from_standard(
        lines_with(**measured), "MgSiO3", take_off_angle_deg=20, name="enstatite glass"
    ).assign_attrs(take_off_angle_deg=20.0)
    path = kf.write_k_factors(table, tmp_path / "k.csv")
    for each in (table, kf.read_k_factors(path)):
        if message is None:
            assert eds_xr.quantify(lines_with(**recorded), each).atomic_fraction.notnull().all()
            continue
        with pytest.raises(EdsError, match=message):
            eds_xr.quantify(lines_with(**recorded), each)


def test_quantify__corrected_factors_hold_for_any_take_off():
    table = kf.from_standard(
        lines_with(), "MgSiO3", name="enstatite glass", mass_thickness_kg_m2=1e-4
    )
    tilted = lines_with(tilt_deg=15.0, azimuth_angle_deg=0.0)
    assert eds_xr.quantify(tilted, table).atomic_fraction.notnull().all()


def test_combine__refuses_other_detectors():
    one, two = (
        kf.from_standard(lines_with(detector_window_nm=w), "MgSiO3", name=str(w))
        for w in (0.0, 300.0)
    )
    with pytest.raises(EdsError, match="nm of window"):
        kf.combine(one, two)


def test_quantify__its_own_standard_gives_its_composition_and_absorption_cancels():
    """The film of the standard itself: its composition, and no error of the attenuation."""
    lines = lines_with()
    known = {"thickness_nm": 150, "density_g_cm3": 3.2, "absorption_uncertainty": 0.1}
    table = kf.from_standard(lines, "MgSiO3", name="glass", thickness_uncertainty=0.0, **known)
    found = eds_xr.quantify(lines, table, **known)
    np.testing.assert_allclose(found.atomic_fraction, [0.2, 0.2, 0.6], rtol=1e-6)
    by_absorption = found.atomic_fraction_by_error.sel(error="absorption")
    assert float(np.abs(by_absorption).max()) < 1e-9
    assert found.error.values.tolist().count("absorption") == 1
    other = eds_xr.quantify(lines, table.drop_vars("relative_error"), **known)
    assert float(np.abs(other.atomic_fraction_by_error.sel(error="absorption")).max()) > 1e-4


def test_quantify_zeta__its_own_standard_gives_its_thickness():
    lines, film = lines_with(), 4.8e-4
    table = kf.zeta_from_standard(
        lines, "MgSiO3", name="glass", mass_thickness_kg_m2=film, dose_electrons=1e12,
        thickness_uncertainty=0.05, dose_uncertainty=0.02,
    )  # fmt: skip
    for found in (
        eds_xr.quantify_zeta(lines, table, dose_electrons=1e12),
        eds_xr.quantify_cross_sections(
            lines, kf.cross_sections_from_zeta(table), dose_electrons=1e12
        ),
    ):
        np.testing.assert_allclose(found.atomic_fraction, [0.2, 0.2, 0.6], rtol=1e-6)
        assert float(found.mass_thickness) == pytest.approx(film)
        by = found.mass_thickness_by_error
        assert abs(float(by.sel(error="thickness of glass"))) == pytest.approx(
            0.05 * film, rel=1e-6
        )
        of_dose = float(by.sel(error="dose of glass")) ** 2
        assert of_dose > (0.02 * film) ** 2 * 0.99


def test_zeta_from_standard__of_a_map_and_a_tilted_film():
    net = np.full((3, 4, 5), 1e4)
    maps = xr.Dataset(
        {"net": (("line", "y", "x"), net), "variance": (("line", "y", "x"), net)},
        {"line": NAMES}, {"beam_energy_kev": 200.0, "elevation_angle_deg": 20.0},
    )  # fmt: skip
    known = {
        "mass_thickness_kg_m2": 1e-4, "thickness_uncertainty": 0.0, "dose_uncertainty": 0.0,
        "absorption": False,
    }  # fmt: skip
    each = kf.zeta_from_standard(maps, "MgSiO3", dose_electrons=1e9, **known)
    whole = maps.sum(["y", "x"]).assign_attrs(maps.attrs)
    once = kf.zeta_from_standard(whole, "MgSiO3", dose_electrons=20e9, **known)
    np.testing.assert_allclose(each.zeta, once.zeta)
    tilted = kf.zeta_from_standard(whole, "MgSiO3", dose_electrons=20e9, tilt_deg=60, **known)
    np.testing.assert_allclose(tilted.zeta, 2 * once.zeta)
