"""When net counts are not to be believed, and by how much misfit at a line widens errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eds_xr.spectra.line_fits.missing_peaks import Peak
from eds_xr.spectra.shapes.families import Family, Shapes
from eds_xr.xray.detector import FWHM_PER_SIGMA
from eds_xr.xray.lines import line_energy_kev

#: A misfit counts when chance shows one as large in this share of fits, at any line.
_CHANCE = 1e-4
#: A misfit of this many times the variance expected, or more, is told; less only widens errors.
_TOLD_MISFIT = 3.0
#: Amounts this much correlated are one number, not two.
_ONE_NUMBER = -0.9
#: A missing peak within so many full widths at half maximum takes part in a line's counts.
_BESIDE = 1.5
#: A line of a family is off its tables when it is so many standard deviations from them.
_OFF_TABLES = 3.5


@dataclass(frozen=True)
class Misfit:
    """Variance of what is left over that expected, at least 1: at each line, and on the whole."""

    at_line: np.ndarray
    whole: float


def misfit(squares: np.ndarray, windows: np.ndarray, shapes: int) -> Misfit:
    """Return the misfit at lines whose channels `windows` [channel, line] tells.

    `squares` [channel] are those of what is left, over the variance; a misfit that chance explains
    is none.
    """
    free = max(1, squares.size - shapes)
    whole = _beyond_chance(float(squares.sum()) / free, free)
    channels = windows.sum(axis=0)
    found = [
        _beyond_chance(float(total) / max(1.0, n), int(n))
        for total, n in zip(squares @ windows, channels, strict=True)
    ]
    return Misfit(np.maximum(found, whole), whole)


def doubts(
    names: Sequence[str], columns: np.ndarray, shapes: Shapes, found: Misfit,
    correlation: np.ndarray, missing: Sequence[Peak], off_tables: Sequence[str],
) -> list[str]:  # fmt: skip
    """Return for each line why its net counts are not to be believed; empty where they are.

    Parameters
    ----------
    names, columns : sequence of str, ndarray [line]
        The lines, and their families.
    correlation : ndarray [family, family]
        Of the amounts, with all their errors.
    missing : sequence of Peak
        Peaks that nothing accounts for.
    off_tables : sequence of str
        Named lines that the tables do not describe.
    """
    texts = []
    for i, (name, column) in enumerate(zip(names, columns.tolist(), strict=True)):
        other = int(np.argmin(correlation[column]))
        place = line_energy_kev(name)
        reach = _BESIDE * FWHM_PER_SIGMA * float(shapes.calibration.sigma_kev(place))
        reasons = []
        if correlation[column, other] < _ONE_NUMBER:
            reasons.append(f"cannot be told from {_strongest(shapes.families[other])}")
        reasons += [
            f"beside a peak at {peak.energy_kev:.2f} keV that nothing accounts for"
            for peak in missing
            if not peak.artefacts and abs(peak.energy_kev - place) < reach
        ]
        family = shapes.families[column].groups
        reasons += [f"{line} is not as tabulated" for line in off_tables if line in family]
        if found.at_line[i] > _TOLD_MISFIT:
            where = "the whole spectrum" if found.whole > _TOLD_MISFIT else "the line"
            reasons.append(f"{where} is fitted badly, chi2 {found.at_line[i]:.1f}")
        texts.append("; ".join(reasons))
    return texts


def lines_off_tables(x: np.ndarray, names: Sequence[str]) -> list[str]:
    """Return the lines whose weight or place had to leave what the tables allow.

    `x` are the parameters of `names`.
    """
    return sorted({n for value, n in zip(x, names, strict=True) if abs(value) > _OFF_TABLES})


def _strongest(family: Family) -> str:
    return max(family.groups, key=lambda name: family.groups[name])


def _beyond_chance(ratio: float, free: int) -> float:
    """Return a reduced chi-square, 1 where chance explains it."""
    from scipy.special import gammaincc

    return ratio if gammaincc(free / 2, max(ratio, 0.0) * free / 2) < _CHANCE else 1.0
