"""Fluorescence within a film: the published formula, its limit, and what quantify makes of it."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from support.makers.lines import lines_of

from eds_xr.composition.film.fluorescence import (
    UNCERTAINTY,
    absorbed_over_depth,
    fluorescence_of,
)
from eds_xr.composition.quantify import quantify
from eds_xr.composition.uncertainty.budget import budget
from eds_xr.report.foot import foot
from eds_xr.schema import EdsError

NAMES = ["Cr_Ka", "Fe_Ka"]
#: 100 nm of iron [kg/m2].
FILM = 1e-7 * 7870.0
K = {"Cr_Ka": 1.17, "Fe_Ka": 1.30}


def steel(chromium, thickness=FILM, beam=100.0):
    known = fluorescence_of(tuple(NAMES), ("Cr", "Fe"), beam)
    return known.shares(np.array([chromium, 1 - chromium]), np.array(thickness))


def published(chromium, beam):
    """Return the formula of Nockolds et al. with tables of their time, without sec(alpha).

    Yield of Fe K 0.347, jump of Cr K 8.0; attenuation of Fe Ka in Cr 474 and in Fe 71.4 cm2/g
    (Heinrich 1966); edges 5.989 and 7.112 keV.
    """
    iron, thickness = 1 - chromium, 1e-5 * 7.87
    excited = (5.989 / 7.112) * np.log(beam / 7.112) / np.log(beam / 5.989)
    depth = (474 * chromium + 71.4 * iron) * thickness
    rest = iron * 0.347 * (7.0 / 8.0) * (51.996 / 55.845) * 474 * excited
    return rest * thickness / 2 * (0.923 - np.log(depth))


@pytest.mark.parametrize("chromium", [0.05, 0.10, 0.15])
@pytest.mark.parametrize("beam", [100.0, 200.0])
def test_fluorescence__of_chromium_by_iron_as_published(chromium, beam):
    found = steel(chromium, beam=beam)
    assert found[0] == pytest.approx(published(chromium, beam), rel=0.10)
    assert found[0] == pytest.approx(0.018, abs=0.007)  # 1.8 % at 100 nm
    assert found[1] == 0  # nothing here excites iron


def test_fluorescence__of_chromium_in_stainless_steel():
    known = fluorescence_of(("Cr_Ka",), ("Cr", "Fe", "Ni"), 100.0)
    found = known.shares(np.array([0.18, 0.74, 0.08]), np.array(FILM))[0]
    assert found == pytest.approx(0.018, abs=0.002)


def test_fluorescence__grows_somewhat_less_than_the_thickness():
    shares = [steel(0.1, FILM * t)[0] for t in (0.5, 1, 2)]
    assert 1.7 < shares[1] / shares[0] < shares[0] / shares[0] * 2
    assert 1.7 < shares[2] / shares[1] < 2
    assert (steel(0.1, 0.0) == 0).all()


def test_absorbed_over_depth__is_the_mean_over_ways_out():
    def escaping(depth):  # from all depths into both half-spaces
        def of_angle(cosine):
            way = depth / cosine
            return (1 - np.exp(-way)) / way

        return quad(of_angle, 0, 1)[0]

    for depth in (1e-4, 1e-2, 0.1, 1.0, 5.0):
        expected = (1 - escaping(depth)) / depth
        assert float(absorbed_over_depth(np.array(depth))) == pytest.approx(expected, rel=2e-4)
    thin = 1e-5
    published = (0.923 - np.log(thin)) / 2
    assert float(absorbed_over_depth(np.array(thin))) == pytest.approx(published, rel=1e-4)
    assert float(absorbed_over_depth(np.array(0.0))) == 0


def recorded(net):
    return lines_of(net, names=NAMES, beam_energy_kev=200.0, signal_type="EDS_TEM")


def test_quantify__takes_fluorescence_off():
    how = {"mass_thickness_kg_m2": FILM, "take_off_angle_deg": 20.0, "k_factors": K}
    true = np.array([0.1, 0.9])
    added = steel(0.1, beam=200.0)
    plain = quantify(recorded(true / list(K.values()) * 1e5), **how)
    excited = recorded(true / list(K.values()) * 1e5 * (1 + added))
    corrected = quantify(excited, fluorescence=True, **how)
    # absorption comes on top of both
    for kind in ("atomic_fraction", "weight_fraction"):
        np.testing.assert_allclose(corrected[kind], plain[kind], rtol=2e-5)
    np.testing.assert_allclose(corrected.fluorescence, added, rtol=5e-3)
    np.testing.assert_allclose(corrected.absorption_correction, plain.absorption_correction)
    left = quantify(excited, **how)
    assert float(left.weight_fraction[0] / plain.weight_fraction[0]) == pytest.approx(
        1.02, abs=0.004
    )


def test_quantify__fluorescence_is_in_the_budget():
    how = {"mass_thickness_kg_m2": FILM, "take_off_angle_deg": 20.0, "k_factors": K}
    lines = recorded([1e5, 9e5])
    left, taken = quantify(lines, **how), quantify(lines, fluorescence=True, **how)
    sizes = [
        float(budget(c).deviation.sel(effect="fluorescence", element="Cr")) for c in (left, taken)
    ]
    change = float((left.atomic_fraction - taken.atomic_fraction).sel(element="Cr"))
    assert sizes[0] == pytest.approx(change, rel=0.03)  # all of it
    assert sizes[1] == pytest.approx(UNCERTAINTY * change, rel=0.03)
    assert any("fluorescence, up to 2 % of a number" in t for t in foot(left, "atomic_fraction"))
    assert "fluorescence" not in quantify(lines, K)["effect"].values


def test_quantify__fluorescence_with_a_thickness_by_the_charge_balance():
    names = ["O_Ka", "Mg_Ka", "Fe_Ka"]
    k = {"O_Ka": 1.5, "Mg_Ka": 1.1, "Fe_Ka": 1.3}
    lines = lines_of([9e4, 1.5e5, 9e4], names=names, beam_energy_kev=200.0, signal_type="EDS_TEM")
    how = {"thickness": "charge_balance", "take_off_angle_deg": 20.0}
    plain, taken = (quantify(lines, k, fluorescence=f, **how) for f in (False, True))
    film = {"mass_thickness_kg_m2": float(taken.mass_thickness), "take_off_angle_deg": 20.0}
    given = quantify(lines, k, fluorescence=True, **film)
    np.testing.assert_allclose(taken.atomic_fraction, given.atomic_fraction, rtol=1e-9)
    assert float(taken.fluorescence.sel(element="O")) > 5e-4
    assert float(taken.mass_thickness) != pytest.approx(float(plain.mass_thickness), rel=1e-5)


def test_quantify__fluorescence_of_maps_only_where_asked_for():
    net = xr.DataArray(np.full((2, 3, 2), 1e4), dims=("y", "x", "line"), coords={"line": NAMES})
    lines = xr.Dataset({"net": net, "variance": net}, attrs={"beam_energy_kev": 200.0})
    lines = lines.assign_attrs(signal_type="EDS_TEM")
    how = {"mass_thickness_kg_m2": FILM, "take_off_angle_deg": 20.0, "k_factors": K}
    assert "fluorescence" not in quantify(lines.chunk(y=1), **how)
    made = quantify(lines.chunk(y=1), fluorescence=True, **how)
    assert made.atomic_fraction.chunks is not None
    one = quantify(recorded([1e4, 1e4]), fluorescence=True, **how)
    np.testing.assert_allclose(made.atomic_fraction.isel(y=1, x=2), one.atomic_fraction)


def test_quantify__fluorescence_errors():
    with pytest.raises(EdsError, match="fluorescence needs the film's thickness"):
        quantify(recorded([1e4, 1e4]), K, fluorescence=True)
    nameless = lines_of([1e4, 1e4], names=NAMES, signal_type="EDS_TEM")
    nameless.attrs.pop("beam_energy_kev", None)
    with pytest.raises(EdsError, match="fluorescence needs the beam energy"):
        quantify(nameless, K, fluorescence=True, mass_thickness_kg_m2=FILM, take_off_angle_deg=20.0)
    left = quantify(nameless, K, mass_thickness_kg_m2=FILM, take_off_angle_deg=20.0)
    assert "fluorescence" not in left
