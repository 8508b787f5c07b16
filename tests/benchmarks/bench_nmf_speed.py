"""Speed and memory of the Poisson NMF against scikit-learn's and against one read of the store.

    python tests/benchmarks/bench_nmf_speed.py [--work FOLDER] [--quick]

How "time to within 0.01 % of scikit-learn's deviance" is found: both fits are judged by the same
exact deviance of scores and loadings (``common.deviance``) on the same counts. eds_xr is run with
the settings of `LADDER`, loosest first, until one gets there; the time of that setting is the
best of three whole fits (quick: one), each with its own read of the store, in a warm process.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import numpy as np
import scipy.sparse
import sklearn
import xarray as xr
from common import Row, best_of, gigabytes, in_fresh_process, say, show, timed

import eds_xr
from eds_xr import simulate

DOSE, SEED, COMPONENTS = 180.0, 1, 3
#: Settings of the fit of greatest likelihood, pixel by pixel, loosest first.
LADDER: list[dict[str, Any]] = [
    *({"mixing": "free", "max_iter": n} for n in (2, 3, 4, 6, 8, 12, 16, 24, 40, 60)),
    *({"mixing": "free", "max_iter": 200, "tol": tol} for tol in (1e-6, 1e-7, 1e-8)),
    {"mixing": "free", "max_iter": 1000, "tol": 1e-9},
]
WITHIN = 1e-4


@dataclass(frozen=True)
class Case:
    """A store to measure on, and what is to be reached."""

    name: str
    store: Path
    faster: int
    true: np.ndarray | None = None


def main() -> None:
    """Print a table for each store."""
    args = arguments()
    if args.task:
        print(json.dumps(run_task(**json.loads(args.task))))
        return
    iterations = args.peer_iterations or (20 if args.quick else 200)
    with common.work_folder(args.work) as work:
        for case in cases(work, quick=args.quick, sample=not (args.quick or args.no_sample)):
            show(*measured(case, iterations, 1 if args.quick else 3, work / "peers.json"))


def arguments() -> Any:
    """Return the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--peer-iterations", type=int, help="of scikit-learn (200; quick: 20)")
    parser.add_argument("--no-sample", action="store_true", help="leave the 71 GPa map out")
    parser.add_argument("--task", help="for the script's own use: one measurement, as JSON")
    return parser.parse_args()


def cases(work: Path, *, quick: bool, sample: bool) -> Iterator[Case]:
    """Yield the stores, written first where they are missing."""
    shapes = [(128, 128, 1024)] if quick else [(256, 256, 2048), (512, 512, 2048)]
    for shape in shapes:
        name = f"simulated {' x '.join(map(str, shape))}, {DOSE:g} counts a pixel"
        say(f"{name}: simulating")
        true = simulate.truth(shape, DOSE, seed=SEED).loadings.values
        yield Case(name, common.stored(work, "pyrolite", shape, DOSE, seed=SEED), 150, true)
    if sample:
        yield Case("published 71 GPa map, 201 x 201 x 2048", converted_sample(work), 50)


def converted_sample(work: Path) -> Path:
    """Return the store of the published map."""
    path = work / "71GPa.zarr"
    return path if path.exists() else eds_xr.convert(eds_xr.samples.fetch("71GPa"), path)


def measured(case: Case, iterations: int, repeats: int, kept: Path) -> tuple[str, list[Row]]:
    """Return title and rows of a case; each time is the best of so many repeats."""
    image = eds_xr.open(case.store)
    counts = common.sparse_counts(image)
    total = float(counts.data.sum(dtype=float))
    say(f"{case.name}: scikit-learn, {iterations} iterations")
    peer = scikit_learn(case, counts, iterations, kept)
    say(f"{case.name}: eds_xr")
    read = best_of(3, lambda: common.read_store(image))
    rows = [
        *speed_rows(case, image, counts, peer, read, repeats),
        *worker_rows(case, repeats),
        *memory_rows(case, total),
    ]
    return f"{case.name}: {total:,.0f} counts, {gigabytes(image.nbytes)} dense", rows


def scikit_learn(
    case: Case, counts: scipy.sparse.csr_matrix, iterations: int, kept: Path
) -> dict[str, Any]:
    """Return time and deviance of scikit-learn, measured once for each working folder."""
    known = json.loads(kept.read_text()) if kept.exists() else {}
    key = f"{case.store.name}, {iterations} iterations, scikit-learn {sklearn.__version__}"
    if key not in known:
        seconds, (scores, spectra) = timed(
            lambda: common.scikit_learn(counts, COMPONENTS, iterations)
        )
        known[key] = {"seconds": seconds, "deviance": common.deviance(counts, scores, spectra)}
        if case.true is not None:
            known[key]["angles"] = common.angles_deg(spectra, case.true).tolist()
        kept.write_text(json.dumps(known, indent=1))
    return {"iterations": iterations} | known[key]


