"""Fit one spectrum with line families and background: NumPy in, NumPy out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eds_xr.spectra.line_fits.doubts import doubts, misfit
from eds_xr.spectra.line_fits.line_errors import ByParameter
from eds_xr.spectra.line_fits.missing_peaks import Peak, missing_peaks, one_more_peak_z, residual_of
from eds_xr.spectra.shapes.families import Shapes
from eds_xr.spectra.shapes.linear_fit import (
    least_variance,
    model_variance,
    poisson_likelihood,
    weighted_least_squares,
)
from eds_xr.spectra.shapes.pile_up import SumPeaks

#: A result's number is worth giving from this many standard deviations on (Currie's k).
QUANTIFIED_SIGMA = 10.0


@dataclass(frozen=True)
class SpectrumModel:
    """What all spectra are fitted with, and the lines to report.

    ``columns`` and ``shares`` [line]: a line's family, and its share of that; ``windows``
    [channel, line]: 1 where a line's background is counted; ``spectra``: how many there are.
    """

    shapes: Shapes
    columns: np.ndarray
    shares: np.ndarray
    windows: np.ndarray
    errors: ByParameter
    method: str = "least_squares"
    sums: SumPeaks | None = None
    spectra: int = 1


@dataclass(frozen=True)
class SpectrumFit:
    """Amounts of the shapes of a design, and what is known of the variance of each channel.

    ``modelled`` [channel] is free of the noise of the counts; ``spread`` [shape] are the amounts
    that it is made of.
    """

    design: np.ndarray
    amounts: np.ndarray
    covariance: np.ndarray
    modelled: np.ndarray
    spread: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """Counts of all shapes [channel]."""
        return self.design @ self.amounts


def fit_spectrum(
    counts: np.ndarray, variance: np.ndarray, model: SpectrumModel
) -> tuple[dict[str, np.ndarray], list[Peak]]:
    """Return the results of ``fit_lines`` for one spectrum, by name, and what it leaves."""
    found = solve(model.shapes.design, counts, variance, model.method)
    if model.sums is not None:
        design = np.hstack([model.shapes.design, model.sums.columns(found.amounts)])
        found = solve(design, counts, variance, model.method)
    peaks = len(model.shapes.families)
    smooth = found.design[:, peaks:] @ found.amounts[peaks:]
    rest = counts - found.expected
    what = residual_of(rest, found.design, found.amounts, found.modelled, model.shapes)
    z = one_more_peak_z(what)
    missing = missing_peaks(z, what, model.spectra)
    squares = rest**2 / found.modelled
    worse = misfit(squares, model.windows, found.amounts.size)
    covariance = found.covariance[np.ix_(model.columns, model.columns)]
    covariance = covariance * np.outer(model.shares, model.shares)
    by_amount, by_net = model.errors.slopes(
        found.design, found.amounts, found.covariance, found.modelled
    )
    names, off = model.errors.names, model.errors.off_tables
    correlation = model.errors.correlation(found.covariance[:peaks, :peaks], by_amount)
    why = doubts(names, model.columns, model.shapes, worse, correlation, missing, off)
    results = {
        "net": found.amounts[model.columns] * model.shares,
        "covariance": covariance,
        "by_parameter": by_net,
        "misfit": worse.at_line,
        "doubt": np.array(why, dtype=object),
        **_limits(found, model),
        # clipping belongs to what is reported as counts, never to the fit
        "background": np.maximum(smooth, 0) @ model.windows,
        "reduced_chi2": squares.sum() / (counts.size - found.amounts.size),
        "model": found.expected,
        "background_model": smooth,
        "residual_z": z,
    }
    if model.sums is not None:  # the last shapes of the design
        first = model.shapes.design.shape[1]
        results["sum_peaks"] = found.amounts[first:].sum()
        results["sum_peaks_variance"] = found.covariance[first:, first:].sum()
    return results, missing


def solve(design: np.ndarray, counts: np.ndarray, variance: np.ndarray, method: str) -> SpectrumFit:
    """Return the amounts of the shapes by one of the methods of ``fit_lines``."""
    spread, modelled = model_variance(design, variance)
    amounts, covariance = weighted_least_squares(design, counts, modelled)
    if method == "poisson":  # the covariance is the inverse of Fisher's information already
        amounts = poisson_likelihood(design, counts, spread)
    return SpectrumFit(design, amounts, covariance, modelled, spread)


def _limits(found: SpectrumFit, model: SpectrumModel) -> dict[str, np.ndarray]:
    """Return Currie's three limits, from the scatter of the net counts if there were none."""
    blank = [_blank_variance(found, model, line) for line in range(model.columns.size)]
    sd, k2 = np.sqrt(blank), QUANTIFIED_SIGMA**2
    return {
        "critical_level": 1.645 * sd,
        "detection_limit": 2.71 + 3.29 * sd,
        "quantification_limit": k2 / 2 * (1 + np.sqrt(1 + 4 * sd**2 / k2)),
    }


def _blank_variance(found: SpectrumFit, model: SpectrumModel, line: int) -> float:
    """Return the variance of a line's net counts if there were none of its family.

    The counts of the family itself no longer scatter. What is left of its variance beyond its net
    counts stays: in a difference of spectra, it is that of the counts that were subtracted.
    """
    design, spread = found.design, found.spread
    peaks, column = len(model.shapes.families), int(model.columns[line])
    own = np.clip(found.amounts[column], 0, max(0.0, spread[column]))
    background = np.maximum(design[:, peaks:] @ spread[peaks:], 0)
    least = 0.1 * background + least_variance(found.modelled)
    blank = np.maximum(found.modelled - own * design[:, column], least)
    _, covariance = weighted_least_squares(design, found.modelled, blank)
    others = model.errors.blank_variance(line, design, found.amounts, covariance, blank)
    return float(model.shares[line] ** 2 * covariance[column, column]) + others
