"""Twelve samples that are not the study's, from counts to compositions, against an oracle.

    python tests/benchmarks/bench_any_sample.py [--seeds N] [--doses D ...] [--scenes NAME ...]
        [--segment] [--quick]

Presence: intersection over union with what is true, over the attainable (scores of the true
spectra, the best Gaussian and threshold). Majors (true atomic fraction above 0.1): root mean square
error over that of an oracle, the same fits and quantification with the true maps; errors of
k-factors and absorption, the same for both, are left out. Coverage: how often the 95 % intervals of
counting and calibration hold the truth, of all elements of the phases that were found. A phase is
found where a result's overlaps it by a third. With ``--segment`` presence alone, of ``segment``.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

import eds_xr
from eds_xr import EdsError

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (0, 1)]

import common  # noqa: E402
from common import say  # noqa: E402
from support import oracle  # noqa: E402
from support.independent.scenes import NAMES, scene  # noqa: E402

SHAPE = (128, 128)
#: An overlap (intersection over union) from which a phase counts as found.
FOUND_IOU = 1 / 3
MAJOR = 0.1
TWO_SIDED_95 = 1.96


def main() -> None:
    """Print a table for each dose."""
    make = common.parser(__doc__)
    make.add_argument("--seeds", type=int)
    make.add_argument("--doses", type=float, nargs="+")
    make.add_argument("--scenes", nargs="+", default=NAMES, choices=NAMES)
    make.add_argument("--shape", type=int, nargs=2, default=SHAPE)
    make.add_argument("--first-seed", type=int, default=1)
    make.add_argument("--segment", action="store_true", help="presence alone, of `segment`")
    args = make.parse_args()
    doses = args.doses or ([100.0] if args.quick else [20.0, 100.0, 400.0])
    seeds = range(args.first_seed, args.first_seed + (args.seeds or (1 if args.quick else 2)))
    for dose in doses:
        print(f"\n{dose:g} counts a pixel, {args.shape[0]} x {args.shape[1]}")
        judged = []
        for name in args.scenes:
            for seed in seeds:
                say(f"{name}, dose {dose:g}, seed {seed}")
                one = judge(name, dose, seed, tuple(args.shape), only_segment=args.segment)
                print(one.text(), flush=True)
                judged.append(one)
        print(summary(judged), flush=True)


@dataclass
class Judgement:
    """What is found in one image; by phase, or pooled."""

    title: str
    seconds: float = 0.0
    expected: int = 0
    found: int = 0
    spurious: int = 0
    presence: dict[str, tuple[float, float]] = field(default_factory=dict)  # found, attainable
    errors: dict[str, list[float]] = field(default_factory=dict)  # of majors, by way
    oracle_errors: dict[str, list[float]] = field(default_factory=dict)
    held: dict[str, list[bool]] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    must_say: list[str] = field(default_factory=list)

    def relative(self) -> list[float]:
        """Return presence over the attainable, of the phases expected."""
        return [iou / max(best, 1e-9) for iou, best in self.presence.values()]

    def text(self) -> str:
        """Return a paragraph."""
        shares = ", ".join(f"{n} {i:.3f}/{b:.3f}" for n, (i, b) in self.presence.items())
        lines = [
            f"{self.title}: {self.found} of {self.expected} phases, {self.spurious} more, "
            f"{self.seconds:.1f} s",
            f"    presence, attainable: {shares}",
        ]
        for way, errors in self.errors.items():
            best, held = self.oracle_errors[way], self.held[way]
            lines.append(
                f"    {way}: majors off by {_rms(errors):.4f}, oracle's {_rms(best):.4f}, "
                f"times {ratio(errors, best):.2f}; 95 % hold {_share(held):.3f} of {len(held)}"
            )
        if self.hosts:
            lines.append(f"    hosts: {', '.join(self.hosts)}")
        if self.must_say:
            lines.append(f"    must say: {', '.join(self.must_say)}")
        return "\n".join([*lines, *(f"    said: {line}" for line in self.said)])


def judge(
    name: str, dose: float, seed: int, shape: tuple[int, int], *, only_segment: bool
) -> Judgement:
    """Make one image, analyse it, and compare with the truth."""
    image, full = scene(name, dose, seed, shape)
    truth = oracle.grouped(full)
    made = Judgement(f"{name}, seed {seed}", must_say=list(full.attrs["must_say"]))
    start = time.perf_counter()
    tree = segmented(image, made) if only_segment else analysed(image, made)
    made.seconds = time.perf_counter() - start
    attainable = oracle.attainable_presence(image, truth)
    found = present_of(tree["segmentation"].to_dataset()) if "segmentation" in tree else None
    pairs = presence(found, truth, attainable, made)
    if not only_segment:
        made.hosts = hosts(tree, truth, pairs)
        compositions(tree, image, full, truth, pairs, made)
    return made


def segmented(image: xr.DataArray, made: Judgement) -> xr.DataTree:
    """Return what ``segment`` finds, as a tree; nothing where it gives up."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = eds_xr.segment(image).compute()
        except EdsError as why:
            made.said.append(f"EdsError: {why}")
            return xr.DataTree()
    made.said += [str(w.message) for w in caught] + list(found.attrs.get("phase_notes", []))
    return xr.DataTree.from_dict({"segmentation": found})


