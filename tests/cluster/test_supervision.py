"""Work on a cluster that is given up: its tasks go, and everything else goes on."""

import gc
import os
import threading
import time
import weakref
from types import SimpleNamespace

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Event, get_client

import eds_xr
from eds_xr import accessor
from eds_xr.app.pictures.worker import CancelledError, Job, Worker
from eds_xr.cluster import supervision
from eds_xr.cluster.supervision import stoppable
from eds_xr.schema import EdsError
from eds_xr.workers import cluster


def waiting(block: np.ndarray, name: str) -> np.ndarray:
    """Say that a task runs, and wait for ever."""
    Event(f"{name} runs", get_client()).set()
    Event(f"{name} may end", get_client()).wait()
    return block


def tasks_of(client) -> set[str]:
    """Return the tasks that the scheduler knows; other tests may have left some."""
    return client.run_on_scheduler(lambda dask_scheduler: {str(k) for k in dask_scheduler.tasks})


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


def test_stoppable__the_next_graph_does_not_overtake_what_is_released(client, monkeypatch):
    """Else the scheduler holds tasks of both against each other, and warns of those that differ."""
    said, send, release = [], client._send_to_scheduler_safe, client._dec_ref
    busy = lambda key: (time.sleep(0.1), release(key))  # noqa: E731
    monkeypatch.setattr(client, "_dec_ref", busy)
    monkeypatch.setattr(
        client,
        "_send_to_scheduler_safe",
        lambda message: (said.append(message["op"]), send(message)),
    )
    with stoppable(lambda: None):
        for name in ("one", "other"):
            dask.delayed(abs)(-1, dask_key_name=name).compute()
    graph, gone = said.index("update-graph"), said.index("client-releases-keys")
    assert graph < gone < said.index("update-graph", graph + 1)


def test_supervised__leaves_nothing_until_garbage_is_collected(client):
    """A long wait raised exceptions that held what its callers held."""
    slow = dask.delayed(lambda: time.sleep(3 * supervision.EVERY_SECONDS))

    def operation():
        kept = dask.delayed(bytes, pure=False)(10).persist()
        slow().compute()
        return weakref.ref(next(iter(kept.dask.values())))

    gc.collect()
    gc.disable()
    try:
        with eds_xr.supervised():
            future = operation()
            assert future() is None
    finally:
        gc.enable()


def test_stoppable__ends_within_a_stage(client):
    job, started = Job(), Event("first runs", client)
    before = tasks_of(client)
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
    while len(tasks_of(client) - before) > 2:
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


def test_computes__all_that_are_bound_to_arrays_are_supervised(client):
    seen = []
    method = accessor._method(lambda data: seen.append(supervision._watch_of(cluster()).kept))
    method(SimpleNamespace(_data=None))
    assert seen == [[]]
    assert supervision._watch_of(cluster()).kept is None
    assert cluster() is client


def test_computes__names_a_task_of_which_workers_die(client):
    @supervision.computes
    def die() -> None:
        dask.delayed(os._exit, pure=False)(1).compute()

    def allow(number: int) -> None:
        client.run_on_scheduler(
            lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", number)
        )

    allow(0)
    with pytest.raises(EdsError, match="1 workers died, one after the other"):
        die()
    allow(3)
    client.wait_for_workers(2)


def test_supervised__what_a_user_computes_of_a_lazy_result(client):
    image = eds_xr.simulate.spectrum_image((16, 16, 1024), 100.0, seed=1).drop_vars("haadf")
    with eds_xr.supervised():
        assert cluster() is not client  # a face of it, that is looked at
        assert int(image.eds.rebin(y=2).sum()) == int(image.sum())
        kept = image.persist()
    assert cluster() is client
    assert int(kept.sum()) == int(image.sum())


def test_supervised__an_error_lets_go_of_what_was_kept(client):
    @supervision.computes
    def fail() -> None:
        kept = da.ones(100, chunks=10).persist()
        kept.sum().compute()
        raise ValueError("of the work itself")

    before = tasks_of(client)
    with pytest.raises(ValueError, match="of the work itself") as raised:
        fail()
    while tasks_of(client) - before:
        pass
    assert raised.value.__traceback__ is not None  # which holds what was kept
