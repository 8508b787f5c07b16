"""Peaks that a fit leaves unaccounted for, and the lines and artefacts they may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eds_xr.spectra.shapes.families import Family, Shapes, families_seen
from eds_xr.spectra.shapes.pile_up import SumPeaks, strong_families
from eds_xr.xray.detector import SILICON_KA_KEV, escape_fraction
from eds_xr.xray.elements import SYMBOLS
from eds_xr.xray.lines import FAMILIES, family, line_energy_kev

#: Where less than this share of a trial peak's information is its own, it is one of the fitted.
LEAST_OWN = 0.1
#: Gaussians of tabulated energies describe real peaks this well: error of a channel's counts in
#: peaks, relative.
SHAPE_ERROR = 0.02
#: A peak is reported when chance alone shows one in this share of fits, however many spectra.
CHANCE = 1e-4
#: Lines of less than this share of their family do not name an unknown peak.
LEAST_WEIGHT = 0.2
MOST_NAMES, MOST_PEAKS = 3, 8
#: Where a peak is missing, what is left beside it is not told below this share of it.
LEAST_BESIDE = 0.15
#: Of a strong family, lines of this share may have escape and sum peaks of their own.
LEAST_SHARE = 0.05
#: An escape peak is at most this many times what is expected.
MOST_ESCAPE = 3.0
#: Lines below the usual range of a fit that pile up with those in it [keV].
LOW_LINES = {"C_Ka": 0.277, "O_Ka": 0.525}


@dataclass(frozen=True)
class Peak:
    """A peak that no family accounts for, with what it may be: artefacts and lines, by name."""

    energy_kev: float
    z: float
    artefacts: tuple[str, ...]
    lines: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join([*self.artefacts, *self.lines])
        return (
            f"a peak at {self.energy_kev:.2f} keV is not accounted for ({self.z:.1f} standard "
            f"deviations): {f'perhaps {names}' if names else 'no line is tabulated there'}"
        )


@dataclass(frozen=True)
class Residual:
    """What a fit left of a spectrum, in units of each channel's standard deviation.

    ``rest`` and ``lines`` [channel]: counts less what is expected, and what is expected in peaks;
    ``fitted`` [channel, shape]: an orthonormal base of all that was fitted; ``counts`` [family].
    """

    rest: np.ndarray
    lines: np.ndarray
    fitted: np.ndarray
    weight: np.ndarray
    counts: np.ndarray
    shapes: Shapes

    def z(self, columns: np.ndarray, shape_error: float = SHAPE_ERROR) -> np.ndarray:
        """Return by how many standard deviations each column's amount would be above zero.

        Rao's score test beside all that was fitted: its square is the drop of chi-square (or of
        the deviance) with that column in the fit. Its scatter has, beside counting statistics,
        `shape_error` times the counts in lines, taken to conspire.
        """
        peak, own, length = self._beside(columns)
        misfit = shape_error * (np.abs(peak).T @ self.lines)
        z = peak.T @ self.rest / np.sqrt(own + misfit**2 + np.finfo(float).tiny)
        skewness = (
            (peak * peak * peak).T @ self.weight / np.maximum(own, np.finfo(float).tiny) ** 1.5
        )
        return np.where(own > LEAST_OWN * length, _as_normal(z, skewness), 0.0)

    def amounts(self, columns: np.ndarray) -> np.ndarray:
        """Return the amount of each column that the rest asks for."""
        peak, own, _ = self._beside(columns)
        return peak.T @ self.rest / np.maximum(own, np.finfo(float).tiny)

    def explained_by(self, energy: float, lines: Sequence[str]) -> Residual:
        """Return what is left with a peak at an energy, and the families of lines, in the fit."""
        columns = [
            self.shapes.gaussians(np.array([energy])),
            *(self.shapes.peaks(_families(name, self.shapes)) for name in lines),
        ]
        made = np.hstack(columns) * self.weight[:, None]
        fitted, _ = np.linalg.qr(np.hstack([self.fitted, made]))
        kept = self.rest - fitted @ (fitted.T @ self.rest)
        lines_now = np.maximum(self.lines + self.rest - kept, 0)
        return replace(self, rest=kept, lines=lines_now, fitted=fitted)

    def _beside(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        peak = columns * self.weight[:, None]
        length = np.einsum("cp,cp->p", peak, peak)
        peak -= self.fitted @ (self.fitted.T @ peak)
        return peak, np.einsum("cp,cp->p", peak, peak), length


def residual_of(
    rest: np.ndarray, design: np.ndarray, amounts: np.ndarray, variance: np.ndarray, shapes: Shapes
) -> Residual:
    """Return what a fit with a design left, given its amounts and each channel's variance."""
    weight, peaks = 1 / np.sqrt(variance), len(shapes.families)
    fitted, _ = np.linalg.qr(design * weight[:, None])
    lines = np.maximum(design[:, :peaks] @ amounts[:peaks], 0)
    return Residual(rest * weight, lines * weight, fitted, weight, amounts[:peaks], shapes)


def one_more_peak_z(found: Residual) -> np.ndarray:
    """Return how significant a peak at each channel would be [channel; standard deviations].

    A Gaussian as wide as the detector's. Where the whole spectrum is fitted worse than statistics
    allow, so that typical values exceed one, all of them are divided by the typical.
    """
    z = found.z(found.shapes.one_more)
    typical = 1.4826 * float(np.median(np.abs(z[z != 0]))) if z.any() else 1.0
    return z / max(1.0, typical)


