"""An image of which the truth is known: made without the package."""

import numpy as np
import xarray as xr

#: Of iron, a pixel of the grain, in K alpha.
FE_COUNTS = 6.0


def two_layers() -> xr.DataArray:
    """Half of a silicate film under 20 x 20 pixels with iron, the whole film elsewhere."""
    energy = 0.3 + 0.01 * np.arange(900)
    film = 400 * np.exp(-energy / 2.5) / np.exp(-energy / 2.5).sum()
    peak = {e: np.exp(-0.5 * ((energy - e) / 0.045) ** 2) for e in (1.2536, 1.7398, 6.3996, 7.0580)}
    peak = {e: p / p.sum() for e, p in peak.items()}
    film = film + 60 * peak[1.2536] + 90 * peak[1.7398]
    grain = FE_COUNTS * (peak[6.3996] + 0.135 * peak[7.0580])
    mean = np.broadcast_to(film, (40, 40, 900)).copy()
    mean[:20, :20] = 0.5 * film + grain
    counts = np.random.default_rng(6).poisson(mean).astype(np.uint16)
    attrs = {
        "elements": ["Mg", "Si", "Fe"],
        "beam_energy_kev": 200.0,
        "energy_resolution_mnka_ev": 130.0,
    }
    coords = {
        "y": ("y", np.arange(40) * 2.0, {"units": "nm"}),
        "x": ("x", np.arange(40) * 2.0, {"units": "nm"}),
        "energy": ("energy", energy, {"units": "keV"}),
    }
    return xr.DataArray(counts, coords, ("y", "x", "energy"), name="counts", attrs=attrs)
