"""Angles of the loadings to the true spectra, against peers, on simulated assemblages.

    python tests/benchmarks/bench_nmf_truth.py [--peers-python PATH] [--work FOLDER] [--quick]

Every (assemblage, dose, seed) is simulated once. Each method finds as many components as there
are phases; components are matched to phases one to one by the least sum of angles. Peers' angles
are kept in the working folder and used again, ours are always measured anew.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import numpy as np
import sklearn
import xarray as xr
from common import Row, Shape, say, show

import eds_xr
from eds_xr import simulate
from eds_xr.samples.phases import Phase

BRIDGMANITE, FERROPERICLASE, CA_PEROVSKITE = simulate.PYROLITE_71GPA
METAL = Phase("metal", {"Fe": 0.88, "Ni": 0.12}, 0.05, (6.0, 15.0), 0.6, 1.2)
STISHOVITE = Phase("stishovite", {"Si": 1, "O": 2}, 0.15, (15.0, 35.0), 0.7, 0.95)
ALUMINOUS = Phase(
    "Al phase", {"Na": 0.4, "Mg": 0.6, "Al": 1.6, "Si": 0.4, "O": 4}, 0.1, (10.0, 25.0), 0.6
)
#: A pyrolite, the same with metal, and a basalt.
ASSEMBLAGES = {
    3: simulate.PYROLITE_71GPA,
    4: (*simulate.PYROLITE_71GPA, METAL),
    5: (BRIDGMANITE, CA_PEROVSKITE, STISHOVITE, ALUMINOUS, METAL),
}
#: A phase is lost when nothing closer than this to it is found, although it has these counts.
LOST_DEG, LOST_SHARE, LOST_DOSE = 30.0, 0.02, 100.0
#: Name of the bound that the noise sets.
WITH_TRUE_SCORES = "(true scores known)"
#: HyperSpy's factorisation is scikit-learn's; this is its default there, and it stops earlier.
HYPERSPY_ITERATIONS = 200
#: Pixels of the simulations are larger, so that small images hold many grains.
INSTRUMENT = simulate.Instrument(pixel_size_nm=3.0)


@dataclass(frozen=True)
class Trial:
    """One simulated image."""

    phases: int
    dose: float
    seed: int
    shape: Shape

    @property
    def name(self) -> str:
        """What tells it from others."""
        size = "x".join(map(str, self.shape))
        return f"{self.phases} phases, dose {self.dose:g}, seed {self.seed}, {size}"

    @property
    def recipe(self) -> dict[str, Any]:
        """Arguments of the simulation."""
        return {"seed": self.seed, "phases": ASSEMBLAGES[self.phases], "instrument": INSTRUMENT}


@dataclass(frozen=True)
class Outcome:
    """What one method found in one image."""

    trial: Trial
    method: str
    angles: np.ndarray  # [phase; deg]
    share: np.ndarray  # [phase; of all counts]
    seconds: float

    @property
    def lost(self) -> int:
        """Number of phases lost."""
        if self.trial.dose < LOST_DOSE:
            return 0
        return int(((self.angles > LOST_DEG) & (self.share > LOST_SHARE)).sum())


Fit = Callable[[xr.DataArray, Trial], tuple[np.ndarray, float]]  # spectra and seconds
Ask = Callable[[dict[str, Any]], dict[str, Any]]  # a job for the peers' Python, and its answer


@dataclass(frozen=True)
class Method:
    """A factorisation to be judged."""

    name: str
    fit: Fit
    seeds: int  # on so many of the images of each kind
    kept: str | None = None  # the name under which its outcomes are kept, where they are


def main() -> None:
    """Print the tables."""
    args = arguments()
    with common.work_folder(args.work) as work, peers(args.peers_python) as ask:
        known = Method(WITH_TRUE_SCORES, with_true_scores, args.seeds)
        methods = [*own_methods(args.seeds), *peer_methods(args, work, ask), known]
        outcomes = list(run(trials(args), methods, work))
    names = [m.name for m in methods if any(o.method == m.name for o in outcomes)]
    for phases in args.phases:
        show_assemblage(phases, [o for o in outcomes if o.trial.phases == phases], names)
    show_all(outcomes, names)


def arguments() -> argparse.Namespace:
    """Return the command line, with what --quick means filled in."""
    parser = common.parser(__doc__)
    parser.add_argument("--peers-python", help="Python with hyperspy and espm; see README.md")
    parser.add_argument("--seeds", type=int, help="images of each kind (20; quick: 2)")
    parser.add_argument("--doses", type=float, nargs="+", help="counts a pixel (20 100 400)")
    parser.add_argument("--phases", type=int, nargs="+", choices=ASSEMBLAGES)
    parser.add_argument("--shape", type=int, nargs=3, metavar=("Y", "X", "CHANNELS"))
    parser.add_argument(
        "--peer-iterations", type=int, help="of scikit-learn and espm (200; quick: 20)"
    )
    parser.add_argument("--peer-seeds", type=int, help="peers on fewer images of each kind")
    parser.add_argument("--espm-seeds", type=int, help="espm on yet fewer (1)")
    args = parser.parse_args()
    given = {name: value for name, value in vars(args).items() if value is not None}
    return argparse.Namespace(**(vars(args) | defaults(args.quick) | given))


def defaults(quick: bool) -> dict[str, Any]:
    """Return the values of arguments that are left out."""
    if quick:
        return {
            "seeds": 2, "doses": [100.0], "phases": [3, 5], "shape": (64, 64, 1024),
            "peer_iterations": 20, "peer_seeds": 2, "espm_seeds": 1,
        }  # fmt: skip
    return {
        "seeds": 20, "doses": [20.0, 100.0, 400.0], "phases": list(ASSEMBLAGES),
        "shape": (128, 128, 1024), "peer_iterations": 200, "peer_seeds": 20, "espm_seeds": 1,
    }  # fmt: skip


def trials(args: argparse.Namespace) -> list[Trial]:
    """Return the images, seed by seed, so that an early end leaves all kinds."""
    shape = tuple(args.shape)
    return [
        Trial(phases, dose, seed, shape)
        for seed in range(args.seeds)
        for phases in args.phases
        for dose in args.doses
    ]


def run(todo: list[Trial], methods: list[Method], work: Path) -> Iterator[Outcome]:
    """Yield what each method finds in each image."""
    kept = Kept(work / "peers_truth")
    failed: set[str] = set()
    for number, trial in enumerate(todo, start=1):
        say(f"{number} of {len(todo)}: {trial.name}")
        image, true, share = simulated(trial, work)
        for method in methods:
            if trial.seed >= method.seeds or method.name in failed:
                continue
            try:
                spectra, seconds = kept.get(method, trial, image)
            except PeerError as error:
                say(f"{method.name}: skipped, {error}")
                failed.add(method.name)
                continue
            angles = common.angles_deg(spectra, true)
            yield Outcome(trial, method.name, angles, share, seconds)


def simulated(trial: Trial, work: Path) -> tuple[xr.DataArray, np.ndarray, np.ndarray]:
    """Return the counts in memory, the true spectra, and each phase's share of the counts."""
    name = f"assemblage{trial.phases}"
    path = common.stored(work, name, trial.shape, trial.dose, **trial.recipe)
    known = simulate.truth(trial.shape, trial.dose, **trial.recipe)
    counts = known.expected.sum(("y", "x")).values
    return eds_xr.open(path).load(), known.loadings.values, counts / counts.sum()


