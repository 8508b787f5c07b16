"""Who does the work: threads here, or a cluster."""

import os
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import dask
import dask.array as da
import distributed
import numpy as np
import psutil
import pytest
from dask.utils import key_split

import eds_xr
from eds_xr import workers
from eds_xr.spectra import sums


def test_threads__as_many_as_dask_has():
    with dask.config.set(scheduler="threads", num_workers=3):
        assert workers.threads() == 3
    for name in workers.ONE_THREAD:
        with dask.config.set(scheduler=name, num_workers=3):
            assert workers.threads() == 1


def test_cluster__is_the_one_on_which_dask_would_compute(client: distributed.Client) -> None:
    assert workers.cluster() is client
    assert workers.cluster_threads(client) == 2
    with dask.config.set(scheduler="threads"):  # then nothing goes to the cluster
        assert workers.cluster() is None


def test_memory__of_workers_is_less_what_they_hold(client: distributed.Client) -> None:
    held = client.run(lambda: psutil.Process().memory_info().rss)
    assert len(held) == 2
    assert abs(2 * 2**30 - sum(held.values()) - workers.memory()) < 1e8


def test_here__is_this_process_though_there_is_a_cluster(client):
    assert workers.here() == {"scheduler": "threads"}
    found = dask.delayed(os.getpid)()
    assert found.compute(**workers.here()) == os.getpid()
    assert found.compute() != os.getpid()
    with dask.config.set(scheduler="synchronous"):  # as it is: no other was asked for
        assert workers.here() == {}


def test_in_threads__in_order_and_at_once():
    together = threading.Barrier(2, timeout=20)

    def meet(number: int) -> int:
        together.wait()  # comes back only when two are at work
        time.sleep(0.01 * (4 - number))
        return number * number

    with dask.config.set(scheduler="threads", num_workers=2):
        assert list(workers.in_threads(meet, range(4))) == [0, 1, 4, 9]


def test_in_threads__begins_nothing_after_an_error():
    done = []

    def work(number: int) -> None:
        done.append(number)
        if number == 0:
            raise KeyboardInterrupt
        time.sleep(0.05)

    with (
        dask.config.set(scheduler="threads", num_workers=1),
        pytest.raises(KeyboardInterrupt),
    ):
        list(workers.in_threads(work, range(100)))
    assert len(done) < 10


def test_in_one_thread__limits_matrix_algebra_inside_alone():
    from threadpoolctl import threadpool_info, threadpool_limits

    def most() -> int:
        return max(pool["num_threads"] for pool in threadpool_info())

    with threadpool_limits(2):
        assert most() == 2
        assert workers.in_one_thread(most)() == 1
        assert most() == 2
    assert workers.in_one_thread(most).__name__ == "most"


def test_in_one_thread__limits_libraries_that_are_loaded_inside():
    told = """
from eds_xr import workers

def most():
    import scipy.linalg
    from threadpoolctl import threadpool_info
    return max(pool["num_threads"] for pool in threadpool_info())

print(workers.in_one_thread(most)())
"""
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.stdout.strip() == "1"


def test_task_name__is_what_the_dashboard_shows_and_workers_find_the_function(eager_image):
    lazy = eager_image.chunk({"y": 5})
    masks = (lazy.sum("energy") > 3).expand_dims(phase=["a"])
    counts = eds_xr.sum_spectra(lazy, masks).counts
    again = eds_xr.sum_spectra(lazy, masks).counts
    assert "sums over masks" in {key_split(key) for key in counts.__dask_graph__()}
    assert counts.data.name == again.data.name  # results are shared
    kernel = pickle.loads(pickle.dumps(sums._sum_block))
    assert kernel is sums._sum_block
    assert kernel.__name__ == "sums over masks"


def test_task_name__on_a_cluster(client, eager_image):
    lazy = eager_image.chunk({"y": 5})
    masks = (eager_image.sum("energy") > 3).expand_dims(phase=["a"])
    before = set(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes)))
    found = eds_xr.sum_spectra(lazy, masks).counts.compute()
    expected = eds_xr.sum_spectra(eager_image, masks).counts
    np.testing.assert_array_equal(found, expected)
    ran = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    assert any("sums over masks" in prefix for prefix in ran)
    mine = set(ran) - before  # other tests have their own
    assert not [prefix for prefix in mine if "block" in prefix.replace("blockwise", "")]


def test_calls__takes_delayed_values_in_lists_and_tuples():
    one, two = dask.delayed(1), dask.delayed([2, 3])
    blocks = da.arange(6, chunks=2).to_delayed()

    def kernel(*given: Any) -> Any:
        return given

    several = [(one, [two, (one, "a")], {"b": slice(1)}), ((blocks[1],), [4, 5], None)]
    found = dask.compute(*workers.calls(kernel, several))
    assert found[0] == (1, [[2, 3], (1, "a")], {"b": slice(1)})
    np.testing.assert_array_equal(found[1][0][0], [2, 3])
    assert found[1][1:] == ([4, 5], None)


def test_calls__many_share_a_layer_and_are_made_in_linear_time():
    def looked_at(number: int) -> int:
        tiles = da.zeros(number, chunks=1).to_delayed()
        seen = Counter()

        def trace(frame: Any, event: str, arg: Any) -> None:
            seen[event] += event == "call"

        sys.setprofile(trace)
        try:
            late = workers.calls(sum, [(list(tiles[i : i + 10]),) for i in range(0, number, 10)])
        finally:
            sys.setprofile(None)
        assert len({one.__dask_layers__() for one in late}) == 1
        return seen["call"]

    assert looked_at(2000) < 12 * looked_at(200)


def test_calls__names():
    def kernel(value: int) -> int:
        return value

    (one,), (other,) = workers.calls(kernel, [(1,)]), workers.calls(kernel, [(1,)])
    assert key_split(one.key) == "kernel"
    assert one.key != other.key
    assert workers.calls(kernel, [(1,), (2,)], "mine-1")[1].key == ("mine-1", 1)
