"""What a page says of the result's doubts: tests, coverage, strangers, zoning; no script runs."""

import numpy as np
import xarray as xr

from eds_xr.report.page.doubts import what_the_check_says, zoned_texts

HOSTILE = "<script>alert(1)</script>"


def _parts() -> dict[str, xr.Dataset]:
    tests = xr.Dataset(
        {
            "size": ("test", [0.5, np.nan]), "size_sd": ("test", [0.1, np.nan]),
            "units": ("test", ["%", "%"]), "chance": ("test", [1e-9, np.nan]),
            "flagged": ("test", [True, False]),
            "text": ("test", ["the gain drifts", "not tested: no line"]),
        },
        {"test": ["gain along y", "pile-up"]}, {"level": 0.05},
    )  # fmt: skip
    dims = ("way", "phase", "element")
    grid = {"way": ["composition"], "phase": [HOSTILE, "b"], "element": ["Mg", "Si"]}
    numbers = {
        "covered": [[0.7, 1.0], [np.nan, np.nan]], "draws": [[20, 20], [0, 0]],
        "widening": [[1.8, 1.0], [1.0, 1.0]], "bias": [[0.01, 0.0], [np.nan, np.nan]],
    }  # fmt: skip
    coverage = xr.Dataset({n: (dims, [v]) for n, v in numbers.items()}, grid, {"draws": 20})
    strangers = xr.Dataset({"text": ("stranger", [f"{HOSTILE} {i}" for i in range(25)])})
    return {"check": tests, "coverage": coverage, "strangers": strangers, "zoning": zoned()}


def zoned() -> xr.Dataset:
    """Return eight lines of two phases that vary, the last ones most surely, but for one."""
    lines = ["Mg_Ka", "Si_Ka", "Ca_Ka", "Fe_Ka"]
    q = np.geomspace(0.1, 1e-9, 8).reshape(2, 4)
    text = np.array([[f"{p}: {line} varies" for line in lines] for p in (HOSTILE, "b")], object)
    cells = {"q_value": q, "zoned": q < 0.05, "text": np.where(q < 0.05, text, "")}
    return xr.Dataset(
        {n: (("phase", "line"), v) for n, v in cells.items()},
        {"phase": [HOSTILE, "b"], "line": lines},
    )


def test_zoned_texts__the_most_significant_first_and_none_that_chance_makes() -> None:
    texts = zoned_texts(zoned())
    assert texts[0] == "b: Fe_Ka varies"
    assert len(texts) == 7
    assert zoned_texts(zoned().assign(zoned=zoned().zoned & False)) == []


def test_what_the_check_says__of_all_four() -> None:
    text = what_the_check_says(_parts())
    assert "<script>" not in text
    assert "<li>the gain drifts</li>" in text
    assert "pile-up: not tested: no line" in text
    assert "Not flagged" not in text
    assert "<td>85 %</td><td>20 of 20</td><td>Mg 1.8 times (bias +1 at%)</td>" in text
    assert "given in none" in text
    assert "And 5 more" in text
    assert text.index("b: Fe_Ka varies") < text.index("b: Mg_Ka varies")
    assert "And 1 more, in the group zoning" in text


def test_what_the_check_says__nothing_where_nothing_was_checked() -> None:
    assert what_the_check_says({}) == ""
    quiet = _parts()["check"]
    quiet = quiet.assign(flagged=xr.zeros_like(quiet.flagged))
    text = what_the_check_says({"check": quiet})
    assert "Nothing." in text
    assert "Not flagged: gain along y; sizes" in text
