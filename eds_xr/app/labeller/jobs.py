"""Work of an app beside its event loop: one thread a lane, the latest request wins, all of it stops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

Deliver = Callable[[Callable[[], None]], None]


class Stopped(Exception):
    """The work is not wanted any more."""


class Switch:
    """Tells work whether it is still wanted."""

    def __init__(self) -> None:
        self._off = threading.Event()

    def stop(self) -> None:
        """Ask the work to end."""
        self._off.set()

    @property
    def stopped(self) -> bool:
        """Whether it is not wanted any more."""
        return self._off.is_set()

    def check(self) -> None:
        """Raise where it is not wanted any more."""
        if self._off.is_set():
            raise Stopped

    def guard(self, data: xr.DataArray) -> xr.DataArray:
        """Return lazy data whose computing ends at the next block when the work is stopped.

        On a cluster, blocks run in other processes: there, work ends with the stage it is in.
        """
        if data.chunks is None:
            return data
        return data.copy(data=data.data.map_blocks(_unless_stopped, self, dtype=data.dtype))

    def __reduce__(self) -> tuple[type[Switch], tuple[()]]:
        return Switch, ()

    def __dask_tokenize__(self) -> str:
        return f"switch-{id(self)}"


class Jobs:
    """Threads in which an app computes.

    Parameters
    ----------
    deliver : callable
        Calls a function where the app's state may be changed: in its event loop.
    changed : callable
        Called, there, when work begins or ends.
    """

    def __init__(self, deliver: Deliver, changed: Callable[[], None] = lambda: None) -> None:
        self._deliver, self._changed = deliver, changed
        self._lanes: dict[str, Switch] = {}
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def busy(self) -> list[str]:
        """Lanes in which something is computed."""
        return list(self._lanes)

    def start(
        self, lane: str, work: Callable[[Switch], Any], done: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:  # fmt: skip
        """Compute in a lane; what was computed there before is stopped and its result dropped.

        Parameters
        ----------
        lane : str
        work : callable
            Gets the switch; runs in a thread.
        done, failed : callable
            Get the result, or the error; called in the event loop.
        """
        if self._closed:
            return
        self.stop(lane)
        switch = self._lanes[lane] = Switch()
        thread = threading.Thread(
            target=self._run, args=(lane, switch, work, done, failed), name=lane, daemon=True
        )
        with self._lock:
            self._threads.add(thread)
        thread.start()
        self._changed()

    def stop(self, *lanes: str) -> None:
        """Stop the work of some lanes; without any named, of all."""
        for lane in lanes or list(self._lanes):
            switch = self._lanes.pop(lane, None)
            if switch is not None:
                switch.stop()
                self._changed()

    def close(self) -> None:
        """Stop all work, for good."""
        self._closed = True
        self.stop()

    def join(self) -> None:
        """Wait until all threads have ended."""
        while True:
            with self._lock:
                left = list(self._threads)
            if not left:
                return
            for thread in left:
                thread.join()

    def _run(
        self, lane: str, switch: Switch, work: Callable[[Switch], Any],
        done: Callable[[Any], None], failed: Callable[[Exception], None],
    ) -> None:  # fmt: skip
        then: Callable[[Any], None] = done
        try:
            result: Any = work(switch)
        except Stopped:
            result, then = None, _nothing
        except Exception as error:
            result, then = error, failed

        def finish() -> None:
            if self._lanes.get(lane) is not switch:  # a later request has this lane, or none
                return
            del self._lanes[lane]
            if not switch.stopped:
                then(result)
            self._changed()

        with self._lock:
            self._threads.discard(threading.current_thread())
        self._deliver(finish)


def _nothing(_: Any) -> None:
    return None


def _unless_stopped(block: np.ndarray, switch: Switch) -> np.ndarray:
    switch.check()
    return block
