"""Intervals of line ratios over all factorisations: how often they hold the truth, how wide.

    python tests/benchmarks/bench_mixing.py [--seeds N] [--first-seed N] [--brute N] [--work DIR]
        [--quick]

Images of 64 x 64 pixels with 3 to 5 phases of random materials: grains in a matrix, layers, phases
that are nowhere pure; 50, 200 or 800 counts a pixel. `nmf` with the true number of components, then
`mixing_intervals` of three ratios, each of the two strongest lines of a phase, for all phases.
True ratios are those of the recipe's spectra by the same weights of channels ("weights"), and the
recipe's own net counts ("recipe"), to which what the weights make of foreign peak shapes adds.
A cell (phase and ratio) counts where the phase's two lines together have 2 % of its counts. Widths
are of shares, ``first / (first + second)``. With `--brute`, so many images of three phases are
also searched by brute force. Each image is a line of a file in `--work`; what is there is not
done again.
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
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

import eds_xr
from eds_xr.analysis.mixing_intervals.net_functionals import NetFunctionals, net_functionals
from eds_xr.factorisation.ambiguity.bins_of_counts import binned_counts
from eds_xr.factorisation.ambiguity.evidence import gathered
from eds_xr.factorisation.ambiguity.intervals import share_intervals
from eds_xr.factorisation.ambiguity.search import TOLERANCE
from eds_xr.xray.lines import line_energy_kev

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (0, 1)]

import common  # noqa: E402
from common import say  # noqa: E402
from support.feasible_triangles import corners  # noqa: E402
from support.independent.grains import scatter  # noqa: E402
from support.independent.images import image, image_of_lengths  # noqa: E402
from support.independent.layouts import layers  # noqa: E402
from support.independent.materials import MATERIALS, Material  # noqa: E402

SHAPE = (64, 64)
RANGE_KEV = (0.7, 9.9)
DOSES = (50.0, 200.0, 800.0)
LAYOUTS = ("grains", "layers", "nowhere pure")
#: A line must have this share of a phase's counts to be one of its ratio.
LEAST_OF_LINE, LEAST_OF_CELL = 0.02, 0.02
#: Spectra of two phases of an image differ by this angle at least [degrees].
LEAST_ANGLE_DEG = 20.0


def main() -> None:
    """Print coverage and widths."""
    make = common.parser(__doc__)
    make.add_argument("--seeds", type=int, default=200)
    make.add_argument("--first-seed", type=int, default=0)
    make.add_argument("--brute", type=int, default=0)
    args = make.parse_args()
    seeds = range(args.first_seed, args.first_seed + (3 if args.quick else args.seeds))
    with common.work_folder(args.work) as folder:
        file = folder / "mixing.jsonl"
        done = {}
        if file.exists():
            done = {r["seed"]: r for r in map(json.loads, file.read_text().splitlines())}
        left = args.brute
        for seed in seeds:
            brute = left > 0 and phases_of(seed) == 3
            left -= brute
            if seed not in done:
                say(f"seed {seed}")
                done[seed] = judge(seed, brute=brute)
                with file.open("a") as out:
                    out.write(json.dumps(done[seed]) + "\n")
        report([done[seed] for seed in seeds])


def phases_of(seed: int) -> int:
    """Return how many phases an image has."""
    return 3 + seed % 3


def simulated(seed: int) -> tuple[xr.DataArray, xr.Dataset, str, float]:
    """Return an image, its truth, its layout and its dose."""
    rng = np.random.default_rng((seed, 77))
    layout, dose = LAYOUTS[(seed // 3) % 3], DOSES[(seed // 9) % 3]
    for _attempt in range(100):
        chosen = rng.choice(len(MATERIALS), phases_of(seed), replace=False)
        phases = [MATERIALS[i] for i in chosen]
        found, truth = _laid_out(phases, layout, dose, seed, rng)
        if _apart(truth):
            return found, truth, layout, dose
    raise RuntimeError(f"no materials for seed {seed}")


def _laid_out(
    phases: list[Material], layout: str, dose: float, seed: int, rng: np.random.Generator
) -> tuple[xr.DataArray, xr.Dataset]:
    if layout == "grains":
        grains = scatter(phases[1:], 9 * len(phases[1:]), seed=seed, radii=(0.05, 0.12))
        return image(phases[0], grains, SHAPE, dose, seed=seed)
    if layout == "layers":
        thick = rng.uniform(0.7, 1.3, len(phases))
        thick *= SHAPE[0] / thick.sum()
        lengths = layers(SHAPE, thick, rng, slant_px=rng.uniform(2, 5), roughness_px=1.0)
    else:
        fields = [gaussian_filter(rng.normal(size=SHAPE), 4, mode="wrap") for _ in phases]
        lengths = np.stack([np.exp(1.2 * f / f.std()) for f in fields])
        lengths /= lengths.sum(0)
    return image_of_lengths(phases, 80 * lengths, dose, seed=seed)


def _apart(truth: xr.Dataset) -> bool:
    spectra = truth.spectra.sel(energy=slice(*RANGE_KEV)).values
    share = spectra.sum(1) / spectra.sum()
    unit = spectra / np.linalg.norm(spectra, axis=1)[:, None]
    angle = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))[~np.eye(len(unit), dtype=bool)]
    return bool(share.min() > 0.03 and angle.min() > LEAST_ANGLE_DEG)


def judge(seed: int, *, brute: bool) -> dict[str, Any]:
    """Return one image's intervals and truths."""
    found, truth, layout, dose = simulated(seed)
    phases = truth.sizes["phase"]
    elements = [str(e) for e in truth.element.values]
    found = found.sel(energy=slice(0.3, 9.9)).chunk()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eds_xr.nmf(found, phases).compute()
    pairs = ratios_of(truth)
    every = [*elements, *[e for e in ("Cu", "C") if e not in elements]]
    start = time.perf_counter()
    spans = found.eds.mixing_intervals(result, pairs, elements, stray=every[len(elements) :],
                                       range_kev=RANGE_KEV)  # fmt: skip
    seconds = time.perf_counter() - start
    counts = binned_counts(found)
    total = xr.DataArray(counts.reshape(-1, counts.shape[-1]).sum(0), found.energy.coords)
    asked = list(dict.fromkeys(line for pair in pairs for line in pair))
    nets = net_functionals(total.assign_attrs(found.attrs), asked, every, RANGE_KEV)
    spectra = truth.spectra.sel(energy=found.energy)
    phase = matched(result.loadings.values, spectra.values)
    by_weights = spectra @ nets.weights.isel(line=slice(len(asked)))
    cells = []
    for c in range(phases):
        own = {"weights": by_weights[phase[c]], "recipe": truth.net[phase[c]]}
        all_counts = float(spectra[phase[c]].sum())
        for r, pair in enumerate(pairs):
            a, b = (float(own["recipe"].sel(line=name)) for name in pair)
            if a + b < LEAST_OF_CELL * all_counts:
                continue
            cell = {k: share(*(float(v.sel(line=n)) for n in pair)) for k, v in own.items()}
            low, high, value = (to_share(float(spans[n][c, r])) for n in ("low", "high", "value"))
            cell |= {"low": low, "high": high, "value": value, "pair": "/".join(pair),
                     "phase": str(truth.phase.values[phase[c]]), "component": c, "ratio": r,
                     "ends_at": result.attrs["ends_at"][c]}  # fmt: skip
            cells.append(cell)
    made = {"seed": seed, "phases": phases, "layout": layout, "dose": dose, "seconds": seconds,
            "cells": cells}  # fmt: skip
    return made | ({"brute": by_brute_force(counts, result, nets, pairs)} if brute else {})


