"""Oxides and mineral formulae: against hand calculation and Monte Carlo."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr import provenance
from eds_xr.composition.minerals import formula, formula_text, oxides
from eds_xr.composition.quantify import quantify
from eds_xr.schema import EdsError

NAMES = ["Mg_Ka", "Al_Ka", "Si_Ka", "Fe_Ka"]
NET = np.array([30000.0, 3000.0, 31000.0, 4000.0])
COVARIANCE = np.diag([31000.0, 4000, 33000, 4500]) - 600 * (1 - np.eye(4))


def lines_of(net=NET, covariance=COVARIANCE, names=NAMES):
    net = np.asarray(net, float)
    lead = ("phase",) * (net.ndim - 1)
    data = {
        "net": ((*lead, "line"), net),
        "covariance": ((*lead, "line", "line_other"), np.asarray(covariance)),
    }
    coords = {"line": names, "line_other": names}
    if lead:
        coords["phase"] = [f"p{i}" for i in range(len(net))]
    return xr.Dataset(data, coords, {"beam_energy_kev": 200.0})


def composition_of(atoms, covariance=None):
    names = list(atoms)
    values = np.array(list(atoms.values()), float)
    table = np.zeros((len(names), len(names))) if covariance is None else covariance
    data = {
        "atomic_fraction": ("element", values / values.sum()),
        "atomic_fraction_variance": ("element", np.diag(table)),
        "atomic_fraction_covariance": (("element", "element_other"), table),
    }
    return xr.Dataset(data, {"element": names, "element_other": names})


def test_oxides__of_olivine_are_the_textbooks():
    """Fo90: 49.4 % MgO, 9.8 % FeO, 40.8 % SiO2 (molar masses 40.304, 71.844, 60.084)."""
    found = oxides(composition_of({"Mg": 1.8, "Fe": 0.2, "Si": 1.0})).weight_fraction
    parts = {"MgO": 1.8 * 40.304, "FeO": 0.2 * 71.844, "SiO2": 60.084}
    for name, mass in parts.items():
        assert float(found.sel(oxide=name)) == pytest.approx(mass / sum(parts.values()), rel=1e-4)


def test_oxides__ferric_iron_by_its_charge():
    atoms = {"Mg": 0.9, "Fe": 0.1, "Si": 1.0}
    ferric = oxides(composition_of(atoms), valences={"Fe": 3})
    assert list(ferric.oxide.values) == ["MgO", "Fe2O3", "SiO2"]
    mixed = oxides(composition_of(atoms), valences={"Fe": 2.4})
    assert list(mixed.oxide.values) == ["MgO", "FeO", "Fe2O3", "SiO2"]
    assert list(mixed.element.values) == ["Mg", "Fe", "Fe", "Si"]
    two, three = (float(mixed.weight_fraction.sel(oxide=o)) for o in ("FeO", "Fe2O3"))
    assert two / three == pytest.approx(0.6 * 71.844 / (0.4 * 159.688 / 2), rel=1e-4)


def test_oxides__fluorine_takes_the_place_of_oxygen():
    found = oxides(composition_of({"Ca": 1.0, "F": 2.0})).weight_fraction
    assert list(found.oxide.values) == ["CaO", "F"]
    calcium, fluorine, oxygen = 40.078, 18.9984, 15.9994
    whole = calcium + 2 * fluorine
    assert float(found.sel(oxide="CaO")) == pytest.approx((calcium + oxygen) / whole, rel=1e-4)
    assert float(found.sum()) == pytest.approx(1 + oxygen / whole, rel=1e-4)  # "O = F"


def test_oxides__a_metal_binds_no_oxygen():
    found = oxides(composition_of({"Fe": 1.0, "Mg": 1.0}), valences={"Fe": 0})
    assert list(found.oxide.values) == ["Fe", "MgO"]


@pytest.mark.parametrize(
    ("make", "name", "dim"),
    [
        (oxides, "weight_fraction", "oxide"),
        (lambda c: formula(c, oxygens=3), "cations", "element"),
        (lambda c: formula(c, cations=2), "cations", "element"),
    ],
    ids=["oxides", "oxygens", "cations"],
)
def test_covariance__meets_monte_carlo(make, name, dim):
    draws = np.random.default_rng(0).multivariate_normal(NET, COVARIANCE, 20_000)
    table = np.broadcast_to(COVARIANCE, (20_000, 4, 4))
    expected = make(quantify(lines_of()))
    many = make(quantify(lines_of(draws, table)))
    known = expected[f"{name}_covariance"].values
    spread = np.sqrt(np.diag(known))
    found = np.cov(many[name].transpose(dim, "phase").values)
    assert np.abs((found - known) / np.outer(spread, spread)).max() < 0.05
    np.testing.assert_allclose(expected[f"{name}_variance"], np.diag(known))
    for one in ("cation_sum", "oxygens"):
        if one in expected:
            sd = float(expected[f"{one}_variance"]) ** 0.5
            assert float(many[one].std()) == pytest.approx(sd, rel=0.03, abs=1e-12)


@pytest.mark.parametrize(
    "make", [oxides, lambda c: formula(c, oxygens=3)], ids=["oxides", "cations"]
)
def test_systematic_variance__is_what_other_factors_would_give(make):
    """k-factors drawn with their relative errors scatter the result by the systematic variance."""
    rng = np.random.default_rng(1)
    known = make(quantify(lines_of()))
    name = next(iter(known.data_vars))
    relative = quantify(lines_of()).systematic.values
    shifted = NET * (1 + 0.05 * relative * rng.normal(size=(3000, 4)))
    many = make(quantify(lines_of(shifted, np.broadcast_to(COVARIANCE, (3000, 4, 4)))))
    sd = many[name].std("phase") / 0.05
    np.testing.assert_allclose(sd, known[f"{name}_systematic_variance"] ** 0.5, rtol=0.05)
    statistical = float(known[f"{name}_variance"][0])
    assert statistical < 0.1 * float(known[f"{name}_systematic_variance"][0])  # never added


@settings(max_examples=25)
@given(st.lists(st.floats(0.01, 10), min_size=4, max_size=4), st.floats(0.5, 24))
def test_formula__keeps_its_basis(atoms, basis):
    made = composition_of(dict(zip(["Mg", "Al", "Si", "Fe"], atoms, strict=True)))
    by_oxygen, by_cation = formula(made, oxygens=basis), formula(made, cations=basis)
    charge = xr.DataArray([2, 3, 4, 2], {"element": by_oxygen.element}, ("element",))
    assert float((by_oxygen.cations * charge).sum()) / 2 == pytest.approx(basis)
    assert float(by_oxygen.oxygens) == basis
    assert float(by_oxygen.oxygens_variance) == 0
    assert float(by_cation.cations.sum()) == pytest.approx(basis)
    # one is the other, on another scale
    scale = float(by_oxygen.cation_sum) / basis
    np.testing.assert_allclose(by_cation.cations * scale, by_oxygen.cations)
    assert float(by_cation.oxygens) * scale == pytest.approx(basis)


def test_formula__of_bridgmanite():
    made = composition_of({"Mg": 0.87, "Fe": 0.1, "Al": 0.1, "Si": 0.93})
    found = formula(made, oxygens=3)
    # 0.87 + 0.1 + 0.15 + 1.86 oxygens: 2.98
    np.testing.assert_allclose(found.cations, np.array([0.87, 0.1, 0.1, 0.93]) * 3 / 2.98)
    ferric = formula(made, oxygens=3, valences={"Fe": 2.4})
    np.testing.assert_allclose(ferric.cations, np.array([0.87, 0.1, 0.1, 0.93]) * 3 / 3.0)


def test_oxygen__measured_is_compared_and_left_aside():
    with_oxygen = composition_of({"Mg": 1.0, "Si": 1.0, "O": 3.3}, np.diag([1e-6, 1e-6, 4e-6]))
    without = composition_of({"Mg": 1.0, "Si": 1.0})
    found = oxides(with_oxygen)
    np.testing.assert_allclose(found.weight_fraction, oxides(without).weight_fraction)
    assert float(found.oxygen_excess) == pytest.approx(0.1)
    assert float(found.oxygen_excess_variance) > 0
    assert "oxygen_excess" not in oxides(without)
    assert list(formula(with_oxygen, oxygens=3).element.values) == ["Mg", "Si"]


def test_oxygen__by_stoichiometry_is_in_no_excess():
    made = quantify(lines_of(), oxygen="stoichiometry")
    found = oxides(made)
    assert float(found.oxygen_excess) == pytest.approx(0, abs=1e-9)
    assert float(found.oxygen_excess_variance) == pytest.approx(0, abs=1e-12)
    plain = oxides(quantify(lines_of()))
    for name in ("weight_fraction", "weight_fraction_covariance"):
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-6, atol=1e-15)


def test_several_phases__are_each_their_own():
    both = lines_of(np.stack([NET, NET[::-1]]), np.stack([COVARIANCE, COVARIANCE]))
    one = lines_of(NET[::-1])
    for make in (oxides, lambda c: formula(c, cations=2)):
        made = make(quantify(both)).sel(phase="p1", drop=True)
        xr.testing.assert_allclose(made, make(quantify(one)))


def test_negative_amounts__stay_negative():
    net = np.array([30000.0, -50.0, 31000.0, 4000.0])
    assert float(formula(quantify(lines_of(net)), oxygens=3).cations[1]) < 0
    assert float(oxides(quantify(lines_of(net))).weight_fraction[1]) < 0


def test_critical_level__is_carried():
    lines = lines_of().assign(critical_level=("line", [300.0, 200, 300, 150]))
    made = formula(quantify(lines), oxygens=3)
    share = float(made.cations_critical_level[3] / made.cations[3])
    assert share == pytest.approx(150 / 4000, rel=0.1)


def test_formula_text__has_sites_and_errors():
    made = composition_of(
        {"Mg": 0.87, "Fe": 0.1, "Al": 0.1, "Si": 0.93, "Nd": 0.001}, np.diag([4e-6] * 5)
    )
    found = formula(made, oxygens=3)
    text = formula_text(found, sites=[("Mg", "Fe", "Al"), ("Si",)])
    assert text.ndim == 0
    assert text.item() == "(Mg0.875(5) Fe0.101(4) Al0.101(4)) Si0.936(4) O3"
    assert "Nd0.0010(40)" not in text.item()
    assert "Nd" in formula_text(found, least=0.0).item()
    assert formula_text(formula(made, cations=2)).item().endswith(")")  # oxygen has an error, too


def test_formula_text__one_for_each_phase():
    both = lines_of(np.stack([NET, NET[::-1]]), np.stack([COVARIANCE, COVARIANCE]))
    text = formula_text(formula(quantify(both), oxygens=1))
    assert text.dims == ("phase",)
    assert all(t.endswith(" O") for t in text.values)


def test_results__tell_where_they_come_from():
    found = formula(quantify(lines_of()), oxygens=3, valences={"Fe": 3})
    step = provenance.history(found)[-1]
    assert (step["step"], step["oxygens"], step["valences"]) == ("formula", 3, {"Fe": 3})
    assert all("long_name" in v.attrs and "units" in v.attrs for v in found.data_vars.values())


def test_errors():
    made = composition_of({"Mg": 0.5, "Xe": 0.5})
    good = composition_of({"Mg": 0.5, "Si": 0.5})
    for call, message in [
        (lambda: oxides(made), "no usual charge is known for Xe"),
        (lambda: oxides(good.drop_vars("atomic_fraction_covariance")), "composition with covar"),
        (lambda: formula(good), "needs one basis above zero, oxygens=3 or cations=2; found oxy"),
        (lambda: formula(good, oxygens=3, cations=2), "needs one basis"),
        (lambda: formula(good, oxygens=0), "needs one basis"),
        (lambda: formula_text(good), "expected a formula"),
        (lambda: formula_text(formula(good, oxygens=3), sites=[("Fe",)]), "Fe of `sites` is not"),
        (lambda: oxides(good, valences={"O": 2}), "no charge of its own"),
    ]:
        with pytest.raises(EdsError, match=message):
            call()


def test_formula__of_a_map_with_a_pixel_without_counts_and_lazily():
    lines = xr.Dataset(
        {
            "net": (("x", "line"), [[5.0, 5.0], [0.0, 0.0]]),
            "variance": (("x", "line"), [[5.0] * 2] * 2),
        },
        {"line": ["Mg_Ka", "Si_Ka"]},
        {"beam_energy_kev": 200.0},
    )
    found = formula(quantify(lines), oxygens=3)
    assert found.cations.notnull().all("element").values.tolist() == [True, False]
    assert formula_text(found.chunk()).values.tolist() == formula_text(found).values.tolist()
    with pytest.raises(EdsError, match="the basis must be a number"):
        formula(quantify(lines), oxygens="three")
