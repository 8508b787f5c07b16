"""Energy axis, resolution and peaks of spectra, found from the spectra themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eds_xr.spectra.shapes.background import flexible_background
from eds_xr.spectra.shapes.families import Family
from eds_xr.spectra.shapes.learning import Learned, learn
from eds_xr.spectra.shapes.peaks import Calibration
from eds_xr.spectra.shapes.weak_knowledge import CALIBRATION_PRIOR, WeakKnowledge
from eds_xr.xray.detector import peak_sigma_kev
from eds_xr.xray.own_detector import TYPICAL, OwnDetector

#: Range of a fit when none is given [keV]; below, the detector's noise, its cut-off and the tail
#: of oxygen rule.
FIT_RANGE_KEV = (0.7, 12.5)
#: A calibration counts as found when the peaks place the energy axis this well somewhere [keV].
CALIBRATION_NEEDED_KEV = 0.003
#: More spectra than this are added up to so many groups for what they have in common.
_MOST_GROUPS = 16


def find_calibration(
    energy: np.ndarray, counts: np.ndarray, variance: np.ndarray, families: Sequence[Family],
    beam_kev: float, resolution_mnka_ev: float, detector: OwnDetector = TYPICAL,
) -> Calibration:  # fmt: skip
    """Return the calibration of a spectrum [energy]; see :func:`eds_xr.calibrate`."""
    spectrum = counts[None], variance[None]
    return learned_shapes(
        energy, *spectrum, families, beam_kev, resolution_mnka_ev,
        background=flexible_background(tuple(energy.tolist()), beam_kev, detector),
    ).calibration  # fmt: skip


def learned_shapes(
    energy: np.ndarray, counts: np.ndarray, variance: np.ndarray, families: Sequence[Family],
    beam_kev: float, resolution_mnka_ev: float, *, calibration: Calibration | None = None,
    background: np.ndarray | None = None, escape: bool = False,
) -> Learned:  # fmt: skip
    """Return what spectra [spectrum, energy] say of their peaks and, if not given, calibration."""
    if background is None:
        background = flexible_background(tuple(energy.tolist()), beam_kev)
    spectra = list(zip(*(_in_groups(v) for v in (counts, variance)), strict=True))

    def learned(start: Calibration, look: bool) -> Learned:
        weak = WeakKnowledge(energy, families, start, beam_kev, escape=escape)
        return learn(weak, background, spectra, look_for_calibration=look)

    if calibration is not None:
        return learned(calibration, False)
    noise = float(peak_sigma_kev(0.0, resolution_mnka_ev) ** 2)
    found = learned(Calibration(noise_kev2=noise, source="fitted"), True)
    if _placed_within_kev(energy, found) <= CALIBRATION_NEEDED_KEV:
        return found
    unknown = tuple(np.diag(np.square(CALIBRATION_PRIOR)).ravel().tolist())
    source = "nominal: too few counts to tell"
    return learned(Calibration(noise_kev2=noise, source=source, covariance=unknown), False)


def _placed_within_kev(energy: np.ndarray, found: Learned) -> float:
    """Return how well the axis is known where it is known best."""
    covariance = np.reshape(found.calibration.covariance, (5, 5))[:2, :2]
    slope = np.stack([energy, np.ones_like(energy)], axis=1)
    return float(np.sqrt(((slope @ covariance) * slope).sum(axis=1).min()))


def _in_groups(values: np.ndarray) -> list[np.ndarray]:
    """Return spectra, or the sums of as many in turn as leave few groups."""
    if len(values) <= _MOST_GROUPS:
        return list(values)
    return [values[first::_MOST_GROUPS].sum(axis=0) for first in range(_MOST_GROUPS)]
