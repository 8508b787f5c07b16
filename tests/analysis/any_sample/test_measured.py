"""Which pixels phases are measured in."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr
from support.drawn_spectra import ENERGY_KEV

from eds_xr import simulate
from eds_xr.analysis.any_sample.elements import Elements
from eds_xr.analysis.any_sample.line_fit import LineFit
from eds_xr.analysis.any_sample.measured import Measured, with_varied
from eds_xr.analysis.recipe import FitChoice

NAMES = ["graded", "oxide"]


def _image(of_oxide: float) -> xr.DataArray:
    """Return a phase that changes from Ca to Mn along its half; it holds so much of the other."""
    phases = [simulate.Phase(e, {e: 1}) for e in ("Ca", "Mn", "Ti")]
    calcium, manganese, oxide = simulate.phase_spectra(phases, ENERGY_KEV).loadings.values
    share = np.linspace(0.2, 0.8, 20)[:, None]
    graded = share * calcium + (1 - share) * manganese
    left = 100 * ((1 - of_oxide) * graded + of_oxide * oxide)
    mean = np.concatenate([left, np.broadcast_to(100 * oxide, (20, ENERGY_KEV.size))])
    counts = np.random.default_rng(3).poisson(np.broadcast_to(mean, (40, *mean.shape)))
    return xr.DataArray(counts, {"energy": ENERGY_KEV}, ("y", "x", "energy"), name="counts")


def _region(of_oxide: float) -> xr.DataArray:
    present = np.zeros((2, 40, 40), bool)
    present[0, :, :20], present[1, :, 20:] = True, True
    pure = present.copy()
    pure[0, :, :8] = pure[0, :, 12:] = False  # like its component in the middle only
    dims = ("phase", "y", "x")
    segmentation = xr.Dataset(
        {"present": (dims, present), "pure": (dims, pure)}, {"phase": NAMES}, {"pure_share": 0.02}
    )
    found: Any = SimpleNamespace(segmentation=segmentation)
    image = _image(of_oxide)
    elements = ("Ca", "Mn", "Ti")
    fit = LineFit(Elements(elements, (), elements, ()), FitChoice(), image.energy)
    total = xr.Dataset({n: image.sum(("y", "x")) for n in ("counts", "variance")})
    made = Measured()
    pure_found = with_varied(made, image, found, fit, fit.calibrate(total))["pure"]
    assert len(made.notes) == int(not pure_found.equals(segmentation["pure"]))
    return pure_found.sel(phase="graded")


def test_with_varied__a_graded_phase_is_all_that_is_alone() -> None:
    assert _region(0.0).values[:, :18].all()  # but for the margin


def test_with_varied__not_where_lines_show_the_other() -> None:
    found = _region(0.05).values
    assert not found[:, :8].any()
    assert found[:, 8:12].all()
