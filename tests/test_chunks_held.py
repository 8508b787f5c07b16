"""No public operation holds many chunks of counts at a time, even of an image that was used before.

Workers decode a chunk, make something small of it, and let it go. The scheduler remembers how to
make what is kept again; where it takes that for more urgent than the work of now, all chunks are
decoded first, and fill the workers. The operations are those of :mod:`test_chunked_coordinates`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import dask
import dask.array as da
import pytest
import test_chunked_coordinates as tables
import xarray as xr
from dask.base import is_dask_collection
from distributed.diagnostics.plugin import SchedulerPlugin
from support.draw import slow_but
from test_client_traffic import BROUGHT_HERE

import eds_xr

#: Of 90; two workers of a thread decode the next while they work on one.
MOST_CHUNKS = 12
CHUNKS = {"y": 3, "x": 4, "energy": -1}
#: What is asked for are the chunks themselves.
GIVES_THE_IMAGE = {"with_detector"}
NAMES = set(tables.CASES) - set(BROUGHT_HERE) - GIVES_THE_IMAGE


class _Held(SchedulerPlugin):
    """Counts the chunks that workers hold, and the most of them."""

    name = "eds_xr chunks held"

    def __init__(self, chunks: str) -> None:
        self.chunks, self.most = chunks, 0
        self.held: set[Any] = set()

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if isinstance(key, tuple) and key[0] == self.chunks:
            (self.held.add if finish == "memory" else self.held.discard)(key)
            self.most = max(self.most, len(self.held))


@contextmanager
def chunks_held(client: Any, image: xr.DataArray) -> Iterator[list[int]]:
    """Yield a list that holds, afterwards, the most chunks of an image that workers held."""
    client.register_plugin(_Held(image.data.name), name=_Held.name)
    found: list[int] = []
    try:
        yield found
    finally:
        name = _Held.name  # what runs there takes no class of this module along
        plugin = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.plugins[name])
        found.append(plugin.most)
        client.unregister_scheduler_plugin(name)


def in_tasks_of_their_own(image: xr.DataArray) -> xr.DataArray:
    """Return an image whose chunks Dask does not join with what is made of them, as of one cut."""
    lazy = image.chunk(CHUNKS).data
    name = f"decoded chunk-{lazy.name}"
    graph = {
        (name, *key[1:]) if key[0] == lazy.name else key: task
        for key, task in dict(lazy.dask).items()
    }
    return image.copy(data=da.Array(graph, name, lazy.chunks, meta=lazy._meta))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", slow_but(NAMES, ["sum_spectra"], 12))
def test_every_operation__holds_few_chunks(name, client, tmp_path):
    inputs = tables.inputs_of(tables.SHAPE)
    image = in_tasks_of_their_own(inputs["image"])
    with eds_xr.supervised():
        used = dask.persist(image.std("energy"), image.min("energy"))
    given = {
        n: data.chunk({d: CHUNKS.get(d, -1) for d in data.dims}) if {"y", "x"} <= set(data.dims)
        else data
        for n, data in inputs.items()
    }  # fmt: skip
    with chunks_held(client, image) as most:
        result = tables.CASES[name](SimpleNamespace(**given | {"image": image}, folder=tmp_path))
        if is_dask_collection(result):
            dask.compute(result)
    assert most[0] <= MOST_CHUNKS
    del used
