"""What is computed on a cluster, supervised: it ends clearly, and leaves nothing.

Whatever ends it early, what it computed and kept on the cluster is let go. A scheduler, or all
workers, that are gone are an error at once instead of waiting for ever.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from eds_xr.schema import EdsError
from eds_xr.workers import cluster

P = ParamSpec("P")
R = TypeVar("R")

#: Between two looks at whether a result is still wanted [s], and at whether workers are left [s].
EVERY_SECONDS, WORKERS_EVERY_SECONDS = 0.1, 2.0
#: How long a cluster may be without workers that lost them, as a nanny starts them anew [s], and
#: one that has had none yet, as a queue of jobs takes its time [s].
WITHOUT_WORKERS_SECONDS, UNTIL_WORKERS_SECONDS = 60.0, 600.0
#: Of so many tasks at most it is asked whether the scheduler knows them already.
MOST_KEYS = 10_000
#: Longer than this the scheduler does not take to know a graph [s].
KNOWN_SECONDS = 60.0
#: A message that takes longer than this is given up [s]; the next look sends another.
MESSAGE_SECONDS = 3.0
#: How long after a failed message the client may take to notice that its connection is lost [s].
NOTICED_SECONDS = 2.0
#: Priorities of tasks; those of the user's own are zero. The scheduler remembers how to make what
#: is kept again, under the priority that it had: the reads of an image come before all that a later
#: graph of the same image makes of them, and fill the workers. So what is computed comes before
#: what was kept, and what is kept later before what was kept earlier, by so much.
COMPUTED, KEPT, LATER = 1.0, -1.0, 1e-6
#: States of futures that no result will follow.
FAILED = ("error", "lost", "cancelled")
_kept = itertools.count()


def computes(function: Callable[P, R]) -> Callable[P, R]:
    """Supervise what a public function computes on a cluster: see :func:`supervised`."""

    @wraps(function)
    def watched(*args: P.args, **kwargs: P.kwargs) -> R:
        with supervised():
            return function(*args, **kwargs)

    return watched


@contextmanager
def supervised() -> Iterator[None]:
    """Let what this thread computes on a cluster, inside the ``with`` block, end clearly.

    Computes: nothing by itself. The package's own functions and the methods of ``.eds`` are
    supervised already; this is for what you compute of their lazy results, with ``.compute()`` or
    xarray's plots. When the block is left by an exception, KeyboardInterrupt too, nothing that it
    computed or persisted stays on the cluster. Inside another such block, or without a cluster, it
    does nothing.

    Raises
    ------
    EdsError
        If the scheduler does not answer any more, no worker is left, or workers die of a task; if
        the client is asynchronous, so that nothing can be waited for here.

    Examples
    --------
    >>> import eds_xr
    >>> image = eds_xr.simulate.spectrum_image((16, 16, 1024), 100.0)
    >>> with eds_xr.supervised():
    ...     spectrum = image.sum(("y", "x")).compute()
    """
    client = _client()
    if client is None or client.asynchronous:
        with _told_of_asynchronous():
            yield
        return
    if _watch_of(client).kept is not None:
        yield
        return
    check_connected(client)
    watch = _watch_of(client)._for_operation()
    watch.look_for_workers()
    watch.until_known()
    try:
        with watch.takes_over():
            yield
    except BaseException as error:
        watch.let_go()
        told = _told(error, watch.client)
        if told is None:
            raise
        raise told from error


@contextmanager
def stoppable(check: Callable[[], None]) -> Iterator[None]:
    """Let what this thread computes on a cluster, inside the ``with`` block, be given up.

    Parameters
    ----------
    check : callable
        Asked now and then. What it raises ends the computation: its tasks are let go, of
        whichever stage they are. In this process, blocks ask for themselves.
    """
    client = _client()
    if client is None:
        with _told_of_asynchronous():
            yield
        return
    with _watch_of(client)._with_check(check).takes_over():
        yield


def _client() -> Any:
    """Return the client on which this thread computes; None for one that must be awaited.

    Of what is lazy nothing is computed; where something is, Dask says that it cannot be.
    """
    try:
        return cluster()
    except RuntimeError:
        return None


@contextmanager
def _told_of_asynchronous() -> Iterator[None]:
    """Say what to do where Dask says that an asynchronous client cannot be waited for."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, EdsError) or "asynchronous Client" not in str(error):
            raise
        raise EdsError(
            "this computes, and the distributed.Client here is asynchronous: its results would "
            "have to be awaited; connect with Client(address), without asynchronous=True, which "
            "works in Jupyter, too, or compute in this process, in a block "
            "'with dask.config.set(scheduler=\"threads\"):'; what is lazy needs neither, await "
            "client.compute(result)"
        ) from error


