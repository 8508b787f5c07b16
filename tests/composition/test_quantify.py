import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.makers.lines import lines_of as made_lines

from eds_xr import k_factors as kf
from eds_xr import provenance, simulate
from eds_xr.composition.absolute import quantify_zeta
from eds_xr.composition.quantify import quantify
from eds_xr.composition.ratios import ratio
from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.xray.elements import atomic_mass

ELEMENTS = ["Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Lu", "Hf", "U"]
NAMES = ["Mg_Ka", "Si_Ka", "Fe_Ka"]


def lines_of(net, covariance=None, names=NAMES, **attrs):
    return made_lines(net, covariance, names, **attrs)


def test_quantify__is_cliff_and_lorimers_equation():
    k = {"Mg_Ka": 1.1, "Si_Ka": 1.0, "Fe_Ka": 1.3}
    found = quantify(lines_of([300.0, 200.0, 100.0]), k)
    weight = np.array([1.1 * 300, 200, 1.3 * 100])
    atoms = weight / [atomic_mass(e) for e in ("Mg", "Si", "Fe")]
    np.testing.assert_allclose(found.weight_fraction, weight / weight.sum())
    np.testing.assert_allclose(found.atomic_fraction, atoms / atoms.sum())
    assert found.attrs["standardless"] == 0
    assert (found.systematic == 0).all()
    np.testing.assert_array_equal(found.k_factor, [1.1, 1.0, 1.3])
    assert list(found.line.values) == NAMES


def test_quantify__k_factors_go_by_name():
    k = {"Si_Ka": 1.0, "Fe_Ka": 1.3, "Al_Ka": 9.0, "Mg_Ka": 1.1}
    array = xr.DataArray(list(k.values()), {"line": list(k)}, ("line",))
    lines = lines_of([300.0, 200.0, 100.0])
    xr.testing.assert_equal(quantify(lines, k), quantify(lines, array))
    assert quantify(lines, k).k_factor.sel(element="Fe").item() == 1.3


def test_quantify__the_scale_of_k_factors_is_free():
    k = {"Mg_Ka": 1.1, "Si_Ka": 1.0, "Fe_Ka": 1.3}
    lines = lines_of([300.0, 200.0, 100.0])
    one, other = quantify(lines, k), quantify(lines, {n: 7 * v for n, v in k.items()})
    xr.testing.assert_allclose(one.drop_vars("k_factor"), other.drop_vars("k_factor"))


def test_quantify__covariance_meets_monte_carlo():
    rng = np.random.default_rng(0)
    net = np.array([3000.0, 2500.0, 400.0])
    covariance = np.array([[3200.0, -900, 0], [-900, 2700, 100], [0, 100, 700]])
    expected = quantify(lines_of(net, covariance))
    draws = rng.multivariate_normal(net, covariance, 20_000)
    many = quantify(lines_of(draws, np.broadcast_to(covariance, (20_000, 3, 3))))
    found = np.cov(many.atomic_fraction.values.T)
    scale = np.sqrt(np.diagonal(expected.atomic_fraction_covariance.values))
    difference = (found - expected.atomic_fraction_covariance.values) / np.outer(scale, scale)
    assert np.abs(difference).max() < 0.05


def test_quantify__negative_counts_stay_negative():
    found = quantify(lines_of([300.0, 200.0, -5.0], np.diag([300.0, 200, 30])))
    assert float(found.atomic_fraction.sel(element="Fe")) < 0
    assert float(found.atomic_fraction.sum()) == pytest.approx(1)


def test_quantify__excluded_elements_leave_the_sum():
    found = quantify(lines_of([300.0, 200.0, 100.0]), exclude=("Fe",))
    assert list(found.element.values) == ["Mg", "Si"]
    assert float(found.atomic_fraction.sum()) == pytest.approx(1)


