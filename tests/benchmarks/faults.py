"""Workers killed at random moments, with and without a nanny: how many runs end right?

    python tests/benchmarks/faults.py [counts.jsonl] [--runs 60]

Each run starts a scheduler and two workers as users do, begins one operation, kills one worker with
SIGKILL after a random time, and compares the result with that of this process. Runs that stand in
the file already are not repeated; the file has a line a run, and the counts are printed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import dask
import numpy as np
import psutil
import xarray as xr
from distributed import Client
from support import processes

import eds_xr
from eds_xr import simulate

SHAPE = (64, 64, 1024)
#: A run that takes longer hangs [s].
HANGS = 180.0
#: The kill comes within this time after the operation has begun [s].
WITHIN = 4.0

OPERATIONS: dict[str, Callable[[xr.DataArray, Path], Any]] = {
    "nmf": lambda image, _: eds_xr.nmf(image, 2, seed=0, max_iter=10)["loadings"],
    "segment": lambda image, _: eds_xr.segment(image)["present"],
    "sum_spectra": lambda image, _: eds_xr.sum_spectra(
        image, (image.sum("energy") > 30).expand_dims(phase=["bright"])
    )["counts"],
    "fitted_maps": lambda image, _: eds_xr.fitted_maps(image, ["Mg", "Si", "Fe"])["net"],
    "save": lambda image, folder: eds_xr.open(eds_xr.save(image, folder / "saved.zarr")),
    "rebin": lambda image, _: image.eds.rebin(y=2, x=2),
}


def image_of(folder: Path) -> xr.DataArray:
    """Return an image in a store, in 32 chunks that take their time."""
    if not (folder / "map.zarr").exists():
        made = simulate.spectrum_image(shape=SHAPE, dose=300.0, seed=5).drop_vars("haadf")
        eds_xr.save(made.chunk(y=8, x=16), folder / "map.zarr")
    lazy = eds_xr.open(folder / "map.zarr").chunk(y=8, x=16)
    slow = lazy.data.map_blocks(_slowly, dtype=lazy.dtype, meta=np.empty((0, 0, 0), lazy.dtype))
    return lazy.copy(data=slow)


def _slowly(block: np.ndarray) -> np.ndarray:
    time.sleep(0.1)
    return block


def killed_run(number: int, folder: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """Kill a worker during an operation; return what became of it."""
    chance = random.Random(number)
    name, nanny = list(OPERATIONS)[number % len(OPERATIONS)], bool(number // len(OPERATIONS) % 2)
    delay, place = chance.uniform(0.0, WITHIN), folder / f"run{number}"
    env = {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    result: dict[str, Any] = {"run": number, "operation": name, "nanny": nanny, "delay": delay}
    started = processes.started_processes(place, workers=2, env=env, nanny=nanny)
    with started as (file, _, workers), Client(scheduler_file=file) as client:
        client.wait_for_workers(2)
        victim = _worker_process(workers[chance.randrange(2)], nanny=nanny)
        timer = threading.Timer(delay, victim.send_signal, [signal.SIGKILL])
        since = time.monotonic()
        timer.start()
        result["outcome"] = _outcome(
            lambda: OPERATIONS[name](image_of(folder), place), expected[name]
        )
        timer.cancel()
        result["seconds"] = round(time.monotonic() - since, 2)
    shutil.rmtree(place)
    return result


def _outcome(work: Callable[[], Any], expected: Any) -> str:
    """Return "right", "wrong", "hangs", or the error."""
    found: list[str] = []

    def run() -> None:
        try:
            value = work().compute()
            close = np.allclose(value, expected, rtol=1e-3, atol=1e-4)
            found.append("right" if close else "wrong")
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}"[:200])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(HANGS)
    return found[0] if found else "hangs"


def _worker_process(started: Any, *, nanny: bool) -> psutil.Process:
    """Return the process that works: the started one, or the one that its nanny started."""
    process = psutil.Process(started.pid)
    if not nanny:
        return process
    below = process.children()
    named = [one for one in below if "spawn_main" in " ".join(one.cmdline())]
    return (named or below)[-1]


def counted(results: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many runs ended how, by operation and nanny."""
    keys = (f"{r['operation']}, {'nanny' if r['nanny'] else 'no nanny'}: "
            f"{r['outcome'].split(':')[0]}" for r in results)  # fmt: skip
    return dict(sorted(Counter(keys).items()))


def results_here(folder: Path, names: list[str]) -> dict[str, Any]:
    """Return what the operations give in this process."""
    here = folder / "here"
    here.mkdir(exist_ok=True)
    with dask.config.set(scheduler="threads"):
        return {name: OPERATIONS[name](image_of(folder), here).compute() for name in names}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path, default=Path("faults.jsonl"))
    parser.add_argument("--runs", type=int, default=60)
    options = parser.parse_args()
    done = []
    if options.file.exists():
        done = [json.loads(line) for line in options.file.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = results_here(folder, list(OPERATIONS))
        for number in sorted(set(range(options.runs)) - {one["run"] for one in done}):
            done.append(killed_run(number, folder, expected))
            print(done[-1], flush=True)
            with options.file.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    for name, count in counted(done).items():
        print(f"{count:3d}  {name}")
    print(f"{sum(one['outcome'] == 'right' for one in done)} of {len(done)} right")


if __name__ == "__main__":
    main()
