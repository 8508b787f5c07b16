"""Spectra of a simulated rock that the tests of subtraction and of common errors share."""

import pytest
import xarray as xr
from support.drawn_spectra import ENERGY_KEV

from eds_xr import simulate
from eds_xr.spectra.sums import sum_spectra

SHAPE = (128, 128, 1200)


@pytest.fixture(scope="module", params=[(100, 1), (400, 2)], ids=["dose_100", "dose_400"])
def pyrolite(request):
    """Return spectra of pure Brg, Fp + Brg and Ca-Pv + Brg, and the true shares of Brg."""
    dose, seed = request.param
    known = simulate.truth(SHAPE, dose, seed=seed).load()
    fp, capv = (known.amounts.sel(phase=p, drop=True) for p in ("Fp", "Ca-Pv"))
    masks = xr.concat(
        [
            known["mask"].sel(phase="Brg", drop=True),
            (fp > 0.1) & (capv < 1e-6),
            (capv > 0.1) & (fp < 1e-6),
        ],
        xr.Variable("phase", ["Brg", "Fp", "Ca-Pv"]),
    )
    spectra = sum_spectra(simulate.spectrum_image(SHAPE, dose, seed=seed), masks).compute()
    brg = known.amounts.sel(phase="Brg", drop=True).where(masks).mean(("y", "x"))
    return spectra, brg / brg.sel(phase="Brg"), known.loadings


@pytest.fixture(scope="module")
def shapes():
    """Return the true spectra of the phases, ``[phase, energy; sum 1]``."""
    return simulate.phase_spectra(simulate.PYROLITE_71GPA, ENERGY_KEV).loadings