def check_connected(client: Any) -> None:
    """Raise if a client has lost its scheduler."""
    if client.status != "running" and not client.asynchronous:
        raise _lost_scheduler(client)


class _Watch:
    """A client, and what is looked at while something is computed on it."""

    def __init__(
        self, client: Any, checks: tuple[Callable[[], None], ...] = (), kept: Any = None
    ) -> None:
        self.client, self.checks, self.kept = client, checks, kept
        self.looked, self.alone_since, self.had_workers = time.monotonic(), 0.0, False

    def _for_operation(self) -> _Watch:
        return _Watch(self.client, self.checks, [])

    def _with_check(self, check: Callable[[], None]) -> _Watch:
        return _Watch(self.client, (*self.checks, check), self.kept)

    @contextmanager
    def takes_over(self) -> Iterator[None]:
        """Compute through this watch in this thread, inside the ``with`` block."""
        from distributed.client import _current_client

        # not Client.as_current, which sets the scheduler of all threads
        token = _current_client.set(_face(self))
        try:
            yield
        finally:
            _current_client.reset(token)

    def get(self, graph: Any, keys: Any, *given: Any, **options: Any) -> Any:
        """Compute; look now and then whether the result is wanted, and can come."""
        check_connected(self.client)
        options = {"priority": COMPUTED} | options | {"sync": False}
        packed = self.client.get(graph, keys, *given, **options)
        futures = list(_futures(packed))
        self.looked, self.alone_since = time.monotonic(), 0.0
        try:
            ending = _Ending(futures)
            while not ending.within(EVERY_SECONDS):
                self.look()
            result = self.client.gather(packed)
        except BaseException as error:
            told = _told(error, self.client)
            if told is None:
                raise
            raise told from error
        finally:  # what waits for its turn is forgotten, unless somebody else wants it too
            for future in futures:
                future.release()
        self.until_released()
        return result

    def keep(self, collections: Any) -> Any:
        """Remember the futures of persisted collections, as long as anybody holds them."""
        if self.kept is not None:
            several = collections if isinstance(collections, list | tuple) else [collections]
            graphs = [dict(one.__dask_graph__()) for one in several]
            found = _futures([value for graph in graphs for value in graph.values()])
            self.kept[:] = [one for one in self.kept if one() is not None]
            self.kept += [weakref.ref(future) for future in found]
        return collections

    def until_known(self) -> None:
        """Wait until the scheduler knows all that was persisted.

        It takes graphs in at the same time, and one that needs another's results may overtake it
        on a busy machine; then the scheduler cancels it, "lost dependencies".
        """
        until = time.monotonic() + KNOWN_SECONDS
        while not self.client.asynchronous and time.monotonic() < until:
            states = list(self.client.futures.copy().items())  # it changes in another thread
            unknown = [key for key, state in states if state.status == "pending"][:MOST_KEYS]
            if not unknown:
                return
            ask = self.client.scheduler.get_task_status
            try:
                known = self.client.sync(ask, keys=unknown, callback_timeout=MESSAGE_SECONDS)
            except (TimeoutError, OSError):
                known = {}
            if known and all(known.values()):
                return
            self.look()
            time.sleep(0.01)

    def until_released(self) -> None:
        """Wait until the client has said what it does not want any more.

        It says so a little later, and the next graph may overtake it: then the scheduler holds the
        tasks of both against each other, and warns of those that Dask has fused in another way.
        """
        if not self.client.asynchronous:
            with suppress(TimeoutError, OSError):
                self.client.sync(asyncio.sleep, 0, callback_timeout=MESSAGE_SECONDS)

    def let_go(self) -> None:
        """Release what the operation has persisted: a traceback would hold it for long."""
        for reference in self.kept or ():
            future = reference()
            if future is not None:
                future.release()

    def look(self) -> None:
        """Raise when the result is not wanted any more, or cannot come."""
        for check in self.checks:
            check()
        check_connected(self.client)
        if time.monotonic() - self.looked > WORKERS_EVERY_SECONDS:
            self.look_for_workers()
            self.looked = time.monotonic()

    def look_for_workers(self) -> None:
        """Raise when all workers have been gone for too long."""
        try:
            number = len(
                self.client.sync(self.client.scheduler.ncores, callback_timeout=MESSAGE_SECONDS)
            )
        except (TimeoutError, OSError):  # busy; if it is lost, the client will know
            return
        if number:
            self.had_workers, self.alone_since = True, 0.0
            return
        self.alone_since = self.alone_since or time.monotonic()
        most = WITHOUT_WORKERS_SECONDS if self.had_workers else UNTIL_WORKERS_SECONDS
        if time.monotonic() - self.alone_since > most:
            raise EdsError(
                f"the cluster at {_address(self.client)} has had no workers for {most:g} s, so "
                "nothing can be computed; start workers (with a nanny they are started anew when "
                "they die), look into their logs for why they went, and run this again"
            )


