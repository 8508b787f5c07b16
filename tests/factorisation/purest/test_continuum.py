"""The smooth part of a spectrum."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.factorisation.purest.continuum import continuum, line_channels

ENERGY = np.arange(-0.2, 10, 0.01)


def test_continuum__goes_under_lines_and_is_not_drawn_to_a_cut():
    smooth = np.where(ENERGY > 0.12, 1 / (ENERGY.clip(0.1) + 1), 0.0)
    lines = sum(5 * np.exp(-0.5 * ((ENERGY - at) / 0.04) ** 2) for at in (0.28, 1.74, 6.4))
    found = continuum(smooth + lines, 10)
    inside = (ENERGY > 0.25) & (ENERGY < 9.5)
    np.testing.assert_allclose(found[inside], smooth[inside], rtol=0.25)


@pytest.mark.parametrize(
    ("step", "units", "channels"), [(0.01, "keV", 10), (0.02, "keV", 5), (0.5, "eV", 0)]
)
def test_line_channels__of_x_rays_alone(step, units, channels):
    energy = xr.DataArray(np.arange(100) * step, dims="energy", attrs={"units": units})
    image = xr.DataArray(np.zeros(100), {"energy": energy}, ("energy",))
    assert line_channels(image) == channels


def test_line_channels__none_without_an_axis():
    assert line_channels(xr.DataArray(np.zeros(9), dims="energy_loss")) == 0