def missing_peaks(z: np.ndarray, found: Residual, spectra: int = 1) -> list[Peak]:
    """Return the positive peaks that chance does not explain, the most significant first.

    The test is made at every channel: the threshold follows from the number of independent
    places (R. B. Davies, Biometrika 74 (1987) 33), for a process that is correlated over a
    peak's width, and from the number of `spectra` that are looked at. What
    explains a peak best is taken into the fit before the next is looked for.
    """
    shapes = found.shapes
    sigma = shapes.calibration.sigma_kev(np.maximum(shapes.true, 0))
    # upcrossings of zero: the correlation of z falls as exp(-d^2 / (4 sigma^2))
    crossings = float((np.gradient(shapes.true) / sigma).sum()) / (2 * math.pi * math.sqrt(2))
    threshold = math.sqrt(2 * math.log((1 + crossings) * spectra / CHANCE))
    peaks: list[Peak] = []
    while z.max() > threshold and len(peaks) < MOST_PEAKS:
        threshold = max(threshold, LEAST_BESIDE * float(z.max()))
        top = int(np.argmax(z))
        energy = float(shapes.true[top])
        reach = 1.18 * float(sigma[top])  # half a full width at half maximum
        artefacts, lines = _artefacts(found, energy, reach), _candidates(found, energy, reach)
        peaks.append(Peak(energy, float(z[top]), tuple(artefacts), tuple(lines)))
        found = found.explained_by(energy, lines[:1])
        z = one_more_peak_z(found)
    return peaks


def _as_normal(z: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """Return standard deviations of a normal variable that are as rare as those of few counts.

    What scatters like the sum of few counts has a longer tail upwards. It is taken for Poisson's
    law of the same skewness, of mean ``1 / skewness^2``: the root of its deviance is normal.
    """
    mean = 1 / np.maximum(skewness, 1e-6) ** 2
    ratio = np.maximum(z, 0) / np.sqrt(mean)  # counts beyond the mean, relative
    deviance = 2 * mean * ((1 + ratio) * np.log1p(ratio) - ratio)
    return np.where(z > 0, np.sqrt(np.maximum(deviance, 0)), z)


def _candidates(found: Residual, energy: float, reach: float) -> list[str]:
    """Return what may be at an energy [keV]: artefacts, then the lines that fit the rest best."""
    shapes = found.shapes
    fitted = {f.element for f in shapes.families}
    ranked = []
    for element in (e for e in SYMBOLS[2:92] if e not in fitted):
        near = [
            line
            for shell in FAMILIES
            for line in family(element, shell, shapes.beam_kev)
            if line.weight > LEAST_WEIGHT and abs(line.energy_kev - energy) < reach
        ]
        for line in near[:1]:
            made = [f for f in _families(line.name, shapes) if line.name in f.groups]
            columns = shapes.peaks(made)
            ranked += [(z, line.name) for z in found.z(columns, shape_error=0).tolist()]
    best = max((z for z, _ in ranked), default=0.0)
    return [name for z, name in sorted(ranked, reverse=True)[:MOST_NAMES] if z > best / 2]


def _families(line: str, shapes: Shapes) -> list[Family]:
    """Return the families of a line's element, as far as the axis sees them."""
    element = line.split("_")[0]
    return families_seen([element], shapes.energy, shapes.beam_kev, detector=shapes.detector)


def _artefacts(found: Residual, energy: float, reach: float) -> list[str]:
    """Return the escape and sum peaks at an energy [keV] that can be as strong as what is left."""
    shapes = found.shapes
    one = shapes.peaks([Family("", "", (energy,), (1.0,), {})])
    counts = float(found.amounts(one)[0])
    strong = {
        name: (line_energy_kev(name), share * found.counts[i])
        for i in strong_families(found.counts)
        for name, share in shapes.families[i].groups.items()
        if share > LEAST_SHARE
    }
    escapes = [
        f"the escape peak of {name}"
        for name, (e, n) in strong.items()
        if abs(e - SILICON_KA_KEV - energy) < reach
        and counts < MOST_ESCAPE * escape_fraction(e) * n
    ]
    return [*escapes, *_sums(found, strong, energy, reach, counts)]


def _sums(
    found: Residual,
    strong: dict[str, tuple[float, float]],
    energy: float,
    reach: float,
    counts: float,
) -> list[str]:
    """Return the sum peaks at an energy [keV] that all sum peaks together leave room for.

    They are tied to one another: where one is as strong as what is left, the others are there.
    """
    energies = {name: e for name, (e, _) in strong.items()}
    low = [Family(e, "K", (energy,), (1.0,), {e: 1.0}) for e, energy in LOW_LINES.items()]
    window = np.abs(found.shapes.true - energy) < 2 * reach
    names = []
    for partners, lows in ((energies, []), *(({f.element: f.energies_kev[0]}, [f]) for f in low)):
        near = [
            f"the sum peak of {a} and {b}"
            for a, e in partners.items()
            for b, f in energies.items()
            if abs(e + f - energy) < reach and (lows or a <= b)
        ]
        if not near:
            continue
        tied = SumPeaks(found.shapes, lows, found.counts).columns(found.counts)[:, -1:]
        if tied.size and (found.amounts(tied) * tied[window].sum(axis=0))[0] > counts / 2:
            names += near
    return names
