"""The foot of a table: what the brackets hold, what they do not, what is assumed."""

import numpy as np
import pytest
import xarray as xr
from support.makers.lines import lines_of

from eds_xr import k_factors as kf
from eds_xr.composition.minerals import formula, oxides
from eds_xr.composition.quantify import quantify
from eds_xr.composition.ratios import ratio
from eds_xr.composition.uncertainty.budget import budget
from eds_xr.report.foot import foot
from eds_xr.report.tables import to_text, write_csv
from eds_xr.xray.elements import atomic_mass

NAMES = ["O_Ka", "Mg_Ka", "Si_Ka"]
MASSES = np.array([atomic_mass(e) for e in ("O", "Mg", "Si")])
K = dict.fromkeys(NAMES, 1.0)
FILM = {"mass_thickness_kg_m2": 5e-4, "take_off_angle_deg": 20.0}


def olivine(oxygen=4.0, **attrs):
    """Return lines of Mg2SiO4 whose counts are masses, with more or less oxygen."""
    net = 2000 * MASSES * [oxygen, 2.0, 1.0]
    return lines_of(net, names=NAMES, beam_energy_kev=200.0, **attrs)


def told_apart(lines, parts):
    both = ("effect", *lines.covariance.dims)
    table = np.stack([share * lines.covariance.values for share in parts.values()])
    return lines.assign_coords(effect=list(parts)).assign(effect_covariance=(both, table))


def said(dataset, quantity="atomic_fraction"):
    return " | ".join(foot(dataset, quantity))


def test_foot__what_the_brackets_hold_and_leave_out():
    lines = told_apart(olivine(), {"counting": 0.7, "line_weights": 0.295, "matrix": 0.005})
    table = kf.k_factors(K, {"O_Ka": 0.1, "Mg_Ka": 0.02, "Si_Ka": 0.02})
    thin = FILM | {"mass_thickness_kg_m2": 1e-4}
    text = said(quantify(lines, table, absorption_uncertainty=0.2, **thin))
    assert "in brackets are errors of counting, weights of lines |" in text  # not of the matrix
    assert "not in brackets: k-factors, 2 to 10 % each; absorption, up to" in text
    assert "not corrected" not in text
    assert "oxygen" not in text  # it is what the cations ask for, but for absorption
    exact = said(quantify(lines, K, absorption_uncertainty=0.0, **FILM))
    assert "not in brackets" not in exact


def test_foot__uncorrected_absorption_by_what_it_does():
    made = quantify(olivine(), K)
    text = next(t for t in foot(made, "atomic_fraction") if "absorption" in t)
    assert text.startswith("absorption is not corrected, no thickness was given: 100 nm of 5 g/cm3")
    shown = float(text.split(" O ")[1].split(" ")[0])
    film = quantify(olivine(), K, **FILM)
    grown = film.weight_fraction / made.weight_fraction
    expected = 100 * float(1 - 1 / grown.sel(element="O"))
    assert shown == pytest.approx(expected, abs=1.5)
    assert expected > 3


@pytest.mark.parametrize(
    ("oxygen", "text"), [(4.0, ""), (3.0, "25 % below"), (5.2, "30 % above"), (1.0, "")]
)
def test_foot__oxygen_that_contradicts_the_cations(oxygen, text):
    made = quantify(olivine(oxygen), K)
    found = said(made)
    assert ("oxygen against what the cations ask for" in found) == bool(text)
    assert text in found  # with a quarter of the atoms oxygen, it is no oxide
    assert text in said(oxides(made), "weight_fraction") or oxygen == 1.0


def test_foot__names_the_phases_that_contradict():
    both = xr.concat([olivine(3.0), olivine(4.0)], "phase").assign_coords(phase=["a", "b"])
    found = said(quantify(both, K))
    assert "oxygen against what the cations ask for: 25 % below in a" in found
    assert "in b" not in found.split("oxygen")[1]


def test_foot__of_results_without_oxygen_or_valences():
    no_oxygen = lines_of([300.0, 200.0], names=["Mg_Ka", "Si_Ka"])
    assert "oxygen" not in said(quantify(no_oxygen, K))
    balanced = quantify(olivine(), K, oxygen="stoichiometry")
    assert "oxygen" not in said(balanced)
    noble = lines_of(MASSES[[0, 1]] * 2000, names=["O_Ka", "Xe_La"])
    assert "oxygen" not in said(quantify(noble, {"O_Ka": 1.0, "Xe_La": 1.0}))


def test_foot__assumptions_are_told():
    lines = olivine(assumptions=["a film of even thickness", "Fe is Fe2+"])
    assert said(quantify(lines, K)).endswith("assumed: a film of even thickness; Fe is Fe2+")


def test_foot__stands_below_every_table(tmp_path, capsys):
    from eds_xr.report.drawn_table import table_note, text_table
    from eds_xr.report.terminal import print_table

    lines = olivine(3.0).expand_dims(phase=["olivine"])
    lines = lines.assign_attrs(assumptions=["a thin film"])
    made = quantify(lines, kf.k_factors(K, {"O_Ka": 0.1}))
    parts = foot(made, "atomic_fraction")
    assert len(parts) == 5
    assert to_text(made).attrs["foot"] == parts
    path = write_csv(made, tmp_path / "a.csv")
    print_table(made, "atomic_fraction")
    printed = capsys.readouterr().out
    note = table_note(text_table(made, None, 0.95), 0.95)
    for part in parts:
        assert f"# {part}" in path.read_text(encoding="utf-8")
        assert part in printed
        assert part[1:] in note


def test_foot__of_ratios_formulae_and_budgets():
    made = quantify(olivine(), kf.k_factors(K, {"O_Ka": 0.1, "Mg_Ka": 0.05}))
    one = ratio(made, "Mg", other="Si")
    assert "k-factors, up to 5 % of a number" in said(one, "ratio")
    assert "in brackets are errors of counting" in said(formula(made, oxygens=4), "cations")
    assert to_text(budget(made)).attrs["foot"] == []
