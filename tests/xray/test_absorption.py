"""Absorption in the film, and the methods that weigh it: zeta-factors and cross-sections."""

import numpy as np
import pytest
import xarray as xr
import xraydb
from hypothesis import given, settings
from hypothesis import strategies as st
from support.makers.lines import lines_of as made_lines

from eds_xr import k_factors as kf
from eds_xr import provenance
from eds_xr.composition.absolute import quantify_cross_sections, quantify_zeta
from eds_xr.composition.quantify import quantify
from eds_xr.composition.ratios import ratio
from eds_xr.composition.recording.dose import ELECTRON_C
from eds_xr.schema import EdsError
from eds_xr.xray.absorption import correction, take_off_angle_deg
from eds_xr.xray.elements import atomic_mass
from eds_xr.xray.lines import line_energy_kev

NAMES = ["O_Ka", "Mg_Ka", "Si_Ka", "Fe_Ka"]
ELEMENTS = [n.split("_")[0] for n in NAMES]
WEIGHT = np.array([0.42, 0.25, 0.21, 0.12])
K = dict(zip(NAMES, [1.9, 1.05, 1.0, 1.35], strict=True))
ZETA = {n: 400 * k for n, k in K.items()}
MASS_THICKNESS, ANGLE = 8e-4, 20.0  # 200 nm of 4 g/cm3
FILM = {"mass_thickness_kg_m2": MASS_THICKNESS, "take_off_angle_deg": ANGLE}


def lines_of(net, covariance=None, names=NAMES, **attrs):
    return made_lines(net, covariance, names, **attrs)


def depths(weight=WEIGHT, mass_thickness=MASS_THICKNESS, angle=ANGLE):
    """Return mu rho t / sin(alpha) of each line, from the tables."""
    mu = [
        sum(
            w * 0.1 * xraydb.mu_elam(e, 1000 * line_energy_kev(n))
            for e, w in zip(ELEMENTS, weight, strict=True)
        )
        for n in NAMES
    ]
    return np.array(mu) * mass_thickness / np.sin(np.radians(angle))


def transmitted(depth):
    return (1 - np.exp(-depth)) / depth


def counts(total=1e5):
    """Return the counts of a film of WEIGHT by weight, absorbed on the way out."""
    seen = WEIGHT / np.array(list(K.values())) * transmitted(depths())
    return total * seen / seen.sum()


def counts_of_dose(dose):
    """Return the counts that ZETA gives of the film, for a dose in electrons."""
    return dose * MASS_THICKNESS * WEIGHT / np.array(list(ZETA.values())) * transmitted(depths())


# -- the correction ------------------------------------------------------------------------------


@given(st.floats(-20, 20))
def test_correction__is_the_closed_form(depth):
    factor, slope = correction(np.array(depth))
    # the mean of exp(-u) over the film, by quadrature
    u = (np.arange(2000) + 0.5) / 2000 * depth
    assert float(factor) == pytest.approx(1 / np.exp(-u).mean(), rel=1e-4)
    step = 1e-5
    up, down = (np.log(correction(np.array(depth + d))[0]) for d in (step, -step))
    assert float(slope) == pytest.approx((up - down) / (2 * step), abs=1e-5)


def test_correction__of_thick_and_of_no_film():
    factor, slope = correction(np.array([0.0, 1e-3, 1000.0, np.nan]))
    np.testing.assert_allclose(factor, [1, 1.0005, 1000, np.nan], rtol=1e-7)
    np.testing.assert_allclose(slope, [0.5, 0.5 - 1e-3 / 12, 1e-3, np.nan], rtol=1e-7)


@pytest.mark.parametrize(
    ("attrs", "angle"),
    [
        ({"elevation_angle_deg": 18.0}, 18.0),
        ({"elevation_angle_deg": 18.0, "tilt_deg": 0.4}, 18.0),
        ({"elevation_angle_deg": 18.0, "tilt_deg": 12.0, "azimuth_angle_deg": 0.0}, 30.0),
        ({"elevation_angle_deg": 18.0, "tilt_deg": -12.0, "azimuth_angle_deg": 0.0}, 6.0),
        ({"elevation_angle_deg": 18.0, "tilt_deg": -12.0, "azimuth_angle_deg": 180.0}, 30.0),
        ({"elevation_angle_deg": 0.0, "tilt_deg": 30.0, "azimuth_angle_deg": 60.0}, 14.4775),
        ({"elevation_angle_deg": 90.0, "tilt_deg": 30.0, "azimuth_angle_deg": 77.0}, 60.0),
    ],
)
def test_take_off_angle__from_the_metadata(attrs, angle):
    assert take_off_angle_deg(attrs) == pytest.approx(angle, abs=1e-4)
    assert take_off_angle_deg(attrs, 25) == 25


