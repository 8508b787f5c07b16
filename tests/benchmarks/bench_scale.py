"""What operations cost on a cluster, at three sizes, and what they would for a terabyte.

    python tests/benchmarks/bench_scale.py [--sizes 256 512 1024] [--channels 512] [--folder F]

Of each operation, on two worker processes of one thread: tasks and changes of state on the
scheduler, bytes that workers read (compressed), that they send one another, that reach and leave
the client, the memory of all workers beyond what they had, and time. What the largest image has
more than the one before, divided by the chunks it has more, is the cost of a chunk: samples that
are looked at in this process have reached their bounds from 512 x 512 pixels on. Extrapolated, in
chunks of 8 MiB, to 10^12 bytes of counts on 100 workers of one thread: tasks, network, what reaches
the client, hours. Memory is that of a chunk's results times the chunks of a worker.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd
import psutil
import xarray as xr
from common import say
from distributed import Client, LocalCluster, wait
from distributed.diagnostics import MemorySampler
from support.traffic import recorded

import eds_xr
from eds_xr import simulate
from eds_xr.chunks import CHUNK_BYTES

SIDE, DOSE, WORKERS = 64, 200.0, 2
TERABYTE, MANY = 1e12, 100
LINES = {"elements": ["Mg", "Si", "Ca", "Fe"], "stray": ["Cu"], "range_kev": (0.5, 5.0)}


class Cost(NamedTuple):
    """What an operation took."""

    chunks: int
    tasks: int
    transitions: int
    read: float
    network: float
    to_client: int
    from_client: int
    memory: float
    seconds: float


def main() -> None:
    """Print a table of costs, and one of what is extrapolated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    found: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for size in args.sizes:
            store = stored(folder, size, args.channels)
            with (
                LocalCluster(
                    n_workers=WORKERS, threads_per_worker=1, memory_limit="2GiB",
                    dashboard_address=":0",
                ) as cluster,
                Client(cluster) as client,
            ):  # fmt: skip
                for name, operation in operations(store).items():
                    say(f"{size} x {size}: {name}")
                    found.setdefault(name, []).append(cost(client, operation, store))
    chunk = SIDE * SIDE * args.channels
    costs = {(n, c.chunks): measured(c) for n, several in found.items() for c in several}
    print(pd.DataFrame(costs).T.rename_axis(["operation", "chunks"]).to_string())
    large = {n: extrapolated(several, chunk) for n, several in found.items()}
    print("\na terabyte on 100 workers")
    print(pd.DataFrame(large).T.to_string())


def stored(folder: Path, size: int, channels: int) -> Path:
    """Return a simulated image on disk, in chunks of `SIDE` pixels a side."""
    store = folder / f"scale_{size}_{channels}.zarr"
    if not store.exists():
        image = simulate.spectrum_image((size, size, channels), DOSE, seed=1)
        image = image.drop_vars(["haadf", "label"], errors="ignore").chunk(y=SIDE, x=SIDE)
        image.to_dataset(name="counts").to_zarr(store, consolidated=False)
    return store


def operations(store: Path) -> dict[str, Callable[[], Any]]:
    """Return operations that keep their results with the workers, one after the other."""
    image = xr.open_zarr(store, consolidated=False).counts
    made: dict[str, Any] = {}

    def keep(name: str, result: Any) -> Any:
        made[name] = result.persist()
        wait(made[name])
        return made[name]

    return {
        "nmf": lambda: made.setdefault("factors", eds_xr.nmf(image, 4, seed=0)),
        "scores": lambda: keep("scores", made["factors"].scores),
        "segment": lambda: keep("found", eds_xr.segment(image, channels=made["factors"])),
        "sum_spectra": lambda: keep("spectra", eds_xr.sum_spectra(image, made["found"].present)),
        "fitted_maps": lambda: keep("maps", eds_xr.fitted_maps(image, **LINES)),
        "element_maps": lambda: keep("lines", eds_xr.element_maps(image, ["Mg", "Si"])),
        "unmix": lambda: keep("amounts", eds_xr.unmix(image, made["spectra"])),
        "refine_spectra": lambda: eds_xr.refine_spectra(image, made["spectra"]).compute(),
        "erode": lambda: keep("eroded", eds_xr.masks.erode(made["found"].present, pixels=2)),
    }


def cost(client: Client, operation: Callable[[], Any], store: Path) -> Cost:
    """Return what an operation takes."""
    image = xr.open_zarr(store, consolidated=False).counts
    before = client.run(_worker_bytes)
    memory, start = MemorySampler(), time.perf_counter()
    with recorded(client) as traffic, memory.sample("all", measure="process", interval=0.1):
        operation()
    seconds = time.perf_counter() - start
    after = client.run(_worker_bytes)
    read, network = (sum(after[w][i] - before[w][i] for w in after) for i in (0, 1))
    process = memory.to_pandas()["all"]
    return Cost(
        int(np.prod(image.data.numblocks)), sum(traffic.tasks.values()),
        sum(traffic.transitions.values()), read, network, traffic.received, traffic.sent,
        float(process.max() - process.iloc[0]), seconds,
    )  # fmt: skip


def measured(one: Cost) -> dict[str, str]:
    """Return the columns of a row."""
    return {
        "tasks": str(one.tasks),
        "transitions": str(one.transitions),
        "read": f"{one.read / 1e6:.1f} MB",
        "network": f"{one.network / 1e6:.1f} MB",
        "to client": f"{one.to_client / 1e6:.2f} MB",
        "from client": f"{one.from_client / 1e6:.2f} MB",
        "memory": f"{one.memory / 1e6:.0f} MB",
        "time": f"{one.seconds:.1f} s",
    }


def extrapolated(costs: list[Cost], chunk_bytes: int) -> dict[str, str]:
    """Return the columns of a row: a straight line through the two largest images."""
    first, last = costs[-2:]
    number = TERABYTE / CHUNK_BYTES
    per = {
        name: max(0.0, (getattr(last, name) - getattr(first, name)) / (last.chunks - first.chunks))
        for name in Cost._fields[1:]
    }
    grows = TERABYTE / chunk_bytes  # of bytes and seconds, which go with the pixels
    return {
        "tasks a chunk": f"{per['tasks']:.1f}",
        "tasks": f"{per['tasks'] * number:.2g}",
        "network": f"{per['network'] * grows / 1e9:.3g} GB",
        "to client": f"{(last.to_client + per['to_client'] * grows) / 1e6:.3g} MB",
        "memory a worker": f"{per['memory'] * grows / MANY / 1e9:.2g} GB",
        "time": f"{per['seconds'] * grows * WORKERS / MANY / 3600:.2g} h",
    }


def _worker_bytes(dask_worker: Any) -> tuple[int, int]:
    return psutil.Process().io_counters().read_chars, dask_worker.transfer_outgoing_bytes_total


if __name__ == "__main__":
    main()