# -- methods -------------------------------------------------------------------------------------


def own_methods(seeds: int) -> list[Method]:
    """Return our own: the default, and without the choice of the purest mixing."""
    found = [Method("eds_xr", own_fit(), seeds)]
    if "mixing" in inspect.signature(eds_xr.nmf).parameters:
        found.append(Method('eds_xr, mixing="free"', own_fit(mixing="free"), seeds))
    return found


def own_fit(**options: Any) -> Fit:
    """Return eds_xr's factorisation."""

    def fit(image: xr.DataArray, trial: Trial) -> tuple[np.ndarray, float]:
        start = time.perf_counter()
        result = eds_xr.nmf(image, trial.phases, seed=0, **options)
        return result.loadings.values, time.perf_counter() - start

    return fit


def with_true_scores(image: xr.DataArray, trial: Trial) -> tuple[np.ndarray, float]:
    """Return the spectra that weighted least squares finds when the true scores are known.

    What is left is the noise of the counts: no factorisation is expected to come closer.
    """
    expected = simulate.truth(trial.shape, trial.dose, **trial.recipe).expected
    scores = expected.transpose("y", "x", "phase").values.reshape(-1, trial.phases).astype(float)
    counts = common.sparse_counts(image.chunk())
    start = time.perf_counter()
    weighted = scores / scores.sum(1, keepdims=True)  # variance is in proportion to counts
    spectra = np.linalg.solve(weighted.T @ scores, (counts.T @ weighted).T)
    return spectra.clip(0), time.perf_counter() - start


