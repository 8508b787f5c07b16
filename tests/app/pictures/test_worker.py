import subprocess
import sys
import threading
from typing import Any

import pytest

from eds_xr.app.pictures.worker import Job, Worker


@pytest.fixture
def worker() -> Any:
    one = Worker(2)
    yield one
    one.close()


def test_submit__gives_the_result(worker: Worker) -> None:
    found: list[int] = []
    worker.submit("sum", lambda job: 2 + 3, found.append, pytest.fail)
    worker.wait()
    assert found == [5]


def test_submit__gives_the_error(worker: Worker) -> None:
    found: list[Exception] = []

    def fails(job: Job) -> None:
        raise ValueError("so")

    worker.submit("sum", fails, pytest.fail, found.append)
    worker.wait()
    assert [str(e) for e in found] == ["so"]


def test_submit__the_latest_of_a_kind_wins(worker: Worker) -> None:
    begun, go_on, found = threading.Event(), threading.Event(), []

    def slow(job: Job) -> str:
        begun.set()
        go_on.wait()
        job.check()
        return "old"

    worker.submit("picture", slow, found.append, pytest.fail)
    begun.wait()
    worker.submit("picture", lambda job: "new", found.append, pytest.fail)
    go_on.set()
    worker.wait()
    assert found == ["new"]


def test_submit__what_was_overtaken_in_the_queue_is_not_begun(worker: Worker) -> None:
    go_on, done = threading.Event(), []
    for kind in ("a", "b"):  # both threads are busy
        worker.submit(kind, lambda job: go_on.wait(), lambda _: None, pytest.fail)
    for i in range(5):
        worker.submit("picture", lambda job, i=i: done.append(i), lambda _: None, pytest.fail)
    go_on.set()
    worker.wait()
    assert done == [4]


def test_submit__kinds_do_not_cancel_each_other(worker: Worker) -> None:
    found: list[str] = []
    for kind in ("a", "b", "c"):
        worker.submit(kind, lambda job, k=kind: k, found.append, pytest.fail)
    worker.wait()
    assert sorted(found) == ["a", "b", "c"]


def test_close__cancels_and_takes_no_more(worker: Worker) -> None:
    begun, go_on, found = threading.Event(), threading.Event(), []
    jobs: list[Job] = []

    def slow(job: Job) -> str:
        jobs.append(job)
        begun.set()
        go_on.wait()
        return "done"

    worker.submit("slow", slow, found.append, found.append)
    begun.wait()
    worker.close()
    assert jobs[0].cancelled
    go_on.set()
    assert worker.submit("more", lambda job: found.append(1), found.append, found.append).cancelled
    worker.wait()
    assert found == []


def test_worker__a_process_ends_while_it_works() -> None:
    """A notebook's kernel is such a process: it waits for its threads before it ends."""
    code = (
        "import time\n"
        "from eds_xr.app.pictures.worker import Worker\n"
        "def work(job):\n"
        "    print('begun', flush=True)\n"
        "    while True:\n"
        "        time.sleep(0.01)\n"
        "        job.check()\n"
        "worker = Worker(1)\n"
        "worker.submit('x', work, print, print)\n"
        "worker.submit('y', work, print, print)\n"
        "time.sleep(0.1)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["begun"]
