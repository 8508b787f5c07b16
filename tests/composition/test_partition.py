"""Partition coefficients: intervals that cover, k-factors that cancel."""

import numpy as np
import pytest
import xarray as xr

from eds_xr import simulate
from eds_xr.composition.partition import partition_coefficients, shared_covariance
from eds_xr.composition.quantify import quantify
from eds_xr.schema import EdsError
from eds_xr.spectra.line_fits.fit_lines import fit_lines
from eds_xr.spectra.shapes.families import Calibration

NAMES = ["Mg_Ka", "Si_Ka", "Fe_Ka", "Nd_La"]
NET = np.array([[40000.0, 900.0, 20000.0, 5.0], [30000.0, 31000.0, 5000.0, 400.0]])
#: Names of the columns below.
D = "partition_coefficient"


def lines_of(net=NET, covariance=None, names=NAMES):
    net = np.asarray(net, float)
    if covariance is None:
        covariance = np.stack([np.diag(np.abs(n) + 200) for n in net])
    data = {
        "net": (("phase", "line"), net),
        "covariance": (("phase", "line", "line_other"), covariance),
    }
    coords = {"phase": ["Fp", "Brg"], "line": names, "line_other": names}
    return xr.Dataset(data, coords, {"beam_energy_kev": 200.0})


def draws_of(net):
    """Many draws of the lines, `net` [draw, phase, line]."""
    values = (("draw", "phase", "line"), net)
    coords = {"phase": ["Fp", "Brg"], "line": NAMES}
    data = {"net": values, "variance": (values[0], np.zeros_like(net))}
    made = xr.Dataset(data, coords, {"beam_energy_kev": 200.0})
    return made.transpose("phase", "draw", "line")


def divided(lines=None, **options):
    return partition_coefficients(
        quantify(lines_of() if lines is None else lines), "Fp", reference="Brg", **options
    )


def test_partition_coefficients__is_the_ratio():
    made = quantify(lines_of())
    found = divided()
    expected = made.weight_fraction.sel(phase="Fp") / made.weight_fraction.sel(phase="Brg")
    np.testing.assert_allclose(found[D], expected)
    assert found.phase.item() == "Fp"
    assert found.attrs["reference"] == "Brg"
    low, high = found[f"{D}_lower"], found[f"{D}_upper"]
    assert ((low < found[D]) & (found[D] < high)).all()
    assert (high.sel(coverage=0.95) > high.sel(coverage=0.68)).all()


def test_partition_coefficients__what_is_not_detected_has_a_limit():
    found = divided()
    assert found[f"{D}_detected"].values.tolist() == [True, True, True, False]
    limit = float(found[f"{D}_upper_limit"].sel(element="Nd"))
    assert limit > float(found[D].sel(element="Nd"))
    none = NET.copy()
    none[:, 3] = [500.0, -10.0]  # the reference has none
    other = divided(lines_of(none)).sel(element="Nd")
    assert not other[f"{D}_reference_detected"]
    assert np.isinf(other[f"{D}_upper_limit"])
    assert 0 < float(other[f"{D}_lower_limit"]) < np.inf


def test_partition_coefficients__k_factors_cancel_with_per():
    """Wrong factors leave exchange coefficients as they are; their errors are nothing there."""
    k = {"Mg_Ka": 1.0, "Si_Ka": 1.1, "Fe_Ka": 1.5, "Nd_La": 4.0}
    wrong = {"Mg_Ka": 1.3, "Si_Ka": 0.8, "Fe_Ka": 1.9, "Nd_La": 2.0}
    one, other = (
        partition_coefficients(quantify(lines_of(), table), "Fp", reference="Brg", per="Mg")
        for table in (k, wrong)
    )
    np.testing.assert_allclose(one[D], other[D])
    np.testing.assert_allclose(one[f"{D}_variance"], other[f"{D}_variance"])
    exchange = divided(per="Mg")
    np.testing.assert_allclose(exchange[f"{D}_systematic_variance"], 0, atol=1e-20)
    assert float(exchange[D].sel(element="Mg")) == 1
    by_atoms = divided(per="Mg", kind="atomic_fraction")
    np.testing.assert_allclose(exchange[D], by_atoms[D])
    net_ratio = (NET[0, 2] / NET[0, 0]) / (NET[1, 2] / NET[1, 0])
    assert float(exchange[D].sel(element="Fe")) == pytest.approx(net_ratio)


def test_partition_coefficients__k_factors_leave_what_they_do_to_the_sums():
    made, rng = quantify(lines_of()), np.random.default_rng(4)
    change = 1 + 0.05 * made.systematic.values * rng.normal(size=(3000, 1, 4))
    weight = quantify(draws_of(NET * change)).weight_fraction
    scatter = (weight.sel(phase="Fp") / weight.sel(phase="Brg")).std("draw") / 0.05
    known = divided()[f"{D}_systematic_variance"].values ** 0.5
    np.testing.assert_allclose(scatter, known, rtol=0.05)
    relative = known / np.abs(divided()[D].values)
    np.testing.assert_allclose(relative, relative[0])  # the same for all elements


