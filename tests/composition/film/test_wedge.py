"""Films of the second simulator: other attenuation, another detector, fitted with noise."""

import warnings

import numpy as np
import pytest
from support.independent.materials import by_name
from support.wedge import COMPOUNDS, drawn_table, lines_of_film, mass_thickness, standard_k

from eds_xr.composition.quantify import quantify


def balanced(name, lines, table):
    how = {"thickness": "charge_balance", "valences": COMPOUNDS[name]}
    return quantify(lines, table, **how)


@pytest.mark.parametrize("name", ["almandine-pyrope", "strontium titanate", "spinel"])
@pytest.mark.parametrize("nm", [50, 120, 250])
def test_wedge__thickness_within_a_tenth_and_in_its_interval(name, nm):
    lines = lines_of_film(name, nm, seed=nm)
    found = balanced(name, lines, standard_k(name, lines.line.values.tolist()))
    true = mass_thickness(by_name(name), nm)
    assert float(found.mass_thickness) == pytest.approx(true, rel=0.1)
    ends = (found[f"mass_thickness_{e}"].sel(coverage=0.95) for e in ("lower", "upper"))
    low, high = map(float, ends)
    assert low < true < high
    atoms = by_name(name).atoms
    share = atoms["O"] / sum(atoms.values())
    assert float(found.atomic_fraction.sel(element="O")) == pytest.approx(share, rel=0.01)


@pytest.mark.slow
def test_wedge__intervals_hold_over_drawn_tables():
    """Of a thin and of a thick film; as only counts and k-factors are drawn, more often."""
    rng, held = np.random.default_rng(4), []
    name = "almandine-pyrope"
    for nm in (20, 150):
        true = mass_thickness(by_name(name), nm)
        for seed in range(3):
            lines = lines_of_film(name, nm, seed)
            table = standard_k(name, lines.line.values.tolist())
            for _ in range(7):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a table may leave no thickness
                    found = balanced(name, lines, drawn_table(table, rng)).sel(coverage=0.95)
                low, high = float(found.mass_thickness_lower), float(found.mass_thickness_upper)
                held.append(low <= true <= high)
    assert np.mean(held) >= 0.9
