"""A spectrum image larger than memory, decomposed on two small workers.

    python tests/benchmarks/bench_nmf_large.py [--shape Y X CHANNELS] [--work FOLDER] [--quick]

2048 x 2048 x 4096 unsigned 16-bit counts (34 GB dense, 100 counts a pixel) are simulated block by
block, saved, and factorised on a cluster of two processes that may hold 3 GB each. The time per
count is compared with that of a 512 x 512 image on the same workers.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common
import numpy as np
import psutil
import xarray as xr
from common import Row, Shape, gigabytes, say, show, timed

import eds_xr
from eds_xr import simulate

DOSE, SEED, COMPONENTS = 100.0, 1, 3
DTYPE = "uint16"
#: A store takes less than this, measured; the rest is for what workers may spill.
DISK_BYTES_PER_COUNT = 2.0
SPARE_BYTES = 2e9


@dataclass
class Run:
    """What one factorisation took."""

    counts: float
    dense_bytes: int
    seconds: float  # of the fit
    scores_seconds: float  # of computing and storing all scores
    result: xr.Dataset
    peaks: Peaks


@dataclass
class Peaks:
    """Most memory seen so far [bytes]."""

    workers: dict[int, int] = field(default_factory=dict)
    client: int = 0
    lost: set[int] = field(default_factory=set)  # workers that are gone


def main() -> None:
    """Print the table."""
    args = arguments()
    shape = tuple(args.shape) if args.shape else (256, 256, 1024) if args.quick else FULL
    edge = 128 if args.quick else 512
    small = (min(edge, shape[0]), min(edge, shape[1]), shape[2])
    with common.work_folder(args.work) as work:
        check_disk(work, shape)
        stores = [simulated(work, s) for s in (small, shape)]
        with cluster(work, args.workers, args.memory_limit) as client:
            factorise(client, stores[0], work)  # kernels are compiled, or loaded
            near, far = (factorise(client, store, work) for store in stores)
    true = simulate.truth(shape, DOSE, seed=SEED, instrument=instrument()).loadings.values
    title = f"{' x '.join(map(str, shape))} {DTYPE}: {gigabytes(far.dense_bytes)} dense, "
    title += f"{far.counts:,.0f} counts; {args.workers} workers of {args.memory_limit}"
    show(title, rows(near, far, small, disk_bytes(stores[1]), true))


FULL: Shape = (2048, 2048, 4096)


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--shape", type=int, nargs=3, metavar=("Y", "X", "CHANNELS"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-limit", default="3GB", help="of each worker")
    return parser.parse_args()


def rows(near: Run, far: Run, small: Shape, disk: int, true: np.ndarray) -> list[Row]:
    """Return the rows of the table."""
    per_count = [1e9 * run.seconds / run.counts for run in (near, far)]
    angles = common.angles_deg(far.result.loadings.values, true)
    peaks = [
        (f"peak memory of worker {i}", gigabytes(peak), "under 3 GB")
        for i, peak in enumerate(far.peaks.workers.values(), start=1)
    ]
    return [
        ("store on disk", f"{gigabytes(disk)} = {disk / far.counts:.2f} bytes a count", ""),
        ("fit", f"{far.seconds:.1f} s, {far.result.attrs['iterations']} iterations", ""),
        ("scores computed and stored", f"{far.scores_seconds:.1f} s", ""),
        *peaks,
        ("workers lost on the way", str(len(far.peaks.lost)), "0"),
        ("peak memory of the client", gigabytes(far.peaks.client), ""),
        ("time per count", f"{per_count[1]:.1f} ns", ""),
        (f"time per count, {small[0]} x {small[1]}", f"{per_count[0]:.1f} ns", ""),
        ("  ratio", f"{per_count[1] / per_count[0]:.2f}", "at most 1.5"),
        ("angles to the truth", " / ".join(f"{a:.2f}" for a in angles), "[deg]"),
    ]


# -- stores --------------------------------------------------------------------------------------


def instrument() -> simulate.Instrument:
    """Return a spectrometer with 5 eV channels: 4096 of them reach 20 keV."""
    return simulate.Instrument(channel_kev=0.005)


def simulated(work: Path, shape: Shape) -> Path:
    """Return a store, simulated on processes where it is missing."""
    from distributed import Client, LocalCluster

    say(f"simulating {' x '.join(map(str, shape))}")
    with (
        LocalCluster(
            n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=":0",
            local_directory=str(work),
        ) as made,
        Client(made),
    ):  # fmt: skip
        seconds, store = timed(
            lambda: common.stored(
                work, "large", shape, DOSE, seed=SEED, instrument=instrument(), dtype=DTYPE
            )
        )
    say(f"  {seconds:.0f} s")
    return store


def check_disk(work: Path, shape: Shape) -> None:
    """End with a message where the disk is too small."""
    counts = DOSE * shape[0] * shape[1]
    needed = DISK_BYTES_PER_COUNT * counts + SPARE_BYTES
    free = shutil.disk_usage(work).free
    say(f"{work}: {gigabytes(free)} free, {gigabytes(needed)} needed")
    if free < needed:
        sys.exit("too little free disk: choose another folder with --work, or a smaller --shape")


def disk_bytes(store: Path) -> int:
    """Return what a store takes on disk."""
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file())


# -- the cluster and what it holds ---------------------------------------------------------------


@contextlib.contextmanager
def cluster(work: Path, workers: int, memory_limit: str) -> Iterator[Any]:
    """Give a client of a cluster of processes with one thread each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, memory_limit=memory_limit,
            dashboard_address=":0", local_directory=str(work),
        ) as made,
        Client(made) as client,
    ):  # fmt: skip
        yield client


def factorise(client: Any, store: Path, work: Path) -> Run:
    """Fit, then compute and store the scores, watching the workers' memory."""
    say(f"factorising {store.name}")
    image = eds_xr.open(store)
    counts = float(image.sum(dtype=np.int64))
    with watched(client) as peaks:
        seconds, result = timed(lambda: eds_xr.nmf(image, COMPONENTS, seed=0))
        scores = result.scores.to_dataset().drop_encoding()
        scores_seconds, _ = timed(
            lambda: scores.to_zarr(work / "scores.zarr", mode="w", consolidated=False)
        )
    return Run(counts, image.nbytes, seconds, scores_seconds, result.drop_vars("scores"), peaks)


@contextlib.contextmanager
def watched(client: Any) -> Iterator[Peaks]:
    """Sample the resident memory of client and workers fifty times a second."""
    workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
    peaks, done = Peaks(dict.fromkeys((w.pid for w in workers), 0)), threading.Event()
    thread = threading.Thread(target=sample, args=(workers, peaks, done), daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()
        peaks.lost |= set(peaks.workers) - set(client.run(os.getpid).values())


def sample(workers: list[psutil.Process], peaks: Peaks, done: threading.Event) -> None:
    """Keep the largest resident memory of each process."""
    here = psutil.Process()
    while not done.is_set():
        peaks.client = max(peaks.client, here.memory_info().rss)
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                rss = worker.memory_info().rss
                peaks.workers[worker.pid] = max(peaks.workers[worker.pid], rss)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
