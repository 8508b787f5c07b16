"""Numbers with their errors as text, as papers print them."""

from __future__ import annotations

import math
from collections.abc import Callable

#: Powers of ten that are written out; above and below, numbers have an exponent.
_PLAIN = (-5, 9)


def value_text(value: float, sd: float) -> str:
    """Return a value with its standard deviation in brackets, in units of the last digit.

    One digit of the error, two where the first is a 1.

    Examples
    --------
    >>> value_text(13.42, 0.23), value_text(13.42, 0.13), value_text(1234.0, 57.0)
    ('13.4(2)', '13.42(13)', '1230(60)')
    >>> value_text(6.5e-8, 2e-9), value_text(1.234e20, 5e17)  # as masses and atoms an area
    ('6.5(2)e-8', '1.234(5)e20')
    """
    if not math.isfinite(value):
        return "-"
    if not (math.isfinite(sd) and sd > 0):
        return f"{value:.6g}"
    power = math.floor(math.log10(max(abs(value), sd)))
    if not _PLAIN[0] <= power <= _PLAIN[1]:
        return f"{value_text(value / 10.0**power, sd / 10.0**power)}e{power}"
    places = _places(sd)
    text, error = f"{round(value, places):.{max(places, 0)}f}", round(sd, places)
    digits = round(error * 10.0 ** max(places, 0))
    return f"{text.removeprefix('-') if float(text) == 0 else text}({digits})"


def below_text(limit: float) -> str:
    """Return an upper limit as text, rounded up to two digits.

    Examples
    --------
    >>> below_text(0.1234), below_text(1234.0)
    ('< 0.13', '< 1300')
    """
    return f"< {_two_digits(limit, math.ceil)}"


def above_text(limit: float) -> str:
    """Return a lower limit as text, rounded down to two digits.

    Examples
    --------
    >>> above_text(0.1299)
    '> 0.12'
    """
    return f"> {_two_digits(limit, math.floor)}"


def _places(sd: float) -> int:
    """Return the decimals that are shown: negative for tens and hundreds."""
    power = math.floor(math.log10(sd))
    return 1 - power if round(sd / 10.0**power, 1) < 2 else -power


def _two_digits(limit: float, rounded: Callable[[float], int]) -> str:
    if limit == 0 or not math.isfinite(limit):
        return f"{limit:g}"
    power = math.floor(math.log10(abs(limit)))
    if not _PLAIN[0] <= power <= _PLAIN[1]:
        return f"{_two_digits(limit / 10.0**power, rounded)}e{power}"
    places = 1 - power
    scaled = round(limit * 10.0**places, 9)  # 0.12 is 12.000000000000002 hundredths
    return f"{rounded(scaled) / 10.0**places:.{max(places, 0)}f}"