def peer_methods(args: argparse.Namespace, work: Path, ask: Ask | None) -> list[Method]:
    """Return the peers that are there, and name those that are not."""
    iterations, seeds = args.peer_iterations, args.peer_seeds
    scikit = f"scikit-learn {sklearn.__version__} {iterations}"
    found = [Method("scikit-learn KL", scikit_fit(iterations), seeds, scikit)]
    elsewhere = [
        ("HyperSpy", "hyperspy", HYPERSPY_ITERATIONS, seeds),
        ("espm", "espm", iterations, args.espm_seeds),
    ]
    for name, package, most, some in elsewhere:
        if ask is None:
            say(f"{name}: skipped, as no --peers-python is given")
            continue
        answer = ask({"method": "version", "package": package})
        if "error" in answer:
            say(f"{name}: skipped, {answer['error']}")
            continue
        version = answer["version"]
        run = peer_fit(package, most, work, ask)
        found.append(Method(f"{name} {version}", run, some, f"{package} {version} {most}"))
    return found


def scikit_fit(iterations: int) -> Fit:
    """Return scikit-learn's Kullback-Leibler NMF on sparse counts."""

    def fit(image: xr.DataArray, trial: Trial) -> tuple[np.ndarray, float]:
        counts = common.sparse_counts(image.chunk())
        start = time.perf_counter()
        _, spectra = common.scikit_learn(counts, trial.phases, iterations)
        return spectra, time.perf_counter() - start

    return fit


def peer_fit(method: str, iterations: int, work: Path, ask: Ask) -> Fit:
    """Return a factorisation by a package in the peers' Python."""
    counts, out = work / "peer_counts.npy", work / "peer_spectra.npy"

    def fit(image: xr.DataArray, trial: Trial) -> tuple[np.ndarray, float]:
        np.save(counts, image.values)
        answer = ask(
            {"method": method, "counts": str(counts), "components": trial.phases}
            | {"iterations": iterations, "out": str(out)}
        )
        if "error" in answer:
            raise PeerError(answer["error"])
        return np.load(out), answer["seconds"]

    return fit


class PeerError(RuntimeError):
    """A peer that could not do it."""


