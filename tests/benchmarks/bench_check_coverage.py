"""What `check` says that intervals hold, beside what they hold of the truth: twelve samples.

    python tests/benchmarks/bench_check_coverage.py [--scenes NAME ...] [--seeds N] [--checked N]
        [--first-seed N] [--draws N] [--dose D] [--shape H W] [--kept FILE]

Images of tables and shapes that are not the package's. Each of `--seeds` images of a sample is
analysed, and the 95 % intervals of counting and calibration are held against the truth (errors of
k-factors and absorption, the same for both, left out), for all elements of the phases that were
found; the first `--checked` of them are checked, by `--draws` simulations each. Both are told as
the share of all intervals that hold. With `--kept` runs are kept in a file and not made again.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (0, 1)]

import bench_any_sample as road  # noqa: E402
import common  # noqa: E402
from support import oracle  # noqa: E402
from support.independent.scenes import NAMES, scene  # noqa: E402

from eds_xr import EdsError  # noqa: E402
from eds_xr.analysis.analyse import analysed  # noqa: E402
from eds_xr.analysis.recipe import Recipe  # noqa: E402
from eds_xr.analysis.self_check.check import check  # noqa: E402
from eds_xr.analysis.self_check.coverage import WAYS  # noqa: E402

LINES = {"composition": "lines", "refined_composition": "refined_lines"}


def main() -> None:
    """Print a row for each sample, and one for all."""
    make = common.parser(__doc__)
    make.add_argument("--scenes", nargs="+", default=NAMES, choices=NAMES)
    make.add_argument("--seeds", type=int)
    make.add_argument("--checked", type=int, default=1)
    make.add_argument("--draws", type=int, default=20)
    make.add_argument("--dose", type=float, default=100.0)
    make.add_argument("--shape", type=int, nargs=2, default=(96, 96))
    make.add_argument("--first-seed", type=int, default=1)
    make.add_argument("--kept", type=Path)
    args = make.parse_args()
    lines = args.kept.read_text().splitlines() if args.kept and args.kept.exists() else []
    kept = {(one["scene"], one["seed"]): one for one in map(json.loads, lines)}
    seeds = args.seeds or (2 if args.quick else 20)
    for seed in range(args.first_seed, args.first_seed + seeds):
        for name in args.scenes:
            draws = args.draws if seed < args.first_seed + args.checked else 0
            if (name, seed) in kept and (kept[name, seed]["checked"] or not draws):
                continue
            common.say(f"{name}, seed {seed}")
            kept[name, seed] = found = run(name, seed, args.dose, tuple(args.shape), draws)
            if args.kept is not None:
                with args.kept.open("a") as file:
                    file.write(json.dumps(found) + "\n")
    every = list(kept.values())
    for name in args.scenes:
        print(row(name, [one for one in every if one["scene"] == name]), flush=True)
    print(row("all", every), flush=True)


def run(name: str, seed: int, dose: float, shape: tuple[int, int], draws: int) -> dict[str, Any]:
    """Analyse one image, hold it against the truth and, with draws, check it."""
    image, full = scene(name, dose, seed, shape)
    start = time.perf_counter()
    made: dict[str, Any] = {"scene": name, "seed": seed, "held": {}, "checked": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = analysed(image, Recipe(), lambda text: None).compute()
        except EdsError as why:
            return made | {"said": str(why)}
        made["seconds"] = time.perf_counter() - start
        made["held"] = held(tree, oracle.grouped(full))
        if draws and "composition" in tree:
            start = time.perf_counter()
            found = check(tree, draws=draws, seed=seed)["coverage"].to_dataset()
            made["checked"] = {w: checked(found.sel(way=w)) for w in WAYS}
            made["seconds_checked"] = time.perf_counter() - start
    return made


def held(tree: xr.DataTree, truth: xr.Dataset) -> dict[str, list[bool]]:
    """Return which intervals of each way hold the truth."""
    judged = road.Judgement("")
    attainable = dict.fromkeys(truth.phase.values.tolist(), 1.0)
    if "segmentation" not in tree:
        return {}
    pairs = road.presence(tree["segmentation"].to_dataset().present, truth, attainable, judged)
    found: dict[str, list[bool]] = {}
    for way in (w for w in WAYS if w in tree):
        own, lines = tree[way].to_dataset(), tree[LINES[way]].to_dataset()
        expected = oracle.expected_fractions(truth, own, lines)
        found[way] = []
        for name, phase in pairs.items():
            if phase in own.phase.values and bool(truth.expected_found.sel(phase=name)):
                right = expected.sel(phase=name)
                right = right.sel(element=[e for e in right.element.values if e in own.element])
                found[way] += road._held(own.sel(phase=phase), right)
    return found


def checked(found: xr.Dataset) -> list[float]:
    """Return how many intervals the simulations gave, how many of them held, and what failed."""
    number = float(found.draws.sum())
    good = float((found.covered * found.draws).sum())
    return [number, good, float(found.failed.sum()), float((found.draws > 0).sum())]


def row(name: str, runs: list[dict[str, Any]]) -> str:
    """Return both coverages of a sample."""
    texts = []
    for way in WAYS:
        own = [h for one in runs for h in one["held"].get(way, [])]
        by_image = [np.mean(one["held"][way]) for one in runs if one["held"].get(way)]
        told = [one["checked"][way] for one in runs if way in one["checked"]]
        total = np.sum(told, axis=0) if told else np.zeros(4)
        says = total[1] / total[0] if total[0] else np.nan
        error = np.std(by_image, ddof=1) / len(by_image) ** 0.5 if len(by_image) > 1 else np.nan
        true = np.mean(own) if own else np.nan
        texts.append(
            f"{way}: true {true:.3f}({error:.3f}) of {len(own)}, check says {says:.3f} of "
            f"{total[0]:.0f} ({total[2]:.0f} of {total[3]:.0f} numbers failed)"
        )
    return f"{name}: " + "; ".join(texts)


if __name__ == "__main__":
    main()
