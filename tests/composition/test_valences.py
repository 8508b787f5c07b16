"""Oxygen that balances charges."""

import numpy as np
import pytest

from eds_xr.composition.valences import (
    CHARGES,
    USUAL_RANGES,
    charges_of,
    oxygen_per_atom,
    valences_from_text,
)
from eds_xr.schema import EdsError


def test_oxygen_per_atom__is_half_the_charge():
    found = oxygen_per_atom(["Si", "Al", "Mg", "Na", "F"], None)
    np.testing.assert_allclose(found, [2, 1.5, 1, 0.5, -0.5])
    np.testing.assert_allclose(oxygen_per_atom(["Fe", "Si"], {"Fe": 2.4}), [1.2, 2])


@pytest.mark.parametrize(
    ("elements", "valences", "message"),
    [
        (["Pt"], None, r"no usual charge is known for Pt; give it: valences=\{'Pt': 3\}"),
        (["Fe"], {"Fe": 9}, "the charge of Fe must lie between -4 and 8, found 9"),
        (["Fe"], {"O": -2}, "oxygen balances the others"),
        (["Fe"], {"Qq": 2}, "no chemical element 'Qq'"),
        (["Fe"], 3, "valences must be charges by element"),
    ],
)
def test_oxygen_per_atom__errors(elements, valences, message):
    with pytest.raises(EdsError, match=message):
        oxygen_per_atom(elements, valences)


def test_charges__cannot_be_changed_for_everybody():
    with pytest.raises(TypeError):
        CHARGES["Fe"] = 3.0


# -- uncertainty ---------------------------------------------------------------------------------


def test_charges_of__usual_and_given():
    found = charges_of(["Si", "O", "Fe", "S"], {"S": -2})
    np.testing.assert_allclose(found.values, [4, -2, 2, -2])
    np.testing.assert_allclose(found.deviations, [0, 0, 3**-0.5, 0])
    assert found.assumptions == ("charges: Si +4, Fe +2 (+- 0.58, usual 2 to 3), S -2",)
    given = charges_of(["Fe"], {"Fe": 2.4})
    assert (given.values[0], given.deviations[0]) == (2.4, 0)
    assert charges_of(["Fe", "Si"], {"Fe": 2.4}, {"Fe": 0.1, "Si": 0}).deviations.tolist() == [
        0.1, 0
    ]  # fmt: skip
    assert charges_of(["Fe"], None, {"Fe": 0}).deviations[0] == 0
    assert charges_of(["Fe"], None, {"Fe": 0.2}).assumptions == (
        "charges: Fe +2 (+- 0.2, usual 2 to 3)",
    )


@pytest.mark.parametrize("element", USUAL_RANGES)
def test_charges_of__any_charge_of_the_range_is_as_likely(element):
    """The root mean square of what the truth may differ from the charge that is used by."""
    lowest, highest = USUAL_RANGES[element]
    assert lowest <= CHARGES[element] <= highest
    drawn = np.random.default_rng(0).uniform(lowest, highest, 100_000)
    spread = np.sqrt(((drawn - CHARGES[element]) ** 2).mean())
    assert float(charges_of([element], None).deviations[0]) == pytest.approx(spread, rel=0.01)


@pytest.mark.parametrize(
    ("uncertainty", "message"),
    [
        ({"Fe": -0.1}, "the uncertainty of Fe's charge must lie between 0 and 8, found -0.1"),
        ({"O": 0.1}, "oxygen's charge is -2, without uncertainty"),
        ({"Xx": 0.1}, "no chemical element 'Xx'"),
        (0.3, "valence_uncertainty must be standard uncertainties by element"),
        ({"Fe": "much"}, "the uncertainty of Fe's charge"),
    ],
)
def test_charges_of__errors(uncertainty, message):
    with pytest.raises(EdsError, match=message):
        charges_of(["Fe"], None, uncertainty)


def test_valences_from_text():
    assert valences_from_text(" Fe=3, S=-2,") == {"Fe": 3.0, "S": -2.0}
    assert valences_from_text("") is None
    for wrong in ("Fe3", "Fe=x", "Fe=1=2"):
        with pytest.raises(EdsError, match="valences must be charges, as Fe=3,S=-2; found"):
            valences_from_text(wrong)
