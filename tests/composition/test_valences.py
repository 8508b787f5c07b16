"""Oxygen that balances charges."""

import numpy as np
import pytest

from eds_xr.composition.valences import CHARGES, oxygen_per_atom
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
