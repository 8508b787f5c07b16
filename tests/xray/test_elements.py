import pytest
import xraydb
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.schema import EdsError
from eds_xr.xray import elements
from eds_xr.xray import lines as xray_lines


def test_symbols__are_those_of_the_tables():
    assert list(elements.SYMBOLS) == [xraydb.atomic_symbol(z) for z in range(1, 99)]


def test_natural_elements__have_no_gap_but_the_radioactive():
    lacking = set(elements.SYMBOLS[2:92]) - set(elements.NATURAL_ELEMENTS)
    assert lacking == {"Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Pa"}


@given(numbers=st.lists(st.integers(-5, 150)))
def test_symbols__each_once_by_atomic_number(numbers):
    found = elements.symbols(numbers)
    assert [xraydb.atomic_number(e) for e in found] == sorted({z for z in numbers if 0 < z < 99})


def test_element_names__each_once_in_the_order_given():
    assert elements.element_names(["Fe", "Mg", "Fe"]) == ["Fe", "Mg"]
    assert elements.element_names("Si") == ["Si"]
    assert elements.element_names(()) == []


@pytest.mark.parametrize(
    ("given_elements", "message"),
    [
        (["Mg", "fe"], "no chemical element 'fe'; expected a symbol such as 'Fe'"),
        ([26], "no chemical element 26"),
        (26, r"stray must be a list of symbols, such as \['Mg', 'Fe'\], found 26"),
    ],
)
def test_element_names__says_what_is_wrong(given_elements, message):
    with pytest.raises(EdsError, match=message):
        elements.element_names(given_elements, "stray")


def test_masses__of_each_lines_element():
    assert elements.masses(["O_Ka", "Fe_La", "Fe_Ka"]) == pytest.approx([15.999, 55.845, 55.845])
    with pytest.raises(EdsError, match="no chemical element 'Xx'"):
        elements.atomic_mass("Xx")


def test_stray_lines__are_elements():
    for element in elements.STRAY_LINES:
        xray_lines.check_element(element)
