"""What is said at the numbers."""

import numpy as np
import xarray as xr

from eds_xr.analysis.any_sample import said

NAMES = {"phase": ["grain", "matrix"], "element": ["Fe", "Mg"]}


def _composition(*iron: float) -> xr.Dataset:
    values = np.array([[value, 1 - value] for value in iron])
    dims = ("phase", "element")
    return xr.Dataset(
        {
            "atomic_fraction": (dims, values),
            "atomic_fraction_variance": (dims, np.full((2, 2), 1e-4)),
            "doubt": (dims, [["", "misfit"], ["", ""]]),
        },
        NAMES,
    )


def test_doubted__what_is_wrong_with_a_phase_stands_at_all_its_numbers() -> None:
    found = said.doubted(_composition(0.2, 0.3).doubt, {"grain": "unproven"})
    assert found.values.tolist() == [["unproven", "misfit; unproven"], ["", ""]]


def test_with_contradictions__at_the_numbers_that_two_ways_give_differently() -> None:
    one, other = _composition(0.2, 0.3), _composition(0.3, 0.31)
    comparison = said.compared(one, other)
    found = said.with_contradictions(one, comparison)
    assert found.doubt.values.tolist() == [
        [said.CONTRADICTED, f"misfit; {said.CONTRADICTED}"], ["", ""]
    ]  # fmt: skip
    alone = said.with_contradictions(one, comparison.isel(phase=[1]))
    assert alone.doubt.equals(one.doubt)


def test_doubted_elements__where_they_are_seen_and_may_be_others() -> None:
    identification = xr.Dataset(
        {"found": ("element", [True, True, False]), "alias": ("element", ["Br", "", "Si"])},
        {"element": ["Al", "Fe", "Re"]},
    )
    assert said.aliases(None, set()) == {}
    assert said.aliases(identification, {"Al"}) == {}
    why = said.aliases(identification, {"Fe"})
    assert why == {"Al": "Br"}
    dims = ("phase", "line")
    lines = xr.Dataset(
        {
            "net": (dims, [[100.0, 50.0], [2.0, 50.0]]),
            "variance": (dims, np.full((2, 2), 4.0)),
            "doubt": (dims, [["", "misfit"], ["", ""]]),
        },
        {"line": ["Al_Ka", "Fe_Ka"], "element": ("line", ["Al", "Fe"]), "phase": ["a", "b"]},
    )
    found = said.doubted_elements(lines, why).values.tolist()
    assert found == [["may be Br instead", "misfit"], ["", ""]]
