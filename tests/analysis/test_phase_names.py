"""Names of phases: the strongest line, and what a phase is enriched in."""

import numpy as np
import pytest
import xarray as xr
from support.independent.foil import Foil
from support.independent.images import MICROSCOPE
from support.independent.spectra import STRAYS, truth

from eds_xr.analysis.phase_names import name_phases


def loadings(*phases: dict[str, float]) -> xr.DataArray:
    """Spectra of phases, with stray copper and carbon and a background, sum 1."""
    foil = Foil(density_g_cm3=6.0)
    found = [truth(p, 1.0, microscope=MICROSCOPE, foil=foil, strays=STRAYS) for p in phases]
    spectra = xr.concat([x.expected for x in found], "component").sel(energy=slice(0.15, None))
    return spectra / spectra.sum("energy")


@pytest.mark.parametrize(
    ("phases", "names"),
    [
        (({"Mg": 0.9, "Fe": 0.1, "Si": 1, "O": 3}, {"Mg": 0.8, "Fe": 0.2, "O": 1}), ["Si", "Mg"]),
        (({"Ce": 1, "O": 2}, {"Ni": 1}), ["Ce", "Ni"]),
        (({"C": 1}, {"Fe": 3, "O": 4}, {"Fe": 1, "Pt": 1}), ["C", "O", "Pt"]),
        (({"Ag": 86, "Cu": 14}, {"Ag": 5, "Cu": 95}), ["Ag", "Cu"]),
    ],
)
def test_name_phases__tell_phases_apart(phases, names):
    elements = sorted({e for p in phases for e in p} | {"Cu", "C"})
    found = name_phases(loadings(*phases), elements)
    assert len(set(found)) == len(phases)
    for name, part, phase in zip(found, names, phases, strict=True):
        assert part in name.split("-")
        assert set(name.split("-")) <= set(phase)  # nothing that is not there


def test_name_phases__neutral_where_nothing_is_known_and_numbered_where_alike():
    spectra = loadings({"Mg": 1, "O": 1}, {"Mg": 1, "O": 1})
    assert name_phases(spectra, []) == ["phase_1", "phase_2"]
    assert name_phases(spectra, ["Zn", "H"]) == ["phase_1", "phase_2"]
    alike = name_phases(spectra, ["Mg"])
    assert alike == ["Mg_1", "Mg_2"]


def test_name_phases__of_one_phase():
    assert name_phases(loadings({"Ti": 1, "O": 2}), ["Ti", "O"])[0] in ("Ti", "Ti-O", "O-Ti", "O")
    flat = xr.DataArray(np.full((1, 5), 0.2), {"energy": np.arange(5.0)}, ("component", "energy"))
    assert name_phases(flat, ["Fe"]) == ["phase_1"]


def test_name_phases__stray_elements_stand_beside_none():
    spectra = loadings({"Fe": 3, "O": 4}, {"Fe": 1, "Pt": 1})
    first, second = name_phases(spectra, ["Fe", "O", "Pt", "Zr", "Cu"], {"Zr", "Cu"})
    assert "Pt" in second.split("-")
    assert not {"Zr", "Cu"} & {*first.split("-"), *second.split("-")}