def test_take_off_angle__errors():
    for attrs, message in [
        ({}, "the metadata have no elevation_angle_deg; give take_off_angle_deg"),
        ({"elevation_angle_deg": 18.0, "tilt_deg": 12.0}, "tilted by 12 degrees, .*azimuth"),
        (
            {"elevation_angle_deg": 18.0, "tilt_deg": -30.0, "azimuth_angle_deg": 0.0},
            "a take-off angle of -12 degrees lets no X-rays out",
        ),
    ]:
        with pytest.raises(EdsError, match=message):
            take_off_angle_deg(attrs)
    with pytest.raises(EdsError, match="a take-off angle of 120 degrees"):
        take_off_angle_deg({}, 120)


# -- Cliff-Lorimer -------------------------------------------------------------------------------


def test_quantify__makes_up_for_absorption():
    found = quantify(lines_of(counts()), K, **FILM)
    np.testing.assert_allclose(found.weight_fraction, WEIGHT, rtol=1e-9)
    np.testing.assert_allclose(found.absorption_correction, 1 / transmitted(depths()), rtol=1e-9)
    assert float(found.absorption_correction.max()) > 1.4
    plain = quantify(lines_of(counts()), K)
    assert float(plain.weight_fraction.sel(element="O")) < 0.38
    assert "absorption_correction" not in plain
    step = provenance.history(found)[-1]
    assert step["take_off_angle_deg"] == 20
    assert step["mass_thickness_kg_m2"] == 8e-4


def test_quantify__thickness_times_density():
    one = quantify(lines_of(counts()), K, **FILM)
    lines = lines_of(counts(), elevation_angle_deg=20.0)
    other = quantify(lines, K, thickness_nm=200, density_g_cm3=4.0)
    xr.testing.assert_allclose(one, other)
    none, plain = quantify(lines, K, thickness_nm=0, density_g_cm3=4.0), quantify(lines, K)
    # without a thickness there is no error of fluorescence, which is none of a film of no thickness
    assert (none.atomic_fraction_effect_covariance.sel(effect="fluorescence") == 0).all()
    same = {"error": plain["error"].values, "effect": plain["effect"].values}
    xr.testing.assert_allclose(none[list(plain)].sel(same), plain)


def test_quantify__oxygen_by_stoichiometry_absorbs():
    """A film of Mg2SiO4: what oxygen does to the lines of Mg and Si is undone."""
    atoms = {"O": 4, "Mg": 2, "Si": 1, "Fe": 0}
    weight = np.array([atoms[e] * atomic_mass(e) for e in ELEMENTS])
    weight /= weight.sum()
    seen = 1e5 * weight / np.array(list(K.values())) * transmitted(depths(weight))
    lines = lines_of(seen).sel(line=NAMES[1:3])
    found = quantify(lines, K, oxygen="stoichiometry", **FILM)
    np.testing.assert_allclose(found.atomic_fraction, np.array([2, 1, 4]) / 7, rtol=1e-9)
    assert np.isnan(found.absorption_correction.sel(element="O"))


def test_quantify__a_thickness_for_every_spectrum():
    net = np.stack([counts(), counts()])
    thickness = xr.DataArray([0.0, 200.0], dims="phase")
    lines = lines_of(net, elevation_angle_deg=ANGLE)
    found = quantify(lines, K, thickness_nm=thickness, density_g_cm3=4.0)
    one, two = (quantify(lines_of(counts()), K, **(FILM | more)) for more in (
        {"mass_thickness_kg_m2": 0.0}, {},
    ))  # fmt: skip
    for i, alone in enumerate((one, two)):
        for name in ("weight_fraction", "atomic_fraction_covariance"):
            np.testing.assert_allclose(found[name].isel(phase=i), alone[name], rtol=1e-9)
    assert provenance.history(found)[-1]["mass_thickness_kg_m2"] == "varies"


COVARIANCE = np.diag([2.0, 1.5, 1.0, 0.5]) * 1e4 + 3e3


