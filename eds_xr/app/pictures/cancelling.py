"""What a page computes on a cluster, given up at once when nobody wants it any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from eds_xr.workers import cluster

#: Between two looks at whether a result is still wanted [s].
EVERY_SECONDS = 0.1


@contextmanager
def stoppable(check: Callable[[], None]) -> Iterator[None]:
    """Let what this thread computes on a cluster, inside the ``with`` block, be given up.

    Parameters
    ----------
    check : callable
        Asked now and then. What it raises ends the computation: its tasks are cancelled, of
        whichever stage they are. In this process, blocks ask for themselves.
    """
    client = cluster()
    if client is None:
        yield
        return
    from distributed.client import _current_client

    # not Client.as_current, which sets the scheduler of all threads
    token = _current_client.set(_cancelling(client, check))
    try:
        yield
    finally:
        _current_client.reset(token)


def _cancelling(client: Any, check: Callable[[], None]) -> Any:
    """Return a second face of a client, with its futures, its connection, and stoppable results."""
    from distributed import Client

    class Cancelling(Client):
        def get(self, dsk: Any, keys: Any, *given: Any, **options: Any) -> Any:
            packed = client.get(dsk, keys, *given, **options | {"sync": False})
            return _gathered(client, packed, check)

        def persist(self, *collections: Any, **options: Any) -> Any:
            return client.persist(*collections, **options)

        def compute(self, *collections: Any, **options: Any) -> Any:
            return client.compute(*collections, **options)

        def __del__(self) -> None:
            """Leave the connection open: it is the first face's."""

    face = object.__new__(Cancelling)
    face.__dict__ = client.__dict__
    return face


def _gathered(client: Any, packed: Any, check: Callable[[], None]) -> Any:
    """Return the results of futures; cancel them when `check` raises."""
    futures = list(_futures(packed))
    try:
        while not _settled(futures):
            check()
        return client.gather(packed)
    except BaseException:
        client.cancel(futures, force=True)
        raise
    finally:
        for future in futures:
            future.release()


def _futures(packed: Any) -> Iterator[Any]:
    """Yield the futures in nested lists."""
    if isinstance(packed, list | tuple):
        for one in packed:
            yield from _futures(one)
    elif hasattr(packed, "release"):
        yield packed


def _settled(futures: list[Any]) -> bool:
    """Return whether all are done, or one has failed, after a moment."""
    from distributed import wait

    running = [future for future in futures if not future.done()]
    if running:
        try:
            wait(running, timeout=EVERY_SECONDS, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return False
    return all(f.done() for f in futures) or any(f.status in ("error", "lost") for f in futures)
