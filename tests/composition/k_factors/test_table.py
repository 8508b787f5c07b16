"""Tables of factors: made, and looked up by the name of a line."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.composition.k_factors.table import (
    check_table,
    checked_lines,
    looked_up,
    make_table,
    own_error_name,
)
from eds_xr.schema import EdsError
from eds_xr.xray.elements import atomic_mass

NAMES = ["Si_Ka", "Fe_Ka"]


def table(**attrs):
    values = np.array([1.0, 1.3]), np.array([0.0, 0.13])
    return make_table("k", NAMES, *values, units="weight", attrs=attrs)


def test_make_table__names_elements_and_leaves_out_what_nobody_knows():
    made = table(beam_energy_kev=None, reference="Si_Ka")
    assert made.element.values.tolist() == ["Si", "Fe"]
    assert made.attrs == {"reference": "Si_Ka"}
    with pytest.raises(EdsError, match="units of k-factors must be weight or atomic, found 'barn'"):
        make_table("k", NAMES, [1, 1], [0, 0], units="barn", attrs={})


def test_looked_up__by_name_with_relative_deviations():
    values, relative, names = looked_up(table(), ["Fe_Ka", "Si_Ka"], "k", 200.0)
    np.testing.assert_allclose(values, [1.3, 1.0])
    np.testing.assert_allclose(relative, np.diag([0.1, 0.0]))
    assert names == ("factor of Fe_Ka", "factor of Si_Ka")


@pytest.mark.parametrize(
    ("attrs", "name"),
    [
        ({}, "factor of Fe_Ka"),
        ({"source": "lab.csv"}, "factor of Fe_Ka (lab.csv)"),
        ({"source": "computed: Bote", "standardless": 1}, "computed factor of Fe_Ka"),
    ],
)
def test_own_error_name__tells_sources_apart(attrs, name):
    assert own_error_name(table(**attrs), "Fe_Ka") == name


def with_modes(modes, names=("counting", "thickness of the standard"), deviation=(0.05, 0.1)):
    told = xr.DataArray(modes, {"error": list(names), "line": NAMES}, ("error", "line"))
    values = np.array([1.0, 1.3])
    spread = values * np.array(deviation)
    return make_table("k", NAMES, values, spread, units="weight", attrs={}, relative_error=told)


def test_looked_up__errors_that_lines_share():
    made = with_modes([[0.03, 0.06], [0.04, 0.08]])
    _, relative, names = looked_up(made, ["Fe_Ka", "Si_Ka"], "k", None)
    assert names == ("counting", "thickness of the standard")
    np.testing.assert_allclose(relative, [[0.06, 0.08], [0.03, 0.04]])
    _, relative, names = looked_up(with_modes([[0, 0.1], [0.05, 0]]), ["Si_Ka"], "k", None)
    assert names == ("thickness of the standard",)  # of the others, nothing is left
    np.testing.assert_allclose(relative, [[0.05]])


def test_looked_up__errors_that_contradict_the_deviations():
    with pytest.raises(EdsError, match="relative_error and standard_deviation of the table dis"):
        looked_up(with_modes([[0.03, 0.06], [0.04, 0.09]]), NAMES, "k", None)
    with pytest.raises(EdsError, match="need names of their own, found a, a"):
        looked_up(with_modes([[0.03, 0.06], [0.04, 0.08]], "aa"), NAMES, "k", None)
    made = with_modes([[0.03, 0.06], [0.04, 0.08]]).drop_vars("error")
    with pytest.raises(EdsError, match="must lie along lines and named errors"):
        looked_up(made, NAMES, "k", None)


@pytest.mark.parametrize(
    "give", [dict, lambda d: xr.DataArray(list(d.values()), {"line": list(d)})]
)
def test_looked_up__numbers_alone_are_certain(give):
    values, relative, names = looked_up(give({"Si_Ka": 1.0, "Fe_Ka": 1.3}), NAMES, "k", None)
    np.testing.assert_allclose(values, [1.0, 1.3])
    assert not relative.any()
    assert names == ("factor of Si_Ka", "factor of Fe_Ka")


def test_looked_up__atomic_k_factors_become_those_by_weight():
    made = make_table("k", NAMES, [1.0, 1.0], [0.1, 0.1], units="atomic", attrs={})
    values, relative, names = looked_up(made, NAMES, "k", None)
    assert values[1] / values[0] == pytest.approx(atomic_mass("Fe") / atomic_mass("Si"))
    np.testing.assert_allclose(relative, 0.1 * np.eye(2))
    assert names == ("factor of Si_Ka", "factor of Fe_Ka")


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"Si_Ka": 1.0}, "k", "no k-factor for Fe_Ka; the table has Si_Ka"),
        ({"Si_Ka": 1.0, "Fe_Ka": -1.0}, "zeta", "zeta-factors must be positive, found"),
        ([1.0, 1.3], "zeta", "found list; read a file with eds_xr.k_factors.read_zeta_factors"),
        ([1.0], "cross_section", "eds_xr.k_factors.read_cross_sections"),
        (table(), "zeta", "expected a table of zeta-factors"),
        (table(beam_energy_kev=300.0), "k", "for a beam of 300 keV, the spectra were recorded at"),
        (xr.DataArray([1.0, 1.3], dims="line"), "k", "must lie along named lines"),
        (
            xr.DataArray([1.0, 1.3], {"line": ["Si_Ka", "Si_Ka"]}),
            "k",
            "more than one k-factor of Si",
        ),
    ],
)
def test_looked_up__errors_name_the_factor_and_the_cure(given, kind, message):
    with pytest.raises(EdsError, match=message):
        looked_up(given, NAMES, kind, 200.0)


def test_looked_up__a_beam_within_a_hundredth_is_the_same():
    looked_up(table(beam_energy_kev=200.0), NAMES, "k", 201.0)
    with pytest.raises(EdsError, match="keV"):
        looked_up(table(beam_energy_kev=200.0), NAMES, "k", 203.0)


def test_checked_lines__each_once():
    assert checked_lines(("Si_Ka", np.str_("Fe_Ka"))) == NAMES
    for wrong in ([], ["Si_Ka", "Si_Ka"]):
        with pytest.raises(EdsError, match="expected lines, each once"):
            checked_lines(wrong)


def test_check_table__another_kind_is_refused():
    check_table(table(), "k")
    with pytest.raises(EdsError, match="expected a table of cross-sections"):
        check_table(table(), "cross_section")
