"""Strangers: how many small inclusions are found and named, and how many that are not there.

    python tests/benchmarks/bench_strangers.py [--seeds N] [--side PIXELS] [--work FOLDER] [--quick]

Fields of three phases of the second simulator (`tests/support/independent/inclusions.py`), 1024 x
1024 x 2048 at 100 counts a pixel: elements of each phase vary by 4 %, the foil by 20 %, smoothly.
Half of the images hold 50 inclusions of 5 pixels with 60 counts of an element that the phases lack
(all its lines together), the others none. The phases' spectra are those of an NMF of sums of 4 x 4
pixels. An inclusion is found where a stranger lies within 4 pixels of its middle; a stranger
elsewhere is false, and so is a second one of an inclusion. Runs are kept in the folder, one line of
JSON each, and not made again.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
import numpy as np
import xarray as xr
from common import say, show
from support.counted_reads import CountedReads
from support.independent.inclusions import FOREIGN, Inclusion, field

import eds_xr
from eds_xr.xray.detector import peak_sigma_kev
from eds_xr.xray.lines import line_energy_kev

INCLUSIONS, NEAR_PIXELS = 50, 4.0
CHUNK = 64


def main() -> None:
    """Print a table of all runs."""
    made = common.parser(__doc__)
    made.add_argument("--seeds", type=int, default=20)
    made.add_argument("--side", type=int, default=1024)
    made.add_argument("--first", type=int, default=0, help="the first seed")
    args = made.parse_args()
    side, seeds = (256, 1) if args.quick else (args.side, args.seeds)
    with common.work_folder(args.work) as folder:
        runs = [
            run(folder, side, seed, inclusions)
            for seed in range(args.first, args.first + seeds)
            for inclusions in (INCLUSIONS * side**2 // 1024**2, 0)
        ]
    show(f"{side} x {side} pixels, {seeds} seeds with inclusions, as many without", rows(runs))


def run(folder: Path, side: int, seed: int, inclusions: int) -> dict[str, float]:
    """Return what came of an image, made or kept."""
    kept = folder / "strangers.jsonl"
    for line in kept.read_text().splitlines() if kept.exists() else []:
        known = json.loads(line)
        if (known["side"], known["seed"], known["planted"]) == (side, seed, inclusions):
            return known
    say(f"seed {seed}, {inclusions} inclusions")
    scale = 1024 / side
    image, planted = field(
        (side, side), seed=seed, inclusions=inclusions, grains=round(40 / scale),
        radii=(0.02 * scale, 0.06 * scale),
    )  # fmt: skip
    found = measured(image, planted)
    found |= {"side": side, "seed": seed, "planted": inclusions}
    with kept.open("a") as file:
        file.write(json.dumps(found) + "\n")
    return found


def measured(image: xr.DataArray, planted: list[Inclusion]) -> dict[str, float]:
    """Return how many are found, named and false, and what it took."""
    factors = eds_xr.nmf(eds_xr.rebin(image, y=4, x=4), 3)
    store = CountedReads(image, CHUNK)
    start = time.process_time()
    found = eds_xr.find_strangers(store.image, factors)
    cpu_s = time.process_time() - start
    at = [nearest(place, planted) for place in zip(found.middle_y, found.middle_x, strict=True)]
    hit = [one for one in at if one is not None]
    texts = found.elements.values.tolist()
    named = {
        id(one) for one, text in zip(at, texts, strict=True)
        if one is not None and one.element in text.split(", ")[0].split(" or ")
    }  # fmt: skip
    return {
        "found": len({id(one) for one in hit}),
        "named": len(named),
        "reported": len(at),
        "false": len(at) - len({id(one) for one in hit}),
        "reads": max(store.reads.values()),
        "cpu_s": round(cpu_s, 1),
        "background": below_lines(image),
    }


def nearest(place: tuple[xr.DataArray, xr.DataArray], planted: list[Inclusion]) -> Inclusion | None:
    """Return the inclusion at a place [nm], if there is one."""
    pixel = np.array([float(p) for p in place]) / 2.0
    far = [float(np.hypot(*(one.middle - pixel))) for one in planted]
    return planted[int(np.argmin(far))] if far and min(far) < NEAR_PIXELS else None


def below_lines(image: xr.DataArray) -> float:
    """Return the most counts that 5 pixels hold under the strongest line of a planted element."""
    mean = image.sum(("y", "x")).values / (image.sizes["y"] * image.sizes["x"])
    most = 0.0
    for element in FOREIGN:
        energy = line_energy_kev(f"{element}_Ka")
        inside = abs(image.energy.values - energy) < 1.18 * peak_sigma_kev(energy, 130.0)
        most = max(most, 5 * float(mean[inside].sum()))
    return round(most, 1)


def rows(runs: list[dict[str, float]]) -> list[common.Row]:
    """Return the rows of the table."""
    with_, none = ([r for r in runs if bool(r["planted"]) is there] for there in (True, False))
    planted = sum(r["planted"] for r in with_)
    rates = [r["false"] / max(r["reported"], 1) for r in with_]
    return [
        ("inclusions found", f"{sum(r['found'] for r in with_) / planted:.1%}", ">= 90 %"),
        ("of these named right", f"{sum(r['named'] for r in with_) / planted:.1%}", ""),
        ("false discovery rate", f"{np.mean(rates):.1%}", "<= 5 (2) %"),
        ("found in images without any", f"{sum(r['reported'] for r in none)}", "0"),
        ("reads of the store", f"{max(r['reads'] for r in runs)}", "< 4"),
        ("counts under a strongest line", f"{max(r['background'] for r in runs)}", "<= 10"),
        ("time of the processors [s]", f"{np.median([r['cpu_s'] for r in runs]):.0f}", ""),
    ]


if __name__ == "__main__":
    main()
