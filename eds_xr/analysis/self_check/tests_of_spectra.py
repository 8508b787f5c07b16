"""What spectra tell of a misfit: a drifting axis, pile-up, the peaks' width, peaks left over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.arguments import beam_energy_of, resolution_of
from eds_xr.composition.uncertainty.number_text import value_text
from eds_xr.schema import ENERGY, PHASE
from eds_xr.spectra.shapes.background import background_shapes
from eds_xr.spectra.shapes.calibration import learned_shapes
from eds_xr.spectra.shapes.families import Calibration, Shapes, families_seen
from eds_xr.spectra.shapes.linear_fit import weighted_least_squares
from eds_xr.xray.detector import FWHM_PER_SIGMA
from eds_xr.xray.own_detector import detector_of

#: A drift of a band's axis that peaks hardly feel, relative: at Si Ka a fortieth of their sigma.
DRIFT_TOLERANCE = 5e-4
#: Families place an axis where they hold this share of all counts in peaks.
LEAST_SHARE = 0.02
#: Sums of two that tables leave open, as a share of all counts.
PILE_UP_TOLERANCE = 0.003
#: Below, what is counted is the detector's noise [keV].
LOWEST_KEV = 0.15
#: Fewer counts place no axis.
LEAST_COUNTS = 2000.0
#: What tails, tabulated places and the file's rounding leave open of a peak's width, relative.
WIDTH_TOLERANCE = 0.03
MN_KA_KEV = 5.895
#: A peak is counted within so many standard deviations, which hold this share of it.
WINDOW_SIGMA, WINDOW_SHARE = 1.5, 0.866
#: A peak that is left is told beyond this share of the counts in lines: shapes are known so well.
PEAK_TOLERANCE = 0.0005


class Finding(NamedTuple):
    """What one test found: a size with its error, its unit, and how likely chance shows as much.

    `chance` is NaN where the test cannot be made; `text` then tells why.
    """

    test: str
    size: float
    sd: float
    units: str
    chance: float
    text: str


def not_tested(test: str, units: str, why: str) -> Finding:
    """Return the finding of a test that cannot be made."""
    return Finding(test, math.nan, math.nan, units, math.nan, f"not tested: {why}")


class SpectralTests:
    """Tests of spectra of one image, that share elements and calibration."""

    def __init__(
        self, total: xr.Dataset, elements: Sequence[str], calibration: Calibration,
        range_kev: tuple[float, float],
    ) -> None:  # fmt: skip
        self.total, self.range_kev = total, range_kev
        part = total.sel({ENERGY: slice(*range_kev)})
        energy, counts = part[ENERGY].values.astype(float), part.counts.values.astype(float)
        beam, detector = beam_energy_of(total.attrs), detector_of(total.attrs)
        families = families_seen(elements, energy, beam, detector=detector)
        self.sums_of_two = _sums_of_two(total, calibration, energy)
        smooth = background_shapes("flexible", energy, beam, total.attrs)
        learned = learned_shapes(  # what sums of two do is not to be learned as lines' weights
            energy,
            counts[None],
            counts[None],
            families,
            beam,
            resolution_of(total.attrs),
            calibration=calibration,
            background=np.column_stack([smooth, self.sums_of_two]),
        )
        smooth = smooth * learned.background_factor[:, None]
        self.shapes = Shapes(
            energy, learned.families, calibration, beam, background=smooth, detector=detector
        )
        self.calibration, self.counts = calibration, counts

    def drift(self, bands: xr.Dataset, dim: str) -> Finding:
        """Test whether the gain differs between bands along a dimension.

        Each strong family has a place of its own, the same in all bands: what tables have wrong
        of it changes nothing. What all shift together, in proportion to their energy, is the gain.
        """
        test = f"gain along {dim}"
        counts = bands.sel({ENERGY: slice(*self.range_kev)}).counts.values.astype(float)
        counts = counts[counts.sum(axis=1) > 0]
        if len(counts) < 3:
            return not_tested(test, "%", f"fewer than 3 bands along {dim} hold counts")
        found = self._gains(counts)
        if found is None:
            return not_tested(test, "%", "no line is strong enough to place the axis")
        return self._judged(test, dim, *found)

    def _judged(self, test: str, dim: str, gains: np.ndarray, covariance: np.ndarray) -> Finding:
        """Return whether gains of bands differ, and whether steadily from one end to the other."""
        from scipy.stats import chi2

        loose = covariance + DRIFT_TOLERANCE**2 * np.eye(gains.size)
        same = np.ones((gains.size, 1))
        place = (np.arange(gains.size) - (gains.size - 1) / 2) / gains.size
        sloping = np.column_stack([same, place])
        square = _square_beside(gains, loose, same)
        slope, spread = _least_squares(gains, covariance, sloping)
        size, sd = 100 * float(slope[1]), 100 * float(spread[1, 1] ** 0.5)
        text = f"drifts by {value_text(size, sd)} % from {_ends(dim)}"
        if _square_beside(gains, loose, sloping) > 0.5 * square:
            size, sd = 100 * float(np.ptp(gains)), 100 * float(2 * np.diag(covariance).max()) ** 0.5
            text = f"wanders by {value_text(size, sd)} % along {dim}"
        chance = float(chi2.sf(square, gains.size - 1))
        return Finding(test, size, sd, "%", chance, f"the gain of the energy axis {text}")

    def _gains(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return relative gains of bands against their mean, and the covariance [band, band]."""
        variance = np.maximum(self.counts, 1.0)
        fitted, _ = weighted_least_squares(self.shapes.design, self.counts, variance)
        held = np.maximum(fitted[: len(self.shapes.families)], 0)
        strong = np.flatnonzero(held > LEAST_SHARE * max(held.sum(), 1.0))
        if not strong.size or held.sum() < LEAST_COUNTS:
            return None
        shifts = [self._shifts(band, strong) for band in counts]
        number, lines = len(counts), strong.size
        # unknown: places of the families, then gains of all bands but the first, which is 0
        information = np.zeros((lines + number - 1, lines + number - 1))
        right = np.zeros(lines + number - 1)
        for i, (shift, covariance) in enumerate(shifts):
            own = np.zeros((lines, lines + number - 1))
            own[:, :lines] = np.eye(lines)
            if i:
                own[:, lines + i - 1] = 1.0
            weight = np.linalg.inv(covariance)
            information += own.T @ weight @ own
            right += own.T @ weight @ shift
        inverse = np.linalg.pinv(information, hermitian=True)
        gains, spread = np.zeros(number), np.zeros((number, number))
        gains[1:], spread[1:, 1:] = (inverse @ right)[lines:], inverse[lines:, lines:]
        centred = np.eye(number) - 1 / number
        return centred @ gains, centred @ spread @ centred

    def _shifts(self, counts: np.ndarray, strong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return relative shifts of strong families in a spectrum, with their covariance."""
        shapes, design = self.shapes, self.shapes.design
        lines = len(shapes.families)
        variance = np.maximum(counts, 1.0)
        for _ in range(2):
            amounts, _ = weighted_least_squares(design, counts, variance)
            variance = np.maximum(design @ np.maximum(amounts, 0), 0.5)
        held = np.maximum(amounts[:lines], 1.0)[strong]
        slopes = np.gradient(design[:, strong] * held, shapes.true, axis=0) * -shapes.true[:, None]
        both = np.hstack([design, slopes])
        found, covariance = weighted_least_squares(both, counts, variance)
        own = slice(design.shape[1], None)
        return found[own], covariance[own, own]

    def pile_up(self) -> Finding:
        """Test whether photons are counted together.

        Sums of two come as the spectrum convolved with itself: one shape, whose amount is fitted.
        """
        test, units = "pile-up", "%"
        if self.counts.sum() < LEAST_COUNTS:
            return not_tested(test, units, "too few counts for sums of two")
        both = np.column_stack([self.shapes.design, self.sums_of_two])
        variance = np.maximum(self.counts, 1.0)
        for _ in range(2):
            found, covariance = weighted_least_squares(both, self.counts, variance)
            variance = np.maximum(both @ np.maximum(found, 0), 0.5)
        rest = self.counts - both @ found
        misfit = max(1.0, float((rest**2 / variance).sum()) / max(1, rest.size - found.size))
        size, sd = float(found[-1]), float((covariance[-1, -1] * misfit) ** 0.5)
        chance = _one_sided((size - PILE_UP_TOLERANCE) / sd)
        share = value_text(100 * size, 100 * sd)
        text = f"{share} % of the counts are sums of two photons (pile-up)"
        return Finding(test, 100 * size, 100 * sd, units, chance, text)

    def width(self) -> Finding:
        """Test whether peaks are as wide as the file says."""
        test, units = "peak width", "%"
        stated = self.total.attrs.get("energy_resolution_mnka_ev")
        if stated is None:
            return not_tested(test, units, "the file does not state the detector's resolution")
        found = self.calibration
        if found.source != "fitted" or not found.covariance:
            return not_tested(test, units, "too few counts to find the peaks' width")
        sigma = float(found.sigma_kev(MN_KA_KEV))
        size = FWHM_PER_SIGMA * sigma / (float(stated) / 1000) - 1
        number = math.isqrt(len(found.covariance))
        log_noise = np.reshape(found.covariance, (number, number))[2, 2] ** 0.5
        sd = (1 + size) * 0.5 * found.noise_kev2 / sigma**2 * float(log_noise)
        chance = min(1.0, 2 * _one_sided((abs(size) - WIDTH_TOLERANCE) / max(sd, 1e-9)))
        wide = "wider" if size > 0 else "narrower"
        text = (
            f"peaks are {value_text(100 * abs(size), 100 * sd)} % {wide} than the detector's "
            f"{float(stated):.0f} eV at Mn Ka"
        )
        return Finding(test, 100 * size, 100 * sd, units, chance, text)


def missing_peak(lines: xr.Dataset, spectra: xr.Dataset) -> Finding:
    """Test whether a peak is left in any of the fitted spectra.

    The largest of all channels' significances, as R. B. Davies (Biometrika 74 (1987) 33) has its
    chance; a peak smaller than `PEAK_TOLERANCE` of the counts in lines may be a tabulated shape's.
    """
    test, units = "missing element", "%"
    energy = lines[ENERGY].values
    z = lines.residual_z.transpose(PHASE, ENERGY).values
    counts = spectra.counts.sel({ENERGY: energy}).transpose(PHASE, ENERGY).values
    model = lines.model.transpose(PHASE, ENERGY).values
    peaks = (lines.model - lines.background_model).clip(min=0).sum(ENERGY).values
    noise, fano = (lines.attrs[f"calibration_{n}"] for n in ("noise_kev2", "fano_kev"))
    sigma = np.sqrt(noise + fano * np.maximum(energy, 0))
    found = []
    for i, top in enumerate(np.argmax(z, axis=1).tolist()):
        inside = np.abs(energy - energy[top]) < WINDOW_SIGMA * sigma[top]
        rest = float((counts[i] - model[i])[inside].sum()) / WINDOW_SHARE
        sd = float(np.maximum(model[i][inside], 1.0).sum()) ** 0.5 / WINDOW_SHARE
        share, error = (100 * v / max(float(peaks[i]), 1.0) for v in (rest, sd))
        near = min(float(z[i][top]), (share - 100 * PEAK_TOLERANCE) / max(error, 1e-9))
        found.append((near, i, top, share, error))
    near, i, top, share, error = max(found)
    crossings = float((np.gradient(energy) / sigma).sum()) / (2 * math.pi * math.sqrt(2))
    chance = min(1.0, len(z) * (1 + crossings) * math.exp(-(max(near, 0.0) ** 2) / 2))
    text = (
        f"a peak at {energy[top]:.2f} keV in {lines[PHASE].values[i]}, "
        f"{value_text(share, error)} % of the counts in lines, belongs to no element of the fit"
    )
    return Finding(test, share, error, units, chance, text)


def _sums_of_two(total: xr.Dataset, calibration: Calibration, at: np.ndarray) -> np.ndarray:
    """Return a spectrum convolved with itself, scaled to all its counts, at some energies."""
    from scipy.signal import fftconvolve

    energy = total[ENERGY].values.astype(float)
    step = (energy[-1] - energy[0]) / (energy.size - 1)
    photons = np.where(energy > LOWEST_KEV, total.counts.values.astype(float), 0.0)
    sums = np.maximum(fftconvolve(photons, photons), 0.0) / max(float(photons.sum()), 1.0)
    axis = 2 * energy[0] + step * np.arange(sums.size) + calibration.offset_kev / calibration.gain
    return np.interp(at, axis, sums)


def _least_squares(
    values: np.ndarray, covariance: np.ndarray, design: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    weight = np.linalg.pinv(covariance, hermitian=True)
    spread = np.linalg.pinv(design.T @ weight @ design, hermitian=True)
    return spread @ design.T @ weight @ values, spread


def _square_beside(values: np.ndarray, covariance: np.ndarray, design: np.ndarray) -> float:
    """Return chi-square of values beside what a design explains."""
    found, _ = _least_squares(values, covariance, design)
    rest = values - design @ found
    return float(rest @ np.linalg.solve(covariance, rest))


def _ends(dim: str) -> str:
    return {"y": "top to bottom", "x": "left to right"}.get(dim, f"end to end of {dim}")


def _one_sided(z: float) -> float:
    from scipy.stats import norm

    return float(norm.sf(z))
