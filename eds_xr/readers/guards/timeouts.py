"""Remote storage that never answers: each request is given up after a time that can be set.

``dask.config.set({"eds_xr.storage-timeout": "5 min"})``, or ``DASK_EDS_XR__STORAGE_TIMEOUT`` in the
environment; a store keeps what was set when it was opened, on workers, too. A disk of this machine,
or one mounted on it, cannot be given up: the operating system does not let go of who reads it.
"""

from __future__ import annotations

from typing import Any

from eds_xr.schema import EdsError

#: Dask's name of how long a request may take, and what it is where nobody set it [s].
SETTING, SECONDS = "eds_xr.storage-timeout", 60.0


def storage_timeout() -> float:
    """Return how long remote storage may take to answer a request [s]."""
    import dask
    from dask.utils import parse_timedelta

    said = dask.config.get(SETTING, SECONDS)
    try:
        seconds = float(parse_timedelta(said, default="s"))
    except (TypeError, ValueError, KeyError):
        seconds = 0.0
    if not seconds > 0:
        raise EdsError(f"{SETTING} of dask.config must be a time such as '60 s', found {said!r}")
    return seconds


def ask(files: Any, request: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method of fsspec's file systems, by its name.

    Raises
    ------
    TimeoutError
        If storage that is asked over the network does not answer in time.
    """
    if not getattr(files, "async_impl", False):
        return getattr(files, request)(*args, **kwargs)
    from fsspec.asyn import sync

    seconds = storage_timeout()
    call = getattr(files, f"_{request}")
    try:
        return sync(files.loop, call, *args, timeout=seconds, **kwargs)
    except TimeoutError as error:
        raise TimeoutError(str(error) or unanswered(seconds, str(args[0]))) from error


def unanswered(seconds: float, key: str) -> str:
    """Return what is said of a request that was given up."""
    return f"no answer within {seconds:g} s about {key}; {SETTING} of dask.config allows more"
