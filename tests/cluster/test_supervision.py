"""Work on a cluster that is given up: its tasks go, and everything else goes on."""

import threading

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Event, get_client

from eds_xr.app.pictures.worker import CancelledError, Job, Worker
from eds_xr.cluster.supervision import stoppable
from eds_xr.workers import cluster


def waiting(block: np.ndarray, name: str) -> np.ndarray:
    """Say that a task runs, and wait for ever."""
    Event(f"{name} runs", get_client()).set()
    Event(f"{name} may end", get_client()).wait()
    return block


def test_stoppable__gives_what_the_client_gives(client):
    numbers = da.arange(1000, chunks=100)
    with stoppable(lambda: None):
        assert cluster() is not None
        assert numbers.sum().compute() == 499_500
        kept = numbers.persist()
        assert (kept + 1).sum().compute() == 500_500
        assert dask.compute(numbers[0], {"a": [numbers[-1]]}) == (0, {"a": [999]})
        with pytest.raises(ZeroDivisionError):
            dask.delayed(lambda: 1 / 0)().compute()
    assert cluster() is client
    assert kept.max().compute() == 999


def test_stoppable__ends_within_a_stage(client):
    job, started = Job(), Event("first runs", client)
    lazy = da.zeros(40, chunks=1).map_blocks(waiting, "first", dtype=float, meta=np.zeros(0))
    others = client.submit(sum, [1, 2])
    raised = []

    def work():
        try:
            with stoppable(job.check):
                lazy.sum().compute()
        except CancelledError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    job.cancel()
    thread.join()  # none of the tasks has ended
    assert len(raised) == 1
    assert others.result() == 3
    Event("first may end", client).set()  # those that run are let go
    assert client.submit(sum, [2, 2]).result() == 4
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) > 2:
        pass  # what waited is forgotten


def test_stoppable__only_in_its_own_thread(client):
    with stoppable(Job().check):
        seen = []
        thread = threading.Thread(target=lambda: seen.append(cluster()))
        thread.start()
        thread.join()
    assert seen == [client]


def test_worker__stop_takes_effect_within_a_computation(client):
    worker, started = Worker(1), Event("second runs", client)
    lazy = da.zeros(8, chunks=1).map_blocks(waiting, "second", dtype=float, meta=np.zeros(0))
    worker.submit("sum", lambda job: lazy.sum().compute(), pytest.fail, pytest.fail)
    started.wait()
    worker.cancel("sum")
    worker.wait()
    Event("second may end", client).set()
    worker.close()
