"""Spectra as the kernels take them, and back."""

import numpy as np
import pytest
import xarray as xr

from eds_xr.factorisation.solver.loadings import (
    as_loadings,
    as_table,
    check_loadings,
    unit_columns,
)
from eds_xr.schema import EdsError


def spectra(image, count=2):
    values = np.random.default_rng(0).gamma(1.0, size=(count, image.sizes["energy"]))
    return xr.DataArray(values, {"energy": image.energy}, ("component", "energy"))


def test_as_table__columns_sum_to_one_whatever_the_scale_and_order(eager_image):
    given = spectra(eager_image)
    table = as_table(given * [[3.0], [0.01]])
    np.testing.assert_allclose(table.sum(0), 1, rtol=1e-6)
    np.testing.assert_array_equal(as_table(given.transpose("energy", "component")), as_table(given))
    assert table.dtype == np.float32
    assert table.flags.c_contiguous


def test_unit_columns__a_column_of_zeros_stays():
    np.testing.assert_array_equal(unit_columns(np.array([[1, 0], [3, 0]])), [[0.25, 0], [0.75, 0]])


def test_as_loadings__come_back_with_names_and_energy(eager_image):
    given = spectra(eager_image, 3)
    found = as_loadings(as_table(given), eager_image)
    np.testing.assert_allclose(found, given / given.sum("energy"), rtol=1e-6)
    assert found.component.values.tolist() == [0, 1, 2]
    xr.testing.assert_identical(found.energy, eager_image.energy)
    fixed = given[:2].assign_coords(component=["glass", "film"])
    named = as_loadings(as_table(given), eager_image, fixed)
    assert named.component.values.tolist() == ["glass", "film", "0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.rename(component="phase"), r"must be \[component, energy\], found"),
        (lambda s: s.isel(energy=slice(5, None)), "different energy axes"),
        (lambda s: s.assign_coords(energy=s.energy + 0.05), "different energy axes"),
        (lambda s: s.where(s.component > 0, 0), "none of them all zero"),
        (lambda s: -s, "not negative"),
        (lambda s: s.where(s.energy > 1), "finite"),
    ],
)
def test_check_loadings__refuses(eager_image, change, message):
    given = spectra(eager_image).assign_coords(component=[0, 1])
    check_loadings(given, eager_image)
    with pytest.raises(EdsError, match=message):
        check_loadings(change(given), eager_image)
