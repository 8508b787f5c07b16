"""Work off the event loop: of each kind only the latest, and none once the page is closed."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from eds_xr.cluster.supervision import stoppable

R = TypeVar("R")


class CancelledError(Exception):
    """Something newer is asked for, or the page is closed."""


class Job:
    """What a function is told of the work that it does."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Let the work end at the next check."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise if nobody waits for the result any more."""
        if self.cancelled:
            raise CancelledError


class Worker:
    """Threads that carry out what a page asks for.

    Parameters
    ----------
    threads : int
        How many jobs of different kinds run at once. Dask's own threads come on top.
    """

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="eds_xr app")
        self._latest: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._busy = 0
        self._idle = threading.Condition(self._lock)
        self._closed = False
        _OPEN.add(self)

    def submit(
        self,
        kind: str,
        function: Callable[[Job], R],
        done: Callable[[R], Any],
        failed: Callable[[Exception], Any],
    ) -> Job:
        """Carry out `function`; what runs of the same kind is cancelled.

        `done` is given the result, `failed` an error, both in the thread, and only if nothing newer
        of the kind has been asked for.
        """
        job = Job()
        with self._lock:
            if self._closed:
                job.cancel()
                return job
            if kind in self._latest:
                self._latest[kind].cancel()
            self._latest[kind] = job
            self._busy += 1
        self._pool.submit(self._carry_out, job, function, done, failed)
        return job

    def cancel(self, kind: str) -> None:
        """Cancel what runs of a kind."""
        with self._lock:
            if kind in self._latest:
                self._latest.pop(kind).cancel()

    def wait(self) -> None:
        """Return when nothing runs and nothing waits."""
        with self._idle:
            self._idle.wait_for(lambda: not self._busy)

    def close(self) -> None:
        """Cancel all work, and take no more."""
        with self._lock:
            self._closed = True
            for job in self._latest.values():
                job.cancel()
        self._pool.shutdown(wait=False)

    def _carry_out(
        self,
        job: Job,
        function: Callable[[Job], Any],
        done: Callable[[Any], Any],
        failed: Callable[[Exception], Any],
    ) -> None:
        try:
            job.check()
            with stoppable(job.check):
                result = function(job)
            job.check()
            done(result)
        except CancelledError:
            pass
        except Exception as error:  # a page shows what went wrong, whatever it was
            if not job.cancelled:
                failed(error)
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()


_OPEN: weakref.WeakSet[Worker] = weakref.WeakSet()


def _close_all() -> None:
    """Cancel what pages still compute: a notebook's kernel that ends waits for its threads."""
    for worker in list(_OPEN):
        worker.close()


# before threads are waited for; `atexit` comes after that
getattr(threading, "_register_atexit", atexit.register)(_close_all)
