"""What lines and elements are found in spectra that are not simulated with the package's tables.

    python tests/benchmarks/bench_foreign_spectra.py [--seeds N] [--counts N ...] [--part PART]

Spectra of the second simulator (`tests/support/independent`): xraylib's lines, Bote and Salvat's
cross-sections, another background, a low-energy tail, an axis that is off by 12 eV and 0.3 %.
Net counts are fitted with all elements given; elements are identified with none given.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import common
import numpy as np
import xarray as xr
from common import Row, say, show, timed

sys.path.insert(0, str(Path(__file__).parents[1]))  # the second simulator stands beside the tests

from support.independent.materials import MATERIALS, OVERLAPS, Material
from support.independent.spectra import (
    STRAYS,
    Microscope,
    draw,
    perfect,
    significance,
    truth,
)

import eds_xr

QUICK = ("stainless steel 316", "gallium nitride", "molybdenite", "monazite")
#: An element is to be found when its strongest true line stands above this [sigma].
SURE = 5.0
#: Where identify looks by default, and where the detector starts [keV].
RANGES = {"in 0.4 to 20 keV": (0.4, 20.0), "in 0.2 to 20 keV": (0.2, 20.0)}


@dataclass
class Fits:
    """What fits of a sample found: a list entry a line and seed."""

    line: list[str] = field(default_factory=list)
    pull: list[float] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    chi2: list[float] = field(default_factory=list)
    warned: list[bool] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass
class Identified:
    """What `identify` said of a spectrum."""

    missed: dict[str, list[str]]
    wanted: dict[str, int]
    false: list[str]
    seconds: float
    failed: str = ""


def main() -> None:
    """Print tables for each number of counts."""
    args = arguments()
    microscope = perfect() if args.ideal else Microscope()
    materials = [m for m in MATERIALS[:: args.every] if not args.quick or m.name in QUICK]
    for counts in args.counts:
        if args.part != "identify":
            compare_fits(materials, counts, args.seeds, microscope)
        if args.part != "fits":
            compare_elements(materials, counts, args.seeds, microscope)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--seeds", type=int, help="spectra of each sample")
    parser.add_argument("--counts", type=float, nargs="+", help="in a spectrum")
    parser.add_argument("--part", choices=("fits", "identify", "both"), default="both")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th material")
    parser.add_argument("--ideal", action="store_true", help="axis right, no tail: tables alone")
    args = parser.parse_args()
    args.seeds = args.seeds or (1 if args.quick else 5)
    args.counts = args.counts or ([1e5] if args.quick else [1e4, 1e5, 1e6])
    return args


# -- net counts ----------------------------------------------------------------------------------


def compare_fits(
    materials: Sequence[Material], counts: float, seeds: int, microscope: Microscope
) -> None:
    """Print bias and pulls of each overlap's lines, then those of all materials together."""
    rows = []
    for name, sample in OVERLAPS.items():
        found = fits_of(sample, counts, seeds, microscope)
        rows += line_rows(name, found)
    head = ("overlap: line", "bias, pull, sd, chi2", "warned")
    show(f"Overlaps, {counts:g} counts, {seeds} seeds", rows, head)
    every = {}
    for sample in materials:
        say(f"fits: {sample.name}")
        every[sample.name] = fits_of(sample, counts, seeds, microscope)
    show(f"All materials, {counts:g} counts, {seeds} seeds", pooled_rows(every))


def fits_of(sample: Material, counts: float, seeds: int, microscope: Microscope) -> Fits:
    """Fit spectra of a sample, with all its elements given."""
    known = truth(sample.atoms, counts, microscope=microscope)
    found = Fits()
    for seed in range(seeds):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                stray = [e for e in STRAYS if e not in sample.atoms]
                fit = eds_xr.fit_lines(draw(known, seed), list(sample.atoms), stray=stray)
            except (eds_xr.EdsError, np.linalg.LinAlgError) as error:
                found.failed.append(f"{type(error).__name__}: {error}")
                continue
        collect(found, fit, known.net, any(issubclass(w.category, UserWarning) for w in caught))
    return found


def collect(found: Fits, fit: xr.Dataset, net: xr.DataArray, warned: bool) -> None:
    """Add a fit's lines to those found."""
    for line in fit.line.values:
        if line not in net.line.values:
            found.failed.append(f"{line} is not a line of the other table")
            continue
        true, one = float(net.sel(line=line)), fit.sel(line=line)
        found.line.append(str(line))
        found.bias.append(float(one.net) / true - 1)
        found.pull.append((float(one.net) - true) / float(one.variance) ** 0.5)
        found.chi2.append(float(fit.reduced_chi2))
        found.warned.append(warned)


def line_rows(name: str, found: Fits) -> list[Row]:
    """Return a row a line: mean relative bias, mean and standard deviation of pulls."""
    rows = [(f"{name}: failed", text, "") for text in dict.fromkeys(found.failed)]
    for line in dict.fromkeys(found.line):
        part = [i for i, other in enumerate(found.line) if other == line]
        bias, pull, chi2 = (
            np.array(values)[part] for values in (found.bias, found.pull, found.chi2)
        )
        text = f"{100 * bias.mean():+.1f} %, {pull.mean():+.1f}, {pull.std():.1f}"
        warned = np.array(found.warned)[part].mean()
        rows.append((f"{name}: {line}", f"{text}, {chi2.mean():.2f}", f"{100 * warned:.0f} %"))
    return rows


