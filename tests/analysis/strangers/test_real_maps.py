"""Strangers in the published map of 71 GPa, and in files of others."""

import pytest
import xarray as xr

import eds_xr

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(published_71gpa) -> xr.DataArray:
    """The published map of 71 GPa."""
    return eds_xr.open(published_71gpa)


@pytest.mark.network
def test_find_strangers__finds_the_needle_of_the_published_map(study):
    """Four components lose it: thin, some 40 pixels long, rich in Si, with little Mg and Al."""
    found = eds_xr.find_strangers(study, eds_xr.nmf(study, 4))
    step = float(study.y[1] - study.y[0])
    needle = found.isel(stranger=0)
    assert 150 < float(needle.middle_y) / step < 170
    assert 50 < float(needle.middle_x) / step < 70
    assert 25 < float(needle.extent_y) / step < 60
    assert int(needle.n_pixels) < 400
    told = needle.elements.item()
    assert told.startswith("Si"), told
    assert "less Mg" in told
    assert "less Al" in told
    assert found.sizes["stranger"] < 6


@pytest.mark.vendor
@pytest.mark.parametrize("name", ["core_shell.hspy", "test_TEM.bcf"])
def test_find_strangers__in_files_of_others__is_little_beside_what_nmf_finds(
    name, vendor_file, tmp_path
):
    image = eds_xr.open(eds_xr.convert(vendor_file(name), tmp_path / "a.zarr"))
    found = eds_xr.find_strangers(image, eds_xr.nmf(image, 3)).compute()
    assert found.residual.notnull().all()
    assert float((found.region > 0).mean()) < 0.05, found.text.values