def analysed(image: xr.DataArray, made: Judgement) -> xr.DataTree:
    """Return what ``analyse`` makes of the image."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            tree: xr.DataTree = eds_xr.analyse(image)
            tree = tree.compute()
        except EdsError as why:
            made.said.append(f"EdsError: {why}")
            return xr.DataTree()
    made.said += list(dict.fromkeys(str(w.message) for w in caught))
    made.said += [f"tree: {text}" for text in tree.attrs.get("warnings", [])]
    if "segmentation" in tree:
        made.said += [f"note: {text}" for text in tree.segmentation.attrs.get("phase_notes", [])]
    return tree


def present_of(segmentation: xr.Dataset) -> xr.DataArray:
    """Return which phases are where; of a label alone, each phase where it is labelled."""
    if "present" in segmentation:
        return segmentation.present
    numbers = np.arange(1, len(str(segmentation.label.attrs["flag_meanings"]).split()))
    phases = xr.DataArray(numbers, {"phase": numbers})
    return segmentation.label == phases


def presence(
    found: xr.DataArray | None,
    truth: xr.Dataset,
    attainable: dict[str, float],
    made: Judgement,
) -> dict[str, Any]:
    """Match phases one to one; return the found phase of each true one that is found."""
    names = truth.phase.values.tolist()
    expected = dict(zip(names, truth.expected_found.values.tolist(), strict=True))
    made.expected = sum(expected.values())
    made.presence = {n: (0.0, attainable[n]) for n in names if expected[n]}
    if found is None or not found.sizes["phase"]:
        return {}
    alive = ~truth.dead.values
    masks = [mask & alive for mask in found.transpose("phase", ...).values.astype(bool)]
    table = np.array([[oracle.iou(m, true) for m in masks] for true in truth.present.values])
    pairs = {}
    for row, column in zip(*linear_sum_assignment(-table), strict=True):
        name = names[row]
        if expected[name]:
            made.presence[name] = (table[row, column], attainable[name])
        if table[row, column] >= FOUND_IOU:
            pairs[name] = found.phase.values.tolist()[column]
    made.found = sum(expected[name] for name in pairs)
    made.spurious = len(masks) - len(pairs)
    return pairs


def hosts(tree: xr.DataTree, truth: xr.Dataset, pairs: dict[str, Any]) -> list[str]:
    """Tell for each phase found whether its host is the true one."""
    found = json.loads(tree.attrs.get("hosts", "{}"))
    true_names = {v: k for k, v in pairs.items()} | {"": ""}
    told = []
    for name, phase in pairs.items():
        true = str(truth.host.sel(phase=name).values)
        own = true_names.get(found.get(phase, ""), found.get(phase, ""))
        told.append(f"{name} right" if own == true else f"{name} in {own or 'none'}, not {true!r}")
    return told


def compositions(
    tree: xr.DataTree,
    image: xr.DataArray,
    full: xr.Dataset,
    truth: xr.Dataset,
    pairs: dict[str, Any],
    made: Judgement,
) -> None:
    """Compare compositions of both ways, where the tree has them, with the oracle's."""
    strays, elements = full.attrs["strays"], full.element.values.tolist()
    spectra_of = {
        "composition": oracle.spectra_of_pure_pixels,
        "refined_composition": oracle.spectra_of_all_pixels,
    }
    lines_of = {"composition": "lines", "refined_composition": "refined_lines"}
    for way, spectra in spectra_of.items():
        if way == "refined_composition" and truth.sizes["phase"] == 1:
            continue  # all pixels are the region
        best_lines, best = oracle.quantified(spectra(image, truth), truth, elements, strays)
        expected = oracle.expected_fractions(truth, best, best_lines)
        made.errors[way], made.oracle_errors[way], made.held[way] = [], [], []
        own = tree[way].to_dataset() if way in tree else None
        lines = tree[lines_of[way]].to_dataset() if lines_of[way] in tree else None
        for name in best.phase.values.tolist():
            if not bool(truth.expected_found.sel(phase=name)):
                continue
            right = expected.sel(phase=name)
            majors = right.element.values[right.values > MAJOR]
            made.oracle_errors[way] += _errors(best.sel(phase=name), right, majors)
            phase = pairs.get(name)
            if own is None or phase not in own.phase.values:
                made.errors[way] += right.sel(element=majors).values.tolist()
                continue
            found = own.sel(phase=phase)
            own_right = right if lines is None else _own_expected(truth, own, lines).sel(phase=name)
            made.errors[way] += _errors(found, own_right, majors)
            made.held[way] += _held(found, own_right)


