"""Whether total intervals of compositions hold the truth, whatever table the world follows.

    python tests/benchmarks/bench_composition.py [--seeds N] [--counts N] [--quick]

Films of the second simulator (`tests/support/independent`), thick enough to absorb. In each world
yields, M and L lines, layers of the detector are drawn from what published tables differ by, so
that no table of ours is right. Thickness, composition and dose of standards are not quite what they
are said to be. Strays from the holder lie in all spectra; where `subtract_hole` is there, they are
subtracted, as recorded in the hole. Each film is quantified with computed k-factors, with two
standards, with one whose missing lines are computed, and from the charge balance.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from common import Row, say, show

sys.path.insert(0, str(Path(__file__).parents[1]))  # the second simulator stands beside the tests

from support.independent.detector import Detector
from support.independent.foil import Foil
from support.independent.spectra import Microscope, draw, truth

import eds_xr
from eds_xr import k_factors as kf

#: Yields of the K shell: Krause (J. Phys. Chem. Ref. Data 8 (1979) 307), Elam et al. (Radiat. Phys.
#: Chem. 63 (2002) 121), and those of the simulator, xraylib's.
YIELDS = {
    "C": (0.0028, 0.0014, 0.002575), "N": (0.0052, 0.0031, 0.004349),
    "O": (0.0083, 0.0058, 0.006909), "F": (0.013, 0.0092, 0.01045), "Na": (0.023, 0.0210, 0.02133),
    "Mg": (0.030, 0.0257, 0.02911), "Al": (0.039, 0.0330, 0.03872), "Si": (0.050, 0.0429, 0.05037),
    "P": (0.063, 0.0555, 0.06422), "S": (0.078, 0.0707, 0.08038), "Ca": (0.163, 0.1468, 0.1687),
    "Ti": (0.214, 0.2184, 0.2256), "Fe": (0.340, 0.3510, 0.3546),
}  # fmt: skip
#: Published k-factors of M lines differ by these factors; of L lines, and ionisation, by so much.
M_SPAN, L_SPREAD, IONISATION_SPREAD = (0.66, 1.71), 0.15, 0.04
#: Known to [relative]: thickness of a film, of a standard, amounts in a standard, its dose.
FILM, STANDARD, AMOUNTS, DOSE = 0.10, 0.05, 0.01, 0.02
ATTENUATION = 0.05
RANGE_KEV = (0.3, 12.0)
STRAYS = {"Cu": 0.06, "C": 0.02}
HOLE_SECONDS, FILM_SECONDS = 300.0, 300.0


@dataclass(frozen=True)
class Film:
    """A sample, or a standard: atoms, and what it is."""

    name: str
    atoms: dict[str, float]
    foil: Foil


FILMS = (
    Film("spinel", {"Mg": 1, "Al": 2, "O": 4}, Foil(150, 3.6)),
    Film("garnet", {"Fe": 1.8, "Mg": 1.0, "Ca": 0.2, "Al": 2, "Si": 3, "O": 12}, Foil(200, 4.0)),
    Film("apatite", {"Ca": 5, "P": 3, "O": 12.5}, Foil(180, 3.2)),
)
STANDARDS = (
    Film("glass", {"Mg": 2, "Al": 2, "Si": 4, "Ca": 2, "Fe": 1, "O": 16}, Foil(90, 2.9)),
    Film("phosphate", {"Ca": 1, "P": 2, "Mg": 1, "O": 7}, Foil(70, 2.7)),
)


class World:
    """A microscope and the tables that it follows."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        layers = {
            "dead_layer_nm": self.random.uniform(10, 50), "contact_nm": self.random.uniform(10, 40),
            "ice_nm": self.random.uniform(0, 40),
        }  # fmt: skip
        self.microscope = Microscope(detector=replace(Detector(), **layers))
        self.factors: dict[tuple[str, str], float] = {}

    def factor(self, element: str, shell: str) -> float:
        """Return photons over those of the simulator's table."""
        if (element, shell) not in self.factors:
            self.factors[element, shell] = self._drawn(element, shell)
        return self.factors[element, shell]

    def _drawn(self, element: str, shell: str) -> float:
        ionised = float(np.exp(IONISATION_SPREAD * self.random.normal()))
        if shell == "K" and element in YIELDS:
            low, high = np.log(min(YIELDS[element])), np.log(max(YIELDS[element]))
            return ionised * float(np.exp(self.random.uniform(low, high))) / YIELDS[element][2]
        if shell == "M":
            return ionised * float(np.exp(self.random.uniform(*np.log(M_SPAN))))
        spread = L_SPREAD if shell == "L" else 0.03
        return ionised * float(np.exp(spread * self.random.normal()))

    def recorded(self, film: Film, counts: float) -> xr.Dataset:
        """Return the spectrum of a film, with strays."""
        known = truth(film.atoms, counts, microscope=self.microscope, foil=film.foil, strays=STRAYS)
        return self._drawn_from(self._in_this_world(known), FILM_SECONDS)

    def hole(self, counts: float) -> xr.Dataset:
        """Return what is recorded without the sample: the strays alone."""
        bare, both = (
            self._in_this_world(
                truth(FILMS[0].atoms, counts, microscope=self.microscope, foil=FILMS[0].foil,
                      strays=s)
            )
            for s in ({}, STRAYS)
        )  # fmt: skip
        stray = [e in STRAYS for e in both.element.values]
        peaks = both.peaks.where(xr.DataArray(stray, dims="line"), 0.0)
        alone = both.assign(peaks=peaks, expected=peaks.sum("line") + 0.02 * bare.background)
        return self._drawn_from(alone, HOLE_SECONDS)

    def _in_this_world(self, known: xr.Dataset) -> xr.Dataset:
        names = zip(known.element.values, known.family.values, strict=True)
        scale = xr.DataArray([self.factor(str(e), str(f)) for e, f in names], dims="line")
        peaks = known.peaks * scale
        return known.assign(peaks=peaks, expected=known.background + peaks.sum("line"))

    def _drawn_from(self, known: xr.Dataset, seconds: float) -> xr.Dataset:
        found = draw(known, int(self.random.integers(2**31)))
        return found.assign_attrs(live_time_s=seconds, probe_current_na=1.0)


