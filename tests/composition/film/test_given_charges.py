"""Thickness from the charge balance, through `quantify`: exact, with its errors, and its refusals.

Counts are made here from atoms and a film's thickness, absorption integrated over depth.
"""

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.makers.lines import lines_of

from eds_xr import k_factors as kf
from eds_xr import provenance
from eds_xr.composition.quantify import quantify
from eds_xr.schema import EdsError
from eds_xr.xray.absorption import attenuation_m2_kg
from eds_xr.xray.elements import atomic_mass

NAMES = ["Mg_Ka", "Si_Ka", "Fe_Ka", "O_Ka"]
K = dict(zip(NAMES, [1.0, 1.05, 1.4, 1.2], strict=True))
ATOMS = {"Mg": 0.9, "Si": 1.0, "Fe": 0.1, "O": 3.0}
ANGLE = {"take_off_angle_deg": 20.0}
BALANCE = {"thickness": "charge_balance", **ANGLE}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)


def emitted(atoms, thickness, names=NAMES, k=K, counts=1e6, angle_deg=20.0, attenuation=1.0):
    """Return the net counts of a film; photons come from all depths alike."""
    mass = np.array([atoms[n.split("_")[0]] * atomic_mass(n.split("_")[0]) for n in names])
    weight = mass / mass.sum()
    elements = [n.split("_")[0] for n in names]
    depth = attenuation * (attenuation_m2_kg(names, elements) @ weight)
    depth = depth * thickness / np.sin(np.radians(angle_deg))
    leaves = np.exp(-np.outer(depth, (NODES + 1) / 2)) @ (WEIGHTS / 2)
    made = weight / np.array([k[n] for n in names]) * leaves
    return counts * made / made.sum()


def table_of(relative, k=K):
    spread = dict(zip(k, np.asarray(relative) * list(k.values()), strict=True))
    return kf.k_factors(k, spread)


# -- exact ---------------------------------------------------------------------------------------

CATIONS = {"Na": 1, "Mg": 2, "Al": 3, "Si": 4, "Ca": 2, "Ti": 4, "Fe": 2, "Zr": 4, "Nd": 3}
LINE = {"Zr": "La", "Nd": "La"}


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.dictionaries(st.sampled_from(sorted(CATIONS)), st.floats(0.1, 1), min_size=1, max_size=6),
    st.floats(1e-6, 3e-3),
    st.floats(10, 60),
    st.floats(0, 0.3),
)
def test_charge_balance__finds_the_film_of_an_oxide(cations, thickness, angle, fluorine):
    charge = sum(CATIONS[e] * n for e, n in cations.items())
    atoms = {**cations, "O": charge * (1 - fluorine) / 2}
    atoms |= {"F": charge * fluorine} if fluorine > 0.05 else {}
    atoms["O"] = (charge - atoms.get("F", 0)) / 2
    names = [f"{e}_{LINE.get(e, 'Ka')}" for e in atoms]
    k = dict(zip(names, np.linspace(0.8, 1.9, len(names)), strict=True))
    net = emitted(atoms, thickness, names, k, angle_deg=angle)
    found = quantify(
        lines_of(net, names=names), k, thickness="charge_balance", take_off_angle_deg=angle
    )
    assert float(found.mass_thickness) == pytest.approx(thickness, rel=1e-6)
    total = sum(atoms.values())
    np.testing.assert_allclose(
        found.atomic_fraction, [n / total for n in atoms.values()], rtol=1e-7
    )


