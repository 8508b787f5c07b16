import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from eds_xr import provenance, simulate
from eds_xr.line_fit import fit_lines
from eds_xr.quantify import (
    atomic_mass,
    quantify,
    ratio,
    standardless_k_factors,
    variation,
    with_model_variation,
)
from eds_xr.schema import EdsError

ELEMENTS = ["Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Lu", "Hf", "U"]
NAMES = ["Mg_Ka", "Si_Ka", "Fe_Ka"]


def lines_of(net, covariance=None, names=NAMES, **attrs):
    net = np.asarray(net, float)
    covariance = np.diag(np.abs(net)) if covariance is None else np.asarray(covariance)
    lead = ("phase",) * (net.ndim - 1)
    data = {
        "net": ((*lead, "line"), net),
        "covariance": ((*lead, "line", "line_other"), covariance),
    }
    return xr.Dataset(data, {"line": names, "line_other": names}, attrs)


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


@given(st.lists(st.floats(10, 1e6), min_size=3, max_size=3), st.floats(-0.9, 0.9))
def test_quantify__fractions_sum_to_one_without_error(net, correlation):
    spread = np.sqrt(net)
    covariance = np.outer(spread, spread) * np.where(np.eye(3) == 1, 1, correlation / 2)
    found = quantify(lines_of(net, covariance))
    for kind in ("atomic_fraction", "weight_fraction"):
        assert float(found[kind].sum()) == pytest.approx(1)
        table = found[f"{kind}_covariance"]
        np.testing.assert_allclose(table.sum("element_other"), 0, atol=1e-12 + 1e-9 * table.max())
        np.testing.assert_allclose(found[f"{kind}_variance"], np.diagonal(table))


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
    found = quantify(lines_of([300.0, 100.0], names=["Si_Ka", "Nd_La"], beam_energy_kev=200.0))
    assert found.attrs["standardless"] == 1
    assert provenance.history(found)[-1]["standardless"] is True
    assert found.systematic.values.tolist() == [0.1, 0.2]
    k = standardless_k_factors(["Si_Ka", "Nd_La"])
    np.testing.assert_allclose(found.k_factor, list(k.values()))


def test_standardless_k_factors__follow_the_beam():
    low, high = (
        standardless_k_factors(["Si_Ka", "Cu_Ka"], beam_energy_kev=e)["Cu_Ka"] for e in (20, 200)
    )
    assert low > 1.1 * high  # near its threshold copper is excited less
    with pytest.raises(EdsError, match="Cu_Ka is not emitted at a beam energy of 5 keV"):
        standardless_k_factors(["Si_Ka", "Cu_Ka"], beam_energy_kev=5)


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


def test_quantify__errors():
    lines = lines_of([300.0, 200.0, 100.0])
    for wrong, options, message in [
        (lines.drop_vars("covariance"), {}, r"expected lines from fit_lines, missing \['covari"),
        (lines.isel(line=0), {}, "expected lines from fit_lines, missing line"),
        (lines, {"exclude": ("Mg", "Si", "Fe")}, "no element is left to quantify"),
        (lines, {"k_factors": {"Mg_Ka": 1.0}}, "no k-factor for Si_Ka, Fe_Ka; the table has Mg_Ka"),
        (lines, {"k_factors": dict.fromkeys(NAMES, 0.0)}, "k-factors must be positive"),
        (lines_of([0.0, 0.0, 0.0]), {}, "the net counts sum to nothing"),
    ]:
        with pytest.raises(EdsError, match=message):
            quantify(wrong, **options)


# -- ratios --------------------------------------------------------------------------------------


def test_ratio__variance_meets_monte_carlo():
    rng = np.random.default_rng(1)
    net = np.array([3000.0, 2500.0, 400.0])
    covariance = np.array([[3200.0, -900, 0], [-900, 2700, 400], [0, 400, 700]])
    expected = ratio(quantify(lines_of(net, covariance)), "Fe", "Si")
    draws = rng.multivariate_normal(net, covariance, 20_000)
    many = quantify(lines_of(draws, np.broadcast_to(covariance, (20_000, 3, 3))))
    values = ratio(many, "Fe", "Si").ratio
    assert float(values.std()) == pytest.approx(float(expected.variance) ** 0.5, rel=0.03)
    assert float(values.mean()) == pytest.approx(float(expected.ratio), rel=0.01)


