"""How often the quick tests of an image flag what is wrong with it, and what is not.

    python tests/benchmarks/bench_check.py [--clean N] [--runs N] [--kinds KIND ...]
        [--first-seed N] [--road] [--counts N] [--shape H W] [--kept FILE]

Images of a foil with grains in a matrix, two materials of the catalogue at random, from tables and
peak shapes that are not the package's. Given to the tests: the pixels that truly hold one phase,
and the elements that are truly there (for `missing`, without the one that is added): what the road
finds on its own is not part of this benchmark. Six misfits: `gain`, the axis of the last row reads
0.5 % more than that of the first; `pile-up`, each photon is counted together with another with a
chance of 2 %; `width`, a detector 8 % wider at Mn Ka than the file says; `missing`, 1 at% of
another element in all phases; `thickness`, a foil that varies by 30 % (standard deviation) over
some 8 pixels; `variance`, photons that are counted twice at random, so that the variance is 1.3
times the mean.
With `--road` the tests are those of `analyse`, which is told nothing: it finds elements, phases and
pure pixels by itself, and takes some ten times as long.
With `--kept` runs are kept in a file, line by line, and not made again.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (0, 1)]

import common  # noqa: E402
from support.independent.detector import Detector  # noqa: E402
from support.independent.foil import atom_fractions  # noqa: E402
from support.independent.grains import Grain, lengths_nm, phases_of  # noqa: E402
from support.independent.images import MICROSCOPE, image_of_lengths  # noqa: E402
from support.independent.materials import MATERIALS, Material  # noqa: E402

from eds_xr.analysis.analyse import analyse  # noqa: E402
from eds_xr.analysis.self_check.misfits import misfits  # noqa: E402

KINDS = ("clean", "gain", "pile-up", "width", "missing", "thickness", "variance")
#: Which tests are about a misfit.
ABOUT = {
    "gain": ("gain along y",), "pile-up": ("pile-up",), "width": ("peak width",),
    "missing": ("missing element",), "thickness": ("thickness",),
    "variance": ("variance of channels", "variance of totals"),
}  # fmt: skip
GAIN, PILE_UP, WIDTH, ATOMS, THICKNESS, VARIANCE = 0.005, 0.02, 1.08, 0.01, 0.3, 1.3
#: Elements that are added; none is a stray element or in most materials.
ADDED = ("P", "S", "Cl", "K", "Ca", "Ti", "V", "Mn", "Co", "Zn")
#: A pixel holds one phase where others give less of its counts.
PURE = 0.02


def main() -> None:
    """Print how often each test flags each kind of image."""
    make = common.parser(__doc__)
    make.add_argument("--clean", type=int)
    make.add_argument("--runs", type=int)
    make.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    make.add_argument("--counts", type=float, default=1e6)
    make.add_argument("--shape", type=int, nargs=2, default=(96, 96))
    make.add_argument("--first-seed", type=int, default=0)
    make.add_argument("--road", action="store_true")
    make.add_argument("--kept", type=Path)
    args = make.parse_args()
    clean = args.clean or (10 if args.quick else 200)
    runs = args.runs or (5 if args.quick else 60)
    kept = read(args.kept)
    for kind in args.kinds:
        for seed in range(args.first_seed, args.first_seed + (clean if kind == "clean" else runs)):
            if (kind, seed) in kept:
                continue
            kept[kind, seed] = found = run(
                kind, seed, args.counts, tuple(args.shape), by_road=args.road
            )
            if args.kept is not None:
                with args.kept.open("a") as file:
                    file.write(json.dumps(found) + "\n")
        print(summary(kind, [v for (k, _), v in kept.items() if k == kind]), flush=True)


def read(path: Path | None) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the runs that were kept."""
    if path is None or not path.exists():
        return {}
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return {(one["kind"], one["seed"]): one for one in found}


def run(
    kind: str, seed: int, counts: float, shape: tuple[int, int], *, by_road: bool
) -> dict[str, Any]:
    """Make an image and test it."""
    image, pure, elements, strays = made(kind, seed, counts, shape)
    start = time.perf_counter()
    found = of_road(image) if by_road else of_truth(image, pure, elements, strays)
    return {
        "kind": kind, "seed": seed, "seconds": time.perf_counter() - start,
        "phases": pure.phase.values.tolist(),
        "tests": {
            str(t): {
                "chance": float(one.chance), "size": float(one["size"]), "sd": float(one.size_sd),
                "flagged": bool(one.flagged), "text": str(one.text.values),
            }
            for t, one in ((t, found.sel(test=t)) for t in found.test.values)
        },
    }  # fmt: skip


def of_truth(
    image: xr.DataArray, pure: xr.DataArray, elements: list[str], strays: list[str]
) -> xr.Dataset:
    """Return the tests of an image whose pure pixels and elements are told."""
    total = image.sum(("y", "x")).astype(float)
    whole = xr.Dataset({"counts": total, "variance": total}, attrs=image.attrs)
    return misfits(image, pure, whole, elements, stray=strays)


