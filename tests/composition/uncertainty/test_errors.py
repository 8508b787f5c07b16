"""Systematic errors, each held against a small change of what it is an error of."""

import numpy as np
import pytest

from eds_xr.composition.amounts import QuantificationModel, composition_block
from eds_xr.composition.results import elements_of_lines
from eds_xr.composition.uncertainty.errors import (
    ERROR_EFFECTS,
    Factors,
    SystematicError,
    changes_of_factors,
    common_errors,
    deviations_of_factors,
    errors_of_factors,
)
from eds_xr.xray.absorption import attenuation_m2_kg

LINES = ["Mg_Ka", "Si_Ka", "Fe_Ka"]
NET, STEP = np.array([3000.0, 2000.0, 500.0]), 1e-4
OUTPUTS = ("atomic_fraction", "weight_fraction")
ABSOLUTE = (*OUTPUTS, "atoms_per_area", "mass_thickness")


def elements_with(valence_of_iron):
    return elements_of_lines(LINES, "stoichiometry", {"Fe": valence_of_iron})


def block(model, names, thickness=2e-3):
    covariance = np.diag(NET)
    found = composition_block(
        NET, covariance, np.array(thickness), model=model,
        names=tuple(f"{n}{end}" for n in names for end in ("", "_by_error")), limit_names=(),
    )  # fmt: skip
    pairs = zip(found[::2], found[1::2], strict=True)
    return dict(zip(names, pairs, strict=True))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("absorbed", [False, True])
def test_valences__meet_a_small_change(own, absorbed):
    elements, other = elements_with(2.0), elements_with(2.0 + STEP)
    slope = (other.mass_per_line_mass - elements.mass_per_line_mass) / STEP
    error = SystematicError("valence of Fe", "valences", mass_per_line_mass=slope)
    attenuation = attenuation_m2_kg(LINES, elements.symbols) / 0.34 if absorbed else None
    factors = np.array([1.0, 1.1, 1.3]) * (1e-7 if own else 1.0)
    models = [
        QuantificationModel(factors, e.mass_per_line_mass, e.masses, attenuation, own, errors)
        for e, errors in ((elements, (error,)), (other, ()))
    ]
    names = ABSOLUTE if own else OUTPUTS
    found, moved = (block(m, names) for m in models)
    for name in names:
        change = (moved[name][0] - found[name][0]) / STEP
        scale = np.abs(change).max()
        assert scale > 0
        np.testing.assert_allclose(found[name][1][..., 0], change, atol=1e-3 * scale)


@pytest.mark.parametrize("what", ["depths", "factors"])
def test_common_errors__meet_a_small_change(what):
    elements = elements_with(2.0)
    attenuation = attenuation_m2_kg(LINES, elements.symbols) / 0.34
    factors = np.array([1e-7, 1.1e-7, 1.3e-7])
    grown = {"depths": (1.0, 1 + STEP), "factors": (1 + STEP, 1.0)}[what]
    errors = common_errors(1.0, 1.0)
    models = [
        QuantificationModel(
            f * factors, elements.mass_per_line_mass, elements.masses, d * attenuation, True, errors
        )
        for f, d in ((1.0, 1.0), grown)
    ]
    found, moved = (block(m, ABSOLUTE) for m in models)
    column = [e.name for e in errors].index({"depths": "absorption", "factors": "dose"}[what])
    for name in ABSOLUTE:
        change = (moved[name][0] - found[name][0]) / STEP
        scale = max(np.abs(found[name][0]).max() * 1e-3, np.abs(change).max())
        np.testing.assert_allclose(found[name][1][..., column], change, atol=1e-3 * scale)


def test_errors_of_factors__columns_by_name():
    factors = Factors(np.ones(2), np.array([[0.3, 0.0], [0.4, 0.1]]), ("a", "b"))
    errors = errors_of_factors(factors, power=-1)
    assert [(e.name, e.effect) for e in errors] == [("a", "k_factor"), ("b", "k_factor")]
    np.testing.assert_allclose(changes_of_factors(errors, 2), -factors.relative)
    errors = (*errors, *common_errors(0.2, 0.1))
    np.testing.assert_allclose(changes_of_factors(errors, 2)[:, 2:], [[0.2, 0], [0.2, 0]])
    np.testing.assert_allclose(deviations_of_factors(errors, 2), [0.3, np.hypot(0.4, 0.1)])
    assert changes_of_factors((), 2).shape == (2, 0)
    assert {e.effect for e in errors} <= set(ERROR_EFFECTS)