def relative_difference(draws, table):
    scale = np.sqrt(np.diagonal(table))
    return np.abs((np.cov(draws.T) - table) / np.outer(scale, scale)).max()


@pytest.mark.parametrize("oxygen", ["measured", "stoichiometry"])
def test_quantify__covariance_of_the_iteration_meets_monte_carlo(oxygen):
    rng = np.random.default_rng(0)
    how = FILM | {"oxygen": oxygen}
    expected = quantify(lines_of(counts(), COVARIANCE), K, **how)
    drawn = rng.multivariate_normal(counts(), COVARIANCE, 10_000)
    many = quantify(lines_of(drawn), K, **how)
    for kind in ("atomic_fraction", "weight_fraction"):
        table = expected[f"{kind}_covariance"].values
        assert relative_difference(many[kind].values, table) < 0.05
    # the correction moves with the composition: without its derivatives the errors are others
    frozen = np.array([k * c for k, c in zip(
        K.values(), correction(depths())[0], strict=True)])  # fmt: skip
    still = quantify(lines_of(counts(), COVARIANCE), dict(zip(NAMES, frozen, strict=True)))
    if oxygen == "measured":
        ratio_of = float(still.atomic_fraction_variance[0] / expected.atomic_fraction_variance[0])
        assert not 0.9 < ratio_of < 1.1


def test_quantify__systematic_of_the_iteration_meets_monte_carlo():
    rng = np.random.default_rng(1)
    spread = {n: r * k for (n, k), r in zip(K.items(), (0.03, 0.02, 0.02, 0.03), strict=True)}
    net = counts()
    expected = quantify(lines_of(net), kf.k_factors(K, spread), absorption_uncertainty=0.05, **FILM)
    relative = np.array(list(spread.values())) / np.array(list(K.values()))
    film = xr.DataArray(MASS_THICKNESS * np.exp(0.05 * rng.normal(size=10_000)), dims="phase")
    many = quantify(
        lines_of(net * np.exp(relative * rng.normal(size=(10_000, 4)))), K,
        mass_thickness_kg_m2=film, take_off_angle_deg=ANGLE,
    )  # fmt: skip
    table = expected.weight_fraction_systematic_covariance.values
    assert relative_difference(many.weight_fraction.values, table) < 0.06
    of_film = expected.weight_fraction_by_error.sel(error="absorption")
    assert float(of_film.sel(element="O")) > 0.002
    assert float(of_film.sum()) == pytest.approx(0, abs=1e-12)


def test_ratio__of_two_soft_lines_knows_their_absorption():
    found = quantify(lines_of(counts()), K, absorption_uncertainty=0.1, **FILM)
    alike, unlike = (ratio(found, "Mg", other=other) for other in ("Si", "Fe"))
    assert 0 < float(alike.systematic_variance / alike.ratio**2) < 0.05**2
    assert float(unlike.systematic_variance / unlike.ratio**2) > 2 * float(
        alike.systematic_variance / alike.ratio**2
    )


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.floats(1e-6, 3e-3), st.floats(10, 90)
)
def test_quantify__undoes_absorption_in_any_film(weight, mass_thickness, angle):
    weight = np.array(weight) / sum(weight)
    seen = weight / np.array(list(K.values())) * transmitted(depths(weight, mass_thickness, angle))
    film = {"mass_thickness_kg_m2": mass_thickness, "take_off_angle_deg": angle}
    found = quantify(lines_of(1e4 * seen), K, **film)
    np.testing.assert_allclose(found.weight_fraction, weight, rtol=1e-6)


@pytest.mark.parametrize("chunks", [{"y": 2}, {"line": 2, "x": 1}])
def test_quantify__absorption_in_maps_is_lazy(chunks):
    rng = np.random.default_rng(2)
    net = rng.poisson(counts(400)[:, None, None], (4, 4, 3)).astype(float)
    net[:, 1, 1] = 0
    dims = ("line", "y", "x")
    data = {"net": (dims, net), "variance": (dims, net + 1)}
    lines = xr.Dataset(data, {"line": NAMES}, {"beam_energy_kev": 200.0})
    thickness = xr.DataArray(np.linspace(100, 200, 12).reshape(4, 3), dims=("y", "x"))
    thickness[3, 2] = np.nan
    how = {"density_g_cm3": 4.0, "take_off_angle_deg": 20.0}
    eager = quantify(lines, K, thickness_nm=thickness, **how)
    lazy = quantify(lines.chunk(chunks), K, thickness_nm=thickness.chunk(y=1), **how)
    xr.testing.assert_allclose(lazy.compute(), eager, rtol=1e-10)
    unknown = eager.atomic_fraction.isnull().any("element")
    assert np.argwhere(unknown.values).tolist() == [[1, 1], [3, 2]]


