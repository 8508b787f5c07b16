import numpy as np
import pytest
import xarray as xr
from support.drawn_spectra import ENERGY_KEV

from eds_xr import simulate
from eds_xr.schema import EdsError
from eds_xr.spectra.reference_share import find_share, net_counts
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


def test_find_share__takes_of_a_lines_own_counts_what_it_says():
    """Counts that the grain itself emits in one of the lines are lowered by that part."""
    phases = [simulate.Phase("ref", {"Mg": 1, "Si": 1, "Fe": 0.3}), simulate.Phase("ca", {"Ca": 1})]
    only_si = [simulate.Phase("si", {"Si": 1})]
    reference, calcium = simulate.phase_spectra(phases, ENERGY_KEV).loadings.values
    silicon = simulate.phase_spectra(only_si, ENERGY_KEV).loadings.values[0]
    lines, elements = ["Mg_Ka", "Si_Ka", "Fe_Ka"], ["Mg", "Si", "Fe", "Ca"]

    def spectrum(values):
        data = {"counts": ("energy", values), "variance": ("energy", values), "n_pixels": 10}
        return xr.Dataset(data, {"energy": ENERGY_KEV})

    of = spectrum(1e6 * reference)
    plain, more = (
        find_share(spectrum(3e5 * reference + 1e5 * calcium + own * silicon), of, lines, elements)
        for own in (0.0, 100.0)
    )
    assert plain.taken.sum() == pytest.approx(1, abs=1e-3)
    assert (plain.taken > 0.05).all()
    added = (more.each - plain.each)[1]  # of the share by Si alone
    assert (more.value - plain.value) / added == pytest.approx(plain.taken[1], rel=0.02)
