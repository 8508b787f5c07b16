"""Spectra of counts drawn from what is expected."""

import numpy as np
import xarray as xr

LISTED = ["Mg", "Al", "Si", "Ca", "Fe", "Cu", "Ga"]

ENERGY_KEV = -0.2 + 0.01 * np.arange(1200)


def drawn(expected, rng, *, pixels=200, elements=LISTED):
    """Return a spectrum of counts drawn from what is expected."""
    counts = rng.poisson(expected)
    return xr.Dataset(
        {"counts": ("energy", counts), "variance": ("energy", counts), "n_pixels": pixels},
        {"energy": ENERGY_KEV},
        {"elements": elements},
    )