def test_ratio__does_not_depend_on_the_other_elements():
    covariance = np.diag([300.0, 200, 100, 50.0]) + 7
    lines = lines_of([300.0, 200, 100, 50], covariance, ["Mg_Ka", "Si_Ka", "Fe_Ka", "Ca_Ka"])
    all_four = ratio(quantify(lines), "Fe", "Si")
    two = ratio(quantify(lines, exclude=("Mg", "Ca")), "Fe", "Si")
    xr.testing.assert_allclose(all_four, two)


def test_ratio__of_an_element_to_itself_is_certain():
    one = ratio(quantify(lines_of([300.0, 200.0, 100.0])), "Si", "Si")
    assert float(one.ratio) == 1
    assert float(one.variance) == pytest.approx(0, abs=1e-18)


def test_ratio__to_nothing_is_unknown():
    lines = lines_of([[300.0, 200.0, 0.0], [300.0, 200.0, 30.0]], np.stack([np.eye(3)] * 2))
    found = ratio(quantify(lines), "Si", "Fe").ratio
    assert np.isnan(found).values.tolist() == [True, False]


def test_ratio__errors():
    with pytest.raises(EdsError, match="Ca is not in the composition"):
        ratio(quantify(lines_of([300.0, 200.0, 100.0])), "Ca", "Si")


def test_atomic_mass__errors():
    with pytest.raises(EdsError, match="no chemical element 'Xx'"):
        atomic_mass("Xx")


def regions(scatter, seed=0, count=40):
    """Lines of regions of one phase: Fe / Si varies by `scatter`, Mg / Si does not."""
    random = np.random.default_rng(seed)
    si = np.full(count, 4e4)
    fe = si * 0.2 * (1 + scatter * random.normal(size=count))
    net = random.poisson(np.stack([0.5 * si, si, fe], axis=1)).astype(float)
    found = lines_of(net, covariance=np.stack([np.diag(n) for n in net]))
    return found.assign(variance=found.net)


def test_variation__finds_the_scatter_beyond_chance():
    found = variation(regions(0.1), per="Si_Ka")
    assert float(found.ratio.sel(line="Fe_Ka")) == pytest.approx(0.2, rel=0.05)
    assert float(found.variance.sel(line="Fe_Ka")) ** 0.5 == pytest.approx(0.02, rel=0.4)


def test_variation__is_nil_where_chance_explains_it():
    spread = [float(variation(regions(0, seed), per="Si_Ka").variance.max()) for seed in range(10)]
    assert np.mean(spread) < (0.005 * 0.5) ** 2
    assert float(variation(regions(0), per="Si_Ka").variance.sel(line="Si_Ka")) == 0


def test_variation__needs_regions_and_its_line():
    with pytest.raises(EdsError, match="at least two regions"):
        variation(regions(0, count=1), per="Si_Ka")
    with pytest.raises(EdsError, match="Ca_Ka was not fitted"):
        variation(regions(0), per="Ca_Ka")


def test_with_model_variation__adds_the_mean_square_of_the_differences():
    first = lines_of([100.0, 200.0, 50.0])
    first = first.assign(variance=first.net)
    others = [lines_of([100.0 + d, 200.0, 50.0]) for d in (-6.0, 8.0)]
    found = with_model_variation(first, others)
    np.testing.assert_allclose(found.model_variance, [50, 0, 0])
    np.testing.assert_allclose(found.variance, [150, 200, 50])
    np.testing.assert_allclose(np.diag(found.covariance), [150, 200, 50])
    np.testing.assert_allclose(found.net, first.net)


def test_with_model_variation__needs_the_same_lines():
    first = lines_of([100.0, 200.0, 50.0])
    first = first.assign(variance=first.net)
    with pytest.raises(EdsError, match="at least one other fit"):
        with_model_variation(first, [])
    with pytest.raises(EdsError, match="lacks Fe_Ka"):
        with_model_variation(first, [lines_of([1.0, 2.0], names=NAMES[:2])])
