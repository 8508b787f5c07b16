"""What a user is told meanwhile: progress on the terminal and in Jupyter, lines, warnings."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

from eds_xr.workers import cluster

T = TypeVar("T")

#: What takes less is not worth a line [s]; a line is written anew so often [s].
LEAST_SECONDS, EVERY_SECONDS = 1.0, 0.2
#: Characters of a bar.
BAR = 24


@contextmanager
def progress(description: str, *, enabled: bool | None = None) -> Iterator[None]:
    """Show how far Dask is with what is computed inside the ``with`` block.

    A bar for Dask's local schedulers, the address of the dashboard for a cluster.

    Parameters
    ----------
    description : str
        What is computed.
    enabled : bool, optional
        None means: on a terminal (standard error), and in Jupyter (in the cell's output).
    """
    stream = _watched(enabled)
    if stream is None:
        yield
        return
    client = cluster()
    if client is not None:
        _print(stream, f"{description}: follow it at {client.dashboard_link}")
        yield
        return
    from dask.callbacks import Callback

    with _status(stream, description) as status:
        with Callback(
            start_state=lambda graph, state: status.starts(len(graph)),
            posttask=lambda *task: status.advance(),
        ):
            yield


def track(
    steps: Iterable[T], description: str, *, total: int, enabled: bool | None = None
) -> Iterator[T]:
    """Yield `steps` one by one, showing how many of `total` are done."""
    stream = _watched(enabled)
    if stream is None:
        yield from steps
        return
    with _status(stream, description) as status:
        status.starts(total)
        for step in steps:
            yield step
            status.advance()


@contextmanager
def counting(description: str, *, enabled: bool | None = None) -> Iterator[Any]:
    """Give a function ``(step, deviance)`` that shows how far an iteration is.

    Parameters
    ----------
    description : str
        What iterates.
    enabled : bool, optional
        As of :func:`progress`.
    """
    stream = _watched(enabled)
    if stream is None:
        yield None
        return
    with _status(stream, description) as status:
        yield lambda step, deviance: status.tell(f"step {step}, deviance {deviance:.6g}")


def say(message: str) -> None:
    """Print one line on standard error, at once."""
    _print(sys.stderr, message)


def say_where_watched(message: str) -> None:
    """Print one line where progress is shown, if it is."""
    stream = _watched(None)
    if stream is not None:
        _print(stream, message)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's own code that led here, however deep the package stands."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)


def _is_ours(module: str) -> bool:
    return module == "eds_xr" or module.startswith("eds_xr.")


class _Status:
    """What is done, and how far it is."""

    def __init__(self, description: str) -> None:
        self.description, self.said = description, ""
        self.total, self.done = 0, 0

    def starts(self, total: int) -> None:
        self.total, self.done = total, 0

    def advance(self) -> None:
        self.done += 1

    def tell(self, said: str) -> None:
        self.said = said

    def text(self) -> str:
        parts = [self.said]
        if self.total:
            part = min(self.done / self.total, 1.0)
            parts.append(f"[{'#' * int(BAR * part):{BAR}}] {part:.0%}")
        return " ".join([self.description, *(said for said in parts if said)])


class _Line:
    """One line for what is done, and within it, and how long it takes, written over."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.since, self.width = stream, time.monotonic(), 0
        self.within: list[_Status] = []
        self.done = threading.Event()
        self.writer = threading.Thread(target=self._write, name="eds_xr progress", daemon=True)

    def _write(self) -> None:
        while not self.done.wait(EVERY_SECONDS):
            if time.monotonic() - self.since > LEAST_SECONDS:
                *around, last = self.within
                self.show(": ".join([*(one.description for one in around[:1]), last.text()]))

    def show(self, text: str, end: str = "") -> None:
        text = f"{text}, {time.monotonic() - self.since:.0f} s"
        print(f"\r{text:{self.width}}", end=end, file=self.stream, flush=True)
        self.width = len(text)


#: The line that is shown, if any: what is done within something else is part of its line.
_shown: list[_Line] = []


@contextmanager
def _status(stream: TextIO, description: str) -> Iterator[_Status]:
    """Show on a line what is done until the block ends, if that takes longer than a second."""
    outermost = not _shown
    if outermost:
        _shown.append(_Line(stream))
    line, status = _shown[0], _Status(description)
    line.within.append(status)
    if outermost:  # as long as the writer runs, there is something to tell
        line.writer.start()
    try:
        yield status
    finally:
        if outermost:
            line.done.set()
            line.writer.join()
            _shown.remove(line)
        line.within.remove(status)
        if outermost and line.width:
            line.show(description, end="\n")


def _print(stream: TextIO, message: str) -> None:
    """Print a line, below one that is written over."""
    above = "\n" if any(line.width and line.stream is stream for line in _shown) else ""
    print(above + message, file=stream, flush=True)


def _watched(enabled: bool | None) -> TextIO | None:
    """Return the stream on which someone looks, None where nobody does."""
    if enabled or (enabled is None and sys.stderr.isatty()):
        return sys.stderr
    return sys.stdout if enabled is None and _in_jupyter() else None


def _in_jupyter() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