def test_quantify__errors_of_films():
    lines = lines_of(counts())
    for options, message in [
        ({"thickness_nm": 100}, "needs thickness_nm and density_g_cm3, or mass_thickness_kg_m2"),
        ({"density_g_cm3": 4}, "needs thickness_nm and density_g_cm3, or mass_thickness_kg_m2"),
        ({**FILM, "thickness_nm": 100}, "needs thickness_nm and density_g_cm3, or mass_thick"),
        ({"mass_thickness_kg_m2": 1e-4}, "the metadata have no elevation_angle_deg; give take_off"),
        ({**FILM, "mass_thickness_kg_m2": -1.0}, "mass thickness must be finite and not negative"),
        ({**FILM, "mass_thickness_kg_m2": np.nan}, "mass thickness must be finite and not nega"),
        ({**FILM, "absorption_uncertainty": -0.1}, "absorption_uncertainty is relative, 0.1 for"),
    ]:
        with pytest.raises(EdsError, match=message):
            quantify(lines, K, **options)
    soft = lines_of([1.0, 2.0], names=["Li_Ka", "Si_Ka"])
    with pytest.raises(EdsError, match="no attenuation is tabulated for Li_Ka at 50 eV"):
        quantify(soft, {"Li_Ka": 1.0, "Si_Ka": 1.0}, **FILM)


# -- zeta-factors and cross-sections -------------------------------------------------------------

DOSE = 5e10


def test_quantify_zeta__finds_composition_and_thickness():
    lines = lines_of(counts_of_dose(DOSE), elevation_angle_deg=ANGLE)
    found = quantify_zeta(lines, ZETA, dose_electrons=DOSE)
    np.testing.assert_allclose(found.weight_fraction, WEIGHT, rtol=1e-9)
    assert float(found.mass_thickness) == pytest.approx(MASS_THICKNESS)
    np.testing.assert_allclose(found.absorption_correction, 1 / transmitted(depths()), rtol=1e-9)
    np.testing.assert_allclose(found.zeta_factor, list(ZETA.values()))
    atoms = WEIGHT * MASS_THICKNESS / [atomic_mass(e) * 1.66053907e-27 for e in ELEMENTS]
    np.testing.assert_allclose(found.atoms_per_area, atoms, rtol=1e-6)
    assert found.attrs["method"] == "zeta"


def test_quantify_zeta__dose_of_current_and_time():
    lines = lines_of(counts_of_dose(DOSE), elevation_angle_deg=ANGLE)
    one = quantify_zeta(lines, ZETA, dose_electrons=DOSE)
    current = DOSE * ELECTRON_C / 12 * 1e9
    other = quantify_zeta(lines, ZETA, probe_current_na=current, live_time_s=12)
    xr.testing.assert_allclose(one, other)
    doses = xr.DataArray([DOSE, 2 * DOSE], dims="phase")
    both = np.stack([counts_of_dose(DOSE), counts_of_dose(2 * DOSE)])
    each = quantify_zeta(
        lines_of(both, elevation_angle_deg=ANGLE), ZETA, dose_electrons=doses
    ).isel(phase=0)
    for name in ("mass_thickness", "mass_thickness_variance", "atomic_fraction_covariance"):
        np.testing.assert_allclose(each[name], one[name], rtol=1e-9)


def test_quantify_zeta__errors_meet_monte_carlo():
    rng = np.random.default_rng(4)
    net = counts_of_dose(DOSE)
    covariance = COVARIANCE * (net.sum() / counts().sum()) ** 2
    how = {"dose_electrons": DOSE, "take_off_angle_deg": ANGLE}
    expected = quantify_zeta(lines_of(net, covariance), ZETA, **how)
    drawn = rng.multivariate_normal(net, covariance, 10_000)
    many = quantify_zeta(lines_of(drawn), ZETA, **how)
    spread = float(expected.mass_thickness_variance) ** 0.5
    assert float(many.mass_thickness.std()) == pytest.approx(spread, rel=0.03)
    for name in ("atomic_fraction", "atoms_per_area"):
        table = expected[f"{name}_covariance"].values
        assert relative_difference(many[name].values, table) < 0.06


