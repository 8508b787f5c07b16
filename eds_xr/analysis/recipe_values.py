"""What a value of a recipe may be; each check returns it in plain Python types."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from eds_xr.arguments import check_range_kev
from eds_xr.schema import EdsError, check_one_of
from eds_xr.xray.elements import check_element
from eds_xr.xray.lines import split_line

#: Takes a value and what it is called; returns it, or raises.
Check = Callable[[Any, str], Any]


def whole_number(least: int, most: int | None = None) -> Check:
    """Return a check for whole numbers within limits."""
    limits = f"from {least} on" if most is None else f"from {least} to {most}"

    def check(given: Any, what: str) -> int:
        whole = isinstance(given, int) and not isinstance(given, bool)
        if not whole or given < least or (most is not None and given > most):
            raise EdsError(f"{what} must be a whole number {limits}, found {given!r}")
        return int(given)

    return check


def real_number(above: float, *, below: float = math.inf, closed: bool = False) -> Check:
    """Return a check for numbers above a limit, or equal to it (`closed`), and below another."""
    limits = f"{'at least' if closed else 'above'} {above:g}"
    if below < math.inf:
        limits += f" and below {below:g}"

    def check(given: Any, what: str) -> float:
        real = isinstance(given, int | float) and not isinstance(given, bool)
        if not (real and above <= given < below and (closed or given != above)):
            raise EdsError(f"{what} must be a number {limits}, found {given!r}")
        return float(given)

    return check


def yes_or_no(given: Any, what: str) -> bool:
    """Check a truth value."""
    if not isinstance(given, bool):
        raise EdsError(f"{what} must be true or false, found {given!r}")
    return given


def text(given: Any, what: str) -> str:
    """Check a text; it may be empty."""
    if not isinstance(given, str):
        raise EdsError(f"{what} must be a text in quotation marks, found {given!r}")
    return given


def name(given: Any, what: str) -> str:
    """Check a name, which is not empty."""
    if not text(given, what).strip():
        raise EdsError(f"{what} must not be empty")
    return str(given)


def one_of(*allowed: str) -> Check:
    """Return a check for one of some words."""

    def check(given: Any, what: str) -> str:
        check_one_of(given, allowed, what)
        return str(given)

    return check


def range_kev(given: Any, what: str) -> tuple[float, float]:
    """Check a range of energies, the lower first."""
    if len(_list(given, what, "two energies in keV: [0.7, 12.5]")) != 2:
        raise EdsError(f"{what} must be two energies in keV, the lower first, found {given!r}")
    low, high = (real_number(-math.inf)(end, what) for end in given)
    try:
        check_range_kev((low, high))
    except EdsError as error:
        raise EdsError(f"{what}: {error}") from None
    return low, high


def ranges_kev(given: Any, what: str) -> tuple[tuple[float, float], ...]:
    """Check a list of ranges of energies."""
    return tuple(range_kev(one, what) for one in _list(given, what, "a list of ranges in keV"))


def elements(given: Any, what: str) -> tuple[str, ...]:
    """Check a list of elements, each once."""
    return _each(given, what, check_element, 'a list of elements: ["Mg", "Fe"]')


def sites(given: Any, what: str) -> tuple[tuple[str, ...], ...]:
    """Check lists of elements that share a site of a formula; no element has two."""
    expected = 'lists of elements that share a site: [["Mg", "Fe"], ["Si"]]'
    found = tuple(elements(one, what) for one in _list(given, what, expected))
    _each([e for site in found for e in site], what, check_element, expected)
    return found


def lines(given: Any, what: str) -> tuple[str, ...]:
    """Check a list of X-ray lines, each once."""
    return _each(given, what, split_line, 'a list of lines: ["Si_Ka"]')


def real_numbers(given: Any, what: str) -> tuple[float, ...]:
    """Check a list of numbers."""
    expected = "a list of numbers: [0.1, 0.2]"
    return tuple(real_number(-math.inf)(one, what) for one in _list(given, what, expected))


def shares(given: Any, what: str) -> dict[str, float]:
    """Check shares of net counts by element, not all of them zero."""
    if not isinstance(given, Mapping):
        raise EdsError(f"{what} must be shares by element: {{Ca = 0.6, Si = 0.3}}, found {given!r}")
    elements(list(given), what)
    found = {e: real_number(0, closed=True)(v, f"{what}.{e}") for e, v in given.items()}
    if not any(found.values()):
        raise EdsError(f"{what} must have a share above zero, found {dict(given)!r}")
    return found


def charges(given: Any, what: str) -> dict[str, float]:
    """Check charges by element."""
    if not isinstance(given, Mapping):
        raise EdsError(f"{what} must be charges by element: {{Fe = 2.4, S = -2}}, found {given!r}")
    elements(list(given), what)
    return {e: real_number(-math.inf)(v, f"{what}.{e}") for e, v in given.items()}


def _list(given: Any, what: str, expected: str) -> list[Any]:
    if not isinstance(given, list | tuple):
        raise EdsError(f"{what} must be {expected}; found {given!r}")
    return list(given)


def _each(given: Any, what: str, check: Callable[[str], object], expected: str) -> tuple[str, ...]:
    found = _list(given, what, expected)
    for one in found:
        try:
            check(text(one, "each"))
        except EdsError as error:
            raise EdsError(f"{what}: {error}") from None
        if found.count(one) > 1:
            raise EdsError(f"{what} names {one} twice")
    return tuple(found)
