"""Whoever works, in whatever order and chunks: every public operation gives the same.

The operations are those of :mod:`test_chunked_coordinates`, which has all that the accessors and
the package name: a new one cannot be forgotten. Results are held against those of NumPy.
"""

import asyncio
import inspect
import random
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import cloudpickle
import dask
import distributed
import numpy as np
import pytest
import test_chunked_coordinates as tables
import xarray as xr
from dask._task_spec import convert_legacy_graph
from dask.base import is_dask_collection, tokenize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.draw import slow_but

import eds_xr
from eds_xr import EdsError, accessor, classify, features, graph_cut, masks, scribbles
from eds_xr.cluster import supervision

pytestmark = pytest.mark.filterwarnings("ignore")

#: What is said where an asynchronous client would have to be waited for.
ASYNCHRONOUS = "this computes, and the distributed.Client here is asynchronous"


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    return tables.inputs_of(tables.SHAPE)


@pytest.fixture(scope="module")
def on_numpy(inputs, tmp_path_factory) -> Any:
    """Return a function that gives the result of an operation of arrays in memory, once."""
    found: dict[str, Any] = {}

    def result_of(name: str) -> Any:
        if name not in found:
            folder = tmp_path_factory.mktemp("eager")
            found[name] = tables.CASES[name](SimpleNamespace(**inputs, folder=folder))
        return found[name]

    return result_of


def in_random_order(seed: int) -> Any:
    """Return a scheduler of one thread that takes any of the tasks that are ready."""

    def get(graph: Any, keys: Any, **kwargs: Any) -> Any:
        check_supervised()
        tasks = convert_legacy_graph(
            graph if isinstance(graph, Mapping) else graph.__dask_graph__()
        )
        draw, done = random.Random(seed), {}
        waits = {key: set(task.dependencies) for key, task in tasks.items()}
        needed_by: dict[Any, list[Any]] = {}
        for key, needs in waits.items():
            for one in needs:
                needed_by.setdefault(one, []).append(key)
        ready = [key for key, needs in waits.items() if not needs]
        while ready:
            key = ready.pop(draw.randrange(len(ready)))
            done[key] = tasks[key]({one: done[one] for one in tasks[key].dependencies})
            for other in needed_by.get(key, []):
                waits[other].discard(key)
                if not waits[other]:
                    ready.append(other)
        return _of_keys(keys, done)

    return get


def public_functions() -> list[Any]:
    """Return the functions that the package and its public modules name."""
    named = [getattr(eds_xr, name) for name in eds_xr.__all__]
    homes = [eds_xr, *(one for one in named if inspect.ismodule(one))]
    found = [f for home in homes for n, f in vars(home).items() if n[0] != "_"]
    return [f for f in found if inspect.isfunction(f) and f.__module__.startswith("eds_xr.")]


#: What :func:`supervision.computes` makes of a function, and the bodies of all public functions.
WATCHED = supervision.computes(len).__code__
PUBLIC = {inspect.unwrap(function).__code__ for function in public_functions()}


def check_supervised() -> None:
    """Raise where a public function computes that is not supervised on a cluster.

    Methods of ``.eds`` are, all of them, by the accessor: that does not count for the function.
    """
    frame, codes, caller = sys._getframe(1), [], None
    while frame is not None:
        caller = frame.f_back
        of_accessor = caller is not None and caller.f_globals["__name__"] == accessor.__name__
        if frame.f_code in PUBLIC or (frame.f_code is WATCHED and not of_accessor):
            codes.append(frame.f_code)
        frame = caller
    assert not codes or WATCHED in codes, (
        f"{codes[-1].co_name} computes: it needs @computes of eds_xr.cluster.supervision"
    )


def _of_keys(keys: Any, done: dict[Any, Any]) -> Any:
    return [_of_keys(key, done) for key in keys] if isinstance(keys, list) else done[keys]


def cut(size: int, draw: random.Random) -> tuple[int, ...]:
    """Return sizes of chunks along a dimension: any, four at most."""
    ends = [0, *sorted(draw.sample(range(1, size), draw.randrange(4))), size]
    return tuple(int(n) for n in np.diff(ends))


def in_chunks(data: Any, draw: random.Random) -> Any:
    """Return data on Dask, cut anyhow along y and x; all of one kind alike, as users have them."""
    cuts = {d: cut(n, draw) if d in ("y", "x") else -1 for d, n in data.sizes.items()}
    return data.chunk(cuts)


def chunked(inputs: dict[str, Any], seed: int) -> dict[str, Any]:
    return {name: in_chunks(data, random.Random(seed + i)) for i, (name, data) in
            enumerate(inputs.items())}  # fmt: skip


def lazy_parts(result: Any) -> list[Any]:
    """Return what of a result is still to be computed."""
    parts = result if isinstance(result, tuple | list) else [result]
    return [part for part in parts if is_dask_collection(part)]


def said_to_be_lazy(name: str) -> bool:
    """Return whether the docstring of an operation says that it computes nothing."""
    last = name.rpartition(".")[2]
    homes = [masks] if name.startswith("masks.") else [eds_xr, accessor.ArrayAccessor]
    homes += [accessor.DatasetAccessor, features, graph_cut, classify, scribbles, masks]
    found = [getattr(home, last) for home in homes if hasattr(home, last)]
    return bool(found) and "\n    Lazy:" in (found[0].__doc__ or "")


def check_equal(result: Any, eager: Any) -> None:
    tables._check_equal(result, eager)


