"""Who does the work: threads here, or a cluster."""

import os
import subprocess
import sys
import threading
import time

import dask
import distributed
import pytest

from eds_xr import workers


def test_threads__as_many_as_dask_has():
    with dask.config.set(scheduler="threads", num_workers=3):
        assert workers.threads() == 3
    for name in workers.ONE_THREAD:
        with dask.config.set(scheduler=name, num_workers=3):
            assert workers.threads() == 1


def test_cluster__is_the_one_on_which_dask_would_compute(client: distributed.Client) -> None:
    assert workers.cluster() is client
    assert workers.cluster_threads(client) == 2
    assert workers.memory() == 2 * 2**30
    with dask.config.set(scheduler="threads"):  # then nothing goes to the cluster
        assert workers.cluster() is None


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
