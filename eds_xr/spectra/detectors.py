"""Whether several detectors count the same: one in the shadow of holder or grid does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from eds_xr import provenance
from eds_xr.cluster.supervision import computes
from eds_xr.progress import warn
from eds_xr.schema import DETECTOR, ENERGY, LINE, EdsError, check_spectra
from eds_xr.spectra.line_fits.fit_lines import FIT_RANGE_KEV, fit_lines
from eds_xr.spectra.sums import every_pixel, sum_spectra
from eds_xr.xray.lines import line_energy_kev

#: Detectors differ by so much, relatively, although nothing shadows them: in the ratio of two
#: lines (their layers, their calibration), and in all counts together (their solid angles).
RATIO_TOLERANCE, TOTAL_TOLERANCE = 0.01, 0.05
#: Chance makes one of equal detectors disagree so much less often.
LEAST_CHANCE = 1e-3
#: Lines with fewer standard deviations, of all detectors together, tell nothing.
LEAST_SIGNIFICANCE = 10.0


class DetectorWarning(UserWarning):
    """A detector counts less than the others."""


class _Verdict(NamedTuple):
    """One detector against others."""

    relative: np.ndarray  # [line]: net counts over those of the others' mean
    sd: np.ndarray  # [line]
    size: float
    size_sd: float
    p_ratios: float
    p_total: float

    @property
    def p(self) -> float:
        """The probability of so large a disagreement, of whichever kind, by chance."""
        return min(1.0, 2 * min(self.p_ratios, self.p_total))


@computes
def compare_detectors(
    data: xr.Dataset | xr.DataArray,
    elements: Sequence[str] | None = None,
    *,
    mask: xr.DataArray | None = None,
    stray: Sequence[str] = (),
    range_kev: tuple[float, float] = FIT_RANGE_KEV,
) -> xr.Dataset:
    """Compare net counts of several detectors, and name those in a shadow.

    Computes: the spectra; of an image, one pass.

    The edge of a holder, a grid bar or a tilted film itself may stand between sample and
    detector. That takes counts away, of low energies more than of high ones, and quantification
    then finds too little of the light elements.

    Parameters
    ----------
    data : spectrum image [detector, *spatial, energy], or Dataset [detector, energy]
        Of ``convert(..., detectors="apart")``; spectra with ``counts`` and ``variance``.
    elements : sequence of str, optional
        Of the sample; default is the attribute ``elements``.
    mask : DataArray of bool [*spatial], optional
        Pixels of an image to use; all by default.
    stray, range_kev
        As for :func:`eds_xr.fit_lines`.

    Returns
    -------
    Dataset
        ``relative`` [detector, line]: net counts over the mean of the detectors that agree (less
        the detector itself), with ``relative_sd``, of counting; ``size`` [detector], what fits all
        lines, with ``size_sd``; ``p_ratios`` and ``p_total`` [detector], the probabilities that
        chance makes ratios of lines, or all counts together, disagree so much;
        ``significance`` [detector], of the likelier of both in standard deviations; ``lost``
        [detector], what the line of the lowest energy lacks, ``shadowed`` [detector]. The
        attribute ``warnings`` says which, by how much and with which significance.

    Raises
    ------
    EdsError
        For less than two detectors, several spectra each, or no line that tells.

    Warns
    -----
    DetectorWarning
        For each detector in a shadow.

    Notes
    -----
    A shadow only takes away. So of detectors that disagree the one is left out of the mean that
    counts least of the lowest energy against the highest, until those that are left agree. Equal
    detectors may differ by 1 % in ratios of lines and by 5 % in solid angle, which is allowed for.
    Where the film is tilted, or detectors stand at different elevations, its own absorption
    differs, too: low lines of a thick film then disagree without any shadow.
    """
    spectra = _spectra(data, mask)
    lines = fit_lines(spectra, elements, stray=stray, range_kev=range_kev)
    net, counting, names = _telling(lines)
    inside, verdicts = _judged(net, counting, [line_energy_kev(n) for n in names])
    found = _labelled(spectra, names, verdicts, inside)
    attrs = provenance.with_step(spectra.attrs, "compare_detectors", elements=elements)
    told = _said(found)
    for message in told:
        warn(message, DetectorWarning)
    return found.assign_attrs(attrs | {"warnings": told})


# -- helpers -------------------------------------------------------------------------------------


def _spectra(data: xr.Dataset | xr.DataArray, mask: xr.DataArray | None) -> xr.Dataset:
    if isinstance(data, xr.DataArray):
        data = sum_spectra(data, every_pixel(data) if mask is None else mask)
    elif mask is not None:
        raise EdsError("a mask chooses pixels of an image; spectra have none")
    check_spectra(data)
    if set(data.counts.dims) != {DETECTOR, ENERGY} or data.sizes[DETECTOR] < 2:
        raise EdsError(
            "expected one spectrum of each of several detectors [detector, energy], found "
            f"{dict(data.counts.sizes)}; convert with detectors='apart', choose one phase"
        )
    return data.compute().transpose(DETECTOR, ...)


def _telling(lines: xr.Dataset) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return net counts [detector, line], their covariance of counting, and the lines' names."""
    total, variance = lines.net.sum(DETECTOR), lines.variance.sum(DETECTOR)
    seen = (total > LEAST_SIGNIFICANCE * variance**0.5).values
    if seen.sum() < 2:
        raise EdsError(
            "less than two lines stand out of all detectors together: their ratio tells a shadow; "
            "sum more pixels, or name more elements"
        )
    names = [str(n) for n in lines[LINE].values[seen]]
    part = lines.sel({LINE: names, "line_other": names})
    counting = part.effect_covariance.sel(effect=["counting", "calibration"]).sum("effect")
    order = (DETECTOR, LINE)
    net = part.net.transpose(*order).values
    return net, counting.transpose(*order, "line_other").values, names