def test_quantify_zeta__systematic_meets_monte_carlo():
    rng = np.random.default_rng(6)
    net, relative = counts_of_dose(DOSE), np.array([0.03, 0.02, 0.02, 0.03])
    factors = kf.zeta_from_k_factors(
        kf.k_factors(K, {n: r * K[n] for n, r in zip(NAMES, relative, strict=True)}),
        "Si_Ka", zeta_kg_m2=ZETA["Si_Ka"],
    )  # fmt: skip
    how = {"take_off_angle_deg": ANGLE, "absorption_uncertainty": 0.0}
    expected = quantify_zeta(
        lines_of(net), factors, dose_electrons=DOSE, dose_uncertainty=0.04, **how
    )
    drawn = net * np.exp(relative * rng.normal(size=(10_000, 4)))
    doses = xr.DataArray(DOSE * np.exp(0.04 * rng.normal(size=10_000)), dims="phase")
    many = quantify_zeta(lines_of(drawn), ZETA, dose_electrons=doses, **how)
    spread = float(expected.mass_thickness_systematic_variance) ** 0.5
    assert float(many.mass_thickness.std()) == pytest.approx(spread, rel=0.05)
    table = expected.weight_fraction_systematic_covariance.values
    assert relative_difference(many.weight_fraction.values, table) < 0.06


def test_quantify_zeta__oxygen_by_stoichiometry_weighs():
    lines = lines_of([atomic_mass("Mg"), atomic_mass("Si")], names=["Mg_Ka", "Si_Ka"])
    found = quantify_zeta(
        lines, dict.fromkeys(["Mg_Ka", "Si_Ka"], 1.0), dose_electrons=1e6,
        oxygen="stoichiometry", absorption=False,
    )  # fmt: skip
    mass = atomic_mass("Mg") + atomic_mass("Si") + 3 * atomic_mass("O")
    assert float(found.mass_thickness) == pytest.approx(mass / 1e6)
    assert "absorption_correction" not in found


def test_quantify_cross_sections__counts_atoms():
    sections = xr.DataArray([2.0, 5.0], {"line": ["Mg_Ka", "Si_Ka"]}, ("line",))
    lines = lines_of([200.0, 1000.0], names=["Mg_Ka", "Si_Ka"])
    found = quantify_cross_sections(lines, sections, dose_electrons=1e9, absorption=False)
    np.testing.assert_allclose(found.atoms_per_area, [200 / 2e-28 / 1e9, 1000 / 5e-28 / 1e9])
    np.testing.assert_allclose(found.atomic_fraction, [1 / 3, 2 / 3])
    np.testing.assert_allclose(found.atoms_per_area_variance, found.atoms_per_area**2 / [200, 1000])
    np.testing.assert_array_equal(found.cross_section, [2, 5])


def test_quantify_zeta__errors():
    lines = lines_of(counts_of_dose(DOSE), elevation_angle_deg=ANGLE)
    for options, message in [
        ({}, "needs the dose: dose_electrons, or probe_current_na and live_time_s"),
        ({"probe_current_na": 1.0}, "needs the dose"),
        ({"dose_electrons": 1e9, "live_time_s": 1.0}, "the dose is given twice"),
        ({"dose_electrons": 0.0}, "the dose must be positive, found 0 electrons"),
        ({"dose_electrons": 1e6}, "the absorption correction does not converge: so many counts"),
        ({"dose_electrons": DOSE, "dose_uncertainty": np.nan}, "dose_uncertainty is relative"),
    ]:
        with pytest.raises(EdsError, match=message):
            quantify_zeta(lines, ZETA, **options)
    with pytest.raises(EdsError, match="no zeta-factor for Si_Ka"):
        quantify_zeta(lines, {"O_Ka": 1, "Mg_Ka": 1, "Fe_Ka": 1}, dose_electrons=DOSE)
    with pytest.raises(EdsError, match="expected a table of zeta-factors .* found"):
        quantify_zeta(lines, kf.k_factors(K), dose_electrons=DOSE)
    with pytest.raises(EdsError, match="no elevation_angle_deg"):
        quantify_zeta(lines_of(counts_of_dose(DOSE)), ZETA, dose_electrons=DOSE)
