"""What a user is told meanwhile: progress of loops and of Dask, lines, warnings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from eds_xr.workers import cluster

T = TypeVar("T")


@contextmanager
def progress(description: str, *, enabled: bool | None = None) -> Iterator[None]:
    """Show how far Dask is with what is computed inside the ``with`` block.

    A bar for Dask's local schedulers, the address of the dashboard for a cluster.

    Parameters
    ----------
    description : str
        What is computed.
    enabled : bool, optional
        None means: when standard error is a terminal, or in a notebook.
    """
    if not _enabled(enabled):
        yield
        return
    client = cluster()
    if client is not None:
        say(f"{description}: follow it at {client.dashboard_link}")
        yield
        return
    from dask.diagnostics.progress import ProgressBar

    say(description)
    with ProgressBar(out=sys.stderr):
        yield


def track(
    steps: Iterable[T], description: str, *, total: int, enabled: bool | None = None
) -> Iterator[T]:
    """Yield `steps` one by one, showing how many of `total` are done."""
    if not _enabled(enabled):
        yield from steps
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    yield from rich_track(steps, description, total=total, console=console)


@contextmanager
def counting(description: str, *, enabled: bool | None = None) -> Iterator[Any]:
    """Give a function ``(step, deviance)`` that shows how far an iteration is.

    Parameters
    ----------
    description : str
        What iterates.
    enabled : bool, optional
        None means: when standard error is a terminal, or in a notebook.
    """
    if not _enabled(enabled):
        yield None
        return

    def show(step: int, deviance: float) -> None:
        print(f"\r{description}: step {step}, deviance {deviance:.6g} ", end="", file=sys.stderr)

    try:
        yield show
    finally:
        print(file=sys.stderr, flush=True)


def say(message: str) -> None:
    """Print one line on standard error, at once."""
    print(message, file=sys.stderr, flush=True)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's own code that led here, however deep the package stands."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)


def _is_ours(module: str) -> bool:
    return module == "eds_xr" or module.startswith("eds_xr.")


def _enabled(enabled: bool | None) -> bool:
    return sys.stderr.isatty() or _in_notebook() if enabled is None else enabled


def _in_notebook() -> bool:
    """Return whether a notebook shows what is printed; its standard error is no terminal."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None