def test_quantify__of_chosen_lines():
    names = ["Si_Ka", "Fe_La", "Fe_Ka", "Mg_Ka"]
    covariance = np.diag([200.0, 60, 100, 300]) + 7
    lines = lines_of([200.0, 50, 100, 300], covariance, names)
    with pytest.raises(EdsError, match=r"more than one line of Fe: choose one, lines.sel\(line="):
        quantify(lines)
    found = quantify(lines.sel(line=["Mg_Ka", "Si_Ka", "Fe_Ka"]))
    keep = [3, 0, 2]
    whole = quantify(lines_of([300.0, 200, 100], covariance[np.ix_(keep, keep)]))
    xr.testing.assert_allclose(found, whole)


def test_quantify__standardless_says_so():
    lines = lines_of([300.0, 100.0], names=["Si_Ka", "Nd_La"], beam_energy_kev=200.0)
    found = quantify(lines)
    table = kf.standardless_k_factors(["Si_Ka", "Nd_La"], beam_energy_kev=200)
    xr.testing.assert_equal(found, quantify(lines, table))
    for one in (found, quantify(lines, table)):
        assert one.attrs["standardless"] == 1
        assert provenance.history(one)[-1]["standardless"] is True
    np.testing.assert_allclose(found.systematic, [0.1, 0.2], rtol=0.02)
    np.testing.assert_allclose(found.k_factor, table.k)


@pytest.mark.parametrize("phase", simulate.PYROLITE_71GPA, ids=lambda p: p.name)
def test_quantify__recovers_the_composition_of_each_phase(phase):
    energy = -0.2 + 0.01 * np.arange(2048)
    spectrum = 1e7 * simulate.phase_spectra([phase], energy).loadings.isel(phase=0)
    spectra = xr.Dataset({"counts": spectrum, "variance": spectrum})
    lines = fit_lines(spectra.assign_attrs(beam_energy_kev=200.0), ELEMENTS, stray=["Cu", "Ga"])
    found = quantify(lines).atomic_fraction
    total = sum(n for e, n in phase.atoms.items() if e != "O")
    for element in ELEMENTS:
        true = phase.atoms.get(element, 0) / total
        assert float(found.sel(element=element)) == pytest.approx(true, rel=0.02, abs=2e-6)


OTHER_BEAM = kf.k_factors(dict.fromkeys(NAMES, 1.0), beam_energy_kev=300)
DOUBLE = xr.DataArray([1.0, 1, 1, 1], {"line": [*NAMES, "Si_Ka"]}, ("line",))
NAMELESS = xr.DataArray([1.0, 1.0, 1.0], dims="line")


