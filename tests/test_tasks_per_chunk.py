"""Lazy operations are few tasks: at most ten for each chunk of the image, whatever their number.

Of a Dataset each variable is a task by itself, so compositions of twenty are more: at most five
beside one for each of these.

Counted as Dask would run them, fused, on two images of which one has four times the chunks: the
tasks that each chunk adds. The operations are those of :mod:`test_chunked_coordinates`.
"""

from types import SimpleNamespace
from typing import Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
import test_chunked_coordinates as tables
import xarray as xr
from dask.base import is_dask_collection
from dask.utils import key_split
from support.draw import slow_but

from eds_xr.workers import shared

MOST, MOST_BESIDE_VARIABLES = 10.0, 5.0
#: Chunks of so many pixels; as wide as filters reach, or these would look beyond the next, and
#: of whole blocks of pixels.
SIDES = {"y": 24, "x": 28}
SHAPES = {9: (72, 84), 36: (144, 168)}
#: Results in this process: pictures, tables, sessions of strokes.
NOT_LAZY = {"analyse", "explore", "label"} | {
    name for name in tables.CASES if "plot" in name or name.startswith("labelling.")
}


def _chunked(data: Any) -> Any:
    if not {"y", "x"} <= set(data.dims):
        return data
    if isinstance(data, xr.Dataset):
        return data.map(_chunked, keep_attrs=True).assign_attrs(data.attrs)
    lazy = data.chunk({d: SIDES.get(str(d), -1) for d in data.dims})
    # as if read from a store: one task a chunk
    return lazy.copy(data=lazy.data.map_blocks(_read, dtype=data.dtype))


def _read(block: Any) -> Any:
    return block


@pytest.fixture(scope="module")
def inputs() -> dict[int, dict[str, Any]]:
    return {chunks: tables.inputs_of(shape) for chunks, shape in SHAPES.items()}


def tasks_of(result: Any) -> int:
    """Return the number of tasks of a lazy result, fused as Dask would run them."""
    parts = result if isinstance(result, tuple | list) else [result]
    lazy = [part for part in parts if is_dask_collection(part)]
    graphs = [dict(part.__dask_graph__()) for part in dask.optimize(*lazy)]
    return len({key for graph in graphs for key in graph})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", slow_but(set(tables.CASES) - NOT_LAZY, ["sum_spectra", "unmix"], 12)
)
def test_every_lazy_operation__is_few_tasks_a_chunk(name, inputs, tmp_path):
    found = {}
    for chunks, given in inputs.items():
        lazy = {n: _chunked(data) for n, data in given.items()}
        (folder := tmp_path / str(chunks)).mkdir()
        result = tables.CASES[name](SimpleNamespace(**lazy, folder=folder))
        found[chunks] = tasks_of(result)
    few, many = found
    each = (found[many] - found[few]) / (many - few)

    variables = result.variables.values() if isinstance(result, xr.Dataset) else []
    most = max(MOST, MOST_BESIDE_VARIABLES + sum(v.chunks is not None for v in variables))
    assert each <= most, f"{each:.1f} tasks a chunk: {found}"


#: Bytes of a task of its own: beside numbers and names, no table of all channels.
MOST_BYTES = 8_000


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["element_maps", "fitted_maps", "project", "unmix", "unexplained", "predict"]
)
def test_tables__travel_once_and_not_with_every_task(name, inputs, tmp_path):
    """A task that is sent with its table is large, and a worker holds it long after it is done."""
    lazy = {n: _from_tasks(data) for n, data in inputs[9].items()}
    result = tables.CASES[name](SimpleNamespace(**lazy, folder=tmp_path))
    found: dict[str, list[int]] = {}
    for part in dask.optimize(result):
        for key, task in dict(part.__dask_graph__()).items():
            found.setdefault(key_split(key), []).append(len(cloudpickle.dumps(task)))
    large = {n: max(sizes) for n, sizes in found.items() if len(sizes) >= 9}
    assert max(large.values()) < MOST_BYTES, large


def _from_tasks(data: Any) -> Any:
    """Return chunks that tasks make, so that no task holds counts."""
    if isinstance(data, xr.Dataset) or not {"y", "x", "energy"} <= set(data.dims):
        return _chunked(data)
    blank = da.zeros(data.shape, data.dtype, chunks=_chunked(data).chunks)
    values = np.asarray(data)
    return data.copy(data=blank.map_blocks(_part_of, shared(values, "counts"), dtype=data.dtype))


def _part_of(block: Any, values: Any, block_info: Any = None) -> Any:
    return values[tuple(slice(*side) for side in block_info[0]["array-location"])]


def test_tasks_of__counts_all_that_is_left_after_fusing():
    lazy = xr.DataArray(range(12), dims="x").chunk(x=3)
    assert tasks_of((lazy + 1) * 2) <= 9  # one of each chunk, with its values, and the array
    assert tasks_of([lazy + 1, lazy.sum()]) > tasks_of(lazy + 1)
    assert tasks_of(3) == 0
