"""Budgets: shares against Monte Carlo, and predictions against the measurement made."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.makers.lines import lines_of

from eds_xr import k_factors as kf
from eds_xr.composition.absolute import quantify_zeta
from eds_xr.composition.k_factors.table import make_table
from eds_xr.composition.minerals import formula, oxides
from eds_xr.composition.partition import partition_coefficients
from eds_xr.composition.quantify import quantify
from eds_xr.composition.ratios import ratio
from eds_xr.composition.uncertainty.budget import budget
from eds_xr.schema import EdsError

NAMES = ["O_Ka", "Mg_Ka", "Si_Ka", "Fe_Ka"]
ELEMENTS = [n.split("_")[0] for n in NAMES]
K = dict(zip(NAMES, (1.4, 1.1, 1.0, 1.3), strict=True))
RELATIVE = np.array([0.02, 0.03, 0.015, 0.04])
NET = np.array([8e4, 4e4, 3e4, 9e3])
FILM = {"mass_thickness_kg_m2": 6e-4, "take_off_angle_deg": 20.0}


def table_of(relative):
    return kf.k_factors(K, {n: k * r for (n, k), r in zip(K.items(), relative, strict=True)})


def effects_of(net, parts):
    """Return lines with these covariances by effect."""
    lines = lines_of(net, sum(parts.values()), NAMES)
    dims = ("effect", *lines.covariance.dims)
    table = (dims, np.stack([np.broadcast_to(p, lines.covariance.shape) for p in parts.values()]))
    return lines.assign_coords(effect=list(parts)).assign(effect_covariance=table)


MATRIX = 0.03**2 * np.outer(NET, NET) * np.array(np.diag([1.0, 1, 0.5, 2]))
BACKGROUND = np.diag([900.0, 400, 300, 200]) ** 2 / 100


def composed(**options):
    parts = {"counting": np.diag(NET), "matrix": MATRIX, "background": BACKGROUND}
    film = FILM | {"absorption_uncertainty": 0.05} | options
    return quantify(effects_of(NET, parts), table_of(RELATIVE), **film)


RESULTS = {
    "atomic fractions": (lambda c: c, "atomic_fraction"),
    "weight fractions": (lambda c: c, "weight_fraction"),
    "a ratio": (lambda c: ratio(c, "Fe", other="Mg"), "ratio"),
    "oxides": (oxides, "weight_fraction"),
    "a formula": (lambda c: formula(c, oxygens=4), "cations"),
    "oxygen that is too much": (oxides, "oxygen_excess"),
    "the sum of cations": (lambda c: formula(c, oxygens=4), "cation_sum"),
}


def drawn(effect, size):
    """Return compositions in which one effect alone makes an error: what is drawn is the input."""
    rng, net, k = np.random.default_rng(5), np.tile(NET, (size, 1)), np.ones((size, 4))
    film = dict(FILM)
    spread = {"counting": np.diag(NET), "matrix": MATRIX, "background": BACKGROUND}
    if effect in spread:
        net = rng.multivariate_normal(NET, spread[effect], size)
    elif effect == "k_factor":
        k = np.exp(rng.normal(size=(size, 4)) * RELATIVE)
    else:
        grown = np.exp(0.05 * rng.normal(size=size))
        film["mass_thickness_kg_m2"] = xr.DataArray(6e-4 * grown, dims="phase")
    return quantify(lines_of(net * k, names=NAMES), K, absorption_uncertainty=0.0, **film)


@pytest.mark.slow
@pytest.mark.parametrize("effect", ["counting", "matrix", "background", "k_factor", "absorption"])
def test_budget__each_effect_meets_its_monte_carlo(effect):
    size, many = 12_000, drawn(effect, 12_000)
    for what, (made, quantity) in RESULTS.items():
        found = budget(made(composed()), quantity).deviation.sel(effect=effect)
        scatter = made(many)[quantity].std("phase", ddof=1)
        # counts and k-factors of oxygen do nothing to what leaves it aside
        there = found > 1e-3 * found.max()
        ratio_of = (scatter / found.where(there)).values
        chance = 4 / np.sqrt(2 * size)
        assert np.nanmax(np.abs(ratio_of - 1)) < 0.05 + chance, what


positive = st.lists(st.floats(100, 1e6), min_size=4, max_size=4)
relative = st.lists(st.floats(0.0, 0.3), min_size=4, max_size=4)


@pytest.mark.slow
@settings(max_examples=30)
@given(positive, relative, st.sampled_from(sorted(RESULTS)))
def test_budget__effects_sum_to_the_total_and_nothing_makes_it_worse(net, spread, what):
    made, quantity = RESULTS[what]
    result = made(quantify(lines_of(net, names=NAMES), table_of(spread), **FILM))
    found = budget(result, quantity)
    total = (found.deviation**2).sum("effect")
    np.testing.assert_allclose(total, found.total**2, rtol=1e-9)
    np.testing.assert_allclose(found.statistical**2 + found.systematic**2, total, rtol=1e-7)
    name = "variance" if quantity == "ratio" else f"{quantity}_variance"
    scale = float(total.max()) * 1e-9
    np.testing.assert_allclose(found.statistical**2, result[name], rtol=1e-6, atol=scale)
    assert (found.total_after <= found.total * (1 + 1e-9)).all()
    np.testing.assert_allclose(found.share.sum("effect"), 1)
    counted = found.total_after.sel(measurement="counting 4 times longer") ** 2
    expected = total - 0.75 * found.deviation.sel(effect="counting") ** 2
    np.testing.assert_allclose(counted, expected, rtol=1e-7)


def after_standard(first, second, counts, uncertainty, seed=0):
    """Return the table of factors that a standard with two lines leaves, by sampling.

    From many sets of factors that could be true: those stay, by weight, that a measured ratio
    leaves likely. Nothing of it is linear algebra of errors.
    """
    rng = np.random.default_rng(seed)
    logs = rng.normal(size=(400_000, 4)) * RELATIVE
    i, j = NAMES.index(first), NAMES.index(second)
    noise = 2 * (1 / counts + uncertainty**2)
    weight = np.exp(-((logs[:, i] - logs[:, j]) ** 2) / (2 * noise))
    kept = logs[rng.random(len(logs)) < weight]
    values, vectors = np.linalg.eigh(np.cov(kept.T))
    modes = (vectors * np.sqrt(values)).T
    told = xr.DataArray(modes, {"error": list("abcd"), "line": NAMES}, ("error", "line"))
    k = np.array(list(K.values()))
    spread = k * np.sqrt((modes**2).sum(0))
    return make_table("k", NAMES, k, spread, units="weight", attrs={}, relative_error=told)


@pytest.mark.parametrize(("counts", "uncertainty"), [(1e5, 0.01), (1e4, 0.003)])
def test_budget__a_standard_lowers_the_total_as_predicted(counts, uncertainty):
    lines = lines_of(NET, names=NAMES)
    before = quantify(lines, table_of(RELATIVE), **FILM)
    found = budget(before, standard_counts=counts, standard_uncertainty=uncertainty)
    pairs = [m for m in found.measurement.values if " and " in m]
    assert pairs
    for name in pairs:
        first, second = name.removeprefix("a standard with ").split(" and ")
        after = quantify(lines, after_standard(first, second, counts, uncertainty), **FILM)
        total = budget(after).total
        np.testing.assert_allclose(found.total_after.sel(measurement=name), total, rtol=0.03)
        assert (total < 0.8 * found.total).any()


def test_budget__says_what_helps():
    found = budget(composed())
    text = found.text.sel(element="Fe").item()
    assert text.startswith("Fe ")
    assert " at%: " in text
    assert "% k-factor of Fe_Ka" in text
    assert text.endswith(f"would make it {text.rsplit(' ', 1)[1]}")
    assert found.best.sel(element="Fe").item() in text
    assert float(found.best_total.sel(element="Fe")) < 0.9 * float(found.total.sel(element="Fe"))
    few = quantify(lines_of(NET / 1000, names=NAMES), table_of(RELATIVE / 10))
    found = budget(few)
    assert (found.best == "counting 4 times longer").all()
    assert found.text.str.contains("% counting; counting 4 times longer would").all()
    none = budget(quantify(lines_of(NET, 0 * np.eye(4), NAMES), K))
    assert none.text.str.contains("without error").all()
    assert (none.best == "").all()


def test_budget__zeta_factors_are_measured_one_by_one():
    zeta = xr.Dataset(
        {"zeta": ("line", np.full(4, 500.0)), "standard_deviation": ("line", 500 * RELATIVE)},
        {"line": NAMES},
    )
    dose = {"dose_electrons": 1e12, "dose_uncertainty": 0.05, "take_off_angle_deg": 20.0}
    made = quantify_zeta(lines_of(NET, names=NAMES), zeta, **dose)
    found = budget(made, "mass_thickness")
    assert found.total_after.measurement.values.tolist() == [
        "counting 4 times longer", "a known dose", *(f"a standard with {n}" for n in NAMES),
    ]  # fmt: skip
    assert found.best.item() == "a known dose"
    known = quantify_zeta(lines_of(NET, names=NAMES), zeta, **dose | {"dose_uncertainty": 0.0})
    predicted = found.total_after.sel(measurement="a known dose")
    assert float(predicted) == pytest.approx(float(budget(known, "mass_thickness").total))
    by_atoms = budget(made, "atomic_fraction")
    exact = zeta.assign(standard_deviation=zeta.standard_deviation * [1, 1, 1, 0])
    after = budget(quantify_zeta(lines_of(NET, names=NAMES), exact, **dose)).total
    perfect = budget(made, standard_counts=1e15, standard_uncertainty=1e-9)
    np.testing.assert_allclose(
        perfect.total_after.sel(measurement="a standard with Fe_Ka"), after, rtol=1e-6
    )
    assert by_atoms.total.sel(element="Fe") > after.sel(element="Fe")


def test_budget__what_phases_share_cancels_in_their_ratio():
    net = np.stack([NET, NET * [1.0, 1.1, 0.9, 2.0]])
    lines = lines_of(net, names=NAMES).assign_coords(phase=["a", "b"])
    made = quantify(lines, table_of(RELATIVE))
    shared = partition_coefficients(made, "a", reference="b", per="Mg")
    found = budget(shared)
    np.testing.assert_allclose(found.systematic, 0, atol=1e-12)
    np.testing.assert_allclose(found.statistical, shared.partition_coefficient_variance**0.5)
    plain = partition_coefficients(made, "a", reference="b")
    parts = plain.partition_coefficient_effect_variance
    np.testing.assert_allclose(
        parts.sum("effect"),
        plain.partition_coefficient_variance + plain.partition_coefficient_systematic_variance,
    )
    assert 0 < float(parts.sel(effect="k_factor", element="Fe")) ** 0.5 < RELATIVE.max()


def test_budget__partition_without_what_spectra_share():
    modes = ("mode", "phase", "line")
    shift = 0.05 * np.stack([NET, NET])[None] * [1.0, -1, 0.5, 2]
    parts = {"counting": np.diag(NET)[None], "calibration": np.einsum("mpl,mpk->plk", shift, shift)}
    one = effects_of(
        np.stack([NET, NET]), {k: np.broadcast_to(v, (2, 4, 4)) for k, v in parts.items()}
    )
    lines = one.assign(shared_error=(modes, shift)).assign_coords(
        phase=["a", "b"], mode=["calibration 0"], mode_effect=("mode", ["calibration"])
    )
    found = partition_coefficients(quantify(lines, K), "a", reference="b")
    parts = found.partition_coefficient_effect_variance
    assert (parts.sel(effect="calibration") < 1e-12).all()  # equal spectra, one calibration
    np.testing.assert_allclose(parts.sum("effect"), found.partition_coefficient_variance, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counting_times": 0}, "counting_times must be positive, found 0"),
        ({"standard_counts": -1.0}, "standard_counts must be positive"),
        ({"standard_uncertainty": float("nan")}, "standard_uncertainty must be positive"),
        ({"quantity": "x"}, "no quantity 'x' with a variance"),
    ],
)
def test_budget__errors(options, message):
    with pytest.raises(EdsError, match=message):
        budget(composed(), **options)


def test_budget__of_detectors_kept_apart():
    lines = lines_of(np.stack([NET, NET / 2]), names=NAMES).rename(phase="detector")
    made = quantify(lines, table_of(RELATIVE), **FILM)
    assert "detector" in made.atomic_fraction.dims
    found = budget(made)
    one = budget(made.isel(detector=1))
    # which pair of lines is best may depend on the detector
    both = [m for m in found.measurement.values if m in one.measurement.values]
    assert len(both) > 2
    after = found.total_after.isel(detector=1).sel(measurement=both)
    np.testing.assert_allclose(after, one.total_after.sel(measurement=both), rtol=1e-9)


GLASS = ["O_Ka", "Mg_Ka", "Si_Ka", "Fe_Ka", "Al_Ka"]


@pytest.mark.parametrize("measured", [["Mg_Ka", "O_Ka"], ["Fe_Ka", "O_Ka"], GLASS])
def test_budget__standards_that_are_measured_lower_the_total_as_predicted(measured):
    attrs = {"beam_energy_kev": 200.0, "signal_type": "EDS_TEM"}
    computed = kf.standardless_k_factors(GLASS, beam_energy_kev=200.0)
    lines = lines_of([8e4, 4e4, 3e4, 9e3, 5e3], names=GLASS, **attrs)
    found = budget(quantify(lines, computed), standard_counts=4e4, standard_uncertainty=0.02)
    elements = [n.split("_")[0] for n in measured]
    standard = kf.from_standard(
        lines_of(np.full(len(measured), 4e4), names=measured, **attrs),
        dict.fromkeys(elements, 1.0), name="glass", units="weight",
        uncertainty=dict.fromkeys(elements, 0.02),
    )  # fmt: skip
    # as if the computed factors were right: the standard changes errors, not numbers
    right = computed.k.sel(line=standard.line) / float(computed.k.sel(line=measured[0]))
    scale = right.values / standard.k
    standard = standard.assign(
        k=scale * standard.k, standard_deviation=scale * standard.standard_deviation
    )
    table = standard if measured is GLASS else kf.combine(standard, fill=computed)
    after = budget(quantify(lines, table)).total
    either = {"a standard with all lines"} if measured is GLASS else {
        f"a standard with {a} and {b}" for a in measured for b in measured
    }  # fmt: skip
    name = next(m for m in found.measurement.values if m in either)
    np.testing.assert_allclose(found.total_after.sel(measurement=name), after, rtol=0.1)
    assert float((after / found.total).min()) < 0.5
