"""Whether the errors of net counts are true where peaks coincide: own tables, and tables drawn.

    python tests/benchmarks/bench_line_errors.py [--seeds N] [--counts N ...]

The classical overlaps. First with the package's own tables: counts are drawn, calibration and
shapes fitted, and pulls are differences from the truth over the errors of counting and calibration.
Then each seed draws its own tables and detector from what is stated of them, too, and pulls are
over all errors. (Tables that are not the package's: `bench_foreign_spectra.py`.)
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import common
import numpy as np
import xarray as xr
from common import Row, say, show

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.independent.materials import OVERLAPS

import eds_xr
from eds_xr import simulate
from eds_xr.spectra.shapes.families import Calibration, families_seen
from eds_xr.spectra.shapes.weak_knowledge import WeakKnowledge
from eds_xr.xray.detector import peak_sigma_kev

ENERGY = -0.2 + 0.01 * np.arange(1300)
TRUE_AXIS = Calibration(noise_kev2=float(peak_sigma_kev(0.0) ** 2))
ATTRS = {"beam_energy_kev": 200.0, "energy_resolution_mnka_ev": 130.0}
STRAY = ["Cu", "Ga"]  # of the simulated microscope
LOWEST_KEV = 0.7  # O and C lie below the range of the fit


def main() -> None:
    """Print a table for each number of counts and kind of truth."""
    args = arguments()
    warnings.simplefilter("ignore", UserWarning)
    for counts in args.counts:
        for drawn in (False, True):
            found = {}
            for name in OVERLAPS:
                say(f"{name}, {counts:g} counts, {'drawn' if drawn else 'own'} tables")
                found[name] = pulls(name, counts, args.seeds, drawn)
            kind = "drawn tables, all errors" if drawn else "own tables, counting + calibration"
            show(f"{counts:g} counts, {args.seeds} seeds: {kind}", rows(found))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    made = common.parser(__doc__)
    made.add_argument("--seeds", type=int)
    made.add_argument("--counts", type=float, nargs="+")
    args = made.parse_args()
    args.seeds = args.seeds or (10 if args.quick else 200)
    args.counts = args.counts or ([1e5] if args.quick else [1e4, 1e5, 1e6])
    return args


def pulls(name: str, counts: float, seeds: int, drawn: bool) -> dict[str, np.ndarray]:
    """Return the pulls of each line of an overlap [seed]."""
    atoms = OVERLAPS[name].atoms
    elements = [e for e in atoms if e != "O"]
    bare = simulate.Instrument(background=0.3)
    loadings = simulate.phase_spectra((simulate.Phase("a", atoms),), ENERGY, instrument=bare)
    mean = counts * loadings.loadings.isel(phase=0)
    tabulated = eds_xr.fit_lines(spectra(mean), elements, stray=STRAY, calibration=TRUE_AXIS)
    found: dict[str, list[float]] = {str(n): [] for n in tabulated.line.values}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        expected, true = other_tables(mean, tabulated.net, [*atoms, *STRAY], rng) if drawn else (
            mean, tabulated.net)  # fmt: skip
        noisy = expected.copy(data=rng.poisson(np.maximum(expected, 0)).astype(float))
        fit = eds_xr.fit_lines(spectra(noisy), elements, stray=STRAY)
        effects = fit.effect.values if drawn else ["counting", "calibration"]
        parts = fit.effect_covariance.sel(effect=effects).sum("effect")
        off = (fit.net - true) / np.sqrt(np.diagonal(parts))
        for line, values in found.items():
            values.append(float(off.sel(line=line)))
    return {line: np.array(values) for line, values in found.items()}


def other_tables(
    mean: xr.DataArray, net: xr.DataArray, elements: list[str], rng: np.random.Generator
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return a spectrum and its net counts with tables and detector drawn from what is known."""
    families = families_seen(elements, ENERGY[ENERGY > LOWEST_KEV], 200.0)
    weak = WeakKnowledge(ENERGY, families, TRUE_AXIS, 200.0)
    zero = np.zeros(weak.effects.size)
    x = rng.normal(size=zero.size)
    plain, other = weak.at(zero), weak.at(x)
    inside = ENERGY > LOWEST_KEV
    terms = np.hstack([plain.peaks, np.vander(np.sqrt(ENERGY.clip(0.05)), 12)])[inside]
    scale = np.linalg.norm(terms, axis=0)
    amounts = (np.linalg.lstsq(terms / scale, mean.values[inside], rcond=1e-12)[0] / scale)[
        : len(families)
    ]
    changed = mean.copy(data=mean.values + (other.peaks - plain.peaks) @ amounts)
    before, after = (
        {n: s for f in weak.families_at(at) for n, s in f.groups.items()} for at in (zero, x)
    )
    ratio = [after[str(n)] / before[str(n)] for n in net.line.values]
    return changed, net * ratio


def spectra(counts: xr.DataArray) -> xr.Dataset:
    """Return counts as spectra, their own variance."""
    return xr.Dataset({"counts": counts, "variance": counts}, attrs=ATTRS)


def rows(found: dict[str, dict[str, np.ndarray]]) -> list[Row]:
    """Return mean, spread and coverage of the pulls, a row a line, and all together."""
    made: list[Row] = []
    for name, lines in found.items():
        for line, values in lines.items():
            held = 100 * np.mean(np.abs(values) < 1.96)
            text = f"{values.mean():+.2f}, {values.std():.2f}, {held:.0f} %"
            made.append((f"{name}: {line}", text, "0, 0.85 to 1.15, 90 %"))
    pooled = np.concatenate([v for lines in found.values() for v in lines.values()])
    held = 100 * np.mean(np.abs(pooled) < 1.96)
    return [*made, ("all", f"{pooled.mean():+.2f}, {pooled.std():.2f}, {held:.1f} %", "93 %")]


if __name__ == "__main__":
    main()
