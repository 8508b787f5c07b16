"""Net counts of every pixel: one model, made from the sum of all pixels, for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from eds_xr.arguments import beam_energy_of, resolution_of
from eds_xr.image.blocks import compress_block
from eds_xr.image.stored_sums import total_spectrum
from eds_xr.image.weighted_sums import counts_times_table, lazy_maps, sums_as_maps, weighted_block
from eds_xr.schema import ENERGY, EdsError
from eds_xr.spectra.line_fits.chosen_lines import chosen_elements, reported_lines
from eds_xr.spectra.line_fits.line_errors import ByParameter, by_effect
from eds_xr.spectra.shapes.background import flexible_background
from eds_xr.spectra.shapes.calibration import learned_shapes
from eds_xr.spectra.shapes.families import Calibration, Shapes, families_seen
from eds_xr.spectra.shapes.learning import Learned
from eds_xr.spectra.shapes.linear_fit import model_variance, weighted_least_squares
from eds_xr.workers import task_name
from eds_xr.xray.own_detector import detector_of

#: Fewer channels than this are no spectrum to fit.
LEAST_CHANNELS = 20


@dataclass(frozen=True)
class PixelModel:
    """What is fitted to every pixel.

    ``variance`` [channel; counts^2] is the modelled one of a mean pixel, ``background``
    [channel, term] the shapes that a non-negative fit takes, ``lines`` the column and the share
    of the family of each line to report, ``learned`` what all pixels together say of the peaks.
    """

    shapes: Shapes
    learned: Learned
    variance: np.ndarray
    background: np.ndarray
    lines: dict[str, tuple[int, float]]
    elements: list[str]

    @property
    def columns(self) -> np.ndarray:
        """The family of each line."""
        return np.array([column for column, _ in self.lines.values()])

    @property
    def shares(self) -> np.ndarray:
        """The share of each line in its family."""
        return np.array([share for _, share in self.lines.values()])

    @property
    def positive(self) -> np.ndarray:
        """Shapes of which no pixel can hold less than nothing [channel, term]."""
        peaks = self.shapes.design[:, : len(self.shapes.families)]
        return np.hstack([peaks, self.background])


def pixel_model(
    part: xr.DataArray,
    elements: Sequence[str] | None,
    stray: Sequence[str],
    lines: Sequence[str] | None,
    calibration: Calibration | None,
    total: np.ndarray | None = None,
) -> PixelModel:
    """Return the model of a spectrum image's pixels, from the sum of all of them [channel].

    Computes that sum where it is not given.
    """
    elements = chosen_elements(part.attrs, elements, "fitted_maps(image, ['Mg', 'Si', ...])")
    if part.sizes[ENERGY] < LEAST_CHANNELS:
        raise EdsError(f"only {part.sizes[ENERGY]} channels to fit: widen range_kev")
    energy, beam = part[ENERGY].values.astype(float), beam_energy_of(part.attrs)
    detector = detector_of(part.attrs)
    families = families_seen([*elements, *stray], energy, beam, detector=detector)
    flexible = flexible_background(tuple(energy.tolist()), beam, detector)
    reported_lines(elements, lines, energy, beam, families)  # or an error, before all is read
    total = sum_spectrum(part) if total is None else total
    learned = learned_shapes(
        energy, total[None], total[None], families, beam, resolution_of(part.attrs),
        calibration=calibration, background=flexible,
    )  # fmt: skip
    chosen = reported_lines(elements, lines, energy, beam, learned.families)
    smooth = flexible * learned.background_factor[:, None]
    shapes = Shapes(energy, learned.families, learned.calibration, beam, background=smooth)
    Shapes(energy, families, learned.calibration, beam, background=flexible).check_separable(
        column for column, _ in chosen.values()
    )
    pixels = part.size / part.sizes[ENERGY]
    amounts, variance = model_variance(shapes.design, total)
    background = _background_terms(shapes, amounts)
    return PixelModel(shapes, learned, variance / pixels, background, chosen, elements)


def sum_spectrum(part: xr.DataArray) -> np.ndarray:
    """Return the counts of all pixels [channel], from stored sums of pixels where there are."""
    total = total_spectrum(part)
    if not np.isfinite(total).all() or total.min() < 0:
        raise EdsError(
            "the sum of all pixels is negative or not finite somewhere, so these are not counts; "
            "use da.fillna(0) where NaN means 0, or undo a background subtraction"
        )
    if not total.any():
        raise EdsError("the spectrum image holds no counts in the range of the fit")
    return total


def net_weights(design: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return what turns counts into amounts by weighted least squares [channel, column]."""
    _, covariance = weighted_least_squares(design, variance, variance)
    return (design / variance[:, None]) @ covariance


