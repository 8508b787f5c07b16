"""Whether plans hold: peaks of processes against what :func:`eds_xr.plan` says.

    python tests/benchmarks/bench_plan.py [--draws 100] [--most-mb 400] [--sides 32 64 96 128]
        [--operations NAME ...] [--in-turn] [--work FOLDER] [--quick]

Draws shapes, chunks, doses, types, numbers of workers and threads. Each operation, or with
``--in-turn`` one of them for each draw, runs on a cluster of fresh processes, after a warm-up on a
small image that loads libraries and compiles loops. The peak is that of the processes' resident
memory above what they held then, looked at 50 times a second. Draws that are done are kept in
`--work`, and an interrupted run goes on after them.

Plans of 1 GB and more come from large chunks: ``--most-mb 2500 --sides 192 256``, in a folder of
their own (``--least-mb 1000`` skips others). What is converted is a NumPy file of the same counts,
in this process.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import xarray as xr
from common import say
from distributed import Client, LocalCluster

import eds_xr
from eds_xr import simulate
from eds_xr.analysis.plan import Plan, plan

LINES = {"elements": ["Mg", "Si", "Ca", "Fe"], "stray": ["Cu"], "range_kev": (0.5, 5.0)}
EVERY_SECONDS = 0.02
MEMORY = "4GiB"
#: Plans of so many bytes shall be used by so much.
LARGE, LEAST_USED = 1e9, 0.6
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "sum_spectra": lambda image: eds_xr.sum_spectra(
        image, image.isel(energy=0, drop=True) >= 0
    ).compute(),
    "fitted_maps": lambda image: eds_xr.fitted_maps(image, **LINES).sum().compute(),
    "nmf": lambda image: eds_xr.nmf(image, 4),
    "segment": lambda image: eds_xr.segment(image, n_components=3).persist(),
    "analyse": eds_xr.analyse,
    "convert": lambda source: eds_xr.convert(source, overwrite=True),
}


def main() -> None:
    """Print peaks beside plans."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--most-mb", type=float, default=400.0, help="of an image")
    parser.add_argument("--least-mb", type=float, default=0.0, help="of a plan; others are skipped")
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 96, 128], help="of chunks")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--operations", nargs="+", default=list(OPERATIONS))
    parser.add_argument("--in-turn", action="store_true", help="one operation for each draw")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1 if args.quick else args.draws):
            for name in chosen(args, number):
                done = folder / f"{number}_{name}.json"
                recipe = drawn(number, args.most_mb, args.sides)
                if not done.exists() and _planned(name, recipe) >= 1e6 * args.least_mb:
                    done.write_text(json.dumps(measured(folder, number, name, recipe)))
                    say(done.read_text())
        rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*_*.json"))]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    large = table[table.plan_mb >= LARGE / 1e6]
    print(f"peaks of workers within the plan: {(table.used <= 1).sum()} of {len(table)}")
    print(f"peaks of clients within the plan: {(table.client_used <= 1).sum()} of {len(table)}")
    used = (large.used >= LEAST_USED).sum()
    print(f"of plans of 1 GB and more, {LEAST_USED:.0%} used: {used} of {len(large)}")


def chosen(args: argparse.Namespace, number: int) -> list[str]:
    """Return the operations that a draw runs."""
    names: list[str] = args.operations
    if args.quick:
        return names[:1]
    return [names[number % len(names)]] if args.in_turn else names


def drawn(number: int, most_mb: float, sides: list[int]) -> dict[str, Any]:
    """Return a recipe of an image and of a cluster."""
    draw = random.Random(number)
    channels, dtype = draw.choice([512, 1024, 2048]), draw.choice(["uint8", "uint16", "uint32"])
    a_pixel = channels * int(dtype[4:]) // 8
    pixels = draw.uniform(0.2, 1) * most_mb * 1e6 / a_pixel
    height = max(64, int(pixels**0.5 * draw.uniform(0.6, 1.6)))
    return {
        "shape": (height, max(64, int(pixels / height)), channels), "dtype": dtype,
        "side": draw.choice(sides), "dose": draw.choice([50.0, 200.0, 800.0]),
        "workers": draw.choice([1, 2]), "threads": draw.choice([1, 2]),
    }  # fmt: skip


def measured(folder: Path, number: int, name: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Run one operation on one draw; return its plan and its peaks."""
    image, small = stored(folder / f"{number}.zarr", **recipe), stored(folder / "small.zarr")
    given = (image, small)
    if name == "convert":
        given = tuple(as_file(one, folder / f"{i}.npy") for i, one in enumerate(given))
    with (
        LocalCluster(
            n_workers=recipe["workers"], threads_per_worker=recipe["threads"],
            memory_limit=MEMORY, dashboard_address=":0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        found: Plan = plan(image, name)
        OPERATIONS[name](given[1])
        client.run(gc.collect)
        workers, start = list(client.run(os.getpid).values()), time.perf_counter()
        with peaks([*workers, os.getpid()]) as above:
            result = OPERATIONS[name](given[0])
        seconds = time.perf_counter() - start
        del result
    here = above[os.getpid()]
    peak = here if name == "convert" else max(above[pid] for pid in workers)
    return {
        "operation": name, **recipe, "plan_mb": round(found.worker_bytes / 1e6),
        "peak_mb": round(peak / 1e6), "used": round(peak / found.worker_bytes, 2),
        "client_mb": round(here / 1e6), "client_used": round(here / found.client_bytes, 2),
        "seconds": round(seconds, 1), "planned_s": round(found.seconds, 1),
    }  # fmt: skip


def as_file(image: xr.DataArray, path: Path) -> Path:
    """Return an image as NumPy's file with its calibration beside it, to be converted."""
    values = np.lib.format.open_memmap(path, "w+", image.dtype, image.shape)
    image.data.store(values, scheduler="threads")
    path.with_suffix(".json").write_text('{"energy_step_kev": 0.01}')
    return path


def _planned(name: str, recipe: dict[str, Any]) -> float:
    """Return the bytes that an operation will take of a worker, before the image is written."""
    image = _simulated(**recipe)
    return plan(
        image, name, memory=MEMORY, workers=recipe["workers"], threads=recipe["threads"]
    ).worker_bytes


def stored(store: Path, **recipe: Any) -> xr.DataArray:
    """Return a simulated image on disk."""
    if not store.exists():
        _simulated(**recipe).to_dataset(name="counts").to_zarr(store, consolidated=False)
    return xr.open_zarr(store, consolidated=False).counts


def _simulated(
    shape: tuple[int, ...] = (48, 48, 512), dtype: str = "uint16", side: int = 24,
    dose: float = 200.0, **_: Any,
) -> xr.DataArray:  # fmt: skip
    image = simulate.spectrum_image(shape, dose, seed=1, chunks=side).astype(dtype)
    return image.drop_vars(["haadf", "label"], errors="ignore")


@contextmanager
def peaks(pids: list[int]) -> Iterator[dict[int, float]]:
    """Give the largest memory of each process within the block, above that at its start."""
    processes = {pid: psutil.Process(pid) for pid in pids}
    first = {pid: process.memory_info().rss for pid, process in processes.items()}
    above: dict[int, float] = dict.fromkeys(pids, 0.0)
    done = threading.Event()

    def look() -> None:
        while not done.wait(EVERY_SECONDS):
            for pid, process in processes.items():
                above[pid] = max(above[pid], process.memory_info().rss - first[pid])

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield above
    finally:
        done.set()
        watcher.join()


if __name__ == "__main__":
    main()
