"""What the NMF benchmarks share: stores, exact deviance, angles, peers, clocks, tables."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dask
import numpy as np
import scipy.sparse
import xarray as xr
from scipy.optimize import linear_sum_assignment

import eds_xr
from eds_xr import simulate
from eds_xr.chunks import chunk_shape

Row = tuple[str, str, str]  # figure, measured, goal
Shape = tuple[int, int, int]

#: No model is taken to expect less than this, so that the logarithm of a zero stays finite.
LEAST_EXPECTED = 1e-12


# -- stores --------------------------------------------------------------------------------------


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every benchmark."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--work", type=Path, help="folder for stores; kept, and used again")
    made.add_argument("--quick", action="store_true", help="a minute, to see that it works")
    return made


def dose_arguments(doc: str | None, seeds: int, quick_seeds: int) -> argparse.Namespace:
    """Return the command line of a benchmark over seeds and doses."""
    made = parser(doc)
    made.add_argument("--seeds", type=int)
    made.add_argument("--doses", type=float, nargs="+")
    args = made.parse_args()
    args.seeds = args.seeds or (quick_seeds if args.quick else seeds)
    args.doses = args.doses or ([100.0] if args.quick else [20.0, 100.0, 400.0])
    return args


@contextlib.contextmanager
def work_folder(chosen: Path | None) -> Iterator[Path]:
    """Give the chosen folder, or a temporary one."""
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="eds_xr-bench-") as folder:
            yield Path(folder)
    else:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen.resolve()


def stored(
    work: Path,
    name: str,
    shape: Shape,
    dose: float,
    *,
    seed: int = 1,
    phases: Sequence[simulate.Phase] = simulate.PYROLITE_71GPA,
    instrument: simulate.Instrument = simulate.TEM_200_KV,
    dtype: str | None = None,
) -> Path:
    """Return a simulated store, written block by block unless it is there already."""
    size = "x".join(map(str, shape))
    path = work / f"{name}-{size}-dose{dose:g}-seed{seed}.zarr"
    if not path.exists():
        chunks = None if dtype is None else chunk_shape(shape, dtype)[:2]
        image = simulate.spectrum_image(
            shape, dose, seed=seed, phases=phases, instrument=instrument, chunks=chunks
        ).drop_vars("haadf")
        eds_xr.save(image if dtype is None else image.astype(dtype), path)
    return path


def sparse_counts(image: xr.DataArray) -> scipy.sparse.csr_matrix:
    """Read counts [pixel, channel] a row of chunks at a time, as scikit-learn takes them."""
    edges = np.cumsum((0, *image.chunksizes["y"]))
    bands = [
        scipy.sparse.csr_matrix(image[a:b].values.reshape(-1, image.shape[-1]), dtype=np.float32)
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    return scipy.sparse.vstack(bands, format="csr")


def read_store(image: xr.DataArray) -> None:
    """Read every chunk through Dask, decompress it, and look at few of its values."""
    image.data.map_blocks(_strided_sum, dtype=np.int64, chunks=(1, 1, 1)).compute()


def _strided_sum(block: np.ndarray) -> np.ndarray:
    return block[::7, ::7, ::101].sum(dtype=np.int64).reshape(1, 1, 1)


# -- judging a fit -------------------------------------------------------------------------------


def deviance(counts: scipy.sparse.csr_matrix, scores: np.ndarray, spectra: np.ndarray) -> float:
    """Return the Poisson deviance of ``scores @ spectra``, in double precision.

    ``2 sum(m - x + x log(x / m))``: the model's sum over all voxels is a product of sums, so only
    non-zero counts are visited, in blocks of pixels.
    """
    columns = np.ascontiguousarray(spectra.T, dtype=float)
    expected = scores.sum(0, dtype=float) @ columns.sum(0)
    total = 2 * (expected - counts.data.sum(dtype=float))
    for first in range(0, counts.shape[0], 8192):
        part = counts[first : first + 8192]
        pixel = first + np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
        model = np.einsum("ik,ik->i", scores[pixel].astype(float), columns[part.indices])
        x = part.data.astype(float)
        total += 2 * float((x * np.log(x / np.maximum(model, LEAST_EXPECTED))).sum())
    return float(total)


def deviance_of(counts: scipy.sparse.csr_matrix, result: xr.Dataset) -> float:
    """Return the deviance of a result of ``eds_xr.nmf``, by :func:`deviance`."""
    scores = result.scores.values.reshape(counts.shape[0], -1)
    return deviance(counts, scores, result.loadings.values)


def angles_deg(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the angle of each true spectrum to its own component, matched one to one."""
    unit = [a / np.maximum(np.linalg.norm(a, axis=1)[:, None], 1e-30) for a in (true, found)]
    table = np.degrees(np.arccos(np.clip(unit[0] @ unit[1].T, -1, 1)))
    phase, component = linear_sum_assignment(table)
    return table[phase, component]


def scikit_learn(
    counts: scipy.sparse.csr_matrix, components: int, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and spectra of scikit-learn's Kullback-Leibler multiplicative updates."""
    from sklearn.decomposition import NMF

    model = NMF(
        components, init="nndsvda", solver="mu", beta_loss="kullback-leibler",
        max_iter=iterations, tol=0, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it did not converge
        return model.fit_transform(counts), model.components_


# -- clocks and memory ---------------------------------------------------------------------------


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long `work` takes [s], and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def best_of(times: int, work: Callable[[], Any]) -> float:
    """Return the shortest of several runs [s]."""
    return min(timed(work)[0] for _ in range(times))


def resident_bytes() -> int:
    """Return the memory that this process holds now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """Return the most memory that this process ever held: VmHWM, where there is one."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_fresh_process(script: str, task: dict[str, Any], **environment: str) -> dict[str, Any]:
    """Run ``script --task JSON`` in a Python of its own and return the JSON of its last line."""
    command = [sys.executable, script, "--task", json.dumps(task)]
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@contextlib.contextmanager
def scheduler(workers: int | None, *, processes: bool) -> Iterator[None]:
    """Run Dask on threads of this process, or on a cluster of processes of one thread."""
    if not processes:
        with dask.config.set(scheduler="threads", num_workers=workers):
            yield
        return
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        yield


# -- tables --------------------------------------------------------------------------------------


def show(title: str, rows: Sequence[Row], head: Row = ("figure", "measured", "goal")) -> None:
    """Print a plain table."""
    lines = [head, *rows]
    width = [max(len(line[i]) for line in lines) for i in range(2)]
    print(f"\n{title}")
    for figure, measured, goal in lines:
        print(f"  {figure:<{width[0]}}  {measured:>{width[1]}}  {goal}".rstrip())
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell on standard error what is going on."""
    print(text, file=sys.stderr, flush=True)


def gigabytes(count: float) -> str:
    """Return a size in GB (1e9 bytes)."""
    return f"{count / 1e9:.2f} GB"