def test_quantify__errors():
    lines = lines_of([300.0, 200.0, 100.0], beam_energy_kev=200.0)
    for wrong, options, message in [
        (lines.drop_vars("covariance"), {}, r"from fit_lines, missing covariance \(or at least"),
        (lines.drop_vars("net"), {}, "expected lines from fit_lines, missing net"),
        (lines.net, {}, "expected lines from fit_lines, found DataArray"),
        (lines.isel(line=0), {}, "expected lines from fit_lines, missing line"),
        (lines, {"exclude": ("Mg", "Si", "Fe")}, "no element is left to quantify"),
        (lines, {"k_factors": {"Mg_Ka": 1.0}}, "no k-factor for Si_Ka, Fe_Ka; the table has Mg_Ka"),
        (lines, {"k_factors": dict.fromkeys(NAMES, 0.0)}, "k-factors must be positive"),
        (lines, {"k_factors": [1.0, 1.1, 1.2]}, "expected k-factors by line, .* found list; read"),
        (lines, {"k_factors": OTHER_BEAM}, "k-factors are for a beam of 300 keV, the spectra were"),
        (lines, {"k_factors": DOUBLE}, "more than one k-factor of Si_Ka; leave one"),
        (lines, {"k_factors": NAMELESS}, "k-factors must lie along named lines"),
        (lines_of([0.0, 0.0, 0.0]), {}, "the net counts sum to nothing"),
        (lines_of([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), {}, "the net counts sum to nothing"),
        (lines, {"oxygen": "guessed"}, "oxygen must be one of 'measured', 'stoichiometry'"),
        (lines, {"valences": {"Fe": 3}}, "valences are for oxygen='stoichiometry'"),
    ]:
        with pytest.raises(EdsError, match=message):
            quantify(wrong, **options)


def table_of(k, relative, **options):
    spread = {n: v * r for (n, v), r in zip(k.items(), relative, strict=True)}
    return kf.k_factors(k, spread, **options)


K = {"Mg_Ka": 1.1, "Si_Ka": 1.0, "Fe_Ka": 1.3}
COVARIANCE = np.array([[3200.0, -900, 0], [-900, 2700, 100], [0, 100, 700]])
positive = st.lists(st.floats(1.0, 1e6), min_size=3, max_size=3)


@pytest.mark.slow
@settings(max_examples=50)
@given(positive, st.floats(1e-3, 1e3), st.permutations(range(3)))
def test_quantify__neither_scale_of_k_nor_order_matter(net, scale, order):
    covariance = np.diag(net) + 0.3
    table = table_of(K, (0.02, 0.1, 0.05))
    one = quantify(lines_of(net, covariance), table)
    shuffled = lines_of(
        np.array(net)[list(order)], covariance[np.ix_(order, order)], [NAMES[i] for i in order]
    )
    scaled = table.assign(k=scale * table.k, standard_deviation=scale * table.standard_deviation)
    other = quantify(shuffled, scaled).sel(element=one.element, element_other=one.element_other)
    keep = [n for n in one if n not in ("k_factor",)]
    other = other.sel(error=one.error, factor_line=one.factor_line)
    xr.testing.assert_allclose(one[keep], other[keep], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@settings(max_examples=50)
@given(positive, st.floats(-0.9, 0.9), st.sampled_from(["measured", "stoichiometry"]))
def test_quantify__what_sums_to_one_has_no_error_in_its_sum(net, correlation, oxygen):
    covariance = np.sqrt(np.outer(net, net)) * np.where(np.eye(3) == 1, 1, correlation / 2)
    found = quantify(lines_of(net, covariance), table_of(K, (0.02, 0.1, 0.05)), oxygen=oxygen)
    for kind in ("atomic_fraction", "weight_fraction"):
        assert float(found[kind].sum()) == pytest.approx(1)
        for table in (f"{kind}_covariance", f"{kind}_systematic_covariance"):
            rows = found[table].sum("element_other")
            np.testing.assert_allclose(rows, 0, atol=1e-12 + 1e-9 * found[table].max())
        spread = np.diagonal(found[f"{kind}_covariance"])
        np.testing.assert_allclose(found[f"{kind}_variance"], spread)
        np.testing.assert_allclose(found[f"{kind}_by_error"].sum("element"), 0, atol=1e-12)


def test_quantify__systematic_meets_monte_carlo():
    rng = np.random.default_rng(0)
    net, relative = np.array([3000.0, 2500.0, 400.0]), np.array([0.02, 0.05, 0.03])
    how = {"oxygen": "stoichiometry", "valence_uncertainty": {"Fe": 0.0}}
    expected = quantify(lines_of(net, COVARIANCE), table_of(K, relative), **how)
    np.testing.assert_allclose(expected.systematic, [*relative, 0])
    # a wrong k is as good as wrong counts
    drawn = net * np.exp(relative * rng.normal(size=(20_000, 3)))
    many = quantify(lines_of(drawn, np.broadcast_to(COVARIANCE, (20_000, 3, 3))), K, **how)
    for kind in ("atomic_fraction", "weight_fraction"):
        table = expected[f"{kind}_systematic_covariance"].values
        scale = np.sqrt(np.diagonal(table))
        np.testing.assert_allclose(
            np.cov(many[kind].values.T) / np.outer(scale, scale),
            table / np.outer(scale, scale), atol=0.05,
        )  # fmt: skip


def test_quantify__systematic_stays_apart():
    net = [3000.0, 2500.0, 400.0]
    exact = quantify(lines_of(net, COVARIANCE), K)
    vague = quantify(lines_of(net, COVARIANCE), table_of(K, (0.2, 0.3, 0.4)))
    assert (exact.atomic_fraction_systematic_covariance == 0).all()
    for name in ("atomic_fraction", "atomic_fraction_covariance", "weight_fraction_variance"):
        xr.testing.assert_equal(exact[name], vague[name])
    by_error = vague.atomic_fraction_by_error
    assert by_error.error.values.tolist() == [
        *(f"factor of {n}" for n in NAMES),
        "dose",
        "absorption",
    ]
    assert by_error.error_effect.values.tolist() == ["k_factor"] * 3 + ["dose", "absorption"]
    np.testing.assert_allclose(
        by_error.values @ by_error.values.T, vague.atomic_fraction_systematic_covariance
    )


def test_quantify__atomic_k_factors_give_atoms():
    lines = lines_of([300.0, 200.0, 100.0])
    masses = np.array([atomic_mass(e) for e in ("Mg", "Si", "Fe")])
    by_atoms = {n: v / m for (n, v), m in zip(K.items(), masses, strict=True)}
    relative = (0.02, 0.1, 0.05)
    atomic = quantify(lines, table_of(by_atoms, relative, units="atomic"))
    xr.testing.assert_allclose(atomic, quantify(lines, table_of(K, relative)))
    amounts = np.array(list(by_atoms.values())) * [300, 200, 100]
    np.testing.assert_allclose(atomic.atomic_fraction, amounts / amounts.sum())


def test_quantify__limits_are_fractions_of_those_counts():
    limit = xr.DataArray([50.0, 40.0, 30.0], {"line": NAMES}, ("line",))
    lines = lines_of([3000.0, 2500.0, -2.0], COVARIANCE)
    lines = lines.assign(critical_level=limit / 2, detection_limit=limit)
    found = quantify(lines, K, oxygen="stoichiometry")
    assert "atomic_fraction_quantification_limit" not in found
    for i, element in enumerate(["Mg", "Si", "Fe"]):
        net = lines.net.values.copy()
        net[i] = limit[i]
        just = quantify(lines_of(net, COVARIANCE), K, oxygen="stoichiometry")
        for kind in ("atomic_fraction", "weight_fraction"):
            value = found[f"{kind}_detection_limit"].sel(element=element)
            assert float(value) == pytest.approx(float(just[kind].sel(element=element)))
    assert np.isnan(found.atomic_fraction_detection_limit.sel(element="O"))
    assert found.atomic_fraction_critical_level.sel(element="Fe") < (
        found.atomic_fraction_detection_limit.sel(element="Fe")
    )


# -- oxygen --------------------------------------------------------------------------------------


def test_quantify__oxygen_balances_charges():
    names = ["Mg_Ka", "Si_Ka", "O_Ka"]
    masses = np.array([atomic_mass(e) for e in ("Mg", "Si", "O")])
    lines = lines_of(masses * [2.0, 1.0, 9.9], names=names)  # k = 1: counts are masses
    found = quantify(lines, dict.fromkeys(names, 1.0), oxygen="stoichiometry")
    assert found.element.values.tolist() == ["Mg", "Si", "O"]
    assert found.line.values.tolist() == ["Mg_Ka", "Si_Ka", "stoichiometry"]
    np.testing.assert_allclose(found.atomic_fraction, np.array([2, 1, 4]) / 7)
    weight = masses * [2, 1, 4]
    np.testing.assert_allclose(found.weight_fraction, weight / weight.sum())
    assert np.isnan(found.k_factor.sel(element="O"))
    assert provenance.history(found)[-1]["valences"] == {"Mg": 2.0, "Si": 4.0}
    measured = quantify(lines, dict.fromkeys(names, 1.0)).atomic_fraction
    assert float(measured.sel(element="O")) == pytest.approx(9.9 / 12.9)


def test_quantify__charges_are_the_callers_choice():
    lines = lines_of([1.0], names=["Fe_Ka"])
    for charge, oxygen in ((None, 1.0), (3, 1.5), (2.4, 1.2), (0, 0.0)):
        valences = None if charge is None else {"Fe": charge}
        found = quantify(lines, oxygen="stoichiometry", valences=valences).atomic_fraction
        assert float(found[1] / found[0]) == pytest.approx(oxygen)
    with pytest.raises(EdsError, match=r"no usual charge is known for Pt; give it: valences={'Pt"):
        quantify(lines_of([1.0], names=["Pt_La"]), oxygen="stoichiometry")
    for valences, message in [
        ({"O": -2}, "oxygen balances the others"),
        ({"Fe": 12}, "the charge of Fe must lie between -4 and 8, found 12"),
        ({"Xx": 2}, "no chemical element 'Xx'"),
    ]:
        with pytest.raises(EdsError, match=message):
            quantify(lines, oxygen="stoichiometry", valences=valences)


def test_quantify__oxygens_covariance_meets_monte_carlo():
    rng = np.random.default_rng(3)
    net = np.array([3000.0, 2500.0, 400.0])
    expected = quantify(lines_of(net, COVARIANCE), K, oxygen="stoichiometry")
    draws = rng.multivariate_normal(net, COVARIANCE, 20_000)
    many = quantify(
        lines_of(draws, np.broadcast_to(COVARIANCE, (20_000, 3, 3))), K, oxygen="stoichiometry"
    )
    table = expected.atomic_fraction_covariance.values
    scale = np.sqrt(np.diagonal(table))
    difference = np.cov(many.atomic_fraction.values.T) - table
    assert np.abs(difference / np.outer(scale, scale)).max() < 0.05


@pytest.mark.parametrize("phase", simulate.PYROLITE_71GPA[1:2], ids=lambda p: p.name)
def test_quantify__finds_the_oxygen_of_an_oxide(phase):
    energy = -0.2 + 0.01 * np.arange(2048)
    spectrum = 1e7 * simulate.phase_spectra([phase], energy).loadings.isel(phase=0)
    spectra = xr.Dataset({"counts": spectrum, "variance": spectrum})
    lines = fit_lines(spectra.assign_attrs(beam_energy_kev=200.0), ["Mg", "Fe"], stray=["Cu", "Ga"])
    found = quantify(lines, oxygen="stoichiometry").atomic_fraction
    for element, atoms in phase.atoms.items():
        assert float(found.sel(element=element)) == pytest.approx(atoms / 2, rel=0.02)


# -- maps ----------------------------------------------------------------------------------------


def fitted_map(chunks=None):
    rng = np.random.default_rng(5)
    net = rng.poisson(np.array([30.0, 25, 4])[:, None, None], (3, 8, 7)).astype(float)
    net[:, 2, 3] = 0
    dims, names = ("line", "y", "x"), {"line": NAMES}
    data = {"net": (dims, net), "variance": (dims, net + 1)}
    lines = xr.Dataset(data, names, {"beam_energy_kev": 200.0})
    return lines if chunks is None else lines.chunk(chunks)


@pytest.mark.parametrize("chunks", [{"y": 3, "x": 7}, {"line": 1, "y": 8, "x": 2}])
@pytest.mark.parametrize("how", [{}, {"oxygen": "stoichiometry"}])
def test_quantify__lazy_on_maps(chunks, how):
    eager, lazy = (quantify(fitted_map(c), K, **how) for c in (None, chunks))
    assert lazy.atomic_fraction.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), eager, rtol=1e-12)
    assert lazy.attrs["covariance_assumed_diagonal"] == 1


