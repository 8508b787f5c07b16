"""Multi-label graph cuts against PyMaxflow's alpha expansion of the whole image.

    python tests/benchmarks/bench_graph_cut.py [--work FOLDER] [--quick]

Both label the same simulated probabilities of 4 phases: PyMaxflow's ``aexpansion_grid`` (which
knows 4 neighbours only) is given their logarithms, ``eds_xr.graph_cut.smooth`` the probabilities.
Each runs once in a process of its own, kernels compiled; time and memory leave out reading the
probabilities. Both energies are by
``eds_xr.graph_cut.potts_energy``. The difficulty is the step between
the phases of log p in units of its noise: 3 is an easy image, 0.5 one where the most probable
phase of a pixel is mostly wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import dask
import numpy as np
import xarray as xr
from common import Row, gigabytes, in_fresh_process, peak_bytes, resident_bytes, say, show, timed

from eds_xr.segmentation.graph_cut.potts import edge_image, potts_energy, smooth

PHASES, SEED, GRAIN_PIXELS = 4, 1, 12
DIFFICULTIES = (3.0, 1.5, 0.5)


def main() -> None:
    """Print the tables."""
    parser = common.parser(__doc__)
    parser.add_argument("--task", help="for the script's own use: one measurement, as JSON")
    args = parser.parse_args()
    if args.task:
        print(json.dumps(run_task(**json.loads(args.task))))
        return
    side, large, volume = (512, 1024, 48) if args.quick else (2048, 4096, 160)
    with common.work_folder(args.work) as work:
        for difficulty in DIFFICULTIES[1:2] if args.quick else DIFFICULTIES:
            path = probabilities(work, (side, side), difficulty)
            show(f"{side} x {side}, {PHASES} phases, step {difficulty:g}", peer_rows(path))
        show(f"{side} x {side}, other forms", form_rows(probabilities(work, (side, side), 1.5)))
        path = probabilities(work, (large, large), 1.5)
        show(f"{large} x {large}, in tiles of 2048 x 2048", tile_rows(path))
        path = probabilities(work, (volume,) * 3, 1.5)
        show(f"{volume} x {volume} x {volume}, {PHASES} phases", volume_rows(path))


def probabilities(work: Path, shape: tuple[int, ...], step: float) -> Path:
    """Return probabilities [phase, ...] of grains under noise, written unless they are there."""
    from scipy.ndimage import gaussian_filter

    path = work / f"graph-cut-{'x'.join(map(str, shape))}-{step:g}.npy"
    if not path.exists():
        say(f"simulating {path.name}")
        rng = np.random.default_rng(SEED)
        maps = [
            gaussian_filter(rng.standard_normal(shape, np.float32), GRAIN_PIXELS)
            for _ in range(PHASES)
        ]
        truth = np.argmax(maps, axis=0)
        p = np.exp(rng.standard_normal((PHASES, *shape), np.float32))
        for phase in range(PHASES):
            p[phase] *= np.where(truth == phase, np.float32(np.exp(step)), np.float32(1))
        p /= p.sum(axis=0)
        np.save(path, p)
    return path


def peer_rows(path: Path) -> list[Row]:
    """Return times, memory and energies beside PyMaxflow's."""
    peer = measured("pymaxflow", path, neighbours=4)
    ours = measured("smooth", path, neighbours=4)
    one = measured("smooth", path, neighbours=4, workers=1)
    gap = ours["energy"] / peer["energy"] - 1
    return [
        ("aexpansion_grid, 4 neighbours", f"{peer['seconds']:.2f} s", ""),
        ("smooth, 4 neighbours", f"{ours['seconds']:.2f} s", ""),
        ("  one thread", f"{one['seconds']:.2f} s", ""),
        ("  times faster", f"{peer['seconds'] / ours['seconds']:.1f}", "at least 2"),
        ("  energy above aexpansion_grid's", f"{gap:+.4%}", "below 0.1 %"),
        ("  energy with one thread", f"{one['energy'] / ours['energy'] - 1:+.4%}", "the same"),
        ("memory of aexpansion_grid", gigabytes(peer["bytes"]), ""),
        ("memory of smooth", gigabytes(ours["bytes"]), ""),
    ]