@pytest.mark.parametrize(
    ("atoms", "valences", "lines"),
    [
        ({"Zn": 1.0, "S": 1.0}, {"S": -2}, ["Zn_Ka", "S_Ka"]),
        ({"Fe": 1.0, "Cu": 1.0, "S": 2.0}, {"S": -2, "Cu": 1, "Fe": 3}, ["Fe_Ka", "Cu_Ka", "S_Ka"]),
        ({"Ca": 1.0, "F": 2.0}, None, ["Ca_Ka", "F_Ka"]),
        ({"Na": 1.0, "Cl": 1.0}, None, ["Na_Ka", "Cl_Ka"]),  # the cation is absorbed more
        ({"Ca": 1.0, "S": 1.0, "O": 4.0}, None, ["Ca_Ka", "S_Ka", "O_Ka"]),  # a sulphate
        ({"Si": 1.0, "C": 1.0}, {"C": -4}, ["Si_Ka", "C_Ka"]),
    ],
)
def test_charge_balance__of_other_anions(atoms, valences, lines):
    k = dict.fromkeys(lines, 1.2)
    net = emitted(atoms, 8e-4, lines, k)
    found = quantify(lines_of(net, names=lines), k, valences=valences, **BALANCE)
    assert float(found.mass_thickness) == pytest.approx(8e-4, rel=1e-6)
    stated = provenance.history(found)[-1]
    assert stated["thickness"] == "charge_balance"
    assert stated["oxygen"] == "measured"
    for element, charge in (valences or {}).items():
        assert stated["valences"][element] == charge


def test_charge_balance__is_the_given_thickness_found():
    """Quantified with the thickness that was found, the composition is the same."""
    net = emitted(ATOMS, 5e-4)
    found = quantify(lines_of(net, names=NAMES), K, **BALANCE)
    given = quantify(
        lines_of(net, names=NAMES), K, mass_thickness_kg_m2=float(found.mass_thickness), **ANGLE
    )
    for name in ("atomic_fraction", "weight_fraction", "absorption_correction"):
        xr.testing.assert_allclose(found[name], given[name])
    assert found.mass_thickness.attrs["units"] == "kg m-2"


def test_charge_balance__thickness_in_nm():
    lines = lines_of(emitted(ATOMS, 5e-4), names=NAMES)
    found = quantify(lines, table_of([0.02, 0.02, 0.02, 0.05]), density_g_cm3=4.0, **BALANCE)
    assert float(found.thickness_nm) == pytest.approx(125, rel=1e-6)
    assert found.thickness_nm.attrs == {"long_name": "thickness", "units": "nm"}
    for end, power in (("variance", 2), ("systematic_variance", 2), ("lower", 1), ("upper", 1)):
        expected = found[f"mass_thickness_{end}"] * (1e6 / 4) ** power
        np.testing.assert_allclose(found[f"thickness_nm_{end}"], expected)
    assert "density as given, without error" in found.attrs["assumptions"]
    with pytest.raises(EdsError, match="density_g_cm3 must be positive, found 0"):
        quantify(lines, K, density_g_cm3=0.0, **BALANCE)


# -- errors --------------------------------------------------------------------------------------

RELATIVE = [0.03, 0.05, 0.02, 0.1]
SPREAD = {"Fe": 0.3, "Si": 0.1}


def balanced(net, **how):
    how = {"k_factors": table_of(RELATIVE), "valence_uncertainty": SPREAD, **how}
    return quantify(lines_of(net, names=NAMES), **how, **BALANCE)


@pytest.mark.slow
@pytest.mark.parametrize("thickness", [2e-5, 3e-4, 2e-3])
def test_errors__are_finite_differences(thickness, monkeypatch):
    """One standard deviation of each error, a thousandth of it both ways, solved anew."""
    net, h = emitted(ATOMS, thickness), 1e-3
    found = balanced(net)
    by_error = {
        "mass_thickness": found.mass_thickness_by_error,
        "atomic_fraction": found.atomic_fraction_by_error,
    }

    def check(index, plus, minus):
        for name, expected in by_error.items():
            slope = (plus[name] - minus[name]) / (2 * h)
            scale = float(abs(expected).max())
            np.testing.assert_allclose(
                expected.isel(error=index), slope, rtol=2e-4, atol=1e-6 * scale
            )

    effects = found.error_effect.values.tolist()
    assert effects == ["k_factor"] * 4 + ["absorption"] * 4 + ["valences"] * 2
    for i, name in enumerate(NAMES):
        ends = [
            balanced(net, k_factors={**K, name: K[name] * (1 + sign * h * RELATIVE[i])})
            for sign in (1, -1)
        ]
        check(i, *ends)
        ends = []
        for sign in (1, -1):
            with monkeypatch.context() as patch:
                factor = np.ones((4, 1))
                factor[i] += sign * h * 0.1
                patch.setattr(
                    "eds_xr.composition.results.attenuation_m2_kg",
                    lambda *given, factor=factor: factor * attenuation_m2_kg(*given),
                )
                ends.append(balanced(net))
        check(4 + i, *ends)
    for i, (element, charge) in enumerate([("Si", 4.0), ("Fe", 2.0)]):
        ends = [
            balanced(net, valences={element: charge + sign * h * SPREAD[element]})
            for sign in (1, -1)
        ]
        check(8 + i, *ends)


