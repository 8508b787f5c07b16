"""Maps of counts weighted by channel."""

import dask
import numpy as np
import pytest
import xarray as xr
from support.images import refuse

from eds_xr.image.weighted_sums import counts_times_table, lazy_maps, weighted_block


def test_weighted_block__whole_and_real_sums_are_dense_products():
    random = np.random.default_rng(0)
    values = random.poisson(0.8, (4, 5, 12)).astype(np.uint8)
    table = random.integers(0, 3, (12, 3)).astype(float)
    found = weighted_block(values, table=table, whole=True)
    np.testing.assert_array_equal(found, np.moveaxis(values @ table, -1, 0)[None].astype(np.int64))
    both = np.hstack([table, table**2])
    found = weighted_block(values, table=both)
    assert found.shape == (2, 3, 4, 5)
    np.testing.assert_allclose(found[0], np.moveaxis(values @ table, -1, 0), rtol=1e-6)
    np.testing.assert_allclose(found[1], np.moveaxis(values @ table**2, -1, 0), rtol=1e-6)


def test_counts_times_table__large_whole_numbers_stay_exact():
    counts = np.array([0, 1]), np.array([2], np.uint16), np.array([2**31 + 1], np.uint32)
    assert counts_times_table(counts, np.full((3, 1), 3.0)).item() == 3 * (2**31 + 1)


def test_lazy_maps__are_lazy_and_keep_positions(spectrum_image):
    table = np.ones((64, 1))
    given = spectrum_image.assign_coords(depth=("energy", np.zeros(64)))
    with dask.config.set(scheduler=refuse):
        (total,) = lazy_maps(
            given, weighted_block, (1, 1), np.dtype(np.int64), table=table, whole=True
        )
    assert total.dims == ("line", "y", "x")
    assert set(total.coords) == {"y", "x"}
    np.testing.assert_array_equal(total[0], given.sum("energy", dtype=np.int64))


@pytest.mark.parametrize("along_energy", [-1, 25])
def test_lazy_maps__of_some_channels(eager_image, along_energy):
    given = eager_image.chunk(y=5, x=8, energy=along_energy)
    table = np.random.default_rng(0).random((30, 2))
    net, variance = lazy_maps(
        given, weighted_block, (2, 1), np.dtype(np.float32), slice(10, 40), table=table
    )
    part = eager_image.values[..., 10:40].astype(float)
    np.testing.assert_allclose(net[0], part @ table[:, 0], rtol=1e-5)
    np.testing.assert_allclose(variance[0], part @ table[:, 1], rtol=1e-5)


def test_lazy_maps__reading_fitting_and_adding_up_is_one_task_a_chunk(eager_image, tmp_path):
    chunked = eager_image.chunk(y=4, x=5).to_dataset(name="counts")
    chunked.to_zarr(tmp_path / "a.zarr", consolidated=False)
    stored = xr.open_zarr(tmp_path / "a.zarr", consolidated=False).counts
    (total,) = lazy_maps(
        stored, weighted_block, (1, 1), np.dtype(np.int64), slice(10, 40), table=np.ones((30, 1)),
        whole=True,
    )  # fmt: skip
    (lazy,) = dask.optimize(total)
    assert len({k for k in lazy.__dask_graph__() if k[0].startswith("maps of lines")}) == 9
    assert len(dict(lazy.__dask_graph__())) <= 2 * 9 + 2  # and what Dask calls it by
