"""Trace elements: how near the study's chain comes to an oracle, and how far ahead of a rectangle.

    python tests/benchmarks/bench_traces.py [--seeds N] [--doses D ...] [--quick]

Simulated assemblages (a matrix, and two kinds of grains that overlap it and each other). eds_xr:
``study.run``, from counts to line ratios, and the spectra refined from the whole map. Oracle: knows
how much of each phase every pixel holds and the shapes of all lines and of the background, and
takes the greatest likelihood; its Cramer-Rao bound is printed beside. Rectangle: the spectrum of a
square confined in the matrix, or in the largest grain. Judged: root mean square error of the ratio
of a trace's line to the phase's main line.
"""

from __future__ import annotations

import warnings

import common
import numpy as np
import xarray as xr
from common import Row, say, show

import eds_xr
from eds_xr import masks, simulate
from eds_xr.analysis.deep_mantle import study
from eds_xr.factorisation.known_spectra.fisher_information import known_scores_loadings
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV
from eds_xr.spectra.shapes.families import Calibration, Shapes, families_seen
from eds_xr.xray import lines as xray_lines

SHAPE = (192, 192, 1024)
#: Traces that are looked for, and the line they are compared with.
TRACES = {
    "Brg": ("Si_Ka", ("Nd_La", "Sm_La", "Lu_La", "Hf_La")),
    "Ca-Pv": ("Ca_Ka", ("Nd_La", "Sm_La", "Lu_La")),
}
ELEMENTS, STRAY = study.RECIPE.elements.sample, ("Cu", "Ga")
KNOWN = Calibration(noise_kev2=float(xray_lines.peak_sigma_kev(0.0, 130.0)) ** 2)
RANGE = slice(*FIT_RANGE_KEV)


def main() -> None:
    """Print a table for each dose."""
    args = common.dose_arguments(__doc__, seeds=20, quick_seeds=2)
    for dose in args.doses:
        errors: dict[str, list[np.ndarray]] = {}
        for seed in range(args.seeds):
            say(f"dose {dose:g}, seed {seed}")
            for method, found in errors_of(dose, seed).items():
                errors.setdefault(method, []).append(found)
        show(f"{dose:g} counts a pixel, {args.seeds} seeds", rows(errors))


def errors_of(dose: float, seed: int) -> dict[str, np.ndarray]:
    """Return the errors of the ratios, all traces of all phases in a row, for each method."""
    image = simulate.spectrum_image(SHAPE, dose, seed=seed).persist()
    truth = simulate.truth(SHAPE, dose, seed=seed).compute()
    oracle = Oracle(image, truth)
    known = oracle.ratios(truth.loadings.values.T)
    masks_only, all_pixels = by_study(image, seed)
    found = {
        "eds_xr": all_pixels,
        "eds_xr, subtraction": masks_only,
        "oracle": oracle.ratios(oracle.spectra()),
        "rectangle": by_rectangle(image, truth),
    }
    errors = {name: values - known for name, values in found.items()}
    return errors | {"Cramer-Rao bound": oracle.bound()}


def by_study(image: xr.DataArray, seed: int) -> list[np.ndarray]:
    """Return the ratios that the study finds: by subtraction, and from all pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = study.run(image, seed=seed)
    return [
        np.concatenate([ratios(lines.sel(phase=p), p) for p in TRACES])
        for lines in (found.part("lines"), found.part("refined_lines"))
    ]


def by_rectangle(image: xr.DataArray, truth: xr.Dataset) -> np.ndarray:
    """Return the ratios in a square confined in the matrix, and in the purest grain."""
    pure = truth.share.sel(phase="Brg", drop=True) > 0.99
    grain = truth.label == truth.label.attrs["flag_meanings"].split().index("Ca-Pv")
    squares = [masks.inner_square(m, pixels=n) for m, n in ((pure, 30), (grain, 30))]
    regions = xr.concat(squares, xr.DataArray(list(TRACES), dims="phase", name="phase"))
    lines = eds_xr.fit_lines(eds_xr.sum_spectra(image, regions), ELEMENTS, stray=STRAY)
    return np.concatenate([ratios(lines.sel(phase=p), p) for p in TRACES])


def ratios(lines: xr.Dataset, phase: str) -> np.ndarray:
    """Return the ratios of a phase's traces to its main line."""
    main, traces = TRACES[phase]
    return np.asarray((lines.net.sel(line=list(traces)) / lines.net.sel(line=main)).values, float)