def test_errors__meet_monte_carlo():
    rng = np.random.default_rng(1)
    net = emitted(ATOMS, 5e-4)
    covariance = np.diag(net) * 4 + 300
    expected = quantify(lines_of(net, covariance, NAMES), K, **BALANCE)
    draws = rng.multivariate_normal(net, covariance, 20_000)
    spread = np.broadcast_to(covariance, (20_000, 4, 4))
    many = quantify(lines_of(draws, spread, NAMES).rename(phase="x"), K, **BALANCE)
    assert float(many.mass_thickness.std()) == pytest.approx(
        float(expected.mass_thickness_variance) ** 0.5, rel=0.03
    )
    table = expected.atomic_fraction_covariance.values
    scale = np.sqrt(np.diagonal(table))
    difference = (np.cov(many.atomic_fraction.values.T) - table) / np.outer(scale, scale)
    assert np.abs(difference).max() < 0.05


def test_errors__all_systematics_meet_monte_carlo():
    """Factors are drawn; wrong ones are as good as wrong counts."""
    rng = np.random.default_rng(2)
    net, relative = emitted(ATOMS, 1e-3), np.array([0.01, 0.02, 0.02, 0.03])
    how = {"absorption_uncertainty": 0.0, "valence_uncertainty": {"Fe": 0.0}}
    expected = quantify(lines_of(net, names=NAMES), table_of(relative), **how, **BALANCE)
    drawn = net * np.exp(relative * rng.normal(size=(20_000, 4)))
    many = quantify(lines_of(drawn, names=NAMES).rename(phase="x"), K, **how, **BALANCE)
    assert float(many.mass_thickness.std()) == pytest.approx(
        float(expected.mass_thickness_systematic_variance) ** 0.5, rel=0.05
    )
    table = expected.atomic_fraction_systematic_covariance.values
    scale = np.sqrt(np.diagonal(table))
    difference = (np.cov(many.atomic_fraction.values.T) - table) / np.outer(scale, scale)
    assert np.abs(difference).max() < 0.05


def test_errors__what_all_depths_share_moves_only_the_thickness():
    net = emitted(ATOMS, 5e-4)
    found = quantify(lines_of(net, names=NAMES), K, **BALANCE)
    together = found.isel(error=found.error_effect == "absorption").sum("error")
    scale = float(abs(found.atomic_fraction_by_error).max())
    np.testing.assert_allclose(together.atomic_fraction_by_error, 0, atol=1e-9 * scale)
    assert float(together.mass_thickness_by_error) == pytest.approx(-0.1 * 5e-4, rel=1e-6)


@settings(max_examples=20)
@given(st.lists(st.floats(1e3, 1e5), min_size=4, max_size=4), st.floats(0, 0.2))
def test_errors__sum_to_the_variances(net, absorption):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = quantify(
            lines_of(net, names=NAMES),
            table_of(RELATIVE),
            absorption_uncertainty=absorption,
            **BALANCE,
        )
    known = found.mass_thickness.notnull()
    total = found.mass_thickness_variance + found.mass_thickness_systematic_variance
    total = total.where(known, 0.0)
    np.testing.assert_allclose(found.mass_thickness_effect_variance.sum("effect"), total)
    by_error = found.mass_thickness_by_error
    systematic = found.mass_thickness_systematic_variance.fillna(0.0)
    np.testing.assert_allclose((by_error**2).sum("error"), systematic)
    np.testing.assert_allclose(found.atomic_fraction_by_error.sum("element"), 0, atol=1e-9)


