"""What strokes by hand are worth: phases from twenty of them, errors that three correct, times.

    python tests/benchmarks/bench_strokes.py [--seeds N] [--doses D ...] [--quick]

Strokes are drawn from the truth as a person would: lines of some 6 to 24 pixels within a grain or
an overlap of grains that can be seen (classes are combinations of phases); one in five goes on
beyond the boundary, where it is painted wrongly. Judged as in bench_segment.py: intersection over
union of presence, the mean over the grain phases. Planted errors are a phase that nobody painted,
and a stroke of another class through the largest grain; three strokes are added to correct each.

Times are those of the labelling app on 512 x 512 pixels and 3 channels: Train to label (features,
forest, probabilities, graph cut), and a change of smoothness. Kernels are compiled before.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import bench_segment
import common
import numpy as np
import xarray as xr
from common import Row, say, show
from scipy import ndimage

import eds_xr
from eds_xr import labelling, scribbles, simulate
from eds_xr.analysis.segment import segment

SHAPE = bench_segment.SHAPE
STROKES, CORRECTIONS = 20, 3
LEAST_SHARE = bench_segment.LEAST_SHARE
#: Shortest and longest stroke [pixels], how far within its region, and what share goes beyond it.
LENGTHS, INSIDE, BEYOND = (6, 24), 1.0, 0.2
#: A region that nobody would paint [pixels].
LEAST_REGION = 25
AND = "+"

Strokes = list[tuple[str, np.ndarray]]


def main() -> None:
    """Print a table for each dose, and the times."""
    args = common.dose_arguments(__doc__, seeds=3, quick_seeds=1)
    for dose in args.doses:
        found: dict[str, list[float]] = {}
        for seed, phases in product(range(args.seeds), bench_segment.ASSEMBLAGES):
            say(f"dose {dose:g}, seed {seed}, {len(phases)} phases")
            for name, value in overlaps(dose, seed, phases).items():
                found.setdefault(name, []).append(value)
        show(f"{dose:g} counts a pixel, {args.seeds} seeds of 2 assemblages", rows(found))
    show("512 x 512 pixels, 3 channels", times())


def overlaps(dose: float, seed: int, phases: tuple[simulate.Phase, ...]) -> dict[str, float]:
    """Return the mean intersection over union of presence, by what was painted."""
    image = simulate.spectrum_image(SHAPE, dose, seed=seed, phases=phases).drop_vars("haadf")
    image = image.drop_vars("label", errors="ignore").compute()
    share = simulate.truth(SHAPE, dose, seed=seed, phases=phases).share.compute()
    true = share.values > LEAST_SHARE
    factors = eds_xr.nmf(image, len(phases), seed=seed).compute()
    named = factors.assign_coords(component=bench_segment.matched(factors.scores, share))
    hand = Hand(true, share.phase.values.tolist(), np.random.default_rng(seed))
    twenty, rarest = hand.strokes(STROKES), hand.rarest
    lacking = [stroke for stroke in twenty if rarest not in stroke[0].split(AND)]
    wrong = [*twenty, hand.slip()]

    def judged(channels: xr.Dataset, strokes: Strokes | None = None) -> float:
        painted = None if strokes is None else hand.painted(strokes, image)
        present = segment(image, painted, channels=channels, seed=seed).present.compute()
        found = bench_segment.overlaps_of(bench_segment.full(present, share), true)
        return float(found.mean())

    return {
        "without strokes": judged(named),
        f"{STROKES} strokes": judged(factors, twenty),
        "the rarest phase never painted": judged(factors, lacking),
        f"  and {CORRECTIONS} strokes of it": judged(factors, [*lacking, *hand.of(rarest)]),
        "a stroke of the wrong class": judged(factors, wrong),
        f"  and {CORRECTIONS} strokes that correct it": judged(factors, [*wrong, *hand.mended()]),
    }


class Hand:
    """A hand that paints what it sees: lines within connected regions of one class."""

    def __init__(self, true: np.ndarray, phases: list[str], random: np.random.Generator) -> None:
        self.random = random
        sets, code = np.unique(true.reshape(len(true), -1).T, axis=0, return_inverse=True)
        self.names = [AND.join(np.array(phases)[held]) for held in sets]
        self.code = code.reshape(true.shape[1:])
        #: connected regions, as masks of what lies well inside, by class
        self.regions: dict[str, list[np.ndarray]] = {}
        for k, name in enumerate(self.names):
            inside = ndimage.distance_transform_edt(self.code == k) > INSIDE
            number, count = ndimage.label(inside)
            masks = [number == i for i in range(1, count + 1)]
            seen = sorted((m for m in masks if m.sum() >= LEAST_REGION), key=lambda m: -m.sum())
            if seen:
                self.regions[name] = seen
        areas = true[1:].sum((1, 2))
        seen_of = [any(p in name.split(AND) for name in self.regions) for p in phases[1:]]
        self.rarest = phases[1:][int(np.where(seen_of, areas, areas.max() + 1).argmin())]

    def strokes(self, number: int) -> Strokes:
        """Return strokes of all classes that are seen: the larger ones get more."""
        names = sorted(self.regions, key=lambda n: -sum(m.sum() for m in self.regions[n]))
        done: Strokes = []
        while len(done) < number:
            for name in names[: number - len(done)]:
                done.append((name, self.line(name)))
        return done

    def line(self, name: str, region: np.ndarray | None = None) -> np.ndarray:
        """Return the longest of some lines from a place within a region [point, (y, x)]."""
        if region is None:
            regions = self.regions[name]
            area = np.array([m.sum() for m in regions], float)
            region = regions[self.random.choice(len(regions), p=area / area.sum())]
        start = self.random.choice(np.argwhere(region))
        longest = self.random.integers(*LENGTHS)
        best = np.array([start, start])
        for angle in self.random.uniform(0, 2 * np.pi, 8):
            step = np.array([np.sin(angle), np.cos(angle)])
            reach = 0
            while reach < longest and self.holds(region, start + (reach + 1) * step):
                reach += 1
            end = start + (reach + 3 * (self.random.random() < BEYOND)) * step
            if np.abs(end - start).max() > np.abs(best[1] - best[0]).max():
                best = np.array([start, end])
        return np.asarray(best + 0.5)

    @staticmethod
    def holds(region: np.ndarray, place: np.ndarray) -> bool:
        """Return whether a place lies in a region."""
        y, x = np.rint(place).astype(int)
        return bool(0 <= y < len(region) and 0 <= x < region.shape[1] and region[y, x])

    def of(self, phase: str) -> Strokes:
        """Return three strokes in the largest regions of classes with a phase."""
        held = [(m.sum(), n, i) for n, ms in self.regions.items() if phase in n.split(AND)
                for i, m in enumerate(ms)]  # fmt: skip
        largest = sorted(held, reverse=True) * CORRECTIONS
        return [(n, self.line(n, self.regions[n][i])) for _, n, i in largest[:CORRECTIONS]]

    def slip(self) -> tuple[str, np.ndarray]:
        """Return a stroke through the largest grain, of the class that is most of the rest."""
        _, self.mistaken, self.slipped = max(
            (m.sum(), n, i)
            for n, masks in self.regions.items()
            for i, m in enumerate(masks)
            if AND in n or n not in self.names[:1]
            if n != self.matrix
        )
        self.place = self.line(self.mistaken, self.regions[self.mistaken][self.slipped])
        return self.matrix, self.place

    @property
    def matrix(self) -> str:
        """The class of the largest area."""
        return max(self.regions, key=lambda n: sum(m.sum() for m in self.regions[n]))

    def mended(self) -> Strokes:
        """Return three strokes of the right class: one over the slip, two beside it."""
        region = self.regions[self.mistaken][self.slipped]
        beside = [(self.mistaken, self.line(self.mistaken, region)) for _ in range(2)]
        return [(self.mistaken, self.place), *beside]

    def painted(self, strokes: Strokes, like: xr.DataArray) -> xr.DataArray:
        """Return strokes as scribbles, by a session."""
        session = labelling.add_image(labelling.Session(), "map", like)
        used = [name for name, _ in strokes]
        parts = [part for name in used for part in name.split(AND)]
        for name in dict.fromkeys([*parts, *used]):
            session = labelling.add_class(session, name)
        for name, points in strokes:
            session = labelling.add_stroke(session, scribbles.line(name, points))
        return labelling.scribbles_of(session)


def rows(found: dict[str, list[float]]) -> list[Row]:
    """Return the rows of a table."""
    plain = np.array(found["without strokes"])
    table = []
    for name, values in found.items():
        text = f"IoU {np.mean(values):.3f}, worst {np.min(values):.3f}"
        text += f", below without strokes by {np.mean(plain - values):.3f}"
        goal = "" if name.startswith(("w", "the", "a ")) else "at most 0.02 below"
        table.append((name, text, goal))
    return table


def times() -> list[Row]:
    """Return the rows of the times at 512 x 512 pixels."""
    random, size = np.random.default_rng(0), 512
    base = np.stack([ndimage.gaussian_filter(random.normal(size=(size, size)), 12)
                     for _ in range(3)])  # fmt: skip
    truth = base.argmax(0)
    counts = np.stack([random.poisson(10 + 30 * (truth == i)) for i in range(3)])
    channels = xr.DataArray(
        counts.astype(np.float32), {"channel": ["a", "b", "c"]}, ("channel", "y", "x")
    )
    true = np.stack([truth == i for i in range(3)])
    hand = Hand(true, ["a", "b", "c"], random)
    session = labelling.add_image(labelling.Session(), "map", channels[0])
    for name in "abc":
        session = labelling.add_class(session, name)
    for name, points in hand.strokes(STROKES):
        session = labelling.add_stroke(session, scribbles.line(name, points))
    table = []
    for kinds in (("intensity", "gaussian"), eds_xr.features.DEFAULT_KINDS):
        chosen = labelling.set_parameter(session, "kinds", kinds)
        work: dict[str, Callable[[], object]] = steps_of(chosen, channels)
        for name, step in work.items():
            step()
            goal = {"Train to label": "2 s", "smoothness": "1 s"}.get(name, "")
            table.append((f"{name}, {len(kinds)} kinds", f"{common.best_of(3, step):.2f} s", goal))
    return table


def steps_of(session: labelling.Session, channels: xr.DataArray) -> dict[str, Callable[[], object]]:
    """Return what the app does, from the first Train to a change of smoothness."""
    features = labelling.features_of(session, channels).persist()
    trained = labelling.train_session(session, features)
    probability = labelling.probabilities_of(trained, features).persist()

    def train_to_label(given: xr.DataArray | None = None) -> object:
        known = labelling.features_of(session, channels).persist() if given is None else given
        once = labelling.train_session(session, known)
        return labelling.phases_of(once, labelling.probabilities_of(once, known).persist()).load()

    return {
        "Train to label": train_to_label,
        "  features at hand": lambda: train_to_label(features),
        "  training alone": lambda: labelling.train_session(session, features),
        "smoothness": lambda: labelling.phases_of(trained, probability).load(),
    }


if __name__ == "__main__":
    main()