def _judged(
    net: np.ndarray, counting: np.ndarray, energies: Sequence[float]
) -> tuple[np.ndarray, list[_Verdict]]:
    """Return which detectors agree, and each one's verdict against those."""
    number = len(net)
    inside = np.ones(number, bool)
    low, high = int(np.argmin(energies)), int(np.argmax(energies))
    while True:
        verdicts = [_verdict(net, counting, inside, i) for i in range(number)]
        apart = [i for i in range(number) if inside[i] and verdicts[i].p * number < LEAST_CHANCE]
        if not apart or inside.sum() < 2:
            return inside, verdicts
        slope = net[:, low] / net[:, high]
        if any(verdicts[i].p_ratios * number < LEAST_CHANCE / 2 for i in apart):
            worst = min(np.flatnonzero(inside), key=lambda i: float(slope[i]))
        else:
            worst = min(np.flatnonzero(inside), key=lambda i: float(net[i].sum()))
        inside[worst] = False


def _verdict(net: np.ndarray, counting: np.ndarray, inside: np.ndarray, i: int) -> _Verdict:
    """Return one detector's counts over the mean of the others inside, and how they disagree."""
    from scipy.stats import chi2, norm

    others = inside.copy()
    others[i] = False
    if not others.any():  # of two that disagree the other is the measure, this one its own
        others[i] = True
    total, spread = net[others].sum(axis=0), counting[others].sum(axis=0)
    relative = net[i] / total * others.sum()
    scatter = counting[i] / np.outer(net[i], net[i]) + spread / np.outer(total, total)
    if others[i]:
        scatter = 2 * counting[i] / np.outer(net[i], net[i])
    scatter = scatter * np.outer(relative, relative)
    wide = scatter + np.diag((RATIO_TOLERANCE * relative) ** 2)
    inverse = np.linalg.inv(wide)
    size_variance = 1 / float(inverse.sum())
    size = size_variance * float(inverse.sum(axis=0) @ relative)
    misfit = float((relative - size) @ inverse @ (relative - size))
    off = (size - 1) / np.hypot(size_variance**0.5, TOTAL_TOLERANCE)
    return _Verdict(
        relative, np.sqrt(np.diag(scatter)), size, size_variance**0.5,
        float(chi2.sf(misfit, len(relative) - 1)), float(2 * norm.sf(abs(off))),
    )  # fmt: skip


def _labelled(
    spectra: xr.Dataset, names: Sequence[str], verdicts: Sequence[_Verdict], inside: np.ndarray
) -> xr.Dataset:
    from scipy.stats import norm

    order = np.argsort([line_energy_kev(n) for n in names], kind="stable")
    one, both = (DETECTOR,), (DETECTOR, LINE)
    chance = np.array([v.p for v in verdicts])
    relative = np.array([v.relative for v in verdicts])[:, order]
    found = xr.Dataset(
        {
            "relative": (both, relative, {"long_name": "net counts over those of the others"}),
            "relative_sd": (both, np.array([v.sd for v in verdicts])[:, order]),
            "size": (one, [v.size for v in verdicts], {"long_name": "counts over the others'"}),
            "size_sd": (one, [v.size_sd for v in verdicts]),
            "p_ratios": (one, [v.p_ratios for v in verdicts]),
            "p_total": (one, [v.p_total for v in verdicts]),
            "significance": (one, norm.isf(np.maximum(chance, 1e-300) / 2)),
            "lost": (one, 1 - relative[:, 0], {"long_name": "share lost at the lowest energy"}),
            "shadowed": (one, ~inside),
        },
        {LINE: [names[i] for i in order]},
    )
    for variable in found.data_vars.values():
        variable.attrs.setdefault("units", "1")
    if DETECTOR in spectra.coords:
        found = found.assign_coords({DETECTOR: spectra[DETECTOR]})
    return found


def _said(found: xr.Dataset) -> list[str]:
    told = []
    for i in np.flatnonzero(found.shadowed.values):
        one = found.isel({DETECTOR: i})
        name = one[DETECTOR].item() if DETECTOR in found.coords else i
        first, last = (str(one[LINE].values[j]) for j in (0, -1))
        of_first, of_last = (100 * (1 - float(one.relative[j])) for j in (0, -1))
        told.append(
            f"detector {name} counts less than the others: {of_first:.1f} +- "
            f"{100 * float(one.relative_sd[0]):.1f} % of {first} are missing, {of_last:.1f} % of "
            f"{last} ({float(one.significance):.0f} standard deviations); it may stand in the "
            "shadow of holder or grid: leave it out"
        )
    return told