@contextlib.contextmanager
def peers(python: str | None) -> Iterator[Ask | None]:
    """Give a function that asks the peers' Python, or nothing where there is none."""
    if python is None:
        yield None
        return
    command = [python, "-W", "ignore", str(Path(__file__).with_name("peers_fit.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        jobs, answers = process.stdin, process.stdout
        assert jobs is not None
        assert answers is not None

        def ask(job: dict[str, Any]) -> dict[str, Any]:
            print(json.dumps(job), file=jobs, flush=True)
            line = answers.readline()
            return json.loads(line) if line else {"error": "the peers' Python has ended"}

        yield ask
        jobs.close()


class Kept:
    """Peers' spectra on disk: they take hours and do not change."""

    def __init__(self, folder: Path):
        folder.mkdir(exist_ok=True)
        self._folder, self._index = folder, folder / "seconds.json"
        known = self._index.read_text() if self._index.exists() else "{}"
        self._seconds: dict[str, float] = json.loads(known)

    def get(self, method: Method, trial: Trial, image: xr.DataArray) -> tuple[np.ndarray, float]:
        """Return spectra and seconds, from disk where they are kept."""
        if method.kept is None:
            return method.fit(image, trial)
        key = f"{method.kept}, {trial.name}"
        path = self._folder / f"{key}.npy".replace(", ", "_").replace(" ", "-")
        if key not in self._seconds:
            spectra, seconds = method.fit(image, trial)
            np.save(path, spectra)
            self._seconds[key] = seconds
            self._index.write_text(json.dumps(self._seconds, indent=1))
        return np.load(path), self._seconds[key]


# -- tables --------------------------------------------------------------------------------------


def show_assemblage(phases: int, outcomes: list[Outcome], methods: list[str]) -> None:
    """Print the median angle of each phase, dose by dose, for each method."""
    names = [p.name for p in ASSEMBLAGES[phases]]
    wide = max(map(len, methods))
    print(f"\n{phases} phases: median angle to the truth [deg]")
    print(f"  {'dose':>5}  {'':<{wide}}" + "".join(f"{n:>12}" for n in [*names, "all", "images"]))
    for dose in sorted({o.trial.dose for o in outcomes}):
        for method in methods:
            some = [o for o in outcomes if o.trial.dose == dose and o.method == method]
            if some:
                table = np.array([o.angles for o in some])
                values = [*np.median(table, axis=0), np.median(table)]
                cells = "".join(f"{v:>12.2f}" for v in values) + f"{len(some):>12}"
                print(f"  {dose:>5g}  {method:<{wide}}{cells}")


def show_all(outcomes: list[Outcome], methods: list[str]) -> None:
    """Print ratios to the peers, over the images that both did, phases lost, and seconds."""
    own, *others = methods
    rows: list[Row] = []
    for other in others:
        mine, theirs = in_common(outcomes, own, other)
        goal = "" if other.startswith(("eds_xr", "(")) else "at least 2"
        ratio = np.median(theirs) / np.median(mine)
        figures = f"{np.median(theirs):.2f} / {np.median(mine):.2f} deg = {ratio:.2f}"
        rows.append((f"median angle, {other} over {own}", figures, goal))
        rows += ratio_rows(outcomes, own, other, goal)
    for method in methods:
        some = [o for o in outcomes if o.method == method and o.trial.dose >= LOST_DOSE]
        goal = "0" if method == own else ""
        lost = f"{sum(o.lost for o in some)} in {len(some)} images"
        rows.append((f"phases lost, {method}", lost, goal))
    for method in methods:
        seconds = [o.seconds for o in outcomes if o.method == method]
        rows.append((f"median time of a fit, {method}", f"{np.median(seconds):.2f} s", ""))
    show("all assemblages, phases and doses", rows)


def ratio_rows(outcomes: list[Outcome], own: str, other: str, goal: str) -> list[Row]:
    """Return the ratio of median angles for each number of phases and dose."""
    kinds = sorted({(o.trial.phases, o.trial.dose) for o in outcomes if o.method == other})
    rows = []
    for phases, dose in kinds:
        some = [o for o in outcomes if (o.trial.phases, o.trial.dose) == (phases, dose)]
        mine, theirs = in_common(some, own, other)
        ratio = f"{np.median(theirs) / np.median(mine):.2f}"
        rows.append((f"  {phases} phases, {dose:g} counts a pixel", ratio, goal))
    return rows


def in_common(outcomes: list[Outcome], own: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all angles of two methods, of the images that both did."""
    tables = [{o.trial: o.angles for o in outcomes if o.method == m} for m in (own, other)]
    both = [trial for trial in tables[0] if trial in tables[1]]
    mine, theirs = (np.concatenate([table[trial] for trial in both]) for table in tables)
    return mine, theirs


if __name__ == "__main__":
    main()
