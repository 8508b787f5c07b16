"""A function of maps, called block by block, against the call itself."""

import pickle
from functools import partial

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.base import tokenize

from eds_xr.image.block_by_block import block_by_block

SIDES = ("y", "x")


def _made(
    data: xr.Dataset, *, power: float = 1.0, dose: xr.DataArray | None = None, text: str = "a"
) -> xr.Dataset:
    """Return sums and products of lines, and what is the same for all pixels."""
    net = data.net if dose is None else data.net / dose
    made = xr.Dataset(
        {
            "total": net.sum("line").assign_attrs(units="1", text=text),
            "product": xr.dot(net, data.covariance, dim="line") ** power,
            "some": net.isel(line=0, drop=True) > 3,
            "constant": ("line", data.line.values.size * np.arange(2.0)),
        },
        attrs={"made": "here"},
    )
    return made.assign_coords(kind="map")


def _maps(chunked: bool) -> tuple[xr.Dataset, xr.DataArray]:
    random = np.random.default_rng(0)
    names = {"line": ["Si_Ka", "Fe_Ka"]}
    net = xr.DataArray(
        random.random((2, 11, 9)) * 5, names, ("line", *SIDES), attrs={"n": "counts"}
    )
    covariance = xr.DataArray(random.random((11, 9, 2, 2)), dims=(*SIDES, "line", "line_other"))
    dose = xr.DataArray(1 + random.random((11, 9)), dims=SIDES)
    if chunked:
        net, covariance = net.chunk(line=1, y=4, x=9), covariance.chunk(y=(5, 6), x=4)
        dose = dose.chunk(y=11, x=5)
    data = xr.Dataset({"net": net, "covariance": covariance}, {"y": np.arange(11.0)})
    return data, dose


def _fail(block: np.ndarray) -> np.ndarray:
    raise AssertionError("what rides along was read")


@pytest.mark.parametrize("with_dose", [False, True])
def test_block_by_block__is_the_call(with_dose: bool) -> None:
    results = []
    for chunked in (False, True):
        data, dose = _maps(chunked)
        haadf = da.zeros((11, 9), chunks=3)
        haadf = haadf.map_blocks(_fail, meta=np.empty((0, 0))) if chunked else haadf.compute()
        data = data.assign_coords(haadf=(SIDES, haadf))
        maps = {"dose": dose if with_dose else None}
        results.append(block_by_block(partial(_made, power=2), data, SIDES, "quantities", **maps))
    eager, lazy = results
    assert eager.total.chunks is None
    assert all(lazy[n].chunks is not None for n in ("total", "product", "some", "haadf"))
    assert set(lazy.coords) == set(eager.coords)
    for name, values in lazy.data_vars.items():
        assert (values.dims, values.dtype) == (eager[name].dims, eager[name].dtype)
    found, wanted = (one.drop_vars("haadf").compute() for one in (lazy, eager))
    xr.testing.assert_identical(found, wanted)


def test_block_by_block__is_a_task_a_block_and_one_a_variable() -> None:
    data, _ = _maps(chunked=True)
    whole = {"line": -1, "line_other": -1, "y": 4, "x": 5}
    lazy = data.chunk(whole) * 1  # what is made on the way is made in the same task
    found = block_by_block(_made, lazy, SIDES, "quantities")
    (graph,) = dask.optimize(found)
    named = [key for key in dict(graph.__dask_graph__()) if "quantities" in str(key)]
    assert len(named) == 6 * (1 + 3)


def test_block_by_block__names_its_tasks_by_what_goes_in() -> None:
    data, dose = _maps(chunked=True)
    one, other, third = (
        block_by_block(_made, data, SIDES, "quantities", dose=dose, text=text) for text in "aab"
    )
    assert tokenize(one) == tokenize(other) != tokenize(third)
    again = pickle.loads(pickle.dumps(one))
    xr.testing.assert_identical(again.compute(), one.compute())
    assert third.total.attrs["text"] == "b"