def of_road(image: xr.DataArray) -> xr.Dataset:
    """Return the tests of an image of which `analyse` is told nothing; none where it found none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = analyse(image.chunk(), say=lambda text: None)
        if "check" not in tree:
            return xr.Dataset(coords={"test": []})
        return tree["check"].to_dataset().compute()


def summary(kind: str, runs: list[dict[str, Any]]) -> str:
    """Return what the runs of a kind come to."""
    names = list(dict.fromkeys(t for one in runs for t in one["tests"]))
    by_test = {
        t: np.mean([one["tests"].get(t, {"flagged": False})["flagged"] for one in runs])
        for t in names
    }
    any_ = np.mean([any(t["flagged"] for t in one["tests"].values()) for one in runs])
    about = ABOUT.get(kind, ())
    right = np.mean(
        [any(one["tests"][t]["flagged"] for t in about if t in one["tests"]) for one in runs]
    )
    seconds = np.median([one["seconds"] for one in runs])
    told = ", ".join(f"{t} {share:.3f}" for t, share in by_test.items())
    first = f"flagged as such {right:.3f}, " if about else ""
    return f"{kind}: {len(runs)} images, {seconds:.2f} s; {first}by any test {any_:.3f}; {told}"


def made(
    kind: str, seed: int, counts: float, shape: tuple[int, int]
) -> tuple[xr.DataArray, xr.DataArray, list[str], list[str]]:
    """Return an image, its pure pixels, the elements of the fit and stray elements."""
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    one, other = (MATERIALS[i] for i in rng.choice(len(MATERIALS), 2, replace=False))
    elements = list(dict.fromkeys([*one.atoms, *other.atoms]))
    if kind == "missing":
        added = str(rng.choice([e for e in ADDED if e not in elements]))
        one, other = (_with_more(m, added) for m in (one, other))
    grains = [
        Grain(other, tuple(rng.uniform(0.2, 0.8, 2)), tuple(rng.uniform(0.1, 0.25, 2)))
        for _ in range(3)
    ]
    phases = phases_of(one, grains)
    length, _ = lengths_nm(phases, grains, shape, 100.0, 0.0, False)
    if kind == "thickness":
        length = length * _field(rng, shape)
    microscope = MICROSCOPE
    if kind == "width":
        wide = Detector(resolution_mnka_ev=WIDTH * MICROSCOPE.detector.resolution_mnka_ev)
        microscope = replace(MICROSCOPE, detector=wide)
    dose = counts / np.prod(shape)
    twice = (VARIANCE - 1) / (3 - VARIANCE)  # (1 + 3 p) / (1 + p) is the variance over the mean
    if kind == "variance":
        dose /= 1 + twice
    image, truth = image_of_lengths(phases, length, dose, seed=seed, microscope=microscope)
    image.attrs["energy_resolution_mnka_ev"] = MICROSCOPE.detector.resolution_mnka_ev
    changed = {"gain": drifting, "pile-up": piled_up}.get(kind)
    if changed is not None:
        image = image.copy(data=changed(image.values, image.energy.values, rng))
    if kind == "variance":
        image = image.copy(data=image.values + rng.binomial(image.values, twice).astype(np.uint16))
    pure = truth.share > 1 - PURE
    strays = [e for e in ("Cu", "C") if e not in elements]
    return image, pure, elements, strays


def drifting(counts: np.ndarray, energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return counts whose axis reads more and more, from the first row to the last."""
    row, column, events = _events(counts)
    step = energy[1] - energy[0]
    read = energy[events] + step * rng.uniform(-0.5, 0.5, events.size)
    read = read * (1 + GAIN * row / (len(counts) - 1))
    return _recorded(counts, row, column, read, energy)


def piled_up(counts: np.ndarray, energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return counts of which some are of two photons at once, those of any pixel."""
    row, column, events = _events(counts)
    step = energy[1] - energy[0]
    read = energy[events] + step * rng.uniform(-0.5, 0.5, events.size)
    order = rng.permutation(events.size)
    number = round(PILE_UP * events.size)
    first, second = order[:number], order[number : 2 * number]
    read[first] += read[second] - MICROSCOPE.detector.offset_ev / 1000  # it is added once
    kept = np.ones(events.size, bool)
    kept[second] = False
    return _recorded(counts, row[kept], column[kept], read[kept], energy)


def _events(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    places = np.nonzero(counts)
    row, column, channel = (np.repeat(p, counts[places]) for p in places)
    return row, column, channel


def _recorded(
    like: np.ndarray, row: np.ndarray, column: np.ndarray, read: np.ndarray, energy: np.ndarray
) -> np.ndarray:
    step = energy[1] - energy[0]
    channel = np.rint((read - energy[0]) / step).astype(int)
    seen = (channel >= 0) & (channel < energy.size)
    made = np.zeros_like(like)
    np.add.at(made, (row[seen], column[seen], channel[seen]), 1)
    return made


def _with_more(material: Material, element: str) -> Material:
    atoms = {e: (1 - ATOMS) * share for e, share in atom_fractions(material.atoms).items()}
    return replace(material, atoms=atoms | {element: ATOMS})


def _field(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return relative thicknesses that vary over some eight pixels."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(rng.normal(size=shape), 4.0, mode="wrap")
    return np.asarray(np.clip(1 + THICKNESS * smooth / smooth.std(), 0.1, None))


if __name__ == "__main__":
    main()
