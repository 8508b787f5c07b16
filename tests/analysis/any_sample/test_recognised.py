"""Components recognised by the shares of their lines."""

import pytest

from eds_xr import EdsError
from eds_xr.analysis.any_sample.recognised import recognised
from eds_xr.analysis.recipe import PhaseRecipe

SHARES = [
    {"Mg": 0.38, "Si": 0.48, "Ca": 0.02, "Fe": 0.07},
    {"Mg": 0.84, "Si": 0.0, "Ca": 0.0, "Fe": 0.16},
    {"Mg": 0.0, "Si": 0.24, "Ca": 0.76, "Fe": 0.0},
]
BRIGHT = PhaseRecipe("bright", like={"Ca": 0.6, "Si": 0.3, "Mg": 0.05})
DARK = PhaseRecipe("dark", like={"Mg": 0.8, "Si": 0.0, "Fe": 0.2})


def test_recognised__each_is_the_nearest_one_to_one() -> None:
    assert recognised(SHARES, [BRIGHT, DARK]) == ["", "dark", "bright"]


def test_recognised__phases_without_shares_are_nobody() -> None:
    assert recognised(SHARES, [PhaseRecipe("any")]) == ["", "", ""]


def test_recognised__what_is_not_there_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(EdsError, match=r"copper: no component is like it; .*Ca = 0\.76"):
        recognised(SHARES, [PhaseRecipe("copper", like={"Cu": 1.0, "Ca": 0.1})])


def test_recognised__more_phases_than_components() -> None:
    with pytest.raises(EdsError, match="names 2 phases, the map has 1"):
        recognised(SHARES[:1], [BRIGHT, DARK])
