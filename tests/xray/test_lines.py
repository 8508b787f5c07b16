import numpy as np
import pytest
import xraydb
from hypothesis import given
from hypothesis import strategies as st

from eds_xr.schema import EdsError
from eds_xr.xray import atomic_data
from eds_xr.xray import lines as xray_lines

#: Measured energies (Bearden, Rev. Mod. Phys. 39 (1967) 78) [keV].
MEASURED = {
    "O_Ka": 0.525,
    "Mg_Ka": 1.254,
    "Si_Ka": 1.740,
    "Ca_Ka": 3.691,
    "Fe_Ka": 6.400,
    "Cu_Ka": 8.041,
    "Fe_Kb": 7.058,
    "Nd_La": 5.230,
    "Nd_Lb1": 5.722,
    "Sm_La": 5.636,
    "Lu_La": 7.655,
    "Hf_La": 7.899,
    "Pt_La": 9.442,
    "Pt_Ma": 2.051,
    "U_Ma": 3.171,
    "U_Mb": 3.337,
}
ELEMENTS = st.sampled_from([xraydb.atomic_symbol(z) for z in range(1, 99)])


@pytest.mark.parametrize("name", MEASURED)
def test_line_energy_kev__within_a_channel_of_measured(name):
    assert xray_lines.line_energy_kev(name) == pytest.approx(MEASURED[name], abs=0.0105)


@given(element=ELEMENTS)
def test_line_energy_kev__every_line_has_one(element):
    for shell in "KLM":
        for line in xray_lines.family(element, shell):
            assert xray_lines.line_energy_kev(line.name) == line.energy_kev > 0


def test_line_energy_kev__of_a_line_that_starts_from_an_empty_shell():
    with pytest.raises(EdsError, match="Ba has no line 'Ma'; it has .*, Mz"):
        xray_lines.line_energy_kev("Ba_Ma")  # no 4f electrons before lanthanum


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Fe", "expected a line such as 'Fe_Ka', found 'Fe'"),
        ("Xx_Ka", "no chemical element 'Xx'"),
        ("fe_Ka", "no chemical element 'fe'"),
        ("Fe_Ma", "Fe has no line 'Ma'; it has Ka, Kb, "),
        ("H_Ka", "it has none"),
    ],
)
def test_split_line__says_what_is_wrong(name, message):
    with pytest.raises(EdsError, match=message):
        xray_lines.split_line(name)


@given(element=ELEMENTS, shell=st.sampled_from("KLM"), beam=st.floats(5, 300))
def test_family__weights_sum_to_one(element, shell, beam):
    lines = xray_lines.family(element, shell, beam)
    assert all(line.weight > 0 and line.family == shell for line in lines)
    assert [x.weight for x in lines] == sorted((x.weight for x in lines), reverse=True)
    assert not lines or sum(line.weight for line in lines) == pytest.approx(1)


@given(element=ELEMENTS, shell=st.sampled_from("KLM"))
def test_components__add_up_to_their_group(element, shell):
    for line in xray_lines.family(element, shell):
        parts = xray_lines.components(line.name)
        assert sum(p.weight for p in parts) == pytest.approx(line.weight)
        mean = sum(p.weight * p.energy_kev for p in parts) / line.weight
        assert mean == pytest.approx(line.energy_kev)


def test_family__k_ratio_of_iron():
    """Half-way from Scofield's 0.1391 to xraylib's 0.1343; measured ones lie there, too."""
    weights = {line.name: line.weight for line in xray_lines.family("Fe", "K")}
    assert weights["Fe_Kb"] / weights["Fe_Ka"] == pytest.approx(0.1367, abs=0.0005)


@pytest.mark.parametrize("element", ["Ti", "Cr", "Ni", "Cu", "Ge", "Sr", "Mo", "Ag", "Sn"])
def test_family__kb_rises_smoothly_with_atomic_number(element):
    number = xraydb.atomic_number(element)
    ratios = []
    for z in (number - 1, number, number + 1):
        lines = {x.name: x.weight for x in xray_lines.family(xraydb.atomic_symbol(z), "K")}
        alpha, beta = (sum(w for n, w in lines.items() if f"_{g}" in n) for g in ("Ka", "Kb"))
        ratios.append(beta / alpha)
    assert 0 <= min(np.diff(ratios)) <= max(np.diff(ratios)) < 0.01


@pytest.mark.parametrize(("element", "ratio"), [("Mg", 0.0050), ("Si", 0.0286), ("Ca", 0.1286)])
def test_family__kb_is_weak_where_the_3p_shell_is_empty(element, ratio):
    weights = {line.name: line.weight for line in xray_lines.family(element, "K")}
    assert weights[f"{element}_Kb"] / weights[f"{element}_Ka"] == pytest.approx(ratio, rel=0.01)


