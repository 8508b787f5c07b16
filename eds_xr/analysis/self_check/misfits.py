"""What the model of an image misses: quick tests, two passes over the counts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from eds_xr.analysis.self_check.image_sums import image_sums
from eds_xr.analysis.self_check.tests_of_counts import dispersion, thickness
from eds_xr.analysis.self_check.tests_of_spectra import Finding, SpectralTests, missing_peak
from eds_xr.schema import ENERGY, PHASE
from eds_xr.spectra.line_fits.chosen_lines import LeftOutWarning
from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning, calibrate, fit_lines
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV

#: Clean images are called otherwise in at most this share of cases.
LEVEL = 0.05
#: A spectrum is looked through for peaks from so many counts on.
LEAST_COUNTS = 2000.0


def misfits(
    image: xr.DataArray,
    pure: xr.DataArray,
    total: xr.Dataset,
    elements: Sequence[str],
    *,
    stray: Sequence[str] = (),
    range_kev: tuple[float, float] = FIT_RANGE_KEV,
    level: float = LEVEL,
) -> xr.Dataset:
    """Test an image for what its model leaves out.

    Computes: two passes over `image`.

    What is asked is never whether something differs from nothing, which it always does, but
    whether it differs by more than tables and detectors leave open anyway: each test has a
    tolerance, and its chance is that of a clean image at this tolerance. Chances are corrected for
    the number of tests (Holm, Scand. J. Stat. 6 (1979) 65).

    Parameters
    ----------
    image : DataArray [*spatial, energy; counts]
    pure : DataArray [phase, *spatial; bool]
        Pixels that hold one phase.
    total : Dataset [energy]
        ``counts`` and ``variance`` of all pixels.
    elements, stray : sequence of str
        What the fits of lines take in.
    range_kev : (float, float)
    level : float
        The share of clean images that are called otherwise.

    Returns
    -------
    Dataset [test]
        ``size`` of the effect with ``size_sd``, in ``units``; ``chance`` (after correction; NaN
        where a test cannot be made), ``flagged``, and ``text``, a sentence.
    """
    sums = image_sums(image, pure, total.counts.values.astype(float))
    every = [*elements, *(e for e in stray if e not in elements)]
    calibration = calibrate(total, every, range_kev=range_kev)
    tests = SpectralTests(total, every, calibration, range_kev)
    found = [tests.drift(bands, dim) for dim, bands in sums.bands.items()]
    found += [tests.pile_up(), tests.width()]
    found.append(missing_peak(*_fitted(sums.phases, total, elements, stray, range_kev)))
    phases = [str(n) for n in pure[PHASE].values]
    found += [thickness(sums.places, phases), *dispersion(sums.places)]
    return as_dataset(found, level)


def _fitted(
    phases: xr.Dataset, total: xr.Dataset, elements: Sequence[str], stray: Sequence[str],
    range_kev: tuple[float, float],
) -> tuple[xr.Dataset, xr.Dataset]:  # fmt: skip
    """Return the fits of the phases' spectra and of all pixels', sum peaks in them; the spectra."""
    names = ["counts", "variance"]
    whole = total[names].expand_dims({PHASE: ["all pixels"]})
    enough = phases.counts.sum(ENERGY) >= LEAST_COUNTS
    own = phases[names].sel({PHASE: enough.values})
    spectra = xr.concat([own, whole], dim=PHASE, combine_attrs="override").assign_attrs(total.attrs)
    with warnings.catch_warnings():
        for told in (MissingLineWarning, LeftOutWarning):
            warnings.simplefilter("ignore", told)
        lines = fit_lines(
            spectra, list(elements), stray=list(stray), range_kev=range_kev, sum_peaks=True
        )
    return lines, spectra


def as_dataset(found: Sequence[Finding], level: float) -> xr.Dataset:
    """Return findings as a Dataset [test], their chances corrected for their number (Holm)."""
    chance = _holm(np.array([one.chance for one in found]))
    flagged = np.nan_to_num(chance, nan=1.0) < level
    return xr.Dataset(
        {
            "size": ("test", [one.size for one in found], {"long_name": "size of the effect"}),
            "size_sd": ("test", [one.sd for one in found], {"long_name": "its standard deviation"}),
            "units": ("test", [one.units for one in found]),
            "chance": (
                "test", chance, {"long_name": "chance of a clean image", "units": "1"},
            ),
            "flagged": ("test", flagged),
            "text": ("test", [one.text for one in found]),
        },
        coords={"test": [one.test for one in found]},
        attrs={"level": level},
    )  # fmt: skip


def _holm(chances: np.ndarray) -> np.ndarray:
    """Return chances corrected for their number; NaN stays and does not count.

    Examples
    --------
    >>> _holm(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    corrected = chances.copy()
    known = np.flatnonzero(np.isfinite(chances))
    order = known[np.argsort(chances[known])]
    so_far = 0.0
    for i, place in enumerate(order):
        so_far = max(so_far, min(1.0, float(chances[place]) * (order.size - i)))
        corrected[place] = so_far
    return corrected
