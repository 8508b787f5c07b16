"""Two spectra of which one is subtracted from the other: checked, on one energy axis."""

from __future__ import annotations

import numpy as np
import xarray as xr

from eds_xr.schema import ENERGY, EdsError, check_spectra, energy_step


def two_spectra(mixture: xr.Dataset, reference: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return both, computed; the reference on the energy axis of the mixture."""
    mixture, reference = _one_spectrum(mixture, "mixture"), _one_spectrum(reference, "reference")
    _check_same_energy(mixture, reference)
    # axes that differ by rounding would have no channel in common
    return mixture, reference.assign_coords({ENERGY: mixture[ENERGY]})


def _one_spectrum(spectrum: xr.Dataset, what: str) -> xr.Dataset:
    check_spectra(spectrum)
    if spectrum.counts.dims != (ENERGY,):
        raise EdsError(
            f"the {what} must be one spectrum, found dimensions {spectrum.counts.dims}; "
            "choose one, e.g. spectra.sel(phase='Brg')"
        )
    spectrum = spectrum.compute()
    if "n_pixels" not in spectrum or spectrum.n_pixels.ndim or not spectrum.n_pixels > 0:
        raise EdsError(f"the {what} needs n_pixels above zero: the scale is a share per pixel")
    if not np.isfinite(spectrum.counts + spectrum.variance).all():
        raise EdsError(f"the {what} holds values that are not finite; look at its mask")
    return spectrum


def _check_same_energy(mixture: xr.Dataset, reference: xr.Dataset) -> None:
    mine, other = mixture[ENERGY].values, reference[ENERGY].values
    close = 0.1 * energy_step(mixture)
    if mine.size != other.size or not np.allclose(mine, other, rtol=0, atol=close):
        raise EdsError(
            f"mixture and reference have different energy axes ({mine.size} channels from "
            f"{mine[0]:g}, {other.size} from {other[0]:g}); select the same range of both"
        )
    units = [s[ENERGY].attrs.get("units", "keV") for s in (mixture, reference)]
    if units[0] != units[1]:
        raise EdsError(f"mixture and reference have energies in {units[0]} and {units[1]}")
