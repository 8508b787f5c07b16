"""Whether error bars are true: how often an interval of one or two sigma holds the known value.

    python tests/benchmarks/bench_coverage.py [--seeds N] [--doses D ...] [--quick]

A simulated assemblage with masks that are right: a matrix, and grains of two kinds that lie in it.
Sums over masks are drawn anew for every seed (a sum of Poisson counts is a Poisson count), then
everything is done as a user would: calibration, lines, subtraction, composition, partition
coefficients. A pull is the difference from the truth in standard deviations.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache

import common
import numpy as np
import xarray as xr
from common import Row, say, show

import eds_xr
from eds_xr import simulate
from eds_xr.xray import lines as xray_lines

SHAPE = (192, 192, 1024)
MATRIX, GRAINS = "Brg", {"Fp": "Si_Ka", "Ca-Pv": "Mg_Ka"}
ELEMENTS = ("Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "Lu", "Hf", "U")
STRAY = ("Cu", "Ga")
#: Channels are merged until they hold this many counts: pulls of single counts are no numbers.
LEAST_COUNTS = 30.0
LEVELS = {"68 %": (1.0, 0.6827, 0.04), "95 %": (1.96, 0.95, 0.02)}


def main() -> None:
    """Print a table for each dose."""
    args = common.dose_arguments(__doc__, seeds=200, quick_seeds=20)
    for dose in args.doses:
        say(f"dose {dose:g}")
        scene = Scene.of(dose)
        found: dict[str, list[xr.DataArray]] = {}
        for seed in range(args.seeds):
            for name, pulls in pulls_of(scene, seed).items():
                found.setdefault(name, []).append(pulls)
        show(f"{dose:g} counts a pixel, {args.seeds} seeds", rows(found))


@dataclass(frozen=True)
class Scene:
    """The expected sum over each mask, and what is true of it.

    ``counts`` [region, phase]: what each phase adds to a mask's sum; ``pixels`` [region].
    """

    loadings: xr.DataArray
    atoms: xr.DataArray
    counts: xr.DataArray
    pixels: xr.DataArray

    @staticmethod
    def of(dose: float) -> Scene:
        """Return the scene of a dose: pure matrix, and each kind of grain in matrix alone."""
        truth = simulate.truth(SHAPE, dose, seed=1).compute()
        share = truth.share
        masks = {MATRIX: share.sel(phase=MATRIX) > 0.99}
        for grain in GRAINS:
            other = next(g for g in GRAINS if g != grain)
            alone = share.sel(phase=other) < 0.001
            masks[f"{grain}+{MATRIX}"] = (share.sel(phase=grain) > 0.2) & alone
        regions = xr.concat(
            [m.drop_vars("phase", errors="ignore") for m in masks.values()],
            xr.DataArray(list(masks), dims="region", name="region"),
        )
        counts = (truth.expected * regions).sum(["y", "x"])
        return Scene(truth.loadings, truth.atoms, counts, regions.sum(["y", "x"]))

    def expected(self) -> xr.DataArray:
        """Return the expected spectra [region, energy]."""
        return xr.dot(self.counts, self.loadings, dim="phase").transpose("region", "energy")

    def draw(self, seed: int) -> xr.Dataset:
        """Return sums over the masks as they might be measured."""
        mean = self.expected()
        counts = mean.copy(data=np.random.default_rng(seed).poisson(mean.values))
        spectra = xr.Dataset({"counts": counts, "variance": counts, "n_pixels": self.pixels})
        attrs = {"beam_energy_kev": 200.0, "energy_resolution_mnka_ev": 130.0}
        return spectra.rename(region="phase").assign_attrs(attrs)

    def share(self, grain: str) -> float:
        """Return how much of the matrix a pixel of a mixture holds."""
        per_pixel = self.counts.sel(phase=MATRIX) / self.pixels
        return float(per_pixel.sel(region=f"{grain}+{MATRIX}") / per_pixel.sel(region=MATRIX))


def pulls_of(scene: Scene, seed: int) -> dict[str, xr.DataArray]:
    """Return the pulls of one draw: net counts, subtracted spectra, compositions, partitions."""
    spectra = scene.draw(seed)
    calibration = eds_xr.calibrate(spectra, [*ELEMENTS, *STRAY])
    matrix = spectra.sel(phase=MATRIX)
    pure = {MATRIX: matrix}
    for grain, line in GRAINS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", eds_xr.SubtractionWarning)
            mixture = spectra.sel(phase=f"{grain}+{MATRIX}")
            pure[grain] = eds_xr.subtract_phase(
                mixture, matrix, scale=line, elements=[*ELEMENTS, *STRAY]
            )
    fit = {"elements": ELEMENTS, "stray": STRAY, "calibration": calibration}
    lines = eds_xr.fit_lines(spectra, **fit)
    parts = {MATRIX: lines.sel(phase=MATRIX)} | {
        g: eds_xr.add_common_errors(eds_xr.fit_lines(pure[g], **fit), pure[g]) for g in GRAINS
    }
    both = joined_phases(parts)
    made = eds_xr.quantify(both)
    return {
        "net counts": line_pulls(lines, scene),
        "subtracted spectra": joined(spectrum_pulls(pure[g], scene, g) for g in GRAINS),
        "scale": joined(scale_pull(pure[g], scene, g) for g in GRAINS),
        "compositions": joined(composition_pulls(made.sel(phase=p), scene, p) for p in parts),
        "partition coefficients": joined(
            partition_pulls(both, made, scene, g, pure[g], matrix) for g in GRAINS
        ),
    }


def joined_phases(parts: dict[str, xr.Dataset]) -> xr.Dataset:
    """Return the lines of several phases as one Dataset."""
    names = xr.DataArray(list(parts), dims="phase", name="phase")
    kept = [x[["net", "variance", "covariance", "critical_level"]] for x in parts.values()]
    kept = [x.drop_vars("phase", errors="ignore") for x in kept]
    return xr.concat(kept, dim=names, combine_attrs="override")


def line_pulls(lines: xr.Dataset, scene: Scene) -> xr.DataArray:
    """Return the pulls of net counts [phase, line]."""
    truth = xr.DataArray(
        [
            [sum(float(n) * net_share(p, line) for p, n in counts(scene, region).items())
             for line in lines.line.values]
            for region in lines.phase.values
        ],
        dims=("phase", "line"),
    )  # fmt: skip
    return (lines.net - truth.values) / lines.variance**0.5


def counts(scene: Scene, region: str) -> dict[str, float]:
    """Return the expected counts of each phase in a region."""
    part = scene.counts.sel(region=region)
    return dict(zip(part.phase.values.tolist(), part.values.tolist(), strict=True))


@lru_cache(maxsize=1024)
def net_share(phase: str, line: str) -> float:
    """Return the share of a line in all counts of a phase, as the simulation has it."""
    known = next(p for p in simulate.PYROLITE_71GPA if p.name == phase)
    instrument = simulate.TEM_200_KV
    total = sum(n * photons_seen(e) for e, n in known.atoms.items())
    sample = (1 - instrument.background) * (1 - sum(instrument.stray.values()))
    element = line.split("_")[0]
    return sample * known.atoms.get(element, 0.0) * photons_seen(element, line) / total


@lru_cache(maxsize=1024)
def photons_seen(element: str, line: str | None = None) -> float:
    """Return the photons counted per atom, of a line or of all within the energy axis."""
    beam = simulate.TEM_200_KV.beam_energy_kev
    low, high = -0.2, -0.2 + 0.01 * SHAPE[2]
    names = (
        [x.name for s in xray_lines.FAMILIES for x in xray_lines.family(element, s, beam)]
        if line is None
        else [line]
    )
    total = 0.0
    for name in names:
        group = xray_lines.emission_per_atom(name, beam)
        parts = xray_lines.components(name, beam)
        weight = sum(p.weight for p in parts)
        for p in parts:
            if line or low < p.energy_kev < high:
                seen = float(xray_lines.detector_efficiency(p.energy_kev))
                total += group * p.weight / weight * seen
    return total


def spectrum_pulls(pure: xr.Dataset, scene: Scene, grain: str) -> xr.DataArray:
    """Return the pulls of a subtracted spectrum, in groups of channels with enough counts."""
    region = f"{grain}+{MATRIX}"
    truth = scene.loadings.sel(phase=grain) * float(scene.counts.sel(region=region, phase=grain))
    group = (pure.variance.cumsum("energy") // LEAST_COUNTS).values.astype(int)
    sums = [np.bincount(group, weights=v) for v in ((pure.counts - truth).values, pure.variance)]
    full = sums[1] > LEAST_COUNTS / 2
    return xr.DataArray(sums[0][full] / np.sqrt(sums[1][full]), dims="energy")


def scale_pull(pure: xr.Dataset, scene: Scene, grain: str) -> xr.DataArray:
    """Return the pull of the scale."""
    return (pure.scale - scene.share(grain)) / pure.scale_variance**0.5


def composition_pulls(made: xr.Dataset, scene: Scene, phase: str) -> xr.DataArray:
    """Return the pulls of atomic fractions, of the elements that are not zero by construction."""
    elements = made.element.values.tolist()
    truth = scene.atoms.sel(phase=phase).reindex(element=elements, fill_value=0.0)
    truth = truth / truth.sum()
    pinned = GRAINS.get(phase, "_").split("_")[0]
    free = made.element != pinned
    return ((made.atomic_fraction - truth) / made.atomic_fraction_variance**0.5).where(
        free, drop=True
    )


def partition_pulls(
    lines: xr.Dataset, made: xr.Dataset, scene: Scene, grain: str, pure: xr.Dataset,
    matrix: xr.Dataset,
) -> xr.DataArray:  # fmt: skip
    """Return what Fieller's intervals invert: ``a - D b`` over its standard deviation.

    Checked against the intervals: a pull below one sigma is a truth between their ends.
    """
    factor = float(pure.scale * pure.n_pixels / matrix.n_pixels)
    shared = eds_xr.shared_covariance(lines, made, phase=grain, reference=MATRIX, factor=factor)
    found = eds_xr.partition_coefficients(made, grain, reference=MATRIX, between=shared)
    elements = [e for e in made.element.values if e != GRAINS[grain].split("_")[0]]
    true = {p: weights(scene, p, made.element.values) for p in (grain, MATRIX)}
    true_ratio = (true[grain] / true[MATRIX]).sel(element=elements)
    one, other = (made.sel(phase=p, element=elements) for p in (grain, MATRIX))
    between = [float(shared.sel(element=e, element_other=e)) for e in elements]
    spread = (
        one.weight_fraction_variance
        - 2 * true_ratio * between
        + true_ratio**2 * other.weight_fraction_variance
    )
    pulls = (one.weight_fraction - true_ratio * other.weight_fraction) / spread**0.5
    ends = found.sel(element=elements, confidence=0.95)
    inside = (ends.partition_coefficient_lower <= true_ratio) & (
        true_ratio <= ends.partition_coefficient_upper
    )
    assert bool((inside == (abs(pulls) <= 1.959964)).all())
    return pulls


def weights(scene: Scene, phase: str, elements: np.ndarray) -> xr.DataArray:
    """Return the true weight fractions of the elements that are measured."""
    atoms = scene.atoms.sel(phase=phase, drop=True).reindex(element=elements, fill_value=0.0)
    mass = atoms * [eds_xr.k_factors.atomic_mass(str(e)) for e in elements]
    return mass / mass.sum()


def joined(parts) -> xr.DataArray:
    """Return all pulls in a row."""
    return xr.DataArray(np.concatenate([np.ravel(p.values) for p in parts]), dims="pull")


def rows(found: dict[str, list[xr.DataArray]]) -> list[Row]:
    """Return the rows of a table."""
    table = []
    for name, pulls in found.items():
        values = np.concatenate([np.ravel(p.values) for p in pulls])
        values = values[np.isfinite(values)]
        for level, (width, share, margin) in LEVELS.items():
            inside = float((np.abs(values) <= width).mean())
            table.append(
                (
                    f"{name}, {level}",
                    f"{100 * inside:.1f} %",
                    f"{100 * share:.0f} +- {100 * margin:.0f} %",
                )
            )
        table.append((f"{name}, mean pull", f"{values.mean():+.3f}", "within 0.1"))
        table.append((f"{name}, sd of pulls", f"{values.std():.3f}", "1"))
        if len({p.shape for p in pulls}) == 1 and pulls[0].size > 1:  # the same numbers each time
            means = np.abs(np.mean([np.ravel(p.values) for p in pulls], axis=0))
            worst = f"{means.max():.2f} of {means.size}"
            by_chance = np.sqrt(2 * np.log(2 * means.size) / len(pulls))
            table.append((f"{name}, largest mean pull", worst, f"{by_chance:.2f} by chance"))
    return table


if __name__ == "__main__":
    main()
