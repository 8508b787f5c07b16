import numpy as np
import pytest
import xarray as xr

from eds_xr.schema import EdsError
from eds_xr.spectra.reference_share import net_counts
from eds_xr.spectra.sums import sum_spectra


def random_masks(image, n, seed=0):
    values = np.random.default_rng(seed).random((n, *image.shape[:-1])) < 0.4
    dims = ("phase", *image.dims[:-1])
    return xr.DataArray(values, {"phase": [f"m{i}" for i in range(n)]}, dims)


def test_net_counts__of_a_peak_on_a_sloping_background():
    energy = -0.2 + 0.01 * np.arange(1200)
    peak = 1e4 * np.exp(-0.5 * ((energy - 6.40) / 0.058) ** 2)
    values = peak + 100 - 5 * energy
    data = {"counts": ("energy", values), "variance": ("energy", values)}
    found = net_counts(xr.Dataset(data, {"energy": energy}), "Fe_Ka")
    assert float(found.net) == pytest.approx(peak.sum(), rel=0.03)
    assert float(found.variance) > peak.sum()


def test_net_counts__errors(eager_image):
    with pytest.raises(EdsError, match="expected spectra .a Dataset with counts and variance."):
        net_counts(eager_image, "Fe_Ka")
    spectra = sum_spectra(eager_image, random_masks(eager_image, 1))
    with pytest.raises(EdsError, match=r"Cu_Ka needs 7\.\d+ to 8\.\d+ keV, the energy axis covers"):
        net_counts(spectra, "Cu_Ka")
    spectra.energy.attrs["units"] = "eV"
    with pytest.raises(EdsError, match="X-ray lines need an energy axis in keV, found 'eV'"):
        net_counts(spectra, "Fe_Ka")
