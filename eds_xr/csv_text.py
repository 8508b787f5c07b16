"""Texts of CSV files that no spreadsheet takes for a formula."""

from __future__ import annotations

import re

#: Where a cell may begin: spreadsheets also split at semicolons and tabs, and in comments.
_BEGIN = r"(?:^|(?<=[,;\t\r\n]))"
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)(\(\d+\))?(e[+-]?\d+)?|-"
_FORMULA = re.compile(
    rf"{_BEGIN}(?:(?=[\t\r])|(?=\s*[=+\-@＝＋－＠])(?!\s*({_NUMBER})\s*(?:[,;\t\r\n]|$)))",
    re.IGNORECASE,
)


def plain_text(text: str) -> str:
    r"""Return a text with an apostrophe before each part that a spreadsheet would compute.

    Numbers stay as they are, also with an error in brackets.

    Examples
    --------
    >>> plain_text('=HYPERLINK("http://a.b")'), plain_text("Brg; @SUM(A1)")
    ('\'=HYPERLINK("http://a.b")', "Brg;' @SUM(A1)")
    >>> plain_text("-0.3(1)"), plain_text("< 0.1"), plain_text("Ca-Pv")
    ('-0.3(1)', '< 0.1', 'Ca-Pv')
    """
    return _FORMULA.sub("'", text)