def test_family__coster_kronig_feeds_the_outer_subshells(monkeypatch):
    plain = xray_lines.emission_per_atom("Nd_La", 199.0)
    known = atomic_data.subshells("Nd").items()
    alone = {s: x._replace(transfers=({}, {})) for s, x in known}
    monkeypatch.setattr(atomic_data, "subshells", lambda element: alone)
    none = xray_lines.emission_per_atom("Nd_La", 198.999)  # not 199: results are kept
    assert plain > 1.15 * none


def test_family__la_is_the_strongest_of_the_lanthanides():
    for element in ("Nd", "Sm", "Lu", "Hf"):
        weights = {line.name: line.weight for line in xray_lines.family(element, "L")}
        assert 0.35 < weights[f"{element}_Lb1"] / weights[f"{element}_La"] < 0.65


def test_family__m_lines_of_uranium():
    assert [line.name for line in xray_lines.family("U", "M")][:2] == ["U_Ma", "U_Mb"]


def test_family__empty_below_the_edge():
    assert xray_lines.family("Fe", "K", 7.0) == ()
    assert xray_lines.emission_per_atom("Fe_Ka", 7.0) == 0


def test_family__errors():
    with pytest.raises(EdsError, match="must be one of 'K', 'L', 'M', found 'N'"):
        xray_lines.family("Fe", "N")
    with pytest.raises(EdsError, match="beam_energy_kev must be positive, in keV .*, found -1"):
        xray_lines.family("Fe", "K", -1)


@pytest.mark.parametrize(
    ("element", "line"),
    [("O", "Ka"), ("Mg", "Ka"), ("Cu", "Ka"), ("Mo", "La"), ("Nd", "La"), ("Hf", "La")]
    + [("Pt", "La"), ("U", "Ma")],
)
def test_principal_line__classical_choice(element, line):
    assert xray_lines.principal_line(element) == f"{element}_{line}"


def test_principal_line__follows_range_and_beam():
    assert xray_lines.principal_line("Fe", max_kev=5) == "Fe_La"
    assert xray_lines.principal_line("Fe", 5.0) == "Fe_La"
    assert xray_lines.principal_line("Mo", max_kev=20) == "Mo_Ka"
    assert xray_lines.principal_line("Pt", max_kev=5) == "Pt_Ma"


def test_principal_line__none_in_range():
    with pytest.raises(EdsError, match="Mg has no principal line between 5 and 12.5 keV"):
        xray_lines.principal_line("Mg", min_kev=5)


def test_principal_lines__of_those_that_have_one_in_range():
    found = xray_lines.principal_lines(["Mg", "Fe", "U"], 2.0, 6.0)
    assert found == {"U": "U_Ma"}
    with pytest.raises(EdsError, match="no chemical element 'Xx'"):
        xray_lines.principal_lines(["Mg", "Xx"], 0.1, 12.5)


@given(element=ELEMENTS, low=st.floats(0.1, 3.0), high=st.floats(3.0, 20.0))
def test_principal_lines__lie_in_the_range(element, low, high):
    for name in xray_lines.principal_lines([element], low, high).values():
        assert name == xray_lines.principal_line(element, min_kev=low, max_kev=high)
        assert low <= xray_lines.line_energy_kev(name) <= high


def test_line_on_axis__a_line_stays_and_an_element_gets_one():
    energy = np.arange(0.5, 5.0, 0.01)
    assert xray_lines.line_on_axis("Fe_Ka", energy) == "Fe_Ka"  # whoever uses it checks windows
    assert xray_lines.line_on_axis("Fe", energy) == "Fe_La"
    with pytest.raises(EdsError, match="Fe has no line 'Kq'"):
        xray_lines.line_on_axis("Fe_Kq", energy)
    with pytest.raises(EdsError, match="B has no principal line between 0.5 and 4.99 keV"):
        xray_lines.line_on_axis("B", energy)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        # mass factors to Si at 200 kV: the span of published experiments, roughly
        ("Al_Ka", 0.9, 1.15),
        ("Ca_Ka", 0.95, 1.25),
        ("Fe_Ka", 1.15, 1.5),
        ("Ni_Ka", 1.3, 1.7),
        ("Ag_La", 2.0, 3.2),
    ],
)
def test_emission_per_atom__gives_usual_cliff_lorimer_factors(name, low, high):
    silicon = xray_lines.emission_per_atom("Si_Ka", 200.0) / xraydb.atomic_mass("Si")
    mass = xraydb.atomic_mass(name.split("_")[0])
    assert low < silicon / (xray_lines.emission_per_atom(name, 200.0) / mass) < high


def test_emission_per_atom__shares_of_a_family_are_its_weights():
    lines = xray_lines.family("Sm", "L", 200)
    photons = [xray_lines.emission_per_atom(line.name, 200) for line in lines]
    shares = np.array(photons) / sum(photons)
    np.testing.assert_allclose(shares, [line.weight for line in lines])