def ratios_of(truth: xr.Dataset) -> list[tuple[str, str]]:
    """Return the two strongest lines of each of three phases."""
    sample = {str(e) for e in truth.element.values}
    named = [n for n in truth.line.values.tolist() if n.endswith(("_Ka", "_La", "_Ma"))]
    inside = [n for n in named if n.split("_")[0] in sample and 0.9 < line_energy_kev(n) < 9.6]
    pairs = []
    for p in range(truth.sizes["phase"]):
        net = truth.net[p].sel(line=inside)
        order = net.line.values[np.argsort(-net.values)].tolist()
        first = order[0]
        others = [n for n in order if n.split("_")[0] != first.split("_")[0]]
        pair = (first, others[0])
        if pair not in pairs and pair[::-1] not in pairs:
            pairs.append(pair)
    return pairs[:3]


def matched(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the phase of each component."""
    unit = [a / np.linalg.norm(a, axis=1)[:, None] for a in (found, true)]
    return linear_sum_assignment(-(unit[0] @ unit[1].T))[1]


def share(first: float, second: float) -> float:
    """Return ``first / (first + second)``; what is below zero is none."""
    a, b = max(first, 0.0), max(second, 0.0)
    return a / (a + b)


def to_share(ratio: float) -> float:
    """Return the share of a ratio."""
    return 1.0 if np.isinf(ratio) else ratio / (1 + ratio)


def by_brute_force(
    counts: np.ndarray, result: xr.Dataset, nets: NetFunctionals, pairs: list[tuple[str, str]]
) -> list[dict[str, float]]:
    """Return the extremes of all shares by all triangles, and those of the search, without errors.

    Of both the same errors of counting move the ends afterwards.
    """
    none = np.zeros((nets.weights.sizes["line"], 3), bool)
    loadings = result.loadings.values.astype(float)
    evidence = gathered(counts, loadings, nets.weights.values, none, nets.errors(loadings))
    asked = list(dict.fromkeys(line for pair in pairs for line in pair))
    places = [(asked.index(a), asked.index(b)) for a, b in pairs]
    start = time.perf_counter()
    found = corners(evidence.bins, evidence.limits, TOLERANCE, angles=360)
    seconds = time.perf_counter() - start
    searched = share_intervals(evidence, places)
    out = []
    for c in range(3):
        corner = found.of(np.eye(3)[c])
        for r, (a, b) in enumerate(places):
            first, second = (np.maximum(corner @ evidence.values[n], 0) for n in (a, b))
            if (first + second).min() <= 0:
                continue
            shares = first / (first + second)
            least, most = searched.extremes[c, r]
            out.append({"low": float(shares.min()), "high": float(shares.max()),
                        "search_low": float(least), "search_high": float(most),
                        "full": float(searched.high[c, r] - searched.low[c, r]),
                        "seconds": seconds})  # fmt: skip
    return out


def report(images: list[dict[str, Any]]) -> None:
    """Print tables."""
    keys = [("all", lambda _: True)]
    keys += [(f"{n} phases", lambda i, n=n: i["phases"] == n) for n in (3, 4, 5)]
    keys += [(name, lambda i, n=name: i["layout"] == n) for name in LAYOUTS]
    keys += [(f"{d:g} counts a pixel", lambda i, d=d: i["dose"] == d) for d in DOSES]
    print(
        f"\n{'images':<22} number  cells  weights  recipe  by image  median width  seconds (most)"
    )
    for title, keep in keys:
        some = [i for i in images if keep(i)]
        cells = [c for i in some for c in i["cells"]]
        if not cells:
            continue
        held = [[holds(c, truth) for c in cells] for truth in ("weights", "recipe")]
        whole = [all(holds(c, "weights") for c in i["cells"]) for i in some]
        width = np.median([c["high"] - c["low"] for c in cells])
        seconds = [i["seconds"] for i in some]
        print(
            f"{title:<22} {len(some):6d} {len(cells):6d}  {np.mean(held[0]):7.1%}"
            f" {np.mean(held[1]):7.1%}  {np.mean(whole):8.1%}  {width:12.3f}"
            f"  {np.median(seconds):7.1f} ({max(seconds):.1f})"
        )
    _report_brute([b for i in images for b in i.get("brute", [])])


def _report_brute(rows: list[dict[str, float]]) -> None:
    if not rows:
        return
    some = [r for r in rows if r["high"] - r["low"] > 1e-4]
    of_search = np.array([r["search_high"] - r["search_low"] for r in some])
    of_brute = np.array([r["high"] - r["low"] for r in some])
    ratio = of_search / of_brute
    print(
        f"\nthree phases, search over brute force ({len(some)} intervals): median "
        f"{np.median(ratio):.3f}, 5 % {np.quantile(ratio, 0.05):.3f}, 95 % "
        f"{np.quantile(ratio, 0.95):.3f}, least {ratio.min():.3f}, most {ratio.max():.3f}; with "
        f"errors of counting: median {np.median([r['full'] for r in some] / of_brute):.2f}"
    )


def holds(cell: dict[str, Any], truth: str) -> bool:
    """Return whether an interval holds the truth."""
    return bool(cell["low"] - 1e-9 <= cell[truth] <= cell["high"] + 1e-9)


if __name__ == "__main__":
    main()
