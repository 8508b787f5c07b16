"""Numbers with errors as text."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.composition.uncertainty.number_text import above_text, below_text, value_text


@pytest.mark.parametrize(
    ("value", "sd", "text"),
    [
        (13.42, 0.23, "13.4(2)"),
        (13.42, 0.0996, "13.42(10)"),
        (13.42, 0.996, "13.4(10)"),
        (13.42, 0.197, "13.4(2)"),
        (1234.0, 57.0, "1230(60)"),
        (0.00034, 0.00005, "0.00034(5)"),
        (-0.02, 0.4, "0.0(4)"),
        (-1.52, 0.4, "-1.5(4)"),
        (2.0, 0.0, "2"),
        (2.5, float("nan"), "2.5"),
        (float("nan"), 1.0, "-"),
    ],
)  # fmt: skip
def test_value_text__error_in_the_last_digits(value, sd, text):
    assert value_text(value, sd) == text


def test_limits__round_outwards():
    assert [below_text(v) for v in (0.1201, 0.12, 0.00999, 99.1, 0.0)] == [
        "< 0.13", "< 0.12", "< 0.0100", "< 100", "< 0",
    ]  # fmt: skip
    assert [above_text(v) for v in (0.1299, 0.13, 1290.0)] == ["> 0.12", "> 0.13", "> 1200"]


def _read(text):
    """Return value and error that a text states, and the place of its last digit."""
    digits, error, power = re.fullmatch(r"(-?[\d.]+)\((\d+)\)(?:e(-?\d+))?", text).groups()
    unit = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
    return float(digits) * 10.0 ** int(power or 0), int(error) * unit, unit


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e4))
def test_value_text__says_the_value_to_half_a_unit_of_the_errors_first_digits(value, sd):
    text = value_text(value, sd)
    said, error, _ = _read(text) if "." in text else (*_whole(text), 1.0)
    assert abs(said - value) <= 0.51 * sd
    assert error == pytest.approx(sd, rel=0.34)


def _whole(text):
    """Return value and error of a text without decimals: brackets hold the error itself."""
    digits, error = re.fullmatch(r"(-?\d+)\((\d+)\)", text).groups()
    return float(digits), float(error)


@given(st.floats(1e-4, 1e6))
def test_limits__never_promise_too_much(limit):
    assert float(below_text(limit)[2:]) >= limit * (1 - 1e-9)
    assert float(above_text(limit)[2:]) <= limit * (1 + 1e-9)
    assert float(below_text(limit)[2:]) <= 1.11 * limit


def test_value_text__very_large_and_small_have_an_exponent():
    assert value_text(6.5e-8, 2e-9) == "6.5(2)e-8"
    assert value_text(-1.234e20, 5e17) == "-1.234(5)e20"
    assert below_text(1.21e-9) == "< 1.3e-9"
    assert above_text(math.inf) == "> inf"