# -- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("thickness", [0.0, 1e-4, 5e-4])
def test_interval__charges_balance_within_the_error_of_their_sum(thickness):
    """At each end, with the thickness given, the sum of charges is so many deviations from zero."""
    net = emitted(ATOMS, thickness, counts=3e4)
    how = {"absorption_uncertainty": 0.0, "valence_uncertainty": {"Fe": 0.0}}
    lines = lines_of(net, names=NAMES)
    found = quantify(lines, K, **how, **BALANCE)
    charges = np.array([2.0, 4.0, 2.0, -2.0])
    for coverage, sigma in ((0.68, 0.9945), (0.95, 1.96)):
        for end in ("lower", "upper"):
            limit = float(found[f"mass_thickness_{end}"].sel(coverage=coverage))
            given = quantify(
                lines, K, mass_thickness_kg_m2=limit, absorption_uncertainty=0.0, **ANGLE
            )
            pull = float(given.atomic_fraction @ xr.DataArray(charges, dims="element"))
            pull /= (charges @ given.atomic_fraction_covariance.values @ charges) ** 0.5
            if limit > 0:
                assert abs(pull) == pytest.approx(sigma, rel=5e-3)
            else:
                assert end == "lower"
                assert abs(pull) <= sigma
    assert (found.mass_thickness_lower <= found.mass_thickness).all() or thickness == 0
    assert (found.mass_thickness_upper >= found.mass_thickness).all()


def test_interval__begins_at_zero_where_the_estimate_is_below_it():
    net = emitted(ATOMS, 0.0, counts=1e5)
    net[3] *= 1.01
    found = quantify(lines_of(net, names=NAMES), K, valence_uncertainty={"Fe": 0.0}, **BALANCE)
    assert -1e-4 < float(found.mass_thickness) < 0
    assert float(found.mass_thickness_variance) > 0
    of_95 = found.sel(coverage=0.95)
    assert float(of_95.mass_thickness_lower) == 0
    assert float(of_95.mass_thickness_upper) > 0
    assert (found.absorption_correction == 1).all()
    assert "doubt" not in found
    thin = quantify(lines_of(net, names=NAMES), K)
    xr.testing.assert_allclose(found.atomic_fraction, thin.atomic_fraction)


def test_interval__below_zero_is_the_slope_at_zero():
    """As anions grow past what the cations ask for, the estimate goes on below zero."""
    estimates = []
    for factor in (0.998, 0.999, 1.0, 1.001, 1.002):
        net = emitted(ATOMS, 0.0, counts=1e5)
        net[3] *= factor
        found = quantify(lines_of(net, names=NAMES), K, **BALANCE)
        estimates.append(float(found.mass_thickness))
    np.testing.assert_allclose(np.diff(estimates), np.diff(estimates).mean(), rtol=0.02)
    assert estimates[-1] < 0 < estimates[0]


def test_interval__of_exact_counts_is_the_estimate():
    net = emitted(ATOMS, 5e-4)
    how = {"absorption_uncertainty": 0.0, "valence_uncertainty": {"Fe": 0.0}}
    found = quantify(lines_of(net, np.zeros((4, 4)), NAMES), K, **how, **BALANCE)
    for end in ("lower", "upper"):
        np.testing.assert_allclose(found[f"mass_thickness_{end}"], 5e-4, rtol=1e-6)


# -- where nothing fits --------------------------------------------------------------------------


def phases(**nets):
    net = np.array(list(nets.values()))
    return lines_of(net, names=NAMES).assign_coords(phase=list(nets))


