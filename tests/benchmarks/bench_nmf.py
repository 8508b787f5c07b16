"""Time and truth of the factorisation: ``python tests/benchmarks/bench_nmf.py [--full]``.

A simulated map of 256 x 256 x 2048 at 180 counts a pixel, written to a Zarr store and read from
there, against scikit-learn's Kullback-Leibler NMF on the same counts in memory.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import xarray as xr
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import NMF

import eds_xr
from eds_xr import simulate

SHAPE, DOSE, SEED = (256, 256, 2048), 180.0, 1


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--full", action="store_true", help="200 iterations of scikit-learn, not 20"
    )
    iterations = 200 if parser.parse_args().full else 20
    table = Table(
        "", "seconds", "half deviance", "Brg", "Fp", "Ca-Pv", title=f"{SHAPE}, angles in deg"
    )
    with tempfile.TemporaryDirectory() as folder:
        image = stored(Path(folder) / "map.zarr")
        truth = simulate.truth(SHAPE, DOSE, seed=SEED)
        eds_xr.nmf(image[:32, :32], 3)  # compile
        seconds, _ = timed(lambda: image.max().compute())
        table.add_row("one read of the store", f"{seconds:.2f}")
        seconds, result = timed(lambda: eds_xr.nmf(image, 3))
        found = result.loadings.values
        add(table, f"eds_xr, {result.attrs['iterations']} steps", seconds, image, found, truth)
        seconds, found = timed(lambda: scikit_learn(image, iterations))
        add(table, f"scikit-learn, {iterations} iterations", seconds, image, found, truth)
    Console().print(table)


def stored(path: Path) -> xr.DataArray:
    """Write the simulated map to a store and open it."""
    image = simulate.spectrum_image(SHAPE, DOSE, seed=SEED).drop_vars("haadf")
    return eds_xr.open(eds_xr.save(image, path))


def scikit_learn(image: xr.DataArray, iterations: int) -> np.ndarray:
    """Return the loadings of scikit-learn's multiplicative updates on sparse counts."""
    counts = scipy.sparse.csr_matrix(image.values.reshape(-1, SHAPE[2]), dtype=np.float32)
    model = NMF(
        3, init="nndsvda", solver="mu", beta_loss="kullback-leibler", max_iter=iterations,
        tol=0, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it did not converge
        model.fit(counts)
    return model.components_


def add(
    table: Table,
    name: str,
    seconds: float,
    image: xr.DataArray,
    found: np.ndarray,
    truth: xr.Dataset,
) -> None:
    """Add a row: both fits are judged by the same best scores, and before any rotation."""
    loadings = xr.DataArray(found, {"energy": image.energy}, ("component", "energy"))
    loadings = loadings.assign_coords(component=range(len(found)))
    fit = half_deviance(image, loadings)
    angles = (f"{angle:.2f}" for angle in angles_deg(found, truth.loadings.values))
    table.add_row(name, f"{seconds:.2f}", f"{fit:,.0f}", *angles)


def half_deviance(image: xr.DataArray, loadings: xr.DataArray) -> float:
    """Return ``sum(model) - sum(x log model)``: half the deviance but for a constant."""
    scores = eds_xr.project(image, loadings)
    spectra = loadings / loadings.sum("energy")
    total = 0.0
    for rows in range(0, SHAPE[0], 64):
        counts = image[rows : rows + 64].values.astype(np.float32)
        model = scores[rows : rows + 64].values @ spectra.values.astype(np.float32)
        filled = counts > 0
        logs = np.log(np.maximum(model[filled], 1e-12)) * counts[filled]
        total += float(model.sum(dtype=float) - logs.sum(dtype=float))
    return total


def angles_deg(found: np.ndarray, true: np.ndarray) -> list[float]:
    """Return the angle of each true spectrum to its own component."""
    unit = [a / np.linalg.norm(a, axis=1)[:, None] for a in (found, true)]
    table = np.degrees(np.arccos(np.clip(unit[0] @ unit[1].T, -1, 1)))
    phases = range(len(true))
    best = min(itertools.permutations(phases), key=lambda o: sum(table[o[p], p] for p in phases))
    return [float(table[best[p], p]) for p in phases]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long `work` takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
