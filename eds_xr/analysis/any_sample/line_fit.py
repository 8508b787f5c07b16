"""How the lines of one analysis are fitted."""

from __future__ import annotations

import warnings

import xarray as xr

from eds_xr.analysis.any_sample.elements import Elements
from eds_xr.analysis.recipe import FitChoice
from eds_xr.spectra.line_fits.chosen_lines import LeftOutWarning
from eds_xr.spectra.line_fits.fit_lines import MissingLineWarning, calibrate, fit_lines
from eds_xr.spectra.shapes.calibration import FIT_RANGE_KEV
from eds_xr.spectra.shapes.families import Calibration

#: Ranges that are as good as the fit's own; they move the knots of the background [keV].
OTHER_RANGES_KEV = ((0.6, 12.5), (1.0, 12.5))


class LineFit:
    """How lines are fitted: elements, range and calibration of one analysis."""

    def __init__(self, elements: Elements, choice: FitChoice, energy: xr.DataArray) -> None:
        self.elements = elements
        self.range_kev = choice.range_kev or FIT_RANGE_KEV
        self.others = choice.other_ranges_kev
        if self.others is None:
            self.others = OTHER_RANGES_KEV if choice.range_kev is None else ()
        first, last = float(energy[0]), float(energy[-1])
        # a range that the axis cuts is the same as another
        self.others = tuple(r for r in self.others if r[0] > first and r[1] < last)

    def calibrate(
        self, spectra: xr.Dataset, range_kev: tuple[float, float] | None = None
    ) -> Calibration:
        """Return the calibration that all spectra together give."""
        return calibrate(spectra, self.elements.all, range_kev=range_kev or self.range_kev)

    def fit(
        self,
        spectra: xr.Dataset,
        calibration: Calibration,
        range_kev: tuple[float, float] | None = None,
    ) -> xr.Dataset:
        """Return net counts; peaks that are left stand in the attribute ``warnings``."""
        with warnings.catch_warnings():
            for told in (MissingLineWarning, LeftOutWarning):  # the lines' attributes tell
                warnings.simplefilter("ignore", told)
            return fit_lines(
                spectra, self.elements.sample, stray=self.elements.stray, calibration=calibration,
                range_kev=range_kev or self.range_kev,
            )  # fmt: skip
