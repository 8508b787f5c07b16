"""The tables of lines that the package ships: what stands in them, and what is made of them."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import line_tables

from eds_xr.xray import atomic_data
from eds_xr.xray import lines as xray_lines
from eds_xr.xray.elements import SYMBOLS

ELEMENTS = st.sampled_from(SYMBOLS[:98])
#: Measured single lines (Bearden, Rev. Mod. Phys. 39 (1967) 78) [keV].
BEARDEN = {
    "B_Ka1": 0.1833, "N_Ka1": 0.3924, "O_Ka1": 0.5249, "Mg_Ka1": 1.25360, "Si_Ka1": 1.73998,
    "Si_Kb1": 1.8359, "Ca_Kb1": 4.0127, "Fe_Ka1": 6.40384, "Fe_Kb1": 7.05798, "Cu_Ka1": 8.04778,
    "Zr_La1": 2.04236, "Zr_Lb2,15": 2.2194, "Mo_La1": 2.29316, "Mo_Lg1": 2.6235, "Ba_Lb3": 4.9266,
    "Nd_La1": 5.2304, "Nd_Lb1": 5.7216, "Hf_La1": 7.8990, "Pb_La1": 10.5515, "Pb_Ma": 2.3455,
    "Hf_Ma": 1.6446, "Pt_Ma": 2.0505, "U_Ma": 3.1708, "U_Mb": 3.3367, "U_Mg1": 3.5657,
}  # fmt: skip


@pytest.mark.parametrize("file", ["lines.csv", "subshells.csv"])
def test_tables__are_what_the_libraries_say(file):
    """A library that changes a number, and a number changed by hand, are seen here."""
    shipped = (line_tables.FOLDER / file).read_text(encoding="utf-8")
    made = line_tables.table_texts()[file]
    assert made.splitlines() == shipped.splitlines()


def test_tables__are_read_on_first_use():
    probe = (
        "import eds_xr, eds_xr.xray.lines; from eds_xr.xray import atomic_data as a;"
        "print(a._lines_table.cache_info().currsize, a._subshells_table.cache_info().currsize)"
    )
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert found.stdout.split() == ["0", "0"], found.stderr


@pytest.mark.parametrize("name", BEARDEN)
def test_energy__of_well_known_lines(name):
    element, single = name.split("_")
    group = f"{element}_{atomic_data.group_of(single)}"
    line = next(x for x in xray_lines.components(group) if x.name == name)
    assert abs(line.energy_kev - BEARDEN[name]) < max(0.0015, 1.5 * line.energy_uncertainty_kev)
    assert line.energy_uncertainty_kev < 0.009


@pytest.mark.parametrize(
    ("element", "shell", "names"),
    [
        ("N", "K", "Ka"),
        ("Zr", "L", "La Lb1 Lb2 Lb3 Lb4 Lb6 Lg1 Lg2 Lg3 Lg5 Ll Ln"),
        ("Mo", "L", "La Lb1 Lb2 Lb3 Lb4 Lb6 Lg1 Lg2 Lg3 Lg5 Ll Ln"),
        ("Pb", "L", "La Lb1 Lb2 Lb3 Lb4 Lb5 Lb6 Lb9 Lg1 Lg2 Lg3 Lg4 Lg6 Ll Ln"),
        ("Ag", "M", "Mz"),
        ("Pt", "M", "Ma Mb Mg Mz M2N4 M3N1 M1N2"),
        ("U", "M", "Ma Mb Mg Mz M2N4 M3N1 M1N2"),
    ],
)
def test_family__has_the_lines_of_published_tables(element, shell, names):
    found = {line.name.split("_")[1] for line in xray_lines.family(element, shell)}
    assert set(names.split()) <= found


@given(element=ELEMENTS, shell=st.sampled_from("KLM"), beam=st.floats(30, 300))
def test_weight_uncertainty__covers_what_the_tables_differ_by(element, shell, beam):
    singles = atomic_data.single_lines(element, shell, beam)
    photons = np.array([parts for _, parts in singles]).reshape(len(singles), 2)
    each = photons / photons.sum(axis=0)
    names = np.array([f"{element}_{atomic_data.group_of(line.name)}" for line, _ in singles])
    for line in xray_lines.family(element, shell, beam):
        a, b = each[names == line.name].sum(axis=0)
        assert line.weight == pytest.approx((a + b) / 2)
        assert line.weight_uncertainty * line.weight >= abs(a - b) / 2 * (1 - 1e-9)
        assert line.energy_uncertainty_kev >= 0.001 * (1 - 1e-9)
        assert line.weight > 1 - 1e-9 or line.weight_uncertainty > 0


@given(element=ELEMENTS)
def test_subshells__branch_completely(element):
    """What is left out of the table is little: lines of less than a thousandth of their family."""
    rates: dict[str, np.ndarray] = {}
    for line in atomic_data.tabulated_lines(element):
        rates[line.subshell] = rates.get(line.subshell, 0.0) + np.array(line.rates)
        assert 0 < line.energy_kev <= 1.005 * atomic_data.subshells(element)[line.subshell].edge_kev
    for subshell, total in rates.items():
        assert (total < 1.001).all()
        assert subshell[-1] in "12" or (total > 0.95).all()


def test_subshells__no_yield_leaps_from_one_element_to_the_next():
    """Gold's M2 has 0.0423 in both libraries, ten times its neighbours': a misprint of theirs."""
    for subshell in ("K", "M2", "M3"):
        found = [atomic_data.subshells(e)[subshell].yields for e in SYMBOLS[55:83]]
        assert np.ptp(np.diff(np.log(found), axis=0), axis=0).max() < 0.25


def test_family__weakly_known_lines_say_so():
    """Two tables contradict one another about Ma and Mz while 4f fills; Na and Mg have no 3p."""
    doubts = {x.name: x.weight_uncertainty for s in "KLM" for x in xray_lines.family("Nd", s)}
    assert doubts["Nd_Ma"] > 0.9
    assert doubts["Nd_Mz"] > 0.9
    assert 0.03 < doubts["Nd_Lb1"] < 0.1
    assert 0.1 < doubts["Nd_Lb3"] < 0.2  # L1 is known less well than L2 and L3
    magnesium = {x.name: x.weight_uncertainty for x in xray_lines.family("Mg", "K")}
    assert magnesium["Mg_Ka"] < 0.006
    assert magnesium["Mg_Kb"] == pytest.approx(1.0, abs=0.01)


def test_emission_uncertainty__grows_where_yields_differ():
    assert xray_lines.emission_uncertainty("Fe_Ka", 200.0) == xray_lines.EMISSION_UNCERTAINTY["K"]
    assert xray_lines.emission_uncertainty("O_Ka", 200.0) == pytest.approx(0.18, abs=0.01)
    assert xray_lines.emission_uncertainty("N_Ka", 200.0) == pytest.approx(0.26, abs=0.01)
    assert xray_lines.emission_uncertainty("C_Ka", 200.0) == pytest.approx(0.38, abs=0.01)
    assert xray_lines.emission_uncertainty("B_Ka", 200.0) == pytest.approx(0.46, abs=0.01)
    assert xray_lines.emission_uncertainty("Ti_La", 200.0) > 0.8
    assert xray_lines.emission_uncertainty("Cu_La", 200.0) < 0.3
    assert xray_lines.emission_uncertainty("Pt_Ma", 200.0) == xray_lines.EMISSION_UNCERTAINTY["M"]
    assert xray_lines.emission_uncertainty("Ag_Mz", 200.0) > 0.5


#: K yields: Krause, J. Phys. Chem. Ref. Data 8 (1979) 307; xraylib's and Elam's are in our tables.
KRAUSE = {
    "B": 0.0017, "C": 0.0028, "N": 0.0052, "O": 0.0083, "F": 0.013, "Ne": 0.018, "Na": 0.023,
    "Mg": 0.030, "Al": 0.039, "P": 0.063, "S": 0.078, "Cl": 0.097, "Ar": 0.118,
}  # fmt: skip


@pytest.mark.parametrize("element", KRAUSE)
def test_emission_uncertainty__is_that_of_published_yields(element):
    """Against Si (Krause 0.050), as fractions take it: within two standard deviations of each."""
    own, silicon = (atomic_data.subshells(e)["K"].yields for e in (element, "Si"))
    ratios = [own[0] / silicon[0], own[1] / silicon[1], KRAUSE[element] / 0.050]
    stated = np.hypot(*(xray_lines.emission_uncertainty(f"{e}_Ka", 200.0) for e in (element, "Si")))
    apart = np.log(ratios) - np.log(ratios[0])
    assert np.abs(apart).max() < 2 * stated
    assert np.std(np.log(ratios), ddof=1) < 1.2 * stated