def main() -> None:
    """Print how often intervals hold, for each film and way."""
    args = arguments()
    held: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    failed: dict[tuple[str, str], list[str]] = defaultdict(list)
    trips: list[float] = []
    for seed in range(args.seeds):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one_world(World(seed), args.counts, held, failed, trips)
        say(f"world {seed + 1} of {args.seeds}")
    report(held, failed)
    show("Zeta-factors and cross-sections of a standard, used on itself", [
        ("largest relative difference", f"{max(trips):.1e}", "below 1e-6")
    ])  # fmt: skip


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--counts", type=float, default=3e5)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    args.seeds = 2 if args.quick else args.seeds
    return args


def one_world(
    world: World, counts: float, held: dict[tuple[str, str], list[np.ndarray]],
    failed: dict[tuple[str, str], list[str]], trips: list[float],
) -> None:  # fmt: skip
    """Measure standards and films in one world."""
    hole = world.hole(counts)
    tables = [measured(world, s, 3 * counts, hole) for s in STANDARDS]
    trips += [round_trip(world, s, counts, hole) for s in STANDARDS]
    for film in FILMS:
        lines = fitted(world.recorded(film, counts), film, hole)
        thickness = film.foil.thickness_nm * (1 + FILM * world.random.normal())
        for way, quantified in ways(lines, tables, thickness, film.foil.density_g_cm3):
            try:
                found = quantified()
            except eds_xr.EdsError as error:
                failed[film.name, way].append(str(error))
                continue
            held[film.name, way].append(compared(found, film))


def fitted(spectrum: xr.Dataset, film: Film, hole: xr.Dataset) -> xr.Dataset:
    """Return net counts of a film, strays subtracted where that can be done."""
    if hasattr(eds_xr, "subtract_hole"):
        every = [*dict.fromkeys([*film.atoms, *STRAYS])]
        spectrum = eds_xr.subtract_hole(spectrum, hole, scale="Cu_Ka", elements=every)
    return eds_xr.fit_lines(
        spectrum, list(film.atoms), stray=[e for e in STRAYS if e not in film.atoms],
        range_kev=RANGE_KEV, lines=[f"{e}_Ka" for e in film.atoms],
    )  # fmt: skip


def measured(world: World, film: Film, counts: float, hole: xr.Dataset) -> xr.Dataset:
    """Return k-factors of a standard that is not quite what it is said to be."""
    true = {e: a * (1 + AMOUNTS * world.random.normal()) for e, a in film.atoms.items()}
    lines = fitted(world.recorded(replace(film, atoms=true), counts), film, hole)
    return kf.from_standard(
        lines, film.atoms, name=film.name,
        uncertainty={e: AMOUNTS * a for e, a in film.atoms.items()},
        thickness_nm=film.foil.thickness_nm * (1 + STANDARD * world.random.normal()),
        density_g_cm3=film.foil.density_g_cm3, thickness_uncertainty=STANDARD,
        absorption_uncertainty=ATTENUATION,
    )  # fmt: skip


