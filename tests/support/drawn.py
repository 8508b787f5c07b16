"""A composition to be drawn, and what axes show of it."""

import numpy as np
import xarray as xr

from eds_xr.composition.quantify import quantify


def composition(phases=("Brg", "Fp"), elements=("Mg", "Si", "Nd")):
    """Return the composition of phases; the last element is not detected."""
    net = np.tile([30000.0, 20000.0, *[900.0] * (len(elements) - 3), 5.0], (len(phases), 1))
    names = [f"{e}_{'La' if e in ('Nd', 'Sm') else 'Ka'}" for e in elements]
    values = xr.DataArray(net, {"phase": list(phases), "line": names}, ("phase", "line"))
    return quantify(
        xr.Dataset({"net": values, "variance": values + 400}, attrs={"beam_energy_kev": 200.0})
    )


def words(axes):
    """Return the texts that axes show."""
    return [t.get_text() for t in axes.texts]