def test_quantify__computes_nothing_until_asked():
    def refuse(block):
        raise AssertionError("computed")

    lines = fitted_map({"y": 4})
    lines = lines.assign(net=lines.net.copy(data=lines.net.data.map_blocks(refuse, dtype=float)))
    found = quantify(lines, K, thickness_nm=100, density_g_cm3=4, take_off_angle_deg=20)
    ratio(found, "Fe", other="Si")
    with pytest.raises(AssertionError, match="computed"):
        found.atomic_fraction.compute()


def test_quantify__a_pixel_without_counts_is_unknown():
    found = quantify(fitted_map(), K)
    unknown = found.atomic_fraction.isnull().any("element")
    assert unknown.sum() == 1
    assert unknown[2, 3]
    pixel = fitted_map().isel(y=1, x=1)
    alone = quantify(lines_of(pixel.net, np.diag(pixel.variance)), K)
    here = found.isel(y=1, x=1)
    told_apart = [n for n in alone if str(n).endswith("_effect_covariance")]
    assert len(told_apart) == 2  # in maps they would be large
    alone = alone.drop_vars([*told_apart, "effect"])
    xr.testing.assert_allclose(here.drop_attrs(), alone.drop_attrs())


def test_atomic_mass__errors():
    with pytest.raises(EdsError, match="no chemical element 'Xx'"):
        atomic_mass("Xx")