def form_rows(path: Path) -> list[Row]:
    """Return what diagonals and edge weights cost."""
    rows: list[Row] = []
    for name, options in (
        ("8 neighbours", {}),
        ("8 neighbours, edges from one image", {"edges": "image"}),
        ("8 neighbours, edges from compositions", {"edges": "composition"}),
    ):
        found = measured("smooth", path, neighbours=8, **options)
        rows += [(name, f"{found['seconds']:.2f} s", ""), ("", gigabytes(found["bytes"]), "")]
    return rows


def tile_rows(path: Path) -> list[Row]:
    """Return what tiles lose and cost."""
    whole = measured("smooth", path, neighbours=8, memory_bytes=1e12)
    tiles = measured("smooth", path, neighbours=8, memory_bytes=0)
    gap = tiles["energy"] / whole["energy"] - 1
    return [
        ("whole image", f"{whole['seconds']:.2f} s", ""),
        ("  memory", gigabytes(whole["bytes"]), ""),
        ("tiles", f"{tiles['seconds']:.2f} s", ""),
        ("  memory", gigabytes(tiles["bytes"]), ""),
        ("  energy above the whole image's", f"{gap:+.5%}", "below 0.1 %"),
    ]


def volume_rows(path: Path) -> list[Row]:
    """Return times and memory in a volume."""
    rows: list[Row] = []
    for neighbours in (6, 26):
        found = measured("smooth", path, neighbours=neighbours, smoothness=0.3)
        rows += [
            (f"{neighbours} neighbours", f"{found['seconds']:.2f} s", ""),
            ("  memory", gigabytes(found["bytes"]), ""),
        ]
    return rows


def measured(what: str, path: Path, **options: Any) -> dict[str, Any]:
    """Measure in a fresh process."""
    say(f"{what} {path.name} {options}")
    return in_fresh_process(__file__, {"what": what, "path": str(path), **options})


def run_task(
    what: str, path: str, workers: int | None = None, edges: str = "", **options: Any
) -> dict[str, float]:
    """Label once; return seconds, energy, and memory above what was held before."""
    values = np.load(path)
    p = xr.DataArray(values, dims=("phase", *("z", "y", "x")[-values.ndim + 1 :]))
    options |= edge_options(p, edges)
    small = p.isel({d: slice(0, 300 if p.ndim == 3 else 48) for d in p.dims[1:]})  # two bands
    run: Callable[..., xr.DataArray] = smooth if what == "smooth" else peer
    with dask.config.set(num_workers=workers):
        run(small, **edge_cut(options, small))  # compiles
        before = resident_bytes()
        seconds, label = timed(lambda: run(p, **options))
    used = peak_bytes() - before
    options.pop("memory_bytes", None)
    return {"seconds": seconds, "bytes": used, "energy": potts_energy(label, p, **options)}


def edge_options(p: xr.DataArray, edges: str) -> dict[str, Any]:
    """Return the edge image that is asked for, made of the probabilities."""
    if not edges:
        return {}
    if edges == "image":
        return {"edge_image": p[0], "smoothness": 0.5}
    scores = (p.transpose("y", "x", "phase") * 100).rename(phase="component")
    return {"edge_image": edge_image(scores), "smoothness": 0.5}


def edge_cut(options: dict[str, Any], small: xr.DataArray) -> dict[str, Any]:
    """Return the options with the part of the edge image that belongs to `small`."""
    if "edge_image" not in options:
        return options
    part = options["edge_image"].isel({d: slice(small.sizes[d]) for d in small.dims[1:]})
    return options | {"edge_image": part}


def peer(p: xr.DataArray, *, neighbours: int, smoothness: float = 1.0) -> xr.DataArray:
    """Return the labels of PyMaxflow's alpha expansion."""
    from maxflow.fastmin import aexpansion_grid

    assert neighbours == 4
    unary = np.ascontiguousarray(np.moveaxis(-np.log(np.maximum(p.values, 1e-6)), 0, -1), float)
    label = aexpansion_grid(unary, smoothness * (1 - np.eye(len(p))))
    return p[0].copy(data=label).astype(np.uint8) + np.uint8(1)


if __name__ == "__main__":
    main()
