"""Several standards as one: generalised least squares, disagreement, lines that none has."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from eds_xr import k_factors as kf
from eds_xr.composition.k_factors.modes import with_modes
from eds_xr.composition.k_factors.table import make_table
from eds_xr.schema import EdsError

LINES = ["Si_Ka", "Mg_Ka", "Fe_Ka", "Ca_Ka"]
TRUTH = {"Si_Ka": 1.0, "Mg_Ka": 1.1, "Fe_Ka": 1.3, "Ca_Ka": 0.95, "Al_Ka": 1.05, "Nd_La": 2.4}
UNITS = {"k": "weight", "zeta": "kg/m2"}


def a_table(kind, name, lines, random, *, shared=0.02, noise=True, scale=1.0, common=0.0):
    """Return a table with errors of each line and one, "absorption", that all tables share."""
    size = len(lines)
    own = np.diag(random.uniform(0.01, 0.04, size))
    modes = np.vstack([own, shared * np.linspace(-1, 1, size)])
    if kind == "k":
        modes = modes - modes[:, :1]
    errors = [f"counts of {n}, {name}" for n in lines] + ["absorption"]
    draws = np.append(random.normal(size=size), common) * noise
    values = scale * np.array([TRUTH[n] for n in lines]) * np.exp(draws @ modes)
    values = values / values[0] if kind == "k" else values
    attrs = {"standard": name, "beam_energy_kev": 200.0}
    made = make_table(kind, lines, values, 0 * values, units=UNITS[kind], attrs=attrs)
    return with_modes(made, kind, errors, modes)


def brute_force(tables, kind, names):
    """Return factors and covariance of their logarithms, free scales as errors of any size."""
    rows = [(i, n) for i, t in enumerate(tables) for n in t.line.values.tolist()]
    errors = sorted({e for t in tables for e in t.error.values.tolist()})
    spread = np.zeros((len(rows), len(errors)))
    for r, (i, n) in enumerate(rows):
        own = tables[i].relative_error.sel(line=n)
        spread[r, [errors.index(e) for e in own.error.values]] = own.values
    measured = np.array([np.log(float(tables[i][kind].sel(line=n))) for i, n in rows])
    covariance = spread @ spread.T
    if kind == "k":
        same = np.array([[i == j for i, _ in rows] for j, _ in rows])
        covariance = covariance + 100.0 * same
    free = names[1:] if kind == "k" else names
    design = np.array([[n == m for m in free] for _, n in rows], float)
    weight = np.linalg.inv(covariance)
    spread_of_best = np.linalg.inv(design.T @ weight @ design)
    best = spread_of_best @ design.T @ weight @ measured
    left = measured - design @ best
    return np.exp(best), spread_of_best, left @ weight @ left


@pytest.mark.parametrize("kind", ["k", "zeta"])
@given(seed=st.integers(0, 10**6), cut=st.integers(2, 3))
@settings(max_examples=30)
@pytest.mark.filterwarnings("ignore::eds_xr.composition.k_factors.counts.StandardWarning")
def test_combine__is_generalised_least_squares(kind, seed, cut):
    random = np.random.default_rng(seed)
    one = a_table(kind, "olivine", LINES, random, common=1.0)
    two = a_table(kind, "garnet", LINES[:cut] + ["Al_Ka"], random, common=1.0)
    found = kf.combine(one, two)
    names = found.line.values.tolist()
    assert names == [*LINES, "Al_Ka"]
    values, covariance, square = brute_force([one, two], kind, names)
    start = 1 if kind == "k" else 0
    np.testing.assert_allclose(found[kind][start:], values, rtol=1e-6)
    assert found.attrs["chi_square"] == pytest.approx(square, rel=1e-4, abs=1e-6)
    wider = max(1.0, square / found.attrs["degrees_of_freedom"])
    modes = found.relative_error.values[:, start:]
    np.testing.assert_allclose(modes.T @ modes, covariance * wider, rtol=1e-4, atol=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::eds_xr.composition.k_factors.counts.StandardWarning")
def test_combine__chi_square_is_that_of_chance():
    random = np.random.default_rng(5)
    squares, free = [], 0
    for _ in range(200):
        common = random.normal()
        tables = [
            a_table("k", name, lines, random, common=common)
            for name, lines in (("a", LINES), ("b", LINES[1:]), ("c", LINES[:3]))
        ]
        attrs = kf.combine(*tables).attrs
        squares.append(attrs["chi_square"])
        free = attrs["degrees_of_freedom"]
    assert free == 4
    assert np.mean(squares) == pytest.approx(free, abs=4 * (2 * free / 200) ** 0.5)


def test_combine__one_error_in_common_does_not_average_out():
    def table(name, own):
        attrs = {"standard": name}
        made = make_table("zeta", ["Si_Ka"], np.ones(1), np.ones(1), units="kg/m2", attrs=attrs)
        return with_modes(made, "zeta", [f"own of {name}", "absorption"], np.array([[own], [0.1]]))

    found = kf.combine(table("a", 0.02), table("b", 0.02))
    assert float(found.standard_deviation[0]) ** 2 == pytest.approx(0.1**2 + 0.02**2 / 2)


def test_combine__disagreement_widens_and_warns():
    one = kf.k_factors({"Si_Ka": 1.0, "Fe_Ka": 1.2}, {"Fe_Ka": 0.02})
    two = kf.k_factors({"Si_Ka": 1.0, "Fe_Ka": 1.4}, {"Fe_Ka": 0.02})
    with pytest.warns(kf.StandardWarning, match="disagree beyond their errors: chi-square"):
        found = kf.combine(one, two)
    apart = np.log(1.4 / 1.2)
    assert float(found.standard_deviation[1] / found.k[1]) == pytest.approx(apart / 2, rel=0.02)


def test_combine__fills_what_no_standard_has():
    """The scale: the mean of common lines, weighted by both errors; the error of it is common."""
    measured = kf.k_factors({"Si_Ka": 1.0, "Fe_Ka": 1.2}, {"Fe_Ka": 0.012})
    computed = kf.k_factors(
        {"Si_Ka": 2.0, "Fe_Ka": 2.6, "Ca_Ka": 2.0, "Al_Ka": 2.2},
        {"Si_Ka": 0.2, "Fe_Ka": 0.26, "Ca_Ka": 0.2, "Al_Ka": 0.22},
    )
    found = kf.combine(measured, fill=computed)
    np.testing.assert_allclose(found.k[:2], measured.k)
    np.testing.assert_allclose(found.standard_deviation[:2], measured.standard_deviation)
    variances = np.array([0.1**2, 0.1**2 + 0.01**2])
    weights = 1 / variances / (1 / variances).sum()
    scale = np.exp(weights @ np.log([1 / 2, 1.2 / 2.6]))
    np.testing.assert_allclose(found.k[2:], scale * np.array([2.0, 2.2]))
    of_scale = weights**2 @ variances
    np.testing.assert_allclose(
        (found.standard_deviation / found.k)[2:], (0.1**2 + of_scale) ** 0.5, rtol=1e-9
    )
    modes = found.relative_error.values[:, 2:]
    assert modes[:, 0] @ modes[:, 1] == pytest.approx(of_scale)
    assert found.attrs["computed_lines"] == "Ca_Ka Al_Ka"
    assert found.attrs["standardless"] == 1


def test_combine__fills_zeta_from_k_factors():
    random = np.random.default_rng(1)
    zeta = a_table("zeta", "olivine", LINES[:2], random, noise=False, scale=500.0)
    computed = kf.k_factors({n: TRUTH[n] for n in ("Si_Ka", "Mg_Ka", "Al_Ka")},
                            dict.fromkeys(("Si_Ka", "Mg_Ka", "Al_Ka"), 0.1))  # fmt: skip
    found = kf.combine(zeta, fill=computed)
    assert float(found.zeta.sel(line="Al_Ka")) == pytest.approx(500 * TRUTH["Al_Ka"])


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([], "found none"),
        ([kf.k_factors({"Si_Ka": 1}), xr.Dataset()], "expected a table of k-factors"),
        ([kf.k_factors({"Si_Ka": 1.0, "Fe_Ka": 2.0}, {"Fe_Ka": 0.1}),
          kf.k_factors({"Ca_Ka": 1.0, "Mg_Ka": 2.0}, {"Mg_Ka": 0.1})], "no line in common"),
        ([kf.k_factors({"Si_Ka": 1.0, "Fe_Ka": 2.0}),
          kf.k_factors({"Si_Ka": 1.0, "Fe_Ka": 2.0}, {"Fe_Ka": 0.1})], "some factors have none"),
        ([kf.k_factors({"Si_Ka": 1.0}, beam_energy_kev=200),
          kf.k_factors({"Si_Ka": 1.0}, beam_energy_kev=80)], "beams of 200 and 80 keV"),
    ],
)  # fmt: skip
def test_combine__says_what_is_wrong(tables, message):
    with pytest.raises(EdsError, match=message):
        kf.combine(*tables)


def test_combine__refuses_two_standards_of_one_name():
    random = np.random.default_rng(2)
    same = [a_table("k", "olivine", LINES, random) for _ in range(2)]
    with pytest.raises(EdsError, match="two standards are called olivine"):
        kf.combine(*same)
    with pytest.raises(EdsError, match="the reference 'Xe_La' is not among the lines"):
        kf.combine(same[0], reference="Xe_La")
    with pytest.raises(EdsError, match="none of the lines that were measured"):
        kf.combine(same[0], fill=kf.k_factors({"Nd_La": 1.0}, {"Nd_La": 0.1}))