@pytest.mark.parametrize("name", slow_but(tables.CASES, ["fitted_maps", "nmf", "sum_spectra"]))
def test_every_operation__in_any_chunks_and_order(name, inputs, on_numpy, tmp_path):
    """Twice: by one thread in random order, and as Dask orders it; the graphs have one name."""
    seed = zlib.crc32(name.encode())
    mine = SimpleNamespace(**chunked(inputs, seed), folder=tmp_path)
    with dask.config.set(scheduler=in_random_order(seed)):
        first = tables.CASES[name](mine)
        check_equal(first, on_numpy(name))
    with dask.config.set(scheduler="synchronous"):
        second = tables.CASES[name](mine)
        check_equal(second, on_numpy(name))
    one, other = lazy_parts(first), lazy_parts(second)
    assert [tokenize(part) for part in one] == [tokenize(part) for part in other]
    assert [set(part.__dask_graph__()) for part in one] == [
        set(part.__dask_graph__()) for part in other
    ]


@pytest.mark.parametrize("name", slow_but(tables.CASES, ["nmf", "sum_spectra"], 12))
def test_every_operation__on_a_cluster_pickled_and_persisted(
    name, inputs, on_numpy, client, tmp_path
):
    mine = SimpleNamespace(**chunked(inputs, 1), folder=tmp_path)
    result = tables.CASES[name](mine)
    several = result if isinstance(result, tuple | list) else [result]
    again = cloudpickle.loads(cloudpickle.dumps(list(several))) if lazy_parts(result) else several
    kept = dask.persist(*again)
    eager = on_numpy(name)
    for part, of_numpy in zip(kept, eager if several is result else [eager], strict=True):
        check_equal(part, of_numpy)


def test_public_functions__those_that_are_supervised_say_what_they_compute():
    """That those that compute are supervised is seen by the scheduler `in_random_order`."""
    supervised = [f for f in public_functions() if f.__code__ is WATCHED]
    assert len(supervised) > 50
    for function in supervised:
        assert re.search(r"\n\n    (Computes|Lazy)\b", function.__doc__ or ""), function


def test_check_supervised__finds_a_public_function_that_is_not(monkeypatch):
    def forgotten(image: xr.DataArray) -> float:
        return float(image.sum())

    monkeypatch.setattr(sys.modules[__name__], "PUBLIC", {*PUBLIC, forgotten.__code__})
    lazy = xr.DataArray(np.ones(3), dims="x").chunk()
    with dask.config.set(scheduler=in_random_order(0)):
        with pytest.raises(AssertionError, match="forgotten computes: it needs @computes"):
            forgotten(lazy)
        assert supervision.computes(forgotten)(lazy) == 3.0


#: What these compute before they return, or what their case does first.
FIRST = {
    "fitted_maps": "the sum of all spectra, for the calibration",
    "project": "loadings that are on Dask here",
    "merge_kinds": "the case finds the kinds, in binned maps",
    "purest": "binned maps, in which it looks for the purest mixture",
    "remove_baseline": "scores of the mask's pixels",
    "move_shares": "loadings that are on Dask here",
    "predict": "the case trains",
    "read": "the case writes",
}


def cluster_of_one() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


thread = pytest.fixture(scope="module", name="thread")(cluster_of_one)


@pytest.mark.parametrize("name", tables.CASES)
def test_every_operation__of_an_asynchronous_client(name, inputs, on_numpy, thread, tmp_path):
    """What is lazy is awaited; what would compute says that it cannot, and nothing is left."""
    # small tables in memory, as users have them: of images alone something is lazy
    tables_of = {n: data for n, data in inputs.items() if not {"y", "x"} <= set(data.dims)}
    mine = SimpleNamespace(**chunked(inputs, 2) | tables_of, folder=tmp_path)

    async def built_and_awaited() -> Any:
        async with distributed.Client(thread.scheduler_address, asynchronous=True) as client:
            result = tables.CASES[name](mine)
            parts = lazy_parts(result)
            return [await part for part in client.compute(parts)] if parts else result

    refused, result = None, None
    try:
        result = asyncio.run(built_and_awaited())
    except EdsError as error:
        refused = error
    if refused is not None:
        assert ASYNCHRONOUS in str(refused)
        assert name in FIRST or not said_to_be_lazy(name), "lazy, and yet it computes"
        return
    eager = on_numpy(name)
    if isinstance(result, list) and not isinstance(eager, list):
        eager = list(eager) if isinstance(eager, tuple) else [eager]
    check_equal(result, eager)


#: Those that take hundredths of a second, of arrays with pixels.
CHEAP = [
    "rebin", "split_counts", "element_map", "sum_spectra", "masks", "describe", "significance",
    "masks.erode", "masks.fill_holes", "masks.remove_small", "masks.tiles", "masks.overlap",
]  # fmt: skip


@pytest.mark.parametrize("name", CHEAP)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cheap_operations__in_any_chunks(name, inputs, on_numpy, tmp_path, seed):
    with dask.config.set(scheduler=in_random_order(seed)):
        mine = SimpleNamespace(**chunked(inputs, seed), folder=tmp_path)
        check_equal(tables.CASES[name](mine), on_numpy(name))


def test_in_random_order__gives_what_dask_gives_in_another_order():
    seen: list[int] = []

    def note(block: np.ndarray) -> np.ndarray:
        seen.append(int(block[0]))
        return block * 2

    lazy = xr.DataArray(np.arange(40.0), dims="x").chunk(x=1).data.map_blocks(note, dtype=float)
    orders = []
    for seed in range(2):
        seen.clear()
        with dask.config.set(scheduler=in_random_order(seed)):
            np.testing.assert_array_equal(lazy.sum().compute(), 2 * np.arange(40.0).sum())
        orders.append(tuple(seen))
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == list(range(40))
