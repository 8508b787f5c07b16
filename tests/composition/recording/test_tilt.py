"""A tilted film, integrated along the beam: what is measured is along the film's normal."""

import math

import numpy as np
import pytest
import xarray as xr
import xraydb
from scipy.integrate import quad
from support.makers.lines import lines_of

import eds_xr
from eds_xr import EdsError
from eds_xr.xray.absorption import take_off_angle_deg, way_through_film
from eds_xr.xray.lines import line_energy_kev

NAMES, ELEMENTS = ["O_Ka", "Mg_Ka", "Fe_Ka"], ["O", "Mg", "Fe"]
WEIGHT = np.array([0.35, 0.40, 0.25])
ZETA = {"O_Ka": 900.0, "Mg_Ka": 400.0, "Fe_Ka": 500.0}
DENSITY, THICKNESS_NM, DOSE = 4.0, 150.0, 1e13
FILM = {"elevation_angle_deg": 18.0, "azimuth_angle_deg": 40.0}


def counts(tilt_deg):
    """Return counts of each line: photons made along the beam, dimmed on their way to the detector.

    The beam falls along -z; the film's upper normal leans by the tilt towards +x; the detector
    stands at its elevation above the plane of the untilted film, at its azimuth from +x.
    """
    tilt, up, side = (math.radians(v) for v in (tilt_deg, 18.0, 40.0))
    normal = np.array([math.sin(tilt), 0.0, math.cos(tilt)])
    to_detector = np.array(
        [math.cos(up) * math.cos(side), math.cos(up) * math.sin(side), math.sin(up)]
    )
    metres, found = THICKNESS_NM * 1e-9, []
    for name, weight in zip(NAMES, WEIGHT, strict=True):
        mu = sum(
            w * 0.1 * xraydb.mu_elam(e, 1000 * line_energy_kev(name))
            for e, w in zip(ELEMENTS, WEIGHT, strict=True)
        )

        def leaves(s, mu=mu):
            """Return the share that leaves, of what is made after a way `s` of the beam."""
            under = -np.array([0.0, 0.0, -s]) @ normal  # below the surface, along the normal
            return math.exp(-mu * DENSITY * 1e3 * under / (to_detector @ normal))

        made, _ = quad(leaves, 0.0, metres / (np.array([0, 0, 1.0]) @ normal), epsabs=0)
        found.append(DOSE / ZETA[name] * weight * DENSITY * 1e3 * made)
    return np.array(found)


@pytest.mark.parametrize("tilt", [0.0, 20.0, 45.0, -12.0])
def test_methods__give_the_same_film_at_every_tilt(tilt):
    lines = lines_of(counts(tilt), names=NAMES, tilt_deg=tilt, **FILM)
    by_zeta = eds_xr.quantify_zeta(lines, ZETA, dose_electrons=DOSE)
    along_normal = 1e-6 * DENSITY * THICKNESS_NM
    assert float(by_zeta.mass_thickness) == pytest.approx(along_normal, rel=1e-6)
    np.testing.assert_allclose(by_zeta.weight_fraction, WEIGHT, rtol=1e-6)
    barn = {name: _barn(name) for name in NAMES}
    by_section = eds_xr.quantify_cross_sections(lines, barn, dose_electrons=DOSE)
    assert float(by_section.mass_thickness) == pytest.approx(along_normal, rel=1e-6)
    k = {n: z / ZETA["Fe_Ka"] for n, z in ZETA.items()}
    by_k = eds_xr.quantify(lines, k, thickness_nm=THICKNESS_NM, density_g_cm3=DENSITY)
    np.testing.assert_allclose(by_k.weight_fraction, WEIGHT, rtol=1e-6)


def _barn(name):
    return 1e28 * 1e-3 * xraydb.atomic_mass(name.split("_")[0]) / (6.02214076e23 * ZETA[name])


def test_counts__do_grow_with_the_tilt():
    """The film matters: what is made of a tilt of 45 degrees without it is far off."""
    lines = lines_of(counts(45.0), names=NAMES, tilt_deg=45.0, **FILM)
    flat = eds_xr.quantify_zeta(lines, ZETA, dose_electrons=DOSE, tilt_deg=0.0)
    assert float(flat.mass_thickness) > 1.35 * 1e-6 * DENSITY * THICKNESS_NM
    level = take_off_angle_deg({"elevation_angle_deg": 18.0})
    wrong = eds_xr.quantify_zeta(lines, ZETA, dose_electrons=DOSE, take_off_angle_deg=level)
    assert abs(float(wrong.weight_fraction[0]) - WEIGHT[0]) > 0.01


def test_quantify_zeta__the_tilt_is_in_the_history():
    lines = lines_of(counts(60.0), names=NAMES, tilt_deg=60.0, **FILM)
    found = eds_xr.quantify_zeta(lines, ZETA, dose_electrons=DOSE)
    assert eds_xr.history(found)[-1]["way_through_film"] == pytest.approx(2.0)
    flat = eds_xr.quantify_zeta(lines, ZETA, dose_electrons=DOSE, tilt_deg=0.0)
    assert "way_through_film" not in eds_xr.history(flat)[-1]


def test_way_through_film__refuses_an_edge_on_film():
    assert way_through_film({}) == 1
    with pytest.raises(EdsError, match="lies along the beam"):
        way_through_film({"tilt_deg": 90.0})
    with pytest.raises(EdsError, match="lies along the beam"):
        eds_xr.quantify_zeta(
            lines_of([1.0, 1, 1], names=NAMES), ZETA, dose_electrons=xr.DataArray(1e9),
            absorption=False, tilt_deg=-95,
        )  # fmt: skip
