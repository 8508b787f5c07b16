"""What is flagged stands among the warnings, and at the numbers that it concerns."""

import numpy as np
import pytest
import xarray as xr
from support.drawn import composition

from eds_xr.analysis.self_check.misfits import as_dataset
from eds_xr.analysis.self_check.quick import _with_groups, said
from eds_xr.analysis.self_check.tests_of_spectra import Finding, not_tested


def _tests(*flagged: str) -> xr.Dataset:
    names = ("gain along y", "pile-up", "thickness")
    made = [Finding(n, 1.0, 0.1, "%", 1e-9 if n in flagged else 0.9, f"{n}!") for n in names]
    return as_dataset([*made, not_tested("peak width", "%", "unknown")], 0.05)


def _tree() -> xr.DataTree:
    found = composition()
    doubt = xr.full_like(found.atomic_fraction, "", dtype=object).drop_attrs()
    tree = xr.DataTree.from_dict({"composition": found.assign(doubt=doubt)})
    tree.attrs = {"warnings": ["before"]}
    return tree


def test_as_dataset__chances_are_those_of_all_tests_together() -> None:
    found = _tests("pile-up")
    assert found.flagged.values.tolist() == [False, True, False, False]
    assert float(found.chance.sel(test="pile-up")) == pytest.approx(3e-9)
    assert np.isnan(found.chance.sel(test="peak width"))


def test_with_groups__warnings_and_doubts_tell_what_is_flagged() -> None:
    tests = _tests("gain along y")
    made = _with_groups(_tree(), {"check": tests}, said("check", tests))
    assert made.attrs["warnings"] == ["before", "check: gain along y!"]
    assert set(made["composition"].doubt.values.ravel()) == {"the energy axis drifts"}
    assert "check" in made.children


def test_with_groups__what_concerns_no_number_marks_none() -> None:
    made = _with_groups(_tree(), {"check": _tests("thickness")}, [])
    assert set(made["composition"].doubt.values.ravel()) == {""}


def test_said__the_most_significant_strangers_and_how_many_more() -> None:
    found = xr.Dataset({"text": ("stranger", [f"{i}" for i in range(7)])})
    assert said("strangers", found)[0] == "stranger: 0"
    assert said("strangers", found)[-1].startswith("2 more strangers")


def test_said__what_varies_within_a_phase() -> None:
    grid = {"phase": ["a"], "line": [f"{i}" for i in range(5)]}
    cells = {
        "q_value": [0.04, 0.03, 0.02, 0.01, 0.9], "zoned": [True] * 4 + [False],
        "text": [f"a: {i} varies" for i in range(4)] + [""],
    }  # fmt: skip
    found = xr.Dataset({n: (("phase", "line"), [v]) for n, v in cells.items()}, grid)
    notes = said("zoning", found)
    assert notes[:3] == [f"zoning: a: {i} varies" for i in (3, 2, 1)]
    assert notes[3:] == ["zoning: 1 more, in the group of that name"]