def _three_phases():
    names = ["Mg_Ka", "Fe_Ka"]
    net = xr.DataArray([[900.0, 100], [500, 200], [10, 20]], {"phase": list("abc"), "line": names})
    return xr.Dataset(
        {"net": net, "variance": net}, attrs={"elevation_angle_deg": 22.0, "beam_energy_kev": 200.0}
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"exclude": ["Fe_Ka"]}, "no chemical element"),
        ({"exclude": None}, "exclude must be a list of symbols"),
        ({"mass_thickness_kg_m2": [1e-4, 2e-4, 3e-4]}, "must be a number, or a DataArray"),
        (
            {"mass_thickness_kg_m2": xr.DataArray([1e-4, 2e-4], {"phase": ["a", "b"]})},
            "lie along dimensions of the lines",
        ),
        (
            {"mass_thickness_kg_m2": xr.DataArray([1e-4] * 3, {"phase": list("xyz")})},
            "other names or positions along 'phase'",
        ),
        ({"mass_thickness_kg_m2": 1e-4, "take_off_angle_deg": "a"}, "must be a number"),
        ({"oxygen": "stoichiometry", "valences": ["Fe", 3]}, "charges by element"),
        ({"oxygen": "stoichiometry", "valences": {"Fe": "3+"}}, "charge of Fe must be a number"),
        ({"k_factors": {"Mg_Ka": None, "Fe_Ka": 1}}, "k-factor of Mg_Ka must be a number"),
    ],
)
def test_quantify__what_is_given_is_checked(how, message):
    with pytest.raises(EdsError, match=message):
        quantify(_three_phases(), **how)


def test_quantify__net_counts_that_are_not_finite():
    lines = _three_phases()
    with pytest.raises(EdsError, match="not finite"):
        quantify(lines.assign(net=lines.net.where(lines.line == "Mg_Ka")))


def test_quantify_zeta__a_dose_of_other_phases_is_no_dose():
    dose = xr.DataArray([1e14, 1e14], {"phase": ["a", "b"]})
    with pytest.raises(EdsError, match="the dose must be a number, or lie along"):
        quantify_zeta(_three_phases(), {"Mg_Ka": 500.0, "Fe_Ka": 500.0}, dose_electrons=dose)


def test_ratio__needs_a_composition_and_is_described():
    with pytest.raises(EdsError, match="expected a composition with covariance"):
        ratio(_three_phases(), "Fe", other="Mg")
    found = ratio(quantify(_three_phases()), "Fe", other="Mg")
    assert all({"long_name", "units"} <= set(v.attrs) for v in found.data_vars.values())
