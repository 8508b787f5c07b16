"""What passes between a client and its cluster, and how often the scheduler changes a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dask.sizeof import sizeof
from dask.utils import key_split
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.utils import nbytes

#: Name of the plugin that counts on the scheduler.
COUNTER = "eds_xr transitions"


@dataclass
class Traffic:
    """Bytes and tasks of a cluster, while :func:`recorded`.

    Attributes
    ----------
    to_client : list of (str, int)
        Each result that reached the client, and its bytes in memory.
    graphs : list of int
        Bytes of each graph that left the client, with all that is embedded in it.
    transitions, tasks : Counter
        Changes of state on the scheduler, and different tasks, by the name of the task.
    """

    to_client: list[tuple[str, int]] = field(default_factory=list)
    graphs: list[int] = field(default_factory=list)
    transitions: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)

    @property
    def received(self) -> int:
        """Bytes that reached the client."""
        return sum(size for _, size in self.to_client)

    @property
    def sent(self) -> int:
        """Bytes of graphs that left it."""
        return sum(self.graphs)


class _Transitions(SchedulerPlugin):
    """Counts changes of state by the name of the task, and tasks as they are added."""

    name = COUNTER

    def __init__(self) -> None:
        self.transitions: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        self.transitions[key_split(key)] += 1
        if finish == "memory":
            self.tasks[key_split(key)] += 1


@contextmanager
def recorded(client: Any) -> Iterator[Traffic]:
    """Record what a synchronous client receives and sends, and what its scheduler does."""
    traffic = Traffic()
    gather, send = client._gather_remote, client._send_to_scheduler

    async def gather_and_weigh(*args: Any, **kwargs: Any) -> Any:
        response = await gather(*args, **kwargs)
        for key, value in response.get("data", {}).items():
            traffic.to_client.append((key_split(key), sizeof(value)))
        return response

    def weigh_and_send(message: dict[str, Any]) -> Any:
        if message.get("op") == "update-graph":
            graph = message["expr_ser"]
            traffic.graphs.append(sum(map(nbytes, [graph.header, *graph.frames])))
        return send(message)

    client.register_plugin(_Transitions(), name=COUNTER)
    client._gather_remote, client._send_to_scheduler = gather_and_weigh, weigh_and_send
    try:
        yield traffic
    finally:
        del client._gather_remote, client._send_to_scheduler
        traffic.transitions, traffic.tasks = client.run_on_scheduler(_counted)
        client.unregister_scheduler_plugin(COUNTER)


def _counted(dask_scheduler: Any) -> tuple[Counter[str], Counter[str]]:
    plugin = dask_scheduler.plugins[COUNTER]
    return plugin.transitions, plugin.tasks
