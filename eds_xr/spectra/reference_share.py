"""How much of a reference spectrum a mixture holds, from lines that only the reference emits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr.arguments import beam_energy_of, resolution_of
from eds_xr.cluster.supervision import computes
from eds_xr.schema import ENERGY, EdsError, check_energy_in_kev, check_spectra
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV, find_calibration
from eds_xr.spectra.shapes.families import Calibration, Shapes, families_seen, places_of_lines
from eds_xr.spectra.shapes.linear_fit import model_variance, weighted_least_squares
from eds_xr.workers import in_one_thread
from eds_xr.xray.lines import line_energy_kev
from eds_xr.xray.own_detector import detector_of
from eds_xr.xray.windows import line_windows_kev, window_weights

#: Net counts of a line of the reference, in standard deviations, that are enough to divide by.
LEAST_SIGNIFICANCE = 5.0
#: Fitted peaks are not quite of the right shape: error of the counts where a line is, relative.
SHAPE_ERROR = 0.02


class Share(NamedTuple):
    """The share of the reference in a pixel of the mixture, and how well its lines agree."""

    value: float
    variance: float
    lines: tuple[str, ...] = ()
    each: np.ndarray = np.empty(0)  # [line]: the share by each line alone
    pulls: np.ndarray = np.empty(0)  # [line]: its distance from the common one, over its error
    p_value: float = float("nan")  # of so large a disagreement by chance; NaN for one line
    worst: str = ""  # the line without which the others agree best
    by_counts: np.ndarray | None = None  # [energy]: what one more count of the mixture adds
    taken: np.ndarray = np.empty(0)  # [line]: the part of its own counts that the choice takes away
    calibration: Calibration | None = None  # of both spectra, where peaks were fitted


class Nets(NamedTuple):
    """Net counts of several lines, their covariance, and what a count of a channel adds to them."""

    net: np.ndarray  # [line]
    covariance: np.ndarray  # [line, line]
    by_counts: np.ndarray  # [line, energy]

    def without(self, i: int) -> Nets:
        """Return the others."""
        rest = np.delete(self.covariance, i, axis=0)
        return Nets(np.delete(self.net, i), np.delete(rest, i, axis=1), self.by_counts)


@in_one_thread
def find_share(
    mixture: xr.Dataset, reference: xr.Dataset, lines: Sequence[str], elements: Sequence[str]
) -> Share:
    """Return the share by the ratio of net counts per pixel, generalised least squares over lines.

    Mixture and reference both have errors: of all true net counts of the reference the likeliest
    are taken (total least squares), so that a weak line does not pull the share down.
    """
    from scipy.stats import chi2

    _check_distinct(lines)
    (mine, other), calibration = _nets_of_both(mixture, reference, lines, elements)
    for line, net, sd in zip(lines, other.net, np.sqrt(np.diag(other.covariance)), strict=True):
        if not net > LEAST_SIGNIFICANCE * sd:
            raise EdsError(
                f"the reference has no significant {line}: {net:.0f} +- {sd:.0f} "
                "net counts; pin a line that it emits"
            )
    pixels = float(mixture.n_pixels) / float(reference.n_pixels)
    other = other._replace(net=other.net * pixels, covariance=other.covariance * pixels**2)
    value, variance, misfit, pulls, by_nets = _common_ratio(mine, other)
    chance = float(chi2.sf(misfit, len(lines) - 1)) if len(lines) > 1 else float("nan")
    return Share(
        value, variance, tuple(lines), mine.net / other.net, pulls,
        chance, lines[_worst(mine, other)], by_nets @ mine.by_counts, by_nets * other.net,
        calibration,
    )  # fmt: skip


@in_one_thread
def lines_left(
    mixture: xr.Dataset,
    reference: xr.Dataset,
    share: Share,
    lines: Sequence[str],
    elements: Sequence[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what a subtraction leaves of other lines [line]: over its error, counts, and error.

    With the error of the share, and an allowance for the shape of fitted peaks.
    """
    pixels = float(mixture.n_pixels) / float(reference.n_pixels)
    (mine, other), _ = _fitted(
        [mixture, reference], lines, elements, separable=False, calibration=share.calibration
    )
    windows = [line_windows_kev(line)[0] for line in lines]
    gross = [float(mixture.counts.sel({ENERGY: slice(*window)}).sum()) for window in windows]
    variance = np.diag(mine.covariance) + (share.value * pixels) ** 2 * np.diag(other.covariance)
    variance = variance + share.variance * (pixels * other.net) ** 2
    sd = np.sqrt(variance + (SHAPE_ERROR * np.array(gross)) ** 2)
    left = mine.net - share.value * pixels * other.net
    return left / sd, left, sd