@pytest.mark.parametrize("oxygen", ["measured", "stoichiometry"])
@pytest.mark.parametrize("per", [None, "Mg"])
def test_shared_covariance__of_a_subtracted_reference(oxygen, per):
    """Monte Carlo: the grain's counts are those of a mixture less a share of the matrix's."""
    rng, factor = np.random.default_rng(5), 0.6
    brg = np.array([3000.0, 3100.0, 500.0, 200.0])
    pure = np.array([4000.0, 900.0, 2000.0, 150.0])
    reference = rng.normal(brg, np.sqrt(brg), (3000, 4))
    mixture = rng.normal(pure + factor * brg, np.sqrt(pure + factor * brg), (3000, 4))
    net = np.stack([mixture - factor * reference, reference], axis=1)
    table = np.stack([np.diag(pure + factor * brg + factor**2 * brg), np.diag(brg)])
    lines = lines_of(np.stack([pure, brg]), table)
    made = quantify(lines, oxygen=oxygen)
    shared = shared_covariance(lines, made, phase="Fp", reference="Brg", factor=factor)
    expected = partition_coefficients(made, "Fp", reference="Brg", per=per, between=shared)
    weight = quantify(draws_of(net), oxygen=oxygen).weight_fraction
    weight = weight / weight.sel(element=per) if per else weight
    scatter = (weight.sel(phase="Fp") / weight.sel(phase="Brg")).std("draw")
    known = expected[f"{D}_variance"] ** 0.5
    alone = partition_coefficients(made, "Fp", reference="Brg", per=per)[f"{D}_variance"] ** 0.5
    for element in ("Si", "Fe", "Nd"):
        assert float(known.sel(element=element)) == pytest.approx(
            float(scatter.sel(element=element)), rel=0.06
        )
    assert float(known.sel(element="Nd")) > 1.05 * float(alone.sel(element="Nd"))


@pytest.mark.slow
def test_coverage__from_counts_to_coefficients():
    """Poisson spectra of two phases, fitted, quantified and divided: 40 seeds, 10 elements."""
    elements = ["Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Lu", "Hf", "U"]
    phases = [p for p in simulate.PYROLITE_71GPA if p.name != "Fp"]
    energy = -0.2 + 0.01 * np.arange(1300)
    ideal = 1e5 * simulate.phase_spectra(phases, energy).loadings.values * np.array([[4], [1]])
    seeds, names = 40, ["Brg", "Ca-Pv"]
    counts = np.random.default_rng(6).poisson(np.broadcast_to(ideal, (seeds, 2, energy.size)))

    def fit(spectra, **options):
        coords = {"energy": ("energy", energy, {"units": "keV"})}
        values = xr.DataArray(spectra, coords, (*["seed"] * (spectra.ndim - 2), "phase", "energy"))
        both = xr.Dataset({"counts": values, "variance": values})
        return fit_lines(
            both.assign_attrs(beam_energy_kev=200.0), elements, stray=["Cu", "Ga"], **options
        )

    exact = fit(1e4 * ideal)
    told = {
        k.removeprefix("calibration_"): v
        for k, v in exact.attrs.items()
        if k.startswith("calibration_")
    }
    made = quantify(fit(counts, calibration=Calibration(**told))).assign_coords(phase=names)
    truth = partition_coefficients(
        quantify(exact).assign_coords(phase=names), "Ca-Pv", reference="Brg"
    )[D]
    inside = []
    for seed in range(seeds):
        found = partition_coefficients(made.isel(seed=seed), "Ca-Pv", reference="Brg")
        inside.append((found[f"{D}_lower"] <= truth) & (truth <= found[f"{D}_upper"]))
    share = xr.concat(inside, "seed").mean(("seed", "element"))
    assert float(share.sel(coverage=0.68)) == pytest.approx(0.68, abs=0.06)  # 400 cases
    assert float(share.sel(coverage=0.95)) == pytest.approx(0.95, abs=0.03)


def test_partition_coefficients__results_of_phases_concatenate():
    found = divided()
    both = xr.concat([found, divided(per=None).assign_coords(phase="other")], "phase")
    assert list(both.phase.values) == ["Fp", "other"]
    assert all("long_name" in v.attrs and "units" in v.attrs for v in found.data_vars.values())


def test_errors():
    made = quantify(lines_of())
    shared = shared_covariance(lines_of(), made, phase="Fp", reference="Brg", factor=0.3)
    divide = partition_coefficients
    for call, message in [
        (lambda: divide(made, "Fp", reference="Pv"), "no phase 'Pv' in the composition; it"),
        (lambda: divide(made.sel(phase="Fp"), "Fp", reference="Brg"), "over phase and elem"),
        (lambda: divide(lines_of(), "Fp", reference="Brg"), "expected a composition with c"),
        (lambda: divided(per="Ca"), "per='Ca' is not in the composition"),
        (lambda: divided(per="Nd"), "Fp holds no significant Nd"),
        (lambda: divided(kind="mole"), "kind must be one of 'weight_fraction', 'atomic_fraction'"),
        (lambda: divided(between=shared.isel(element=0)), r"between must be \[element, element_o"),
        (lambda: divided(between=shared.isel(element=[0])), "between lacks Fe, Nd, Si"),
        (
            lambda: shared_covariance(lines_of().sel(line=NAMES[:2]), made, phase="Fp",
                                      reference="Brg", factor=0.3),
            "the lines lack Fe_Ka, Nd_La",
        ),
        (
            lambda: shared_covariance(made, made, phase="Fp", reference="Brg", factor=0.3),
            "expected lines from fit_lines and the composition",
        ),
    ]:  # fmt: skip
        with pytest.raises(EdsError, match=message):
            call()
