"""A composition and strangers to be drawn, and what axes show of them."""

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


def strangers(shape=(24, 32), step_nm=5.0):
    """Return a table of two strangers, with maps of what they have: Ti, and less Mg."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    grid = {
        d: (d, step_nm * np.arange(n), {"units": "nm"}) for d, n in zip("yx", shape, strict=True)
    }
    places = {"y": [8, 20], "x": [20, 4]}
    of_one, of_other = (
        np.exp(-((y - places["y"][i]) ** 2 + (x - places["x"][i]) ** 2) / 4.0) for i in (0, 1)
    )
    found = xr.Dataset(
        {
            "residual": (("line", "y", "x"), [0 * of_one, 9 * of_one, -7 * of_other]),
            "excess": (("stranger", "line"), [[0.0, 60, 0], [0, 0, -40]]),
            "excess_variance": (("stranger", "line"), [[0.0, 64, 0], [0, 0, 100]]),
        },
        {"stranger": [1, 2], "line": ["Si_Ka", "Ti_Ka", "Mg_Ka"], **grid},
    )
    for d, at in places.items():
        found[f"middle_{d}"] = ("stranger", step_nm * np.array(at, float))
        found[f"extent_{d}"] = ("stranger", np.full(2, 3 * step_nm))
    found.residual.attrs["units"] = "standard deviations"
    return found


def words(axes):
    """Return the texts that axes show."""
    return [t.get_text() for t in axes.texts]
