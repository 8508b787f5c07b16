"""Films of known thickness from the second simulator, and k-factors from its thin standards."""

from __future__ import annotations

import numpy as np
import xarray as xr
from support.independent.foil import Foil, mass_fractions
from support.independent.materials import Material, by_name
from support.independent.spectra import draw, truth

from eds_xr import k_factors as kf
from eds_xr.spectra.line_fits.fit_lines import fit_lines

#: Compounds whose ions all have lines, with the charges that are not the usual ones.
COMPOUNDS: dict[str, dict[str, float]] = {
    "spinel": {}, "rutile": {}, "haematite": {"Fe": 3.0}, "zinc oxide": {},
    "yttria-stabilised zirconia": {}, "strontium titanate": {}, "YAG, doped": {},
    "almandine-pyrope": {"Fe": 2.0}, "hafnon": {},
}  # fmt: skip
RANGE_KEV = (0.35, 15.0)
#: Relative standard uncertainties of k-factors from standards: of oxygen's, and of the others'.
OXYGEN, OTHERS = 0.05, 0.02


def mass_thickness(material: Material, nm: float) -> float:
    """Return the mass thickness of a film [kg/m^2]."""
    return 1e-6 * nm * material.density_g_cm3


def lines_of_film(name: str, nm: float, seed: int, counts: float = 2e6) -> xr.Dataset:
    """Return fitted lines of a film that the second simulator drew."""
    material = by_name(name)
    foil = Foil(nm, material.density_g_cm3)
    drawn = draw(truth(material.atoms, counts, foil=foil, strays={"Cu": 0.03}), seed)
    return fit_lines(drawn, list(material.atoms), stray=["Cu"], range_kev=RANGE_KEV)


def standard_k(name: str, lines: list[str]) -> xr.Dataset:
    """Return k-factors that the second simulator's own film of no thickness gives."""
    material = by_name(name)
    weight = mass_fractions(material.atoms)
    net = truth(material.atoms, 1e6, foil=Foil(0.01, material.density_g_cm3), strays={}).net
    k = {line: weight[line.split("_")[0]] / float(net.sel(line=line)) for line in lines}
    scale = next(iter(k.values()))
    values = {line: value / scale for line, value in k.items()}
    spread = {n: v * (OXYGEN if n.startswith("O_") else OTHERS) for n, v in values.items()}
    return kf.k_factors(values, spread, beam_energy_kev=200).assign_attrs(source="thin standard")


def drawn_table(table: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """Return k-factors as another laboratory could have measured them."""
    relative = (table.standard_deviation / table.k).values
    factor = np.exp(relative * rng.normal(size=relative.size))
    return table.assign(k=table.k * factor, standard_deviation=table.standard_deviation * factor)
