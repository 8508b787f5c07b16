"""Errors by what they are due to: they sum to the total."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.makers.lines import lines_of

from eds_xr import k_factors as kf
from eds_xr.composition.absolute import quantify_zeta
from eds_xr.composition.quantify import quantify
from eds_xr.composition.uncertainty.effects import as_counting, of_systematic, with_systematic

NAMES = ["O_Ka", "Mg_Ka", "Si_Ka", "Fe_Ka"]
positive = st.lists(st.floats(10, 1e6), min_size=4, max_size=4)
small = st.floats(0.01, 0.3)


def with_effects(net, parts):
    """Return lines with the covariances `parts` by effect."""
    lines = lines_of(net, sum(parts.values()), NAMES, elevation_angle_deg=20.0)
    table = np.stack(list(parts.values()))
    dims = ("effect", *lines.covariance.dims)
    return lines.assign_coords(effect=list(parts)).assign(effect_covariance=(dims, table))


def modes_of(draws):
    """Return a table of k-factors with errors that lines share."""
    modes = np.array(draws).reshape(3, 4)
    k = np.array([1.2, 1.1, 1.0, 1.3])
    names = ["thickness of the standard", "counts of it", "computed"]
    return xr.Dataset(
        {
            "k": ("line", k),
            "standard_deviation": ("line", k * np.sqrt((modes**2).sum(0))),
            "relative_error": (("error", "line"), modes),
        },
        {"line": NAMES, "error": names},
    )


@pytest.mark.slow
@settings(max_examples=40)
@given(
    positive,
    st.lists(small, min_size=12, max_size=12),
    st.booleans(),
    st.sampled_from([None, 50.0, 200.0]),
    st.sampled_from(["measured", "stoichiometry"]),
)
def test_quantify__effects_sum_to_the_total(net, draws, told, thickness, oxygen):
    counts = np.diag(net)
    parts = {"counting": counts, "matrix": 0.01 * counts, "background": np.full((4, 4), 3.0)}
    lines = with_effects(net, parts) if told else lines_of(net, counts, NAMES)
    film = {} if thickness is None else {"thickness_nm": thickness, "density_g_cm3": 4.0}
    film |= {} if thickness is None else {"take_off_angle_deg": 20.0}
    found = quantify(lines, modes_of(draws), oxygen=oxygen, **film)
    effects = found["effect"].values.tolist()
    expected = list(parts) if told else ["counting"]
    systematics = ["k_factor", "dose", "absorption"]
    systematics += ["valences"] if oxygen == "stoichiometry" else []
    systematics += [] if thickness is None else ["fluorescence"]
    assert effects == [*expected, *systematics]
    for kind in ("atomic_fraction", "weight_fraction"):
        total = found[f"{kind}_covariance"] + found[f"{kind}_systematic_covariance"]
        summed = found[f"{kind}_effect_covariance"].sum("effect")
        np.testing.assert_allclose(summed, total, rtol=1e-8, atol=1e-12 * float(total.max()))
        systematic = found[f"{kind}_effect_covariance"].sel(effect=systematics).sum("effect")
        np.testing.assert_allclose(
            systematic, found[f"{kind}_systematic_covariance"], rtol=1e-8,
            atol=1e-12 * float(total.max()),
        )  # fmt: skip


def test_quantify__shared_errors_cancel_where_lines_share_them():
    same = modes_of([0.2] * 4 + [0] * 8)
    found = quantify(lines_of([300.0, 200.0, 100.0, 50.0], names=NAMES), same)
    # all factors wrong by the same: nothing happens to fractions
    np.testing.assert_allclose(found.atomic_fraction_systematic_covariance, 0, atol=1e-15)
    assert found["systematic"].values == pytest.approx(0.2)
    assert found["error"].values.tolist() == ["thickness of the standard", "dose", "absorption"]


def test_quantify_zeta__effects_of_single_numbers():
    lines = with_effects([3e4, 2e4, 1e4, 5e3], {"counting": np.diag([3e4, 2e4, 1e4, 5e3])})
    table = xr.Dataset(
        {"zeta": ("line", np.full(4, 500.0)), "standard_deviation": ("line", np.full(4, 50.0))},
        {"line": NAMES},
    )
    found = quantify_zeta(lines, table, dose_electrons=1e12, dose_uncertainty=0.03)
    parts = found.mass_thickness_effect_variance
    assert parts["effect"].values.tolist() == ["counting", "k_factor", "dose", "absorption"]
    total = found.mass_thickness_variance + found.mass_thickness_systematic_variance
    assert float(parts.sum()) == pytest.approx(float(total))
    assert float(parts.sel(effect="counting")) == pytest.approx(
        float(found.mass_thickness_variance)
    )


def test_of_systematic__is_grouped_by_effect():
    by_error = xr.DataArray(
        [[1.0, 2.0, 3.0], [0.5, -1.0, 0.0]],
        {"element": ["Mg", "Si"], "error": ["a", "b", "c"],
         "error_effect": ("error", ["k_factor", "dose", "k_factor"])},
        ("element", "error"),
    )  # fmt: skip
    parts = of_systematic(by_error, "element")
    assert parts["effect"].values.tolist() == ["k_factor", "dose"]
    np.testing.assert_allclose(parts.sel(effect="k_factor"), [[10, 0.5], [0.5, 0.25]])
    np.testing.assert_allclose(parts.sel(effect="dose"), [[4, -2], [-2, 1]])
    one = of_systematic(by_error.isel(element=0), None)
    np.testing.assert_allclose(one, [10, 4])
    counting = xr.DataArray(7.0)
    np.testing.assert_allclose(
        with_systematic(as_counting(counting), by_error.isel(element=0), None), [7, 10, 4]
    )
    nothing = by_error.isel(error=slice(0))
    same = as_counting(parts.isel(effect=0, drop=True))
    xr.testing.assert_identical(with_systematic(same, nothing, "element"), same)


def test_k_factors__errors_that_lines_share_are_converted_along():
    zeta = modes_of([0.1, 0.2, -0.1, 0.05] * 3).rename(k="zeta")
    zeta["zeta"] = zeta.zeta.assign_attrs(units="kg/m2")
    k = kf.k_factors_from_zeta(zeta, "Si_Ka")
    shared = zeta.relative_error.sel(line="Si_Ka", drop=True)  # cancels in the ratio
    np.testing.assert_allclose(k.relative_error, zeta.relative_error - shared, atol=1e-15)
    assert k["error"].values.tolist() == zeta["error"].values.tolist()
    sections = kf.cross_sections_from_zeta(zeta)
    np.testing.assert_allclose(sections.relative_error, -zeta.relative_error)
    back = kf.zeta_from_cross_sections(sections)
    np.testing.assert_allclose(back.relative_error, zeta.relative_error)