def test_no_thickness__is_said_of_the_phase_and_of_its_numbers():
    good, rich, poor = (emitted(ATOMS, 4e-4) for _ in range(3))
    rich[3] *= 1.6
    poor[3] *= 0.05
    lines = phases(good=good, rich=rich, poor=poor)
    with pytest.warns(UserWarning, match="no thickness balances the charges") as caught:
        found = quantify(lines, K, valence_uncertainty={"Fe": 0.0}, **BALANCE)
    texts = [str(w.message) for w in caught]
    assert len(texts) == 2
    assert texts[0].startswith("rich: no thickness balances the charges: too many anions, even if")
    assert texts[1].startswith("poor: no thickness balances the charges: too few anions, however")
    assert found.attrs["warnings"] == texts
    many = found.doubt.sel(phase="rich").values
    assert (many == many[0]).all()
    assert "too many anions" in many[0]
    assert (found.doubt.sel(phase="good") == "").all()
    assert found.mass_thickness.isnull().values.tolist() == [False, True, True]
    for end in ("variance", "systematic_variance", "lower", "upper"):
        assert found[f"mass_thickness_{end}"].sel(phase=["rich", "poor"]).isnull().all()
    thin = quantify(lines, K)
    others = {"phase": ["rich", "poor"]}
    xr.testing.assert_allclose(found.atomic_fraction.sel(others), thin.atomic_fraction.sel(others))
    assert float(found.charge_ratio.sel(phase="rich")) == pytest.approx(
        1.6 * float(found.charge_ratio.sel(phase="good"))
    )


def test_no_thickness__doubts_of_lines_stay():
    net = emitted(ATOMS, 4e-4)
    net[3] *= 0.05
    lines = lines_of(net, names=NAMES)
    lines = lines.assign(doubt=("line", ["", "misfit", "", ""]))
    with pytest.warns(UserWarning, match="^no thickness balances"):
        found = quantify(lines, K, **BALANCE)
    assert found.doubt.sel(element="Si").item().startswith("misfit; no thickness")
    assert found.doubt.sel(element="Mg").item().startswith("no thickness")


def test_no_thickness__of_a_pixel_is_nan():
    found = quantify(maps(), K, **BALANCE)
    lost = found.mass_thickness.isnull()
    assert lost.values[1, 2]
    assert lost.values[0, 0]
    assert int(lost.sum()) == 2
    for name in ("atomic_fraction", "weight_fraction_covariance", "mass_thickness_variance"):
        assert (found[name].isnull() == lost).all()
    assert found.k_factor.notnull().all()


# -- maps ----------------------------------------------------------------------------------------


def maps(chunks=None, counts=1e6, shape=(5, 7)):
    """A wedge along x; a pixel without counts, and one without oxygen."""
    net = np.empty((4, *shape))
    for j, thickness in enumerate(np.linspace(1e-4, 8e-4, shape[1])):
        net[:, :, j] = emitted(ATOMS, thickness, counts=counts)[:, None]
    net[:, 1, 2] = 0
    net[3, 0, 0] = 1
    dims = ("line", "y", "x")
    coords = {"line": NAMES, "y": 2.0 * np.arange(shape[0]), "x": 3.0 * np.arange(shape[1])}
    data = {"net": (dims, net), "variance": (dims, net + 1)}
    made = xr.Dataset(data, coords, {"beam_energy_kev": 200.0})
    return made if chunks is None else made.chunk(chunks)


@pytest.mark.parametrize("chunks", [{"y": 2, "x": 7}, {"line": 1, "y": 5, "x": 3}])
def test_maps__lazy_is_eager_whatever_the_chunks(chunks):
    eager, lazy = (quantify(maps(c), table_of(RELATIVE), **BALANCE) for c in (None, chunks))
    assert lazy.mass_thickness.chunks is not None
    assert set(lazy) == set(eager)
    xr.testing.assert_allclose(lazy.compute(), eager, rtol=1e-9)
    inside = eager.mass_thickness.isel(y=slice(2, None))
    expected = np.linspace(1e-4, 8e-4, 7) + 0 * inside
    np.testing.assert_allclose(inside, expected, rtol=1e-6)