def speed_rows(
    case: Case,
    image: xr.DataArray,
    counts: scipy.sparse.csr_matrix,
    peer: dict[str, Any],
    read: float,
    repeats: int,
) -> list[Row]:
    """Return time against the peer and against a read of the store."""
    target = peer["deviance"] * (1 + WITHIN)
    setting, reached = first_within(image, counts, target)
    quickest = best_of(repeats, lambda: fit(image, **setting))
    result = fit(image)
    default = best_of(repeats, lambda: fit(image))
    free = best_of(repeats, lambda: fit(image, mixing="free"))
    with_scores = best_of(repeats, lambda: fit(image).scores.compute())
    found = common.deviance_of(counts, result)
    first, second = first_and_second(case.store)
    times = f"{peer['seconds'] / quickest:.0f} times" if reached <= target else "not reached"
    goal = f"at least {case.faster} times"
    return [
        (f"scikit-learn, {peer['iterations']} iterations", f"{peer['seconds']:.2f} s", ""),
        ("  its deviance", f"{peer['deviance']:,.0f}", ""),
        *angle_rows("  its angles to the truth", peer.get("angles")),
        (f"eds_xr to within {WITHIN:.2%}, {as_text(setting)}", f"{quickest:.2f} s", ""),
        ("  its deviance over scikit-learn's", f"{reached / peer['deviance'] - 1:+.4%}", ""),
        ("  faster than scikit-learn", times, goal),
        (f"eds_xr, defaults, {result.attrs['iterations']} iterations", f"{default:.2f} s", ""),
        ("  its deviance over scikit-learn's", f"{found / peer['deviance'] - 1:+.4%}", ""),
        *angle_rows("  its angles to the truth", own_angles(result, case.true)),
        ("  first call of all (kernels are compiled)", f"{first:.2f} s", ""),
        ("  second call in that process", f"{second:.2f} s", ""),
        ("  with the scores computed as well", f"{with_scores:.2f} s", ""),
        ("one read of the store", f"{read:.3f} s", ""),
        ("  fit with defaults, in reads", f"{default / read:.1f}", "at most 8 (512 x 512)"),
        ('  with mixing="free", in reads', f"{free / read:.1f}", ""),
    ]


def first_within(
    image: xr.DataArray, counts: scipy.sparse.csr_matrix, target: float
) -> tuple[dict[str, Any], float]:
    """Return the loosest setting that reaches a deviance, or the last one, and its deviance."""
    for setting in LADDER:
        reached = common.deviance_of(counts, fit(image, **setting))
        say(f"  {as_text(setting)}: {reached / target * (1 + WITHIN) - 1:+.4%}")
        if reached <= target:
            break
    return setting, reached


def fit(image: xr.DataArray, **setting: Any) -> xr.Dataset:
    """Return the fit that is measured."""
    return eds_xr.nmf(image, COMPONENTS, seed=0, **setting)


def own_angles(result: xr.Dataset, true: np.ndarray | None) -> np.ndarray | None:
    """Return the angles to the truth, where it is known."""
    return None if true is None else common.angles_deg(result.loadings.values, true)


def angle_rows(name: str, angles: Any) -> list[Row]:
    """Return a row of angles, or none."""
    return [] if angles is None else [(name, " / ".join(f"{a:.1f}" for a in angles), "[deg]")]


def as_text(setting: dict[str, Any]) -> str:
    """Return a setting as it would be typed."""
    return ", ".join(f"{name}={value}" for name, value in setting.items())


# -- measurements in a process of their own ------------------------------------------------------


def first_and_second(store: Path) -> tuple[float, float]:
    """Return the times of the first two fits where no compiled kernel is kept [s]."""
    with tempfile.TemporaryDirectory() as cache:
        task = {"store": str(store), "workers": None, "processes": False, "runs": 2}
        seconds = in_fresh_process(__file__, task, NUMBA_CACHE_DIR=cache)["seconds"]
    return seconds[0], seconds[1]


def worker_rows(case: Case, repeats: int) -> list[Row]:
    """Return what a second worker brings."""
    goal = "at least 1.7 times"
    kinds = [
        ("threads", {"processes": False}, goal),
        ("worker processes", {"processes": True}, goal),
        ("threads, each with one core only", {"processes": False, "pinned": True}, ""),
    ]
    rows = []
    for name, how, wanted in kinds:
        one, two = (with_workers(case.store, n, repeats, **how) for n in (1, 2))
        gain = f"{one:.2f} / {two:.2f} s = {one / two:.2f} times"
        rows.append((f"1 against 2 {name}", gain, wanted))
    return rows


def with_workers(
    store: Path, workers: int, repeats: int, *, processes: bool, pinned: bool = False
) -> float:
    """Return the best of some warm fits with so many workers [s].

    Linear algebra gets as many threads as there are worker threads, and one where the workers are
    processes. Decompression has threads of its own, which only `pinned` holds to the cores.
    """
    runs = repeats + 1  # the first one warms up
    task = {"store": str(store), "workers": workers, "processes": processes, "runs": runs}
    threads = str(1 if processes else workers)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = dict.fromkeys(names, threads)
    found = in_fresh_process(__file__, task | {"pinned": pinned}, **environment)
    return min(found["seconds"][1:])


def memory_rows(case: Case, counts: float) -> list[Row]:
    """Return the peak of one fit in a process of its own, above what the imports hold."""
    task = {"store": str(case.store), "workers": None, "processes": False, "runs": 1}
    found = in_fresh_process(__file__, task)
    used = found["peak"] - found["baseline"]
    return [
        ("memory at the peak (VmHWM)", gigabytes(found["peak"]), ""),
        ("  above interpreter and imports", gigabytes(used), f"at most {gigabytes(goal(counts))}"),
        ("  per count", f"{used / counts:.1f} bytes", "at most 4 bytes + 0.5 GB / counts"),
    ]


def goal(counts: float) -> float:
    """Return the memory that a fit may take [bytes]."""
    return 4 * counts + 0.5e9


def run_task(
    store: str, workers: int | None, processes: bool, runs: int, pinned: bool = False
) -> dict[str, Any]:
    """Time fits in this fresh process."""
    import distributed  # noqa: F401  (belongs to the imports)
    import numba  # noqa: F401

    if pinned and workers is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:workers])
    baseline = common.resident_bytes()
    image = eds_xr.open(store)
    with common.scheduler(workers, processes=processes):
        seconds = [timed(lambda: fit(image))[0] for _ in range(runs)]
    return {"seconds": seconds, "baseline": baseline, "peak": common.peak_bytes()}


if __name__ == "__main__":
    main()
