"""Ctrl-C during each long operation: no tasks stay on the cluster, nothing half made on disk."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, Variable
from support.slow_blocks import slowly

import eds_xr
from eds_xr import simulate

pytestmark = pytest.mark.slow

OPERATIONS: dict[str, Callable[[xr.DataArray, Path], Any]] = {
    "nmf": lambda image, folder: eds_xr.nmf(image, 2, seed=0),
    "suggest_rank": lambda image, folder: eds_xr.suggest_rank(image),
    "segment": lambda image, folder: image.eds.segment(),
    "fitted_maps": lambda image, folder: eds_xr.fitted_maps(image, ["Mg", "Si"]),
    "save": lambda image, folder: eds_xr.save(image, folder / "map.zarr"),
    "sum": lambda image, folder: image.sum(("y", "x")).compute(),
}


def interrupted_while(client: Client, begun: str, work: Callable[[], Any]) -> KeyboardInterrupt:
    """Send this process SIGINT once a block is being computed; return what was raised."""

    def interrupt() -> None:
        Variable(begun, client).get(timeout=120)
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=interrupt)
    sender.start()
    with pytest.raises(KeyboardInterrupt) as raised:  # its traceback keeps what was persisted
        work()
    sender.join()
    return raised.value


def tasks_of(client: Client) -> list[str]:
    return client.run_on_scheduler(lambda dask_scheduler: [str(k) for k in dask_scheduler.tasks])


@pytest.mark.parametrize("name", OPERATIONS)
def test_supervised__ctrl_c_leaves_nothing(client: Client, tmp_path: Path, name: str) -> None:
    image = simulate.spectrum_image(shape=(32, 32, 1024), dose=100.0, seed=3).drop_vars("haadf")
    image = image.compute()
    before = set(tasks_of(client))  # what other tests left
    others = client.submit(sum, [1, 2])
    lazy = slowly(image, name)
    error = interrupted_while(client, name, lambda: OPERATIONS[name](lazy, tmp_path))
    assert error.__traceback__ is not None  # as in a notebook, which keeps the last one
    while set(tasks_of(client)) - before != {others.key}:  # those that run end first
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []
    time.sleep(1.5)  # a block that was being computed would be written by now
    assert list(tmp_path.iterdir()) == []
    assert others.result() == 3
    np.testing.assert_array_equal(image.chunk(y=8).sum(("y", "x")).compute(), image.sum(("y", "x")))


def test_save__a_block_that_is_being_computed_is_not_written_later(
    client: Client, tmp_path: Path
) -> None:
    image = simulate.spectrum_image(shape=(32, 32, 1024), dose=100.0, seed=3).drop_vars("haadf")
    whole = slowly(image.compute(), "whole", y=-1, x=-1)  # computed and written by one task
    interrupted_while(client, "whole", lambda: eds_xr.save(whole, tmp_path / "map.zarr"))
    time.sleep(1.5)
    assert list(tmp_path.iterdir()) == []