def _own_expected(truth: xr.Dataset, own: xr.Dataset, lines: xr.Dataset) -> xr.DataArray:
    return oracle.expected_fractions(truth, own, lines)


def _errors(found: xr.Dataset, right: xr.DataArray, majors: np.ndarray) -> list[float]:
    """Return what the majors are off by, both brought to sum 1 over the elements of the truth."""
    fraction = found.atomic_fraction.reindex(element=right.element, fill_value=0.0)
    scale = float(fraction.sum()) or 1.0
    expected = right.reindex(element=majors, fill_value=0.0)
    away = fraction.reindex(element=majors, fill_value=0.0) / scale - expected
    return [float(a) for a in away.values]


def _held(found: xr.Dataset, right: xr.DataArray) -> list[bool]:
    """Return which 95 % intervals hold the truth."""
    own = found.sel(element=right.element)
    away = own.atomic_fraction / own.atomic_fraction.sum() - right
    sigma = own.atomic_fraction_variance**0.5
    assumed = own.assumed if "assumed" in own else xr.zeros_like(sigma, bool)
    told = np.isfinite(sigma.values) & ~assumed.values
    return (np.abs(away.values) <= TWO_SIDED_95 * sigma.values)[told].tolist()


def summary(judged: list[Judgement]) -> str:
    """Return what all images of a dose come to."""
    relative = np.array([r for one in judged for r in one.relative()])
    right = sum(one.found == one.expected and not one.spurious for one in judged)
    lines = [
        f"in all: phases right in {right} of {len(judged)} images; presence over the attainable: "
        f"median {np.median(relative):.3f}, least {relative.min():.3f}, "
        f"at least 0.97 in {np.mean(relative >= 0.97):.2f} of the phases"
    ]
    for way in dict.fromkeys(way for one in judged for way in one.errors):
        having = [one for one in judged if way in one.errors]
        ratios = [ratio(one.errors[way], one.oracle_errors[way]) for one in having]
        held = [h for one in judged for h in one.held.get(way, [])]
        lines.append(
            f"    {way}: error over the oracle's, median {np.nanmedian(ratios):.2f}, at most 1.3 "
            f"in {np.mean(np.array(ratios) <= 1.3):.2f} of the images; "
            f"95 % hold {_share(held):.3f} of {len(held)}"
        )
    return "\n".join(lines)


def ratio(errors: list[float], best: list[float]) -> float:
    """Return the root mean square error over the oracle's, NaN where there is none."""
    return _rms(errors) / max(_rms(best), 1e-9) if best else np.nan


def _share(held: list[bool]) -> float:
    return float(np.mean(held)) if held else np.nan


def _rms(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values else np.nan


if __name__ == "__main__":
    main()