def window_net(spectra: xr.Dataset, line: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return net counts of a line's window less a linear background beside it, and variance."""
    weights = _window(spectra, line)
    return (spectra.counts * weights).sum(ENERGY), (spectra.variance * weights**2).sum(ENERGY)


@computes
def net_counts(spectra: xr.Dataset, line: str) -> xr.Dataset:
    """Return classical net counts of a line: its window less a linear background beside it.

    Computes: nothing but the given spectra. For overlapping lines use ``fit_lines``.

    Parameters
    ----------
    spectra : Dataset [..., energy]
    line : str

    Returns
    -------
    Dataset
        ``net`` and ``variance`` [...].
    """
    check_spectra(spectra)
    check_energy_in_kev(spectra)
    net, variance = window_net(spectra, line)
    return xr.Dataset({"net": net, "variance": variance})


def _window(spectra: xr.Dataset, line: str) -> xr.DataArray:
    energy, resolution = spectra[ENERGY].values, resolution_of(spectra.attrs)
    return xr.DataArray(window_weights(energy, line, resolution), dims=ENERGY)


def _check_distinct(lines: Sequence[str]) -> None:
    families = [line.rpartition("_")[0] + line.rpartition("_")[2][:1] for line in lines]
    for i, name in enumerate(families):
        if name in families[:i]:
            raise EdsError(
                f"{lines[families.index(name)]} and {lines[i]} are lines of one family and tell "
                "the same: give one of them"
            )


def _common_ratio(mine: Nets, other: Nets) -> tuple[float, float, float, np.ndarray, np.ndarray]:
    """Return the ratio of two sets of net counts, its variance and the misfit.

    And, by line, the pulls, and what one more net count in `mine` adds to the ratio.
    """
    ratio = float(mine.net @ other.net / (other.net @ other.net))
    for _ in range(100):
        weight = np.linalg.inv(mine.covariance + ratio**2 * other.covariance)
        left = mine.net - ratio * other.net
        true = other.net + ratio * other.covariance @ weight @ left
        before, ratio = ratio, float((true @ weight @ mine.net) / (true @ weight @ other.net))
        if abs(ratio - before) <= 1e-12 * abs(ratio):
            break
    variance = 1 / float(true @ weight @ true)
    left = mine.net - ratio * other.net
    spread = np.diag(np.linalg.inv(weight)) - true**2 * variance
    own = np.where(left.size > 1, np.maximum(spread, 1e-12 * np.diag(mine.covariance)), 1.0)
    misfit, pulls = float(left @ weight @ left), left / np.sqrt(own)
    return ratio, variance, misfit, pulls, variance * weight @ true


def _worst(mine: Nets, other: Nets) -> int:
    """Return the line without which the others agree best; of two, that of the larger share.

    A further phase in the mixture adds to a line, it never takes from it.
    """
    number = mine.net.size
    if number < 3:
        return int(np.argmax(mine.net / other.net))
    left = [_common_ratio(mine.without(i), other.without(i))[2] for i in range(number)]
    return int(np.argmin(left))


def _nets_of_both(
    mixture: xr.Dataset, reference: xr.Dataset, lines: Sequence[str], elements: Sequence[str]
) -> tuple[list[Nets], Calibration | None]:
    """Return the net counts of mixture and reference: fitted, or without elements of windows.

    And the calibration of the fits.
    """
    low, high = FIT_RANGE_KEV
    inside = max(low, mixture[ENERGY].values[0]), min(high, mixture[ENERGY].values[-1])
    if elements and all(inside[0] < line_energy_kev(line) < inside[1] for line in lines):
        check_energy_in_kev(mixture)
        return _fitted([mixture, reference], lines, elements)
    found = []
    for spectrum in (mixture, reference):
        parts = [window_net(spectrum, line) for line in lines]
        net, variance = (np.array([float(p[i]) for p in parts]) for i in range(2))
        weights = [_window(spectrum, line).values for line in lines]
        found.append(Nets(net, np.diag(variance), np.stack(weights)))
    return found, None


def _fitted(
    spectra: Sequence[xr.Dataset], lines: Sequence[str], elements: Sequence[str],
    *, separable: bool = True, calibration: Calibration | None = None,
) -> tuple[list[Nets], Calibration]:  # fmt: skip
    """Return the net counts of families fitted to each spectrum, and the calibration of both."""
    parts = [s.sel({ENERGY: slice(*FIT_RANGE_KEV)}) for s in spectra]
    counts, variance = (
        np.stack([p[name].values.astype(float) for p in parts]) for name in ("counts", "variance")
    )
    energy, beam = parts[0][ENERGY].values.astype(float), beam_energy_of(spectra[0].attrs)
    detector = detector_of(spectra[0].attrs)
    every = [*(n.split("_")[0] for n in lines), *elements]
    families = families_seen(every, energy, beam, detector=detector)
    total = counts.sum(axis=0), variance.sum(axis=0)
    calibration = calibration or find_calibration(
        energy, *total, families, beam, resolution_of(spectra[0].attrs), detector
    )
    shapes = Shapes(energy, families, calibration, beam, detector=detector)
    places = places_of_lines(families)
    for line in lines:
        if line not in places:
            raise EdsError(f"{line} is not emitted at a beam energy of {beam:g} keV")
    columns, shares = [places[n][0] for n in lines], np.array([places[n][1] for n in lines])
    if separable:
        shapes.check_separable(columns)
    inside = np.isin(spectra[0][ENERGY].values, parts[0][ENERGY].values)
    found = []
    for pair in zip(counts, variance, strict=True):
        nets = _solve(shapes.design, *pair, columns, shares)
        by_counts = np.zeros((len(lines), inside.size))
        by_counts[:, inside] = nets.by_counts
        found.append(nets._replace(by_counts=by_counts))
    return found, calibration


def _solve(
    design: np.ndarray, counts: np.ndarray, variance: np.ndarray, columns: list[int],
    shares: np.ndarray,
) -> Nets:  # fmt: skip
    _, modelled = model_variance(design, variance)
    amounts, covariance = weighted_least_squares(design, counts, modelled)
    own = covariance[np.ix_(columns, columns)] * np.outer(shares, shares)
    by_counts = covariance[columns] @ (design / modelled[:, None]).T * shares[:, None]
    return Nets(amounts[columns] * shares, own, by_counts)
