"""Processes killed at random moments, with and without a nanny: how many runs end right?

    python tests/benchmarks/faults.py [counts.jsonl] [--runs 72]

Each run starts a scheduler and two workers as users do, begins one operation, kills one worker with
SIGKILL after a random time, and compares the result with that of this process. Two kinds kill what
else there is. ``convert`` works in the user's process alone: that is killed, where a store is to be
made, or replaced; a whole one must stand there, or none, and the next conversion must clear up.
``restart`` kills the scheduler, and starts another at its address: NMF must say so within seconds,
and go on from its checkpoint.

Runs that stand in the file already are not repeated; the file has a line a run, and the counts are
printed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
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
#: The kill comes within this time after the operation has begun [s], of those that last longer.
WITHIN, WITHIN_OF = 4.0, {"analyse": 25.0}
#: A lost scheduler is to be told in these words within this time [s].
LOST, TOLD_WITHIN = "scheduler at", 15.0
#: What the process that converts does.
CONVERTS = "import sys, eds_xr; eds_xr.convert(sys.argv[1], sys.argv[2], overwrite=True)"

OPERATIONS: dict[str, Callable[[xr.DataArray, Path], Any]] = {
    "nmf": lambda image, _: eds_xr.nmf(image, 2, seed=0, max_iter=10)["loadings"],
    "segment": lambda image, _: eds_xr.segment(image)["present"],
    "sum_spectra": lambda image, _: eds_xr.sum_spectra(
        image, (image.sum("energy") > 30).expand_dims(phase=["bright"])
    )["counts"],
    "fitted_maps": lambda image, _: eds_xr.fitted_maps(image, ["Mg", "Si", "Fe"])["net"],
    "save": lambda image, folder: eds_xr.open(eds_xr.save(image, folder / "saved.zarr")),
    "rebin": lambda image, _: image.eds.rebin(y=2, x=2),
    "analyse": lambda image, _: image[:48, :48].eds.analyse()["composition"].atomic_fraction,
}
#: What a run may be of; those beyond the operations have runs of their own.
KINDS = (*OPERATIONS, "convert", "restart")


def image_of(folder: Path) -> xr.DataArray:
    """Return an image in a store, in 32 chunks that take their time."""
    if not (folder / "map.zarr").exists():
        made = simulate.spectrum_image(shape=SHAPE, dose=300.0, seed=5).drop_vars("haadf")
        eds_xr.save(made.chunk(y=8, x=16), folder / "map.zarr")
    lazy = eds_xr.open(folder / "map.zarr").chunk(y=8, x=16)
    slow = lazy.data.map_blocks(_slowly, dtype=lazy.dtype, meta=np.empty((0, 0, 0), lazy.dtype))
    return lazy.copy(data=slow)


def _paths() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}


def _slowly(block: np.ndarray) -> np.ndarray:
    time.sleep(0.1)
    return block


def any_run(number: int, folder: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """Kill a process during what the number says; return what became of it."""
    chance, place = random.Random(number), folder / f"run{number}"
    kind, nanny = KINDS[number % len(KINDS)], bool(number // len(KINDS) % 2)
    delay = chance.uniform(0.0, WITHIN_OF.get(kind, WITHIN))
    run = {"convert": _converted, "restart": _restarted}.get(kind, _with_killed_worker)
    place.mkdir()
    found = run(kind, nanny, delay, place, expected, chance)
    shutil.rmtree(place)
    return {"run": number, "operation": kind, "nanny": nanny, "delay": delay, **found}


def _with_killed_worker(
    name: str, nanny: bool, delay: float, place: Path, expected: dict[str, Any],
    chance: random.Random,
) -> dict[str, Any]:  # fmt: skip
    """Kill a worker during an operation."""
    started = processes.started_processes(place / "cluster", workers=2, env=_paths(), nanny=nanny)
    with started as (file, _, workers), Client(scheduler_file=file) as client:
        client.wait_for_workers(2)
        victim = _worker_process(workers[chance.randrange(2)], nanny=nanny)
        timer = threading.Timer(delay, victim.send_signal, [signal.SIGKILL])
        since = time.monotonic()
        timer.start()
        outcome = _outcome(lambda: OPERATIONS[name](image_of(place.parent), place), expected[name])
        timer.cancel()
        return {"outcome": outcome, "seconds": round(time.monotonic() - since, 2)}


def _converted(_: str, replaces: bool, delay: float, place: Path, *others: Any) -> dict[str, Any]:
    """Kill a process that converts, where a store is to be replaced or none; then convert again."""
    source, seconds = _vendor_file(place.parent)
    whole, store = eds_xr.open(place.parent / "large.zarr"), place / "out" / "map.zarr"
    former = whole[:16, :16] if replaces else None
    if former is not None:
        eds_xr.save(former, store)
    running = subprocess.Popen(
        [sys.executable, "-c", CONVERTS, str(source), str(store)], env={**os.environ, **_paths()}
    )
    while running.poll() is None and not any(store.parent.glob(".*.partial-*")):
        time.sleep(0.01)
    time.sleep(1.2 * delay / WITHIN * seconds)  # some times it ends before
    finished = running.poll() is not None
    running.kill()
    running.wait()
    beside = sorted(path.name for path in store.parent.glob(".*")) if store.parent.exists() else []
    found = {"finished": finished, "beside": beside}
    if store.exists():
        stands = eds_xr.open(store)
        if not any(_same(stands, one) for one in (former, whole) if one is not None):
            return {"outcome": "wrong: half a store", **found}
    elif replaces and not any(".former-" in name for name in beside):
        return {"outcome": "wrong: the former store is gone", **found}
    eds_xr.convert(source, store, overwrite=True)
    clean = [path.name for path in store.parent.iterdir()] == [store.name]
    return {"outcome": "right" if clean and _same(eds_xr.open(store), whole) else "wrong", **found}


def _vendor_file(folder: Path) -> tuple[Path, float]:
    """Return a file whose conversion takes its time, and how long; ``large.zarr`` is the result."""
    source, store = folder / "large.npy", folder / "large.zarr"
    if not store.exists():
        image_of(folder)
        np.save(source, np.tile(eds_xr.open(folder / "map.zarr").values, (5, 5, 1)))
        axes = {"energy_offset_kev": 0.0, "energy_step_kev": 0.01, "pixel_size_nm": 1.0}
        source.with_suffix(".json").write_text(json.dumps(axes))
    since = time.monotonic()
    eds_xr.convert(source, store, overwrite=True)
    return source, time.monotonic() - since


def _same(one: xr.DataArray, other: xr.DataArray) -> bool:
    return one.shape == other.shape and bool((one.data == other.data).all().compute())


def _restarted(
    _: str, nanny: bool, delay: float, place: Path, expected: dict[str, Any], *others: Any
) -> dict[str, Any]:
    """Kill the scheduler during NMF and start another at its address; then go on."""
    options = {"workers": 2, "env": _paths(), "nanny": nanny, "port": processes.free_port()}
    killed = []

    def factors() -> Any:
        kept = {"seed": 0, "max_iter": 10, "checkpoint": place / "nmf.npz"}
        return eds_xr.nmf(image_of(place.parent), 2, **kept)["loadings"]

    def restart() -> None:
        scheduler.kill()
        killed.append(time.monotonic())
        scheduler.wait()
        stack.enter_context(processes.started_processes(place / "again", **options))

    with ExitStack() as stack:
        first = processes.started_processes(place / "first", **options)
        file, scheduler, _ = stack.enter_context(first)
        client = Client(scheduler_file=file)
        client.wait_for_workers(2)
        timer = threading.Timer(delay, restart)
        timer.start()
        early = _outcome(factors, expected["nmf"])
        told = time.monotonic()
        timer.join()
        with suppress(RuntimeError):  # its pool of connections was closed while it connected anew
            client.close(timeout=1)
        with Client(scheduler_file=place / "again" / "scheduler.json") as client:
            client.wait_for_workers(2)
            outcome = _outcome(factors, expected["nmf"])
    seconds = round(told - killed[0], 2)
    if early != "right" and not (LOST in early and seconds < TOLD_WITHIN):
        outcome = f"wrong: {early} after {seconds} s"
    return {"outcome": outcome, "first": early, "told after": seconds}


def _outcome(work: Callable[[], Any], expected: Any) -> str:
    """Return "right", "wrong", "hangs", or the error."""
    found: list[str] = []

    def run() -> None:
        try:
            value = work().compute()
            close = np.allclose(value, expected, rtol=1e-3, atol=1e-4, equal_nan=True)
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
    parser.add_argument("--runs", type=int, default=72)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="the first of two: 0 2")
    options = parser.parse_args()
    done = []
    if options.file.exists():
        done = [json.loads(line) for line in options.file.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = results_here(folder, list(OPERATIONS))
        first, step = options.part
        for number in sorted(set(range(first, options.runs, step)) - {one["run"] for one in done}):
            done.append(any_run(number, folder, expected))
            print(done[-1], flush=True)
            with options.file.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    for name, count in counted(done).items():
        print(f"{count:3d}  {name}")
    print(f"{sum(one['outcome'] == 'right' for one in done)} of {len(done)} right")


if __name__ == "__main__":
    main()
