"""Thickness of films from the charge balance, against the thickness that they have.

    python tests/benchmarks/bench_thickness.py [--quick]

Wedges of nine oxides by the second simulator (`tests/support/independent`): xraylib's attenuation
and lines, a detector of its own; eds_xr fits the spectra and corrects with Elam's attenuation. The
k-factors are those of a thin standard in that simulator. Then tables as other laboratories would
have measured them are drawn (5 % for oxygen, 2 % for the others), and asked how often the intervals
of 95 % hold the film's thickness.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import Row, parser, show
from support.independent.materials import by_name
from support.wedge import COMPOUNDS, drawn_table, lines_of_film, mass_thickness, standard_k

from eds_xr import quantify

WEDGE_NM = (15, 30, 50, 80, 120, 180, 260)


def main() -> None:
    """Print, for each thickness, how near it was found and how often the interval held it."""
    chosen = parser(__doc__).parse_args()
    warnings.simplefilter("ignore")  # where a drawn table leaves no thickness, none is counted
    names = list(COMPOUNDS)[::4] if chosen.quick else list(COMPOUNDS)
    seeds, draws = (1, 4) if chosen.quick else (3, 12)
    rng = np.random.default_rng(0)
    of_thickness: dict[int, list[tuple[float, float, float]]] = {nm: [] for nm in WEDGE_NM}
    of_compound: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        for nm in WEDGE_NM:
            for seed in range(seeds):
                found = measured(name, nm, seed, draws, rng)
                of_thickness[nm].append(found)
                if nm >= 50:
                    of_compound[name].append(found[0])
    rows: list[Row] = []
    for nm, found in of_thickness.items():
        ratio, held, width = (np.array(part) for part in zip(*found, strict=True))
        text = f"{np.nanmedian(ratio):.3f} ({np.nanmin(ratio):.2f} to {np.nanmax(ratio):.2f})"
        within = f"{100 * np.mean(np.abs(ratio - 1) < 0.1):.0f} %"
        rows += [
            (f"{nm} nm: found / true, median (extremes)", text, "0.9 to 1.1"),
            (f"{nm} nm: within 10 %", within, ""),
            (f"{nm} nm: intervals of 95 % hold it", f"{100 * held.mean():.0f} %", "90 % or more"),
            (f"{nm} nm: half width of the interval", f"{100 * np.nanmedian(width):.0f} %", ""),
        ]
    show("Films by the charge balance, k-factors of a thin standard", rows)
    means = {n: f"{np.mean(r):.3f} +- {np.std(r):.3f}" for n, r in of_compound.items()}
    named = [(name, text, "0.9 to 1.1") for name, text in means.items()]
    show("By compound, films of 50 nm and more: found / true", named)


def measured(
    name: str, nm: float, seed: int, draws: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return thickness over truth, how often drawn tables' intervals held, and their half width."""
    lines = lines_of_film(name, nm, seed)
    table = standard_k(name, lines.line.values.tolist())
    true = mass_thickness(by_name(name), nm)
    how = {"thickness": "charge_balance", "valences": COMPOUNDS[name]}
    best = quantify(lines, table, **how)
    low, high = (float(best[f"mass_thickness_{e}"].sel(coverage=0.95)) for e in ("lower", "upper"))
    held = []
    for _ in range(draws):
        one = quantify(lines, drawn_table(table, rng), **how).sel(coverage=0.95)
        held.append(float(one.mass_thickness_lower) <= true <= float(one.mass_thickness_upper))
    return float(best.mass_thickness) / true, float(np.mean(held)), (high - low) / 2 / true


if __name__ == "__main__":
    main()