def test_maps__compute_nothing_until_asked():
    import dask.array as da

    def never(block):
        raise AssertionError("computed")

    lines = maps({"y": 5, "x": 7})
    lines["net"] = lines.net.copy(
        data=da.map_blocks(never, lines.net.data, dtype=float, meta=np.empty((0, 0, 0)))
    )
    found = quantify(lines, K, **BALANCE)
    with pytest.raises(AssertionError, match="computed"):
        found.mass_thickness.compute()


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thickness": 100.0}, "thickness is 'charge_balance' or left out, found 100.0; a number"),
        ({"thickness": "balance"}, "thickness is 'charge_balance' or left out, found 'balance'"),
        ({"thickness_nm": 80.0, "density_g_cm3": 4.0}, "the film's thickness is given twice"),
        ({"mass_thickness_kg_m2": 4e-4}, "the film's thickness is given twice"),
        ({"oxygen": "stoichiometry"}, "compares the oxygen that was measured with what the"),
        ({"take_off_angle_deg": None}, "have no elevation_angle_deg; give take_off_angle_deg"),
        ({"exclude": ["O"]}, r"needs an anion, and none was measured: fit O .* found Mg \+2, Si"),
        ({"valences": {"Mg": 0, "Si": 0, "Fe": 0}}, "needs a cation, and none was measured"),
        ({"valences": {"Mg": 0, "Si": 0, "Fe": 0}, "exclude": ["O"]}, "needs an anion, and none"),
        ({"valences": {"O": -2}}, "oxygen balances the others"),
        ({"valence_uncertainty": {"Fe": -1}}, "the uncertainty of Fe's charge must lie between"),
        ({"absorption_uncertainty": -0.1}, "absorption_uncertainty is relative"),
    ],
)
def test_errors__in_words(options, message):
    lines = lines_of(emitted(ATOMS, 4e-4), names=NAMES)
    with pytest.raises(EdsError, match=message):
        quantify(lines, K, **{**BALANCE, **options})


def test_errors__no_usual_charge():
    lines = lines_of([100.0, 100.0], names=["Pt_La", "O_Ka"])
    with pytest.raises(EdsError, match=r"no usual charge is known for Pt; give it: valences=\{'P"):
        quantify(lines, dict.fromkeys(["Pt_La", "O_Ka"], 1.0), **BALANCE)


def test_errors__counts_that_sum_to_nothing():
    with pytest.raises(EdsError, match="the net counts sum to nothing"):
        quantify(lines_of([0.0, 0.0, 0.0, 0.0], names=NAMES), K, **BALANCE)


def test_valence_uncertainty__needs_charges():
    with pytest.raises(EdsError, match="valences are for oxygen='stoichiometry' or thickness="):
        quantify(lines_of(emitted(ATOMS, 4e-4), names=NAMES), K, valence_uncertainty={"Fe": 0.1})


# -- oxygen by stoichiometry ---------------------------------------------------------------------


@pytest.mark.parametrize("film", [{}, {"mass_thickness_kg_m2": 6e-4, **ANGLE}])
def test_stoichiometry__errors_of_valences_are_finite_differences(film):
    net, h = emitted(ATOMS, 6e-4)[:3], 1e-3
    lines = lines_of(net, names=NAMES[:3])
    k = {n: K[n] for n in NAMES[:3]}
    how = {"oxygen": "stoichiometry", "valence_uncertainty": SPREAD, **film}
    found = quantify(lines, k, **how)
    own = found.isel(error=found.error_effect == "valences")
    assert own.error.values.tolist() == ["valence of Si", "valence of Fe"]
    for i, (element, charge) in enumerate([("Si", 4.0), ("Fe", 2.0)]):
        plus, minus = (
            quantify(lines, k, valences={element: charge + sign * h * SPREAD[element]}, **how)
            for sign in (1, -1)
        )
        for name in ("atomic_fraction", "weight_fraction"):
            slope = (plus[name] - minus[name]) / (2 * h)
            np.testing.assert_allclose(
                own[f"{name}_by_error"].isel(error=i), slope, rtol=1e-4, atol=1e-9
            )


def test_stoichiometry__usual_charges_have_their_range():
    lines = lines_of(emitted(ATOMS, 0.0)[:3], names=NAMES[:3])
    found = quantify(lines, K, oxygen="stoichiometry")
    iron = found.atomic_fraction_by_error.isel(error=found.error_effect == "valences")
    assert iron.error.values.tolist() == ["valence of Fe"]
    # 0.58 / 2 oxygens more of each of the 0.1 iron, in 5 atoms, of which oxygen has 0.6
    expected = 0.1 * 3**-0.5 / 2 / 5 * (1 - 0.6)
    assert float(iron.sel(element="O").item()) == pytest.approx(expected, rel=1e-6)
    known = quantify(lines, K, oxygen="stoichiometry", valences={"Fe": 2})
    assert "valences" not in known.error_effect