class Oracle:
    """Knows the maps and the shapes: spectra by channel, then lines, of greatest likelihood."""

    def __init__(self, image: xr.DataArray, truth: xr.Dataset) -> None:
        self.image, self.phases = image, truth.phase.values.tolist()
        self.expected = truth.expected.transpose("y", "x", "phase").rename(phase="component")
        energy = image.energy.sel(energy=RANGE).values.astype(float)
        inside = (image.energy >= energy[0]) & (image.energy <= energy[-1])
        self.inside = inside.values
        families = families_seen([*ELEMENTS, *STRAY], energy, 200.0)
        shapes = Shapes(energy, families, KNOWN, 200.0)
        self.families, self.truth = families, truth.loadings.values.T
        background = simulated_background(image.energy.values)[self.inside]
        self.design = np.column_stack([shapes.design[:, : len(families)], background])
        self.information = self._information(truth.loadings.values)

    def spectra(self) -> np.ndarray:
        """Return the spectra of the phases [channel, phase], on the scale of the loadings."""
        found = known_scores_loadings(self.image, self.expected, 8)
        total = self.image.sum(["y", "x"]).values.astype(float)
        amounts = self.expected.sum(["y", "x"]).values
        return found * (total.sum() / (found @ amounts).sum())

    def ratios(self, spectra: np.ndarray) -> np.ndarray:
        """Return the ratios of lines in spectra [channel, phase]."""
        amounts, _ = self._solve(spectra[self.inside])
        return np.concatenate(
            [
                [self._net(amounts, p, t) / self._net(amounts, p, main) for t in traces]
                for p, (main, traces) in TRACES.items()
            ]
        )

    def bound(self) -> np.ndarray:
        """Return the smallest standard deviations of the ratios that are possible."""
        amounts, covariance = self._solve(self.truth[self.inside])
        found = []
        for phase, (main, traces) in TRACES.items():
            for trace in traces:
                found.append(self._ratio_sd(amounts, covariance, phase, trace, main))
        return np.array(found)

    def _information(self, loadings: np.ndarray) -> np.ndarray:
        """Return the Fisher information of each channel's spectra [channel, phase, phase]."""
        weights = self.expected.values.reshape(-1, len(self.phases)).astype(float)
        found = np.empty((loadings.shape[1], len(self.phases), len(self.phases)))
        for channel, spectrum in enumerate(loadings.T):
            mean = np.maximum(weights @ spectrum, 1e-12)
            found[channel] = (weights / mean[:, None]).T @ weights
        return found[self.inside]

    def _solve(self, spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return amounts [phase, shape] of most likelihood, and their covariance, flat."""
        phases, shapes = len(self.phases), self.design.shape[1]
        normal = np.einsum("cs,cpq,ct->psqt", self.design, self.information, self.design)
        right = np.einsum("cs,cpq,cq->ps", self.design, self.information, spectra)
        size = phases * shapes
        scale = np.sqrt(np.diag(normal.reshape(size, size)))
        scaled = normal.reshape(size, size) / np.outer(scale, scale)
        covariance = np.linalg.inv(scaled) / np.outer(scale, scale)
        return (covariance @ right.ravel()).reshape(phases, shapes), covariance

    def _place(self, line: str) -> tuple[int, float]:
        column = next(i for i, f in enumerate(self.families) if line in f.groups)
        return column, self.families[column].groups[line]

    def _net(self, amounts: np.ndarray, phase: str, line: str) -> float:
        column, share = self._place(line)
        return float(share * amounts[self.phases.index(phase), column])

    def _ratio_sd(
        self, amounts: np.ndarray, covariance: np.ndarray, phase: str, trace: str, main: str
    ) -> float:
        top, bottom = (self._net(amounts, phase, line) for line in (trace, main))
        slope = np.zeros(amounts.shape)
        row = self.phases.index(phase)
        for line, change in ((trace, 1 / bottom), (main, -top / bottom**2)):
            column, share = self._place(line)
            slope[row, column] += share * change
        return float(np.sqrt(slope.ravel() @ covariance @ slope.ravel()))


def simulated_background(energy: np.ndarray) -> np.ndarray:
    """Return the simulation's bremsstrahlung, which the oracle knows."""
    from eds_xr.samples.phases import _bremsstrahlung

    return _bremsstrahlung(energy)


def rows(errors: dict[str, list[np.ndarray]]) -> list[Row]:
    """Return the rows of a table."""
    rms = {name: np.sqrt(np.mean(np.square(e), axis=0)) for name, e in errors.items()}
    names = [f"{t} / {main} in {p}" for p, (main, ts) in TRACES.items() for t in ts]
    table: list[Row] = []
    for i, name in enumerate(names):
        own, masked, oracle, other, bound = (
            1e4 * rms[m][i]
            for m in ("eds_xr", "eds_xr, subtraction", "oracle", "rectangle", "Cramer-Rao bound")
        )
        told = (
            f"{own:.2f}e-4, subtraction {masked:.2f}, oracle {oracle:.2f}, bound {bound:.2f}, "
            f"rectangle {other:.2f}"
        )
        table.append((f"{name}: error", told, ""))
        table.append(("  over the oracle's", f"{own / oracle:.2f}", "at most 1.3"))
        table.append(("  rectangle over eds_xr", f"{other / own:.1f}", "at least 4"))
    own, oracle, other = (rms[m] for m in ("eds_xr", "oracle", "rectangle"))
    together = [float(np.exp(np.log(x / y).mean())) for x, y in ((own, oracle), (other, own))]
    table.append(("all together: over the oracle's", f"{together[0]:.2f}", "at most 1.3"))
    table.append(("  rectangle over eds_xr", f"{together[1]:.1f}", "at least 4"))
    return table


if __name__ == "__main__":
    main()