def shared_response(model: PixelModel) -> tuple[np.ndarray, list[str]]:
    """Return what all pixels share of errors, a net count of a line, and the effects [mode].

    Changes of the net counts of a line for each net count of another: [mode, line, line_other].
    """
    design, names = model.shapes.design, tuple(model.lines)
    by = ByParameter(model.learned, names, model.columns, model.shares)
    _, covariance = weighted_least_squares(design, model.variance, model.variance)
    slopes = np.zeros((len(names), len(names), model.learned.x.size))
    for other, column in enumerate(model.columns.tolist()):
        if column in model.columns[:other]:  # the family is there already, by another line
            continue
        one = np.zeros(design.shape[1])
        one[column] = 1 / model.shares[other]
        _, slopes[other] = by.slopes(design, one, covariance, model.variance)
    _, shared, effects = by_effect(
        np.zeros((len(names),) * 3), slopes, model.learned, np.ones((len(names),) * 2)
    )
    return np.swapaxes(shared, 1, 2), effects


def lazy_fit(
    image: xr.DataArray, channels: slice, model: PixelModel, *, nonnegative: bool
) -> list[xr.DataArray]:
    """Return net counts and their variance ``[line, *spatial]`` of these channels, on Dask."""
    sizes, dtype = (2, len(model.lines)), np.dtype(np.float32)
    if nonnegative:
        tables = _nonnegative_tables(model)
        return lazy_maps(image, _nonnegative_block, sizes, dtype, channels, **tables)
    weights = net_weights(model.shapes.design, model.variance)[:, model.columns] * model.shares
    table = np.hstack([weights, weights**2])
    return lazy_maps(image, weighted_block, sizes, dtype, channels, table=table)


def _background_terms(shapes: Shapes, amounts: np.ndarray) -> np.ndarray:
    """Return the background of the sum, falling and rising along the spectrum [channel, 2]."""
    terms = shapes.design[:, len(shapes.families) :]
    smooth = terms @ amounts[len(shapes.families) :]
    if not smooth.any():
        smooth = terms.sum(axis=1)
    smooth = np.maximum(smooth, 0.02 * smooth.mean())  # no channel where a count is impossible
    place = np.linspace(0, 1, smooth.size)[:, None]
    return smooth[:, None] * np.hstack([1 - place, place])


def _nonnegative_tables(model: PixelModel) -> dict[str, np.ndarray]:
    """Return what :func:`_nonnegative_block` takes; amounts are in standard deviations there."""
    unit = model.positive / np.sqrt(model.variance)[:, None]
    length = np.linalg.norm(unit, axis=0)
    unit /= length
    weights = net_weights(model.positive, model.variance)
    spread = (weights[:, model.columns] * model.shares) ** 2
    return {
        "table": np.hstack([weights * length, spread]),
        "gram": unit.T @ unit,
        "columns": model.columns,
        "factor": model.shares / length[model.columns],
    }


@task_name("fits of pixels")
def _nonnegative_block(
    block: np.ndarray, *, table: np.ndarray, gram: np.ndarray, columns: np.ndarray,
    factor: np.ndarray,
) -> np.ndarray:  # fmt: skip
    from eds_xr.image.count_kernels import nonnegative

    sums = counts_times_table(compress_block(block), table)
    amounts = np.ascontiguousarray(sums[:, : len(gram)])
    nonnegative(gram, amounts)
    return sums_as_maps(np.hstack([amounts[:, columns] * factor, sums[:, len(gram) :]]), block)
