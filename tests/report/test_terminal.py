"""What is printed of a composition."""

import pytest
from support.makers.lines import lines_of

from eds_xr.composition.quantify import quantify
from eds_xr.report.pictures.errors import plot_budget
from eds_xr.report.terminal import print_table
from eds_xr.schema import PHASE

NAMES = ["Mg_Ka", "Si_Ka", "O_Ka"]
K = dict(zip(NAMES, [1.0, 1.05, 1.2], strict=True))


def balanced(**how):
    net = [[2.1e5, 2.4e5, 3.5e5], [2.1e5, 2.4e5, 1e3]]
    lines = lines_of(net, names=NAMES).assign_coords({PHASE: ["one", "other"]})
    how = {"thickness": "charge_balance", "take_off_angle_deg": 22.0, **how}
    with pytest.warns(UserWarning, match="^other: no thickness balances the charges"):
        return quantify(lines, K, **how)


@pytest.mark.parametrize(("how", "units"), [({}, "kg / m2"), ({"density_g_cm3": 4.0}, "nm")])
def test_print_table__thickness_by_the_charge_balance(capsys, how, units):
    found = balanced(**how)
    print_table(found, "atomic_fraction")
    shown = capsys.readouterr().out.splitlines()
    one, other = [line for line in shown if line.startswith(("one:", "other:"))]
    value = float(found["thickness_nm" if how else "mass_thickness"].sel(phase="one"))
    assert one.startswith(f"one: thickness by the charge balance {value:.3g} {units} (95 %: ")
    assert other == "other: no thickness balances the charges"


def test_print_table__without_a_thickness_says_nothing_of_it(capsys):
    lines = lines_of([[2e5, 2e5, 3e5]], names=NAMES).assign_coords({PHASE: ["one"]})
    print_table(quantify(lines, K), "atomic_fraction")
    assert "thickness by" not in capsys.readouterr().out


def test_plot_budget__more_effects_than_muted_colours():
    """Six effects of lines and those of a quantification."""
    found = balanced().sel(phase=["one"])
    many = found.atomic_fraction_effect_covariance.sel(effect=["counting"] * 10)
    named = many.assign_coords(effect=[f"effect {i}" for i in range(10)])
    found = found.drop_dims("effect").assign(atomic_fraction_effect_covariance=named)
    assert len(plot_budget(found).axes[0].containers) == 10
