"""What a page says of the result's doubts: tests, coverage, strangers, zoning; no script runs."""

import numpy as np
import xarray as xr

from eds_xr.report.page.doubts import what_the_check_says

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
    """Return which lines of two phases vary."""
    varies = [[False, True, True, True], [True] * 4]
    return xr.Dataset(
        {"zoned": (("phase", "line"), varies)},
        {"phase": [HOSTILE, "b"], "line": ["Mg_Ka", "Si_Ka", "Ca_Ka", "Fe_Ka"]},
    )


def test_what_the_check_says__of_all_four() -> None:
    text = what_the_check_says(_parts())
    assert "<script>" not in text
    assert "<li>the gain drifts</li>" in text
    assert "pile-up: not tested: no line" in text
    assert "Not flagged" not in text
    assert "<td>85 %</td><td>20 of 20</td><td>Mg 1.8 times (bias +1 at%)</td>" in text
    assert "given in none" in text
    assert "And 5 more" in text
    assert "&lt;/script&gt;: Si_Ka, Ca_Ka, Fe_Ka; b: Mg_Ka, Si_Ka, Ca_Ka, Fe_Ka.</p>" in text


def test_what_the_check_says__of_neither_strangers_nor_zoning() -> None:
    none = _parts()["strangers"].isel(stranger=slice(0)), zoned() & False
    text = what_the_check_says(dict(zip(("strangers", "zoning"), none, strict=True)))
    assert text.count("<p>None.</p>") == 1


def test_what_the_check_says__nothing_where_nothing_was_checked() -> None:
    assert what_the_check_says({}) == ""
    quiet = _parts()["check"]
    quiet = quiet.assign(flagged=xr.zeros_like(quiet.flagged))
    text = what_the_check_says({"check": quiet})
    assert "Nothing." in text
    assert "Not flagged: gain along y; sizes" in text
