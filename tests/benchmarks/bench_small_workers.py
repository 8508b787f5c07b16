"""Operations on an image eight times the memory of all workers: whether they end, and how calmly.

    python tests/benchmarks/bench_small_workers.py [--shape 2048 2048 2048] [--work FOLDER]
        [--operations NAME ...] [--quick]

Two worker processes of 1 GiB and one thread; 16 GiB of unsigned 16-bit counts, simulated block by
block. Of each operation, on a cluster of its own: time, the most resident memory of a worker
and of this process, how often a worker was seen paused (looked at 50 times a second), what workers
wrote to disk for want of memory, and workers lost. What an operation keeps, it keeps with the
workers; saved is to the work folder. What is done is kept there, too, and an interrupted run goes
on after it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import xarray as xr
from common import parser, resident_bytes, say, stored, timed, work_folder
from distributed import Client, LocalCluster, Status, Worker, WorkerPlugin, futures_of
from tornado.ioloop import PeriodicCallback

import eds_xr

DOSE, DTYPE = 100.0, "uint16"
WORKERS, MEMORY = 2, "1GiB"
LINES = {"elements": ["Mg", "Si", "Ca", "Fe"], "stray": ["Cu"], "range_kev": (0.5, 5.0)}
EVERY_MS = 20


def main() -> None:
    """Print a table."""
    args = arguments()
    shape = (128, 128, 1024) if args.quick else tuple(args.shape)
    with work_folder(args.work) as work:
        store = stored(work, "eight_times", shape, DOSE, dtype=DTYPE)
        for name in args.operations:
            done = work / f"small_workers_{name}.json"
            if not done.exists():
                say(name)
                done.write_text(json.dumps(measured(name, store, work)))
                say(done.read_text())
        rows = [json.loads((work / f"small_workers_{n}.json").read_text()) for n in args.operations]
    dense = eds_xr.simulate.spectrum_image(shape, DOSE).astype(DTYPE).nbytes
    print(f"{dense / 2**30:.2f} GiB of counts on {WORKERS} workers of {MEMORY}")
    print(pd.DataFrame(rows).to_string(index=False))


def arguments() -> argparse.Namespace:
    """Return the command line."""
    made = parser(__doc__)
    made.add_argument("--shape", type=int, nargs=3, default=[2048, 2048, 2048])
    made.add_argument("--operations", nargs="+", default=list(OPERATIONS), choices=OPERATIONS)
    return made.parse_args()


def _kept(result: Any) -> Any:
    """Return a result that the workers hold; an error of theirs is raised."""
    kept = result.persist()
    for future in futures_of(kept):
        if error := future.exception():  # waits
            raise error
    return kept


def _saved(image: xr.DataArray, work: Path) -> None:
    place = eds_xr.save(image.eds.rebin(y=2, x=2), work / "rebinned.zarr", overwrite=True)
    shutil.rmtree(place)


OPERATIONS: dict[str, Callable[[xr.DataArray, Path], Any]] = {
    "sum_spectra": lambda image, _: eds_xr.sum_spectra(image, _everywhere(image)).compute(),
    "fitted_maps": lambda image, _: eds_xr.fitted_maps(image, **LINES).sum().compute(),
    "rebin and save": _saved,
    "nmf": lambda image, _: eds_xr.nmf(image, 4, seed=0),
    "segment": lambda image, _: _kept(eds_xr.segment(image, n_components=4, seed=0)),
    "analyse": lambda image, _: eds_xr.analyse(image, say=lambda text: None),
}


def _everywhere(image: xr.DataArray) -> xr.DataArray:
    return image.isel(energy=0, drop=True) >= 0


class Looking(WorkerPlugin):
    """Looks at a worker now and then: whether it is paused, and what it holds."""

    name = "eds_xr looking"

    def setup(self, worker: Worker) -> None:
        """Begin."""
        self.paused, self.peak = 0, 0
        self._process = psutil.Process()
        self._calls = PeriodicCallback(lambda: self._look(worker), EVERY_MS)
        self._calls.start()

    def _look(self, worker: Worker) -> None:
        self.paused += worker.status == Status.paused
        self.peak = max(self.peak, self._process.memory_info().rss)


def measured(name: str, store: Path, work: Path) -> dict[str, Any]:
    """Run one operation on workers of its own."""
    image = eds_xr.open(store)
    small = eds_xr.simulate.spectrum_image((32, 32, image.sizes["energy"]), DOSE).astype(DTYPE)
    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, memory_limit=MEMORY, dashboard_address=":0",
            local_directory=str(work),
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        client.register_plugin(Looking())
        eds_xr.fitted_maps(small, **LINES).sum().compute()  # loads what is loaded late
        before, idle = set(client.run(os.getpid).values()), client.run(resident_bytes)
        seconds, _ = timed(lambda: OPERATIONS[name](image, work))
        after, seen = set(client.run(os.getpid).values()), client.run(_seen)
    return {
        "operation": name, "seconds": round(seconds, 1),
        "idle_mb": round(max(idle.values()) / 1e6),
        "worker_peak_mb": round(max(peak for _, peak, _ in seen.values()) / 1e6),
        "client_mb": round(resident_bytes() / 1e6),
        "seen_paused": sum(paused for paused, _, _ in seen.values()),
        "spilled_mb": round(sum(written for _, _, written in seen.values()) / 1e6, 1),
        "workers_lost": len(before - after),
    }  # fmt: skip


def _seen(dask_worker: Worker) -> tuple[int, int, float]:
    """Return what was seen of a worker, and the bytes that it wrote for want of memory."""
    looking = dask_worker.plugins[Looking.name]
    metrics = dask_worker.data.cumulative_metrics
    return looking.paused, looking.peak, float(metrics.get(("disk-write", "bytes"), 0))


if __name__ == "__main__":
    main()
