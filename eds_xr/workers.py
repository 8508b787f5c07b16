"""Who does the work, and how much memory there is for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, ParamSpec, TypeVar

#: Dask's names for doing everything in the calling thread.
ONE_THREAD = ("sync", "synchronous", "single-threaded")

#: Dask shows no more letters of a task's name.
MOST_LETTERS = 50

P = ParamSpec("P")
R = TypeVar("R")
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def cluster() -> Any:
    """Return the distributed client on which Dask would compute now, or None."""
    if "distributed" not in sys.modules:  # then there cannot be one, and importing is slow
        return None
    from dask.base import get_scheduler
    from distributed import Client

    owner = getattr(get_scheduler(), "__self__", None)
    return owner if isinstance(owner, Client) else None


def here() -> dict[str, Any]:
    """Return how Dask computes in this process, though there may be a cluster.

    For what lies in this process already: it is not sent to workers and back.
    """
    return {} if cluster() is None else {"scheduler": "threads"}


def threads() -> int:
    """Return how many threads of this process may work: as many as Dask's own."""
    import dask  # late: a fifth of the time that ``import eds_xr`` takes
    from dask.system import CPU_COUNT

    if dask.config.get("scheduler", None) in ONE_THREAD:
        return 1
    return int(dask.config.get("num_workers", None) or CPU_COUNT)


def cluster_threads(client: Any) -> int:
    """Return the number of threads of all workers of a cluster."""
    return max(1, sum(client.ncores().values()))


def memory() -> float:
    """Return the bytes that may be filled: of all workers together, or free on this machine.

    Of a worker less what it holds: libraries alone are a third of 1 GiB.
    """
    import psutil

    client = cluster()
    known = {} if client is None else client.scheduler_info(n_workers=-1)["workers"]
    limits = [worker["memory_limit"] for worker in known.values()]
    if not limits or not all(limits):
        return float(psutil.virtual_memory().available)
    held = [worker.get("metrics", {}).get("memory", 0) for worker in known.values()]
    return float(sum(max(0, most - now) for most, now in zip(limits, held, strict=True)))


def in_threads(function: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
    """Yield ``function(...)`` for each set of arguments, in order, from a pool of threads.

    For compiled functions on blocks in this process: without a scheduler's delays.
    """
    pool = ThreadPoolExecutor(threads())
    try:
        yield from pool.map(function, *arguments)
    finally:  # at an interruption nothing more is begun
        pool.shutdown(cancel_futures=True)


def in_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function's matrix algebra use one thread.

    With matrices of some hundred rows, threads gain nothing; and where other work keeps the cores
    busy they wait for each other, for minutes instead of seconds.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        import scipy.linalg  # noqa: F401  brings a BLAS of its own, limited only once it is loaded
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            return function(*args, **kwargs)

    return limited


def shared(value: Any, name: str) -> Any:
    """Return a value that many tasks take, delayed: each worker gets it once, under this name.

    As a plain argument it travels with every task, and workers hold it as long as they remember
    these: half a megabyte a chunk, of a table of 4096 channels and 16 columns.
    """
    from dask.base import tokenize
    from dask.delayed import delayed

    return delayed(value, name=f"{name}-{tokenize(value)}", traverse=False)


def calls(
    kernel: Callable[..., Any], arguments: Iterable[Sequence[Any]], name: str | None = None
) -> list[Any]:
    """Return ``kernel(*each)`` for each of the sets of arguments, delayed: in one layer of a graph.

    Delayed values may stand among the arguments, and in lists and tuples of them. Dask's own
    ``delayed`` looks through all tasks below for each such list: of an image of 100,000 chunks, and
    as many calls, that takes hours. Without a `name` the tasks bear a random one.
    """
    from uuid import uuid4

    from dask._task_spec import Task
    from dask.delayed import Delayed
    from dask.highlevelgraph import HighLevelGraph
    from dask.utils import funcname

    name = name or f"{funcname(kernel)}-{uuid4()}"
    below: dict[Any, Any] = {}
    layer: dict[Any, Any] = {}
    for number, each in enumerate(arguments):
        key = (name, number)
        layer[key] = Task(key, kernel, *(_as_argument(one, below) for one in each))
    graph = HighLevelGraph.from_collections(name, layer, dependencies=list(below.values()))
    return [Delayed(key, graph, layer=name) for key in layer]


def _as_argument(value: Any, below: dict[Any, Any]) -> Any:
    """Return what stands for a value in a task; note one delayed value of each layer `below`."""
    from dask._task_spec import List, TaskRef, Tuple
    from dask.delayed import Delayed

    if isinstance(value, Delayed):
        below.setdefault(value.__dask_layers__(), value)
        return TaskRef(value.key)
    if type(value) not in (list, tuple):
        return value
    inside = [_as_argument(one, below) for one in value]
    if all(new is old for new, old in zip(inside, value, strict=True)):
        return value
    return (List if isinstance(value, list) else Tuple)(*inside)


def task_name(name: str) -> Callable[[Kernel], Kernel]:
    """Give a kernel the name that its tasks bear on Dask's dashboard: what it makes, for the user.

    Dask names tasks after ``__name__``; workers find the function by ``__qualname__``, which stays.
    """
    assert name[0].isalpha(), name
    assert "-" not in name, name
    assert len(name) < MOST_LETTERS, name

    def named(kernel: Kernel) -> Kernel:
        kernel.__name__ = name
        return kernel

    return named