def _watch_of(client: Any) -> _Watch:
    """Return the watch of a client that is one's face, or a new one that watches nothing."""
    watch = getattr(type(client), "eds_xr_watch", None)
    return watch if isinstance(watch, _Watch) else _Watch(client)


def _face(watch: _Watch) -> Any:
    """Return a second face of a client, with its futures and its connection, that is watched."""
    from distributed import Client

    client = watch.client

    class Watched(Client):
        eds_xr_watch = watch

        def get(self, dsk: Any, keys: Any, *given: Any, **options: Any) -> Any:
            return watch.get(dsk, keys, *given, **options)

        def persist(self, *collections: Any, **options: Any) -> Any:
            check_connected(client)
            priority = KEPT + LATER * next(_kept)
            kept = watch.keep(client.persist(*collections, **{"priority": priority} | options))
            watch.until_known()
            return kept

        def compute(self, *collections: Any, **options: Any) -> Any:
            check_connected(client)
            return client.compute(*collections, **{"priority": COMPUTED} | options)

        def __del__(self) -> None:
            """Leave the connection open: it is the first face's."""

    face = object.__new__(Watched)
    face.__dict__ = client.__dict__
    return face


def _futures(packed: Any) -> Iterator[Any]:
    """Yield the futures in nested lists."""
    from distributed import Future

    if isinstance(packed, list | tuple):
        for one in packed:
            yield from _futures(one)
    elif isinstance(packed, Future):
        yield packed


class _Ending:
    """When all futures are done, or one has failed.

    Not ``distributed.wait`` with a time limit: the exception that tells that it is over holds
    itself, and whatever the functions that asked hold, until Python next collects garbage. Counts
    that were let go stayed with the workers.
    """

    def __init__(self, futures: list[Any]) -> None:
        self.futures, self.running, self.changed = futures, len(futures), threading.Event()
        for future in futures:
            future.add_done_callback(self._done)

    def _done(self, future: Any) -> None:
        """Note a future that is done; all such notes come from one thread of Dask's."""
        self.running -= 1
        if not self.running or future.status in FAILED:
            self.changed.set()

    def within(self, seconds: float) -> bool:
        """Wait so long at most; return whether it has come."""
        if self.running:
            self.changed.wait(seconds)
        # of a lost scheduler's futures nobody says that they are done
        return all(f.done() for f in self.futures) or any(f.status in FAILED for f in self.futures)


def _told(error: BaseException, client: Any) -> Exception | None:
    """Return what an error of Dask's means to the user; None where it says it itself."""
    from concurrent.futures import CancelledError

    from distributed.scheduler import KilledWorker

    if isinstance(error, EdsError) or not isinstance(error, Exception | CancelledError):
        return None
    if isinstance(error, KilledWorker):
        return EdsError(
            f"{error.allowed_failures + 1} workers died, one after the other, while they computed "
            f"{error.task!r}: mostly they had too little memory; give them more, fewer threads "
            "each, or rechunk the image into smaller chunks, and look into their logs"
        )
    if isinstance(error, CancelledError | OSError | TimeoutError):
        until = time.monotonic() + NOTICED_SECONDS
        while client.status == "running" and _is_connection(error) and time.monotonic() < until:
            time.sleep(EVERY_SECONDS)
    return None if client.status == "running" else _lost_scheduler(client)


def _is_connection(error: BaseException) -> bool:
    """Return whether an error is one of messages to the scheduler, not of the work itself."""
    from distributed.comm.core import CommClosedError

    return isinstance(error, CommClosedError) or "connect" in str(error).lower()


def _lost_scheduler(client: Any) -> Exception:
    return EdsError(
        f"the cluster's scheduler at {_address(client)} does not answer any more, so what lay on "
        "the cluster is lost; start the cluster again, connect with a new distributed.Client, and "
        "run this again (eds_xr.nmf goes on where it was, given checkpoint=)"
    )


def _address(client: Any) -> str:
    scheduler = getattr(client, "scheduler", None)
    return str(getattr(scheduler, "address", None) or client._start_arg or "its address")
