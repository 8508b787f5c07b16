"""Each effect of a budget beside its own Monte Carlo, and predictions beside measured standards.

Prints the standard deviation that the budget gives over that of many compositions in which this
effect alone makes an error: 1 within 1 / sqrt(2 draws) where first order holds.
"""

import numpy as np
import xarray as xr
from common import parser, show

from eds_xr import budget, formula, oxides, quantify, ratio
from eds_xr import k_factors as kf

NAMES = ["O_Ka", "Mg_Ka", "Al_Ka", "Si_Ka", "Ca_Ka", "Fe_Ka"]
NET = np.array([8e4, 4e4, 6e3, 3e4, 4e3, 9e3])
K = dict(zip(NAMES, (1.4, 1.1, 1.05, 1.0, 1.1, 1.3), strict=True))
RELATIVE = np.array([0.05, 0.03, 0.03, 0.02, 0.04, 0.05])
FILM = {"mass_thickness_kg_m2": 6e-4, "take_off_angle_deg": 20.0}
ATTRS = {"beam_energy_kev": 200.0, "signal_type": "EDS_TEM"}
RESULTS = {
    "atomic fractions": (lambda c: c, "atomic_fraction"),
    "oxides": (oxides, "weight_fraction"),
    "formula": (lambda c: formula(c, oxygens=4), "cations"),
    "Fe/Mg": (lambda c: ratio(c, "Fe", other="Mg"), "ratio"),
}


def lines_of(net):
    lead = ("phase",) * (np.ndim(net) - 1)
    spread = np.abs(net)[..., None] * np.eye(len(NAMES))
    data = {"net": ((*lead, "line"), net), "covariance": ((*lead, "line", "line_other"), spread)}
    return xr.Dataset(data, {"line": NAMES, "line_other": NAMES}, ATTRS)


def drawn(effect, draws):
    rng, net, film = np.random.default_rng(0), np.tile(NET, (draws, 1)), dict(FILM)
    if effect == "counting":
        net = rng.normal(NET, np.sqrt(NET), net.shape)
    elif effect == "k_factor":
        net = net * np.exp(rng.normal(size=net.shape) * RELATIVE)
    else:
        thickness = 6e-4 * np.exp(0.1 * rng.normal(size=draws))
        film["mass_thickness_kg_m2"] = xr.DataArray(thickness, dims="phase")
    return quantify(lines_of(net), K, absorption_uncertainty=0.0, **film)


def main(draws):
    spread = {n: k * r for (n, k), r in zip(K.items(), RELATIVE, strict=True)}
    made = quantify(lines_of(NET), kf.k_factors(K, spread), **FILM)
    rows = []
    for effect in ("counting", "k_factor", "absorption"):
        many = drawn(effect, draws)
        for what, (express, quantity) in RESULTS.items():
            found = budget(express(made), quantity).deviation.sel(effect=effect)
            quotient = found / express(many)[quantity].std("phase")
            there = quotient.where(found > 1e-3 * found.max())
            ends = f"{float(there.min()):.3f} to {float(there.max()):.3f}"
            rows.append((f"{what}: {effect}", ends, "0.95 to 1.05"))
    show(f"budget over Monte Carlo of {draws} draws", rows)


if __name__ == "__main__":
    main(10_000 if parser(__doc__).parse_args().quick else 200_000)
