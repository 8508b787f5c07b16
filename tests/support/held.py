"""What waits in memory while Dask computes in this process."""

from typing import Any

from dask.callbacks import Callback
from dask.sizeof import sizeof


class Held(Callback):
    """How many bytes of results were in memory at once, at most."""

    most = 0

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        self.most = max(self.most, sum(map(sizeof, state["cache"].values())))