def pooled_rows(every: dict[str, Fits]) -> list[Row]:
    """Return coverage, pulls and chi2 over all materials, and the worst lines."""
    pull = np.concatenate([f.pull for f in every.values()])
    bias = np.concatenate([f.bias for f in every.values()])
    held = 100 * np.mean(np.abs(pull) < 1.96)
    chi2 = np.concatenate([f.chi2 for f in every.values()])
    warned = np.concatenate([f.warned for f in every.values()])
    failed = [f"{name}: {text}" for name, f in every.items() for text in dict.fromkeys(f.failed)]
    names = [f"{n}: {line}" for n, f in every.items() for line in f.line]
    by_line: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        by_line.setdefault(name, []).append(i)
    means = {name: (pull[i].mean(), bias[i].mean()) for name, i in by_line.items()}
    worst = sorted(means, key=lambda name: -abs(means[name][0]))[:12]
    rows: list[Row] = [
        ("95 % intervals that hold the truth", f"{held:.0f} %", "at least 90 %"),
        ("root mean square pull", f"{np.sqrt(np.mean(pull**2)):.2f}", "1"),
        ("median of |pull|", f"{np.median(np.abs(pull)):.2f}", "0.67"),
        ("median of |bias|", f"{100 * np.median(np.abs(bias)):.1f} %", ""),
        ("reduced chi2, median and largest", f"{np.median(chi2):.2f}, {chi2.max():.1f}", "1"),
        ("fits with a warning", f"{100 * warned.mean():.0f} %", ""),
        ("fits that failed", str(len(failed)), "0"),
    ]
    rows += [("failed", text[:100], "") for text in failed]
    return rows + [
        (f"worst: {name}", f"{means[name][0]:+.1f} s", f"{100 * means[name][1]:+.1f} %")
        for name in worst
    ]


# -- elements ------------------------------------------------------------------------------------


def compare_elements(
    materials: Sequence[Material], counts: float, seeds: int, microscope: Microscope
) -> None:
    """Print what was missed and what was false, a row a material, and all together."""
    rows, every = [], []
    for sample in materials:
        known = truth(sample.atoms, counts, microscope=microscope)
        found = [identified(known, sample, seed) for seed in range(seeds)]
        every.append(found)
        missed = _names(e for one in found for e in one.missed["in 0.4 to 20 keV"])
        false = _names(e for one in found for e in one.false)
        failed = _names(one.failed for one in found if one.failed)
        times = [one.seconds for one in found]
        text = f"missed {missed or '-'}; false {false or '-'} {failed}".strip()
        rows.append((sample.name, text, f"{np.mean(times):.1f} s"))
        say(": ".join(rows[-1]))
    show(f"Elements, {counts:g} counts, {seeds} seeds", rows, ("material", "elements", "time"))
    show(f"Elements of all materials, {counts:g} counts", summary(every, counts))


def identified(known: xr.Dataset, sample: Material, seed: int) -> Identified:
    """Return what `identify` misses, of elements that stand out, and what it invents."""
    true = {*sample.atoms, *STRAYS}
    sure = {name: _sure(known, limits) for name, limits in RANGES.items()}
    wanted = {name: len(elements) for name, elements in sure.items()}
    try:
        seconds, made = timed(lambda: eds_xr.identify(draw(known, seed)))
    except (eds_xr.EdsError, np.linalg.LinAlgError) as error:
        return Identified(sure, wanted, [], np.nan, type(error).__name__)
    found = {str(e) for e in made.element.values[made.found.values]}
    missed = {name: [e for e in elements if e not in found] for name, elements in sure.items()}
    return Identified(missed, wanted, sorted(found - true), seconds)


def summary(every: list[list[Identified]], counts: float) -> list[Row]:
    """Return recall, materials with a false element, and times."""
    flat = [one for found in every for one in found]
    rows: list[Row] = []
    for name in RANGES:
        missed, wanted = (
            sum(len(one.missed[name]) for one in flat),
            sum(one.wanted[name] for one in flat),
        )
        rows.append((f"recall, lines {name}", f"{100 * (1 - missed / wanted):.1f} %", "98 %"))
    bad = np.mean([bool(one.false) for one in flat])
    times = [one.seconds for one in flat]
    failed = sum(bool(one.failed) for one in flat)
    goal = f"at most {100 * (3 if counts < 5e5 else 5) / 33:.0f} %"
    return [
        *rows,
        ("spectra with a false element", f"{100 * bad:.0f} % of {len(flat)}", goal),
        ("time, median and longest", f"{np.nanmedian(times):.1f} s, {np.nanmax(times):.1f} s", "3"),
        ("spectra that raised an error", str(failed), "0"),
    ]


def _sure(known: xr.Dataset, limits: tuple[float, float]) -> list[str]:
    stands = significance(known, limits)
    return [str(e) for e in stands.element.values[stands.values > SURE]]


def _names(names: Iterable[str]) -> str:
    """Return names, each with how often it came when more than once."""
    listed = list(names)
    counted = {name: listed.count(name) for name in dict.fromkeys(listed)}
    return ", ".join(f"{n} x{k}" if k > 1 else n for n, k in counted.items())


if __name__ == "__main__":
    main()