def ways(
    lines: xr.Dataset, tables: list[xr.Dataset], thickness_nm: float, density: float
) -> Iterator[tuple[str, Callable[[], xr.Dataset]]]:
    """Yield each way to quantify a film."""
    film = {
        "thickness_nm": thickness_nm, "density_g_cm3": density,
        "absorption_uncertainty": float(np.hypot(FILM, ATTENUATION)),
    }  # fmt: skip
    computed = eds_xr.standardless_k_factors(
        [f"{e}_Ka" for e in ("Si", "O", "Mg", "Al", "P", "Ca", "Fe")], beam_energy_kev=200.0
    )
    both, one = kf.combine(*tables), kf.combine(tables[0], fill=computed)
    yield "computed", lambda: eds_xr.quantify(lines, **film)
    yield "two standards", lambda: eds_xr.quantify(lines, both, **film)
    yield "a standard, the rest computed", lambda: eds_xr.quantify(lines, one, **film)
    if "thickness" in inspect.signature(eds_xr.quantify).parameters:
        yield (
            "computed, charge balance",
            lambda: eds_xr.quantify(lines, thickness="charge_balance"),
        )
        yield (
            "two standards, charge balance",
            lambda: eds_xr.quantify(lines, both, thickness="charge_balance"),
        )


def compared(found: xr.Dataset, film: Film) -> np.ndarray:
    """Return the error of each atomic fraction, its total deviation, and the truth."""
    total = sum(film.atoms.values())
    true = np.array([film.atoms[e] / total for e in found.element.values.tolist()])
    covariance = found.atomic_fraction_covariance + found.atomic_fraction_systematic_covariance
    deviation = np.sqrt(np.diag(covariance.values.reshape(true.size, true.size)))
    return np.stack([found.atomic_fraction.values.ravel() - true, deviation, true])


def round_trip(world: World, film: Film, counts: float, hole: xr.Dataset) -> float:
    """Return how far a standard's own zeta-factors and cross-sections miss its composition."""
    lines = fitted(world.recorded(film, counts), film, hole)
    thick = 1e-6 * film.foil.thickness_nm * film.foil.density_g_cm3
    zeta = kf.zeta_from_standard(
        lines, film.atoms, mass_thickness_kg_m2=thick, dose_electrons=1e12, name=film.name,
        thickness_uncertainty=STANDARD, dose_uncertainty=DOSE,
    )  # fmt: skip
    sections = kf.cross_sections_from_zeta(zeta)
    apart = []
    for found in (
        eds_xr.quantify_zeta(lines, zeta, dose_electrons=1e12),
        eds_xr.quantify_cross_sections(lines, sections, dose_electrons=1e12),
    ):
        error, _, true = compared(found, film)
        apart += [*np.abs(error / true), abs(float(found.mass_thickness.squeeze()) / thick - 1)]
    return float(max(apart))


def report(
    held: dict[tuple[str, str], list[np.ndarray]], failed: dict[tuple[str, str], list[str]]
) -> None:
    """Print coverage, error and deviation of each film and way."""
    for way in dict.fromkeys(w for _, w in [*held, *failed]):
        rows: list[Row] = []
        every: list[bool] = []
        for film in FILMS:
            parts = held.get((film.name, way), [])
            if parts:
                error, deviation, true = np.concatenate(parts, axis=1)
                every += (np.abs(error) < 1.96 * deviation).tolist()
                share = np.mean(np.abs(error) < 1.96 * deviation)
                relative = np.median(np.abs(error) / true), np.median(deviation / true)
                text = f"{100 * share:.1f} %, off by {100 * relative[0]:.1f} %, "
                text += f"stated {100 * relative[1]:.1f} %"
                rows.append((f"{film.name}: 95 % hold", text, ""))
            if refused := failed.get((film.name, way)):
                rows.append((f"{film.name}: refused {len(refused)}", refused[0][:60], ""))
        if every:
            rows.append(("all: 95 % hold", f"{100 * np.mean(every):.1f} %", "90 % or more"))
        show(way, rows)


if __name__ == "__main__":
    main()
